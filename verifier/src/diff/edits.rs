//! Where two rulesets differ: not in counters, comments or in chains that nothing calls, but in
//! rules that some packet may meet.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Base, Chain, ChainId, ChainKind, RuleId};
use nattrace_parser::syntax::{Family, Policy};

use super::identity::{Identities, Meaning};

/// How many addresses that rules name are places of their own.
const MOST_NAMED: usize = 32;

/// What differs between two hosts, as far as it tells which packets may fare differently.
pub(super) struct Edits {
    /// Chains of which rules are only on one of the hosts, or at another place.
    pub(super) chains: Vec<Edited>,
    /// The families of which every packet may fare differently.
    pub(super) everything: Vec<Family>,
}

/// A chain of which rules differ.
pub(super) struct Edited {
    pub(super) family: Family,
    /// The chain on the earlier host, with the rules that the later one has not there.
    pub(super) before: Option<(ChainId, Vec<u32>)>,
    /// The chain on the later host, with the rules that the earlier one has not there.
    pub(super) after: Option<(ChainId, Vec<u32>)>,
}

impl Edits {
    /// Compares what the hosts are, and their rules chain by chain.
    pub(super) fn between(
        before: &System,
        after: &System,
        identities: &(Identities<'_>, Identities<'_>),
    ) -> Self {
        let mut edits = Self { chains: Vec::new(), everything: Vec::new() };
        let asked =
            |system: &System| (system.rules.asks_physdev(), system.rules.moves_connection_marks());
        let same_host = before.host.is_same_as(&after.host) && asked(before) == asked(after);
        for family in [Family::Ipv4, Family::Ipv6] {
            let tracks = |system: &System| system.rules.tracks_connections(family);
            let same = same_host
                && tracks(before) == tracks(after)
                && bases(before, family, |id, _| identities.0.number(id))
                    == bases(after, family, |id, _| identities.1.number(id));
            if !same {
                edits.everything.push(family);
            }
        }
        let mut kept = HashSet::new();
        for (index, chain) in (0u32..).zip(&after.rules.chains) {
            let id = ChainId(index);
            let old_id = identities.1.counterpart(id);
            let Some((old_id, old)) =
                old_id.and_then(|old_id| Some((old_id, before.rules.chain(old_id)?)))
            else {
                // Only by a rule that calls it, or from a hook, does a packet get there.
                let family = chain.family;
                edits.chains.push(Edited { family, before: None, after: Some(all_of(id, chain)) });
                continue;
            };
            kept.insert(old_id);
            let meanings = |identities: &Identities<'_>, chain: &Chain| -> Vec<Meaning> {
                chain.rules.iter().map(|rule| identities.meaning(rule)).collect()
            };
            let (gone, added) =
                unmatched(&meanings(&identities.0, old), &meanings(&identities.1, chain));
            if !(gone.is_empty() && added.is_empty()) {
                edits.chains.push(Edited {
                    family: chain.family,
                    before: Some((old_id, gone)),
                    after: Some((id, added)),
                });
            }
        }
        for (index, chain) in (0u32..).zip(&before.rules.chains) {
            if !kept.contains(&ChainId(index)) {
                let all = Some(all_of(ChainId(index), chain));
                edits.chains.push(Edited { family: chain.family, before: all, after: None });
            }
        }
        edits
    }

    /// The addresses that rules which differ name as destinations: people know them.
    pub(super) fn named(&self, before: &System, after: &System) -> Vec<IpAddr> {
        let mut named = Vec::new();
        for edited in &self.chains {
            for (system, own) in [(before, &edited.before), (after, &edited.after)] {
                let Some((id, indices)) = own else { continue };
                let rules = indices
                    .iter()
                    .filter_map(|index| system.rules.rule(RuleId { chain: *id, index: *index }));
                named.extend(rules.flat_map(|rule| &rule.conditions).filter_map(|condition| {
                    match condition {
                        Condition::Destination(Sense::Is, prefix) if prefix.is_single() => {
                            Some(prefix.network())
                        }
                        _ => None,
                    }
                }));
            }
        }
        named.sort_unstable();
        named.dedup();
        named.truncate(MOST_NAMED);
        named
    }

    /// Whether no packet can fare differently.
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.everything.is_empty()
    }
}

/// All rules of a chain.
fn all_of(id: ChainId, chain: &Chain) -> (ChainId, Vec<u32>) {
    (id, (0u32..).zip(&chain.rules).map(|(index, _)| index).collect())
}

/// The base chains of a family that matter, in order; which of them are empty and accept does not.
pub(super) fn bases<K>(
    system: &System,
    family: Family,
    key: impl Fn(ChainId, &Chain) -> K,
) -> Vec<(K, Hook, i32, Policy, ChainKind)> {
    let mut all = Vec::new();
    for hook in Hook::ALL {
        for id in system.rules.base_chains(family, hook) {
            let Some(chain) = system.rules.chain(*id) else { continue };
            let Some(Base { priority, policy, kind, .. }) = chain.base else { continue };
            if policy == Policy::Accept && chain.rules.is_empty() {
                continue;
            }
            all.push((key(*id, chain), hook, priority, policy, kind));
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
