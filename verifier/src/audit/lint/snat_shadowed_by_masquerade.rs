//! A SNAT whose packets an earlier rule has translated already.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Effect, Step};
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::simulate;
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet};
use crate::audit::variant;

pub(super) const CODE: CodeOf = "snat-shadowed-by-masquerade";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, chain, rule) in scene.own_rules() {
        let translates = matches!(rule.target, Target::Snat(..) | Target::Masquerade(..));
        if !translates || !scene.is_reached_from(id.chain, Hook::Postrouting) {
            continue;
        }
        let Some((answer, by)) = taken(scene, id, rule, chain.family) else { continue };
        let source = answer.egress.as_ref().map(|egress| egress.packet.source.to_string());
        found.push(
            Finding::new(CODE, Severity::Error, format!("{} translates its packets first", scene.name(by)))
                .at(id, scene.owner(id))
                .effect(format!(
                    "they leave as {}: the first rule of nat that matches wins",
                    source.unwrap_or_default()
                ))
                .fixed_by(
                    scene.advance(id, by).unwrap_or_default(),
                    &format!(
                        "it belongs before {}; Docker inserts its own again in front when a network \
                         is made or dockerd starts: what lasts is `com.docker.network.host_ipv4` of the \
                         network, or a nat chain of nftables with priority 99",
                        scene.name(by)
                    ),
                )
                .witness(answer),
        );
    }
    found
}

/// A packet of the rule that an earlier one takes; none if any of its packets gets to it.
fn taken(
    scene: &Scene<'_>,
    id: RuleId,
    rule: &Rule,
    family: nattrace_parser::syntax::Family,
) -> Option<(Answer, RuleId)> {
    let mut first = None;
    for source in sources(scene, rule, family) {
        let mut flow = packet(source, destination(rule, family), 6, 443);
        flow.in_interface = None;
        let answer = scene.why(&flow);
        let by = answer.steps.iter().find_map(|step| match step {
            Step::Rule {
                hook: Hook::Postrouting,
                rule,
                effect: Effect::Snat | Effect::Masquerade,
                ..
            } => Some(*rule),
            _ => None,
        })?;
        if by == id {
            return None;
        }
        // Without the earlier rule it would have been this one's.
        let otherwise = simulate::why(&variant::without_rule(scene.system, by), &flow);
        let would = otherwise.steps.iter().any(
            |step| matches!(step, Step::Rule { hook: Hook::Postrouting, rule, .. } if *rule == id),
        );
        let source = |answer: &Answer| answer.egress.as_ref().map(|egress| egress.packet.source);
        if !would || source(&otherwise) == source(&answer) {
            return None;
        }
        first.get_or_insert((answer, by));
    }
    first
}

/// Who sends the packets that a rule is about.
fn sources(scene: &Scene<'_>, rule: &Rule, family: nattrace_parser::syntax::Family) -> Vec<IpAddr> {
    let wanted = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Source(Sense::Is, prefix) => Some(prefix),
        _ => None,
    });
    let members = scene.networks().flat_map(|network| scene.members(network, family));
    let mut sources: Vec<IpAddr> = members
        .map(|member| member.address)
        .filter(|address| wanted.is_none_or(|prefix| prefix.contains(*address)))
        .collect();
    if let (true, Some(prefix)) = (sources.is_empty(), wanted) {
        sources.extend(if prefix.is_single() {
            Some(prefix.network())
        } else {
            scene.free_address(prefix)
        });
    }
    sources
}

fn destination(rule: &Rule, family: nattrace_parser::syntax::Family) -> IpAddr {
    let wanted = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Destination(Sense::Is, prefix) if prefix.length() > 0 => Some(prefix.network()),
        _ => None,
    });
    wanted.unwrap_or_else(|| Scene::outsider(family))
}
