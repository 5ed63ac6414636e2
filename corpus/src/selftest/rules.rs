//! The rules of a described host, as iptables-restore reads them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use nattrace_model::System;
use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::ruleset::{Chain, Ruleset};
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::SelftestError;
use crate::lab::rules::Loader;

/// The tools that load the rules of a host: one for each family and backend.
pub(super) fn loaders(system: &System) -> Vec<Loader> {
    let has = |loader: &Loader| {
        let chains = &system.rules.chains;
        chains.iter().any(|chain| {
            chain.table.of_iptables().is_some()
                && (chain.family, chain.backend) == (loader.family, loader.backend)
        })
    };
    let all = [Family::Ipv4, Family::Ipv6].into_iter().flat_map(|family| {
        [Backend::Nft, Backend::Legacy].map(|backend| Loader { family, backend })
    });
    all.filter(has).collect()
}

/// Why the rules can't be put into a kernel as they are meant.
pub(super) fn obstacle(system: &System) -> Option<String> {
    if let Some(chain) = system.host.foreign_chains.first() {
        return Some(format!("a table of nftables is not known in full: `{}`", chain.table));
    }
    let native = system.rules.chains.iter().find(|chain| chain.table.of_iptables().is_none());
    let legacy = system.rules.chains.iter().any(|chain| chain.backend == Backend::Legacy);
    if let Some(chain) = native.filter(|_| legacy) {
        return Some(format!(
            "`{}` stands beside rules of iptables-legacy, and nothing tells which rules of both a \
             packet meets",
            chain.table
        ));
    }
    let hides = |condition: &Condition| {
        matches!(condition, Condition::Undecided(Undecided::InterfacesNotShown))
    };
    let rules = || system.rules.chains.iter().flat_map(|chain| &chain.rules);
    rules().any(|rule| rule.conditions.iter().any(hides)).then(|| {
        "the listing does not show interfaces (`iptables -L` without `-v`), so the rules are not \
         known in full"
            .to_owned()
    })
}

/// Loads all rules, and tells which through which tool.
pub(super) fn load(system: &System) -> Result<Vec<(Loader, String)>, SelftestError> {
    let mut loaded = Vec::new();
    for loader in loaders(system) {
        let text = restore_text(&system.rules, loader);
        loader.load(&text)?.map_err(|complaint| refusal(loader, &text, &complaint))?;
        loaded.push((loader, text));
    }
    Ok(loaded)
}

fn refusal(loader: Loader, text: &str, complaint: &str) -> SelftestError {
    let words: Vec<&str> = complaint.split([' ', ':', '\n']).collect();
    let number = words.windows(2).find_map(|pair| match pair {
        ["line", number] => number.parse::<usize>().ok(),
        _ => None,
    });
    let line = number.and_then(|number| text.lines().nth(number.saturating_sub(1)));
    let first = complaint.lines().next().unwrap_or("no reason given");
    let what = line.map_or_else(String::new, |line| format!(" `{line}`"));
    let programs = loader.programs().join(", ");
    SelftestError::NotRebuilt(format!("this kernel's {programs} refuses{what}: {first}"))
}

fn restore_text(rules: &Ruleset, loader: Loader) -> String {
    let chains = || {
        let own = |chain: &&Chain| (chain.family, chain.backend) == (loader.family, loader.backend);
        rules.chains.iter().filter(own)
    };
    let tables: BTreeSet<TableName> = chains().filter_map(|c| c.table.of_iptables()).collect();
    let mut text = String::new();
    for table in tables {
        let _infallible = writeln!(text, "*{}", table.as_str());
        let of_table = || chains().filter(|chain| chain.table == table);
        for chain in of_table() {
            let policy = match chain.base.map(|base| base.policy) {
                None => "-",
                Some(Policy::Accept) => "ACCEPT",
                Some(Policy::Drop) => "DROP",
            };
            let _infallible = writeln!(text, ":{} {policy} [0:0]", chain.name);
        }
        for chain in of_table() {
            for rule in &chain.rules {
                let _infallible = writeln!(text, "{}", rules.text(rule));
            }
        }
        text.push_str("COMMIT\n");
    }
    text
}
