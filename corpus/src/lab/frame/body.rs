//! The upper layers of packets: TCP, UDP, UDP-Lite, SCTP, ICMP, or nothing that is looked into.

use nattrace_model::packet::protocol;
use serde::{Deserialize, Serialize};

use super::{Checksum, WirePacket};

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
    /// With a checksum over everything.
    UdpLite {
        ports: (u16, u16),
    },
    /// One chunk; INIT and INIT ACK bring a tag of their own.
    Sctp {
        ports: (u16, u16),
        /// The verification tag.
        tag: u32,
        chunk: u8,
        /// The tag that INIT and INIT ACK want to be spoken to by.
        initiate: u32,
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

/// Where a checksum stands, and over what it is.
enum Sum {
    /// RFC 1071, over this and the pseudo header.
    Internet(usize),
    /// RFC 1071, over this alone.
    Alone(usize),
    /// CRC-32C.
    Castagnoli(usize),
}

impl Body {
    /// The bytes behind the IP header: so many at least where there is a payload.
    pub(super) fn encode(
        &self,
        packet: &WirePacket,
        checksum: Checksum,
        at_least: usize,
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        let mut ports = |(source, destination): (u16, u16)| {
            bytes.extend(source.to_be_bytes());
            bytes.extend(destination.to_be_bytes());
        };
        match self {
            Self::Tcp { ports: both, .. }
            | Self::Udp { ports: both }
            | Self::UdpLite { ports: both }
            | Self::Sctp { ports: both, .. } => ports(*both),
            Self::Icmp { .. } | Self::Opaque => {}
        }
        let sum = match self {
            Self::Tcp { flags, sequence, acknowledgement, .. } => {
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(acknowledgement.to_be_bytes());
                bytes.extend([0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                fill(&mut bytes, at_least);
                Sum::Internet(16)
            }
            Self::Udp { .. } => {
                bytes.extend([0; 4]);
                bytes.extend(PAYLOAD);
                fill(&mut bytes, at_least);
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                put(&mut bytes, 4, length);
                Sum::Internet(6)
            }
            Self::UdpLite { .. } => {
                bytes.extend([0; 4]);
                bytes.extend(PAYLOAD);
                fill(&mut bytes, at_least);
                Sum::Internet(6)
            }
            Self::Sctp { tag, chunk, initiate, .. } => {
                bytes.extend(tag.to_be_bytes());
                bytes.extend([0; 4]);
                // The chunk must be the only one: what fills it is a parameter of padding.
                let padding = at_least.saturating_sub(32).next_multiple_of(4);
                let length = u16::try_from(20 + padding).unwrap_or(20);
                bytes.extend([*chunk, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend(initiate.to_be_bytes());
                // A window, one stream each way, and the first number.
                bytes.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
                if padding > 0 {
                    bytes.extend([0x80, 0x05]);
                    bytes.extend((length - 20).to_be_bytes());
                    bytes.resize(bytes.len() + padding - 4, 0);
                }
                Sum::Castagnoli(8)
            }
            Self::Icmp { kind, code, rest, about } => {
                bytes.extend([*kind, *code, 0, 0]);
                bytes.extend(rest.0.to_be_bytes());
                bytes.extend(rest.1.to_be_bytes());
                match about {
                    Some(about) => bytes.extend(about.encode(Checksum::Right, 0)),
                    None => bytes.extend(PAYLOAD),
                }
                fill(&mut bytes, at_least);
                if packet.source.is_ipv6() { Sum::Internet(2) } else { Sum::Alone(2) }
            }
            // A GRE header of version 0.
            Self::Opaque if packet.protocol == 47 => return vec![0; at_least.max(PAYLOAD.len())],
            Self::Opaque => {
                bytes.extend(PAYLOAD);
                fill(&mut bytes, at_least);
                return bytes;
            }
        };
        let wrong = checksum == Checksum::Wrong;
        match sum {
            Sum::Internet(at) | Sum::Alone(at) => {
                let header = match sum {
                    Sum::Internet(_) => packet.pseudo_header(bytes.len()),
                    Sum::Alone(_) | Sum::Castagnoli(_) => Vec::new(),
                };
                let mut sum = internet_checksum(&[&header, &bytes]);
                if wrong {
                    sum ^= 0x0101;
                }
                if sum == 0 && matches!(self, Self::Udp { .. } | Self::UdpLite { .. }) {
                    sum = 0xffff;
                }
                put(&mut bytes, at, sum);
            }
            Sum::Castagnoli(at) => {
                let sum = castagnoli(&bytes) ^ if wrong { 0x0101 } else { 0 };
                if let Some(place) = bytes.get_mut(at..at + 4) {
                    place.copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
        bytes
    }

    pub(super) fn decode(number: u8, bytes: &[u8]) -> Self {
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
            protocol::UDPLITE => Some(Self::UdpLite { ports: (word(0)?, word(2)?) }),
            protocol::SCTP => Some(Self::Sctp {
                ports: (word(0)?, word(2)?),
                tag: long(4)?,
                chunk: *bytes.get(12)?,
                initiate: long(16)?,
            }),
            protocol::ICMP | protocol::ICMPV6 => {
                let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
                let error = match number {
                    protocol::ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
                    _ => kind < 128,
                };
                let inner = bytes.get(8..).unwrap_or(&[]);
                let about = match (error, number) {
                    (false, _) => None,
                    (true, protocol::ICMP) => WirePacket::quoted(inner, 4).map(Box::new),
                    (true, _) => WirePacket::quoted(inner, 6).map(Box::new),
                };
                Some(Self::Icmp { kind, code, rest: (word(4)?, word(6)?), about })
            }
            _ => None,
        }
    }
}

/// Payload until there is enough.
fn fill(bytes: &mut Vec<u8>, at_least: usize) {
    let missing = at_least.saturating_sub(bytes.len());
    bytes.extend(PAYLOAD.iter().cycle().take(missing));
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// RFC 1071.
pub(crate) fn internet_checksum(parts: &[&[u8]]) -> u16 {
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

/// CRC-32C, bit by bit (RFC 9260 appendix A).
fn castagnoli(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low != 0 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3720 section B.4.
    #[test]
    fn a_known_cyclic_redundancy_check() {
        assert_eq!(castagnoli(&[0; 32]), 0x8a91_36aa);
        assert_eq!(castagnoli(&[0xff; 32]), 0x62a8_ab43);
    }
}
