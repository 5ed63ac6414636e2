//! Where the kernel takes a condition or a target (kernel-facts B18, C3, G17).

use crate::condition::{Condition, TypeLimit};
use crate::graph::HookSet;
use crate::hook::Hook;
use crate::ruleset::Rule;
use crate::target::Target;

/// What a rule holds, by its name, and the hooks that may lead to it.
pub(super) type Placement = (&'static str, HookSet);

fn hooks<const N: usize>(hooks: [Hook; N]) -> HookSet {
    hooks.into_iter().fold(HookSet::default(), |set, hook| set.union(HookSet::of(hook)))
}

/// What of a rule is restricted to hooks.
pub(super) fn of_rule(rule: &Rule) -> impl Iterator<Item = Placement> {
    rule.conditions.iter().filter_map(of_condition).chain(of_target(&rule.target))
}

/// The hooks at which the kernel takes a rule.
pub(super) fn hooks_of(rule: &Rule) -> HookSet {
    of_rule(rule).map(|(_, hooks)| hooks).fold(HookSet::all(), HookSet::intersection)
}

/// The hooks that a condition is restricted to.
fn of_condition(condition: &Condition) -> Option<Placement> {
    let incoming = [Hook::Prerouting, Hook::Input, Hook::Forward];
    let outgoing = [Hook::Forward, Hook::Output, Hook::Postrouting];
    let placement = match condition {
        Condition::Owner(..) => ("match `owner`", hooks([Hook::Output, Hook::Postrouting])),
        Condition::Mac(..) => ("match `mac`", hooks(incoming)),
        Condition::ReversePath { .. } => ("match `rpfilter`", hooks([Hook::Prerouting])),
        Condition::SourceType(_, _, TypeLimit::InInterface)
        | Condition::DestinationType(_, _, TypeLimit::InInterface) => {
            ("option `--limit-iface-in`", hooks(incoming))
        }
        Condition::SourceType(_, _, TypeLimit::OutInterface)
        | Condition::DestinationType(_, _, TypeLimit::OutInterface) => {
            ("option `--limit-iface-out`", hooks(outgoing))
        }
        _ => return None,
    };
    Some(placement)
}

/// The hooks that a target is restricted to.
fn of_target(target: &Target) -> Option<Placement> {
    let placement = match target {
        Target::Dnat(..) => ("target `DNAT`", hooks([Hook::Prerouting, Hook::Output])),
        Target::Redirect(..) => ("target `REDIRECT`", hooks([Hook::Prerouting, Hook::Output])),
        Target::Snat(..) => ("target `SNAT`", hooks([Hook::Input, Hook::Postrouting])),
        Target::Masquerade(..) => ("target `MASQUERADE`", hooks([Hook::Postrouting])),
        Target::Reject(_) => ("target `REJECT`", hooks([Hook::Input, Hook::Forward, Hook::Output])),
        Target::Snpt(_) => ("target `SNPT`", hooks([Hook::Input, Hook::Postrouting])),
        Target::Dnpt(_) => ("target `DNPT`", hooks([Hook::Prerouting, Hook::Output])),
        Target::Tproxy { .. } => ("target `TPROXY`", hooks([Hook::Prerouting])),
        _ => return None,
    };
    Some(placement)
}
