//! Chains that have another name on the later host: they are called where the old ones were, or
//! hold the same rules.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use nattrace_model::System;
use nattrace_model::condition::Condition;
use nattrace_model::ruleset::{ChainId, Rule, Table};
use nattrace_parser::syntax::{Backend, Family};

use super::identity::{Meaning, Name, name};

/// What is known of the chains of two hosts that belong together.
struct Pairs<'s> {
    before: &'s System,
    after: &'s System,
    /// Chains that only one of the hosts has, no base chains among them.
    lone_before: BTreeSet<ChainId>,
    lone_after: BTreeSet<ChainId>,
    found: Vec<(ChainId, ChainId)>,
}

/// The chains of the earlier and of the later host that differ in their names. Any pairing is right
/// as far as it goes: rules of chains that are paired are compared one by one.
pub(super) fn renamed(before: &System, after: &System) -> Vec<(ChainId, ChainId)> {
    let known: HashMap<Name, ChainId> =
        chains(before).map(|(id, chain)| (name(chain), id)).collect();
    let mut shared: VecDeque<(ChainId, ChainId)> = VecDeque::new();
    let mut lone_before: BTreeSet<ChainId> =
        chains(before).filter(|(_, chain)| chain.base.is_none()).map(|(id, _)| id).collect();
    let mut lone_after = BTreeSet::new();
    for (id, chain) in chains(after) {
        match known.get(&name(chain)) {
            Some(old) => {
                lone_before.remove(old);
                shared.push_back((*old, id));
            }
            None if chain.base.is_none() => {
                lone_after.insert(id);
            }
            None => {}
        }
    }
    let hooked = hooked_alike(before, after, &known);
    shared.extend(&hooked);
    let mut pairs = Pairs { before, after, lone_before, lone_after, found: hooked };
    while let Some((old, new)) = shared.pop_front() {
        if pairs.is_done() {
            break;
        }
        shared.extend(pairs.called_alike(old, new));
    }
    pairs.alike();
    pairs.found
}

/// The base chains without a counterpart that are called at the same places of the same tables, in
/// their order.
fn hooked_alike(
    before: &System,
    after: &System,
    known: &HashMap<Name, ChainId>,
) -> Vec<(ChainId, ChainId)> {
    let place = |system: &System, id: ChainId| {
        let base = system.rules.chain(id)?.base?;
        Some((home(system, id)?, base.hook, base.priority, base.kind))
    };
    let names: HashSet<Name> = chains(after).map(|(_, chain)| name(chain)).collect();
    let mut lone: Vec<(ChainId, _)> = chains(before)
        .filter(|(_, chain)| !names.contains(&name(chain)))
        .filter_map(|(id, _)| Some((id, place(before, id)?)))
        .collect();
    let mut found = Vec::new();
    for (id, _) in chains(after).filter(|(_, chain)| !known.contains_key(&name(chain))) {
        let Some(own) = place(after, id) else { continue };
        if let Some(at) = lone.iter().position(|(_, other)| *other == own) {
            found.push((lone.remove(at).0, id));
        }
    }
    found
}

fn chains(system: &System) -> impl Iterator<Item = (ChainId, &nattrace_model::ruleset::Chain)> {
    (0u32..).map(ChainId).zip(&system.rules.chains)
}

impl Pairs<'_> {
    fn is_done(&self) -> bool {
        self.lone_before.is_empty() || self.lone_after.is_empty()
    }

    /// Pairs what is called for the same packets by two chains that belong together.
    fn called_alike(&mut self, old: ChainId, new: ChainId) -> Vec<(ChainId, ChainId)> {
        let mut called = calls(self.before, old, &self.lone_before);
        let mut paired = Vec::new();
        for (conditions, new_called) in in_order(self.after, new, &self.lone_after) {
            let Some(old_called) = called.get_mut(conditions).and_then(VecDeque::pop_front) else {
                continue;
            };
            let same = home(self.before, old_called) == home(self.after, new_called);
            if same && self.pair(old_called, new_called) {
                paired.push((old_called, new_called));
            }
        }
        paired
    }

    /// Whether both were without a counterpart until now.
    fn pair(&mut self, old: ChainId, new: ChainId) -> bool {
        let free = self.lone_before.contains(&old) && self.lone_after.contains(&new);
        if free {
            self.lone_before.remove(&old);
            self.lone_after.remove(&new);
            self.found.push((old, new));
        }
        free
    }

    /// Pairs chains that hold the same rules and are called elsewhere, or by nobody; those that
    /// others call come first.
    fn alike(&mut self) {
        loop {
            if self.is_done() {
                return;
            }
            let numbers: HashMap<ChainId, ChainId> =
                self.found.iter().map(|(old, new)| (*new, *old)).collect();
            let mut by_rules: HashMap<(Home, Vec<Meaning>), VecDeque<ChainId>> = HashMap::new();
            for old in &self.lone_before {
                let rules = meanings(self.before, *old, &self.lone_before, |id| id);
                if let (Some(home), Some(rules)) = (home(self.before, *old), rules) {
                    by_rules.entry((home, rules)).or_default().push_back(*old);
                }
            }
            let known: HashMap<Name, ChainId> =
                chains(self.before).map(|(id, chain)| (name(chain), id)).collect();
            let number = |id: ChainId| {
                let own = self.after.rules.chain(id).and_then(|own| known.get(&name(own)).copied());
                own.or_else(|| numbers.get(&id).copied()).unwrap_or(id)
            };
            let mut fresh = Vec::new();
            for new in &self.lone_after {
                let rules = meanings(self.after, *new, &self.lone_after, number);
                let key = home(self.after, *new).zip(rules);
                let old = key.and_then(|key| by_rules.get_mut(&key)?.pop_front());
                fresh.extend(old.map(|old| (old, *new)));
            }
            let paired = fresh.into_iter().filter(|(old, new)| self.pair(*old, *new)).count();
            if paired == 0 {
                return;
            }
        }
    }
}

/// What holds a chain.
type Home = (Backend, Family, Table);

fn home(system: &System, id: ChainId) -> Option<Home> {
    let chain = system.rules.chain(id)?;
    Some((chain.backend, chain.family, chain.table.clone()))
}

/// The rules of a chain as they are told apart; none for one that calls chains without a
/// counterpart.
fn meanings(
    system: &System,
    id: ChainId,
    lone: &BTreeSet<ChainId>,
    number: impl Fn(ChainId) -> ChainId,
) -> Option<Vec<Meaning>> {
    let rules = &system.rules.chain(id)?.rules;
    let meaning = |rule: &Rule| {
        let mut calls_lone = false;
        rule.target.calls(&mut |called, _| calls_lone |= lone.contains(&called));
        (!calls_lone).then(|| Meaning::bare(rule, &number))
    };
    rules.iter().map(meaning).collect()
}

/// The calls of some chains by another one, in order, with what the calling rules ask.
fn in_order<'s>(
    system: &'s System,
    id: ChainId,
    wanted: &BTreeSet<ChainId>,
) -> Vec<(&'s [Condition], ChainId)> {
    let mut all = Vec::new();
    for rule in system.rules.chain(id).map_or(&[][..], |chain| &chain.rules) {
        rule.target.calls(&mut |called, _| {
            if wanted.contains(&called) {
                all.push((rule.conditions.as_slice(), called));
            }
        });
    }
    all
}

/// The same by what the calling rules ask.
fn calls<'s>(
    system: &'s System,
    id: ChainId,
    wanted: &BTreeSet<ChainId>,
) -> HashMap<&'s [Condition], VecDeque<ChainId>> {
    let mut calls: HashMap<&[Condition], VecDeque<ChainId>> = HashMap::new();
    for (conditions, called) in in_order(system, id, wanted) {
        calls.entry(conditions).or_default().push_back(called);
    }
    calls
}
