//! The rules and policies that a packet passes, as the kernel tells them.

use nattrace_model::System;
use nattrace_model::answer::{Effect, Step};
use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Backend;

use crate::lab::rules::Counted;

/// Whether what is to be passed was met in this order, whatever other packets met in between.
pub(super) fn is_part(way: &[Counted], met: &[Counted]) -> bool {
    let mut met = met.iter();
    way.iter().all(|place| met.any(|other| other == place))
}

/// The rules and policies that a packet passes, in order.
pub(super) fn way(system: &System, steps: &[Step]) -> Vec<Counted> {
    let mut way = Vec::new();
    for step in steps {
        let (chain, rule) = match step {
            Step::Rule { rule, effect, .. }
                if drops_by_match(system, *rule, effect) == Some(Backend::Legacy) =>
            {
                continue;
            }
            Step::Rule { rule, .. } => (rule.chain, Some(rule.index)),
            Step::Policy { chain, .. } => (*chain, None),
            Step::Return { .. }
            | Step::Conntrack { .. }
            | Step::Route { .. }
            | Step::Socket { .. } => {
                continue;
            }
        };
        way.extend(place(system, chain, rule));
    }
    way
}

/// The rules of nftables that drop the packet by a match.
pub(super) fn uncounted(system: &System, steps: &[Step]) -> Vec<Counted> {
    let dropping = steps.iter().filter_map(|step| match step {
        Step::Rule { rule, effect, .. } => drops_by_match(system, *rule, effect)
            .filter(|backend| *backend == Backend::Nft)
            .and_then(|_| place(system, rule.chain, Some(rule.index))),
        _ => None,
    });
    dropping.collect()
}

fn place(system: &System, chain: ChainId, rule: Option<u32>) -> Option<Counted> {
    let chain = system.rules.chain(chain)?;
    let table = chain.table.as_str().to_owned();
    Some(Counted { table, chain: chain.name.to_string(), rule })
}

/// The backend of a rule that drops the packet by a match of its own. Neither counts such a rule;
/// the trace of nftables names it, that of iptables-legacy does not (kernel-facts K14).
fn drops_by_match(system: &System, id: RuleId, effect: &Effect) -> Option<Backend> {
    let counts = |one: &Condition| matches!(one, Condition::Undecided(Undecided::Count { .. }));
    let rule = system.rules.rule(id)?;
    let drops = *effect == Effect::Drop && rule.target != Target::Drop;
    let own = drops && rule.conditions.iter().any(counts);
    system.rules.chain(id.chain).map(|chain| chain.backend).filter(|_| own)
}
