//! The packets of a question.

use nattrace_model::System;
use nattrace_model::packet::protocol;
use nattrace_parser::policy::Protocol;
use nattrace_parser::syntax::Family;

use crate::packets::{PacketSet, plain};
use crate::policy::{AddressSet, Question, Service, Where};
use crate::space::{Relation, Space};
use crate::walk::Entry;

/// Where the packets of a question begin.
pub(crate) fn entry(question: &Question) -> Entry {
    match &question.from.at {
        Where::Unbound => Entry::LocalAnySource,
        Where::Bound => Entry::Local,
        Where::Behind(interface) => Entry::Interface(interface.clone()),
    }
}

/// The packets of a question as they are sent: the first ones of connections, with ports where
/// their protocol has some.
pub(crate) fn of(question: &Question, space: &Space) -> PacketSet {
    let mut packets = space.first_packets().intersection(&real_ports(space));
    if let Some(to) = &question.to {
        packets = packets.intersection(&destinations(space, to));
    }
    packets = packets.intersection(&service(space, &question.service));
    // The kernel picks the source of a process that is not bound; without a route it has none.
    if question.from.at != Where::Unbound || !question.from.sources.is_empty() {
        packets = packets.intersection(&sources(space, &question.from.sources));
    }
    if question.leaves_out_udplite() {
        packets = packets.difference(&space.protocol(protocol::UDPLITE));
    }
    if let Where::Behind(_) = question.from.at {
        // What one sends to oneself is on no wire.
        let oneself = space.set(space.relation(Relation::SameAddress, true));
        packets = packets.difference(&oneself);
    }
    for (who, what) in &question.without {
        let unknown = sources(space, who).intersection(&destinations(space, what));
        packets = packets.difference(&unknown);
    }
    for exception in &question.except {
        let mut allowed =
            destinations(space, &exception.to).intersection(&service(space, &exception.service));
        if question.from.at != Where::Unbound {
            allowed = allowed.intersection(&sources(space, &exception.sources));
        }
        packets = packets.difference(&allowed);
    }
    packets
}

/// Port 0 is nobody's.
pub(crate) fn real_ports(space: &Space) -> PacketSet {
    let source = space.source_ports(1, u16::MAX);
    let ported = source.intersection(&space.destination_ports(1, u16::MAX));
    ported.union(&space.all().difference(&with_ports(space)))
}

/// The packets of protocols that have ports.
fn with_ports(space: &Space) -> PacketSet {
    space.destination_ports(0, u16::MAX)
}

/// The packets from these addresses.
pub(crate) fn sources(space: &Space, addresses: &AddressSet) -> PacketSet {
    let ranges = addresses.each_range();
    union(space, ranges.map(|(first, last)| space.source_range(first, last)))
}

/// The packets to these addresses.
pub(crate) fn destinations(space: &Space, addresses: &AddressSet) -> PacketSet {
    let ranges = addresses.each_range();
    union(space, ranges.map(|(first, last)| space.destination_range(first, last)))
}

fn union(space: &Space, sets: impl Iterator<Item = PacketSet>) -> PacketSet {
    space.set(space.union(sets.map(|set| set.function().clone()).collect()))
}

/// The packets that a service means.
pub(super) fn service(space: &Space, service: &Service) -> PacketSet {
    let mut packets = protocols(space, &service.protocols);
    if !service.ports.is_empty() {
        let ports =
            service.ports.iter().map(|(first, last)| space.destination_ports(*first, *last));
        packets = packets.intersection(&union(space, ports));
    }
    packets
}

/// The packets of these protocols; of all, where none is named.
pub(super) fn protocols(space: &Space, protocols: &[Protocol]) -> PacketSet {
    if protocols.is_empty() {
        return space.all();
    }
    let of = |protocol: &Protocol| match (protocol, space.family()) {
        (Protocol::Icmp, Family::Ipv4) => space.protocol(protocol::ICMP),
        (Protocol::Icmp, Family::Ipv6) => space.protocol(protocol::ICMPV6),
        (Protocol::Number(number), _) => space.protocol(*number),
    };
    union(space, protocols.iter().map(of))
}

/// What makes a packet of a question telling, the most important first: a plain protocol and port,
/// and the addresses of containers that run rather than those that nobody has.
pub(crate) fn telling(question: &Question, system: &System, space: &Space) -> Vec<PacketSet> {
    let family = space.family();
    let containers = system.host.inventory.containers.iter().filter(|container| container.running);
    let addresses =
        containers.flat_map(|container| &container.endpoints).flat_map(|e| &e.addresses);
    let running = AddressSet::of(family, addresses.map(|(address, _)| *address));
    let mut preferred = vec![space.protocol(protocol::TCP), space.protocol(protocol::UDP)];
    if !running.is_empty() {
        preferred.push(sources(space, &running));
        preferred.push(destinations(space, &running));
    }
    // An example of a zone of few addresses is its first one.
    for first in question.from.sources.first().into_iter().take(1) {
        if running.is_empty() || !running.contains(first) {
            let few = question.from.sources.each(256).is_some();
            if few {
                preferred.push(sources(space, &AddressSet::one(first)));
            }
        }
    }
    preferred.extend(plain(space));
    preferred
}
