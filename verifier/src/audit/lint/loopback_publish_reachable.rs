//! A port that is published on loopback only, and reached from outside all the same.

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Published, Scene, packet_by, protocol_name};

pub(super) const CODE: CodeOf = "loopback-publish-reachable";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for port in scene.published() {
        let Some(bound) = port.host_address.filter(|address| address.is_loopback()) else {
            continue;
        };
        let family = Family::of(bound);
        let witness = scene.outside().find_map(|interface| {
            let source = scene.neighbour(interface, family)?;
            let own = port.container.endpoints.iter().flat_map(|e| &e.addresses).map(|(a, _)| *a);
            let container = own.filter(|address| Family::of(*address) == family);
            let targets = std::iter::once((bound, port.host_port))
                .chain(container.map(|address| (address, port.container_port)));
            targets.into_iter().find_map(|(address, number)| {
                let flow = packet_by(&interface.name, source, address, port.protocol, number);
                let answer = scene.why(&flow);
                let gets_in = answer.outcome == Outcome::Connects
                    && matches!(answer.verdict, Verdict::Forwarded | Verdict::Proxied);
                gets_in.then_some(answer)
            })
        });
        if let Some(answer) = witness {
            found.push(finding(&port, answer));
        }
    }
    found
}

fn finding(port: &Published<'_>, answer: nattrace_model::answer::Answer) -> Finding {
    let by = answer.flow.in_interface.clone().unwrap_or_default();
    Finding::new(
        CODE,
        Severity::Error,
        format!("port {}, published on loopback, is reached from {by}", port.host_port),
    )
    .effect(format!(
        "a neighbour at {by} that sends to {} gets to container `{}`",
        answer.flow.destination, port.container.name
    ))
    .help(format!(
        "Docker 28 and later drop this in raw/PREROUTING; before: iptables -I DOCKER-USER -i {by} -d {} -p {} --dport {} -j DROP",
        answer.egress.as_ref().map_or(answer.flow.destination, |egress| egress.packet.destination),
        protocol_name(port.protocol),
        port.container_port,
    ))
    .witness(answer)
}
