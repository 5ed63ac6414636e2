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
    assert!(path.is_file(), "{} is not there", path.display());
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
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
        nattrace_skips::skip_without_data("listings of real hosts");
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

/// How a rule is saved and listed.
#[derive(serde::Deserialize)]
struct Answer {
    save: Vec<String>,
    #[serde(rename = "Lnv")]
    numeric: Vec<String>,
    #[serde(rename = "L")]
    plain: Vec<String>,
}

/// Rules of the measured normal forms that no listing shows as they are.
const LOST_FORMS: &[&str] = &[
    "-m hashlimit",
    // A rule is printed with one `-m conntrack` for both options, which means the same.
    "-m conntrack --ctstate NEW -m conntrack --ctdir ORIGINAL",
    // iptables-legacy lists the interface, but saves a rule without it.
    "-A FORWARD -j DROP",
    "--gid-owner 5",
];

#[test]
fn normal_forms_read_back() {
    let forms: BTreeMap<String, BTreeMap<String, Answer>> =
        serde_json::from_str(&read(&data("normal-forms.json"))).expect("the data");
    let (mut rows, mut report) = (0, String::new());
    for (input, measured) in &forms {
        for (backend, answer) in measured {
            let Some(chain) = answer.save.first().and_then(|rule| rule.split(' ').nth(1)) else {
                continue;
            };
            let table = input.split("-t ").nth(1).and_then(|rest| rest.split(' ').next());
            let table = table.unwrap_or("filter");
            let (tag, program) = match backend.as_str() {
                "nft" => (" (nf_tables)", "iptables-nft"),
                "legacy" => ("", "iptables-legacy"),
                _ => ("", "iptables"),
            };
            let save = format!(
                "# Generated by iptables-save v1.8.9{tag} on Mon\n*{table}\n:{chain} ACCEPT [0:0]\n:foo -\n{}\nCOMMIT\n",
                answer.save.join("\n")
            );
            for listed in [&answer.numeric, &answer.plain] {
                let listing = format!(
                    "# {program} -t {table} -L\nChain {chain} (policy ACCEPT)\n{}\nChain foo (1 references)\n",
                    listed.join("\n")
                );
                let (exact, different) = compare(&save, &listing);
                rows += exact;
                for line in &different {
                    match LOST_FORMS.iter().any(|lost| line.contains(lost)) {
                        true => println!("lost: {line}"),
                        false => drop(writeln!(report, "{backend}: {line}")),
                    }
                }
            }
        }
    }
    println!("{rows} rows");
    assert!(report.is_empty(), "{report}");
    assert!(rows > 420, "{rows}");
}

#[test]
fn public_listings_are_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/public");
    if !root.is_dir() {
        nattrace_skips::skip_without_data("listings of real hosts");
        return;
    }
    let (mut files, mut rows) = (0, 0);
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let header = |line: &str| line.contains(" opt ") && line.contains("source");
            if !text.contains("Chain ") || !text.lines().any(header) {
                continue;
            }
            let (rules, diagnostics) = parse_listing(&text);
            files += 1;
            rows += rules.tables.iter().map(|table| table.rules.len()).sum::<usize>();
            for one in diagnostics.iter().filter(|one| one.severity != Severity::Note) {
                println!(
                    "{}: {}: {}: {}",
                    path.display(),
                    one.code,
                    one.message,
                    one.span.slice(&text)
                );
            }
        }
    }
    println!("{rows} rows of {files} files");
    assert!(files > 10 && rows > 5000, "{rows} rows of {files} files");
}

/// Listings of hosts with the iptables-save of the same moment; the listings have fewer tables.
const PAIRS: &[(&str, &str, usize)] = &[
    ("tum/iptables-save-2016-03-16_13-53-28", "tum/iptables-Lnv-2016-03-16_13-53-28", 3000),
    ("config_kornwall/iptables-save", "config_kornwall/iptables.Lnv", 50),
    ("config_vsrv/iptables-save.txt", "config_vsrv/iptables_Lnv.txt", 70),
    (
        "configs_synology_diskstation_ds414/iptables-save_jun_2015_cleanup",
        "configs_synology_diskstation_ds414/iptables_Ln_jun_2015_cleanup",
        20,
    ),
    (
        "configs_synology_diskstation_ds414/iptables-save_jun_2015_legacyifacerules",
        "configs_synology_diskstation_ds414/iptables_Lnv_jun_2015_legacyifacerules",
        30,
    ),
];

#[test]
fn public_listings_agree_with_what_was_saved() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/public/net-network");
    if !root.is_dir() {
        nattrace_skips::skip_without_data("listings of real hosts");
        return;
    }
    for (save, listing, least) in PAIRS {
        let (exact, different) = compare(&read(&root.join(save)), &read(&root.join(listing)));
        println!("{listing}: {exact} rows");
        assert!(exact >= *least, "{listing}: {exact} rows");
        for line in &different {
            // The hardware addresses are blacked out.
            let explained = line.starts_with("no chain") || line.contains("XX:XX");
            assert!(explained, "{listing}: {line}");
        }
    }
}

#[test]
fn no_rule_of_a_listing_jumps_to_a_built_in_chain() {
    let text = "Chain FORWARD (policy ACCEPT)\ntarget     prot opt source               destination\n\
                OUTPUT     all  --  anywhere             anywhere\n";
    let (_, diagnostics) = nattrace_parser::parse_rules(text);
    assert!(diagnostics.iter().any(|one| one.code == "jump-to-builtin"), "{diagnostics:?}");
}
