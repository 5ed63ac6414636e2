//! `nattrace audit` from outside.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use program::{run, run_with_input, show};

fn check(name: &str, arguments: &str) {
    let output = run(arguments);
    insta::assert_snapshot!(name, format!("$ nattrace {arguments}\n{}", show(&output)));
}

#[test]
fn findings_are_told() {
    check("pretty", "audit -s corpus/cases/14a-docker-user-wrong-port");
    check("concise", "audit -s corpus/cases/08a-ufw-docker --format concise");
    check("clean", "audit -s corpus/cases/01-default-bridge");
    check("unknown", "audit -s corpus/cases/01-default-bridge --only snat-shadowed");
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let output = run("audit -s corpus/cases/03-snat-hand-edit --json");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "nattrace/audit/1");
    let finding = &document["findings"][0];
    for key in ["code", "severity", "owner", "at", "text", "message", "effect", "help"] {
        assert!(finding[key].is_string(), "{key} of {finding}");
    }
    assert_eq!(finding["code"], "masquerade-too-broad");
    assert_eq!(finding["witness"]["schema"], "nattrace/why/1");
    assert_eq!(finding["witness"]["egress"]["src"], "173.208.194.205");
    let lines = run("audit -s corpus/cases/03-snat-hand-edit --format jsonl");
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert_eq!(lines.lines().count(), document["findings"].as_array().unwrap().len());
}

#[test]
fn the_status_tells_the_worst() {
    for (arguments, expected) in [
        ("-s corpus/cases/01-default-bridge", 0),
        ("-s corpus/cases/14a-docker-user-wrong-port", 1),
        ("-s corpus/cases/14a-docker-user-wrong-port --exit-zero", 0),
        ("-s corpus/cases/14a-docker-user-wrong-port --fail-on never", 0),
        ("-s corpus/cases/14a-docker-user-wrong-port --only duplicate-rule", 0),
        ("-s corpus/cases/03-snat-hand-edit", 0),
        ("-s corpus/cases/03-snat-hand-edit --fail-on warning", 1),
        ("-s corpus/cases/03c-snat-hand-edit-correct --fail-on info", 1),
    ] {
        let output = run(&format!("audit {arguments}"));
        assert_eq!(output.status.code(), Some(expected), "{arguments}\n{}", show(&output));
    }
}

/// Every replay line of every recorded host is a command that shows the witness again.
#[test]
fn witnesses_can_be_replayed() {
    let mut cases: Vec<_> = std::fs::read_dir(program::root().join("corpus/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("iptables-save").exists())
        .collect();
    cases.sort();
    let mut replayed = 0;
    for case in cases {
        let host = format!("-s {}", case.display());
        let document: serde_json::Value =
            serde_json::from_slice(&run(&format!("audit {host} --json")).stdout).unwrap();
        for finding in document["findings"].as_array().unwrap() {
            let Some(replay) = finding["replay"].as_str() else { continue };
            let words = replay.strip_prefix("nattrace why ").unwrap();
            let output = run(&format!("why {host} {words} --json"));
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{host} {replay}: {error}\n{}", show(&output)));
            assert_eq!(answer["outcome"], finding["witness"]["outcome"], "{host} {replay}");
            assert_eq!(answer["egress"], finding["witness"]["egress"], "{host} {replay}");
            replayed += 1;
        }
    }
    assert!(replayed >= 30, "{replayed}");
}

/// A file that is loaded at boot, with what Docker made for containers of another day.
#[test]
fn rules_that_were_saved_are_seen() {
    let folder = tempfile::TempDir::new().unwrap();
    let rules = std::fs::read(program::root().join("corpus/cases/01-default-bridge/iptables-save"));
    for (name, expected) in [("rules.v4", true), ("today.rules", false)] {
        let path = folder.path().join(name);
        std::fs::write(&path, rules.as_ref().unwrap()).unwrap();
        let output = run(&format!("audit --rules {} --format concise", path.display()));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains("warning[persisted-runtime-rules]"), expected, "{name}\n{text}");
    }
}

/// Rules alone show the bridge, its subnet and the published port.
#[test]
fn a_pasted_dump_is_enough() {
    let rules = b"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\n\
        COMMIT\n*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        :DOCKER-USER - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n\
        -A DOCKER-USER -i eth0 -p tcp -m tcp --dport 8080 -j DROP\n-A DOCKER-USER -j RETURN\nCOMMIT\n";
    let output = run_with_input("audit --rules - --format concise", rules);
    let text = String::from_utf8(output.stdout).unwrap();
    for code in ["published-port-bypasses-input", "docker-user-host-port-after-dnat"] {
        assert!(text.contains(code), "{code} not in\n{text}");
    }
}
