//! Which packets get to a rule: by the rules that call its chain.

use std::collections::{HashMap, HashSet};

use nattrace_model::System;
use nattrace_model::condition::Condition;
use nattrace_model::ruleset::{Base, ChainId, Rule, RuleId};
use nattrace_model::target::Target;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use super::meets::{Meets, View};
use super::translation::Translations;
use crate::space::Space;
use crate::walk::Entry;

/// What of a host is needed again and again.
pub(super) struct Map<'s> {
    pub(super) system: &'s System,
    /// The rules that call a chain.
    callers: HashMap<ChainId, Vec<RuleId>>,
    /// The rules that may give packets another destination, or another source.
    pub(super) translations: Translations,
    /// Whether something may take connections apart that NAT keeps together: a zone of connection
    /// tracking, or what only nft's own rules can do.
    pub(super) is_intricate: bool,
    /// Whether packets that begin connections may be left untracked.
    pub(super) leaves_untracked: bool,
}

impl<'s> Map<'s> {
    pub(super) fn new(system: &'s System) -> Self {
        let mut map = Self {
            system,
            callers: HashMap::new(),
            translations: Translations::of(system),
            is_intricate: false,
            leaves_untracked: false,
        };
        for (chain, all) in (0u32..).map(ChainId).zip(&system.rules.chains) {
            for (index, rule) in (0u32..).zip(&all.rules) {
                let id = RuleId { chain, index };
                rule.target.calls(&mut |called, _| map.callers.entry(called).or_default().push(id));
                map.leaves_untracked |= matches!(rule.target, Target::Notrack);
                map.is_intricate |= matches!(
                    rule.target,
                    Target::Zone(_) | Target::Unsupported(_) | Target::Sequence(_) | Target::Map(_)
                );
            }
        }
        map
    }

    /// Rules of a chain.
    pub(super) fn rules<'m>(
        &'m self,
        chain: ChainId,
        indices: &'m [u32],
    ) -> impl Iterator<Item = (RuleId, &'s Rule)> + 'm {
        let system = self.system;
        let ids = indices.iter().map(move |index| RuleId { chain, index: *index });
        ids.filter_map(move |id| Some((id, system.rules.rule(id)?)))
    }

    /// The built-in chains that lead to a chain.
    pub(super) fn base_chains(&self, chain: ChainId) -> Vec<ChainId> {
        let mut seen = vec![chain];
        let mut at = 0;
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            for caller in self.callers.get(&id).into_iter().flatten() {
                if !seen.contains(&caller.chain) {
                    seen.push(caller.chain);
                }
            }
        }
        seen.retain(|id| self.system.rules.chain(*id).is_some_and(|chain| chain.base.is_some()));
        seen
    }

    /// The base chains that lead to a chain.
    pub(super) fn bases(&self, chain: ChainId) -> Vec<Base> {
        let mut seen = vec![chain];
        let mut at = 0;
        let mut bases = Vec::new();
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            bases.extend(self.system.rules.chain(id).and_then(|chain| chain.base));
            for caller in self.callers.get(&id).into_iter().flatten() {
                if !seen.contains(&caller.chain) {
                    seen.push(caller.chain);
                }
            }
        }
        bases
    }

    /// Whether a target leads to rules that change packets in passing.
    pub(super) fn modifies(&self, target: &Target) -> bool {
        let mut open: Vec<ChainId> = Vec::new();
        target.calls(&mut |called, _| open.push(called));
        let mut seen: HashSet<ChainId> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            let rules = self.system.rules.chain(id).map_or(&[][..], |chain| &chain.rules);
            for rule in rules {
                let calls = matches!(rule.target, Target::Jump(_) | Target::Goto(_));
                let passes = matches!(rule.target, Target::Return) || calls;
                if !(passes || rule.target.ends() || rule.target.does_nothing()) {
                    return true;
                }
                rule.target.calls(&mut |called, _| {
                    if seen.insert(called) {
                        open.push(called);
                    }
                });
            }
        }
        false
    }
}

/// Packets of one space that start by one entry, as they meet rules of one host.
pub(super) struct Search<'a, 's> {
    space: &'a Space,
    entry: &'a Entry,
    pub(super) map: &'a Map<'s>,
    reached: HashMap<(ChainId, View), BDDFunction>,
}

impl<'a, 's> Search<'a, 's> {
    pub(super) fn new(space: &'a Space, entry: &'a Entry, map: &'a Map<'s>) -> Self {
        Self { space, entry, map, reached: HashMap::new() }
    }

    /// The packets with the protocol and ports that a rule names.
    pub(super) fn ports_of(&self, rule: &Rule) -> BDDFunction {
        let named = rule
            .conditions
            .iter()
            .filter(|condition| matches!(condition, Condition::Port(..) | Condition::Protocol(..)));
        let meets = Meets { space: self.space, view: View::Packet };
        let exactly = named.filter_map(|condition| meets.exactly(condition));
        exactly.fold(self.space.anything(), |all, one| self.space.and(&all, &one))
    }

    /// The packets that may meet and match a rule.
    pub(super) fn rule(&mut self, id: RuleId, rule: &Rule, view: View) -> BDDFunction {
        let matching = self.matching(rule, view);
        if !matching.satisfiable() {
            return matching;
        }
        let reached = self.reach(id.chain, view);
        self.space.and(&reached, &matching)
    }

    /// The packets that may get to a chain.
    fn reach(&mut self, chain: ChainId, view: View) -> BDDFunction {
        if let Some(known) = self.reached.get(&(chain, view)) {
            return known.clone();
        }
        let rules = &self.map.system.rules;
        let mut all = Vec::new();
        if rules.chain(chain).is_some_and(|own| own.base.is_some()) {
            all.push(self.space.anything());
        }
        for caller in self.map.callers.get(&chain).into_iter().flatten() {
            if let Some(rule) = rules.rule(*caller) {
                all.push(self.rule(*caller, rule, view));
            }
        }
        let all = self.space.union(all);
        self.reached.insert((chain, view), all.clone());
        all
    }

    /// The packets for which the conditions of a rule may hold.
    fn matching(&self, rule: &Rule, view: View) -> BDDFunction {
        let (space, mut all) = (self.space, self.space.anything());
        let meets = Meets { space, view };
        for condition in &rule.conditions {
            if let Some(function) = meets.exactly(condition) {
                all = space.and(&all, &function);
            } else if self.is_elsewhere(condition, view) {
                return space.nothing();
            }
            if !all.satisfiable() {
                break;
            }
        }
        all
    }

    /// Whether a condition asks for an interface by which the packet does not come.
    fn is_elsewhere(&self, condition: &Condition, view: View) -> bool {
        let (Condition::InInterface(sense, pattern), View::Packet, Entry::Interface(name)) =
            (condition, view, self.entry)
        else {
            return false;
        };
        let interfaces = self.map.system.host.interfaces.iter();
        let ports = interfaces
            .filter(|own| own.port.as_ref().is_some_and(|port| port.bridge == *name))
            .map(|own| own.name.as_str());
        let mut names = ports.chain([name.as_str()]);
        !names.any(|name| sense.apply(pattern.matches(name)))
    }
}
