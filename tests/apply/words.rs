//! What is printed, and what can not be read.

use std::fs;

use nattrace_parser::syntax::Backend;

use crate::host::{Host, text};

#[test]
fn a_dry_run_prints_and_touches_nothing() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let old = host.rules();
    let plan = host.plan();
    let path = host.write(&plan);
    let said = host.run(&format!("apply {} --dry-run", path.display()), 0);
    assert_eq!(host.rules(), old);
    assert!(!host.state().exists());
    let script = said.split("would load").next().unwrap();
    let loaded = host.sh(script);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    let by_hand = host.rules();
    // What is printed is what is done.
    host.sh(&format!("iptables -t nat -X nattrace-{}", plan.id));
    assert_ne!(by_hand, old);
    let json = host.run(&format!("apply {} --dry-run --force drift --json", path.display()), 5);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "nattrace/apply/1");
    assert_eq!(json["status"], "refused");
}

#[test]
fn a_plan_that_is_none_is_told_at_its_place() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let text = host.plan().to_json();
    for (from, to, expected) in [
        ("MASQUERADE", "MASQERADE --to-sourse 1.1.1.1", "unknown option `--to-sourse`"),
        ("\"op\": \"replace\"", "\"op\": \"repalce\"", "did you mean `replace`?"),
        ("nattrace/plan/1", "nattrace/plan/9", "expected `nattrace/plan/1`"),
        ("\"edits\"", "\"edist\"", "did you mean `edits`?"),
        ("}", "", "plan.json:"),
    ] {
        fs::write(host.path("plan.json"), text.replacen(from, to, 1)).unwrap();
        let said = host.run("apply plan.json", 2);
        assert!(said.contains(expected), "{from} -> {to}: {said}");
    }
    host.run("apply no-such-plan.json", 2);
    host.run("apply", 2);
    host.run("apply plan.json --confirm -1", 2);
    host.run("apply plan.json --force connection", 2);
    host.run("apply plan.json --force everything", 2);
    host.run("confirm nobody --force drift", 2);
    host.run("apply plan.json --snapshot x", 2);
    host.run("apply plan.json --format svg", 2);
}
