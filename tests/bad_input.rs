//! Every kind of unusable input gets a message that says what is wrong, where, and what to do.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

mod program;

use program::{root, run, run_with_input, show};

/// Checks the messages for one command line against their snapshot.
fn check(name: &str, arguments: &str) {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{}", show(&output));
    insta::assert_snapshot!(name, format!("$ nattrace {arguments}\n{}", show(&output)));
}

#[test]
fn rules() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("tests/bad-input"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".rules"))
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        check(&name, &format!("why --rules tests/bad-input/{name} 10.0.0.1 to 1.1.1.1"));
    }
}

#[test]
fn snapshots() {
    for name in [
        "wrong-json",
        "no-parts",
        "no-part-header.snapshot",
        "cut-off.snapshot",
        "missing",
        "bad-value.rules",
    ] {
        check(
            &format!("snapshot-{name}"),
            &format!("why --snapshot tests/bad-input/{name} 10.0.0.1 to 1.1.1.1"),
        );
    }
}

#[test]
fn files() {
    for (name, arguments) in [
        ("rules-missing", "fmt tests/bad-input/lop.rules"),
        ("rules-directory", "fmt tests/bad-input"),
        ("rules-is-snapshot", "fmt tests/bad-input/cut-off.snapshot"),
        ("stdin-twice", "why --rules - --snapshot - a b"),
        ("flows-stdin-twice", "why --rules - --flows -"),
        ("flows-missing", "why --snapshot corpus/cases/01-default-bridge --flows nothing"),
    ] {
        check(name, arguments);
    }
}

#[test]
fn questions() {
    let host = "--snapshot corpus/cases/01-default-bridge";
    for (name, words) in [
        ("unknown-container", "wbe to 1.1.1.1"),
        ("unknown-interface", "1.1.1.1 to web:80 --in ehto0"),
        ("address", "300.1.1.1 to web:80"),
        ("port", "web to 1.1.1.1:99999"),
        ("mixed-families", "web to 2001:db8::1"),
        ("no-destination", "web"),
        ("too-many-words", "web to 1.1.1.1 now"),
        ("no-words", ""),
        ("state", "web to 1.1.1.1 --state old"),
        ("mark", "web to 1.1.1.1 --mark red"),
        ("tcp-flags", "web to 1.1.1.1:80 --tcp-flags SYM"),
        ("icmp-type", "web to 1.1.1.1 --icmp-type ehco"),
        ("protocol", "web to 1.1.1.1 --proto tpc"),
        ("dash-without-redirection", "web -"),
        ("format", "web to 1.1.1.1 --format dot"),
        ("flows-and-words", "web to 1.1.1.1 --flows -"),
    ] {
        check(&format!("question-{name}"), &format!("why {host} {words}"));
    }
}

#[test]
fn command_lines() {
    for (name, arguments) in [
        ("unknown-command", "wyh a b"),
        ("unknown-option", "why a b --snapshto x"),
        ("no-command", ""),
        ("unknown-format", "why a b --format xml"),
        ("unknown-code", "explain unknown-optoin"),
        ("unknown-shell", "completions csh"),
        ("unknown-table", "graph --table natt"),
    ] {
        check(&format!("command-{name}"), arguments);
    }
}

/// A line of 100 MB neither hangs nor fills the screen.
#[test]
fn one_very_long_line() {
    let mut text = b"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment ".to_vec();
    text.resize(100_000_000, b'x');
    text.extend_from_slice(b" --bogus 1 -j ACCEPT\nCOMMIT\n");
    let before = std::time::Instant::now();
    let output = run_with_input("why --rules - 10.0.0.1 to 1.1.1.1", &text);
    let shown = show(&output);
    assert_eq!(output.status.code(), Some(2), "{shown:.4000}");
    assert!(shown.len() < 4_000, "{} bytes", shown.len());
    // Generous, because the machine may be busy and the build is not optimised.
    assert!(before.elapsed().as_secs() < 60, "{:?}", before.elapsed());
}
