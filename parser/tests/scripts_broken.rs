//! Scripts that are cut, mixed and misspelt: whatever the text, it is read to its end, every place
//! lies in it, and what is left can be printed.

use std::fs;
use std::path::Path;

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::Backend;
use nattrace_parser::{EmitOptions, Span, emit_rules, parse_rules};

/// What a shell gives a meaning, and a little of what it does not.
const PIECES: [&str; 40] = [
    "'",
    "\"",
    "`",
    "$(",
    ")",
    "${",
    "}",
    "$((",
    "))",
    "\\",
    "\\\n",
    "\n",
    ";",
    "&&",
    "||",
    "|",
    "&",
    "<<EOF\n",
    "<<<",
    "<",
    ">",
    "2>/dev/null ",
    "if ",
    "then ",
    "fi\n",
    "for x in ",
    "do ",
    "done\n",
    "case ",
    "esac ",
    "while ",
    "f() {",
    "$x",
    "${x:-",
    "${x%%",
    "{1..5}",
    "é–\u{a0}",
    "\u{e0f5}",
    "#",
    "\0",
];

fn broken(text: &str, random: &mut fastrand::Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..random.usize(1..6) {
        let place = |text: &str, random: &mut fastrand::Rng| {
            text.floor_char_boundary(random.usize(0..=text.len()))
        };
        let (one, two) = (place(&text, random), place(&text, random));
        let (from, to) = (one.min(two), one.max(two));
        match random.usize(0..6) {
            0 => text.insert_str(from, PIECES[random.usize(0..PIECES.len())]),
            1 => text.replace_range(from..(from + 12).min(to), ""),
            2 => text.truncate(to),
            3 => {
                let part = text[from..to.min(text.floor_char_boundary(from + 200))].to_owned();
                text.insert_str(to, &part);
            }
            4 => {
                let mut lines: Vec<&str> = text.lines().collect();
                random.shuffle(&mut lines);
                text = lines.join("\n");
            }
            _ => text.insert_str(from, PIECES[random.usize(0..PIECES.len())]),
        }
    }
    text
}

#[track_caller]
fn check_span(text: &str, span: Span, what: &str) {
    let range = span.range();
    assert!(range.start <= range.end && range.end <= text.len(), "{what}: {range:?}\n{text}");
}

fn check(text: &str) {
    let (rules, diagnostics) = Replay::default().script(text, Backend::Nft, 0);
    for found in &diagnostics {
        check_span(text, found.span, found.code);
        assert!(!found.message.contains('\n'), "{}", found.message);
    }
    for rules in &rules {
        for rule in rules.tables.iter().flat_map(|table| &table.rules) {
            check_span(text, rule.span, "rule");
            assert!(rule.line > 0);
        }
        let printed = emit_rules(rules, EmitOptions::default());
        assert!(printed.ends_with("COMMIT\n") || rules.tables.is_empty(), "{printed}");
    }
    let again = Replay::default().script(text, Backend::Nft, 0);
    assert_eq!(diagnostics, again.1, "{text}");
    drop(parse_rules(text));
}

#[test]
fn broken_scripts_are_read_to_their_end() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scripts");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let scripts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let given = std::env::var("NATTRACE_BROKEN").ok().and_then(|count| count.parse().ok());
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..given.unwrap_or(1_500) {
        let text = &scripts[random.usize(0..scripts.len())];
        check(&broken(text, &mut random));
    }
}

#[test]
fn deep_and_endless_scripts_end() {
    for text in [
        "$(".repeat(100_000),
        "${x:-".repeat(100_000),
        "( ".repeat(100_000),
        "if ".repeat(100_000),
        "f() { ".repeat(100_000),
        "f() { f; }; f; iptables -A INPUT".to_owned(),
        "while true; do iptables -A INPUT -j DROP; done".to_owned(),
        "for a in {1..9999}; do for b in {1..9999}; do :; done; done; iptables -A INPUT".to_owned(),
        "x=a; for i in {1..60}; do x=$x$x; done; iptables -A INPUT -s $x".to_owned(),
        "iptables -A INPUT -s ".to_owned() + &"1.1.1.1,".repeat(50_000),
        "case a in ".repeat(10_000),
        "! ".repeat(100_000),
        "iptables -A INPUT | ".repeat(20_000),
        "iptables-restore <<A\n".repeat(20_000),
        "#!/bin/sh\n".to_owned() + &"iptables -A INPUT -s 10.0.0.1 -j ACCEPT\n".repeat(20_000),
    ] {
        check(&text);
    }
}
