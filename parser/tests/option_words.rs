//! What iptables made of words that hold several options, such as `-4vj`, of the options of a
//! family, and of `!` before options that are none of the rule: as getopt(3) reads them.

use nattrace_parser::replay::Replay;
use nattrace_parser::syntax::{Backend, Family, Policy, Rules, TableName};
use nattrace_parser::{EmitOptions, Origin, Severity, emit_rules, parse_sequence};

const RECORDED: &str = include_str!("data/option-words.tsv");

/// What the filter table holds beside what is always there, in the form of `iptables -S`.
fn held(rules: &[Rules<'_>]) -> String {
    let tables = rules.iter().flat_map(|one| &one.tables);
    let filter: Vec<_> = tables.filter(|table| table.name == TableName::Filter).collect();
    let chains = || filter.iter().flat_map(|table| &table.chains);
    let dropping = chains().filter(|chain| chain.policy == Some(Policy::Drop));
    let mut lines: Vec<String> = dropping.map(|chain| format!("-P {} DROP", chain.name)).collect();
    let made = chains().filter(|chain| !TableName::Filter.builtin_chains().contains(&&*chain.name));
    lines.extend(made.map(|chain| format!("-N {}", chain.name)));
    for one in rules {
        let printed = emit_rules(&filter_of(one), EmitOptions::default());
        lines.extend(printed.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned));
    }
    lines.join(" | ")
}

fn filter_of<'a>(rules: &Rules<'a>) -> Rules<'a> {
    let tables = rules.tables.iter().filter(|table| table.name == TableName::Filter);
    Rules { tables: tables.cloned().collect(), ..rules.clone() }
}

/// What we make of it, or `-` where we refuse it.
fn ours(form: &str, family: Family, backend: Backend, words: &str) -> String {
    let refused = |severity, code| severity == Severity::Error && code != "no-rules";
    if form == "restore" {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{words}\nCOMMIT\n");
        let origin = Origin { family: Some(family), backend: Some(backend) };
        let (left, found) = parse_sequence(&[(text.as_str(), origin)]);
        if found.iter().any(|(_, one)| refused(one.severity, one.code)) {
            return "-".to_owned();
        }
        return held(&left.into_iter().map(|one| one.rules).collect::<Vec<_>>());
    }
    let program = match (family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables-nft",
        (Family::Ipv6, Backend::Nft) => "ip6tables-nft",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    };
    let text = format!("{program} {words}\n");
    let (rules, found) = Replay::default().script(&text, backend, 0);
    match found.iter().any(|one| refused(one.severity, one.code)) {
        true => "-".to_owned(),
        false => held(&rules),
    }
}

#[test]
fn options_in_one_word_are_read_as_iptables_reads_them() {
    let mut compared = 0;
    let mut wrong = String::new();
    for row in RECORDED.lines().filter(|row| !row.starts_with('#')) {
        let [form, family, backend, words, expected] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row}");
        };
        let family = if family == "6" { Family::Ipv6 } else { Family::Ipv4 };
        let backends = match backend {
            "nft" => vec![Backend::Nft],
            "legacy" => vec![Backend::Legacy],
            _ => vec![Backend::Nft, Backend::Legacy],
        };
        for backend in backends {
            let found = ours(form, family, backend, words);
            compared += 1;
            if found != expected {
                wrong.push_str(&format!(
                    "{form} {family:?} {backend:?} {words}\n  iptables {expected}\n  we       {found}\n"
                ));
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
    assert!(wrong.is_empty(), "{wrong}");
}
