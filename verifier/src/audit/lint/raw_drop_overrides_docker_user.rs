//! An ACCEPT of the forward path whose packets Docker drops in raw before.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Step, Verdict};
use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::protocols;
use nattrace_parser::syntax::{Family, TableName};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet_by};
use crate::program;

pub(super) const CODE: CodeOf = "raw-drop-overrides-docker-user";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, chain, rule) in scene.own_rules() {
        let here =
            chain.table == TableName::Filter && scene.is_reached_from(id.chain, Hook::Forward);
        if rule.target != Target::Accept || !here {
            continue;
        }
        let Some((answer, by)) = dropped_before(scene, rule, chain.family) else { continue };
        let flow = &answer.flow;
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("{} drops its packets before they get here", scene.name(by)),
            )
            .at(id, scene.owner(id))
            .effect(format!(
                "{} does not reach {}: raw comes before filter, and since Docker 28 it drops what is sent to a \
                 container past its network",
                flow.source, flow.destination
            ))
            .fixed_by(
                let_in(scene, rule, by, flow.in_interface.as_deref(), flow.destination),
                "Docker's own ways last longer: publish the port, com.docker.network.bridge.trusted_host_interfaces=IFACE or \
                 gateway_mode_ipv4=nat-unprotected of the network, or \"allow-direct-routing\": true in daemon.json",
            )
            .witness(answer.clone()),
        );
    }
    found
}

/// The command that lets the rule's packets to a container past the rule of raw.
fn let_in(
    scene: &Scene<'_>,
    rule: &Rule,
    by: RuleId,
    interface: Option<&str>,
    container: IpAddr,
) -> Vec<String> {
    let Some(chain) = scene.system.rules.chain(by.chain) else { return Vec::new() };
    let (mut source, mut protocol, mut port) = (None, None, None);
    for condition in &rule.conditions {
        match condition {
            Condition::Source(Sense::Is, prefix) => source = Some(format!("-s {prefix} ")),
            Condition::Protocol(Sense::Is, number) => protocol = protocols::name(*number),
            Condition::Port(Sense::Is, PortSide::Destination, first, last) => {
                port = Some(match first == last {
                    true => format!("--dport {first} "),
                    false => format!("--dport {first}:{last} "),
                });
            }
            _ => {}
        }
    }
    if source.is_none() && port.is_none() {
        // To let everybody in to every port would be another mistake.
        return Vec::new();
    }
    let interface = interface.map(|name| format!("-i {name} "));
    let protocol = protocol.map(|name| format!("-p {name} "));
    vec![format!(
        "{} -t raw -I {} {} {}-d {container} {}{}{}-j ACCEPT",
        program::iptables(chain.family, chain.backend),
        chain.name,
        by.number(),
        source.unwrap_or_default(),
        interface.unwrap_or_default(),
        protocol.unwrap_or_default(),
        port.unwrap_or_default(),
    )]
}

/// A packet that the rule is about, and the rule of raw that drops it.
fn dropped_before(scene: &Scene<'_>, rule: &Rule, family: Family) -> Option<(Answer, RuleId)> {
    let (mut by, mut out, mut from, mut to) = (None, None, None, None);
    let mut service = (protocol::TCP, 80);
    for condition in &rule.conditions {
        match condition {
            Condition::InInterface(Sense::Is, InterfacePattern::Name(name)) => by = Some(name),
            Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => out = Some(name),
            Condition::Source(Sense::Is, prefix) => from = Some(prefix),
            Condition::Destination(Sense::Is, prefix) => to = Some(prefix),
            Condition::Protocol(Sense::Is, number) => service.0 = *number,
            Condition::Port(Sense::Is, _, first, _) => service.1 = *first,
            // Of answers only.
            Condition::Connection(..) => return None,
            _ => {}
        }
    }
    let networks =
        scene.networks().filter(|network| out.is_none_or(|out| **out == *network.bridge));
    let members = networks.flat_map(|network| scene.members(network, family));
    for member in members.filter(|member| member.container.is_some()) {
        if to.is_some_and(|to| !to.contains(member.address)) {
            continue;
        }
        for interface in scene.outside().filter(|own| by.is_none_or(|by| **by == *own.name)) {
            let Some(source) = scene.neighbour(interface, family) else { continue };
            if from.is_some_and(|from| !from.contains(source)) {
                continue;
            }
            let flow = packet_by(&interface.name, source, member.address, service.0, service.1);
            let answer = scene.why(&flow);
            let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
            if let (Verdict::Dropped, Some(Step::Rule { hook: Hook::Prerouting, rule, .. })) =
                (answer.verdict, decided)
                && scene.system.rules.chain(rule.chain).is_some_and(|c| c.table == TableName::Raw)
                // A rule for everything is no rule for these packets.
                && (by.is_some() || from.is_some() || to.is_some() || out.is_some())
            {
                let rule = *rule;
                return Some((answer, rule));
            }
        }
    }
    None
}
