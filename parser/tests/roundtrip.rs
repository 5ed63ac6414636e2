//! `print(parse(x)) == x` for every rule line that iptables-save printed.

use std::fs;
use std::path::{Path, PathBuf};

use nattrace_parser::syntax::{Placement, RulesFormat};
use nattrace_parser::{EmitOptions, Severity, emit_rule, emit_rules, parse_rules};

/// Holds the law for each rule of a dump; returns how many there were.
#[track_caller]
fn check(name: &str, text: &str) -> usize {
    let (rules, diagnostics) = parse_rules(text);
    let bad: Vec<_> = diagnostics.iter().filter(|one| one.severity != Severity::Note).collect();
    assert!(bad.is_empty(), "{name}: {bad:#?}");
    let mut count = 0;
    for rule in rules.tables.iter().flat_map(|table| &table.rules) {
        let mut printed = String::new();
        emit_rule(rule, &mut printed);
        assert_eq!(printed, rule.span.slice(text), "{name}:{}", rule.line);
        assert_eq!(rule.placement, Placement::Append);
        count += 1;
    }
    let lines =
        text.lines().filter(|line| line.starts_with("-A ") || line.starts_with('[')).count();
    assert_eq!(count, lines, "{name}: no line may be lost");
    count
}

/// The whole text without its comments is printed as it was, counters of rules apart.
#[track_caller]
fn check_whole(name: &str, text: &str) {
    let (rules, _) = parse_rules(text);
    assert_eq!(rules.format, RulesFormat::Save, "{name}");
    let expected: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let bare = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
            format!("{}\n", bare.map_or(line, |(_, rule)| rule))
        })
        .collect();
    assert_eq!(emit_rules(&rules, EmitOptions::default()), expected, "{name}");
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")
}

#[test]
fn dumps_of_docker_and_kubernetes_print_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
    let mut rules = 0;
    for entry in fs::read_dir(folder).expect("the dumps of the repository") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a text");
        let name = path.display().to_string();
        rules += check(&name, &text);
        check_whole(&name, &text);
    }
    assert!(rules > 300, "only {rules} rules were tried");
}

#[test]
fn every_docker_host_prints_as_it_was() {
    let Ok(hosts) = fs::read_dir(shared().join("data/docker")) else {
        nattrace_skips::skip_without_data("a round trip");
        return;
    };
    let mut rules = 0;
    for host in hosts {
        let host = host.expect("a folder").path();
        for file in ["iptables-save", "ip6tables-save", "iptables-S"] {
            let path = host.join(file);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let name = path.display().to_string();
            rules += check(&name, &text);
            if file != "iptables-S" && !text.trim().is_empty() {
                check_whole(&name, &text);
            }
        }
    }
    assert!(rules > 1_000, "only {rules} rules were tried");
}

#[test]
fn saved_and_listed_commands_are_the_same_rules() {
    let Ok(hosts) = fs::read_dir(shared().join("data/docker")) else {
        nattrace_skips::skip_without_data("a round trip");
        return;
    };
    for host in hosts {
        let host = host.expect("a folder").path();
        let read = |name| fs::read_to_string(host.join(name)).unwrap_or_default();
        let (saved, commands) = (read("iptables-save"), read("iptables-S"));
        let lines = |text: &str| {
            let (rules, _) = parse_rules(text);
            let mut lines: Vec<(String, String)> = Vec::new();
            for table in &rules.tables {
                for rule in &table.rules {
                    let mut line = String::new();
                    emit_rule(rule, &mut line);
                    lines.push((table.name.as_str().to_owned(), line));
                }
            }
            lines.sort();
            lines
        };
        let (saved, commands) = (lines(&saved), lines(&commands));
        assert_eq!(saved, commands, "{}", host.display());
    }
}

/// A text is printed with this line, and what is printed prints the same again.
fn prints_and_settles(text: &str, line: &str) {
    let (rules, _) = parse_rules(text);
    let once = emit_rules(&rules, EmitOptions::default());
    assert!(once.contains(&format!("{line}\n")), "{once}");
    let (again, _) = parse_rules(&once);
    assert_eq!(emit_rules(&again, EmitOptions::default()), once);
}

/// iptables-restore ends a word at a control character, a shell does not.
#[test]
fn an_unknown_word_of_a_shell_with_a_control_character_prints_as_one_word() {
    let text = "iptables -A FORWARD -m nosuch a\u{1}b c\n";
    prints_and_settles(text, "-A FORWARD -m nosuch \"a\u{1}b\" c");
}

/// A protocol that no packet has is saved by the first name of its number, by iptables-legacy.
#[test]
fn mptcp_prints_in_small_letters() {
    let text = "# Generated by iptables-save v1.8.9 on Sat Nov 21 00:01:14 2026\n*filter\n-A INPUT ! -p MPTCP\nCOMMIT\n";
    let (rules, _) = parse_rules(text);
    let printed = emit_rules(&rules, EmitOptions::default());
    assert!(printed.contains("-A INPUT ! -p mptcp\n"), "{printed}");
}

/// The protocol is printed first, where its match is known to what stands behind it.
#[test]
fn options_before_their_protocol_behind_an_unknown_match_are_those_of_its_match() {
    for (rule, printed) in [
        ("-m nosuch --dport 80 -p tcp", "-p tcp -m nosuch -m tcp --dport 80"),
        (
            "-m nosuch --foo 3 --dport 80 ! -p udp --bar",
            "! -p udp -m nosuch --foo 3 --bar -m udp --dport 80",
        ),
        (
            "-m nosuch --dport 80 -p tcp --sport 3 -m tcp --dport 4",
            "-p tcp -m nosuch -m tcp --sport 3 --dport 80 -m tcp --dport 4",
        ),
    ] {
        let text = format!("*filter\n-A INPUT {rule}\nCOMMIT\n");
        prints_and_settles(&text, &format!("-A INPUT {printed}"));
    }
}

/// What stands before the command of a shell is read behind it.
#[test]
fn words_before_a_command_go_with_the_target_that_is_not_known() {
    let text = "[0:0]# words -A FORWARD -j LOGMARK SET more\n";
    prints_and_settles(text, "-A FORWARD -j LOGMARK SET more # words");
}

/// Letters of which one is unknown may be an option of the extension that is not known.
#[test]
fn several_letters_behind_an_unknown_match_are_kept_as_one_word() {
    let text = "*filter\n-A INPUT -p udp -m nosuch -ftp\nCOMMIT\n";
    prints_and_settles(text, "-A INPUT -p udp -m nosuch -ftp");
    for cluster in ["-fmnosuch", "-fm nosuch"] {
        let text = format!("*filter\n-A INPUT {cluster}\nCOMMIT\n");
        let (rules, diagnostics) = parse_rules(&text);
        let printed = emit_rules(&rules, EmitOptions::default());
        assert!(!printed.contains("-f -f"), "{printed}");
        assert!(!diagnostics.is_empty(), "{cluster}");
    }
}

/// A backslash joins two lines of commands within quotes, too, as it does in a shell.
#[test]
fn a_quoted_word_of_commands_goes_on_in_the_next_line() {
    for (text, line, codes) in [
        ("\"a\\\nb\"", "-m comment --comment ab", &[][..]),
        ("\"a\\\\\\\nb\"", "-m comment --comment \"a\\\\b\"", &[]),
        ("\"a\\\\\nb\"", "-m comment --comment \"a\\\\\nb\"", &["text-over-lines"]),
    ] {
        let text = format!("-A INPUT -m comment --comment {text} -j ACCEPT\n-A INPUT -j DROP\n");
        let (rules, diagnostics) = parse_rules(&text);
        let printed = emit_rules(&rules, EmitOptions::default());
        assert!(printed.contains(&format!("-A INPUT {line} -j ACCEPT\n")), "{printed}");
        let found: Vec<_> = diagnostics.iter().map(|found| found.code).collect();
        assert_eq!(found, codes, "{text}");
    }
}

/// An option whose value is not known stands with its match or target, whatever else is kept.
#[test]
fn values_that_are_not_known_stand_with_their_extension() {
    for (rule, printed) in [
        (
            "-j NETMAP --to a.host -m policy --dir in --pol ipsec ! --tunnel-src b.host --mode tunnel",
            "-m policy --dir in --pol ipsec --mode tunnel ! --tunnel-src b.host -j NETMAP --to a.host",
        ),
        ("-m nosuch -j NETMAP --to a.host --x", "-m nosuch --x -j NETMAP --to a.host"),
        ("-m time -d a.host ! -s b.host", "! -s b.host -d a.host -m time"),
    ] {
        let text = format!("*nat\n-A PREROUTING {rule}\nCOMMIT\n");
        let (rules, _) = parse_rules(&text);
        let once = emit_rules(&rules, EmitOptions::default());
        assert!(once.contains(&format!("-A PREROUTING {printed}")), "{once}");
        let (again, _) = parse_rules(&once);
        assert_eq!(emit_rules(&again, EmitOptions::default()), once);
    }
}

/// The number of mptcp does not fit: extensions of tcp are refused by both backends.
#[test]
fn mptcp_is_no_tcp_for_extensions() {
    for tag in ["", " (nf_tables)"] {
        for rest in [
            "-m tcp --dport 80",
            "--dport 80",
            "-j REJECT --reject-with tcp-reset",
            "-m tcpmss --mss 3",
        ] {
            let text = format!(
                "# Generated by iptables-save v1.8.9{tag} on Sat Nov 21 00:01:14 2026\n*filter\n-A INPUT -p mptcp {rest}\nCOMMIT\n"
            );
            let (_, diagnostics) = parse_rules(&text);
            let refused = diagnostics.iter().any(|found| found.severity == Severity::Error);
            assert!(refused, "{text}");
        }
    }
}
