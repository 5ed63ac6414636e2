//! Whether a condition holds for a packet: yes, no, or nobody can say.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::condition::{
    Comparison, Condition, ConnectionCondition, Direction, InterfacePattern, LinkDelivery,
    OwnerCondition, PhysdevCondition, PortSide, Sense, TupleField, Undecided, connection_state,
    connection_status,
};
use crate::host::Host;
use crate::host::route::RouteKind;
use crate::packet::{Packet, Transport, protocol};
use crate::simulate::address_type;
use crate::simulate::connection::{Assured, Connection, TrackedState, Tracking, Tuple};
use crate::simulate::drawn::{Drawn, within};
use crate::simulate::membership;
use crate::simulate::routing::{self, Lookup, LookupResult, User, protocol_of_rpfilter};
use crate::simulate::trip::Maker;
use crate::simulate::values;

/// A three-valued truth (Kleene).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ternary {
    Yes,
    No,
    /// Neither rules nor packet say it.
    May(Undecided),
}

impl From<bool> for Ternary {
    fn from(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }
}

impl Ternary {
    /// Whether either holds.
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match (self, other) {
            (Self::Yes, _) => Self::Yes,
            (Self::No, other) => other(),
            (Self::May(why), other) => match other() {
                Self::Yes => Self::Yes,
                Self::No | Self::May(_) => Self::May(why),
            },
        }
    }

    /// The same under a `!`.
    fn sense(self, sense: Sense) -> Self {
        match (sense, self) {
            (Sense::IsNot, Self::Yes) => Self::No,
            (Sense::IsNot, Self::No) => Self::Yes,
            (_, same) => same,
        }
    }
}

/// A port of a bridge that a frame came in by or goes out by, as br_netfilter remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhysicalPort<'a> {
    /// None: the packet was not bridged, or its port is not known to the kernel.
    None,
    /// Some port of this bridge; which one, no part of a snapshot says.
    Of(&'a str),
}

/// A packet at a hook, with all that a rule may ask about.
pub struct View<'a> {
    pub(crate) host: &'a Host,
    pub(crate) packet: &'a Packet,
    /// Empty where the hook has none.
    pub(crate) in_interface: &'a str,
    /// Empty where the hook has none.
    pub(crate) out_interface: &'a str,
    pub(crate) physical_in: PhysicalPort<'a>,
    pub(crate) physical_out: PhysicalPort<'a>,
    /// Whether a bridge hands the packet from port to port.
    pub(crate) bridged: bool,
    pub(crate) tracking: Tracking,
    pub(crate) connection: Option<&'a Connection>,
    /// The packet's ports that were drawn by chance.
    pub(crate) drawn: Drawn,
    /// The source hardware address, where it is known.
    pub(crate) mac: Option<[u8; 6]>,
    /// Whether a local process sent it.
    pub(crate) local: bool,
    pub(crate) maker: Maker,
    pub(crate) delivery: LinkDelivery,
}

/// Not modelled, or not known of this packet.
const UNKNOWN: Ternary = Ternary::May(Undecided::Unsupported);

impl View<'_> {
    /// Whether all conditions of a rule hold. One that surely fails outweighs those that nobody
    /// can say anything about.
    pub(crate) fn all(&self, conditions: &[Condition]) -> Ternary {
        let mut result = Ternary::Yes;
        for condition in conditions {
            match self.holds(condition) {
                Ternary::Yes => {}
                Ternary::No => return Ternary::No,
                may @ Ternary::May(_) => result = may,
            }
        }
        result
    }

    /// Whether a rule may drop the packet by counting connections: where the packet's own began
    /// before, the kernel does not count it, and where it then knows of none, it drops
    /// (`nf_conncount_add_skb`, `connlimit_mt`; kernel-facts K14).
    #[must_use]
    pub fn may_drop(&self, conditions: &[Condition]) -> bool {
        let counts = |one: &Condition| matches!(one, Condition::Undecided(Undecided::Count { .. }));
        let before = |one: &&Condition| counts(one) || self.holds(one) != Ternary::No;
        self.is_counted_no_more()
            && conditions.iter().any(counts)
            && conditions.iter().take_while(before).any(counts)
    }

    /// Whether the packet's connection has begun with an earlier packet.
    fn is_counted_no_more(&self) -> bool {
        let begins = matches!(self.tracking, Tracking::Tracked { state: TrackedState::New, .. });
        !begins && self.connection.is_some_and(|connection| connection.confirmed)
    }

    /// Whether one condition holds.
    pub(crate) fn holds(&self, condition: &Condition) -> Ternary {
        let packet = self.packet;
        match condition {
            Condition::Source(sense, prefix) => sense.apply(prefix.contains(packet.source)).into(),
            Condition::Destination(sense, prefix) => {
                sense.apply(prefix.contains(packet.destination)).into()
            }
            Condition::InInterface(sense, pattern) => {
                sense.apply(pattern.matches(self.in_interface)).into()
            }
            Condition::OutInterface(sense, pattern) => {
                sense.apply(pattern.matches(self.out_interface)).into()
            }
            Condition::Protocol(sense, protocol) => {
                sense.apply(packet.protocol == *protocol).into()
            }
            // A traced packet is whole (kernel-facts G9).
            Condition::Fragment(sense) => sense.apply(false).into(),
            Condition::Port(sense, side, first, last) => {
                self.port(*sense, *side, &[(*first, *last)])
            }
            Condition::Ports(sense, side, ranges) => self.port(*sense, *side, ranges),
            Condition::TcpFlags { sense, mask, compare } => {
                let equal = packet.tcp_flags & mask == *compare;
                (packet.protocol == protocol::TCP && sense.apply(equal)).into()
            }
            Condition::Icmp { sense, kind, codes } => self.icmp(*sense, *kind, *codes),
            Condition::SourceRange(sense, range) => {
                sense.apply(in_range(packet.source, range)).into()
            }
            Condition::DestinationRange(sense, range) => {
                sense.apply(in_range(packet.destination, range)).into()
            }
            Condition::SourceType(sense, types, limit) => {
                address_type::holds(self, packet.source, *types, *limit).sense(*sense)
            }
            Condition::DestinationType(sense, types, limit) => {
                address_type::holds(self, packet.destination, *types, *limit).sense(*sense)
            }
            Condition::Connection(sense, asked) => self.connection(*sense, asked),
            Condition::Mark { sense, value, mask } => {
                sense.apply(packet.mark & mask == *value).into()
            }
            // xt_connmark: without a connection neither it nor its negation matches.
            Condition::ConnectionMark { .. } if self.tracking == Tracking::Template => UNKNOWN,
            Condition::ConnectionMark { sense, value, mask } => self
                .connection
                .is_some_and(|connection| sense.apply(connection.mark & mask == *value))
                .into(),
            Condition::Set(sense, set) => membership::holds(self, set).sense(*sense),
            Condition::Physdev(sense, asked) => self.physdev(asked).sense(*sense),
            Condition::Mac(sense, mac) => self.mac(*sense, *mac),
            Condition::Length(sense, first, last) => match packet.length {
                Some(length) => sense.apply((*first..=*last).contains(&length)).into(),
                None if (*first, *last) == (0, u16::MAX) => sense.apply(true).into(),
                None => UNKNOWN,
            },
            Condition::Ttl(sense, comparison, value) => {
                let holds = match comparison {
                    Comparison::Equal => packet.ttl == *value,
                    Comparison::Less => packet.ttl < *value,
                    Comparison::Greater => packet.ttl > *value,
                };
                sense.apply(holds).into()
            }
            Condition::Tos { sense, value, mask } => {
                sense.apply(packet.tos & mask == *value).into()
            }
            Condition::LinkDelivery(sense, delivery) => {
                sense.apply(self.delivery == *delivery).into()
            }
            Condition::Owner(sense, asked) => self.owner(*sense, asked),
            Condition::ReversePath { sense, loose, valid_mark, accept_local } => {
                self.reverse_path(*loose, *valid_mark, *accept_local).sense(*sense)
            }
            Condition::Value(sense, asked) => {
                values::holds(self, asked).map_or(Ternary::No, |found| found.sense(*sense))
            }
            Condition::Constant(answer) => (*answer).into(),
            Condition::Undecided(why) => Ternary::May(*why),
        }
    }

    fn port(&self, sense: Sense, side: PortSide, ranges: &[(u16, u16)]) -> Ternary {
        let Transport::Ports { source, destination } = self.packet.transport else {
            return Ternary::No;
        };
        let source = || within(source, self.drawn.source, ranges);
        let destination = || within(destination, self.drawn.destination, ranges);
        let holds = match side {
            PortSide::Source => source(),
            PortSide::Destination => destination(),
            // kernel-facts G11: `! --ports` means that neither side matches.
            PortSide::Either => source().or(destination),
        };
        holds.sense(sense)
    }

    fn icmp(&self, sense: Sense, kind: Option<u8>, codes: (u8, u8)) -> Ternary {
        let Transport::Icmp { kind: own, code, .. } = self.packet.transport else {
            return Ternary::No;
        };
        // kernel-facts G13: type 255 is any.
        let of_kind = kind.is_none_or(|kind| kind == own);
        sense.apply(of_kind && (codes.0..=codes.1).contains(&code)).into()
    }

    fn mac(&self, sense: Sense, mac: [u8; 6]) -> Ternary {
        // A local packet has no hardware address, and loopback is no Ethernet: neither the match
        // nor its negation holds (xt_mac).
        if self.local {
            return Ternary::No;
        }
        self.mac.map_or(UNKNOWN, |own| sense.apply(own == mac).into())
    }

    fn owner(&self, sense: Sense, asked: &OwnerCondition) -> Ternary {
        // kernel-facts G20; but a reset by REJECT has no socket, nor has one by TCP over IPv6.
        let has_socket = match self.maker {
            Maker::Sender | Maker::IcmpAnswer | Maker::IcmpError => true,
            Maker::TcpReset => self.family() == Family::Ipv4,
            Maker::RejectReset => false,
        };
        if self.local && has_socket {
            match asked {
                OwnerCondition::SocketExists => sense.apply(true).into(),
                // The kernel's own sockets have no file, and so nobody's.
                OwnerCondition::User(..) | OwnerCondition::Group(..)
                    if self.maker != Maker::Sender =>
                {
                    sense.apply(false).into()
                }
                OwnerCondition::User(..) | OwnerCondition::Group(..) => UNKNOWN,
            }
        } else {
            // A packet without a socket matches only what is negated (xt_owner).
            sense.apply(false).into()
        }
    }

    fn connection(&self, sense: Sense, asked: &ConnectionCondition) -> Ternary {
        if let ConnectionCondition::State(mask) = asked {
            let mut state = self.tracking.state();
            if let Some(connection) = self.connection {
                // kernel-facts F8
                if connection.source_translated {
                    state |= connection_state::SNAT;
                }
                if connection.destination_translated {
                    state |= connection_state::DNAT;
                }
            }
            return sense.apply(state & mask != 0).into();
        }
        if self.tracking == Tracking::Template {
            return UNKNOWN;
        }
        if let ConnectionCondition::OrUntracked(inner_sense, inner) = asked {
            let holds = match self.connection {
                None => Ternary::Yes,
                Some(_) => self.connection(*inner_sense, inner),
            };
            return holds.sense(sense);
        }
        // kernel-facts F9: without a connection neither these nor their negations match.
        let (Some(connection), Tracking::Tracked { direction, .. }) =
            (self.connection, self.tracking)
        else {
            return Ternary::No;
        };
        let holds = match asked {
            ConnectionCondition::State(_) | ConnectionCondition::OrUntracked(..) => false,
            ConnectionCondition::Status(mask) => {
                let has = connection.status() & mask != 0;
                let asks = mask & connection_status::ASSURED != 0;
                if !has && asks && connection.assured == Assured::Unknown {
                    return Ternary::May(Undecided::Chance { at_first: Some(false) });
                }
                has
            }
            ConnectionCondition::Direction(asked) => *asked == direction,
            ConnectionCondition::Protocol(number) => connection.original.protocol == *number,
            ConnectionCondition::Address(field, prefix) => {
                prefix.contains(tuple_address(connection, *field))
            }
            ConnectionCondition::Port(field, first, last) => {
                let Some(port) = tuple_port(connection, *field) else {
                    return Ternary::from(false).sense(sense);
                };
                let Drawn { source, destination } = connection.drawn;
                let identified = matches!(connection.original.transport, Transport::Icmp { .. });
                let drawn = match field {
                    // The identifier of a query, whichever end drew it.
                    TupleField::ReplySource if identified => source.or(destination),
                    TupleField::ReplyDestination if identified => None,
                    TupleField::ReplySource => destination,
                    TupleField::ReplyDestination => source,
                    TupleField::OriginalSource => connection.begun_with.source,
                    TupleField::OriginalDestination => connection.begun_with.destination,
                };
                return within(port, drawn, &[(*first, *last)]).sense(sense);
            }
            ConnectionCondition::Expire(..) => {
                return Ternary::May(Undecided::Chance { at_first: None });
            }
        };
        sense.apply(holds).into()
    }

    /// Whether a port of a bridge is one that the pattern names; several ports may differ.
    fn port_name(&self, port: PhysicalPort<'_>, pattern: &InterfacePattern) -> Ternary {
        let PhysicalPort::Of(bridge) = port else { return Ternary::No };
        let ports =
            self.host.interfaces.iter().filter(|interface| {
                interface.port.as_ref().is_some_and(|port| port.bridge == bridge)
            });
        let mut known = ports.map(|interface| pattern.matches(&interface.name));
        match known.next() {
            None => UNKNOWN,
            Some(first) if known.all(|other| other == first) => first.into(),
            Some(_) => UNKNOWN,
        }
    }

    // kernel-facts E4
    fn physdev(&self, asked: &PhysdevCondition) -> Ternary {
        let is_in = self.physical_in != PhysicalPort::None;
        let is_out = self.physical_out != PhysicalPort::None;
        match asked {
            PhysdevCondition::In(pattern) => self.port_name(self.physical_in, pattern),
            PhysdevCondition::Out(pattern) => self.port_name(self.physical_out, pattern),
            PhysdevCondition::IsIn => is_in.into(),
            PhysdevCondition::IsOut => is_out.into(),
            PhysdevCondition::IsBridged => self.bridged.into(),
        }
    }

    /// xt_rpfilter: like rp_filter, but asked by a rule.
    fn reverse_path(&self, loose: bool, valid_mark: bool, accept_local: bool) -> Ternary {
        let packet = self.packet;
        // A sender that has no address yet (`rpfilter_mt`).
        let nobody = match (packet.source, packet.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let local_group = matches!(to.octets(), [224, 0, 0, _]);
                from.is_unspecified() && (to.is_broadcast() || local_group)
            }
            (from, _) => from.is_unspecified(),
        };
        if self.in_interface == "lo" || nobody {
            return Ternary::Yes;
        }
        let usable: &[RouteKind] = if accept_local {
            &[RouteKind::Unicast, RouteKind::Local]
        } else {
            &[RouteKind::Unicast]
        };
        // kernel-facts K28
        let asked = (!loose && self.family() == Family::Ipv6).then_some(self.in_interface);
        self.way_back(loose, valid_mark, usable, protocol_of_rpfilter(packet), asked)
    }

    /// Whether the routes lead back to the source, by one of the usable kinds.
    pub(crate) fn way_back(
        &self,
        loose: bool,
        valid_mark: bool,
        usable: &[RouteKind],
        protocol: u8,
        asked: Option<&str>,
    ) -> Ternary {
        let packet = self.packet;
        if !usable.contains(&RouteKind::Local) && routing::is_own_address(self.host, packet.source)
        {
            return Ternary::No;
        }
        // A link-local source is sought on its own link only (`rpfilter_lookup_reverse6`).
        let link_local =
            matches!(packet.source, IpAddr::V6(source) if source.is_unicast_link_local());
        // In FORWARD, where only nft asks, it is the way back from where the packet goes
        // (`nft_fib4_eval`; measured with `iif br0 lookup 100`).
        let onward = !loose && !self.out_interface.is_empty();
        let key = Lookup {
            source: Some(packet.destination).filter(|to| !address_type::is_group(self.host, *to)),
            in_interface: match (link_local, onward) {
                (true, _) => self.in_interface,
                (false, true) => self.out_interface,
                (false, false) => "lo",
            },
            mark: if valid_mark { packet.mark } else { 0 },
            tos: packet.tos,
            protocol,
            out_interface: asked,
            user: User::Root,
            ..Lookup::to(packet.source)
        };
        match routing::lookup(self.host, &key) {
            LookupResult::Found(found) => {
                let usable = usable.contains(&found.route.kind);
                let back = found.next_hops().any(|hop| hop.interface == self.in_interface);
                // `rpfilter_lookup_reverse6` does not ask which interface an own address is of.
                let own6 = self.family() == Family::Ipv6 && found.route.kind == RouteKind::Local;
                (usable && (loose || back || own6)).into()
            }
            LookupResult::None | LookupResult::Refused(_) => Ternary::No,
            LookupResult::Unknown(_) => UNKNOWN,
        }
    }

    /// The family of the packet.
    pub(crate) fn family(&self) -> Family {
        self.packet.family()
    }
}

/// Whether an address lies in a range, both ends inclusive, of its own family.
pub(crate) fn in_range(address: IpAddr, range: &(IpAddr, IpAddr)) -> bool {
    match (address, range) {
        (IpAddr::V4(a), (IpAddr::V4(first), IpAddr::V4(last))) => *first <= a && a <= *last,
        (IpAddr::V6(a), (IpAddr::V6(first), IpAddr::V6(last))) => *first <= a && a <= *last,
        _ => false,
    }
}

pub(crate) fn tuple_of(connection: &Connection, field: TupleField) -> (&Tuple, Direction) {
    match field {
        TupleField::OriginalSource => (&connection.original, Direction::Original),
        TupleField::OriginalDestination => (&connection.original, Direction::Reply),
        TupleField::ReplySource => (&connection.reply, Direction::Original),
        TupleField::ReplyDestination => (&connection.reply, Direction::Reply),
    }
}

pub(crate) fn tuple_address(connection: &Connection, field: TupleField) -> IpAddr {
    let (tuple, end) = tuple_of(connection, field);
    match end {
        Direction::Original => tuple.source,
        Direction::Reply => tuple.destination,
    }
}

pub(crate) fn tuple_port(connection: &Connection, field: TupleField) -> Option<u16> {
    let (tuple, end) = tuple_of(connection, field);
    let (source, destination) = tuple.ports()?;
    Some(match end {
        Direction::Original => source,
        Direction::Reply => destination,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Prefix;

    #[test]
    fn a_sure_no_outweighs_what_nobody_knows() {
        let host = Host::default();
        let packet = Packet {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            protocol: protocol::UDP,
            transport: Transport::Ports { source: 1, destination: 2 },
            tcp_flags: 0,
            ttl: 64,
            tos: 0,
            length: None,
            mark: 0,
        };
        let view = View {
            host: &host,
            packet: &packet,
            in_interface: "eth0",
            out_interface: "eth1",
            physical_in: PhysicalPort::None,
            physical_out: PhysicalPort::None,
            bridged: false,
            tracking: Tracking::None,
            connection: None,
            drawn: Drawn::default(),
            mac: None,
            local: false,
            maker: Maker::Sender,
            delivery: LinkDelivery::Unicast,
        };
        let unknown = Condition::Undecided(Undecided::Unsupported);
        let tcp = Condition::Protocol(Sense::Is, protocol::TCP);
        let udp = Condition::Protocol(Sense::Is, protocol::UDP);
        assert_eq!(view.all(&[unknown.clone(), tcp]), Ternary::No);
        assert_eq!(view.all(&[udp, unknown]), UNKNOWN);
        let range = Condition::Source(Sense::IsNot, Prefix::new("10.0.0.0".parse().unwrap(), 8));
        assert_eq!(view.all(&[range]), Ternary::No);
    }
}
