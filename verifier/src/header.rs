//! The fields of a packet that a set of packets may restrict.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::packet::{Packet, Transport, protocol};
use nattrace_parser::syntax::Family;

/// A packet's header as it is sent: one point of a set of packets.
///
/// What a protocol does not have is zero: ports of ICMP, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The source address.
    pub source: IpAddr,
    /// The destination address; of the same family as the source.
    pub destination: IpAddr,
    /// The upper-layer protocol's number.
    pub protocol: u8,
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The type and code of ICMP or ICMPv6.
    pub icmp: (u8, u8),
    /// The TCP flags.
    pub tcp_flags: u8,
}

/// Whether packets of a protocol have ports.
#[must_use]
pub(crate) fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    )
}

/// Whether packets of a protocol have a type and a code.
#[must_use]
pub(crate) fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

impl Header {
    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// The same with zeros for what its protocol does not have.
    #[must_use]
    pub fn normal(mut self) -> Self {
        if !has_ports(self.protocol) {
            (self.source_port, self.destination_port) = (0, 0);
        }
        if !is_icmp(self.protocol) {
            self.icmp = (0, 0);
        }
        if self.protocol != protocol::TCP {
            self.tcp_flags = 0;
        }
        self
    }

    /// The header of a packet.
    #[must_use]
    pub fn of(packet: &Packet) -> Self {
        let (ports, icmp) = match packet.transport {
            Transport::Ports { source, destination } => ((source, destination), (0, 0)),
            Transport::Icmp { kind, code, .. } => ((0, 0), (kind, code)),
            Transport::Opaque => ((0, 0), (0, 0)),
        };
        Self {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            source_port: ports.0,
            destination_port: ports.1,
            icmp,
            tcp_flags: packet.tcp_flags,
        }
        .normal()
    }
}

/// An address as a number.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a family with this number.
pub(crate) fn address(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(bits).into(),
    }
}
