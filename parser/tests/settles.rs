//! What `fmt` prints of rules that are understood in part is printed the same again: random rules
//! with matches that nobody knows, words that a shell fills in, and options in odd places.
//!
//! `NATTRACE_LAW_SEED` sets what is drawn, `NATTRACE_LAW_SETTLES` how many rules.

use nattrace_parser::extension::{EXTENSIONS, example};
use nattrace_parser::syntax::{Backend, Family, Rules};
use nattrace_parser::{Diagnostic, EmitOptions, Severity, emit_rules, parse_rules};

/// Options without an extension, and what is not known of a rule.
const ODD: &[&str] = &[
    "-m nosuch",
    "--match nosuch",
    "-mnosuch",
    "-m nosuch --one 1",
    "-m other --two",
    "! -m nosuch",
    "--three a b",
    "! --four 4",
    "--five \"a b\"",
    "--six=6",
    "\"quoted words\"",
    "'-x'",
    "\"it\\\"s\"",
    "stray",
    "8080",
    "--dport 80",
    "! --sport 1:2",
    "--dports 1,2",
    "--limit 3/sec",
    "--icmp-type 8",
    "--syn",
    "--to-destination 1.2.3.4:80",
    "--to-ports 8080",
    "--log-prefix \"x y\"",
    "--reject-with tcp-reset",
    "-s 192.0.2.1",
    "! -d 192.0.2.0/24",
    "-s 2001:db8::/64",
    "-i eth0",
    "! -o eth+",
    "-i +",
    "-p tcp",
    "! -p udp",
    "-p 47",
    "-p all",
    "-p mptcp",
    "-pudp",
    "--protocol icmp",
    "-f",
    "! -f",
    "-c 1 2",
    "-4",
    "-6",
    "-vi eth1",
    "-j ACCEPT",
    "-j NOSUCH",
    "-j ECHO",
    "-j DNETMAP --prefix 1.2.3.0/24",
    "-s a.host.name",
    "! -d a.host.name",
    "-m owner --uid-owner alice",
    "--gid-owner staff",
    "-j NETMAP --to a.host.name",
    "--to a.host.name",
    "-m policy --dir in --pol ipsec ! --tunnel-src a.host.name --mode tunnel",
    "-jDROP",
    "-g CHAIN",
    "-j CHAIN",
    "-j LOG",
    "-m tcp",
    "-m comment --comment \"a 'b' \\\\\"",
    "-m limit",
    "-m limit --limit 3/min",
    "-m mark ! --mark 3",
];

/// Words of a script that nothing can know.
const UNKNOWN: &[&str] = &[
    "$X",
    "\"$X\"",
    "-s $X",
    "! -d $X",
    "-j $X",
    "-p $X",
    "--dport $X",
    "--limit 3/$X",
    "-i$X",
    "a$X",
    "--opt $X",
    "-m $X",
    "! $X",
    "-m limit --limit $X",
    "\"a $X b\"",
    "'$'$X",
    "-g \"$X\"",
];

/// The options of a rule, each with its words.
fn units(rule: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    let mut negated = false;
    for word in rule.split(' ') {
        let option = word.starts_with('-') && word.len() > 1 || word == "!";
        match units.last_mut() {
            Some(last) if !option || negated => {
                last.push(' ');
                last.push_str(word);
            }
            _ => units.push(word.to_owned()),
        }
        negated = word == "!";
    }
    units
}

/// A table, a chain and the options of a rule.
struct Draft {
    table: &'static str,
    chain: String,
    family: Family,
    units: Vec<String>,
}

/// A rule of every extension and option.
fn drafts() -> Vec<Draft> {
    let of_extension = EXTENSIONS.iter().copied().flatten().flat_map(|&extension| {
        let options = extension.options.iter().map(Some).chain([None]);
        options.map(move |option| example(extension, option))
    });
    of_extension
        .map(|example| {
            let rule = example.rule.strip_prefix("-A ").expect("a rule");
            let (chain, rest) = rule.split_once(' ').expect("a chain");
            Draft {
                table: example.table.as_str(),
                chain: chain.to_owned(),
                family: example.family,
                units: units(rest),
            }
        })
        .collect()
}

/// An option in another spelling, which may be none.
fn respelt(unit: &str, random: &mut fastrand::Rng) -> String {
    let (option, value) = unit.split_once(' ').unwrap_or((unit, ""));
    match random.u8(..4) {
        0 if option.len() > 4 => {
            format!("{} {value}", &option[..option.len() - random.usize(1..3)])
        }
        1 => format!("{option}={value}"),
        2 => format!("{option}{value}"),
        _ => format!("{option} \"{value}\""),
    }
}

/// The words of a draft with others among them.
fn words(drafts: &[Draft], draft: &Draft, more: &[&str], random: &mut fastrand::Rng) -> String {
    let mut units: Vec<String> = draft.units.clone();
    for _ in 0..random.usize(1..5) {
        let other = random.choice(drafts).map_or(&units, |draft| &draft.units);
        let unit = match random.u8(..8) {
            0 => random.choice(&draft.units).cloned(),
            1 => random.choice(other).cloned(),
            2 => random.choice(&draft.units).map(|unit| respelt(unit, random)),
            _ => random.choice(more).map(|&unit| unit.to_owned()),
        };
        units.insert(random.usize(..=units.len()), unit.expect("some units"));
    }
    for _ in 0..random.usize(..3) {
        let (one, other) = (random.usize(..units.len()), random.usize(..units.len()));
        units.swap(one, other);
    }
    if random.u8(..4) == 0 {
        units.remove(random.usize(..units.len()));
    }
    units.join(" ")
}

fn refused(rules: &Rules<'_>, diagnostics: &[Diagnostic]) -> bool {
    rules.tables.is_empty() || diagnostics.iter().any(|one| one.severity == Severity::Error)
}

/// The first line of what iptables-save prints.
fn header(family: Family, backend: Backend) -> String {
    let program = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
    let tag = if backend == Backend::Nft { " (nf_tables)" } else { "" };
    format!("# Generated by {program}-save v1.8.9{tag} on Sat Nov 21 00:01:14 2026\n")
}

/// Prints a text, and prints what was printed; `None` if the text is refused.
fn twice(text: &str, header: &str) -> Option<Result<(), String>> {
    let (rules, diagnostics) = parse_rules(text);
    if refused(&rules, &diagnostics) {
        return None;
    }
    let once = format!("{header}{}", emit_rules(&rules, EmitOptions::default()));
    let (read, diagnostics) = parse_rules(&once);
    let mut errors = diagnostics.iter().filter(|one| one.severity == Severity::Error);
    // What can't be known may be a chain that no line makes.
    if let Some(error) = errors.find(|one| one.code != "unknown-chain") {
        // Of two rates iptables prints both comparisons, and does not take them.
        let unreadable = error.code == "duplicate-option" && error.message.contains("`--rateest-");
        if unreadable {
            return None;
        }
        return Some(Err(format!("{text}{once}{}: {}\n", error.code, error.message)));
    }
    let again = format!("{header}{}", emit_rules(&read, EmitOptions::default()));
    Some(if once == again { Ok(()) } else { Err(format!("{text}{once}{again}")) })
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn rules_that_are_understood_in_part_print_the_same_again() {
    let seed = number("NATTRACE_LAW_SEED", 3);
    let count = number("NATTRACE_LAW_SETTLES", 20_000);
    let mut random = fastrand::Rng::with_seed(seed);
    let drafts = drafts();
    let all: Vec<&str> = ODD.iter().chain(UNKNOWN).copied().collect();
    let (mut printed, mut scripts, mut faults) = (0, 0, Vec::new());
    for _ in 0..count {
        let draft = random.choice(&drafts).expect("drafts");
        let backend = random.choice([Backend::Nft, Backend::Legacy]).expect("two");
        let header = header(draft.family, backend);
        let Draft { table, chain, .. } = draft;
        let script = random.bool();
        let text = if script {
            let program = if draft.family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            let suffix = if backend == Backend::Nft { "-nft" } else { "-legacy" };
            let program = format!("{program}{suffix} -t {table}");
            let words = words(&drafts, draft, &all, &mut random);
            let condition = ["", "", "[ -e x ] && ", "check && ", "! check -x || "];
            let condition = random.choice(condition).expect("some");
            format!("#!/bin/sh\n{program} -N CHAIN\n{condition}{program} -A {chain} {words}\n")
        } else {
            let words = words(&drafts, draft, ODD, &mut random);
            format!("{header}*{table}\n:CHAIN - [0:0]\n-A {chain} {words}\nCOMMIT\n")
        };
        match twice(&text, &header) {
            None => {}
            Some(Ok(())) => {
                printed += 1;
                scripts += usize::from(script);
            }
            Some(Err(fault)) => faults.push(fault),
        }
    }
    println!("{printed} of {count} rules are printed, {scripts} of them from scripts");
    assert!(faults.is_empty(), "{} faults, seed {seed}:\n{}", faults.len(), faults.join("\n"));
    assert!(printed - scripts > 300 && scripts > 300, "{printed} and {scripts} of {count}");
}
