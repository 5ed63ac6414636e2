//! Connections as connection tracking sees them: two tuples, and one transform for each direction.

use std::net::IpAddr;

use crate::condition::{Direction, connection_state, connection_status};
use crate::hook::Hook;
use crate::packet::{Packet, Transport, protocol, tcp_flag};
use crate::simulate::drawn::Drawn;

/// What tells the packets of one connection and direction from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
}

/// The type of the answer to an ICMP or ICMPv6 query (`invmap` of nf_conntrack_proto_icmp.c).
pub(crate) fn answer_type(protocol: u8, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (protocol::ICMP, 8) => Some(0),
        (protocol::ICMP, 0) => Some(8),
        (protocol::ICMP, 13 | 15 | 17) => Some(kind + 1),
        (protocol::ICMP, 14 | 16 | 18) => Some(kind - 1),
        (protocol::ICMPV6, 128) => Some(129),
        (protocol::ICMPV6, 129) => Some(128),
        (protocol::ICMPV6, 139) => Some(140),
        (protocol::ICMPV6, 140) => Some(139),
        _ => None,
    }
}

impl Tuple {
    /// The tuple of a packet.
    pub(crate) fn of(packet: &Packet) -> Self {
        Self {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            transport: packet.transport,
        }
    }

    /// The tuple of an answer.
    pub(crate) fn inverted(&self) -> Self {
        let transport = match self.transport {
            Transport::Ports { source, destination } => {
                Transport::Ports { source: destination, destination: source }
            }
            Transport::Icmp { kind, code, id } => {
                Transport::Icmp { kind: answer_type(self.protocol, kind).unwrap_or(kind), code, id }
            }
            Transport::Opaque => Transport::Opaque,
        };
        Self { source: self.destination, destination: self.source, transport, ..*self }
    }

    /// Source and destination port; an echo's identifier counts as its source port.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Ports { source, destination } => Some((source, destination)),
            Transport::Icmp { kind, code, id } => Some((id, u16::from_be_bytes([kind, code]))),
            Transport::Opaque => None,
        }
    }

    /// With another address at an end.
    pub(crate) fn with_address(mut self, manip: Manip, address: IpAddr) -> Self {
        match manip {
            Manip::Source => self.source = address,
            Manip::Destination => self.destination = address,
        }
        self
    }

    /// With another port at an end, where there are any.
    pub(crate) fn with_port(mut self, manip: Manip, port: u16) -> Self {
        match (manip, &mut self.transport) {
            (Manip::Source, Transport::Ports { source, .. }) => *source = port,
            (Manip::Destination, Transport::Ports { destination, .. }) => *destination = port,
            (_, Transport::Icmp { .. } | Transport::Opaque) => {}
        }
        self
    }
}

/// Which end of a packet NAT rewrites (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manip {
    Source,
    Destination,
}

impl Manip {
    /// What is rewritten at a hook (`HOOK2MANIP`).
    pub(crate) fn of(hook: Hook) -> Self {
        match hook {
            Hook::Postrouting | Hook::Input => Self::Source,
            Hook::Prerouting | Hook::Output | Hook::Forward => Self::Destination,
        }
    }
}

/// Whether a connection is kept when the table overflows (`IPS_ASSURED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assured {
    No,
    Yes,
    /// It depends on how long packets have gone both ways.
    Unknown,
}

impl Assured {
    /// That of a connection which has seen an answer: TCP's after the handshake, never that of
    /// ICMP; UDP's after two seconds (`nf_conntrack_udp_packet`; measured).
    pub(crate) fn of_established(protocol: u8) -> Self {
        match protocol {
            protocol::TCP => Self::Yes,
            protocol::ICMP | protocol::ICMPV6 => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// One connection. Both directions are derived from its two tuples, so a translation and its
/// reversal cannot disagree.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) source_translated: bool,
    pub(crate) destination_translated: bool,
    source_settled: bool,
    destination_settled: bool,
    pub(crate) seen_reply: bool,
    pub(crate) assured: Assured,
    pub(crate) confirmed: bool,
    /// The ports of the translated packet that were drawn by chance: the tuple then holds ones that
    /// may be drawn.
    pub(crate) drawn: Drawn,
    /// The same of the packet that began it: an answer that another zone tracks goes to such a port.
    pub(crate) begun_with: Drawn,
    pub(crate) mark: u32,
    pub(crate) zone: u16,
    /// The interface by which MASQUERADE had its first packet leave.
    pub(crate) masqueraded_by: Option<Box<str>>,
}

impl Connection {
    /// The connection that a packet begins.
    pub(crate) fn begin(packet: &Packet, zone: u16) -> Self {
        let original = Tuple::of(packet);
        Self {
            original,
            reply: original.inverted(),
            source_translated: false,
            destination_translated: false,
            source_settled: false,
            destination_settled: false,
            seen_reply: false,
            assured: Assured::No,
            confirmed: false,
            drawn: Drawn::default(),
            begun_with: Drawn::default(),
            mark: 0,
            zone,
            masqueraded_by: None,
        }
    }

    /// The same for a packet of which ports were drawn.
    pub(crate) fn begun_with(self, drawn: Drawn) -> Self {
        Self { drawn, begun_with: drawn, ..self }
    }

    /// The direction that a packet travels in this connection, if it belongs to it.
    pub(crate) fn direction_of(&self, packet: &Packet, zone: u16) -> Option<Direction> {
        if zone != self.zone {
            return None;
        }
        let tuple = Tuple::of(packet);
        // kernel-facts K32: where both are the same.
        if tuple == self.reply {
            Some(Direction::Reply)
        } else if tuple == self.original {
            Some(Direction::Original)
        } else {
            None
        }
    }

    /// The packet in the original direction as it is to be after every mapping so far.
    pub(crate) fn current(&self) -> Tuple {
        self.reply.inverted()
    }

    /// Whether the nat chains were already asked for this end (kernel-facts A2).
    pub(crate) fn is_settled(&self, manip: Manip) -> bool {
        match manip {
            Manip::Source => self.source_settled,
            Manip::Destination => self.destination_settled,
        }
    }

    /// Leaves an end as it is, for good (a null binding, kernel-facts G3).
    pub(crate) fn settle(&mut self, manip: Manip) {
        match manip {
            Manip::Source => self.source_settled = true,
            Manip::Destination => self.destination_settled = true,
        }
    }

    /// Maps an end (`nf_nat_setup_info`). The status says translated only where something changed.
    pub(crate) fn map(&mut self, manip: Manip, address: IpAddr, port: Option<u16>) {
        self.settle(manip);
        let before = self.current();
        let mut after = before.with_address(manip, address);
        if let Some(port) = port {
            after = after.with_port(manip, port);
        }
        if after != before {
            self.reply = after.inverted();
            match manip {
                Manip::Source => self.source_translated = true,
                Manip::Destination => self.destination_translated = true,
            }
        }
    }

    /// Rewrites a packet of this connection at a hook (`nf_nat_packet`).
    pub(crate) fn translate(&self, packet: &mut Packet, hook: Hook, direction: Direction) {
        let manip = Manip::of(hook);
        // A reply is un-done at the opposite hook: source NAT where destinations are rewritten.
        let concerned = match (manip, direction) {
            (Manip::Source, Direction::Original) | (Manip::Destination, Direction::Reply) => {
                self.source_translated
            }
            (Manip::Destination, Direction::Original) | (Manip::Source, Direction::Reply) => {
                self.destination_translated
            }
        };
        if !concerned {
            return;
        }
        let target = match direction {
            Direction::Original => self.reply.inverted(),
            Direction::Reply => self.original.inverted(),
        };
        let same_protocol = packet.protocol == target.protocol;
        match manip {
            Manip::Source => {
                packet.source = target.source;
                if let (true, Transport::Ports { source, .. }) = (same_protocol, target.transport) {
                    packet.set_source_port(source);
                }
            }
            Manip::Destination => {
                packet.destination = target.destination;
                if let (true, Transport::Ports { destination, .. }) =
                    (same_protocol, target.transport)
                {
                    packet.set_destination_port(destination);
                }
            }
        }
    }

    /// The bits of [`connection_status`].
    pub(crate) fn status(&self) -> u16 {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        bit(self.seen_reply, connection_status::SEEN_REPLY)
            | bit(self.assured == Assured::Yes, connection_status::ASSURED)
            | bit(self.confirmed, connection_status::CONFIRMED)
    }
}

/// What connection tracking made of a packet (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// Like [`Tracking::None`], but nothing in the raw table can untrack it any more: what the
    /// kernel makes about an untracked packet under way (measured).
    Attached,
    /// Marked by `CT` for the connection that tracking will find or begin: nothing in the raw table
    /// can mark it again, and rules there see NEW (`xt_ct_target`; measured).
    Template,
    /// Not looked at: in the raw table, or where nothing needs connections. Rules that ask see
    /// INVALID (kernel-facts F6).
    None,
    /// Part of the connection with this index.
    Tracked {
        /// Index into the run's connections.
        connection: usize,
        /// NEW, RELATED or ESTABLISHED.
        state: TrackedState,
        /// Which way.
        direction: Direction,
    },
    /// Can't be placed; bypasses NAT (kernel-facts F2).
    Invalid,
    /// Told not to be tracked (kernel-facts F7).
    Untracked,
}

/// The state of a tracked packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackedState {
    New,
    Related,
    Established,
}

impl Tracking {
    /// The bits of [`connection_state`] without SNAT and DNAT.
    pub(crate) fn state(self) -> u16 {
        match self {
            Self::None | Self::Attached | Self::Invalid => connection_state::INVALID,
            Self::Untracked => connection_state::UNTRACKED,
            Self::Template => connection_state::NEW,
            Self::Tracked { state: TrackedState::New, .. } => connection_state::NEW,
            Self::Tracked { state: TrackedState::Related, .. } => connection_state::RELATED,
            Self::Tracked { state: TrackedState::Established, .. } => connection_state::ESTABLISHED,
        }
    }
}

/// How tracking classes a packet that belongs to no known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstPacket {
    New,
    Invalid,
    Untracked,
}

/// Classes a packet of no known connection (kernel-facts F3, F5, J2).
pub(crate) fn first_packet(packet: &Packet, loose: bool) -> FirstPacket {
    match (packet.protocol, packet.transport) {
        (protocol::TCP, _) => {
            let asks =
                packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN);
            // PSH, URG, ECE and CWR do not matter beside these (`tcp_valid_flags`).
            let begins = asks == tcp_flag::SYN || (asks == tcp_flag::ACK && loose);
            if begins { FirstPacket::New } else { FirstPacket::Invalid }
        }
        (protocol::ICMP, Transport::Icmp { kind: 8 | 13 | 15 | 17, .. }) => FirstPacket::New,
        (protocol::ICMPV6, Transport::Icmp { kind: 128 | 139, .. }) => FirstPacket::New,
        // Neighbour discovery and multicast listener discovery (kernel-facts J2).
        (protocol::ICMPV6, Transport::Icmp { kind: 130..=136 | 143, .. }) => FirstPacket::Untracked,
        (protocol::ICMP | protocol::ICMPV6, _) => FirstPacket::Invalid,
        _ => FirstPacket::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet {
            source: "10.0.1.2".parse().unwrap(),
            destination: "203.0.113.2".parse().unwrap(),
            protocol: protocol::TCP,
            transport: Transport::Ports { source: 40000, destination: 8080 },
            tcp_flags: tcp_flag::SYN,
            ttl: 64,
            tos: 0,
            length: None,
            mark: 0,
        }
    }

    // The reply of the reply is the original: whatever both ends are mapped to, the answer to the
    // translated packet comes back as the answer to the packet that was sent.
    #[test]
    fn the_answer_is_translated_back() {
        let sent = packet();
        let mut connection = Connection::begin(&sent, 0);
        connection.map(Manip::Destination, "172.17.0.2".parse().unwrap(), Some(80));
        connection.map(Manip::Source, "172.17.0.1".parse().unwrap(), Some(1024));
        let mut seen = sent.clone();
        connection.translate(&mut seen, Hook::Prerouting, Direction::Original);
        connection.translate(&mut seen, Hook::Postrouting, Direction::Original);
        assert_eq!(Tuple::of(&seen), connection.current());

        let mut answer = seen.clone();
        let inverted = Tuple::of(&seen).inverted();
        answer.source = inverted.source;
        answer.destination = inverted.destination;
        answer.transport = inverted.transport;
        assert_eq!(connection.direction_of(&answer, 0), Some(Direction::Reply));
        connection.translate(&mut answer, Hook::Prerouting, Direction::Reply);
        connection.translate(&mut answer, Hook::Postrouting, Direction::Reply);
        assert_eq!(Tuple::of(&answer), Tuple::of(&sent).inverted());
    }

    #[test]
    fn a_mapping_to_the_same_is_no_translation() {
        let mut connection = Connection::begin(&packet(), 0);
        connection.map(Manip::Source, packet().source, None);
        assert!(connection.is_settled(Manip::Source));
        assert!(!connection.source_translated);
    }

    // kernel-facts F3
    #[test]
    fn tcp_packets_of_no_connection() {
        let class = |flags| first_packet(&Packet { tcp_flags: flags, ..packet() }, true);
        use tcp_flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
        for new in
            [SYN, SYN | PSH, SYN | URG, ACK | URG, SYN | ECE, SYN | ECE | CWR, ACK, ACK | PSH]
        {
            assert_eq!(class(new), FirstPacket::New, "{new:#x}");
        }
        for invalid in [
            SYN | ACK,
            SYN | ACK | PSH,
            RST,
            RST | ACK,
            FIN,
            FIN | ACK,
            0,
            PSH,
            URG,
            SYN | FIN,
            SYN | RST,
            0xff,
        ] {
            assert_eq!(class(invalid), FirstPacket::Invalid, "{invalid:#x}");
        }
        assert_eq!(
            first_packet(&Packet { tcp_flags: ACK, ..packet() }, false),
            FirstPacket::Invalid
        );
    }

    // kernel-facts F5, J2
    #[test]
    fn icmp_packets_of_no_connection() {
        let class = |protocol, kind| {
            let transport = Transport::Icmp { kind, code: 0, id: 1 };
            first_packet(&Packet { protocol, transport, ..packet() }, true)
        };
        for (kind, expected) in [
            (8, FirstPacket::New),
            (13, FirstPacket::New),
            (0, FirstPacket::Invalid),
            (3, FirstPacket::Invalid),
        ] {
            assert_eq!(class(protocol::ICMP, kind), expected, "{kind}");
        }
        for (kind, expected) in [
            (128, FirstPacket::New),
            (135, FirstPacket::Untracked),
            (143, FirstPacket::Untracked),
            (137, FirstPacket::Invalid),
            (129, FirstPacket::Invalid),
        ] {
            assert_eq!(class(protocol::ICMPV6, kind), expected, "{kind}");
        }
    }
}
