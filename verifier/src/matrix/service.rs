//! Services: the ports that rules, sockets and containers name, and all that are between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nattrace_model::System;
use nattrace_model::condition::{Condition, PortSide};
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_parser::policy::Protocol;
use nattrace_parser::protocols;
use nattrace_parser::syntax::Family;

use super::diagram::Services;
use crate::header::has_ports;
use crate::packets::PacketSet;
use crate::space::Space;

/// Packets that ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Destination ports of a protocol, both ends inclusive.
    Ports(u8, u16, u16),
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp,
    /// A protocol without ports.
    Protocol(u8),
    /// Every protocol that no other service names.
    OtherProtocols,
}

impl Service {
    /// Every port of a protocol, or a protocol without ports.
    #[must_use]
    pub fn of_protocol(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Icmp => Self::Icmp,
            Protocol::Number(number) if has_ports(number) => Self::Ports(number, 1, u16::MAX),
            Protocol::Number(number) => Self::Protocol(number),
        }
    }

    /// Whether all packets of another service are of this one.
    fn holds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ports(own, first, last), Self::Ports(protocol, low, high)) => {
                own == protocol && first <= low && high <= last
            }
            _ => self == other,
        }
    }
}

/// `80/tcp`, `8000-8010/udp`, `tcp` for every port of TCP, `icmp`, `gre`, `other`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |number: u8| {
            let known = protocols::name(number);
            known.map_or_else(|| number.to_string(), str::to_owned)
        };
        match *self {
            Self::Ports(number, 1, u16::MAX) | Self::Protocol(number) => f.write_str(&name(number)),
            Self::Ports(number, first, last) if first == last => {
                write!(f, "{first}/{}", name(number))
            }
            Self::Ports(number, first, last) => write!(f, "{first}-{last}/{}", name(number)),
            Self::Icmp => f.write_str("icmp"),
            Self::OtherProtocols => f.write_str("other"),
        }
    }
}

/// The services that a host's rules, sockets and containers tell apart, which together are all that
/// were asked for; no packet is of two.
pub(super) fn all(system: &System, asked: &[Service]) -> Vec<Service> {
    let mut named = Named::default();
    named.inventory(system);
    named.rules(system);
    for service in asked {
        named.add(*service);
    }
    let mut services = named.services();
    if !asked.is_empty() {
        services.retain(|service| asked.iter().any(|wanted| wanted.holds(*service)));
    }
    services
}

/// Where ports of each protocol with ports begin to be others, and protocols without.
struct Named {
    starts: BTreeMap<u8, BTreeSet<u32>>,
    protocols: BTreeSet<u8>,
}

impl Default for Named {
    fn default() -> Self {
        let always =
            [protocol::TCP, protocol::UDP, protocol::SCTP].map(|number| (number, BTreeSet::new()));
        Self { starts: always.into(), protocols: BTreeSet::new() }
    }
}

impl Named {
    fn add(&mut self, service: Service) {
        match service {
            Service::Ports(number, first, last) => self.ports(number, first, last),
            Service::Protocol(number) => self.protocol(number),
            Service::Icmp | Service::OtherProtocols => {}
        }
    }

    fn ports(&mut self, number: u8, first: u16, last: u16) {
        let starts = self.starts.entry(number).or_default();
        starts.insert(first.into());
        starts.insert(u32::from(last) + 1);
    }

    fn protocol(&mut self, number: u8) {
        if has_ports(number) {
            self.starts.entry(number).or_default();
        } else if ![protocol::ICMP, protocol::ICMPV6].contains(&number) {
            self.protocols.insert(number);
        }
    }

    fn inventory(&mut self, system: &System) {
        let host = &system.host;
        for listener in host.listeners.iter().flatten() {
            self.ports(number_of(listener.protocol), listener.port, listener.port);
        }
        for port in host.inventory.containers.iter().flat_map(|own| &own.published) {
            for own in [port.host_port, port.container_port] {
                self.ports(number_of(port.protocol), own, own);
            }
        }
    }

    fn rules(&mut self, system: &System) {
        let mut asked: BTreeSet<(Option<u8>, u16, u16)> = BTreeSet::new();
        for rule in system.rules.chains.iter().flat_map(|chain| &chain.rules) {
            let protocol = rule.conditions.iter().find_map(|condition| match condition {
                Condition::Protocol(_, number) => Some(*number),
                _ => None,
            });
            if let Some(number) = protocol {
                self.protocol(number);
            }
            for condition in &rule.conditions {
                match condition {
                    Condition::Port(_, side, first, last) if *side != PortSide::Source => {
                        asked.insert((protocol, *first, *last));
                    }
                    Condition::Ports(_, side, ranges) if *side != PortSide::Source => {
                        asked.extend(ranges.iter().map(|(first, last)| (protocol, *first, *last)));
                    }
                    _ => {}
                }
            }
        }
        for (protocol, first, last) in asked {
            match protocol {
                Some(number) => self.ports(number, first, last),
                None => {
                    self.ports(protocol::TCP, first, last);
                    self.ports(protocol::UDP, first, last);
                }
            }
        }
    }

    fn services(&self) -> Vec<Service> {
        let mut services = Vec::new();
        for (number, starts) in &self.starts {
            let inner = starts.iter().copied().filter(|start| (2..=65535).contains(start));
            let starts: Vec<u32> = std::iter::once(1).chain(inner).collect();
            let ends = starts.iter().skip(1).map(|next| next - 1).chain([65535]);
            let port = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
            let pairs = starts.iter().zip(ends);
            services.extend(
                pairs.map(|(first, last)| Service::Ports(*number, port(*first), port(last))),
            );
        }
        services.push(Service::Icmp);
        services.extend(self.protocols.iter().copied().map(Service::Protocol));
        services.push(Service::OtherProtocols);
        services
    }
}

fn number_of(protocol: SocketProtocol) -> u8 {
    match protocol {
        SocketProtocol::Tcp => protocol::TCP,
        SocketProtocol::Udp => protocol::UDP,
        SocketProtocol::Sctp => protocol::SCTP,
    }
}

/// Services that go on where another one ends are one.
pub(super) fn merged(services: impl Iterator<Item = Service>) -> Vec<Service> {
    let mut merged: Vec<Service> = Vec::new();
    for service in services {
        if let Some(Service::Ports(own, _, end)) = merged.last_mut()
            && let Service::Ports(number, first, last) = service
            && *own == number
            && end.checked_add(1) == Some(first)
        {
            *end = last;
        } else {
            merged.push(service);
        }
    }
    merged
}

/// The packets of a service; `named` are all services there are.
pub(super) fn packets(space: &Space, service: Service, named: &[Service]) -> PacketSet {
    let of = |number: u8| space.protocol(number);
    let icmp = match space.family() {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    match service {
        Service::Ports(number, first, last) => {
            of(number).intersection(&space.destination_ports(first, last))
        }
        Service::Icmp => of(icmp),
        Service::Protocol(number) => of(number),
        Service::OtherProtocols => {
            let mut others = space.all().difference(&of(icmp));
            for number in numbers(named) {
                others = others.difference(&of(number));
            }
            others
        }
    }
}

/// The packets of any of some services.
pub(super) fn packets_of_any(space: &Space, some: &[Service], named: &[Service]) -> PacketSet {
    let each = merged(some.iter().copied()).into_iter();
    let each = each.map(|service| packets(space, service, named).function().clone());
    space.set(space.union(each.collect()))
}

/// The protocols that services name.
fn numbers(named: &[Service]) -> BTreeSet<u8> {
    let numbers = named.iter().filter_map(|service| match service {
        Service::Ports(number, ..) | Service::Protocol(number) => Some(*number),
        Service::Icmp | Service::OtherProtocols => None,
    });
    numbers.collect()
}

/// Services as sets of packets tell them apart.
pub(super) fn told_apart(services: &[Service], family: Family) -> Services {
    let icmp = match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    let named = numbers(services);
    let others: Vec<u8> =
        (0..=u8::MAX).filter(|number| *number != icmp && !named.contains(number)).collect();
    Services::new(services, icmp, &others)
}
