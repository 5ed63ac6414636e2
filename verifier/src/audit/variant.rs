//! The same host with one thing changed, to ask what that thing is to blame for.

use nattrace_model::System;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{ChainId, Rule, RuleId, Ruleset};
use nattrace_model::target::Target;

/// The host without DNAT and REDIRECT of packets that come in: what its INPUT rules would say.
pub(super) fn without_dnat(system: &System) -> System {
    with_rules(system, |_, target| {
        if matches!(target, Target::Dnat(..) | Target::Redirect(..)) {
            *target = Target::Return;
        }
    })
}

/// The host with a rule that matches as before but does nothing.
pub(super) fn without_rule(system: &System, rule: RuleId) -> System {
    with_rules(system, |id, target| {
        if id == rule {
            *target = Target::None;
        }
    })
}

fn with_rules(system: &System, change: impl Fn(RuleId, &mut Target)) -> System {
    let mut system = system.clone();
    for (chain_index, chain) in (0u32..).zip(&mut system.rules.chains) {
        for (index, rule) in (0u32..).zip(&mut chain.rules) {
            let chain = ChainId(chain_index);
            change(RuleId { chain, index }, &mut rule.target);
        }
    }
    system
}

/// The host whose built-in chain at a hook calls a chain before all else.
pub(super) fn calling_first(system: &System, called: ChainId, hook: Hook) -> System {
    let mut system = system.clone();
    let Some(wanted) = system.rules.chain(called).map(|c| (c.backend, c.family, c.table.clone()))
    else {
        return system;
    };
    for chain in &mut system.rules.chains {
        let here = chain.base.is_some_and(|base| base.hook == hook);
        if here && (chain.backend, chain.family, chain.table.clone()) == wanted {
            let origin = chain.rules.first().map(|rule| rule.origin.clone());
            let Some(origin) = origin else { continue };
            let rule = Rule {
                conditions: Vec::new(),
                target: Target::Jump(called),
                origin,
                counters: None,
            };
            chain.rules.insert(0, rule);
        }
    }
    system
}

/// The host without what it sends by an interface: as when the interface is down.
pub(super) fn without_interface(system: &System, name: &str) -> System {
    let mut system = system.clone();
    let routing = &mut system.host.routing;
    for table in routing.tables4.values_mut().chain(routing.tables6.values_mut()) {
        let kept = table.routes().iter().filter(|route| {
            route.next_hops.is_empty() || route.next_hops.iter().any(|hop| hop.interface != name)
        });
        let kept: Vec<_> = kept.cloned().collect();
        *table = Default::default();
        kept.into_iter().for_each(|route| table.insert(route));
    }
    for interface in system.host.interfaces.iter_mut().filter(|own| own.name == name) {
        interface.up = false;
    }
    system
}

/// Whether a hook has any rule that could stop a packet.
pub(super) fn filters(
    rules: &Ruleset,
    hook: Hook,
    family: nattrace_parser::syntax::Family,
) -> bool {
    rules.base_chains(family, hook).iter().filter_map(|id| rules.chain(*id)).any(|chain| {
        let policy =
            chain.base.is_some_and(|base| base.policy == nattrace_parser::syntax::Policy::Drop);
        policy
            || chain.rules.iter().any(|rule| !matches!(rule.target, Target::Accept | Target::None))
    })
}
