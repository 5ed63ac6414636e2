//! Containers that can't reach a published port by the address that everybody else uses.

use nattrace_model::answer::{Answer, Outcome};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Member, Published, Scene, packet};

pub(super) const CODE: CodeOf = "hairpin-broken";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut broken: Vec<(u16, String, Answer)> = Vec::new();
    // docker-proxy answers datagrams from another address than they were sent to: that is so on
    // every host, and nobody's mistake.
    let published = scene.published().into_iter().filter(|port| port.protocol == protocol::TCP);
    for port in published {
        if let Some((who, answer)) = unreached(scene, &port) {
            broken.push((port.host_port, who, answer));
        }
    }
    let ports: Vec<String> = broken.iter().map(|(port, ..)| port.to_string()).collect();
    let Some((_, who, answer)) = broken.into_iter().next() else { return Vec::new() };
    let finding = Finding::new(
        CODE,
        Severity::Warning,
        format!("published tcp {} can't be reached from containers by the host's address", some(&ports)),
    )
    .effect(format!("what works from outside fails from inside: {who} gets no connection"))
    .help(
        "keep docker-proxy (userland-proxy), or translate: iptables -t nat -A POSTROUTING -s SUBNET -d CONTAINER \
         -j MASQUERADE, and let FORWARD pass it; or use the container's own address",
    )
    .witness(answer);
    vec![finding]
}

/// The first few of many.
fn some(ports: &[String]) -> String {
    match ports {
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more", ports.len() - 3)
        }
        few => few.join(", "),
    }
}

/// A container of each network asks, and the one behind the port itself.
fn unreached(scene: &Scene<'_>, port: &Published<'_>) -> Option<(String, Answer)> {
    let outside = scene.to_published(port, Family::Ipv4).into_iter().next()?;
    if scene.why(&outside).outcome != Outcome::Connects {
        return None;
    }
    let asks = |member: Member<'_>| {
        let answer =
            scene.why(&packet(member.address, outside.destination, port.protocol, port.host_port));
        let fails = !matches!(answer.outcome, Outcome::Connects | Outcome::Undetermined);
        fails.then(|| (member.name(), answer))
    };
    // An internal network has no way to the host's other addresses, on purpose.
    let networks = scene.networks().filter(|network| !network.internal);
    let (own, others): (Vec<_>, Vec<_>) = networks
        .partition(|network| port.container.endpoints.iter().any(|e| e.network == network.name));
    // All other networks are strangers alike: one stands for them.
    own.into_iter().chain(others.into_iter().take(1)).find_map(|network| {
        let members = scene.members(network, Family::Ipv4);
        let is_itself = |member: &&Member<'_>| {
            member.container.is_some_and(|container| container.name == port.container.name)
        };
        let itself = members.iter().find(is_itself);
        let first = members.iter().find(|member| member.container.is_some());
        itself.copied().and_then(asks).or_else(|| first.copied().and_then(asks))
    })
}
