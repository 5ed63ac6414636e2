//! The first story, through the program: the host as it was fails what its owner wants, the hand
//! edit gives it to him, and what the edit broke is found by another entry, by `audit` and by `diff`.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use std::fs;

use program::{nattrace, root};
use serde_json::Value;
use tempfile::TempDir;

const WANTED: &str = r#"version = 1
[[egress]]
name   = "the network leaves as .205"
from   = "net:pub"
to     = "internet"
source = "173.208.194.205"

[[egress]]
name   = "its containers see one another"
from   = "net:pub"
to     = "net:pub"
source = "unchanged"
"#;

const ORIGINAL: &str = "02-host-binding-ipv4";
const EDITED: &str = "03-snat-hand-edit";
const RIGHT: &str = "03c-snat-hand-edit-correct";

fn json(arguments: &[&str], hosts: &[&str]) -> (Value, Option<i32>) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("nattrace.toml"), WANTED).unwrap();
    let mut command = nattrace();
    command.current_dir(folder.path()).args(arguments).arg("--json");
    for host in hosts {
        let host = root().join("corpus/cases").join(host);
        match arguments {
            ["diff"] => command.arg(host),
            _ => command.arg("-s").arg(host),
        };
    }
    let output = command.output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

/// The status of both entries, and why they fail.
fn checked(host: &str) -> Vec<(String, String)> {
    let (found, status) = json(&["check"], &[host]);
    let results = found["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each: Vec<_> = results.iter().map(|r| (text(&r["status"]), text(&r["reason"]))).collect();
    let fails = each.iter().any(|(status, _)| status == "fails");
    assert_eq!(status, Some(i32::from(fails)));
    each
}

fn codes(host: &str) -> Vec<(String, String)> {
    let (found, _) = json(&["audit"], &[host]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = found["findings"].as_array().unwrap();
    findings.iter().map(|found| (text(&found["code"]), text(&found["text"]))).collect()
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn the_original_fails_what_is_wanted() {
    let fails = pair("fails", "leaves eth0 as 173.208.194.202");
    assert_eq!(checked(ORIGINAL), [fails, pair("holds", "")]);
}

#[test]
fn the_hand_edit_gives_it_and_breaks_something_else() {
    let fails = pair("fails", "leaves br-17f69efef4eb as 173.208.194.205");
    assert_eq!(checked(EDITED), [pair("holds", ""), fails]);
    let rule = "-A POSTROUTING -s 172.18.0.0/16 -j SNAT --to-source 173.208.194.205";
    assert!(codes(EDITED).contains(&pair("masquerade-too-broad", rule)), "{:?}", codes(EDITED));
    let broken = |(code, _): &(String, String)| code == "masquerade-too-broad";
    assert!(!codes(ORIGINAL).iter().any(broken));
    // What the edit changed besides what was meant.
    let (changes, status) = json(&["diff"], &[ORIGINAL, EDITED]);
    assert_eq!(status, Some(1));
    let changes = changes["changes"].as_array().unwrap();
    let among = |change: &&Value| change["from"] == "net:pub" && change["to"] == "net:pub";
    let inside: Vec<&Value> = changes.iter().filter(among).collect();
    assert!(!inside.is_empty(), "{changes:#?}");
}

#[test]
fn an_edit_that_keeps_the_interface_breaks_nothing() {
    assert_eq!(checked(RIGHT), [pair("holds", ""), pair("holds", "")]);
    assert!(!codes(RIGHT).iter().any(|(code, _)| code == "masquerade-too-broad"));
}
