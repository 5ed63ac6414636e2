//! Packets in fragments: how the lab cuts what it sends, and puts together what leaves.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::frame::WirePacket;

/// How a packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cut {
    /// How many fragments it makes: two or more.
    pub(crate) pieces: u8,
    /// How many bytes each but the last carries: a multiple of eight.
    pub(crate) size: u16,
    pub(crate) order: Order,
    /// The number of a fragment that is lost under way.
    pub(crate) lost: Option<u8>,
}

/// In which order fragments are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// The first one first.
    Forward,
    /// The last one first.
    Backward,
    /// The first one last, the others in order.
    Rotated,
}

/// How many bytes the last fragment carries: no multiple of eight, as it need not be one.
const LAST: usize = 12;

impl Cut {
    /// How many bytes stand behind the IP header of a packet that is cut so.
    pub(crate) fn length(self) -> usize {
        let others = usize::from(self.pieces).saturating_sub(1);
        usize::from(self.size) * others + LAST
    }

    /// The fragments of what stands behind the IP header, in the order in which they are sent.
    pub(crate) fn apply(self, bytes: &[u8]) -> Vec<Piece> {
        let size = usize::from(self.size).max(8);
        let mut pieces: Vec<Piece> = Vec::new();
        for (number, chunk) in (0..self.pieces).zip(bytes.chunks(size)) {
            let offset = self.size.saturating_mul(u16::from(number));
            let more = number + 1 < self.pieces;
            pieces.push(Piece { offset, more, bytes: chunk.to_vec() });
        }
        if let Some(lost) = self.lost.map(usize::from).filter(|lost| *lost < pieces.len()) {
            pieces.remove(lost);
        }
        match self.order {
            Order::Forward => {}
            Order::Backward => pieces.reverse(),
            Order::Rotated => pieces.rotate_left(1),
        }
        pieces
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pieces, size, order, lost } = self;
        write!(f, "in {pieces} fragments of {size} bytes, {order:?}")?;
        match lost {
            Some(lost) => write!(f, ", without number {lost}"),
            None => Ok(()),
        }
    }
}

/// What one fragment carries, and where that belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u16,
    pub(crate) more: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A fragment on a wire: the packet that it is a part of, as its own header tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) packet: WirePacket,
    pub(crate) identification: u32,
    pub(crate) piece: Piece,
}

impl Fragment {
    /// What the fragments of one packet have in common.
    fn key(&self) -> (IpAddr, IpAddr, u8, u32) {
        let WirePacket { source, destination, protocol, .. } = self.packet;
        (source, destination, protocol, self.identification)
    }

    /// Whether both are of one packet.
    pub(crate) fn belongs_to(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

/// The packet that fragments make up; `None` where some are missing.
pub(crate) fn whole(fragments: &[Fragment]) -> Option<WirePacket> {
    let mut sorted: Vec<&Fragment> = fragments.iter().collect();
    sorted.sort_by_key(|fragment| fragment.piece.offset);
    let (first, last) = (sorted.first()?, sorted.last()?);
    let mut bytes = Vec::new();
    for fragment in &sorted {
        if usize::from(fragment.piece.offset) != bytes.len() {
            return None;
        }
        bytes.extend(&fragment.piece.bytes);
    }
    if last.piece.more {
        return None;
    }
    Some(first.packet.with_body(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::frame::{Body, Checksum, Content, Frame};
    use nattrace_model::packet::protocol;

    fn cuts() -> Vec<Cut> {
        let mut cuts = Vec::new();
        for order in [Order::Forward, Order::Backward, Order::Rotated] {
            for (pieces, size) in [(2, 24), (3, 24), (4, 1400), (2, 1232)] {
                cuts.push(Cut { pieces, size, order, lost: None });
            }
        }
        cuts
    }

    fn frame(family: u8) -> Frame {
        let (source, destination) = match family {
            4 => ("10.0.1.2", "203.0.113.9"),
            _ => ("fd00::2", "2001:db8::9"),
        };
        let body = Body::Tcp { ports: (40000, 80), flags: 2, sequence: 7, acknowledgement: 9 };
        let packet = WirePacket {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: protocol::TCP,
            ttl: 63,
            tos: 0x28,
            body,
        };
        Frame { destination: [1; 6], source: [2; 6], content: Content::Packet(packet) }
    }

    fn sent(frame: &Frame, cut: Cut) -> Vec<Fragment> {
        let frames = frame.encode_cut(Checksum::Right, cut, 77);
        let decoded = frames.iter().map(|bytes| Frame::decode(bytes).unwrap().content);
        let fragment = |content| match content {
            Content::Fragment(fragment) => fragment,
            other => panic!("no fragment: {other:?}"),
        };
        decoded.map(fragment).collect()
    }

    // whole(cut(x)) = x
    #[test]
    fn what_is_cut_is_put_together_again() {
        for family in [4, 6] {
            for cut in cuts() {
                let frame = frame(family);
                let fragments = sent(&frame, cut);
                assert_eq!(fragments.len(), usize::from(cut.pieces));
                assert!(fragments.windows(2).all(|two| two[0].belongs_to(&two[1])));
                let whole = whole(&fragments).expect("nothing is missing");
                assert_eq!(Content::Packet(whole), frame.content);
            }
        }
    }

    #[test]
    fn without_one_there_is_no_whole() {
        for cut in cuts() {
            for lost in 0..cut.pieces {
                let fragments = sent(&frame(4), Cut { lost: Some(lost), ..cut });
                assert_eq!(fragments.len(), usize::from(cut.pieces) - 1);
                assert_eq!(whole(&fragments), None);
            }
        }
    }
}
