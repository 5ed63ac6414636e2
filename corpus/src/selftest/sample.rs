//! Packets that are likely to matter on a described host: between its containers, its own
//! addresses, its neighbours and the internet, to the ports that its rules and sockets name.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, PortSide};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::host::{Host, InterfaceKind};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

/// Ports that are tried on every host.
const PORTS: [u16; 5] = [22, 53, 80, 443, 7777];

/// Hosts of the internet.
const INTERNET: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
];

/// Somebody who can send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sender {
    address: IpAddr,
    /// The interface by which it comes in; none for a local process.
    interface: Option<String>,
}

/// Draws packets.
pub(super) struct Sampler {
    random: Rng,
    senders: Vec<Sender>,
    destinations: Vec<IpAddr>,
    /// Destinations that are drawn as often as all others together: the host's and its
    /// containers' own.
    near: Vec<IpAddr>,
    ports: Vec<u16>,
    /// The source port of the next packet.
    next_port: u16,
}

impl Sampler {
    /// Looks through the host once.
    pub(super) fn new(system: &System, seed: u64) -> Self {
        let host = &system.host;
        let mut senders = BTreeSet::new();
        let mut near = BTreeSet::new();
        let mut destinations = BTreeSet::from(INTERNET);
        for interface in &host.interfaces {
            for own in interface.addresses.iter().filter(|own| usable(own.local)) {
                near.insert(own.local);
                senders.insert(Sender { address: own.local, interface: None });
            }
        }
        for container in host.inventory.containers.iter().filter(|container| container.running) {
            for endpoint in &container.endpoints {
                let network = host.inventory.network(&endpoint.network);
                let Some(bridge) = network.map(|network| &network.bridge) else { continue };
                if host.interface(bridge).is_none() {
                    continue;
                }
                for (address, _) in &endpoint.addresses {
                    near.insert(*address);
                    let interface = Some(bridge.clone());
                    senders.insert(Sender { address: *address, interface });
                }
            }
        }
        let outside = outside(host);
        destinations.extend(outside.iter().map(|sender| sender.address));
        senders.extend(outside);
        let mut ports = BTreeSet::from(PORTS);
        for condition in conditions(system) {
            match condition {
                Condition::Source(_, prefix) | Condition::Destination(_, prefix) => {
                    destinations.extend(inside(prefix));
                }
                Condition::Port(_, PortSide::Destination | PortSide::Either, low, high) => {
                    ports.extend([*low, *high]);
                }
                Condition::Ports(_, PortSide::Destination | PortSide::Either, ranges) => {
                    ports.extend(ranges.iter().flat_map(|(low, high)| [*low, *high]));
                }
                _ => {}
            }
        }
        ports.extend(host.listeners.iter().flatten().map(|listener| listener.port));
        ports.remove(&0);
        Self {
            random: Rng::with_seed(seed),
            senders: senders.into_iter().collect(),
            destinations: destinations.into_iter().filter(|to| usable(*to)).collect(),
            near: near.into_iter().collect(),
            ports: ports.into_iter().collect(),
            next_port: 20_000,
        }
    }

    /// The next packet; `None` where nobody can send.
    pub(super) fn draw(&mut self) -> Option<Flow> {
        // A pair of one family comes about soon, unless the host speaks none of them.
        for _ in 0..1000 {
            let sender = self.random.choice(&self.senders)?.clone();
            let among = if self.random.bool() { &self.near } else { &self.destinations };
            let Some(to) = self.random.choice(among).copied() else { continue };
            let to = match (&sender.interface, self.random.u8(0..8)) {
                (None, 0) => loopback(sender.address),
                _ => to,
            };
            let source = match (&sender.interface, to.is_loopback()) {
                (None, true) => loopback(to),
                _ => sender.address,
            };
            if source.is_ipv4() == to.is_ipv4() && (source != to || sender.interface.is_none()) {
                return Some(self.flow(source, to, sender.interface));
            }
        }
        None
    }

    fn flow(&mut self, source: IpAddr, destination: IpAddr, interface: Option<String>) -> Flow {
        let number = match self.random.u8(0..20) {
            0..12 => protocol::TCP,
            12..17 => protocol::UDP,
            _ if destination.is_ipv4() => protocol::ICMP,
            _ => protocol::ICMPV6,
        };
        let ports = matches!(number, protocol::TCP | protocol::UDP);
        // No two packets share a source port, so that none meets the remains of another.
        self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
        let established = ports && interface.is_some() && self.random.u8(0..8) == 0;
        let port = self.random.choice(&self.ports).copied();
        Flow {
            source,
            destination,
            protocol: number,
            source_port: ports.then_some(self.next_port),
            destination_port: port.filter(|_| ports),
            any_source: interface.is_none() && self.random.bool(),
            in_interface: interface,
            state: if established { FlowState::Established } else { FlowState::New },
            mark: 0,
            tcp_flags: None,
            icmp: None,
            ttl: None,
        }
    }
}

fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether packets from or to an address can be sent and answered as a matter of course.
fn usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_link_local()
                || address.octets().first() == Some(&0))
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local())
        }
    }
}

/// Neighbours at interfaces without containers, and the internet behind those that lead there.
fn outside(host: &Host) -> Vec<Sender> {
    let mut senders = Vec::new();
    for interface in &host.interfaces {
        let wire = interface.up && interface.port.is_none();
        if !wire
            || interface.kind == InterfaceKind::Loopback
            || host.is_container_bridge(&interface.name)
        {
            continue;
        }
        let named = Some(interface.name.clone());
        for own in &interface.addresses {
            for neighbour in inside(&own.subnet) {
                if usable(neighbour) && host.owner(neighbour).is_none() {
                    senders.push(Sender { address: neighbour, interface: named.clone() });
                }
            }
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut routes = host.routing.tables(family).values().flat_map(|table| table.routes());
            let leads_out = routes.any(|route| {
                route.destination.length() == 0
                    && route.next_hops.iter().any(|hop| hop.interface == interface.name)
            });
            let far = INTERNET.into_iter().filter(|far| leads_out && Family::of(*far) == family);
            senders.extend(far.map(|address| Sender { address, interface: named.clone() }));
        }
    }
    senders
}

/// A few addresses of a prefix: a single one, or some that are neither its first nor its last.
fn inside(prefix: &Prefix) -> Vec<IpAddr> {
    let network = prefix.network();
    let plus = |number: u32| match network {
        IpAddr::V4(network) => {
            network.to_bits().checked_add(number).map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(network) => network
            .to_bits()
            .checked_add(u128::from(number))
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    };
    let offsets =
        if prefix.length() >= if network.is_ipv4() { 32 } else { 128 } { [0, 0] } else { [2, 77] };
    let addresses: BTreeSet<IpAddr> = offsets.into_iter().filter_map(plus).collect();
    let last = |address: &IpAddr| matches!(address, IpAddr::V4(a) if offsets != [0, 0] && a.octets().last() == Some(&255));
    addresses.into_iter().filter(|address| prefix.contains(*address) && !last(address)).collect()
}

fn conditions(system: &System) -> impl Iterator<Item = &Condition> {
    system.rules.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.conditions)
}
