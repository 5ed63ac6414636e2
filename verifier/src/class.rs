//! Flow classes: sets of packets that all have the same fate.

use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::packet::{Packet, Transport};
use nattrace_parser::syntax::Family;

use crate::header::{Header, address, bits};
use crate::packets::PacketSet;
use crate::space::{Field, Space};

/// Packets that all have the same fate.
#[derive(Clone, Debug)]
pub struct Class {
    /// The packets as they are sent.
    pub set: PacketSet,
    /// What may become of each of them: one way, or several where chance or something unknown
    /// decides.
    pub ways: Vec<Way>,
    /// Why more may become of them than `ways` says, where it may; there may then be no ways.
    pub undetermined: Option<String>,
}

impl Class {
    /// What becomes of the packets; undetermined unless all ways agree.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut all = self.ways.iter().map(|way| way.verdict);
        match all.next() {
            Some(first) if self.undetermined.is_none() && all.all(|other| other == first) => first,
            _ => Verdict::Undetermined,
        }
    }

    /// What the sender experiences; undetermined unless all ways agree.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut all = self.ways.iter().map(|way| way.outcome);
        match all.next() {
            Some(first) if self.undetermined.is_none() && all.all(|other| other == first) => first,
            _ => Outcome::Undetermined,
        }
    }

    /// The packets of the class that an egress field leaves within a prefix, by a way.
    #[must_use]
    pub fn within(&self, field: &AddressAfter, prefix: &Prefix) -> PacketSet {
        let space = self.set.space();
        self.set.intersection(&space.set(field.within(space, prefix)))
    }
}

/// One way that a packet may go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// What the sender experiences, the way back included.
    pub outcome: Outcome,
    /// The packet as it leaves or is delivered, where it is.
    pub egress: Option<EgressAfter>,
    /// Whether docker-proxy opens a connection of its own, and to where.
    pub proxied_to: Option<(IpAddr, u16)>,
    /// The interface by which that connection leaves, where it does.
    pub proxied_by: Option<String>,
    /// Whether the packet has the source that the kernel picked for it; never so where its sender
    /// picked one.
    pub as_picked: bool,
    /// What is to blame where the verdict or outcome is undetermined.
    pub because: Option<String>,
}

/// A packet as it leaves, in terms of the packet as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EgressAfter {
    /// The interface it leaves by; `None` for a packet that is delivered here.
    pub out_interface: Option<String>,
    /// The source address.
    pub source: AddressAfter,
    /// The destination address.
    pub destination: AddressAfter,
    /// The source port, where it has one.
    pub source_port: PortAfter,
    /// The destination port, where it has one.
    pub destination_port: PortAfter,
    /// The packet mark.
    pub mark: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// The source is one that nobody knows.
    pub source_unknown: bool,
    /// The source port is drawn by chance.
    pub source_port_random: bool,
}

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AddressAfter {
    /// It is the source as it was sent.
    Source,
    /// It is the destination as it was sent.
    Destination,
    /// It was rewritten to this one.
    Rewritten(IpAddr),
    /// The network part of the source was exchanged.
    SourceMapped(Prefix),
    /// The network part of the destination was exchanged.
    DestinationMapped(Prefix),
}

/// What became of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortAfter {
    /// It is as it was sent, if there is one.
    Sent,
    /// It was rewritten to this one.
    Rewritten(u16),
}

/// The network part of an address exchanged.
pub(crate) fn exchanged(own: IpAddr, prefix: &Prefix) -> IpAddr {
    let own_bits = bits(own);
    match prefix {
        Prefix::V4(network, mask) => address(
            Family::Ipv4,
            own_bits & !u128::from(*mask) & 0xffff_ffff | u128::from(*network),
        ),
        Prefix::V6(prefix) => address(Family::Ipv6, own_bits & !prefix.1 | prefix.0),
    }
}

impl AddressAfter {
    /// The address for a packet.
    #[must_use]
    pub fn of(&self, sent: &Header) -> IpAddr {
        match self {
            Self::Source => sent.source,
            Self::Destination => sent.destination,
            Self::Rewritten(address) => *address,
            Self::SourceMapped(prefix) => exchanged(sent.source, prefix),
            Self::DestinationMapped(prefix) => exchanged(sent.destination, prefix),
        }
    }

    /// The packets for which the address lies in a prefix.
    pub(crate) fn within(&self, space: &Space, prefix: &Prefix) -> oxidd::bdd::BDDFunction {
        match self {
            Self::Source => space.prefix(Field::Source, prefix),
            Self::Destination => space.prefix(Field::Destination, prefix),
            Self::Rewritten(address) if prefix.contains(*address) => space.anything(),
            Self::Rewritten(_) => space.nothing(),
            Self::SourceMapped(to) => mapped_within(space, Field::Source, to, prefix),
            Self::DestinationMapped(to) => mapped_within(space, Field::Destination, to, prefix),
        }
    }

    /// The packets for which the address lies in a prefix, as a set.
    #[must_use]
    pub fn lies_in(&self, space: &Space, prefix: &Prefix) -> PacketSet {
        space.all().intersection(&space.set(self.within(space, prefix)))
    }
}

/// The packets of which a field, its network part exchanged, lies in a prefix.
pub(crate) fn mapped_within(
    space: &Space,
    field: Field,
    to: &Prefix,
    prefix: &Prefix,
) -> oxidd::bdd::BDDFunction {
    let (network, kept, asked, mask) = match (to, prefix) {
        (Prefix::V4(network, own), Prefix::V4(asked, mask)) => (
            u128::from(*network),
            !u128::from(*own) & 0xffff_ffff,
            u128::from(*asked),
            u128::from(*mask),
        ),
        (Prefix::V6(to), Prefix::V6(prefix)) => (to.0, !to.1, prefix.0, prefix.1),
        _ => return space.nothing(),
    };
    let fixed = mask & !kept;
    if network & fixed != asked & fixed {
        return space.nothing();
    }
    space.masked(field, asked, mask & kept)
}

impl EgressAfter {
    /// The packet that leaves for one that was sent.
    #[must_use]
    pub fn of(&self, sent: &Header) -> Packet {
        let port = |after: PortAfter, own: u16| match after {
            PortAfter::Sent => own,
            PortAfter::Rewritten(port) => port,
        };
        let transport = if crate::header::has_ports(sent.protocol) {
            Transport::Ports {
                source: port(self.source_port, sent.source_port),
                destination: port(self.destination_port, sent.destination_port),
            }
        } else if crate::header::is_icmp(sent.protocol) {
            Transport::Icmp { kind: sent.icmp.0, code: sent.icmp.1, id: 1 }
        } else {
            Transport::Opaque
        };
        Packet {
            source: self.source.of(sent),
            destination: self.destination.of(sent),
            protocol: sent.protocol,
            transport,
            tcp_flags: sent.tcp_flags,
            ttl: self.ttl,
            tos: self.tos,
            length: None,
            mark: self.mark,
        }
    }
}

/// What is to blame for an answer that is undetermined.
pub(crate) fn blame(answer: &Answer) -> Option<String> {
    if answer.verdict != Verdict::Undetermined && answer.outcome != Outcome::Undetermined {
        return None;
    }
    let by_step = || {
        let step = answer.decided_by.and_then(|at| answer.steps.get(at));
        match step {
            Some(Step::Route { because, .. }) => because.clone(),
            _ => None,
        }
    };
    answer
        .because
        .clone()
        .or_else(by_step)
        .or_else(|| answer.assumptions.first().map(|assumption| assumption.text.clone()))
}
