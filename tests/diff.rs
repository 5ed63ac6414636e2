//! `nattrace diff` from outside: what it prints, and the status that it ends with.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use program::{nattrace, root, show};
use serde_json::Value;
use tempfile::TempDir;

fn case(name: &str) -> PathBuf {
    root().join("corpus/cases").join(name)
}

fn diff(arguments: &[&str], old: &Path, new: &Path) -> Output {
    nattrace().arg("diff").args(arguments).arg(old).arg(new).output().unwrap()
}

/// The changes, and the whole document.
fn changes(arguments: &[&str], old: &Path, new: &Path) -> (Vec<Value>, Value) {
    let output = diff(&[arguments, &["--json"]].concat(), old, new);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", show(&output)));
    assert_eq!(document["schema"], "nattrace/diff/1");
    let changes = document["changes"].as_array().unwrap().clone();
    (changes, document)
}

/// The rules of a case, changed, in a file.
fn edited(folder: &TempDir, case_name: &str, edit: impl Fn(&str) -> String) -> PathBuf {
    let text = fs::read_to_string(case(case_name).join("iptables-save")).unwrap();
    let path = folder.path().join("new.rules");
    fs::write(&path, edit(&text)).unwrap();
    path
}

fn is(change: &Value, from: &str, to: &str, what: &str, before: &str, after: &str) -> bool {
    change["from"] == from
        && change["to"] == to
        && change["what"] == what
        && change["before"] == before
        && change["after"] == after
}

/// What was asked for already is not advised.
#[test]
fn all_that_was_compared_is_told_once() {
    let (old, new) = (case("03-snat-hand-edit"), case("03c-snat-hand-edit-correct"));
    let told = |arguments: &[&str]| {
        String::from_utf8(diff(arguments, &old, &new).stdout).unwrap().contains("diff --all")
    };
    assert!(told(&[]), "odd packets are left out");
    assert!(!told(&["--all"]));
}

/// Story 1: the hand edit leaves as .205, and rewrites what containers send to one another.
#[test]
fn the_first_story() {
    let folder = TempDir::new().unwrap();
    let host = case("03-snat-hand-edit");
    let docker = "-A POSTROUTING -s 172.18.0.0/16 ! -o br-17f69efef4eb -j MASQUERADE";
    let old = edited(&folder, "03-snat-hand-edit", |text| {
        let rule = text.lines().find(|line| line.contains("--to-source 173.208.194.205"));
        text.replace(rule.unwrap(), docker)
    });
    let (found, document) = changes(&[], &old, &host);
    assert_eq!(document["equal"], false);
    let told = |to: &str, before: &str, after: &str| {
        found.iter().any(|change| is(change, "net:pub", to, "source", before, after))
    };
    assert!(told("internet", "173.208.194.202", "173.208.194.205"), "{found:#?}");
    assert!(told("net:pub", "unchanged", "173.208.194.205"), "{found:#?}");
    let witness = &found[0]["witness"];
    assert_eq!(witness["before"]["schema"], "nattrace/why/1");
    assert_eq!(witness["before"]["flow"], witness["after"]["flow"]);
    assert_eq!(diff(&[], &old, &host).status.code(), Some(1));
}

#[test]
fn what_is_equal_is_equal() {
    let folder = TempDir::new().unwrap();
    let host = case("01-default-bridge");
    for (name, edit) in [
        ("the same", (|text| text.to_owned()) as fn(&str) -> String),
        ("counters", |text| text.replace("[0:0]", "[7:77]")),
        ("a line that says nothing", |text| format!("# text\n{text}")),
        ("a comment", |text| {
            text.replace(
                "-A DOCKER-USER -j RETURN",
                "-A DOCKER-USER -m comment --comment x -j RETURN",
            )
        }),
        ("a rule behind one that ends", |text| {
            text.replace(
                "-A DOCKER-USER -j RETURN",
                "-A DOCKER-USER -j RETURN\n-A DOCKER-USER -p tcp -j DROP",
            )
        }),
        ("a chain that nothing calls", |text| {
            text.replacen(":DOCKER ", ":lone - [0:0]\n:DOCKER ", 1).replacen(
                "COMMIT",
                "-A lone -j DROP\nCOMMIT",
                1,
            )
        }),
        ("a rule that only counts", |text| {
            text.replacen("-A FORWARD", "-A FORWARD -p tcp\n-A FORWARD", 1)
        }),
    ] {
        let new = edited(&folder, "01-default-bridge", edit);
        // Where rules are all that is known, what was inferred from a line of them is told in
        // words that differ.
        for old in [host.clone(), host.join("iptables-save")] {
            let output = diff(&[], &old, &new);
            assert_eq!(output.status.code(), Some(0), "{name}: {}", show(&output));
            let (found, document) = changes(&[], &old, &new);
            assert!(found.is_empty() && document["equal"] == true, "{name}");
        }
    }
}

/// A host with a table of nft's own, whose base chain has some name.
fn native(folder: &TempDir, chain: &str, port: u16) -> PathBuf {
    let host = folder.path().join(format!("{chain}-{port}"));
    fs::create_dir(&host).unwrap();
    for entry in fs::read_dir(case("01-default-bridge")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, host.join(path.file_name().unwrap())).unwrap();
    }
    let list = serde_json::json!({"nftables": [
        {"table": {"family": "ip", "name": "own", "handle": 1}},
        {"chain": {"family": "ip", "table": "own", "name": chain, "handle": 1, "type": "filter",
            "hook": "input", "prio": -5, "policy": "accept"}},
        {"rule": {"family": "ip", "table": "own", "chain": chain, "handle": 2, "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
                "right": port}},
            {"drop": null}]}}
    ]});
    fs::write(host.join("nft-ruleset.json"), list.to_string()).unwrap();
    host
}

#[test]
fn base_chains_that_were_only_renamed_are_the_same() {
    let folder = TempDir::new().unwrap();
    let old = native(&folder, "early", 2222);
    let status = |new: &Path| diff(&[], &old, new).status.code();
    assert_eq!(status(&native(&folder, "first", 2222)), Some(0));
    assert_eq!(status(&native(&folder, "first", 2223)), Some(1));
}

/// ufw denies ports whose packets its policy drops anyway.
#[test]
fn a_drop_before_a_drop_is_no_change() {
    let (old, new) = (case("08a-ufw-docker"), case("08b-ufw-deny-8080"));
    for (one, other) in [(&old, &new), (&new, &old)] {
        let output = diff(&["--all"], one, other);
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    }
    let folder = TempDir::new().unwrap();
    let open = |text: &str| text.replacen(":INPUT DROP", ":INPUT ACCEPT", 1);
    let (old, new) = (edited(&folder, "08a-ufw-docker", open), folder.path().join("other.rules"));
    let text = fs::read_to_string(case("08b-ufw-deny-8080").join("iptables-save")).unwrap();
    fs::write(&new, open(&text)).unwrap();
    let snapshot = case("08a-ufw-docker").display().to_string();
    assert_eq!(diff(&["-s", &snapshot], &old, &new).status.code(), Some(1));
}

/// The rules of a case with two more chains, in which chance decides.
fn with_chains(folder: &TempDir, name: &str, rename: impl Fn(&str) -> String) -> PathBuf {
    let text = fs::read_to_string(case("01-default-bridge").join("iptables-save")).unwrap();
    let text = text.replacen(":DOCKER ", ":hand - [0:0]\n:often - [0:0]\n:DOCKER ", 1).replacen(
        "COMMIT",
        "-I FORWARD -i eth0 -p tcp -m tcp --dport 80 -j hand\n\
         -A hand -m limit --limit 3/sec -j often\n-A hand -s 198.51.100.0/24 -j DROP\n\
         -A often -m statistic --mode random --probability 0.5 -j ACCEPT\n-A often -j DROP\nCOMMIT",
        1,
    );
    let path = folder.path().join(name);
    fs::write(&path, rename(&text)).unwrap();
    path
}

#[test]
fn chains_that_were_only_renamed_are_the_same() {
    let folder = TempDir::new().unwrap();
    let host = case("01-default-bridge");
    let snapshot = host.display().to_string();
    let old = with_chains(&folder, "old.rules", str::to_owned);
    let renamed = |text: &str| text.replace("hand", "house").replace("often", "seldom");
    let new = with_chains(&folder, "new.rules", renamed);
    let (found, document) = changes(&["-s", &snapshot], &old, &new);
    assert!(found.is_empty() && document["equal"] == true, "{found:#?}");
    assert_eq!(diff(&["-s", &snapshot], &old, &new).status.code(), Some(0));
    // Docker's own, called from several places.
    let new = edited(&folder, "01-default-bridge", |text| {
        text.replace("DOCKER-ISOLATION-STAGE-2", "APART").replace("DOCKER-USER", "HOUSE-RULES")
    });
    assert_eq!(diff(&[], &host, &new).status.code(), Some(0));
    // Renamed, and something else: just that is told.
    let narrow = |text: &str| text.replace("198.51.100.0/24", "198.51.100.0/25");
    let edited = with_chains(&folder, "edited.rules", narrow);
    let both = with_chains(&folder, "both.rules", |text| narrow(&renamed(text)));
    let told = |new: &Path| -> Vec<String> {
        let (found, _) = changes(&["-s", &snapshot], &old, new);
        found.iter().map(|c| format!("{} {} {}", c["from"], c["to"], c["status"])).collect()
    };
    assert_eq!(told(&both), told(&edited));
    assert!(told(&both).first().is_some_and(|first| first.contains("198.51.100.128/25")));
}

#[test]
fn a_port_that_is_closed_is_told_by_the_name_of_its_container() {
    let folder = TempDir::new().unwrap();
    let host = case("01-default-bridge");
    let new = edited(&folder, "01-default-bridge", |text| {
        text.replace(
            "-A DOCKER-USER -j RETURN",
            "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 80 -j DROP\n-A DOCKER-USER -j RETURN",
        )
    });
    let (found, _) = changes(&[], &host, &new);
    let web = |change: &Value| is(change, "internet", "web:80", "outcome", "connects", "timeout");
    assert!(found.iter().any(web), "{found:#?}");
    let output = diff(&["--format", "concise"], &host, &new);
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("internet -> web:80: was connects, now timeout")
    );
    // The other way round.
    let (found, _) = changes(&[], &new, &host);
    assert!(found.iter().any(|c| is(c, "internet", "web:80", "outcome", "timeout", "connects")));
}

#[test]
fn what_is_not_understood_is_undetermined() {
    let folder = TempDir::new().unwrap();
    let host = case("01-default-bridge");
    let new = edited(&folder, "01-default-bridge", |text| {
        text.replace(
            "-A DOCKER-USER -j RETURN",
            "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 80 -m bpf --bytecode \"1,6 0 0 0\" -j DROP\n-A DOCKER-USER -j RETURN",
        )
    });
    let (found, document) = changes(&[], &host, &new);
    assert_eq!(document["equal"], false);
    assert!(found.iter().all(|change| change["status"] == "undetermined"), "{found:#?}");
    assert_eq!(diff(&[], &host, &new).status.code(), Some(3));
    assert_eq!(diff(&["--exit-zero"], &host, &new).status.code(), Some(0));
}

#[test]
fn rules_are_about_the_host_that_is_named() {
    let folder = TempDir::new().unwrap();
    let host = case("01-default-bridge");
    let old = host.join("iptables-save");
    let new = edited(&folder, "01-default-bridge", |text| {
        text.replacen(":INPUT ACCEPT", ":INPUT DROP", 1)
    });
    let snapshot = host.display().to_string();
    let (found, _) = changes(&["-s", &snapshot], &old, &new);
    let (same, _) = changes(&[], &host, &new);
    assert_eq!(found.len(), same.len());
    assert!(!found.is_empty());
}

#[test]
fn what_cannot_be_used_is_told_in_one_line() {
    let (one, two) = (case("01-default-bridge"), case("04-networks"));
    let missing = case("01-default-bridg");
    for (name, output) in [
        ("diff-missing", diff(&[], &one, &missing)),
        ("diff-host-twice", diff(&["-s", &one.display().to_string()], &one, &two)),
        ("diff-format", diff(&["--format", "sarif"], &one, &two)),
        ("diff-stdin-twice", diff(&[], Path::new("-"), Path::new("-"))),
    ] {
        assert_eq!(output.status.code(), Some(2), "{name}");
        let text = show(&output).replace(&root().display().to_string(), "");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn hosts_that_differ_are_compared_all_the_same() {
    let output = diff(&["--json"], &case("01-default-bridge"), &case("15a-flushed-nat"));
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
}

/// What a person would say of the edits of the stories, each shown by a packet of which `why` says
/// the same on both hosts.
#[test]
fn the_stories() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let rules = |name: &str| fs::read_to_string(case(name).join("iptables-save")).unwrap();
    let seed = |name: &str| fs::read_to_string(root().join("corpus/seeds").join(name)).unwrap();
    let right_port = rules("14a-docker-user-wrong-port").replace(
        "-p tcp -m tcp --dport 8080 -j DROP",
        "-p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP",
    );
    let masqueraded = rules("15a-flushed-nat").replacen(
        ":POSTROUTING ACCEPT",
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n:POSTROUTING ACCEPT",
        1,
    );
    let (second, without): (String, String) = {
        let text = seed("2-second-uplink/verbose.txt");
        let kept = text.lines().filter(|line| !(line.contains("eth1") && line.contains("MASQ")));
        (text.clone(), kept.map(|line| format!("{line}\n")).collect())
    };
    let (apart, together): (String, String) = {
        let text = seed("4-two-bridges/posted.txt");
        let kept = text
            .lines()
            .filter(|line| !(line.contains("DROP       all") && line.contains("br-740d57cab248")));
        (text.clone(), kept.map(|line| format!("{line}\n")).collect())
    };
    let (five_a, five_b) =
        ("05a-lan-before-forward-accept", "05b-lan-no-masquerade-forward-accept");
    let five_c = "05c-lan-masquerade-except-lan-forward-accept";
    let second_uplink = root().join("corpus/seeds/2-second-uplink");
    for (old, new, host, line) in [
        (
            case("03-snat-hand-edit"),
            case("03c-snat-hand-edit-correct"),
            None,
            "net:pub -> net:pub: source was 173.208.194.205, now unchanged",
        ),
        (
            case("03c-snat-hand-edit-correct"),
            case("03d-snat-appended"),
            None,
            "net:pub -> internet: source was 173.208.194.205, now 173.208.194.202",
        ),
        (
            file("without", without),
            file("second", second),
            Some(&second_uplink),
            "lan:eth0 -> lan:eth1: was timeout, now connects",
        ),
        (case(five_a), case(five_b), None, "net:bridge -> internet: was connects, now timeout"),
        (
            case(five_a),
            case(five_b),
            None,
            "net:bridge -> peer: source was 192.168.12.107, now unchanged",
        ),
        (case(five_b), case(five_c), None, "web -> internet: was timeout, now connects"),
        (file("apart", apart), file("together", together), None, ": was timeout, now connects"),
        (
            case("06a-iptables-false"),
            case("06b-iptables-false-snat"),
            None,
            "net:net1 -> internet: was timeout, now connects",
        ),
        (
            case("14a-docker-user-wrong-port"),
            file("right-port", right_port),
            None,
            "internet -> web:80: was connects, now timeout",
        ),
        (
            case("15a-flushed-nat"),
            file("masqueraded", masqueraded),
            None,
            "net:bridge -> internet: was timeout, now connects",
        ),
    ] {
        let snapshot = host.map(|host| host.display().to_string());
        let on_host: Vec<&str> = snapshot.iter().flat_map(|host| ["-s", host]).collect();
        let output = diff(&[&on_host[..], &["--format", "concise"]].concat(), &old, &new);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(line), "`{line}` is not said:\n{}", show(&output));
        let (found, _) = changes(&on_host, &old, &new);
        for change in found.iter().filter(|change| change["usual"] == true) {
            for (side, path) in [("before", &old), ("after", &new)] {
                let told = &change["witness"][side];
                // A process that leaves its source to the kernel is no flow of a list.
                if ["::", "0.0.0.0"].iter().any(|any| told["flow"]["src"] == *any) {
                    continue;
                }
                let again = why_again(path, &old, &on_host, &told["flow"]);
                for key in ["verdict", "outcome", "egress"] {
                    assert_eq!(again[key], told[key], "{side} {change:#}");
                }
            }
            assert!(change["decided_by"].is_object());
            let by = &change["decided_by"];
            assert!(change["status"] != "changed" || by["before"] != by["after"], "{change:#}");
        }
    }
}

/// What `why` says of a packet on one side of a comparison.
fn why_again(path: &Path, old: &Path, on_host: &[&str], flow: &Value) -> Value {
    let folder = TempDir::new().unwrap();
    let flows = folder.path().join("flows");
    fs::write(&flows, format!("{flow}\n")).unwrap();
    let mut command = nattrace();
    command.args(["why", "--flows"]).arg(&flows).args(on_host);
    match path.is_dir() {
        true => command.arg("-s").arg(path),
        // Rules that are held against a host are about that host.
        false if old.is_dir() => command.arg("-s").arg(old).arg("--rules").arg(path),
        false => command.arg("--rules").arg(path),
    };
    let output = command.output().unwrap();
    let again: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", show(&output)));
    assert!(again["error"].is_null(), "{again}\n{flow}");
    again
}
