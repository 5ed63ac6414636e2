//! Whether packets pass a chain that differs at all: those that do not fare alike on both hosts.

use std::collections::BTreeSet;

use nattrace_model::answer::{Answer, Step};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::ChainId;
use nattrace_model::target::Target;

use super::change::Hosts;
use super::edits::Edits;
use super::search::Map;

/// The chains of the earlier host by which packets get to rules that differ.
pub(super) struct Passed {
    ways: BTreeSet<(ChainId, Hook)>,
}

impl Passed {
    /// `None` where packets may meet what differs without that it shows in an answer.
    pub(super) fn of(hosts: &Hosts<'_>, edits: &Edits, maps: &(Map<'_>, Map<'_>)) -> Option<Self> {
        if !edits.everything.is_empty() {
            return None;
        }
        let rules = &hosts.before.rules;
        let mut ways = BTreeSet::new();
        for edited in &edits.chains {
            // A chain that is new is called by a rule that is.
            let Some((chain, gone)) = &edited.before else { continue };
            let added = edited.after.iter().flat_map(|(id, rules)| {
                rules
                    .iter()
                    .filter_map(|index| hosts.after.rules.chain(*id)?.rules.get(*index as usize))
            });
            let gone = gone.iter();
            let gone = gone.filter_map(|index| rules.chain(*chain)?.rules.get(*index as usize));
            for rule in gone.chain(added) {
                // docker-proxy looks ports up in such rules, and the way of others is not told.
                if matches!(rule.target, Target::Dnat(..) | Target::Unsupported(_)) {
                    return None;
                }
            }
            for base in maps.0.base_chains(*chain) {
                let own = rules.chain(base)?;
                // What a chain without rules lets pass is not told, nor what is offloaded.
                if own.rules.is_empty() {
                    return None;
                }
                let family = (own.family, own.backend, &own.table);
                let hook = own.base?.hook;
                let beside = (0u32..).map(ChainId).zip(&rules.chains);
                let beside =
                    beside.filter(|(_, one)| (one.family, one.backend, &one.table) == family);
                ways.extend(beside.map(|(id, _)| (id, hook)));
            }
        }
        Some(Self { ways })
    }

    /// Whether a packet, its answer or what else comes of it may pass what differs.
    pub(super) fn may_meet(&self, answer: &Answer) -> bool {
        let here = |step: &Step| match step {
            Step::Rule { hook, rule, .. } => self.ways.contains(&(rule.chain, *hook)),
            Step::Return { hook, chain } | Step::Policy { hook, chain, .. } => {
                self.ways.contains(&(*chain, *hook))
            }
            Step::Conntrack { .. } | Step::Route { .. } | Step::Socket { .. } => false,
        };
        let reply = answer.reply.iter().flat_map(|reply| &reply.steps);
        answer.steps.iter().chain(&answer.next).chain(reply).any(here)
            || answer.proxy.as_deref().is_some_and(|proxy| self.may_meet(proxy))
            || answer.branches.iter().any(|branch| self.may_meet(&branch.answer))
    }
}
