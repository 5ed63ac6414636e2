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

/// Programs get a report of every end, with the status that CLI.md names.
#[test]
fn every_end_has_its_status_and_its_report() {
    let Some(host) = Host::new(Backend::Nft) else { return };
    let json = |words: &str, session: &str, status: i32| -> serde_json::Value {
        let mut command = host.nattrace(&format!("{words} --json"));
        let output = command.env("SSH_CONNECTION", session).output().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words}: {shown}");
        serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null)
    };
    let session = "203.0.113.7 50000 203.0.113.10 22";
    let nothing = json("status", "", 0);
    assert_eq!(nothing["schema"], "nattrace/status/1");
    assert_eq!((&nothing["pending"], &nothing["kept"]), (&().into(), &serde_json::json!([])));
    for words in ["confirm nobody", "rollback nobody"] {
        assert!(json(words, "", 2).is_null(), "{words}");
        assert!(host.run(words, 2).contains("there is no transaction `nobody`"), "{words}");
    }
    assert_eq!(json("uninstall", "", 0)["done"], serde_json::json!([]));
    let plan = host.plan();
    let path = host.write(&plan);
    let (apply, id) = (format!("apply {}", path.display()), &plan.id);
    let lapsed = json(&format!("{apply} --confirm 1"), "", 4);
    for late in
        [lapsed, json(&format!("confirm {id}"), "", 4), json(&format!("rollback {id}"), "", 4)]
    {
        assert_eq!(late["schema"], "nattrace/apply/1");
        assert_eq!((&late["id"], &late["status"]), (&id.as_str().into(), &"rolled-back".into()));
        assert_eq!(late["reason"], "nobody confirmed it in time", "{late}");
        assert_eq!(late["refusals"], serde_json::json!([]), "{late}");
    }
    let mut command = host.nattrace(&format!("{apply} --confirm 60"));
    let applied = command.env("SSH_CONNECTION", session).stdout(std::process::Stdio::null());
    let mut applied = applied.spawn().unwrap();
    let waits = || json("status", "", 0)["pending"]["phase"] == "waiting";
    assert!(host.wait(20, waits));
    let pending = json("status", "", 0);
    assert_eq!(
        (&pending["pending"]["id"], &pending["pending"]["edits"]),
        (&id.as_str().into(), &5.into())
    );
    let same = json(&format!("confirm {id}"), session, 5);
    assert_eq!(
        (&same["status"], &same["refusals"][0]["force"]),
        (&"refused".into(), &"connection".into())
    );
    let second = json(&apply, "", 5);
    assert_eq!(second["refusals"][0]["force"], serde_json::Value::Null, "{second}");
    assert_eq!(json(&format!("confirm {id}"), "", 0)["status"], "confirmed");
    assert_eq!(applied.wait().unwrap().code(), Some(0));
    assert_eq!(json(&format!("rollback {id}"), "", 0)["status"], "rolled-back");
    // A journal that nobody can read: nothing is touched, and it is named.
    fs::write(host.state().join("pending.json"), "{").unwrap();
    assert!(host.run("status", 2).contains("pending.json` is no journal"));
    assert_eq!(json(&apply, "", 5)["status"], "refused");
    for words in [format!("confirm {id}"), format!("rollback {id}")] {
        assert_eq!(json(&words, "", 5)["status"], "refused", "{words}");
    }
    host.run("uninstall", 5);
    assert!(host.state().join("pending.json").is_file());
}
