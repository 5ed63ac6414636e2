//! A SNAT whose packets an earlier rule has translated already.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Effect, Step};
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::simulate;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::CodeOf;
use super::unreachable_rule::Wanted;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet};
use crate::audit::variant;

pub(super) const CODE: CodeOf = "snat-shadowed-by-masquerade";

/// How many rules may stand before one, each of which takes its packets.
const MOST_BEFORE: usize = 8;

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
            Finding::new(
                CODE,
                Severity::Error,
                format!("{} {} its packets first", scene.name(by), word(scene, by)),
            )
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

/// What the rule before does to packets.
fn word(scene: &Scene<'_>, by: RuleId) -> &'static str {
    match scene.system.rules.rule(by).map(|rule| &rule.target) {
        Some(Target::Accept) => "accepts",
        _ => "translates",
    }
}

/// A packet of the rule that an earlier one takes, and that one; none if any of its packets gets to
/// it, or leaves as it would have done.
fn taken(scene: &Scene<'_>, id: RuleId, rule: &Rule, family: Family) -> Option<(Answer, RuleId)> {
    let mut first = None;
    let wanted = Wanted::of(rule);
    for source in sources(scene, rule, family) {
        let to = wanted.destination.filter(|to| !to.is_unspecified());
        let to = to.unwrap_or_else(|| Scene::outsider(family));
        let flow = packet(source, to, wanted.protocol, wanted.port);
        let answer = scene.why(&flow);
        let by = translated_by(scene, &answer)?;
        let otherwise = without_those_before(scene, &flow, id, by)?;
        let source = |answer: &Answer| answer.egress.as_ref().map(|egress| egress.packet.source);
        if source(&otherwise) == source(&answer) {
            return None;
        }
        first.get_or_insert((answer, by));
    }
    first
}

/// What becomes of a packet without the rules that take it before another one; none where that one
/// does not take it either.
fn without_those_before(
    scene: &Scene<'_>,
    flow: &Flow,
    id: RuleId,
    mut by: RuleId,
) -> Option<Answer> {
    let mut system = scene.system.clone();
    for _ in 0..MOST_BEFORE {
        if by == id {
            return None;
        }
        system = variant::without_rule(&system, by);
        let answer = simulate::why(&system, flow);
        by = translated_by(scene, &answer)?;
        if by == id {
            return Some(answer);
        }
    }
    None
}

/// The rule that says what source a packet leaves with: the first of nat that ends its way there.
fn translated_by(scene: &Scene<'_>, answer: &Answer) -> Option<RuleId> {
    let of_nat = |rule: RuleId| {
        let chain = scene.system.rules.chain(rule.chain);
        chain.is_some_and(|chain| chain.table == TableName::Nat)
    };
    answer.steps.iter().find_map(|step| match step {
        Step::Rule {
            hook: Hook::Postrouting,
            rule,
            effect: Effect::Snat | Effect::Masquerade | Effect::Netmap | Effect::Accept,
            ..
        } if of_nat(*rule) => Some(*rule),
        _ => None,
    })
}

/// Who sends the packets that a rule is about.
fn sources(scene: &Scene<'_>, rule: &Rule, family: Family) -> Vec<IpAddr> {
    let wanted = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Source(Sense::Is, prefix) => Some(prefix),
        _ => None,
    });
    let in_range = |address: IpAddr| {
        rule.conditions.iter().all(|condition| match condition {
            Condition::SourceRange(Sense::Is, range) => (range.0..=range.1).contains(&address),
            _ => true,
        })
    };
    let members = scene.networks().flat_map(|network| scene.members(network, family));
    let mut sources: Vec<IpAddr> = members
        .map(|member| member.address)
        .filter(|address| wanted.is_none_or(|prefix| prefix.contains(*address)))
        .filter(|address| in_range(*address))
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
