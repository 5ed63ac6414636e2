//! `nattrace redact` from outside.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod law;
#[path = "../program/mod.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use program::{run, run_with_input, show};

const HOST: &str = "-s corpus/cases/01-default-bridge";

#[test]
fn a_redacted_snapshot_answers_alike() {
    let scratch = tempfile::tempdir().unwrap();
    let (public, secret) = (scratch.path().join("public"), scratch.path().join("secret.json"));
    let (public, secret) = (public.display(), secret.display());
    let output = run(&format!("redact {HOST} -o {public} --map {secret}"));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let mode = fs::metadata(secret.to_string()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let map: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(&fs::read_to_string(secret.to_string()).unwrap()).unwrap();
    let web = map["container"]["web"].as_str();
    assert_ne!(web, "web");
    let text = fs::read_to_string(public.to_string()).unwrap();
    assert!(!text.contains("172.17.0.2") && !text.contains("/web\""));

    let verdict = |arguments: &str| -> (String, String) {
        let output = run(arguments);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (json["outcome"].to_string(), json["egress"]["src"].as_str().unwrap().to_owned())
    };
    let (before, source) = verdict(&format!("why {HOST} web to internet:443 --json"));
    let (after, other) = verdict(&format!("why -s {public} {web} to internet:443 --json"));
    assert_eq!((before, &map["address"][&source]), (after, &other));
}

#[test]
fn rules_alone_stay_rules_alone() {
    let rules = b"*filter\n:INPUT DROP [0:0]\n-A INPUT -s 85.1.2.3/32 -m comment --comment anna -j ACCEPT\nCOMMIT\n";
    let output = run_with_input("redact --rules -", rules);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("*filter\n:INPUT DROP [0:0]\n-A INPUT -s "), "{text}");
    assert!(!text.contains("85.1.2.3") && !text.contains("anna"), "{text}");
}

#[test]
fn what_can_not_be_read_is_not_passed_on() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("host");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("ip-addr.json"), "[{\"ifname\": \"anna0\"").unwrap();
    let public = scratch.path().join("public");
    let output = run(&format!("redact -s {} -o {}", folder.display(), public.display()));
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    assert!(!public.exists());
    assert!(String::from_utf8(output.stderr).unwrap().contains("`ip-addr.json` is no JSON"));
}
