//! `nattrace check` from outside: what it prints, and the status that it ends with.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

mod program;

use std::fs;
use std::process::Output;

use program::{nattrace, root, run, show};
use tempfile::TempDir;

const CASE: &str = "corpus/cases/03-snat-hand-edit";

/// A folder with a policy.
fn folder(policy: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("nattrace.toml"), policy).unwrap();
    folder
}

/// Runs `check` in a folder on the host of the first story.
fn check(folder: &TempDir, arguments: &str) -> Output {
    let mut command = nattrace();
    command.current_dir(folder.path()).arg("check").arg("-s").arg(root().join(CASE));
    command.args(arguments.split_whitespace()).env_remove("GITHUB_STEP_SUMMARY").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const POLICY: &str = r#"version = 1

[[egress]]
name   = "web leaves as .205"
from   = "net:pub"
to     = "internet"
source = "173.208.194.205"

[[egress]]
name   = "web leaves as .202"
from   = "net:pub"
to     = "internet"
source = "173.208.194.202"

[[allow]]
name  = "web reaches the internet"
from  = "net:pub"
to    = "internet"
"#;

#[test]
fn the_first_story_is_answered_with_the_packet() {
    let folder = folder(POLICY);
    let output = check(&folder, "");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(show(&output));
}

#[test]
fn json_is_as_the_contract_says() {
    let folder = folder(POLICY);
    let output = check(&folder, "--json");
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["schema"], "nattrace/check/1");
    assert_eq!(value["summary"], serde_json::json!({"holds": 2, "fails": 1, "unknown": 0}));
    let results = value["results"].as_array().unwrap();
    for result in results {
        for key in [
            "name",
            "kind",
            "status",
            "family",
            "reason",
            "counterexamples",
            "proved_by",
            "assumptions",
        ] {
            assert!(result.get(key).is_some(), "{key}");
        }
    }
    let failed = &results[1];
    assert_eq!(failed["status"], "fails");
    assert_eq!(failed["family"], "ipv4");
    assert_eq!(failed["reason"], "leaves eth0 as 173.208.194.205");
    let why = &failed["counterexamples"][0]["why"];
    assert_eq!(why["schema"], "nattrace/why/1");
    assert_eq!(why["egress"]["src"], "173.208.194.205");
    // A line for each result.
    let lines = stdout(&check(&folder, "--format jsonl"));
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["schema"], "nattrace/check/1");
    }
    assert_eq!(stdout(&check(&folder, "--json")), stdout(&output), "the same bytes each time");
}

/// The counterexample is one that `why` is asked again about, as a person would.
#[test]
fn a_counterexample_can_be_asked_again() {
    let folder = folder(POLICY);
    let value: serde_json::Value =
        serde_json::from_str(&stdout(&check(&folder, "--json"))).unwrap();
    let why = &value["results"][1]["counterexamples"][0]["why"];
    let flow = &why["flow"];
    let question = format!(
        "why -s {CASE} --json {} {}:{} --sport {} --in {}",
        flow["src"].as_str().unwrap(),
        flow["dst"].as_str().unwrap(),
        flow["dport"],
        flow["sport"],
        flow["iif"].as_str().unwrap()
    );
    let again: serde_json::Value = serde_json::from_str(&stdout(&run(&question))).unwrap();
    assert_eq!(again["egress"], why["egress"]);
    assert_eq!(again["verdict"], why["verdict"]);
    assert_eq!(again["steps"], why["steps"]);
}

#[test]
fn every_format_is_well_formed() {
    let folder = folder(POLICY);
    let sarif: serde_json::Value =
        serde_json::from_str(&stdout(&check(&folder, "--format sarif"))).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "policy-egress");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 9);
    let junit = stdout(&check(&folder, "--format junit"));
    assert!(junit.contains("tests=\"3\"") && junit.contains("failures=\"1\""), "{junit}");
    let github = stdout(&check(&folder, "--format github"));
    assert!(github.starts_with("::error file=nattrace.toml,line=9,endLine=9,col=1"), "{github}");
    assert_eq!(github.lines().count(), 1);
    let markdown = stdout(&check(&folder, "--format markdown"));
    assert!(markdown.contains("| ❌ fails | web leaves as .202 |"), "{markdown}");
    let concise = stdout(&check(&folder, "--format concise"));
    assert_eq!(concise.lines().count(), 4, "{concise}");
    let drawing = check(&folder, "--format dot");
    assert_eq!(drawing.status.code(), Some(2));
}

#[test]
fn the_step_summary_is_the_markdown() {
    let folder = folder(POLICY);
    let summary = folder.path().join("summary.md");
    let mut command = nattrace();
    command.current_dir(folder.path()).args(["check", "--format", "github", "-s"]);
    command.arg(root().join(CASE)).env("GITHUB_STEP_SUMMARY", &summary);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    assert_eq!(fs::read_to_string(summary).unwrap(), stdout(&check(&folder, "--format markdown")));
}

#[test]
fn all_faults_of_a_policy_come_out_of_one_run() {
    let folder = folder(
        "version = 1\n[[egress]]\nfrom = \"net:pbu\"\nto = \"internet\"\nsorce = \"173.208.194.205\"\n[[deny]]\nfrom = \"office\"\nlands = \"container:web:99999\"\n",
    );
    let output = check(&folder, "");
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(show(&output));
}

#[test]
fn what_is_missing_is_said() {
    let folder = TempDir::new().unwrap();
    let output = check(&folder, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(show(&output).contains("nattrace check --init"), "{}", show(&output));
    let output = check(&folder, "absent.toml");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_is_put_up_with_does_not_count() {
    let suppress = |until: &str| {
        format!(
            "{POLICY}\n[[suppress]]\nname = \"web leaves as .202\"\nreason = \"moving\"\nuntil = {until}\n"
        )
    };
    let put_up_with = folder(&suppress("2199-01-01"));
    let output = check(&put_up_with, "--format concise");
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("does not count: suppressed: moving"), "{}", stdout(&output));
    let over = folder(&suppress("2020-01-01"));
    let output = check(&over, "--format concise");
    assert_eq!(output.status.code(), Some(1));
    assert!(show(&output).contains("suppression-expired"), "{}", show(&output));

    let folder = folder(POLICY);
    assert_eq!(check(&folder, "--write-baseline known.json").status.code(), Some(1));
    assert_eq!(check(&folder, "--baseline known.json").status.code(), Some(0));
    assert_eq!(check(&folder, "--fail-on never").status.code(), Some(0));
    assert_eq!(check(&folder, "--exit-zero").status.code(), Some(0));
    fs::write(folder.path().join("known.json"), "{}").unwrap();
    assert_eq!(check(&folder, "--baseline known.json").status.code(), Some(2));
}

#[test]
fn the_same_question_on_another_host() {
    let folder = folder(POLICY);
    let output = check(&folder, "--format concise --given down=eth0");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("vacuous"), "{}", stdout(&output));
    let output = check(&folder, "--format concise --given ip_forward=off");
    assert!(
        stdout(&output).contains("vacuous: no packet gets there at all"),
        "{}",
        stdout(&output)
    );
    let output = check(&folder, "--given down=eth9");
    assert_eq!(output.status.code(), Some(2));
    assert!(show(&output).contains("did you mean `eth0`?"), "{}", show(&output));
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(&stdout(&run("check --schema"))).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

/// What holds today is what `--init` writes.
#[test]
fn a_policy_that_was_written_holds() {
    let folder = TempDir::new().unwrap();
    let output = check(&folder, "--init nattrace.toml");
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let output = check(&folder, "--format concise");
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert!(stdout(&output).lines().count() > 2, "{}", stdout(&output));
    let output = check(&folder, "--init nattrace.toml");
    assert_eq!(output.status.code(), Some(2), "a policy is not overwritten");
}
