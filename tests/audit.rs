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

/// The first story as it was posted: rules alone, and one container that they name.
#[test]
fn the_posted_rules_of_the_first_story_show_what_the_edit_broke() {
    let output = run("audit --rules corpus/cases/03-snat-hand-edit/iptables-save --format concise");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(":41:warning[masquerade-too-broad]: this rule also"), "{text}");
}

/// A rule that hangs on a container's address, with what its comment says.
fn volatile(comment: &str) -> String {
    let rules = std::fs::read_to_string(
        program::root().join("corpus/cases/01-default-bridge/iptables-save"),
    )
    .unwrap();
    let rule = format!("-A FORWARD -d 172.17.0.2/32 -p tcp -m tcp --dport 9 {comment} -j DROP\n");
    rules.replacen("COMMIT\n", &format!("{rule}COMMIT\n"), 1)
}

/// The audit of that rule alone, in a folder.
fn audit_in(folder: &tempfile::TempDir, comment: &str, arguments: &str) -> std::process::Output {
    std::fs::write(folder.path().join("rules.v4"), volatile(comment)).unwrap();
    let mut command = program::nattrace();
    command.current_dir(folder.path()).args(["audit", "--rules", "rules.v4", "--fail-on", "info"]);
    command.args(["--only", "volatile-match", "-s"]);
    command.arg(program::root().join("corpus/cases/01-default-bridge"));
    command.args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn what_is_meant_does_not_count() {
    let folder = tempfile::TempDir::new().unwrap();
    let status = |comment: &str, arguments: &str| {
        let output = audit_in(&folder, comment, arguments);
        (output.status.code(), show(&output))
    };
    let open = status("", "");
    assert_eq!(open.0, Some(1), "{}", open.1);
    let allow = |what: &str| format!("-m comment --comment \"nattrace:allow({what}\"");
    for (comment, expected) in [
        (allow("volatile-match) compose fixes the address"), 0),
        (allow("duplicate-rule,volatile-match) compose fixes the address"), 0),
        (allow("duplicate-rule) another lint"), 1),
        (allow("volatile-match)"), 1),
        (allow("volatil-match) misspelt"), 1),
    ] {
        let (code, shown) = status(&comment, "");
        assert_eq!(code, Some(expected), "{comment}\n{shown}");
    }
    let (_, shown) = status(&allow("volatile-match) so"), "");
    assert!(shown.contains("does not count: allowed: so"), "{shown}");
    assert!(shown.contains("0 info; 1 more that do not count"), "{shown}");
    let (_, shown) = status(&allow("volatile-match)"), "");
    assert!(shown.contains("allows nothing: expected a reason"), "{shown}");
    let (_, shown) = status(&allow("volatil-match) so"), "");
    assert!(shown.contains("did you mean `volatile-match`?"), "{shown}");

    let policy = folder.path().join("nattrace.toml");
    let suppress = |code: &str, rest: &str| {
        let text = format!("version = 1\n[[suppress]]\ncode = \"{code}\"\n{rest}");
        std::fs::write(&policy, text).unwrap();
    };
    for (code, rest, expected) in [
        ("volatile-match", "reason = \"fixed\"\n", 0),
        ("volatile-match", "reason = \"fixed\"\nuntil = 2999-01-01\n", 0),
        ("volatile-match", "reason = \"fixed\"\nuntil = 2001-01-01\n", 1),
        ("duplicate-rule", "reason = \"fixed\"\n", 1),
        ("volatile-match", "", 2),
        ("volatil-match", "reason = \"fixed\"\n", 2),
    ] {
        suppress(code, rest);
        let (found, shown) = status("", "");
        assert_eq!(found, Some(expected), "{code} {rest}\n{shown}");
    }
    suppress("volatile-match", "reason = \"fixed\"\n");
    let (code, shown) = status("", "--json");
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("note: `nattrace.toml` lies here, and its suppressions hold"),
        "{shown}"
    );
    let document = audit_in(&folder, "", "--json").stdout;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["findings"][0]["suppressed"], "suppressed: fixed");
    std::fs::rename(&policy, folder.path().join("other.toml")).unwrap();
    assert_eq!(status("", "").0, Some(1));
    let (named, shown) = status("", "--policy other.toml");
    assert_eq!(named, Some(0), "{shown}");
    assert!(!shown.contains("lies here"), "{shown}");
    assert_eq!(status("", "--policy missing.toml").0, Some(2));
}

#[test]
fn a_baseline_leaves_what_is_new() {
    let folder = tempfile::TempDir::new().unwrap();
    let code = |arguments: &str| audit_in(&folder, "", arguments).status.code();
    assert_eq!(code("--write-baseline known.json"), Some(1));
    assert_eq!(code("--baseline known.json"), Some(0));
    std::fs::write(
        folder.path().join("known.json"),
        r#"{"schema": "nattrace/audit-baseline/1", "findings": []}"#,
    )
    .unwrap();
    assert_eq!(code("--baseline known.json"), Some(1));
    for text in ["{}", r#"{"schema": "nattrace/baseline/1", "results": []}"#, "no"] {
        std::fs::write(folder.path().join("known.json"), text).unwrap();
        assert_eq!(code("--baseline known.json"), Some(2), "{text}");
    }
}

/// What stands beside the files of a pull request needs their names as they lie there.
#[test]
fn places_in_reports_are_files() {
    let folder = tempfile::TempDir::new().unwrap();
    let host = folder.path().join("hosts/web");
    std::fs::create_dir_all(&host).unwrap();
    let case = program::root().join("corpus/cases/03-snat-hand-edit");
    let mut whole = String::new();
    let networks = ["docker-network-inspect.json", "docker-inspect.json", "bridge-link.json"];
    let others = ["ip-addr.json", "ip-route.json", "sysctl", "iptables-save"];
    for part in networks.into_iter().chain(others) {
        let text = std::fs::read_to_string(case.join(part)).unwrap();
        whole.push_str(&format!("#@ nattrace {part}\n{text}"));
        std::fs::write(host.join(part), text).unwrap();
    }
    std::fs::write(folder.path().join("host.snapshot"), &whole).unwrap();
    let first = |snapshot: &str| {
        let mut command = program::nattrace();
        command.current_dir(folder.path()).args(["audit", "--format", "sarif"]);
        let output = command.args(["--only", "masquerade-too-broad", "-s", snapshot]).output();
        let log: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        let line = place["region"]["startLine"].as_u64().unwrap();
        (place["artifactLocation"]["uri"].as_str().unwrap().to_owned(), line as usize)
    };
    let rule = "-A POSTROUTING -s 172.18.0.0/16 -j SNAT --to-source 173.208.194.205";
    for (snapshot, file) in [
        ("hosts/web", "hosts/web/iptables-save"),
        (host.to_str().unwrap(), "hosts/web/iptables-save"),
        ("host.snapshot", "host.snapshot"),
    ] {
        let (uri, line) = first(snapshot);
        assert_eq!(uri, file);
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.lines().nth(line - 1).unwrap().ends_with(rule), "{file}:{line}");
    }
}

#[test]
fn junit_tells_of_every_lint_and_fails_with_the_command() {
    let host = "-s corpus/cases/03-snat-hand-edit --format junit";
    let count = |text: &str, what: &str| text.matches(what).count();
    let passing = String::from_utf8(run(&format!("audit {host}")).stdout).unwrap();
    assert_eq!(count(&passing, "<failure") + count(&passing, "<error"), 0, "{passing}");
    assert!(count(&passing, "<testcase") > 30);
    let failing = run(&format!("audit {host} --fail-on warning"));
    let failing = String::from_utf8(failing.stdout).unwrap();
    assert_eq!(count(&failing, "<failure"), 1, "{failing}");
    let one = run("audit -s corpus/cases/01-default-bridge --format junit --only duplicate-rule");
    assert_eq!(count(&String::from_utf8(one.stdout).unwrap(), "<testcase"), 1);
}

/// What is said to end a finding about a file does.
#[test]
fn a_file_without_what_programs_make_is_left() {
    let folder = tempfile::TempDir::new().unwrap();
    let case = program::root().join("corpus/cases/14a-docker-user-wrong-port/iptables-save");
    std::fs::copy(case, folder.path().join("rules.v4")).unwrap();
    let audit = || {
        let mut command = program::nattrace();
        command.current_dir(folder.path()).args(["audit", "--rules", "rules.v4", "--json"]);
        let output = command.args(["--only", "persisted-runtime-rules"]).output().unwrap();
        assert!(output.status.success(), "{}", show(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["findings"].clone()
    };
    let found = audit();
    let fix = found[0]["fix"][0].as_str().unwrap().to_owned();
    let mut shell = std::process::Command::new("sh");
    assert!(shell.current_dir(folder.path()).args(["-c", &fix]).status().unwrap().success());
    assert_eq!(audit().as_array().unwrap().len(), 0);
    let left = std::fs::read_to_string(folder.path().join("rules.v4")).unwrap();
    assert!(left.contains(":DOCKER-USER "), "{left}");
    assert!(left.contains("-A FORWARD -j DOCKER-USER"), "{left}");
    assert!(left.contains("-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 8080 -j DROP"), "{left}");
    for gone in [":DOCKER ", "-j DOCKER\n", "MASQUERADE", "docker0"] {
        assert!(!left.contains(gone), "{gone} in {left}");
    }
    assert!(folder.path().join("rules.v4.bak").exists());
}
