//! `nattrace check --engine` and `--emit-smt2` from outside.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use program::{nattrace, root};
use tempfile::TempDir;

const POLICY: &str = r#"version = 1

[[egress]]
name   = "web leaves as .205"
from   = "net:pub"
to     = "internet"
source = "173.208.194.205"
family = "ipv4"

[[egress]]
name   = "web leaves as .202"
from   = "net:pub"
to     = "internet"
source = "173.208.194.202"
family = "ipv4"

[[allow]]
name   = "web reaches ../the internet"
from   = "net:pub"
to     = "internet:443"
family = "ipv4"
"#;

/// Runs `check` with the policy on the host of the first story.
fn check(folder: &Path, arguments: &[&str]) -> Output {
    fs::write(folder.join("nattrace.toml"), POLICY).unwrap();
    let mut command = nattrace();
    command.current_dir(folder).arg("check").arg("-s");
    command.arg(root().join("corpus/cases/03-snat-hand-edit")).args(arguments);
    command.env_remove("GITHUB_STEP_SUMMARY").output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_classes_answer_where_nobody_names_an_engine() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["--json"][..], &["--json", "--engine", "classes"]] {
        let output = check(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(json(&output)["results"][0]["proved_by"], serde_json::json!(["classes"]));
    }
}

#[test]
fn an_unknown_engine_is_refused_with_those_that_there_are() {
    let folder = TempDir::new().unwrap();
    let output = check(folder.path(), &["--engine", "z4"]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("classes") && words.contains("both"), "{words}");
    let output = check(folder.path(), &["--z3-timeout", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(not(feature = "z3"))]
#[test]
fn without_z3_its_engine_is_refused() {
    let folder = TempDir::new().unwrap();
    for engine in ["z3", "both"] {
        let output = check(folder.path(), &["--engine", engine]);
        assert_eq!(output.status.code(), Some(2));
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("this nattrace was built without Z3"), "{words}");
        assert!(words.contains("--features z3"), "{words}");
    }
}

#[cfg(feature = "z3")]
#[test]
fn z3_says_the_same_and_who_says_it() {
    let folder = TempDir::new().unwrap();
    let classes = json(&check(folder.path(), &["--json"]));
    let alone = json(&check(folder.path(), &["--json", "--engine", "z3"]));
    let both = check(folder.path(), &["--json", "--engine", "both"]);
    assert_eq!(both.status.code(), Some(1));
    let both = json(&both);
    for index in 0..3 {
        let status = &classes["results"][index]["status"];
        assert_eq!(&alone["results"][index]["status"], status);
        assert_eq!(&both["results"][index]["status"], status);
        let by = alone["results"][index]["proved_by"].as_array().unwrap();
        assert_eq!(by.len(), 1);
        assert!(by[0].as_str().unwrap().starts_with("z3 4."), "{by:?}");
        let by = both["results"][index]["proved_by"].as_array().unwrap();
        assert_eq!((by.len(), by[0].as_str()), (2, Some("classes")));
    }
    // The packet is one that `why` was run on.
    let shown = &alone["results"][1]["counterexamples"][0]["why"];
    assert_eq!(shown["egress"]["src"], "173.208.194.205");
}

#[test]
fn obligations_are_checked_by_the_solver_itself() {
    let folder = TempDir::new().unwrap();
    let output = check(folder.path(), &["--json", "--emit-smt2", "out"]);
    let results = json(&output);
    let names = ["web-leaves-as-205", "web-leaves-as-202", "web-reaches-the-internet"];
    let files = fs::read_dir(folder.path().join("out")).unwrap().count();
    assert_eq!(files, names.len());
    for (index, name) in names.iter().enumerate() {
        let path = folder.path().join(format!("out/{name}.ipv4.smt2"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("; nattrace obligation: web"), "{text:.80}");
        let Ok(solved) = Command::new("z3").arg(&path).output() else {
            nattrace_skips::skip("an obligation put to a solver", "no program `z3` here");
            continue;
        };
        let expected = match results["results"][index]["status"].as_str() {
            Some("holds") => "unsat\n",
            _ => "sat\n",
        };
        assert_eq!(String::from_utf8(solved.stdout).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("taken"), "").unwrap();
    let output = check(folder.path(), &["--emit-smt2", "taken"]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("can't write `taken`"), "{words}");
}
