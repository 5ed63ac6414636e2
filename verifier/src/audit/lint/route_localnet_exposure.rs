//! Loopback addresses that packets from outside may use.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet_by};

pub(super) const CODE: CodeOf = "route-localnet-exposure";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
    let listeners = scene.host().listeners.as_deref().unwrap_or_default();
    let ports = listeners.iter().filter(|own| {
        own.protocol == SocketProtocol::Tcp
            && own.address.is_some_and(|address| address.is_loopback() && address.is_ipv4())
    });
    let ports: Vec<u16> = ports.map(|own| own.port).collect();
    let witness = scene.outside().find_map(|interface| {
        let source = scene.neighbour(interface, Family::Ipv4)?;
        ports.iter().find_map(|port| {
            let answer =
                scene.why(&packet_by(&interface.name, source, loopback, protocol::TCP, *port));
            (answer.outcome == Outcome::Connects && answer.verdict == Verdict::Delivered)
                .then_some((interface, *port, answer))
        })
    });
    let Some((interface, port, answer)) = witness else { return Vec::new() };
    let finding = Finding::new(
        CODE,
        Severity::Warning,
        format!("route_localnet of {} lets its hosts reach 127.0.0.1", interface.name),
    )
    .effect(format!(
        "what listens on 127.0.0.1:{port} only is open to the hosts at {}",
        interface.name
    ))
    .fixed_by(
        vec![format!(
            "{} -t raw -I PREROUTING ! -i lo -d 127.0.0.0/8 -j DROP",
            scene.program_at(Family::Ipv4, Hook::Prerouting)
        )],
        &format!(
            "or sysctl -w net.ipv4.conf.{}.route_localnet=0, where Docker runs with docker-proxy",
            interface.name
        ),
    )
    .witness(answer);
    vec![finding]
}
