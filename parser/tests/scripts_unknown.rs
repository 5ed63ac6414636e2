//! What can't be known of a script is named, and neither left out nor guessed.

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::Backend;
use nattrace_parser::{EmitOptions, Severity, emit_rules, parse_rules};

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

/// What is printed of them is read alike, and stands where it stood.
#[test]
fn unknown_words_between_two_uses_of_a_match_stand_together() {
    check(
        "iptables -A INPUT -s $NET -m limit --limit $RATE -m limit --limit 3/min -j DROP",
        &["shell-variable", "shell-variable"],
        &[
            "-A INPUT -m shell \"-s $NET\" -m shell \"--limit $RATE\" -m limit --limit 3/hour -m limit --limit 3/min -j DROP",
        ],
    );
    check(
        "iptables -A INPUT -m limit --limit $RATE -m limit --limit 3/min -d $NET -j DROP",
        &["shell-variable", "shell-variable"],
        &[
            "-A INPUT -m limit --limit 3/hour -m shell \"--limit $RATE\" -m shell \"-d $NET\" -m limit --limit 3/min -j DROP",
        ],
    );
    for script in [
        "[ -f x ] && iptables -A INPUT -m limit --limit $RATE -m limit --limit 3/min -j DROP",
        "iptables -A INPUT -m nosuch -m limit --limit $RATE -m limit --limit 3/min --y 3 -j LOG --log-level $L",
        "iptables -A INPUT -m limit --limit $RATE -m limit -m nosuch --x -m tcp -j $X -p tcp",
    ] {
        let (rules, _) = Replay::default().script(script, Backend::Nft, 0);
        let once = emit_rules(&rules[0], EmitOptions::default());
        assert!(once.contains("-A INPUT"), "{script}");
        let (again, _) = parse_rules(&once);
        assert_eq!(emit_rules(&again, EmitOptions::default()), once, "{script}");
    }
}

/// iptables takes them, and prints what iptables-restore can't read (kernel-facts H7); LOG and
/// others refuse them.
#[test]
fn words_over_several_lines_are_named() {
    let name = |before: &str, rest: &str| format!("iptables -A INPUT {before} \"a\nb\"{rest}");
    for (rule, kept) in [
        ("-m comment --comment", true),
        ("-m recent --set --name", true),
        ("-j NFLOG --nflog-prefix", false),
        ("-j LOG --log-prefix", false),
        ("-j ULOG --ulog-prefix", false),
        ("-m nfacct --nfacct-name", false),
        ("-m nosuch --text", false),
    ] {
        let text = name(rule, "");
        let (rules, diagnostics) = Replay::default().script(&text, Backend::Nft, 0);
        let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
        let named = diagnostics.iter().filter(|found| found.code == "text-over-lines").count();
        let left =
            rules.first().map_or(0, |rules| rules.tables.iter().map(|t| t.rules.len()).sum());
        assert_eq!(
            (errors, left),
            (usize::from(!kept), usize::from(kept)),
            "{rule} {diagnostics:?}"
        );
        let own = rule.contains("prefix") || rule.contains("nfacct");
        assert_eq!(named, usize::from(!own), "{rule} {diagnostics:?}");
    }
    // A string is printed in hexadecimal, and words that are not known on one line.
    check(
        &name("-m string --algo bm --string", ""),
        &[],
        &["-A INPUT -m string --hex-string \"|610a62|\" --algo bm"],
    );
    check(
        &name("-m comment --comment $X", " -j DROP"),
        &["shell-variable"],
        &["-A INPUT -m shell \"-m comment --comment $X a b -j DROP\" -j shell"],
    );
}
