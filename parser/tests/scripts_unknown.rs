//! What can't be known of a script is named, and neither left out nor guessed.

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::Backend;
use nattrace_parser::{EmitOptions, emit_rules};

/// Reads a script; returns the codes of what is said, and the rules of its first ruleset.
fn read(text: &str) -> (Vec<&'static str>, Vec<String>) {
    let (rules, diagnostics) = Replay::default().script(text, Backend::Nft, 0);
    let codes = diagnostics.iter().map(|found| found.code).collect();
    let printed = rules.first().map(|rules| emit_rules(rules, EmitOptions::default()));
    let lines = printed.unwrap_or_default();
    (codes, lines.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect())
}

#[track_caller]
fn check(text: &str, codes: &[&str], rules: &[&str]) {
    let (found, left) = read(text);
    assert_eq!(found, codes, "{text}");
    assert_eq!(left, rules, "{text}");
}

#[test]
fn values_that_are_not_known_stay_in_their_rules() {
    check(
        "iptables -A INPUT -s $(curl x) -j DROP",
        &["shell-variable"],
        &["-A INPUT -m shell \"-s $(curl x)\" -j DROP"],
    );
    check(
        "IP=`hostname -I`\niptables -A INPUT ! -d $IP -p tcp -j DROP",
        &["shell-variable"],
        &["-A INPUT -p tcp -m shell \"! -d $IP\" -j DROP"],
    );
    check("iptables -A INPUT -j $TARGET", &["shell-variable"], &["-A INPUT -j $TARGET"]);
    check("iptables -A $CHAIN -j DROP", &["undetermined-command"], &[]);
    check("iptables -t $TABLE -A INPUT -j DROP", &["undetermined-command"], &[]);
    check("$RUN -A INPUT -j DROP\niptables -L", &["undetermined-command"], &[]);
}

#[test]
fn parts_that_may_not_run_leave_rules_that_may_not_be() {
    check(
        "[ -f /etc/x ] && iptables -A INPUT -j DROP",
        &["undetermined-part"],
        &["-A INPUT -m if \"[ -f /etc/x ]\" -j DROP"],
    );
    check(
        "if grep -q y /etc/x; then iptables -A INPUT -s 1.1.1.1 -j DROP; else iptables -A INPUT -j DROP; fi",
        &["undetermined-part"],
        &[
            "-A INPUT -s 1.1.1.1/32 -m if \"grep -q y /etc/x\" -j DROP",
            "-A INPUT -m if \"grep -q y /etc/x\" -j DROP",
        ],
    );
    check(
        "iptables -A INPUT -j DROP\n[ -f x ] && iptables -F",
        &["undetermined-part"],
        &["-A INPUT -m if \"[ -f x ]\" -j DROP"],
    );
    check(
        "[ -f x ] && iptables -P INPUT DROP",
        &["undetermined-part", "undetermined-command"],
        &[],
    );
    check(
        "for ip in $(cat list); do iptables -A INPUT -s $ip -j DROP; done",
        &["undetermined-part", "shell-variable"],
        &["-A INPUT -m if \"for ip in $(cat list)\" -m shell \"-s $ip\" -j DROP"],
    );
}

#[test]
fn what_is_unknown_stays_on_one_line() {
    check(
        "iptables -A INPUT -s `one\ntwo` -j DROP",
        &["shell-variable"],
        &["-A INPUT -m shell \"-s `one two`\" -j DROP"],
    );
    check(
        "iptables -A OUTPUT -j log$X\":4,\"in",
        &["shell-variable"],
        &[r#"-A OUTPUT -m shell "-j log$X\":4,\"in" -j shell"#],
    );
}

#[test]
fn what_is_read_elsewhere_is_named() {
    check("iptables-restore < rules.v4\niptables -A INPUT", &["unread-file"], &["-A INPUT"]);
    check(
        "iptables-save | sed s/a/b/ | iptables-restore\niptables -A INPUT",
        &["unread-file"],
        &["-A INPUT"],
    );
    check(". ./settings\niptables -A INPUT", &["unread-file"], &["-A INPUT"]);
    check(
        "ip netns exec a iptables -A INPUT\niptables -A OUTPUT",
        &["runs-elsewhere"],
        &["-A OUTPUT"],
    );
    check("docker run x\niptables -A OUTPUT", &["unknown-command"], &["-A OUTPUT"]);
    check("#!/bin/sh\n./other\niptables -A OUTPUT", &["unknown-command"], &["-A OUTPUT"]);
    check("iptables -A OUTPUT\n# iptables -A INPUT", &["disabled-command"], &["-A OUTPUT"]);
    check("iptables -A OUTPUT 'open\n", &["shell-syntax"], &[]);
    check(
        "iptables -A OUTPUT\n[ -f x ] || exit 1\niptables -A INPUT",
        &["taken-to-go-on"],
        &["-A INPUT", "-A OUTPUT"],
    );
}

#[test]
fn faults_of_one_line_and_of_all_lines_are_told_at_once() {
    let (codes, _) = read(
        "iptables -A INPUT -p tcp --dprot 80 -j ACEPT\niptables -D INPUT 7\niptables -A INPUT -s 300.1.1.1\n",
    );
    assert_eq!(codes, ["unknown-option", "unknown-chain", "bad-position", "invalid-address"]);
}
