//! A listing read back is what iptables-save prints of the same rules.
//!
//! `data/iptables-L` was recorded with iptables 1.8.9: the same rules listed by both backends and
//! both IP versions in several combinations of options (`N` is `--line-numbers`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nattrace_parser::listing::parse_listing;
use nattrace_parser::syntax::{Interfaces, Rules, RulesFormat};
use nattrace_parser::{Lines, Severity, emit_rule, parse_rules};

/// The printed rules of each chain, and how often each was printed.
type Printed = BTreeMap<(&'static str, String), Vec<String>>;

/// Options of a rule that no listing shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    NoInterfaces,
}

/// Rules that no listing shows as they are, by a part of their text.
const LOST: &[&str] = &[
    // Neither the name of its table is shown,
    "-m hashlimit",
    // nor these options,
    "-m osf ! --genre Windows --ttl 1",
    "! --quota",
    "-m eui64",
    // nor the mask of the address `::` without `-n`,
    "-d ::/1",
    // and names of users and groups are those of the host.
    "--gid-owner 5",
    // No reader of ours knows these options.
    "-shift-mark",
];

fn printed(rules: &Rules<'_>, shown: Shown) -> Printed {
    let mut printed = Printed::new();
    for table in &rules.tables {
        for chain in &table.chains {
            printed.entry((table.name.as_str(), chain.name.to_string())).or_default();
        }
        for rule in &table.rules {
            let mut rule = rule.clone();
            if shown == Shown::NoInterfaces {
                (rule.in_interface, rule.out_interface) = (None, None);
            }
            let mut text = String::new();
            emit_rule(&rule, &mut text);
            printed.entry((table.name.as_str(), rule.chain.to_string())).or_default().push(text);
        }
    }
    printed
}

/// Compares a listing with the rules of iptables-save; counts the rows that read back exactly, and
/// describes the others.
fn compare(save: &str, listing: &str) -> (usize, Vec<String>) {
    let (expected, _) = parse_rules(save);
    let (found, faults) = parse_listing(listing);
    let verbose = matches!(found.format, RulesFormat::Listing { verbose: true });
    let shown = if verbose { Shown::All } else { Shown::NoInterfaces };
    let mut different: Vec<String> = faults
        .iter()
        .filter(|fault| fault.severity == Severity::Error)
        .map(|fault| format!("{}: {}: {}", fault.code, fault.message, fault.span.slice(listing)))
        .collect();
    let lines = Lines::new(listing);
    for rule in found.tables.iter().flat_map(|table| &table.rules) {
        assert_eq!(rule.interfaces == Interfaces::Given, verbose);
        assert_eq!(rule.line, lines.line(rule.span.start));
    }
    let mut exact = 0;
    let (expected, found) = (printed(&expected, shown), printed(&found, shown));
    for (chain, expected) in &expected {
        let Some(found) = found.get(chain) else {
            different.push(format!("no chain {chain:?}"));
            continue;
        };
        if expected.len() != found.len() {
            different.push(format!("{chain:?}: {} rules, not {}", found.len(), expected.len()));
        }
        for (expected, found) in expected.iter().zip(found) {
            if expected == found {
                exact += 1;
            } else if !LOST.iter().any(|lost| expected.contains(lost)) {
                different.push(format!("{expected}\n      {found}"));
            }
        }
    }
    (exact, different)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/iptables-L").join(name)
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    assert!(!bytes.is_empty(), "{} can't be read", path.display());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn recorded_listings_read_back() {
    let mut report = String::new();
    let mut failed = 0;
    for program in ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"] {
        let save = read(&data(program).join("save"));
        for form in ["L", "Ln", "Lv", "Lnv", "LnvxN", "LvN"] {
            let (exact, different) = compare(&save, &read(&data(program).join(form)));
            let _ = writeln!(report, "{program} {form}: {exact} exact");
            for line in &different {
                failed += 1;
                let _ = writeln!(report, "   {line}");
            }
        }
    }
    println!("{report}");
    assert_eq!(failed, 0, "{report}");
}

#[test]
fn docker_hosts_read_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/docker");
    let Ok(states) = fs::read_dir(&root) else {
        println!("SKIPPED: {} is not there", root.display());
        return;
    };
    let (mut rows, mut failed, mut report) = (0, 0, String::new());
    let mut states: Vec<PathBuf> = states.flatten().map(|state| state.path()).collect();
    states.sort();
    for state in &states {
        let save = read(&state.join("iptables-save"));
        for form in ["iptables-L", "iptables-Lnv"] {
            let listing = read(&state.join(form));
            let (exact, different) = compare(&save, &listing);
            rows += exact;
            for line in different {
                failed += 1;
                let _ = writeln!(report, "{} {form}: {line}", state.display());
            }
            let (_, diagnostics) = parse_listing(&listing);
            for one in diagnostics.iter().filter(|one| one.severity == Severity::Warning) {
                failed += 1;
                let _ =
                    writeln!(report, "{} {form}: {}: {}", state.display(), one.code, one.message);
            }
        }
    }
    println!("{rows} rows of {} states", states.len());
    assert_eq!(failed, 0, "{report}");
    assert!(rows > 1000, "{rows}");
}
