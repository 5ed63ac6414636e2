//! Pictures of the chain graph, for all hosts of the corpus.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

mod program;

use std::fs;

use program::{root, run, run_with_input};

/// Checks that a text is well-formed XML, as far as pictures use it.
#[track_caller]
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    let mut roots = 0;
    while let Some((before, behind)) = rest.split_once('<') {
        check_text(before);
        assert!(!open.is_empty() || before.trim().is_empty(), "text outside: {before:?}");
        let (tag, after) = behind.split_once('>').unwrap_or_else(|| panic!("an open tag"));
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed");
            continue;
        }
        let (inside, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = inside.split_whitespace().next().unwrap();
        check_attributes(inside.strip_prefix(name).unwrap());
        roots += usize::from(open.is_empty());
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && roots == 1 && rest.trim().is_empty(), "{open:?} {roots} {rest:?}");
}

#[track_caller]
fn check_attributes(mut text: &str) {
    let mut names = Vec::new();
    while let Some((name, behind)) = text.split_once("=\"") {
        let (value, after) = behind.split_once('"').unwrap();
        check_text(value);
        assert!(name.starts_with(' ') && !name.contains('"'), "{name:?}");
        assert!(!names.contains(&name.trim()), "{name} is there twice");
        names.push(name.trim());
        text = after;
    }
    assert!(text.trim().is_empty(), "{text:?}");
}

/// Text has no bare `&`, and no character that XML does not know.
#[track_caller]
fn check_text(text: &str) {
    for entity in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;"];
        assert!(known.iter().any(|one| entity.starts_with(one)), "{entity:?}");
    }
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
}

#[test]
fn every_host_has_a_well_formed_picture() {
    let mut drawn = 0;
    for entry in fs::read_dir(root().join("corpus/cases")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let output = run(&format!("graph --format svg -s {}", path.display()));
        assert_eq!(output.status.code(), Some(0), "{}", path.display());
        let text = String::from_utf8(output.stdout).unwrap();
        check_xml(&text);
        // Docker without iptables leaves no chain.
        drawn += usize::from(text.contains(">FORWARD</text>"));
    }
    assert!(drawn >= 30, "{drawn}");
}

#[test]
fn names_and_loops_do_not_break_a_picture() {
    let rules = "*filter\n:a<&b - [0:0]\n:c\" - [0:0]\n:loop - [0:0]\n\
                 -A FORWARD -m comment --comment \"<svg> & ]]>\" -m string --algo bm --string \"<&>\" \
                 -j a<&b\n-A a<&b -g loop\n-A loop -s 10.0.0.1/32 -j RETURN\nCOMMIT\n";
    let output = run_with_input("graph --format svg --rules -", rules.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    check_xml(&text);
    assert!(text.contains(">a&lt;&amp;b</text>"), "{text}");
    let circle = "*filter\n:a - [0:0]\n:b - [0:0]\n-A a -j b\n-A b -j a\n-A b -j b\nCOMMIT\n";
    let output = run_with_input("graph --format svg --rules -", circle.as_bytes());
    check_xml(&String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_path_of_a_packet_is_marked() {
    let host = "-s corpus/cases/01-default-bridge";
    let output = run(&format!("graph --format svg {host} --why web internet:443"));
    let text = String::from_utf8(output.stdout).unwrap();
    check_xml(&text);
    assert!(text.contains("stroke=\"#005fcc\"") && text.contains("\u{25b6} POSTROUTING"), "{text}");
    let plain = run(&format!("graph --format svg {host}"));
    assert!(!String::from_utf8(plain.stdout).unwrap().contains("\u{25b6}"));
}
