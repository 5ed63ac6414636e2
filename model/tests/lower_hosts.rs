//! Lowering of what real hosts print: laws over whole dumps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::graph::{ChainGraph, GraphOptions, to_dot, to_mermaid};
use nattrace_model::lower::{RulesInput, lower};
use nattrace_model::ruleset::Ruleset;
use nattrace_model::target::Target;
use nattrace_parser::diagnostic::{Diagnostic, Severity};
use nattrace_parser::parse_rules;
use nattrace_parser::syntax::{Backend, Family, TableName};

/// The folder of shared data, which may be missing beside a checkout.
fn shared(below: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(below);
    path.is_dir().then_some(path)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// Parses and lowers one text; the diagnostics are those of both.
fn lowered(text: &str, family: Family) -> (Ruleset, Vec<Diagnostic>) {
    let (rules, mut diagnostics) = parse_rules(text);
    let text = Arc::new(text.to_owned());
    let family = rules.family.unwrap_or(family);
    let backend = rules.backend.unwrap_or(Backend::Nft);
    let input = RulesInput { name: "x", text: &text, rules: &rules, family, backend };
    let (ruleset, found) = lower(&[input]);
    diagnostics.extend(found.into_iter().map(|(_, found)| found));
    (ruleset, diagnostics)
}

fn family_of(path: &Path) -> Family {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.starts_with("ip6") { Family::Ipv6 } else { Family::Ipv4 }
}

/// What the rules of the filter table ask and do, chain by chain.
fn meaning(ruleset: &Ruleset) -> Vec<String> {
    let mut chains: Vec<String> = ruleset
        .chains
        .iter()
        .filter(|chain| chain.table == TableName::Filter)
        .map(|chain| {
            let name = |id| ruleset.chain(id).map_or("?", |chain| &*chain.name);
            let rules: Vec<String> = chain
                .rules
                .iter()
                .map(|rule| match rule.target {
                    Target::Jump(to) => format!("{:?} jump {}", rule.conditions, name(to)),
                    Target::Goto(to) => format!("{:?} goto {}", rule.conditions, name(to)),
                    _ => format!("{:?} {:?}", rule.conditions, rule.target),
                })
                .collect();
            let policy = chain.base.map(|base| base.policy);
            format!("{} {policy:?}\n  {}", chain.name, rules.join("\n  "))
        })
        .collect();
    chains.sort();
    chains
}

#[test]
fn everything_on_a_docker_host_has_a_meaning() {
    let Some(folder) = shared("docker") else {
        nattrace_skips::skip_without_data("the meaning of real rules");
        return;
    };
    let mut files = Vec::new();
    files_below(&folder, &mut files);
    let mut rules = 0;
    for path in files {
        let save =
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tables-save"));
        if !save {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let (ruleset, found) = lowered(&text, family_of(&path));
        let found: Vec<_> = found.iter().filter(|found| found.severity != Severity::Note).collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
        let lines = text.lines().filter(|line| line.contains("-A ")).count();
        let all: Vec<_> = ruleset.chains.iter().flat_map(|chain| &chain.rules).collect();
        assert_eq!(all.len(), lines, "{}", path.display());
        rules += lines;
        for rule in all {
            let text = ruleset.text(rule);
            assert!(
                !rule.conditions.contains(&Condition::Undecided(Undecided::Unsupported)),
                "{text}"
            );
            assert!(!matches!(rule.target, Target::Unsupported(_)), "{text}");
        }
    }
    assert!(rules > 500, "{rules}");
}

/// The filter table means the same as iptables-save and as `iptables -S` print it.
#[test]
fn a_dump_means_the_same_in_either_form() {
    let Some(folder) = shared("docker") else {
        nattrace_skips::skip_without_data("the meaning of real rules");
        return;
    };
    let mut compared = 0;
    for host in std::fs::read_dir(folder).unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(host.path().join(name)).ok();
        let (Some(save), Some(commands)) = (read("iptables-save"), read("iptables-S")) else {
            continue;
        };
        // A table that nothing has touched is not printed by iptables-save.
        if !save.contains("*filter") {
            continue;
        }
        let (save, _) = lowered(&save, Family::Ipv4);
        let (commands, _) = lowered(&commands, Family::Ipv4);
        assert_eq!(meaning(&save), meaning(&commands), "{}", host.path().display());
        compared += 1;
    }
    assert!(compared > 0);
}

/// Whatever rulesets people publish: no panic, no loop left, both drawings made.
#[test]
fn rulesets_from_the_wild_are_lowered() {
    let Some(folder) = shared("public") else {
        nattrace_skips::skip_without_data("the meaning of real rules");
        return;
    };
    let mut files = Vec::new();
    files_below(&folder, &mut files);
    let (mut tables, mut rules) = (0, 0);
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if !text.lines().any(|line| line.starts_with("*filter") || line.starts_with("*nat")) {
            continue;
        }
        let (ruleset, _) = lowered(&text, family_of(&path));
        assert_eq!(ChainGraph::new(&ruleset.chains).loops(), [], "{}", path.display());
        let options = GraphOptions::default();
        assert!(to_dot(&ruleset, &options).ends_with("}\n"));
        assert!(to_mermaid(&ruleset, &options).starts_with("flowchart LR\n"));
        tables += 1;
        rules += ruleset.chains.iter().map(|chain| chain.rules.len()).sum::<usize>();
    }
    assert!(tables > 0 && rules > 0, "{tables} {rules}");
}

/// A rule means what its normal form means (kernel-facts H): the spelling has no say.
#[test]
fn a_rule_means_what_its_normal_form_means() {
    #[derive(serde::Deserialize)]
    struct Form {
        rc: i32,
        #[serde(default)]
        save: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    struct Forms {
        nft: Form,
    }
    let text = include_str!("../../parser/tests/data/normal-forms.json");
    let forms: std::collections::BTreeMap<String, Forms> = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for (given, forms) in forms {
        if forms.nft.rc != 0 || forms.nft.save.is_empty() {
            continue;
        }
        let table = given
            .split_once("-t ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or("filter");
        let conditions = |text: &str| {
            let (ruleset, found) = lowered(text, Family::Ipv4);
            let errors = found.iter().any(|found| found.severity == Severity::Error);
            let rules = ruleset.chains.iter().flat_map(|chain| &chain.rules);
            let rules: Vec<_> =
                rules.map(|rule| format!("{:?} {:?}", rule.conditions, rule.target)).collect();
            (rules, errors)
        };
        let saved = format!("*{table}\n{}\nCOMMIT\n", forms.nft.save.join("\n"));
        let (given_means, refused) = conditions(&given);
        let (saved_means, _) = conditions(&saved);
        if refused {
            continue;
        }
        compared += 1;
        assert_eq!(given_means, saved_means, "{given}");
    }
    assert!(compared > 180, "{compared}");
}
