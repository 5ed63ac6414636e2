//! Where two rulesets differ: not in counters, comments or in chains that nothing calls, but in
//! rules that some packet may meet.

use std::collections::HashMap;

use nattrace_model::System;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Base, Chain, ChainId, RuleId};
use nattrace_parser::syntax::{Family, Policy};

use super::change::Hosts;
use super::change::Side;
use super::identity::{Identities, Meaning, Name, name};

/// What differs between two hosts, as far as it tells which packets may fare differently.
pub(super) struct Edits {
    /// The rules that only one of the hosts has, or has at another place.
    pub(super) rules: Vec<(Side, RuleId)>,
    /// The families of which every packet may fare differently.
    pub(super) everything: Vec<Family>,
}

impl Edits {
    /// Compares what the hosts are, and their rules chain by chain.
    pub(super) fn between(
        before: &System,
        after: &System,
        identities: &(Identities<'_>, Identities<'_>),
    ) -> Self {
        let mut edits = Self { rules: Vec::new(), everything: Vec::new() };
        let same_host =
            before.host == after.host && before.rules.asks_physdev() == after.rules.asks_physdev();
        for family in [Family::Ipv4, Family::Ipv6] {
            let tracks = |system: &System| system.rules.tracks_connections(family);
            let same = same_host
                && tracks(before) == tracks(after)
                && bases(before, family) == bases(after, family);
            if !same {
                edits.everything.push(family);
            }
        }
        let known: HashMap<Name, &Chain> =
            before.rules.chains.iter().map(|chain| (name(chain), chain)).collect();
        for (index, chain) in (0u32..).zip(&after.rules.chains) {
            let Some(old) = known.get(&name(chain)) else {
                // Only by a rule that calls it does a packet get there, or from a hook.
                if chain.base.is_some() {
                    edits.all_of(Side::After, chain, ChainId(index));
                }
                continue;
            };
            let new: Vec<Meaning> =
                chain.rules.iter().map(|rule| identities.1.meaning(rule)).collect();
            let old: Vec<Meaning> =
                old.rules.iter().map(|rule| identities.0.meaning(rule)).collect();
            let (gone, added) = unmatched(&old, &new);
            let rules = |side: Side, id: ChainId, all: Vec<u32>| {
                all.into_iter().map(move |index| (side, RuleId { chain: id, index }))
            };
            edits.rules.extend(rules(Side::After, ChainId(index), added));
            if let Some(at) = before.rules.chains.iter().position(|own| name(own) == name(chain)) {
                let id = ChainId(u32::try_from(at).unwrap_or(u32::MAX));
                edits.rules.extend(rules(Side::Before, id, gone));
            }
        }
        let newer: std::collections::HashSet<Name> = after.rules.chains.iter().map(name).collect();
        for (index, chain) in (0u32..).zip(&before.rules.chains) {
            if chain.base.is_some() && !newer.contains(&name(chain)) {
                edits.all_of(Side::Before, chain, ChainId(index));
            }
        }
        edits
    }

    fn all_of(&mut self, side: Side, chain: &Chain, id: ChainId) {
        let all = (0u32..).zip(&chain.rules).map(|(index, _)| RuleId { chain: id, index });
        self.rules.extend(all.map(|rule| (side, rule)));
    }

    /// Whether packets of a family may fare differently.
    pub(super) fn concern(&self, hosts: &Hosts<'_>, family: Family) -> bool {
        let own = |(side, rule): &(Side, RuleId)| {
            let system = match side {
                Side::Before => hosts.before,
                Side::After => hosts.after,
            };
            system.rules.chain(rule.chain).is_some_and(|chain| chain.family == family)
        };
        self.everything.contains(&family) || self.rules.iter().any(own)
    }

    /// Whether no packet can fare differently.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.everything.is_empty()
    }
}

/// The base chains of a family that matter, in order; which of them are empty and accept does not.
fn bases(system: &System, family: Family) -> Vec<(Name, Hook, i32, Policy, String)> {
    let mut all = Vec::new();
    for hook in Hook::ALL {
        for id in system.rules.base_chains(family, hook) {
            let Some(chain) = system.rules.chain(*id) else { continue };
            let Some(Base { priority, policy, kind, .. }) = chain.base else { continue };
            if policy == Policy::Accept && chain.rules.is_empty() {
                continue;
            }
            all.push((name(chain), hook, priority, policy, format!("{kind:?}")));
        }
    }
    all
}

/// The indices of what is in one list only; what is in both is in the same order in both.
fn unmatched(old: &[Meaning], new: &[Meaning]) -> (Vec<u32>, Vec<u32>) {
    let alike = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) =
        (old.get(alike..).unwrap_or_default(), new.get(alike..).unwrap_or_default());
    let behind = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(one, other)| one == other)
        .count();
    let old_middle = old_rest.get(..old_rest.len() - behind).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - behind).unwrap_or_default();
    // Equal rules are paired first with first, and of these pairs the most that are in order kept.
    let mut places: HashMap<&Meaning, std::collections::VecDeque<usize>> = HashMap::new();
    for (at, meaning) in new_middle.iter().enumerate() {
        places.entry(meaning).or_default().push_back(at);
    }
    let pairs: Vec<(usize, usize)> = old_middle
        .iter()
        .enumerate()
        .filter_map(|(at, meaning)| Some((at, places.get_mut(meaning)?.pop_front()?)))
        .collect();
    let kept = rising(&pairs);
    let rest = |length: usize, kept: std::collections::HashSet<usize>| -> Vec<u32> {
        let left = (0..length).filter(|at| !kept.contains(at)).map(|at| at + alike);
        left.filter_map(|at| u32::try_from(at).ok()).collect()
    };
    (
        rest(old_middle.len(), kept.iter().map(|(old, _)| *old).collect()),
        rest(new_middle.len(), kept.iter().map(|(_, new)| *new).collect()),
    )
}

/// A longest run of pairs, the first parts of which rise, whose second parts rise too.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the run that ends lowest, by the index of its last pair.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let second = |at: &usize| pairs.get(*at).map_or(0, |pair| pair.1);
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| second(end) < pair.1);
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter)).copied());
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut run = Vec::new();
    let mut next = ends.last().copied();
    while let Some(at) = next {
        run.extend(pairs.get(at));
        next = before.get(at).copied().flatten();
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longest_run_is_found() {
        let pairs = [(0, 3), (1, 0), (2, 1), (3, 2), (4, 5)];
        assert_eq!(rising(&pairs), [(1, 0), (2, 1), (3, 2), (4, 5)]);
        assert_eq!(rising(&[]), []);
    }
}
