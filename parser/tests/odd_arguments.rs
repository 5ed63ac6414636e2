//! What iptables made of arguments that nobody would write on purpose: numbers with something
//! behind them, empty lists, names in another case.

use nattrace_parser::syntax::{Backend, Family};
use nattrace_parser::{EmitOptions, Origin, Severity, emit_rules, parse_rules_of};

const RECORDED: &str = include_str!("data/odd-arguments.tsv");

/// What we print of a rule, or `-` where we refuse it.
fn ours(table: &str, family: Family, rule: &str) -> String {
    let text = format!("*{table}\n{rule}\nCOMMIT\n");
    let origin = Origin { family: Some(family), backend: Some(Backend::Nft) };
    let (rules, diagnostics) = parse_rules_of(&text, origin);
    if diagnostics.iter().any(|one| one.severity == Severity::Error) {
        return "-".to_owned();
    }
    let printed = emit_rules(&rules, EmitOptions::default());
    let printed: Vec<&str> = printed.lines().filter(|line| line.starts_with("-A ")).collect();
    printed.join(" | ")
}

#[test]
fn odd_arguments_are_read_as_iptables_reads_them() {
    let mut compared = 0;
    let mut wrong = String::new();
    for row in RECORDED.lines().filter(|row| !row.starts_with('#')) {
        let [table, family, rule, expected] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let family = if family == "6" { Family::Ipv6 } else { Family::Ipv4 };
        let found = ours(table, family, rule);
        compared += 1;
        if found != expected {
            wrong.push_str(&format!("{rule}\n  iptables {expected}\n  we       {found}\n"));
        }
    }
    assert!(compared > 400);
    assert!(wrong.is_empty(), "{wrong}");
}
