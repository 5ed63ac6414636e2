//! The packet that is traced.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

/// Numbers of upper-layer protocols (IANA).
pub mod protocol {
    #![expect(missing_docs, reason = "the names are the protocols' own")]
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDPLITE: u8 = 136;
}

/// Bits of the TCP header's flags (RFC 9293 section 3.1).
pub mod tcp_flag {
    #![expect(missing_docs, reason = "the names are the flags' own")]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// What stands behind the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, UDP, SCTP, DCCP or UDP-Lite.
    Ports {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The identifier of an echo.
        id: u16,
    },
    /// A protocol that has no ports, or one that is not looked into.
    Opaque,
}

/// One packet, as it stands at one point of its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The source address.
    pub source: IpAddr,
    /// The destination address; of the same family as the source.
    pub destination: IpAddr,
    /// The upper-layer protocol's number.
    pub protocol: u8,
    /// Ports, or ICMP type and code.
    pub transport: Transport,
    /// The TCP flags; zero for other protocols.
    pub tcp_flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class; the upper six bits are the DSCP.
    pub tos: u8,
    /// The length in bytes as the `length` match sees it, where it is known.
    pub length: Option<u16>,
    /// The packet mark (`nfmark`).
    pub mark: u32,
}

impl Packet {
    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// The source port, or the echo identifier, which NAT treats as one.
    #[must_use]
    pub fn source_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Ports { source, .. } => Some(source),
            Transport::Icmp { .. } | Transport::Opaque => None,
        }
    }

    /// The destination port.
    #[must_use]
    pub fn destination_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Ports { destination, .. } => Some(destination),
            Transport::Icmp { .. } | Transport::Opaque => None,
        }
    }

    /// Sets the source port of a packet that has one.
    pub fn set_source_port(&mut self, port: u16) {
        if let Transport::Ports { source, .. } = &mut self.transport {
            *source = port;
        }
    }

    /// Sets the destination port of a packet that has one.
    pub fn set_destination_port(&mut self, port: u16) {
        if let Transport::Ports { destination, .. } = &mut self.transport {
            *destination = port;
        }
    }
}
