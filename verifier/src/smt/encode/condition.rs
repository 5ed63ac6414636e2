//! When the conditions of a rule hold.

use nattrace_model::condition::{
    Comparison, Condition, ConnectionCondition, Direction, InterfacePattern, LinkDelivery,
    OwnerCondition, PhysdevCondition, PortSide, Sense, TupleField, TypeLimit, address_type,
    connection_state, connection_status,
};
use nattrace_model::host::route::RouteKind;
use nattrace_model::packet::protocol;

use super::Encoder;
use super::route::{Key, usable};
use super::state::{Connection, Drawn, Maybe, Trip, delivery, maker, phase, tracking};
use crate::smt::term::{B, Operation, V};

/// When something holds, and when nobody can say.
#[derive(Clone, Copy)]
pub(super) struct Truth {
    pub(super) yes: B,
    pub(super) may: B,
}

impl Encoder<'_> {
    pub(super) fn sure(&self, yes: B) -> Truth {
        Truth { yes, may: self.t.no }
    }

    pub(super) fn unsure(&self) -> Truth {
        Truth { yes: self.t.no, may: self.t.yes }
    }

    pub(super) fn sense(&self, sense: Sense, truth: Truth) -> Truth {
        match sense {
            Sense::Is => truth,
            Sense::IsNot => {
                let yes = self.t.not(self.t.or(truth.yes, truth.may));
                Truth { yes, may: truth.may }
            }
        }
    }

    fn sensed(&self, sense: Sense, holds: B) -> B {
        if sense == Sense::Is { holds } else { self.t.not(holds) }
    }

    /// Whether all hold; one that surely fails outweighs those that nobody knows.
    pub(super) fn all_hold(&self, trip: &Trip, conditions: &[Condition]) -> Truth {
        let t = &self.t;
        let (mut yes, mut possible) = (t.yes, t.yes);
        for condition in conditions {
            let truth = self.holds(trip, condition);
            yes = t.and(yes, truth.yes);
            possible = t.and(possible, t.or(truth.yes, truth.may));
            if possible == t.no {
                break;
            }
        }
        Truth { yes, may: t.minus(possible, yes) }
    }

    pub(super) fn has_ports(&self, number: V) -> B {
        let numbers =
            [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::DCCP, protocol::UDPLITE];
        self.t.any(numbers.map(|known| self.t.is_number(number, known)))
    }

    pub(super) fn is_icmp(&self, number: V) -> B {
        let numbers = [protocol::ICMP, protocol::ICMPV6];
        self.t.any(numbers.map(|known| self.t.is_number(number, known)))
    }

    pub(super) fn is_protocol(&self, trip: &Trip, number: u8) -> B {
        self.t.is_number(trip.packet.tuple.protocol, number)
    }

    pub(super) fn is_tracked(&self, trip: &Trip) -> B {
        self.t.is_number(trip.tracking.kind, tracking::TRACKED)
    }

    /// The connection of the packet; it means something only where the packet is tracked.
    pub(super) fn connection(&self, trip: &Trip) -> Connection {
        use super::state::Merge;
        Connection::merge(&self.t, trip.tracking.second, &trip.second, &trip.first)
    }

    pub(super) fn pattern(&self, interface: V, pattern: &InterfacePattern) -> B {
        self.interface_is(interface, |name| pattern.matches(name))
    }

    /// Whether one condition holds.
    pub(super) fn holds(&self, trip: &Trip, condition: &Condition) -> Truth {
        let t = &self.t;
        let packet = &trip.packet;
        let tuple = &packet.tuple;
        let holds = match condition {
            Condition::Source(sense, prefix) => {
                self.sensed(*sense, self.contains(prefix, tuple.source))
            }
            Condition::Destination(sense, prefix) => {
                self.sensed(*sense, self.contains(prefix, tuple.destination))
            }
            Condition::InInterface(sense, pattern) => {
                self.sensed(*sense, self.pattern(trip.in_interface, pattern))
            }
            Condition::OutInterface(sense, pattern) => {
                self.sensed(*sense, self.pattern(trip.out_interface, pattern))
            }
            Condition::Protocol(sense, number) => {
                self.sensed(*sense, t.is_number(tuple.protocol, *number))
            }
            Condition::Fragment(sense) => t.is(*sense == Sense::IsNot),
            Condition::Port(sense, side, first, last) => {
                return self.port(trip, *sense, *side, &[(*first, *last)]);
            }
            Condition::Ports(sense, side, ranges) => {
                return self.port(trip, *sense, *side, ranges);
            }
            Condition::TcpFlags { sense, mask, compare } => {
                let equal = t.is_number(t.masked(packet.flags, *mask), *compare);
                // A comparison with flags beyond the mask never holds.
                let equal = if compare & !mask == 0 { equal } else { t.no };
                t.and(self.is_protocol(trip, protocol::TCP), self.sensed(*sense, equal))
            }
            Condition::Icmp { sense, kind, codes } => {
                let own = t.extract(tuple.to_port, 15, 8);
                let code = t.extract(tuple.to_port, 7, 0);
                let of_kind = kind.map_or(t.yes, |kind| t.is_number(own, kind));
                let fits = t.and(of_kind, t.within(code, codes.0, codes.1));
                let fits = if codes.0 > codes.1 { t.no } else { fits };
                t.and(self.is_icmp(tuple.protocol), self.sensed(*sense, fits))
            }
            Condition::SourceRange(sense, range) => {
                self.sensed(*sense, self.in_range(tuple.source, **range))
            }
            Condition::DestinationRange(sense, range) => {
                self.sensed(*sense, self.in_range(tuple.destination, **range))
            }
            Condition::SourceType(sense, types, limit) => {
                return self.sense(*sense, self.of_type(trip, tuple.source, *types, *limit));
            }
            Condition::DestinationType(sense, types, limit) => {
                return self.sense(*sense, self.of_type(trip, tuple.destination, *types, *limit));
            }
            Condition::Connection(sense, asked) => {
                return self.asks_connection(trip, *sense, asked);
            }
            Condition::Mark { sense, value, mask } => {
                self.sensed(*sense, self.bits_are(packet.mark, *value, *mask))
            }
            Condition::ConnectionMark { sense, value, mask } => {
                let mark = self.connection(trip).mark;
                let holds = self.sensed(*sense, self.bits_are(mark, *value, *mask));
                let may = t.is_number(trip.tracking.kind, tracking::TEMPLATE);
                return Truth { yes: t.and(self.is_tracked(trip), holds), may };
            }
            Condition::Set(sense, asked) => return self.sense(*sense, self.in_ipset(trip, asked)),
            Condition::Physdev(sense, asked) => {
                return self.sense(*sense, self.asks_ports(trip, asked));
            }
            Condition::Mac(sense, mac) => {
                let own = self.sensed(*sense, t.is_number(trip.mac.value, mac_number(*mac)));
                let known = t.minus(trip.mac.is, trip.local);
                let may = t.not(t.or(trip.local, trip.mac.is));
                return Truth { yes: t.and(known, own), may };
            }
            // The length of a packet is not known.
            Condition::Length(sense, 0, u16::MAX) => t.is(*sense == Sense::Is),
            Condition::Length(..) => return self.unsure(),
            Condition::Ttl(sense, comparison, value) => {
                let value = t.number(8, *value);
                let holds = match comparison {
                    Comparison::Equal => t.equal(packet.ttl, value),
                    Comparison::Less => t.not(t.at_most(value, packet.ttl)),
                    Comparison::Greater => t.not(t.at_most(packet.ttl, value)),
                };
                self.sensed(*sense, holds)
            }
            Condition::Tos { sense, value, mask } => {
                self.sensed(*sense, self.bits_are(packet.tos, *value, *mask))
            }
            Condition::LinkDelivery(sense, wanted) => {
                let number = match wanted {
                    LinkDelivery::Unicast => delivery::UNICAST,
                    LinkDelivery::Broadcast => delivery::BROADCAST,
                    LinkDelivery::Multicast => delivery::MULTICAST,
                };
                self.sensed(*sense, t.is_number(trip.delivery, number))
            }
            Condition::Owner(sense, asked) => return self.asks_owner(trip, *sense, asked),
            Condition::ReversePath { sense, loose, valid_mark, accept_local } => {
                let back = self.reverse_path(trip, *loose, *valid_mark, *accept_local);
                return self.sense(*sense, back);
            }
            Condition::Value(sense, asked) => return self.asks_value(trip, *sense, asked),
            Condition::Constant(answer) => t.is(*answer),
            Condition::Undecided(_) => return self.unsure(),
        };
        self.sure(holds)
    }

    /// Whether the bits under a mask are these.
    fn bits_are(&self, own: V, value: impl Into<u128>, mask: impl Into<u128>) -> B {
        let (value, mask) = (value.into(), mask.into());
        if value & !mask != 0 {
            return self.t.no;
        }
        self.t.is_number(self.t.masked(own, mask), value)
    }

    fn port(&self, trip: &Trip, sense: Sense, side: PortSide, ranges: &[(u16, u16)]) -> Truth {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let from = self.in_ranges(tuple.from_port, trip.drawn_source, ranges);
        let to = self.in_ranges(tuple.to_port, trip.drawn_destination, ranges);
        let holds = match side {
            PortSide::Source => from,
            PortSide::Destination => to,
            PortSide::Either => {
                let yes = t.or(from.yes, to.yes);
                Truth { yes, may: t.minus(t.or(from.may, to.may), yes) }
            }
        };
        let holds = self.sense(sense, holds);
        let ported = self.has_ports(tuple.protocol);
        Truth { yes: t.and(ported, holds.yes), may: t.and(ported, holds.may) }
    }

    /// Whether a port lies in one of some ranges; one that was drawn may.
    pub(super) fn in_ranges(&self, port: V, drawn: Drawn, ranges: &[(u16, u16)]) -> Truth {
        let t = &self.t;
        let own = t.any(ranges.iter().filter(|(a, b)| a <= b).map(|(a, b)| t.within(port, *a, *b)));
        if drawn.is == t.no {
            return self.sure(own);
        }
        let number = |port: u16| t.number(16, port);
        let touched = t.any(ranges.iter().map(|(low, high)| {
            let below = t.at_most(number(*low), drawn.last);
            t.and(below, t.at_most(drawn.first, number(*high)))
        }));
        let covered = t.any(ranges.iter().map(|(low, high)| {
            let above = t.at_most(number(*low), drawn.first);
            t.and(above, t.at_most(drawn.last, number(*high)))
        }));
        let covered = t.and(touched, covered);
        Truth {
            yes: t.either(drawn.is, covered, own),
            may: t.and(drawn.is, t.minus(touched, covered)),
        }
    }

    /// Whether an address is of one of some types (kernel-facts C, J9).
    fn of_type(&self, trip: &Trip, address: V, types: u16, limit: TypeLimit) -> Truth {
        let t = &self.t;
        let limit = match limit {
            TypeLimit::None => None,
            TypeLimit::InInterface => Some(trip.in_interface),
            TypeLimit::OutInterface => Some(trip.out_interface),
        };
        if self.is_ipv4() {
            return self.sure(self.is_type4(address, types, limit));
        }
        let group = self.is_multicast(address);
        let unspecified = self.is_unspecified(address);
        let forms = [
            (address_type::MULTICAST, group),
            (address_type::UNSPEC, unspecified),
            (address_type::UNICAST, t.not(t.or(group, unspecified))),
        ];
        let asked_forms = forms.into_iter().filter(|(kind, _)| types & kind != 0);
        let formed = t.all(asked_forms.map(|(_, holds)| holds));
        let known = address_type::UNSPEC | address_type::UNICAST | address_type::MULTICAST;
        let routed = types & !known;
        if routed == 0 {
            return self.sure(formed);
        }
        let by_route = self.of_route_type6(address, routed, limit);
        Truth { yes: t.and(formed, by_route.yes), may: t.and(formed, by_route.may) }
    }

    /// Whether the routes say that an address of IPv6 is of one of some types.
    fn of_route_type6(&self, address: V, types: u16, limit: Option<V>) -> Truth {
        let t = &self.t;
        let mut bound = self.by_packet();
        if let Some(interface) = limit {
            bound.kind = t.number(2, super::state::bound::TO);
            bound.to = interface;
        }
        let out_interface = limit.unwrap_or_else(|| self.no_interface());
        let root = t.yes;
        let key = Key { out_interface, root, ..self.key_to(address, self.loopback()) };
        let found = self.lookup_bound(&key, bound);
        let mut holds = t.no;
        let mut add = |when: B, kind: u16| {
            if types & kind != 0 {
                holds = t.or(holds, when);
            }
        };
        for (when, route) in &found.routes {
            match route.kind {
                RouteKind::Local if limit.is_none() => add(*when, address_type::LOCAL),
                RouteKind::Anycast => add(*when, address_type::ANYCAST),
                RouteKind::Blackhole
                | RouteKind::Unreachable
                | RouteKind::Prohibit
                | RouteKind::Throw => add(*when, address_type::UNREACHABLE),
                _ => {}
            }
        }
        for (when, _) in &found.refused {
            add(*when, address_type::UNREACHABLE);
        }
        add(found.none, address_type::UNREACHABLE);
        if let Some(interface) = limit {
            add(self.is_own_at(address, interface), address_type::LOCAL);
        }
        let local = if limit.is_none() { address_type::LOCAL } else { 0 };
        let open = types & (address_type::ANYCAST | address_type::UNREACHABLE | local) != 0;
        let may = if open { t.minus(found.unknown, holds) } else { t.no };
        Truth { yes: holds, may }
    }

    fn asks_connection(&self, trip: &Trip, sense: Sense, asked: &ConnectionCondition) -> Truth {
        let t = &self.t;
        let tracked = self.is_tracked(trip);
        let own = self.connection(trip);
        if let ConnectionCondition::State(mask) = asked {
            return self.sure(self.sensed(sense, self.in_state(trip, &own, *mask)));
        }
        let template = t.is_number(trip.tracking.kind, tracking::TEMPLATE);
        if let ConnectionCondition::OrUntracked(inner_sense, inner) = asked {
            let inner = self.asks_connection(trip, *inner_sense, inner);
            let untracked = t.not(t.or(tracked, template));
            let holds = Truth {
                yes: t.or(untracked, t.and(tracked, inner.yes)),
                may: t.and(tracked, inner.may),
            };
            let holds = self.sense(sense, holds);
            return Truth { yes: t.minus(holds.yes, template), may: t.or(holds.may, template) };
        }
        let holds = match asked {
            ConnectionCondition::State(_) | ConnectionCondition::OrUntracked(..) => self.sure(t.no),
            ConnectionCondition::Status(mask) => {
                let seen =
                    if mask & connection_status::SEEN_REPLY != 0 { own.seen_reply } else { t.no };
                let kept =
                    if mask & connection_status::CONFIRMED != 0 { own.confirmed } else { t.no };
                self.sure(t.or(seen, kept))
            }
            ConnectionCondition::Direction(Direction::Original) => {
                self.sure(t.not(trip.tracking.reply))
            }
            ConnectionCondition::Direction(Direction::Reply) => self.sure(trip.tracking.reply),
            ConnectionCondition::Protocol(number) => {
                self.sure(t.is_number(own.original.protocol, *number))
            }
            ConnectionCondition::Address(field, prefix) => {
                self.sure(self.contains(prefix, tuple_address(&own, *field)))
            }
            ConnectionCondition::Port(field, first, last) => {
                let (port, drawn) = self.tuple_port(&own, *field);
                let inside = self.in_ranges(port, drawn, &[(*first, *last)]);
                let number = own.original.protocol;
                let ported = t.or(self.has_ports(number), self.is_icmp(number));
                Truth { yes: t.and(ported, inside.yes), may: t.and(ported, inside.may) }
            }
            ConnectionCondition::Expire(..) => self.unsure(),
        };
        let holds = self.sense(sense, holds);
        Truth { yes: t.and(tracked, holds.yes), may: t.or(template, t.and(tracked, holds.may)) }
    }

    /// Whether the packet is in one of some states.
    fn in_state(&self, trip: &Trip, own: &Connection, mask: u16) -> B {
        let t = &self.t;
        let kind = |numbers: &[u8]| {
            t.any(numbers.iter().map(|number| t.is_number(trip.tracking.kind, *number)))
        };
        let tracked = self.is_tracked(trip);
        let in_phase = |number: u8| t.and(tracked, t.is_number(trip.tracking.phase, number));
        let states = [
            (
                connection_state::INVALID,
                kind(&[tracking::NONE, tracking::ATTACHED, tracking::INVALID]),
            ),
            (connection_state::UNTRACKED, kind(&[tracking::UNTRACKED])),
            (connection_state::NEW, t.or(kind(&[tracking::TEMPLATE]), in_phase(phase::NEW))),
            (connection_state::RELATED, in_phase(phase::RELATED)),
            (connection_state::ESTABLISHED, in_phase(phase::ESTABLISHED)),
            (connection_state::SNAT, t.and(tracked, own.source_translated)),
            (connection_state::DNAT, t.and(tracked, own.destination_translated)),
        ];
        t.any(states.into_iter().filter(|(bit, _)| mask & bit != 0).map(|(_, holds)| holds))
    }

    /// A port of a connection's tuples, and what it was drawn from.
    pub(super) fn tuple_port(&self, own: &Connection, field: TupleField) -> (V, Drawn) {
        use super::state::Merge;
        let none = self.not_drawn();
        let icmp = self.is_icmp(own.original.protocol);
        let merge = |one: Drawn, other: Drawn| Drawn::merge(&self.t, icmp, &one, &other);
        let (source, destination) = (own.drawn_source, own.drawn_destination);
        match field {
            TupleField::OriginalSource => (own.original.from_port, own.begun_source),
            TupleField::OriginalDestination => (own.original.to_port, own.begun_destination),
            TupleField::ReplySource => {
                let identifier = Drawn::merge(&self.t, source.is, &source, &destination);
                (own.reply.from_port, merge(identifier, destination))
            }
            TupleField::ReplyDestination => (own.reply.to_port, merge(none, source)),
        }
    }

    pub(super) fn not_drawn(&self) -> Drawn {
        let zero = self.t.number(16, 0u8);
        Drawn { is: self.t.no, first: zero, last: zero }
    }

    // kernel-facts E4
    fn asks_ports(&self, trip: &Trip, asked: &PhysdevCondition) -> Truth {
        match asked {
            PhysdevCondition::In(pattern) => self.port_named(trip.physical_in, pattern),
            PhysdevCondition::Out(pattern) => self.port_named(trip.physical_out, pattern),
            PhysdevCondition::IsIn => self.sure(self.has_interface(trip.physical_in)),
            PhysdevCondition::IsOut => self.sure(self.has_interface(trip.physical_out)),
            PhysdevCondition::IsBridged => self.sure(trip.bridged),
        }
    }

    /// Whether the port of a bridge has a name: known where all of its ports are alike.
    fn port_named(&self, bridge: V, pattern: &InterfacePattern) -> Truth {
        let matches = |name: &str| -> Vec<bool> {
            let ports = self
                .host
                .interfaces
                .iter()
                .filter(|own| own.port.as_ref().is_some_and(|port| port.bridge == name));
            ports.map(|own| pattern.matches(&own.name)).collect()
        };
        let yes = self.interface_is(bridge, |name| {
            let known = matches(name);
            !name.is_empty() && !known.is_empty() && known.iter().all(|matches| *matches)
        });
        let no = self.interface_is(bridge, |name| {
            let known = matches(name);
            name.is_empty() || (!known.is_empty() && known.iter().all(|matches| !matches))
        });
        Truth { yes, may: self.t.not(self.t.or(yes, no)) }
    }

    // kernel-facts G20
    fn asks_owner(&self, trip: &Trip, sense: Sense, asked: &OwnerCondition) -> Truth {
        let t = &self.t;
        let made_by = |number: u8| t.is_number(trip.maker, number);
        let reset = t.and(made_by(maker::TCP_RESET), t.is(!self.is_ipv4()));
        let has_socket = t.and(trip.local, t.not(t.or(reset, made_by(maker::REJECT_RESET))));
        match asked {
            OwnerCondition::SocketExists => self.sure(self.sensed(sense, has_socket)),
            OwnerCondition::User(..) | OwnerCondition::Group(..) => {
                let may = t.and(has_socket, made_by(maker::SENDER));
                Truth { yes: t.minus(t.is(sense == Sense::IsNot), may), may }
            }
        }
    }

    /// xt_rpfilter.
    fn reverse_path(&self, trip: &Trip, loose: bool, valid_mark: bool, local: bool) -> Truth {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let mut nobody = self.is_unspecified(tuple.source);
        if self.is_ipv4() {
            let all = self.is_limited_broadcast(tuple.destination);
            nobody = t.and(nobody, t.or(all, self.is_local_group(tuple.destination)));
        }
        let sure = t.or(self.interface_named(trip.in_interface, "lo"), nobody);
        let usable: &[RouteKind] = match local {
            true => &[RouteKind::Unicast, RouteKind::Local],
            false => &[RouteKind::Unicast],
        };
        // kernel-facts K28
        let asks = !loose && !self.is_ipv4();
        let asked = if asks { trip.in_interface } else { self.no_interface() };
        let protocol = self.protocol_of_rpfilter(&trip.packet);
        let back = self.way_back_by_route(trip, (loose, valid_mark), usable, protocol, asked);
        Truth { yes: t.or(sure, back.yes), may: t.minus(back.may, sure) }
    }

    /// Whether the routes lead back to the source.
    pub(super) fn way_back_by_route(
        &self,
        trip: &Trip,
        (loose, valid_mark): (bool, bool),
        kinds: &[RouteKind],
        protocol: V,
        asked: V,
    ) -> Truth {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let own = if kinds.contains(&RouteKind::Local) { t.no } else { self.is_own(tuple.source) };
        let onward = t.and(t.is(!loose), self.has_interface(trip.out_interface));
        let other = t.choice(onward, trip.out_interface, self.loopback());
        let link_local = self.is_link_local6(tuple.source);
        let key = Key {
            source: Maybe { is: t.not(self.is_group(tuple.destination)), value: tuple.destination },
            destination: tuple.source,
            in_interface: t.choice(link_local, trip.in_interface, other),
            mark: if valid_mark { trip.packet.mark } else { t.number(32, 0u8) },
            protocol,
            ported: t.no,
            out_interface: asked,
            root: t.yes,
            ..self.key(&trip.packet, self.loopback())
        };
        let found = self.lookup(&key);
        let back = t.any(found.routes.iter().map(|(when, route)| {
            let usable_kind = kinds.contains(&route.kind);
            let own6 = !self.is_ipv4() && route.kind == RouteKind::Local;
            let leads =
                self.interface_is(trip.in_interface, |n| usable(route).any(|h| h.interface == n));
            let here = if loose || own6 { t.yes } else { leads };
            if usable_kind { t.and(*when, here) } else { t.no }
        }));
        Truth { yes: t.minus(back, own), may: t.minus(found.unknown, own) }
    }

    /// `(own & !mask) ^ value`
    pub(super) fn exchanged(&self, own: V, value: impl Into<u128>, mask: u128) -> V {
        let width = self.t.width(own);
        let kept = self.t.masked(own, !mask & u128::MAX.checked_shr(128 - width).unwrap_or(0));
        self.t.binary(Operation::Xor, kept, self.t.number(width, value))
    }
}

/// An address of a connection's tuples.
pub(super) fn tuple_address(own: &Connection, field: TupleField) -> V {
    match field {
        TupleField::OriginalSource => own.original.source,
        TupleField::OriginalDestination => own.original.destination,
        TupleField::ReplySource => own.reply.source,
        TupleField::ReplyDestination => own.reply.destination,
    }
}

/// A hardware address as a number.
pub(super) fn mac_number(mac: [u8; 6]) -> u128 {
    mac.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}
