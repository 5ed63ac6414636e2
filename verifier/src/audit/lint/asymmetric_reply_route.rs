//! Answers that leave by another way than the requests came.

use nattrace_model::address::is_internet;
use nattrace_model::answer::{Answer, Effect, Outcome, Rewrite, RouteDecision, Step};
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::host::Interface;
use nattrace_model::host::inventory::Network;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Published, Scene, packet_by, protocol_name};
use crate::program;

pub(super) const CODE: CodeOf = "asymmetric-reply-route";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for family in FAMILIES {
        let mut told: Vec<String> = Vec::new();
        for port in scene.published() {
            let flows = scene.to_published(&port, family).into_iter();
            for flow in flows.chain(by_second_uplinks(scene, &port, family)) {
                let Some(by) = flow.in_interface.clone().filter(|by| !told.contains(by)) else {
                    continue;
                };
                let answer = scene.why(&flow);
                let filtered = answer.steps.iter().any(|step| {
                    matches!(step, Step::Route { decision: RouteDecision::ReversePath, .. })
                });
                let back = answer
                    .reply
                    .as_ref()
                    .and_then(|reply| reply.egress.as_ref())
                    .and_then(|egress| egress.out_interface.clone());
                let elsewhere = back.filter(|back| *back != by);
                let own = format!("{}/{}", port.host_port, protocol_name(port.protocol));
                let one_uplink = format!(
                    "port {own} works by one uplink only: the client or its provider drops what comes from elsewhere"
                );
                let (what, effect, (fix, help)) = match (astray(scene, &port, &answer), elsewhere) {
                    (Some((out, network)), _) => (
                        format!(
                            "packets to published port {} leave by {out} instead of going to container `{}`",
                            port.host_port, port.container.name
                        ),
                        format!(
                            "what is routed by {out} never comes to {}: no connection to port {own} comes about",
                            network.bridge
                        ),
                        before_others(scene, family, network),
                    ),
                    (None, _) if filtered => (
                        format!("packets that come by {by} are dropped by rp_filter"),
                        one_uplink,
                        remedy(scene, family, &by, true),
                    ),
                    (None, Some(back)) if answer.outcome != Outcome::Refused => (
                        format!("answers to packets that come by {by} leave by {back}"),
                        one_uplink,
                        remedy(scene, family, &by, false),
                    ),
                    _ => continue,
                };
                told.push(by);
                found.push(
                    Finding::new(CODE, Severity::Warning, what)
                        .effect(effect)
                        .fixed_by(fix, &help)
                        .witness(answer),
                );
            }
        }
    }
    found
}

/// The interface by which packets to a container leave that is not its bridge's, and its network:
/// a policy rule or a route was quicker than that to the bridge.
fn astray<'s>(
    scene: &Scene<'s>,
    port: &Published<'_>,
    answer: &Answer,
) -> Option<(String, &'s Network)> {
    let to = answer.steps.iter().find_map(|step| match step {
        Step::Rule { effect: Effect::Dnat, rewrites, .. } => {
            rewrites.iter().find_map(|own| match own {
                Rewrite::Destination(_, to) => Some(*to),
                _ => None,
            })
        }
        _ => None,
    })?;
    let endpoint = port
        .container
        .endpoints
        .iter()
        .find(|own| own.addresses.iter().any(|(own, _)| *own == to))?;
    let network = scene.networks().find(|network| network.name == endpoint.network)?;
    let by = answer.steps.iter().find_map(|step| match step {
        Step::Route { decision: RouteDecision::Forward, out_interface, .. } => {
            out_interface.clone()
        }
        _ => None,
    })?;
    (by != network.bridge).then_some((by, network))
}

/// The commands that have the routes of the main table come first for a network of containers.
fn before_others(scene: &Scene<'_>, family: Family, network: &Network) -> (Vec<String>, String) {
    let rules = scene.host().routing.rules(family);
    let taken = |priority: u32| rules.iter().any(|rule| rule.priority == priority);
    let free = (1..100).rev().find(|priority| !taken(*priority)).unwrap_or(1);
    let ip = program::ip(family);
    let subnets = network.subnets.iter().filter(|subnet| subnet.family() == family);
    let commands = subnets.map(|own| format!("{ip} rule add to {own} lookup main priority {free}"));
    (commands.collect(), "before the rule that leads into the tunnel's table".to_owned())
}

/// Packets by interfaces that are uplinks although no default route says so: they have an address
/// of the internet, and what leaves by them is translated.
fn by_second_uplinks(scene: &Scene<'_>, port: &Published<'_>, family: Family) -> Vec<Flow> {
    let uplinks = scene.uplinks(family);
    let translated = |name: &str| {
        scene.rules().any(|(id, _, rule)| {
            let translates = matches!(rule.target, Target::Masquerade(..) | Target::Snat(..));
            let out = |condition: &Condition| {
                matches!(condition, Condition::OutInterface(Sense::Is, InterfacePattern::Name(own))
                    if **own == *name)
            };
            translates
                && scene.is_reached_from(id.chain, Hook::Postrouting)
                && rule.conditions.iter().any(out)
        })
    };
    let second = scene.outside().filter(|own| {
        !uplinks.iter().any(|uplink| uplink.name == own.name) && translated(&own.name)
    });
    let flow = |own: &Interface| {
        let destination = match port.host_address {
            None => Scene::addresses(own, family).next()?,
            Some(bound) => Scene::addresses(own, family).find(|address| *address == bound)?,
        };
        let source = Scene::outsider(family);
        is_internet(destination)
            .then(|| packet_by(&own.name, source, destination, port.protocol, port.host_port))
    };
    second.filter_map(flow).collect()
}

/// What to do about an uplink, in commands and in words.
fn remedy(scene: &Scene<'_>, family: Family, by: &str, filtered: bool) -> (Vec<String>, String) {
    if filtered {
        let loose = format!("sysctl -w net.ipv4.conf.{by}.rp_filter=2");
        let words = "loose: some way back is enough; the same line in /etc/sysctl.d/ keeps it";
        return (vec![loose], words.to_owned());
    }
    let fix = by_mark(scene, family, by);
    let words = match fix.is_empty() {
        false => "connections are marked where they come in, and answers routed by the mark; where rp_filter is 1, \
                  set it to 2 for this interface"
            .to_owned(),
        true => format!(
            "no route tells the gateway behind {by}: give it a table of its own (ip route add default via GATEWAY dev {by} \
             table 200), mark connections where they come in (CONNMARK), and route by the mark (ip rule add fwmark …)"
        ),
    };
    (fix, words)
}

/// The commands that send answers back by the interface that the requests came by.
fn by_mark(scene: &Scene<'_>, family: Family, by: &str) -> Vec<String> {
    let host = scene.host();
    let gateway =
        host.routing.tables(family).values().flat_map(|table| table.routes()).find_map(|route| {
            let hop = route.next_hops.iter().find(|hop| hop.interface == by)?;
            (route.destination.length() == 0).then_some(hop.gateway)
        });
    let Some(gateway) = gateway else { return Vec::new() };
    let rules = host.routing.rules(family);
    // Each uplink has a table and a bit of its own.
    let place = scene.uplinks(family).iter().position(|own| own.name == by).unwrap_or(0);
    let known = host.routing.tables(family);
    let free_table = (200..250).filter(|id| !known.contains_key(id)).nth(place);
    let used = |bit: u32| {
        let routed = rules.iter().any(|rule| rule.mark.is_some_and(|(_, mask)| mask & bit != 0));
        let read = scene.rules().flat_map(|(_, _, rule)| &rule.conditions).any(|condition| {
            matches!(condition, Condition::Mark { mask, .. } | Condition::ConnectionMark { mask, .. }
                if mask & bit != 0)
        });
        let written = scene.rules().any(|(_, _, rule)| {
            matches!(rule.target, Target::Mark { value, mask } if (value | mask) & bit != 0)
        });
        routed || read || written
    };
    let free_bit = (8..24).map(|shift| 1u32 << shift).filter(|bit| !used(*bit)).nth(place);
    let (Some(table), Some(bit)) = (free_table, free_bit) else { return Vec::new() };
    let program = scene.program_at(family, Hook::Prerouting);
    let via = gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
    let ip = program::ip(family);
    let mark = format!("{bit:#x}/{bit:#x}");
    vec![
        format!(
            "{program} -t mangle -A PREROUTING -i {by} -m conntrack --ctstate NEW -j CONNMARK --set-xmark {mark}"
        ),
        format!(
            "{program} -t mangle -A PREROUTING ! -i {by} -m connmark --mark {mark} -j MARK --set-xmark {mark}"
        ),
        format!(
            "{program} -t mangle -A OUTPUT -m connmark --mark {mark} -j MARK --set-xmark {mark}"
        ),
        format!("{ip} route add default {via}dev {by} table {table}"),
        format!("{ip} rule add fwmark {mark} lookup {table} priority 90"),
    ]
}
