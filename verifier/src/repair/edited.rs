//! A host with changes made, and where its rules stood before.

use std::collections::BTreeMap;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{
    Base, Chain, ChainId, ChainKind, Rule, RuleId, Ruleset, Source, Table, base_of,
};
use nattrace_model::target::Target;
use nattrace_parser::host::nftables;
use nattrace_parser::policy::Switch;
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::change::{
    At, Change, Edit, Holder, OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op, Place, RuleChange, Setting,
};
use super::wording;
use crate::given;

/// The name of the source of new rules.
const SOURCE: &str = "fix";

/// A host with changes made.
#[derive(Clone, Debug)]
pub(super) struct Edited {
    pub(super) system: Arc<System>,
    /// For each chain that was edited, where each of its rules stood before; `None` for new ones.
    stood: BTreeMap<ChainId, Vec<Option<u32>>>,
    /// How many rules each of these had before.
    lengths: BTreeMap<ChainId, u32>,
}

impl Edited {
    /// The host as it is.
    pub(super) fn unchanged(system: &Arc<System>) -> Self {
        Self { system: Arc::clone(system), stood: BTreeMap::new(), lengths: BTreeMap::new() }
    }

    /// The host with changes made, one after the other; `None` where a rule is none that iptables
    /// takes.
    pub(super) fn new(base: &Arc<System>, changes: &[Change]) -> Option<Self> {
        let mut edited = Self::unchanged(base);
        if changes.is_empty() {
            return Some(edited);
        }
        let mut system = (**base).clone();
        for change in changes {
            if let Change::Setting(setting) = change {
                set(&mut system, setting);
            }
        }
        let mut rules = Drafts::of(&mut system);
        for (place, changes) in by_place(changes) {
            let id = rules.chain(place)?;
            edited.lengths.insert(id, rules.length(id));
            let stood = rules.edit(id, place, &changes)?;
            edited.stood.insert(id, stood);
        }
        system.rules = rules.finish();
        edited.system = Arc::new(system);
        Some(edited)
    }

    /// Where something goes that is put before a rule.
    pub(super) fn before(&self, rule: RuleId) -> At {
        let Some(stood) = self.stood.get(&rule.chain) else { return At::Before(rule.index) };
        let mut behind = stood.iter().skip(rule.index as usize);
        match behind.find_map(|index| *index) {
            Some(index) => At::Before(index),
            None => At::Before(self.lengths.get(&rule.chain).copied().unwrap_or(0)),
        }
    }

    /// The number of a rule before any change; `None` for a new one.
    pub(super) fn original(&self, rule: RuleId) -> Option<u32> {
        match self.stood.get(&rule.chain) {
            Some(stood) => stood.get(rule.index as usize).copied().flatten(),
            None => Some(rule.index),
        }
    }
}

/// The changes of rules, by chain, in the order in which they were thought of.
pub(super) fn by_place(changes: &[Change]) -> BTreeMap<&Place, Vec<&RuleChange>> {
    let mut places: BTreeMap<&Place, Vec<&RuleChange>> = BTreeMap::new();
    for change in changes {
        if let Change::Rule(change) = change {
            places.entry(&change.place).or_default().push(change);
        }
    }
    places
}

/// `sysctl -w`.
fn set(system: &mut System, setting: &Setting) {
    match (setting.name.as_str(), setting.value) {
        ("net.ipv4.ip_forward", 0) => given::forward(&mut system.host, Family::Ipv4, Switch::Off),
        ("net.ipv4.ip_forward", _) => given::forward(&mut system.host, Family::Ipv4, Switch::On),
        ("net.ipv6.conf.all.forwarding", value) => {
            let names: Vec<String> =
                system.host.interfaces.iter().map(|own| own.name.clone()).collect();
            for name in names.iter().map(String::as_str).chain(["all", "default"]) {
                system.host.sysctls.insert(format!("net.ipv6.conf.{name}.forwarding"), value);
            }
        }
        (_, value) => system.host.sysctls.insert(setting.key(), value),
    }
}

/// Chains while they are edited.
struct Drafts {
    sources: Vec<Source>,
    chains: Vec<Chain>,
    tracking: [bool; 2],
}

impl Drafts {
    fn of(system: &mut System) -> Self {
        let tracking =
            [Family::Ipv4, Family::Ipv6].map(|family| system.rules.tracks_connections(family));
        let rules = std::mem::take(&mut system.rules);
        let Ruleset { mut sources, chains, .. } = rules;
        sources.push(Source { name: SOURCE.to_owned(), text: Arc::default() });
        Self { sources, chains, tracking }
    }

    fn finish(self) -> Ruleset {
        Ruleset::new(self.sources, self.chains, self.tracking)
    }

    fn length(&self, id: ChainId) -> u32 {
        let rules = self.chains.get(id.0 as usize).map_or(0, |chain| chain.rules.len());
        u32::try_from(rules).unwrap_or(u32::MAX)
    }

    /// The chain at a place, made where it is a built-in one that there was no need for yet.
    fn chain(&mut self, place: &Place) -> Option<ChainId> {
        let found = (0u32..).zip(&self.chains).find(|(_, chain)| is_at(chain, place));
        if let Some((index, _)) = found {
            return Some(ChainId(index));
        }
        let index = u32::try_from(self.chains.len()).ok()?;
        self.chains.push(fresh(place)?);
        Some(ChainId(index))
    }

    /// The chains of people's own that rules of a chain may call, by name.
    fn called_from(&self, id: ChainId) -> BTreeMap<String, ChainId> {
        let Some(caller) = self.chains.get(id.0 as usize) else { return BTreeMap::new() };
        let beside = |chain: &Chain| {
            chain.base.is_none()
                && (chain.backend, chain.family) == (caller.backend, caller.family)
                && chain.table == caller.table
        };
        let numbered = (0u32..).zip(&self.chains).filter(|(_, chain)| beside(chain));
        numbered.map(|(index, chain)| (chain.name.to_string(), ChainId(index))).collect()
    }

    /// Makes the changes of one chain.
    fn edit(
        &mut self,
        id: ChainId,
        place: &Place,
        changes: &[&RuleChange],
    ) -> Option<Vec<Option<u32>>> {
        let source = u16::try_from(self.sources.len().checked_sub(1)?).ok()?;
        let length = self.length(id);
        let called = self.called_from(id);
        let mut fresh = |change: &RuleChange, line: usize| -> Option<Rule> {
            let (backend, table, chain) = match place.holder {
                Holder::Iptables(backend, table) => (backend, table, place.chain.as_str()),
                Holder::Own => (Backend::Nft, TableName::Nat, "POSTROUTING"),
            };
            // A rule is lowered by itself, where no other chain is known.
            let jump = change
                .rule
                .rsplit_once(" -j ")
                .and_then(|(asked, name)| Some((format!("{asked} -j ACCEPT"), *called.get(name)?)));
            let words = jump.as_ref().map_or(&change.rule, |(words, _)| words);
            let (mut rule, tracked) = wording::lowered(words, place.family, backend, table, chain)?;
            if let Some((_, called)) = jump {
                rule.target = Target::Jump(called);
            }
            if tracked && let Some(tracks) = self.tracking.get_mut(family_index(place.family)) {
                *tracks = true;
            }
            rule.origin.source = source;
            rule.origin.line = u32::try_from(line).unwrap_or(u32::MAX);
            rule.origin.printed =
                Some(change.native.as_deref().unwrap_or(&change.rule).to_owned().into_boxed_str());
            Some(rule)
        };
        let slots = layout(length, changes);
        let mut rules = Vec::with_capacity(slots.len());
        let mut stood = Vec::with_capacity(slots.len());
        let old = std::mem::take(&mut self.chains.get_mut(id.0 as usize)?.rules);
        let mut old: Vec<Option<Rule>> = old.into_iter().map(Some).collect();
        for (line, slot) in slots.into_iter().enumerate() {
            match slot {
                Slot::Old(index) => {
                    rules.extend(old.get_mut(index as usize).and_then(Option::take));
                    stood.push(Some(index));
                }
                Slot::New(change) | Slot::Instead(change, _) => {
                    rules.push(fresh(change, line + 1)?);
                    stood.push(None);
                }
                Slot::Gone(..) => {}
            }
        }
        self.chains.get_mut(id.0 as usize)?.rules = rules;
        Some(stood)
    }
}

/// What stands in a chain, from its beginning.
#[derive(Clone, Copy)]
enum Slot<'c> {
    /// A rule that was there.
    Old(u32),
    /// A new one.
    New(&'c RuleChange),
    /// A new one in the place of another.
    Instead(&'c RuleChange, u32),
    /// Nothing any more.
    Gone(&'c RuleChange, u32),
}

/// The rules of a chain of this length with changes made.
fn layout<'c>(length: u32, changes: &[&'c RuleChange]) -> Vec<Slot<'c>> {
    let mut slots = Vec::with_capacity(length as usize + changes.len());
    for index in 0..=length {
        // What was thought of later has to come before what was there then.
        let before = changes.iter().rev().filter(|change| change.at == At::Before(index));
        slots.extend(before.map(|change| Slot::New(change)));
        if index == length {
            break;
        }
        let of_rule =
            |change: &&&RuleChange| [At::Instead(index), At::Gone(index)].contains(&change.at);
        slots.push(match changes.iter().find(of_rule) {
            Some(change) if change.at == At::Gone(index) => Slot::Gone(change, index),
            Some(change) => Slot::Instead(change, index),
            None => Slot::Old(index),
        });
    }
    let behind = changes.iter().filter(|change| change.at == At::End);
    slots.extend(behind.map(|change| Slot::New(change)));
    slots
}

/// The changes as edits that are carried out one after the other.
pub(super) fn edits(system: &System, changes: &[Change]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (place, changes) in by_place(changes) {
        let chain = system.rules.chains.iter().find(|chain| is_at(chain, place));
        let old = chain.map_or(&[][..], |chain| &chain.rules);
        let slots = layout(u32::try_from(old.len()).unwrap_or(u32::MAX), &changes);
        let written = |index: u32| {
            let text = old.get(index as usize).map_or("", |rule| system.rules.text(rule));
            match place.holder {
                Holder::Iptables(_, table) => wording::normal(text, place.family, table),
                Holder::Own => None,
            }
            .unwrap_or_else(|| text.to_owned())
        };
        let mut position = 1;
        let last_old = slots.iter().rposition(|slot| !matches!(slot, Slot::New(_)));
        for (number, slot) in slots.iter().enumerate() {
            let (change, op, replaces) = match slot {
                Slot::Old(_) => {
                    position += 1;
                    continue;
                }
                Slot::New(change) if last_old.is_none_or(|last| number > last) => {
                    (change, Op::Append, None)
                }
                Slot::New(change) => (change, Op::Insert, None),
                Slot::Instead(change, index) => (change, Op::Replace, Some(written(*index))),
                Slot::Gone(change, index) => (change, Op::Delete, Some(written(*index))),
            };
            let new = change.native.clone().unwrap_or_else(|| change.rule.clone());
            let (rule, replaces) = match op {
                Op::Delete => (replaces.unwrap_or_default(), None),
                Op::Insert | Op::Replace | Op::Append => (new, replaces),
            };
            let (place, because) = (place.clone(), change.because.clone());
            edits.push(Edit { place, op, position, rule, replaces, because });
            if op != Op::Delete {
                position += 1;
            }
        }
    }
    edits
}

fn family_index(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

/// Whether a chain is the one at a place.
fn is_at(chain: &Chain, place: &Place) -> bool {
    let holder = match place.holder {
        Holder::Iptables(backend, table) => chain.backend == backend && chain.table == table,
        Holder::Own => chain.table == own_table(place.family),
    };
    holder && chain.family == place.family && *chain.name == *place.chain
}

fn own_table(family: Family) -> Table {
    let family = match family {
        Family::Ipv4 => nftables::TableFamily::Ip,
        Family::Ipv6 => nftables::TableFamily::Ip6,
    };
    Table::Native(Arc::new(nftables::TableName { family, name: OWN_TABLE.to_owned() }))
}

/// A chain that there was no need for yet; `None` for one that somebody has to make.
fn fresh(place: &Place) -> Option<Chain> {
    let (backend, table, base) = match place.holder {
        Holder::Iptables(backend, table) => {
            let base = base_of(backend, table, &place.chain, Policy::Accept)?;
            (backend, Table::Iptables(table), base)
        }
        Holder::Own if place.chain == OWN_CHAIN => {
            let base = Base {
                hook: Hook::Postrouting,
                priority: OWN_PRIORITY,
                policy: Policy::Accept,
                kind: ChainKind::Nat,
                registered: None,
            };
            (Backend::Nft, own_table(place.family), base)
        }
        Holder::Own => return None,
    };
    Some(Chain {
        backend,
        family: place.family,
        table,
        name: place.chain.as_str().into(),
        base: Some(base),
        rules: Vec::new(),
    })
}
