//! `action.yml` and `.pre-commit-hooks.yaml`: their own words, run in a repository that keeps its
//! rules, as a pull request would meet them.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use program::{root, show};
use tempfile::TempDir;

/// A firewall that somebody has just opened port 5432 of.
const RULES: &str = "*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT
COMMIT
";
const OPENED: &str = "-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n";

const POLICY: &str = r#"version = 1

[[allow]]
name = "ssh stays open"
from = "198.51.100.7"
to   = "host:22/tcp"

[[deny]]
name  = "the database is not for everybody"
from  = "internet"
lands = "host:5432/tcp"
"#;

fn repository(rules: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("rules.v4"), rules).unwrap();
    fs::write(folder.path().join("nattrace.toml"), POLICY).unwrap();
    folder
}

/// The scripts of the action's steps, in order.
fn scripts() -> Vec<String> {
    let text = fs::read_to_string(root().join("action.yml")).unwrap();
    let mut scripts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != "run: |" {
            continue;
        }
        let inside =
            lines.clone().take_while(|line| line.is_empty() || line.starts_with("        "));
        scripts.push(inside.map(|line| format!("{}\n", line.trim_start())).collect());
    }
    scripts
}

/// The variables of the action's inputs, with what they are where nobody says anything.
fn defaults() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("action.yml")).unwrap();
    let (inputs, _) = text.split_once("\nruns:").unwrap();
    let mut names = Vec::new();
    for line in inputs.lines() {
        if let Some(name) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) {
            names.push((name.trim_end_matches(':').to_owned(), String::new()));
        } else if let Some(value) = line.trim_start().strip_prefix("default: ")
            && let Some((_, default)) = names.last_mut()
        {
            *default = value.trim_matches('"').to_owned();
        }
    }
    let variable = |name: String| name.to_uppercase().replace('-', "_");
    names.retain(|(name, _)| {
        text.contains(&format!("{}: ${{{{ inputs.{name} }}}}", variable(name.clone())))
    });
    names.into_iter().map(|(name, default)| (variable(name), default)).collect()
}

/// Runs the steps as a runner does, with some of the inputs.
fn act(folder: &Path, inputs: &[(&str, &str)]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_nattrace")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut last = None;
    for script in scripts() {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]);
        command.current_dir(folder).env("PATH", &path).envs(defaults());
        command.env("ACTION_PATH", root()).env("GITHUB_STEP_SUMMARY", folder.join("summary.md"));
        last = Some(command.envs(inputs.iter().copied()).output().unwrap());
    }
    last.unwrap()
}

#[test]
fn a_pull_request_fails_for_the_right_reason_with_one_page() {
    assert_eq!(scripts().len(), 2);
    assert_eq!(defaults().len(), 7, "{:?}", defaults());
    let folder = repository(RULES);
    let output = act(folder.path(), &[("RULES", "rules.v4")]);
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    let annotations = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(annotations.lines().count(), 1, "{annotations}");
    let place = "::error file=nattrace.toml,line=8,endLine=8,col=1,endColumn=9,\
                 title=nattrace%3A the database is not for everybody::lands at ";
    assert!(annotations.starts_with(place), "{annotations}");
    let page = fs::read_to_string(folder.path().join("summary.md")).unwrap();
    assert!(page.contains("| ✅ holds | ssh stays open |"), "{page}");
    assert!(page.contains("| ❌ fails | the database is not for everybody | lands at "), "{page}");
    // The rule that did it, at its line of the file in the repository.
    assert!(page.contains(OPENED.trim_end()) && page.contains("rules.v4:8"), "{page}");
    assert!(page.lines().count() < 60, "one page");
    // Without that rule the request passes.
    let folder = repository(&RULES.replace(OPENED, ""));
    let output = act(folder.path(), &[("RULES", "rules.v4")]);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert!(output.stdout.is_empty(), "{}", show(&output));
}

#[test]
fn the_action_s_inputs_are_the_program_s() {
    let folder = repository(RULES);
    fs::write(folder.path().join("rules.v6"), "*filter\n:INPUT DROP [0:0]\nCOMMIT\n").unwrap();
    let rules = ("RULES", "rules.v4\nrules.v6\n");
    let output = act(folder.path(), &[rules, ("FORMAT", "sarif"), ("OUTPUT", "found.sarif")]);
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(output.stdout.is_empty());
    let found = fs::read_to_string(folder.path().join("found.sarif")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["version"], "2.1.0");
    let output = act(folder.path(), &[rules, ("FAIL_ON", "never")]);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let output = act(folder.path(), &[rules, ("POLICY", "absent.toml")]);
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    let snapshot = root().join("corpus/cases/03-snat-hand-edit");
    let snapshot = [("SNAPSHOT", snapshot.to_str().unwrap()), ("FORMAT", "concise")];
    let output = act(folder.path(), &snapshot);
    assert!(show(&output).contains("lands at 173.208.194."), "{}", show(&output));
}

#[test]
fn the_hook_is_the_program() {
    let hooks = fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    let value = |key: &str| {
        let line =
            hooks.lines().find_map(|line| line.trim_start_matches("- ").trim().strip_prefix(key));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(value("id:"), "nattrace-check");
    let entry = value("entry:");
    let words: Vec<&str> = entry.split_whitespace().collect();
    assert_eq!(words, ["nattrace", "check"]);
    assert!(hooks.contains("- id: nattrace-audit\n") && hooks.contains("entry: nattrace audit\n"));
    let folder = repository(RULES);
    let mut command = Command::new(env!("CARGO_BIN_EXE_nattrace"));
    command.current_dir(folder.path()).args(["check", "--rules", "rules.v4"]);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
}
