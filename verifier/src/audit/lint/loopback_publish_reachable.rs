//! A port that is published on loopback only, and reached from outside all the same.

use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::hook::Hook;
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
        let own = port.container.endpoints.iter().flat_map(|e| &e.addresses).map(|(a, _)| *a);
        let container = own.filter(|address| Family::of(*address) == family);
        let targets = std::iter::once((bound, port.host_port))
            .chain(container.map(|address| (address, port.container_port)));
        let (mut commands, mut witness) = (Vec::new(), None);
        for (address, number) in targets {
            let answer = scene.outside().find_map(|interface| {
                let source = scene.neighbour(interface, family)?;
                let flow = packet_by(&interface.name, source, address, port.protocol, number);
                let answer = scene.why(&flow);
                let gets_in = answer.outcome == Outcome::Connects
                    && matches!(answer.verdict, Verdict::Forwarded | Verdict::Proxied);
                gets_in.then_some(answer)
            });
            let Some(answer) = answer else { continue };
            let home = scene
                .networks()
                .find(|network| network.subnets.iter().any(|subnet| subnet.contains(address)));
            commands.push(format!(
                "{} -t raw -I PREROUTING -d {address} ! -i {} -p {} --dport {number} -j DROP",
                scene.program_at(family, Hook::Prerouting),
                home.map_or("lo", |network| network.bridge.as_str()),
                protocol_name(port.protocol),
            ));
            witness.get_or_insert(answer);
        }
        if let Some(answer) = witness {
            found.push(finding(&port, commands, answer));
        }
    }
    found
}

fn finding(port: &Published<'_>, commands: Vec<String>, answer: Answer) -> Finding {
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
    .fixed_by(commands, "this is what Docker 28 and later does itself")
    .witness(answer)
}
