//! Closed for IPv4, open for IPv6.

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet_by};

pub(super) const CODE: CodeOf = "ipv6-policy-mismatch";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let listeners = scene.host().listeners.as_deref().unwrap_or_default();
    let mut ports: Vec<u16> = listeners
        .iter()
        .filter(|own| own.protocol == SocketProtocol::Tcp)
        .filter(|own| own.family == Family::Ipv6 && own.address.is_none_or(|a| !a.is_loopback()))
        .map(|own| own.port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let ask = |family: Family, port: u16| {
        let uplink = *scene.uplinks(family).first()?;
        let own = Scene::addresses(uplink, family).next()?;
        Some(scene.why(&packet_by(&uplink.name, Scene::outsider(family), own, protocol::TCP, port)))
    };
    let mut open = Vec::new();
    for port in ports {
        let (Some(v4), Some(v6)) = (ask(Family::Ipv4, port), ask(Family::Ipv6, port)) else {
            continue;
        };
        let closed = matches!(v4.verdict, Verdict::Dropped | Verdict::Rejected);
        if closed && v6.outcome == Outcome::Connects {
            open.push((port, v6));
        }
    }
    let commands = open.iter().map(|(_, answer)| scene.stopping(answer)).collect();
    let ports: Vec<String> = open.iter().map(|(port, _)| port.to_string()).collect();
    if let Some((_, answer)) = open.into_iter().next() {
        found.push(
            Finding::new(CODE, Severity::Error, format!("tcp {} is closed for IPv4 and open for IPv6", ports.join(", ")))
                .effect("whoever has an IPv6 address walks past the IPv4 rules")
                .fixed_by(
                    commands,
                    "or give ip6tables the same rules: ip6tables -P INPUT DROP and what it accepts; ufw: IPV6=yes in /etc/default/ufw",
                )
                .witness(answer),
        );
    }
    found
}
