//! Input of iptables-restore that deletes, replaces, renames and clears, as it was recorded with
//! iptables 1.8.9 of both backends: what it leaves, or that it is refused.

use nattrace_parser::syntax::{Backend, Family};
use nattrace_parser::{EmitOptions, Origin, Severity, emit_rules, parse_rules_of, recognize};

/// The lines of a table, and the chains and rules that it leaves; `None` where it is refused.
const RECORDED: &[(&[&str], Option<&[&str]>)] = &[
    (&["-I INPUT 5 -j ACCEPT"], None),
    (&["-I INPUT 1 -j ACCEPT"], Some(&["-A INPUT -j ACCEPT"])),
    (
        &["-A INPUT -j ACCEPT", "-I INPUT 2 -j DROP"],
        Some(&["-A INPUT -j ACCEPT", "-A INPUT -j DROP"]),
    ),
    (&["-A INPUT -j ACCEPT", "-D INPUT -j ACCEPT"], Some(&[])),
    (&["-A INPUT -j ACCEPT", "--delete INPUT 1"], Some(&[])),
    (&["-A INPUT -j ACCEPT", "-D INPUT 2"], None),
    (&["-A INPUT -j ACCEPT", "-D INPUT -j DROP"], None),
    (&["-D INPUT -j ACCEPT"], None),
    (&["-N FOO", "-X FOO"], Some(&[])),
    (&["-N FOO", "-A INPUT -j FOO", "-X FOO"], None),
    (&["-N FOO", "-A FOO -j ACCEPT", "-X FOO"], None),
    (&["-N FOO", "-A INPUT -j FOO", "-F INPUT", "-X FOO"], Some(&[])),
    (&["-N FOO", "-N FOO"], None),
    (&["-N INPUT"], None),
    (&["-X FOO"], None),
    (&["-F FOO"], None),
    (&["-A INPUT -j ACCEPT", "-F INPUT"], Some(&[])),
    (&["-F", "-X", "-A INPUT -j ACCEPT"], Some(&["-A INPUT -j ACCEPT"])),
    (&["-A INPUT -j ACCEPT", "-Z", "-Z INPUT"], Some(&["-A INPUT -j ACCEPT"])),
    (&["-A INPUT -j ACCEPT", "-C INPUT -j ACCEPT"], Some(&["-A INPUT -j ACCEPT"])),
    (&["-A INPUT -j ACCEPT", "-C INPUT -j DROP"], None),
    (&["-P INPUT DROP", "-P INPUT ACCEPT"], Some(&[])),
    (&["-P FOO DROP"], None),
    (&["-4 -A INPUT -j ACCEPT", "-6 -A INPUT -j DROP"], Some(&["-A INPUT -j ACCEPT"])),
    (&["-A INPUT -j ACCEPT -6", "-A INPUT -4 -j DROP"], Some(&["-A INPUT -j DROP"])),
    (&["-A INPUT -j OUTPUT -6", "-A INPUT -g DROP -6"], Some(&[])),
    (&["-A INPUT -m hl --hl-eq 1 -6"], None),
    (&["\"-t\" filter -A INPUT -j ACCEPT"], None),
    (&["-N FOO \"--table\" filter"], None),
    (&["\"-A\" INPUT \"-j\" ACCEPT"], Some(&["-A INPUT -j ACCEPT"])),
    (&["-A INPUT -6 -m hl --hl-eq 1"], Some(&[])),
    (
        &[":FOO - [0:0]", "-A FOO -j ACCEPT", "-I FOO 1 -j DROP", "-A INPUT -j FOO"],
        Some(&[":FOO -", "-A INPUT -j FOO", "-A FOO -j DROP", "-A FOO -j ACCEPT"]),
    ),
];

/// What a text of one table leaves as we read it.
fn left(text: &str, backend: Backend) -> Option<Vec<String>> {
    let origin = Origin { family: Some(Family::Ipv4), backend: Some(backend) };
    let (rules, diagnostics) = parse_rules_of(text, origin);
    if diagnostics.iter().any(|one| one.severity == Severity::Error) {
        return None;
    }
    let printed = emit_rules(&rules, EmitOptions::default());
    let chains = ["*", ":INPUT ACCEPT", ":FORWARD ACCEPT", ":OUTPUT ACCEPT", "COMMIT"];
    let rest = printed.lines().filter(|line| !chains.iter().any(|known| line.starts_with(known)));
    Some(rest.map(|line| line.split(" [0:0]").next().unwrap_or(line).to_owned()).collect())
}

#[test]
fn commands_are_carried_out_one_after_the_other() {
    let mut wrong = String::new();
    for (lines, expected) in RECORDED {
        for backend in [Backend::Nft, Backend::Legacy] {
            let text = format!("*filter\n{}\nCOMMIT\n", lines.join("\n"));
            let found = left(&text, backend);
            let expected =
                expected.map(|lines| lines.iter().map(|line| line.to_string()).collect());
            if found != expected {
                wrong.push_str(&format!(
                    "{backend:?}\n{text}  iptables {expected:?}\n  we {found:?}\n"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

// kernel-facts I4
#[test]
fn the_second_of_two_blocks_of_a_table_is_left() {
    let text = "*filter\n-A INPUT -j DROP\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\nCOMMIT\n";
    assert_eq!(left(text, Backend::Nft), Some(vec!["-A INPUT -j ACCEPT".to_owned()]));
}

/// A dump is no script, whatever its comments say.
#[test]
fn a_dump_stays_a_dump() {
    use nattrace_parser::syntax::RulesFormat;
    for rule in ["-A INPUT -m comment --comment \"-D INPUT 1\" -j ACCEPT", "-I INPUT -j ACCEPT"] {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        assert_eq!(recognize::recognize(&text), RulesFormat::Save, "{rule}");
    }
    let text = "*filter\n-A INPUT -j ACCEPT\n-D INPUT 1\nCOMMIT\n";
    assert_eq!(recognize::recognize(text), RulesFormat::Script);
}

// What is pasted twice adds up, and is printed once.
#[test]
fn blocks_of_commands_are_printed_as_one() {
    let text = "# iptables -S\n-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A INPUT -j ACCEPT\n\
                # iptables -S\n-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-A INPUT -j DROP\n";
    let (rules, _) = parse_rules_of(text, Origin::default());
    let printed = emit_rules(&rules, EmitOptions::default());
    assert_eq!(printed.matches("*filter").count(), 1, "{printed}");
    assert!(printed.contains("-A INPUT -j ACCEPT\n-A INPUT -j DROP\n"), "{printed}");
}

// kernel-facts G7
#[test]
fn a_chain_in_a_list_of_commands_has_a_name_that_chains_have() {
    for (text, valid) in [("-A ACCEPT -j DROP\n", false), ("-A WEB -j DROP\n", true)] {
        let (_, diagnostics) = parse_rules_of(text, Origin::default());
        let refused = diagnostics.iter().any(|one| one.code == "invalid-chain-name");
        assert_eq!(refused, !valid, "{text}");
    }
}

/// iptables-legacy-restore sets the counters of a load behind every `-Z` in it.
#[test]
fn what_a_load_counts_is_not_cleared_in_it() {
    let text =
        "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [5:6]\n[3:4] -A INPUT -j DROP\n-Z\nCOMMIT\n";
    let origin = Origin { family: None, backend: Some(Backend::Legacy) };
    let (left, _) = nattrace_parser::parse_sequence(&[(text, origin)]);
    let printed = emit_rules(
        &left[0].rules,
        EmitOptions { rule_counters: nattrace_parser::RuleCounters::Shown },
    );
    assert!(printed.contains(":OUTPUT ACCEPT [5:6]\n"), "{printed}");
    assert!(printed.contains("[3:4] -A INPUT -j DROP\n"), "{printed}");
}

#[test]
fn a_list_of_a_chain_that_is_not_there_is_refused_with_its_place() {
    for backend in [Backend::Nft, Backend::Legacy] {
        for command in ["-S NOPE", "-L NOPE"] {
            let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{command}\nCOMMIT\n");
            let origin = Origin { family: Some(Family::Ipv4), backend: Some(backend) };
            let (_, diagnostics) = parse_rules_of(&text, origin);
            let found: Vec<_> =
                diagnostics.iter().map(|one| (one.code, one.span.slice(&text))).collect();
            assert_eq!(found, [("unknown-chain", "NOPE")], "{backend:?} {command}");
        }
    }
}

#[test]
fn a_second_declaration_without_a_policy_leaves_that_of_the_first() {
    let text = "*filter\n:INPUT DROP [3:4]\n:INPUT - [0:0]\nCOMMIT\n";
    for (backend, expected) in
        [(Backend::Nft, ":INPUT DROP [0:0]"), (Backend::Legacy, ":INPUT DROP [3:4]")]
    {
        let origin = Origin { family: Some(Family::Ipv4), backend: Some(backend) };
        let (rules, _) = nattrace_parser::parse_rules_of(text, origin);
        let printed = emit_rules(&rules, EmitOptions::default());
        assert_eq!(printed.lines().nth(1), Some(expected), "{backend:?}");
    }
}
