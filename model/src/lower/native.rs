//! Native nft tables: those of `nft -j list ruleset` that iptables does not show.
//!
//! A table of family `inet` becomes chains of both families, each with what its rules mean there.

mod compare;
mod constant;
mod operand;
mod rewrite;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nattrace_parser::diagnostic::Diagnostic;
use nattrace_parser::host::nftables::{self, Element, Expression, Statement, TableFamily, Verdict};
use nattrace_parser::syntax::{Backend, Family, Policy};

use super::rule::Lowered;
use crate::graph::HookSet;
use crate::hook::Hook;
use crate::ruleset::{Base, Chain, ChainId, ChainKind, Registration, Table};

/// A ruleset of nft, and where it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NativeInput<'a> {
    /// The name of the snapshot's part or of the file.
    pub(crate) name: &'a str,
    /// The text that it was parsed from.
    pub(crate) text: &'a Arc<String>,
    /// What stands in it.
    pub(crate) ruleset: &'a nftables::Ruleset,
}

/// What the lowering of a rule needs to know.
pub(super) struct Context<'a> {
    pub(super) ruleset: &'a nftables::Ruleset,
    /// The index of the source.
    pub(super) source: u16,
    pub(super) family: Family,
    pub(super) table: &'a nftables::TableName,
    /// The chains of the table.
    pub(super) chains: &'a BTreeMap<&'a str, ChainId>,
    /// The names of the sets that rules add to, and of those that rules delete from.
    pub(super) grown: &'a BTreeSet<&'a str>,
    pub(super) shrunk: &'a BTreeSet<&'a str>,
}

/// Adds the chains that iptables does not show.
pub(super) fn add(
    native: &NativeInput<'_>,
    input: usize,
    lowered: &mut Lowered,
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) {
    let ruleset = native.ruleset;
    register_shown(ruleset, &mut lowered.chains);
    check_chains(ruleset, input, diagnostics);
    let shown = shown_chains(ruleset, &lowered.chains);
    for table in &ruleset.tables {
        let families: &[Family] = match table.name.family {
            TableFamily::Ip => &[Family::Ipv4],
            TableFamily::Ip6 => &[Family::Ipv6],
            TableFamily::Inet => &[Family::Ipv4, Family::Ipv6],
            TableFamily::Arp | TableFamily::Bridge | TableFamily::Netdev => &[],
        };
        for family in families {
            let found = add_table(native, input, (table, *family), &shown, lowered);
            diagnostics.extend(found.into_iter().map(|diagnostic| (input, diagnostic)));
        }
    }
}

/// Every rule must stand in a chain that is there, or it would be lost.
fn check_chains(
    ruleset: &nftables::Ruleset,
    input: usize,
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) {
    let chains: BTreeSet<(&nftables::TableName, &str)> =
        ruleset.chains.iter().map(|chain| (&chain.table, chain.name.as_str())).collect();
    for rule in &ruleset.rules {
        if !chains.contains(&(&rule.table, rule.chain.as_str())) {
            let message =
                format!("chain `{}` does not exist in table `{}`", rule.chain, rule.table);
            diagnostics.push((input, Diagnostic::error("unknown-chain", message, rule.span)));
        }
    }
}

/// Notes when the chains that iptables shows were hooked in.
fn register_shown(ruleset: &nftables::Ruleset, chains: &mut [Chain]) {
    for chain in chains.iter_mut().filter(|chain| chain.backend == Backend::Nft) {
        let (Some(base), Some(table)) = (&mut chain.base, chain.table.of_iptables()) else {
            continue;
        };
        let family = match chain.family {
            Family::Ipv4 => TableFamily::Ip,
            Family::Ipv6 => TableFamily::Ip6,
        };
        let own = ruleset.chains.iter().find(|own| {
            own.table.family == family
                && own.table.name == table.as_str()
                && *own.name == *chain.name
        });
        base.registered = own.and_then(|own| registration(ruleset, own));
    }
}

fn registration(ruleset: &nftables::Ruleset, chain: &nftables::Chain) -> Option<Registration> {
    let table = ruleset.tables.iter().find(|table| table.name == chain.table)?;
    Some((table.handle?, chain.handle?))
}

/// The chains, by index, that the rules of iptables-nft show: then those count, which are not
/// counted twice.
fn shown_chains(ruleset: &nftables::Ruleset, chains: &[Chain]) -> BTreeSet<usize> {
    let of_nft = chains.iter().filter(|chain| chain.backend == Backend::Nft);
    let known: BTreeMap<(Family, &str, &str), Option<Base>> = of_nft
        .filter_map(|chain| {
            let table = chain.table.of_iptables()?;
            Some(((chain.family, table.as_str(), &*chain.name), chain.base))
        })
        .collect();
    let is_shown = |chain: &nftables::Chain| {
        let family = match chain.table.family {
            TableFamily::Ip => Family::Ipv4,
            TableFamily::Ip6 => Family::Ipv6,
            TableFamily::Inet | TableFamily::Arp | TableFamily::Bridge | TableFamily::Netdev => {
                return false;
            }
        };
        match (known.get(&(family, &chain.table.name, &chain.name)), &chain.base) {
            (None, _) => false,
            // A chain of the same name that sits elsewhere is none that iptables made.
            (Some(Some(own)), Some(base)) => {
                hook_of(&base.hook) == Some(own.hook) && base.priority == own.priority
            }
            (Some(None), None) => true,
            (Some(Some(_)), None) | (Some(None), Some(_)) => false,
        }
    };
    let indexed = ruleset.chains.iter().enumerate();
    indexed.filter(|(_, chain)| is_shown(chain)).map(|(index, _)| index).collect()
}

/// The hook of the IP layer by nft's name; the others are not of it.
fn hook_of(name: &str) -> Option<Hook> {
    Some(match name {
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        _ => return None,
    })
}

fn base(
    ruleset: &nftables::Ruleset,
    table: &nftables::Table,
    chain: &nftables::Chain,
) -> Option<Base> {
    let base = chain.base.as_ref().filter(|_| !table.dormant)?;
    Some(Base {
        hook: hook_of(&base.hook)?,
        priority: base.priority,
        policy: if base.drops { Policy::Drop } else { Policy::Accept },
        kind: match base.kind.as_str() {
            "nat" => ChainKind::Nat,
            "route" => ChainKind::Route,
            _ => ChainKind::Filter,
        },
        registered: registration(ruleset, chain),
    })
}

fn add_table(
    native: &NativeInput<'_>,
    input: usize,
    (table, family): (&nftables::Table, Family),
    shown: &BTreeSet<usize>,
    lowered: &mut Lowered,
) -> Vec<Diagnostic> {
    let ruleset = native.ruleset;
    let mut diagnostics = Vec::new();
    let rules = rules_by_chain(ruleset, &table.name);
    let wanted = wanted_chains(ruleset, &table.name, &rules, shown);
    let first = lowered.chains.len();
    let number = |index: usize| ChainId(u32::try_from(first + index).unwrap_or(u32::MAX));
    let chains: BTreeMap<&str, ChainId> =
        wanted.iter().enumerate().map(|(at, chain)| (chain.name.as_str(), number(at))).collect();
    let (grown, shrunk) = changed_sets(ruleset, &table.name);
    let context = Context {
        ruleset,
        source: u16::try_from(input).unwrap_or(u16::MAX),
        family,
        table: &table.name,
        chains: &chains,
        grown: &grown,
        shrunk: &shrunk,
    };
    let name = Arc::new(table.name.clone());
    for chain in wanted {
        let own = rules.get(chain.name.as_str()).map_or(&[][..], Vec::as_slice);
        let mut tracked = false;
        let mut lowered_rules = Vec::with_capacity(own.len());
        for rule in own {
            let (lowered_rule, found) = rule::lower(rule, &context, native.text);
            tracked |= found.tracked;
            diagnostics.extend(found.diagnostics);
            lowered_rules.push(lowered_rule);
        }
        let index = usize::from(family == Family::Ipv6);
        if let (true, Some(flag)) = (tracked, lowered.tracking.get_mut(index)) {
            *flag = true;
        }
        lowered.chains.push(Chain {
            backend: Backend::Nft,
            family,
            table: Table::Native(Arc::clone(&name)),
            name: chain.name.as_str().into(),
            base: base(ruleset, table, chain),
            rules: lowered_rules,
        });
        lowered.allowed.push(HookSet::all());
    }
    // What is said of a table of both families is said once.
    if family == Family::Ipv6 && table.name.family == TableFamily::Inet {
        diagnostics.clear();
    }
    diagnostics
}

/// The chains of a table that iptables does not show, and those that they lead into.
fn wanted_chains<'a>(
    ruleset: &'a nftables::Ruleset,
    table: &nftables::TableName,
    rules: &BTreeMap<&'a str, Vec<&'a nftables::Rule>>,
    shown: &BTreeSet<usize>,
) -> Vec<&'a nftables::Chain> {
    let own: Vec<(usize, &nftables::Chain)> = ruleset
        .chains
        .iter()
        .enumerate()
        .filter(|(_, chain)| chain.table == *table)
        // Chains of ingress and egress are none of the IP layer's.
        .filter(|(_, chain)| chain.base.as_ref().is_none_or(|base| hook_of(&base.hook).is_some()))
        .collect();
    let is_shown = |index: &usize| shown.contains(index);
    let shares = own.iter().any(|(index, _)| is_shown(index));
    let names =
        own.iter().filter(|(index, chain)| !is_shown(index) && (!shares || chain.base.is_some()));
    let mut wanted: BTreeSet<&str> = names.map(|(_, chain)| chain.name.as_str()).collect();
    let mut waiting: Vec<&str> = wanted.iter().copied().collect();
    while let Some(name) = waiting.pop() {
        let own_rules = rules.get(name).map_or(&[][..], Vec::as_slice);
        for called in own_rules.iter().flat_map(|rule| calls(ruleset, rule)) {
            if wanted.insert(called) {
                waiting.push(called);
            }
        }
    }
    let chains = own.into_iter().map(|(_, chain)| chain);
    chains.filter(|chain| wanted.contains(chain.name.as_str())).collect()
}

fn rules_by_chain<'a>(
    ruleset: &'a nftables::Ruleset,
    table: &nftables::TableName,
) -> BTreeMap<&'a str, Vec<&'a nftables::Rule>> {
    let mut rules: BTreeMap<&str, Vec<&nftables::Rule>> = BTreeMap::new();
    for rule in ruleset.rules.iter().filter(|rule| rule.table == *table) {
        rules.entry(&rule.chain).or_default().push(rule);
    }
    rules
}

/// The sets of a table that packets change: by adding, and by deleting.
fn changed_sets<'a>(
    ruleset: &'a nftables::Ruleset,
    table: &nftables::TableName,
) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let (mut grown, mut shrunk) = (BTreeSet::new(), BTreeSet::new());
    for rule in ruleset.rules.iter().filter(|rule| rule.table == *table) {
        for statement in &rule.statements {
            let Statement::Set { operation, set, .. } = statement else { continue };
            match operation {
                nftables::SetOperation::Add | nftables::SetOperation::Update => {
                    grown.insert(set.as_str());
                }
                nftables::SetOperation::Delete => {
                    shrunk.insert(set.as_str());
                }
            }
        }
    }
    (grown, shrunk)
}

/// The chains that a rule may lead into.
fn calls<'a>(ruleset: &'a nftables::Ruleset, rule: &'a nftables::Rule) -> Vec<&'a str> {
    let called = |verdict: &'a Verdict| match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain.as_str()),
        Verdict::Accept | Verdict::Drop | Verdict::Continue | Verdict::Return => None,
    };
    let mapped = |elements: &'a [Element]| {
        elements.iter().filter_map(move |element| match &element.data {
            Some(Expression::Verdict(verdict)) => called(verdict),
            _ => None,
        })
    };
    let mut names = Vec::new();
    for statement in &rule.statements {
        match statement {
            Statement::Verdict(verdict) => names.extend(called(verdict)),
            Statement::VerdictMap { data: Expression::Set(elements), .. } => {
                names.extend(mapped(elements));
            }
            Statement::VerdictMap { data: Expression::SetReference(name), .. } => {
                let sets = ruleset.sets.iter();
                let own = sets.filter(|set| set.table == rule.table && set.name == *name);
                names.extend(own.flat_map(|set| mapped(&set.elements)));
            }
            _ => {}
        }
    }
    names
}
