//! A translation that also takes packets which stay inside.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Effect, Outcome, Step, Verdict};
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::RuleId;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Member, Scene, packet_by};
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "masquerade-too-broad";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let translated = inner_flows(scene).into_iter().filter_map(|inner| {
        let answer = match inner.unnamed {
            true => scene.why_unnamed(&inner.flow)?,
            false => scene.why(&inner.flow),
        };
        let mut ways =
            std::iter::once(&answer).chain(answer.branches.iter().map(|way| &way.answer));
        let (rule, source) = ways.find_map(translated_by)?;
        (scene.owner(rule) != Owner::Docker).then_some((inner, answer, rule, source))
    });
    let translated: Vec<(Inner<'_>, Answer, RuleId, IpAddr)> = translated.collect();
    for (Inner { flow, what, .. }, answer, rule, source) in &translated {
        let rule = *rule;
        if found.iter().any(|finding| finding.rule == Some(rule)) {
            continue;
        }
        let own = translated.iter().filter(|(_, _, by, _)| *by == rule);
        let mut bridges: Vec<&str> = own.map(|(inner, ..)| inner.bridge).collect();
        bridges.sort_unstable();
        bridges.dedup();
        found.push(
            Finding::new(CODE, Severity::Warning, format!("this rule also translates {what}"))
                .at(rule, scene.owner(rule))
                .effect(format!(
                    "{} is seen as {}: logs, access lists and replies between neighbours see the host \
                     instead of the sender",
                    flow.source, source,
                ))
                .fixed_by(
                    narrowed(scene, rule, &bridges).into_iter().collect(),
                    "or say otherwise by which interface packets leave: `! -o BRIDGE` as in Docker's own rule, or `-o eth0`",
                )
                .witness(answer.clone()),
        );
    }
    found
}

/// The command that has a rule leave packets alone that stay inside.
fn narrowed(scene: &Scene<'_>, rule: RuleId, bridges: &[&str]) -> Option<String> {
    let own = scene.system.rules.rule(rule)?;
    let family = scene.system.rules.chain(rule.chain)?.family;
    let out = own.conditions.iter().find_map(|condition| match condition {
        Condition::OutInterface(sense, pattern) => Some((*sense, pattern)),
        _ => None,
    });
    match (out, bridges, scene.uplinks(family).as_slice()) {
        (None, [bridge], _) => scene.narrow(rule, &format!("! -o {bridge}")),
        (None, _, [uplink]) => scene.narrow(rule, &format!("-o {}", uplink.name)),
        (Some((Sense::IsNot, InterfacePattern::Name(name))), _, [uplink]) => {
            let words = scene.words(rule)?;
            scene.reword(
                rule,
                &words.replace(&format!("! -o {name}"), &format!("-o {}", uplink.name)),
            )
        }
        _ => None,
    }
}

/// A packet that no translation should touch.
struct Inner<'s> {
    flow: Flow,
    /// Whether it goes to a container that no rule names.
    unnamed: bool,
    what: String,
    /// By which it leaves.
    bridge: &'s str,
}

/// A container of a network, and another one: one that no rule names, where they name only one.
fn two_of<'m, 's>(
    scene: &Scene<'_>,
    members: &'m [Member<'s>],
) -> Option<(&'m Member<'s>, IpAddr)> {
    match members {
        [one, .., other] => Some((one, other.address)),
        [only] if only.container.is_some() => {
            let mut subnets = only.network.subnets.iter();
            let subnet = subnets.find(|subnet| subnet.contains(only.address))?;
            Some((only, scene.free_address(subnet)?))
        }
        _ => None,
    }
}

/// Packets that no translation should touch, and what they are.
fn inner_flows<'s>(scene: &Scene<'s>) -> Vec<Inner<'s>> {
    let mut flows = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let members = scene.members(network, family);
            if let Some((one, other)) = two_of(scene, &members) {
                flows.push(Inner {
                    flow: one.packet(other, 6, 80),
                    unnamed: members.len() == 1,
                    what: format!("packets between the containers of `{}`", network.name),
                    bridge: &network.bridge,
                });
            }
            for other in scene.networks().filter(|other| other.name != network.name) {
                if let (Some(one), Some(other)) =
                    (members.first(), scene.members(other, family).first())
                {
                    flows.push(Inner {
                        flow: one.packet(other.address, 6, 80),
                        unnamed: false,
                        what: format!(
                            "packets from `{}` to `{}`",
                            network.name, other.network.name
                        ),
                        bridge: &other.network.bridge,
                    });
                }
            }
            for interface in scene.outside() {
                if let (Some(member), Some(source)) =
                    (members.first(), scene.neighbour(interface, family))
                {
                    flows.push(Inner {
                        flow: packet_by(&interface.name, source, member.address, 6, 80),
                        unnamed: false,
                        what: format!("packets from the hosts at {} to containers", interface.name),
                        bridge: &network.bridge,
                    });
                }
            }
        }
    }
    flows
}

/// The rule that gave a packet that arrives another source, and that source.
fn translated_by(answer: &Answer) -> Option<(RuleId, IpAddr)> {
    let arrives = matches!(answer.verdict, Verdict::Forwarded | Verdict::Bridged)
        && answer.outcome == Outcome::Connects;
    let source = answer.egress.as_ref()?.packet.source;
    if !arrives || source == answer.flow.source {
        return None;
    }
    answer.steps.iter().find_map(|step| match step {
        Step::Rule {
            hook: Hook::Postrouting,
            rule,
            effect: Effect::Snat | Effect::Masquerade | Effect::Netmap,
            ..
        } => Some((*rule, source)),
        _ => None,
    })
}
