//! Packets that are usual on a host: of two changes that are both enough, the better one leaves
//! more of them as they are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::host::{InterfaceKind, Scope, SocketProtocol};
use nattrace_model::packet::protocol;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;

/// How many containers send, and get, packets.
const MOST_CONTAINERS: usize = 8;

/// How many packets there are at most for each family.
const MOST: usize = 120;

/// Usual packets, and what becomes of them today.
#[derive(Default)]
pub(super) struct Probes {
    known: Vec<(Flow, Trait)>,
}

/// What of an answer is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trait {
    verdict: Verdict,
    outcome: Outcome,
    leaves_as: Option<(IpAddr, IpAddr, Option<String>)>,
}

impl Trait {
    fn of(answer: &Answer) -> Self {
        let leaves_as = answer.egress.as_ref().map(|egress| {
            (egress.packet.source, egress.packet.destination, egress.out_interface.clone())
        });
        Self { verdict: answer.verdict, outcome: answer.outcome, leaves_as }
    }
}

impl Probes {
    /// The usual packets of a host.
    pub(super) fn new(system: &System) -> Self {
        let mut known = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let (sources, sockets) = (sources(system, family), sockets(system, family));
            let all = sources.len() * sockets.len();
            let step = all.div_ceil(MOST).max(1);
            for number in (0..all).step_by(step) {
                let source = sources.get(number % sources.len().max(1));
                let socket = sockets.get(number / sources.len().max(1));
                let (Some(source), Some(socket)) = (source, socket) else { continue };
                if *source != socket.0 {
                    let flow = packet(*source, *socket);
                    let fate = Trait::of(&why(system, &flow));
                    known.push((flow, fate));
                }
            }
        }
        Self { known }
    }

    /// How many of them fare differently on another host.
    pub(super) fn changed(&self, system: &System) -> usize {
        let changed =
            self.known.iter().filter(|(flow, fate)| Trait::of(&why(system, flow)) != *fate);
        changed.count()
    }
}

fn packet(source: IpAddr, (destination, protocol, port): (IpAddr, u8, u16)) -> Flow {
    Flow {
        source,
        destination,
        protocol,
        source_port: Some(40000),
        destination_port: Some(port),
        in_interface: None,
        state: FlowState::New,
        mark: 0,
        tcp_flags: None,
        icmp: None,
        ttl: None,
        any_source: false,
    }
}

fn internet(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(1, 1, 1, 1).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111).into(),
    }
}

/// Who sends: containers or whoever may be on a bridge, neighbours on links, the internet, the host.
fn sources(system: &System, family: Family) -> Vec<IpAddr> {
    let mut found: BTreeSet<IpAddr> = containers(system, family).collect();
    found.extend(neighbours(system, family));
    found.insert(internet(family));
    let own = own_addresses(system, family);
    found.extend(own.first());
    found.into_iter().collect()
}

/// What is asked for: containers by their own ports, the host's sockets, neighbours, the internet.
fn sockets(system: &System, family: Family) -> Vec<(IpAddr, u8, u16)> {
    let mut found: BTreeSet<(IpAddr, u8, u16)> = BTreeSet::new();
    let others = neighbours(system, family).into_iter().chain([internet(family)]);
    for address in others {
        found.insert((address, protocol::TCP, 443));
        found.insert((address, protocol::UDP, 53));
    }
    let inventory = &system.host.inventory;
    let running = inventory.containers.iter().filter(|container| container.running);
    let own = own_addresses(system, family);
    for container in running.take(MOST_CONTAINERS) {
        let addresses = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        for (address, _) in addresses.filter(|(address, _)| Family::of(*address) == family) {
            found.insert((*address, protocol::TCP, 80));
            for port in &container.published {
                found.insert((*address, number(port.protocol), port.container_port));
            }
        }
        for port in &container.published {
            let host = port.host_address.filter(|address| !address.is_unspecified());
            let asked = host.or(own.first().copied()).filter(|a| Family::of(*a) == family);
            found.extend(asked.map(|asked| (asked, number(port.protocol), port.host_port)));
        }
    }
    let listeners = system.host.listeners.iter().flatten();
    for listener in listeners.take(MOST_CONTAINERS) {
        found.extend(own.first().map(|own| (*own, number(listener.protocol), listener.port)));
    }
    found.extend(own.iter().map(|own| (*own, protocol::TCP, 22)));
    found.into_iter().collect()
}

/// The number of a protocol that has sockets.
pub(super) fn number(of: SocketProtocol) -> u8 {
    match of {
        SocketProtocol::Tcp => protocol::TCP,
        SocketProtocol::Udp => protocol::UDP,
        SocketProtocol::Sctp => protocol::SCTP,
    }
}

/// The addresses of containers that run.
fn containers(system: &System, family: Family) -> impl Iterator<Item = IpAddr> {
    let running = system.host.inventory.containers.iter().filter(|container| container.running);
    let addresses = running.flat_map(|container| &container.endpoints).flat_map(|e| &e.addresses);
    let addresses = addresses.map(|(address, _)| *address);
    addresses.filter(move |address| Family::of(*address) == family).take(MOST_CONTAINERS)
}

/// An address that somebody may have beside each own one.
fn neighbours(system: &System, family: Family) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let interfaces = system.host.interfaces.iter();
    for own in interfaces.filter(|own| own.kind != InterfaceKind::Loopback) {
        let global = own.addresses.iter().filter(|address| address.scope == Scope::Global);
        let mut here = global
            .filter(|address| Family::of(address.local) == family && !address.subnet.is_single());
        let Some(address) = here.next() else { continue };
        let beside = match address.local {
            IpAddr::V4(local) => IpAddr::V4(Ipv4Addr::from_bits(local.to_bits() ^ 6)),
            IpAddr::V6(local) => IpAddr::V6(Ipv6Addr::from_bits(local.to_bits() ^ 6)),
        };
        if address.subnet.contains(beside) {
            found.push(beside);
        }
    }
    found
}

/// The host's own addresses, those of links to others first.
fn own_addresses(system: &System, family: Family) -> Vec<IpAddr> {
    let bridge = |kind: InterfaceKind| kind == InterfaceKind::Bridge;
    let mut interfaces: Vec<_> = system.host.interfaces.iter().collect();
    interfaces.sort_by_key(|own| bridge(own.kind));
    let addresses = interfaces.into_iter().flat_map(|own| &own.addresses);
    let global = addresses.filter(|address| address.scope == Scope::Global);
    let of_family = global.map(|address| address.local).filter(|a| Family::of(*a) == family);
    of_family.take(MOST_CONTAINERS).collect()
}
