//! A translation that also takes packets which stay inside.

use nattrace_model::answer::{Answer, Effect, Outcome, Step, Verdict};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::RuleId;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet, packet_by};
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "masquerade-too-broad";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (flow, what) in inner_flows(scene) {
        let answer = scene.why(&flow);
        let Some(rule) = translated_by(&answer) else { continue };
        let owner = scene.owner(rule);
        let known = found.iter().any(|finding| finding.rule == Some(rule));
        if known || owner == Owner::Docker {
            continue;
        }
        let source = answer.egress.as_ref().map(|egress| egress.packet.source.to_string());
        found.push(
            Finding::new(CODE, Severity::Warning, format!("this rule also translates {what}"))
                .at(rule, owner)
                .effect(format!(
                    "{} is seen as {}: logs, access lists and replies between neighbours see the host \
                     instead of the sender",
                    flow.source,
                    source.unwrap_or_default(),
                ))
                .help(
                    "say by which interface packets leave: `! -o BRIDGE` as in Docker's own rule, or `-o eth0`",
                )
                .witness(answer),
        );
    }
    found
}

/// Packets that no translation should touch, and what they are.
fn inner_flows(scene: &Scene<'_>) -> Vec<(Flow, String)> {
    let mut flows = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let members = scene.members(network, family);
            if let [one, .., other] = members.as_slice() {
                flows.push((
                    packet(one.address, other.address, 6, 80),
                    format!("packets between the containers of `{}`", network.name),
                ));
            }
            for other in scene.networks().filter(|other| other.name != network.name) {
                if let (Some(one), Some(other)) =
                    (members.first(), scene.members(other, family).first())
                {
                    flows.push((
                        packet(one.address, other.address, 6, 80),
                        format!("packets from `{}` to `{}`", network.name, other.network.name),
                    ));
                }
            }
            for interface in scene.outside() {
                if let (Some(member), Some(source)) =
                    (members.first(), scene.neighbour(interface, family))
                {
                    flows.push((
                        packet_by(&interface.name, source, member.address, 6, 80),
                        format!("packets from the hosts at {} to containers", interface.name),
                    ));
                }
            }
        }
    }
    flows
}

/// The rule that gave a packet that arrives another source.
fn translated_by(answer: &Answer) -> Option<RuleId> {
    let arrives = matches!(answer.verdict, Verdict::Forwarded | Verdict::Bridged)
        && answer.outcome == Outcome::Connects;
    let changed =
        answer.egress.as_ref().is_some_and(|egress| egress.packet.source != answer.flow.source);
    if !arrives || !changed {
        return None;
    }
    answer.steps.iter().find_map(|step| match step {
        Step::Rule {
            hook: Hook::Postrouting,
            rule,
            effect: Effect::Snat | Effect::Masquerade | Effect::Netmap,
            ..
        } => Some(*rule),
        _ => None,
    })
}
