//! The variables of a space: the bits of the header's fields, and what stands before them.

use nattrace_parser::syntax::Family;

use crate::header::{Header, bits};

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Source,
    Destination,
    Protocol,
    SourcePort,
    DestinationPort,
    IcmpType,
    IcmpCode,
    TcpFlags,
}

impl Field {
    pub(crate) const ALL: [Self; 8] = [
        Self::Source,
        Self::Destination,
        Self::Protocol,
        Self::SourcePort,
        Self::DestinationPort,
        Self::IcmpType,
        Self::IcmpCode,
        Self::TcpFlags,
    ];

    /// The number of its bits.
    pub(crate) fn width(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Source | Self::Destination, Family::Ipv4) => 32,
            (Self::Source | Self::Destination, Family::Ipv6) => 128,
            (Self::SourcePort | Self::DestinationPort, _) => 16,
            (Self::Protocol | Self::IcmpType | Self::IcmpCode | Self::TcpFlags, _) => 8,
        }
    }

    /// The variable of its first, most significant bit.
    pub(crate) fn first(self, family: Family) -> u32 {
        let before = Self::ALL.into_iter().take_while(|field| *field != self);
        FLAGS + before.map(|field| field.width(family)).sum::<u32>()
    }

    /// Its value in a header.
    pub(crate) fn of(self, header: &Header) -> u128 {
        match self {
            Self::Source => bits(header.source),
            Self::Destination => bits(header.destination),
            Self::Protocol => header.protocol.into(),
            Self::SourcePort => header.source_port.into(),
            Self::DestinationPort => header.destination_port.into(),
            Self::IcmpType => header.icmp.0.into(),
            Self::IcmpCode => header.icmp.1.into(),
            Self::TcpFlags => header.tcp_flags.into(),
        }
    }
}

/// Something about two fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The packet is for the address that it comes from.
    SameAddress,
    /// Both ports are the same.
    SamePort,
}

/// Where a function begins, in the order of the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// With a relation or the source.
    Source,
    /// With the destination.
    Destination,
    /// Behind the addresses.
    Rest,
}

/// How many variables stand before the bits of the header.
pub(super) const FLAGS: u32 = 2;

impl Relation {
    pub(crate) fn variable(self) -> u32 {
        match self {
            Self::SameAddress => 0,
            Self::SamePort => 1,
        }
    }
}
