//! Ethernet frames with what the lab puts into them and reads out of them: ARP and whole IPv4 and
//! IPv6 packets with TCP, UDP, ICMP or nothing that is looked into.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::packet::protocol;
use serde::{Deserialize, Serialize};

/// A hardware address.
pub(crate) type Mac = [u8; 6];

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A frame on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    pub(crate) content: Content,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Packet(WirePacket),
    Arp(Arp),
    /// Nothing that the lab looks into.
    Other,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) operation: u16,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

/// Whether the checksum of the upper layer is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Right,
    Wrong,
}

/// A packet on a wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WirePacket {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) body: Body,
}

/// The upper layer of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    Tcp {
        ports: (u16, u16),
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    },
    Udp {
        ports: (u16, u16),
    },
    Icmp {
        kind: u8,
        code: u8,
        /// Identifier and sequence number of a query.
        rest: (u16, u16),
        /// The packet that an error is about.
        about: Option<Box<WirePacket>>,
    },
    Opaque,
}

/// What every TCP segment and datagram of the lab carries.
const PAYLOAD: [u8; 8] = *b"nattrace";

impl Frame {
    /// The bytes on the wire.
    pub(crate) fn encode(&self, checksum: Checksum) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(self.destination);
        bytes.extend(self.source);
        match &self.content {
            Content::Packet(packet) => {
                let kind = if packet.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
                bytes.extend(kind.to_be_bytes());
                bytes.extend(packet.encode(checksum));
            }
            Content::Arp(arp) => {
                bytes.extend(ETHERTYPE_ARP.to_be_bytes());
                bytes.extend([0, 1, 8, 0, 6, 4]);
                bytes.extend(arp.operation.to_be_bytes());
                for (mac, address) in [arp.sender, arp.target] {
                    bytes.extend(mac);
                    bytes.extend(address.octets());
                }
            }
            Content::Other => {}
        }
        bytes
    }

    /// Reads a frame; `None` where it is cut short.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (destination, bytes) = bytes.split_first_chunk::<6>()?;
        let (source, bytes) = bytes.split_first_chunk::<6>()?;
        let (kind, bytes) = bytes.split_first_chunk::<2>()?;
        let content = match u16::from_be_bytes(*kind) {
            ETHERTYPE_IPV4 => WirePacket::decode4(bytes).map(Content::Packet),
            ETHERTYPE_IPV6 => WirePacket::decode6(bytes).map(Content::Packet),
            ETHERTYPE_ARP => Arp::decode(bytes).map(Content::Arp),
            _ => None,
        };
        let content = content.unwrap_or(Content::Other);
        Some(Self { destination: *destination, source: *source, content })
    }
}

impl Arp {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (_, bytes) = bytes.split_first_chunk::<6>()?;
        let (operation, bytes) = bytes.split_first_chunk::<2>()?;
        let (sender_mac, bytes) = bytes.split_first_chunk::<6>()?;
        let (sender, bytes) = bytes.split_first_chunk::<4>()?;
        let (target_mac, bytes) = bytes.split_first_chunk::<6>()?;
        let (target, _) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            operation: u16::from_be_bytes(*operation),
            sender: (*sender_mac, Ipv4Addr::from(*sender)),
            target: (*target_mac, Ipv4Addr::from(*target)),
        })
    }
}

impl WirePacket {
    fn encode(&self, checksum: Checksum) -> Vec<u8> {
        let body = self.body.encode(self, checksum);
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(40 + body.len());
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend([0x45, self.tos]);
                bytes.extend((length + 20).to_be_bytes());
                bytes.extend([0x12, 0x34, 0, 0, self.ttl, self.protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                let sum = internet_checksum(&[&bytes]);
                put(&mut bytes, 10, sum);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([self.protocol, self.ttl]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        bytes.extend(body);
        bytes
    }

    fn decode4(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<20>()?;
        let [first, tos, _, _, _, _, _, _, ttl, protocol, _, _, addresses @ ..] = *header;
        let [a, b, c, d, e, f, g, h] = addresses;
        let body = bytes.get(usize::from(first & 0xf) * 4..)?;
        Some(Self {
            source: Ipv4Addr::new(a, b, c, d).into(),
            destination: Ipv4Addr::new(e, f, g, h).into(),
            protocol,
            ttl,
            tos,
            body: Body::decode(protocol, body),
        })
    }

    fn decode6(bytes: &[u8]) -> Option<Self> {
        let (header, bytes) = bytes.split_first_chunk::<8>()?;
        let [first, second, _, _, _, _, protocol, ttl] = *header;
        let (source, bytes) = bytes.split_first_chunk::<16>()?;
        let (destination, body) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            source: Ipv6Addr::from(*source).into(),
            destination: Ipv6Addr::from(*destination).into(),
            protocol,
            ttl,
            tos: first << 4 | second >> 4,
            body: Body::decode(protocol, body),
        })
    }

    /// Sum over what TCP, UDP and ICMPv6 checksum besides themselves.
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            (source, destination) => {
                for address in [source, destination] {
                    if let IpAddr::V6(address) = address {
                        bytes.extend(address.octets());
                    }
                }
            }
        }
        bytes.extend([0, self.protocol]);
        bytes.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
        bytes
    }

    /// Source and destination port, where it has them.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match self.body {
            Body::Tcp { ports, .. } | Body::Udp { ports } => Some(ports),
            Body::Icmp { .. } | Body::Opaque => None,
        }
    }
}

impl Body {
    fn encode(&self, packet: &WirePacket, checksum: Checksum) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let (at, pseudo) = match self {
            Self::Tcp { ports, flags, sequence, acknowledgement } => {
                bytes.extend(ports.0.to_be_bytes());
                bytes.extend(ports.1.to_be_bytes());
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(acknowledgement.to_be_bytes());
                bytes.extend([0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                (16, true)
            }
            Self::Udp { ports } => {
                bytes.extend(ports.0.to_be_bytes());
                bytes.extend(ports.1.to_be_bytes());
                let length = u16::try_from(8 + PAYLOAD.len()).unwrap_or(8);
                bytes.extend(length.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(PAYLOAD);
                (6, true)
            }
            Self::Icmp { kind, code, rest, about } => {
                bytes.extend([*kind, *code, 0, 0]);
                bytes.extend(rest.0.to_be_bytes());
                bytes.extend(rest.1.to_be_bytes());
                match about {
                    Some(about) => bytes.extend(about.encode(Checksum::Right)),
                    None => bytes.extend(PAYLOAD),
                }
                (2, packet.source.is_ipv6())
            }
            // A GRE header of version 0.
            Self::Opaque if packet.protocol == 47 => return vec![0; PAYLOAD.len()],
            Self::Opaque => return PAYLOAD.to_vec(),
        };
        let header = if pseudo { packet.pseudo_header(bytes.len()) } else { Vec::new() };
        let mut sum = internet_checksum(&[&header, &bytes]);
        if checksum == Checksum::Wrong {
            sum ^= 0x0101;
        }
        if sum == 0 && matches!(self, Self::Udp { .. }) {
            sum = 0xffff;
        }
        put(&mut bytes, at, sum);
        bytes
    }

    fn decode(number: u8, bytes: &[u8]) -> Self {
        Self::decode_known(number, bytes).unwrap_or(Self::Opaque)
    }

    fn decode_known(number: u8, bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
        let long = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        match number {
            protocol::TCP => Some(Self::Tcp {
                ports: (word(0)?, word(2)?),
                flags: *bytes.get(13)?,
                sequence: long(4)?,
                acknowledgement: long(8)?,
            }),
            protocol::UDP => Some(Self::Udp { ports: (word(0)?, word(2)?) }),
            protocol::ICMP | protocol::ICMPV6 => {
                let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
                let error = match number {
                    protocol::ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
                    _ => kind < 128,
                };
                let inner = bytes.get(8..).unwrap_or(&[]);
                let about = match (error, number) {
                    (false, _) => None,
                    (true, protocol::ICMP) => WirePacket::decode4(inner).map(Box::new),
                    (true, _) => WirePacket::decode6(inner).map(Box::new),
                };
                Some(Self::Icmp { kind, code, rest: (word(4)?, word(6)?), about })
            }
            _ => None,
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// RFC 1071.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            };
            sum += u32::from(word);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

impl fmt::Display for WirePacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, ttl, tos, .. } = self;
        write!(f, "{source} > {destination} ttl {ttl} tos {tos:#x} ")?;
        match &self.body {
            Body::Tcp { ports, flags, .. } => {
                write!(f, "tcp {} > {} flags {flags:#04x}", ports.0, ports.1)
            }
            Body::Udp { ports } => write!(f, "udp {} > {}", ports.0, ports.1),
            Body::Icmp { kind, code, about, .. } => {
                write!(f, "icmp {kind}/{code}")?;
                match about {
                    Some(about) => write!(f, " about ({about})"),
                    None => Ok(()),
                }
            }
            Body::Opaque => write!(f, "protocol {}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Vec<(u8, Body)> {
        vec![
            (
                protocol::TCP,
                Body::Tcp { ports: (40000, 80), flags: 2, sequence: 7, acknowledgement: 9 },
            ),
            (protocol::UDP, Body::Udp { ports: (40000, 53) }),
            (protocol::ICMP, Body::Icmp { kind: 8, code: 0, rest: (1, 2), about: None }),
            (200, Body::Opaque),
        ]
    }

    fn packet(family: u8, protocol: u8, body: Body) -> WirePacket {
        let (source, destination) = match family {
            4 => ("10.0.1.2", "203.0.113.9"),
            _ => ("fd00::2", "2001:db8::9"),
        };
        WirePacket {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            ttl: 63,
            tos: 0x28,
            body,
        }
    }

    // decode(encode(x)) = x
    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for family in [4, 6] {
            for (protocol, body) in bodies() {
                if family == 6 && protocol == protocol::ICMP {
                    continue;
                }
                let content = Content::Packet(packet(family, protocol, body));
                let frame = Frame { destination: [1; 6], source: [2; 6], content };
                assert_eq!(Frame::decode(&frame.encode(Checksum::Right)), Some(frame));
            }
        }
    }

    #[test]
    fn checksums_add_up_to_nothing() {
        let packet = packet(4, protocol::UDP, Body::Udp { ports: (1, 2) });
        let body = packet.body.encode(&packet, Checksum::Right);
        let whole = internet_checksum(&[&packet.pseudo_header(body.len()), &body]);
        assert_eq!(whole, 0);
        let wrong = packet.body.encode(&packet, Checksum::Wrong);
        assert_ne!(internet_checksum(&[&packet.pseudo_header(wrong.len()), &wrong]), 0);
    }

    #[test]
    fn what_is_cut_short_is_no_frame() {
        assert_eq!(Frame::decode(&[0; 11]), None);
        let frame = Frame { destination: [1; 6], source: [2; 6], content: Content::Other };
        let mut bytes = frame.encode(Checksum::Right);
        bytes.extend(ETHERTYPE_IPV4.to_be_bytes());
        bytes.extend([0x45; 10]);
        assert_eq!(Frame::decode(&bytes).map(|frame| frame.content), Some(Content::Other));
    }
}
