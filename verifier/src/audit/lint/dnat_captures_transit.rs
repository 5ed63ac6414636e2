//! A DNAT that also takes packets on their way to somebody else.

use nattrace_model::answer::{Effect, Step};
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::Rule;
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "dnat-captures-transit";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, chain, rule) in scene.own_rules() {
        let takes = matches!(rule.target, Target::Dnat(..) | Target::Redirect(..));
        if !takes || !scene.is_reached_from(id.chain, Hook::Prerouting) {
            continue;
        }
        let (protocol, port) = service(rule);
        let senders = scene.networks().flat_map(|network| scene.members(network, chain.family));
        let witness = senders.into_iter().find_map(|member| {
            let flow = member.packet(Scene::outsider(chain.family), protocol, port);
            let answer = scene.why(&flow);
            let taken = answer.steps.iter().any(|step| {
                matches!(step, Step::Rule { hook: Hook::Prerouting, rule, effect, .. }
                    if *rule == id && matches!(effect, Effect::Dnat | Effect::Redirect))
            });
            taken.then_some((member, answer))
        });
        let Some((member, answer)) = witness else { continue };
        found.push(
            Finding::new(
                CODE,
                Severity::Error,
                "this rule also takes packets that are not for this host",
            )
            .at(id, scene.owner(id))
            .effect(format!(
                "{} can't reach port {port} of anybody outside: its packets are turned round here",
                member.name()
            ))
            .fixed_by(
                scene.narrow(id, "-m addrtype --dst-type LOCAL").into_iter().collect(),
                "or add `-d ADDRESS` or `-i eth0`, so that only packets to this host match",
            )
            .witness(answer),
        );
    }
    found
}

/// A protocol and a destination port that the rule asks for.
fn service(rule: &Rule) -> (u8, u16) {
    let mut service = (protocol::TCP, 443);
    for condition in &rule.conditions {
        match condition {
            Condition::Protocol(Sense::Is, number) => service.0 = *number,
            Condition::Port(Sense::Is, PortSide::Destination, from, _) => service.1 = *from,
            Condition::Ports(Sense::Is, PortSide::Destination | PortSide::Either, ranges) => {
                service.1 = ranges.first().map_or(service.1, |(from, _)| *from);
            }
            _ => {}
        }
    }
    service
}
