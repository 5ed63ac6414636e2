//! Ethernet frames with what the lab puts into them and reads out of them: ARP and IPv4 and IPv6
//! packets, whole and in fragments.

mod body;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::fragment::{Cut, Fragment, Piece};
pub(crate) use body::{Body, internet_checksum, put};

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
    Fragment(Fragment),
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

impl Frame {
    /// The bytes on the wire.
    pub(crate) fn encode(&self, checksum: Checksum) -> Vec<u8> {
        match &self.content {
            Content::Packet(packet) => self.carrying(packet, &packet.encode(checksum, 0)),
            Content::Arp(arp) => {
                let mut bytes = self.header(ETHERTYPE_ARP);
                bytes.extend([0, 1, 8, 0, 6, 4]);
                bytes.extend(arp.operation.to_be_bytes());
                for (mac, address) in [arp.sender, arp.target] {
                    bytes.extend(mac);
                    bytes.extend(address.octets());
                }
                bytes
            }
            Content::Fragment(_) | Content::Other => {
                let mut bytes = self.header(0);
                bytes.truncate(12);
                bytes
            }
        }
    }

    /// The fragments on the wire, in the order in which they are sent.
    pub(crate) fn encode_cut(&self, checksum: Checksum, cut: Cut, number: u32) -> Vec<Vec<u8>> {
        let Content::Packet(packet) = &self.content else { return Vec::new() };
        let body = packet.body.encode(packet, checksum, cut.length());
        let pieces = cut.apply(&body).into_iter();
        pieces.map(|piece| self.carrying(packet, &packet.encode_piece(&piece, number))).collect()
    }

    fn header(&self, kind: u16) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(self.destination);
        bytes.extend(self.source);
        bytes.extend(kind.to_be_bytes());
        bytes
    }

    fn carrying(&self, packet: &WirePacket, bytes: &[u8]) -> Vec<u8> {
        let kind = if packet.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let mut frame = self.header(kind);
        frame.extend(bytes);
        frame
    }

    /// Reads a frame; `None` where it is cut short.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (destination, bytes) = bytes.split_first_chunk::<6>()?;
        let (source, bytes) = bytes.split_first_chunk::<6>()?;
        let (kind, bytes) = bytes.split_first_chunk::<2>()?;
        let content = match u16::from_be_bytes(*kind) {
            ETHERTYPE_IPV4 => decode4(bytes),
            ETHERTYPE_IPV6 => decode6(bytes),
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
    fn encode(&self, checksum: Checksum, at_least: usize) -> Vec<u8> {
        let body = self.body.encode(self, checksum, at_least);
        let mut bytes = self.encode_header(body.len(), 0x1234, 0, self.protocol);
        bytes.extend(body);
        bytes
    }

    fn encode_piece(&self, piece: &Piece, number: u32) -> Vec<u8> {
        let Piece { offset, more, bytes: carried } = piece;
        let more = u16::from(*more);
        let mut bytes = match self.source {
            IpAddr::V4(_) => {
                let identification = u16::try_from(number & 0xffff).unwrap_or(0);
                let word = more << 13 | offset >> 3;
                self.encode_header(carried.len(), identification, word, self.protocol)
            }
            IpAddr::V6(_) => {
                let mut bytes = self.encode_header(8 + carried.len(), 0, 0, FRAGMENT_HEADER);
                bytes.extend([self.protocol, 0]);
                bytes.extend((offset & !7 | more).to_be_bytes());
                bytes.extend(number.to_be_bytes());
                bytes
            }
        };
        bytes.extend(carried);
        bytes
    }

    /// The IP header before so many bytes; of IPv4 with identification, flags and offset.
    fn encode_header(&self, length: usize, identification: u16, word: u16, next: u8) -> Vec<u8> {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(40 + usize::from(length));
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend([0x45, self.tos]);
                bytes.extend(length.saturating_add(20).to_be_bytes());
                bytes.extend(identification.to_be_bytes());
                bytes.extend(word.to_be_bytes());
                bytes.extend([self.ttl, next, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                let sum = internet_checksum(&[&bytes]);
                put(&mut bytes, 10, sum);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([next, self.ttl]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        bytes
    }

    /// The same with an upper layer that is read from these bytes.
    pub(crate) fn with_body(&self, bytes: &[u8]) -> Self {
        Self { body: Body::decode(self.protocol, bytes), ..self.clone() }
    }

    fn decode4(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, _) = bytes.split_first_chunk::<20>()?;
        let [first, tos, a, b, _, _, _, _, ttl, protocol, _, _, addresses @ ..] = *header;
        let length = usize::from(u16::from_be_bytes([a, b]));
        let [a, b, c, d, e, f, g, h] = addresses;
        let whole = bytes.get(..length).unwrap_or(bytes);
        let body = whole.get(usize::from(first & 0xf) * 4..)?;
        let packet = Self {
            source: Ipv4Addr::new(a, b, c, d).into(),
            destination: Ipv4Addr::new(e, f, g, h).into(),
            protocol,
            ttl,
            tos,
            body: Body::Opaque,
        };
        Some((packet, body))
    }

    fn decode6(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, bytes) = bytes.split_first_chunk::<8>()?;
        let [first, second, _, _, a, b, protocol, ttl] = *header;
        let (source, bytes) = bytes.split_first_chunk::<16>()?;
        let (destination, body) = bytes.split_first_chunk::<16>()?;
        let body = body.get(..usize::from(u16::from_be_bytes([a, b]))).unwrap_or(body);
        let packet = Self {
            source: Ipv6Addr::from(*source).into(),
            destination: Ipv6Addr::from(*destination).into(),
            protocol,
            ttl,
            tos: first << 4 | second >> 4,
            body: Body::Opaque,
        };
        Some((packet, body))
    }

    /// The packet that an ICMP error quotes.
    fn quoted(bytes: &[u8], version: u8) -> Option<Self> {
        let (packet, body) =
            if version == 4 { Self::decode4(bytes)? } else { Self::decode6(bytes)? };
        Some(packet.with_body(body))
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
            Body::Tcp { ports, .. }
            | Body::Udp { ports }
            | Body::UdpLite { ports }
            | Body::Sctp { ports, .. } => Some(ports),
            Body::Icmp { .. } | Body::Opaque => None,
        }
    }
}

/// The header of a fragment of IPv6.
const FRAGMENT_HEADER: u8 = 44;

fn decode4(bytes: &[u8]) -> Option<Content> {
    let (packet, body) = WirePacket::decode4(bytes)?;
    let word = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let (identification, flags) = (word(4)?, word(6)?);
    let (offset, more) = ((flags & 0x1fff) << 3, flags & 0x2000 != 0);
    if offset == 0 && !more {
        return Some(Content::Packet(packet.with_body(body)));
    }
    let piece = Piece { offset, more, bytes: body.to_vec() };
    Some(Content::Fragment(Fragment { packet, identification: identification.into(), piece }))
}

fn decode6(bytes: &[u8]) -> Option<Content> {
    let (packet, body) = WirePacket::decode6(bytes)?;
    if packet.protocol != FRAGMENT_HEADER {
        return Some(Content::Packet(packet.with_body(body)));
    }
    let (header, body) = body.split_first_chunk::<8>()?;
    let [protocol, _, high, low, identification @ ..] = *header;
    let word = u16::from_be_bytes([high, low]);
    let piece = Piece { offset: word & !7, more: word & 1 != 0, bytes: body.to_vec() };
    let packet = WirePacket { protocol, ..packet };
    let identification = u32::from_be_bytes(identification);
    Some(Content::Fragment(Fragment { packet, identification, piece }))
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
            Body::UdpLite { ports } => write!(f, "udplite {} > {}", ports.0, ports.1),
            Body::Sctp { ports, chunk, .. } => {
                write!(f, "sctp {} > {} chunk {chunk}", ports.0, ports.1)
            }
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
    use nattrace_model::packet::protocol;

    use super::*;

    fn bodies() -> Vec<(u8, Body)> {
        vec![
            (
                protocol::TCP,
                Body::Tcp { ports: (40000, 80), flags: 2, sequence: 7, acknowledgement: 9 },
            ),
            (protocol::UDP, Body::Udp { ports: (40000, 53) }),
            (protocol::ICMP, Body::Icmp { kind: 8, code: 0, rest: (1, 2), about: None }),
            (protocol::UDPLITE, Body::UdpLite { ports: (40000, 53) }),
            (protocol::SCTP, Body::Sctp { ports: (40000, 53), tag: 0, chunk: 1, initiate: 0x1111 }),
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
        let body = packet.body.encode(&packet, Checksum::Right, 0);
        let whole = internet_checksum(&[&packet.pseudo_header(body.len()), &body]);
        assert_eq!(whole, 0);
        let wrong = packet.body.encode(&packet, Checksum::Wrong, 0);
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
