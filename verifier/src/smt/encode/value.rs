//! Values of a packet that native nft rules compare with sets of values.

use nattrace_model::condition::value::{BitOperation, Interval, Operand, Selector, ValueCondition};
use nattrace_model::condition::{Sense, TypeLimit};
use nattrace_model::host::route::RouteKind;
use nattrace_model::packet::protocol;

use super::Encoder;
use super::condition::{Truth, tuple_address};
use super::route::Key;
use super::state::{Maybe, Trip, maker, phase, tracking};
use crate::smt::term::{B, Operation, V};

/// The width of every value.
const WIDTH: u32 = 128;

/// A value as it is read.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// Whether it can't be read: then the rule ends.
    pub(super) none: B,
    /// Whether nobody can say what it is.
    unknown: B,
    number: V,
    /// Whether the number is that of an interface.
    names: bool,
}

impl Encoder<'_> {
    pub(super) fn asks_value(&self, trip: &Trip, sense: Sense, asked: &ValueCondition) -> Truth {
        let t = &self.t;
        let values = self.values(trip, &asked.operands);
        let readable = t.not(t.any(values.iter().map(|value| value.none)));
        let (mut yes, mut may) = (t.no, t.no);
        for element in &asked.set.elements {
            let fits = self.fits(&values, element);
            yes = t.or(yes, fits.yes);
            may = t.or(may, fits.may);
        }
        may = t.minus(may, yes);
        if asked.set.grows {
            may = t.not(yes);
        }
        if asked.set.shrinks {
            (yes, may) = (t.no, t.or(yes, may));
        }
        let holds = self.sense(sense, Truth { yes, may });
        Truth { yes: t.and(readable, holds.yes), may: t.and(readable, holds.may) }
    }

    pub(super) fn values(&self, trip: &Trip, operands: &[Operand]) -> Vec<Value> {
        operands.iter().map(|operand| self.value_of(trip, operand)).collect()
    }

    /// Whether values fit an element: one interval for each.
    pub(super) fn fits(&self, values: &[Value], element: &[Interval]) -> Truth {
        let t = &self.t;
        let (mut yes, mut possible) = (t.yes, t.yes);
        for (value, interval) in values.iter().zip(element) {
            let known = match interval {
                Interval::Numbers(0, u128::MAX) => continue,
                Interval::Numbers(first, last) if !value.names => {
                    t.within(value.number, *first, *last)
                }
                Interval::Interface(pattern) if value.names => {
                    self.pattern(t.extract(value.number, 15, 0), pattern)
                }
                Interval::Numbers(..) | Interval::Interface(_) => t.no,
            };
            yes = t.and(yes, t.minus(known, value.unknown));
            possible = t.and(possible, t.or(known, value.unknown));
        }
        Truth { yes, may: t.minus(possible, yes) }
    }

    fn value_of(&self, trip: &Trip, operand: &Operand) -> Value {
        let t = &self.t;
        let mut value = self.select(trip, operand.selector);
        if operand.selector == Selector::ConnectionStatus {
            // Only the bits that rules name are known.
            let known = match operand.operations.first() {
                Some(BitOperation::Mask { mask, .. }) => mask & !0x3e == 0,
                _ => false,
            };
            if !known {
                value.unknown = t.not(value.none);
            }
        }
        for operation in &operand.operations {
            value.number = match *operation {
                BitOperation::Mask { mask, xor } => {
                    let kept = t.masked(value.number, mask);
                    t.binary(Operation::Xor, kept, t.number(WIDTH, xor))
                }
                BitOperation::Left(by) => {
                    let shifted = t.shifted_left(value.number, by.into());
                    t.masked(shifted, u32::MAX)
                }
                BitOperation::Right(by) => t.shifted_right(value.number, by.into()),
            };
        }
        value
    }

    fn known(&self, number: V) -> Value {
        let no = self.t.no;
        let number = self.t.widened(number, WIDTH);
        Value { none: no, unknown: no, number, names: false }
    }

    fn known_number(&self, number: impl Into<u128>) -> Value {
        self.known(self.t.number(WIDTH, number))
    }

    /// A value that can only be read where something holds.
    fn only(&self, when: B, number: V) -> Value {
        Value { none: self.t.not(when), ..self.known(number) }
    }

    fn select(&self, trip: &Trip, selector: Selector) -> Value {
        let t = &self.t;
        let packet = &trip.packet;
        let tuple = &packet.tuple;
        let unknown = || Value { unknown: t.yes, ..self.known_number(0u8) };
        // Of what stands where a packet without ports would have them little is known.
        let port = |port: V, drawn: B| Value {
            unknown: t.or(drawn, t.not(self.has_ports(tuple.protocol))),
            ..self.known(port)
        };
        let icmp = self.is_icmp(tuple.protocol);
        match selector {
            Selector::Source => self.known(tuple.source),
            Selector::Destination => self.known(tuple.destination),
            Selector::Protocol => self.known(tuple.protocol),
            Selector::SourcePort => port(tuple.from_port, trip.drawn_source.is),
            Selector::DestinationPort => port(tuple.to_port, trip.drawn_destination.is),
            Selector::TcpFlags => self.only(self.is_protocol(trip, protocol::TCP), packet.flags),
            Selector::IcmpType => self.only(icmp, t.extract(tuple.to_port, 15, 8)),
            Selector::IcmpCode => self.only(icmp, t.extract(tuple.to_port, 7, 0)),
            Selector::TypeOfService => self.known(packet.tos),
            Selector::Ttl => self.known(packet.ttl),
            Selector::Length => unknown(),
            Selector::Mark => self.known(packet.mark),
            Selector::ConnectionState => self.known(self.state_bits(trip)),
            Selector::InInterface => Value { names: true, ..self.known(trip.in_interface) },
            Selector::OutInterface => Value { names: true, ..self.known(trip.out_interface) },
            Selector::LinkDelivery => self.known(trip.delivery),
            Selector::SocketOwner => {
                let sends = t.is_number(trip.maker, maker::SENDER);
                let has = t.and(trip.local, sends);
                Value { none: t.not(has), unknown: has, ..self.known_number(0u8) }
            }
            Selector::SourceType(limit) => {
                self.route_type(trip, (tuple.source, tuple.destination), limit)
            }
            Selector::DestinationType(limit) => {
                self.route_type(trip, (tuple.destination, tuple.source), limit)
            }
            Selector::WayBack { loose, valid_mark } => self.way_back_value(trip, loose, valid_mark),
            Selector::Constant(value) => self.known_number(value),
            Selector::Unknown(_) => unknown(),
            Selector::ConnectionMark
            | Selector::ConnectionStatus
            | Selector::ConnectionDirection
            | Selector::ConnectionProtocol
            | Selector::ConnectionZone
            | Selector::TupleAddress(_)
            | Selector::TuplePort(_) => self.of_connection(trip, selector),
        }
    }

    /// The one bit of `ct state`.
    fn state_bits(&self, trip: &Trip) -> V {
        let t = &self.t;
        let bit = |number: u8| t.number(8, number);
        let kind = |number: u8| t.is_number(trip.tracking.kind, number);
        let in_phase = |number: u8| t.is_number(trip.tracking.phase, number);
        let established = t.choice(in_phase(phase::ESTABLISHED), bit(2), bit(8));
        let tracked = t.choice(in_phase(phase::RELATED), bit(4), established);
        let other = t.choice(kind(tracking::UNTRACKED), bit(64), bit(1));
        let other = t.choice(kind(tracking::TEMPLATE), bit(8), other);
        t.choice(kind(tracking::TRACKED), tracked, other)
    }

    fn of_connection(&self, trip: &Trip, selector: Selector) -> Value {
        let t = &self.t;
        let own = self.connection(trip);
        let when = self.is_tracked(trip);
        let bit = |has: B, bit: u8| t.choice(has, t.number(8, bit), t.number(8, 0u8));
        match selector {
            Selector::ConnectionMark => self.only(when, own.mark),
            Selector::ConnectionStatus => {
                let bits = [
                    bit(own.seen_reply, 2),
                    bit(own.confirmed, 8),
                    bit(own.source_translated, 16),
                    bit(own.destination_translated, 32),
                ];
                let all = |all, bit| t.binary(Operation::Or, all, bit);
                self.only(when, bits.into_iter().fold(t.number(8, 0u8), all))
            }
            Selector::ConnectionDirection => self.only(when, bit(trip.tracking.reply, 1)),
            Selector::ConnectionProtocol => self.only(when, own.original.protocol),
            Selector::ConnectionZone => self.only(when, own.zone),
            Selector::TupleAddress(field) => self.only(when, tuple_address(&own, field)),
            Selector::TuplePort(field) => {
                let (port, _) = self.tuple_port(&own, field);
                let number = own.original.protocol;
                let ported = t.or(self.has_ports(number), self.is_icmp(number));
                Value { unknown: t.minus(when, ported), ..self.only(when, port) }
            }
            _ => self.only(when, t.number(8, 0u8)),
        }
    }

    /// The type of an address by a lookup in all tables (`nft_fib6_eval_type`).
    fn route_type(&self, trip: &Trip, (address, other): (V, V), limit: TypeLimit) -> Value {
        let t = &self.t;
        let device = match limit {
            TypeLimit::None => None,
            TypeLimit::InInterface => Some(trip.in_interface),
            TypeLimit::OutInterface => Some(trip.out_interface),
        };
        // Of a packet that is sent from here it is the link by which it leaves.
        let came = self.has_interface(trip.in_interface);
        let own_link = t.choice(came, trip.in_interface, trip.out_interface);
        let group = self.is_multicast(address);
        let link_local = self.is_link_local6(address);
        let key = Key {
            source: Maybe {
                is: t.not(t.or(self.is_multicast(other), self.is_unspecified(other))),
                value: other,
            },
            tos: trip.packet.tos,
            protocol: trip.packet.tuple.protocol,
            root: t.yes,
            ..self
                .key_to(address, t.choice(link_local, device.unwrap_or(own_link), self.loopback()))
        };
        let found = self.lookup(&key);
        let number = |number: u8| t.number(WIDTH, number);
        let form = t.choice(self.is_unspecified(address), number(0), number(1));
        let form = t.choice(group, number(5), form);
        let on_device = device.map_or(t.no, |device| self.is_own_at(address, device));
        let ordinary = t.choice(on_device, number(2), form);
        let mut kind = number(7);
        for (when, route) in &found.routes {
            let own = match route.kind {
                RouteKind::Blackhole => number(6),
                RouteKind::Unreachable | RouteKind::Throw => number(7),
                RouteKind::Prohibit => number(8),
                RouteKind::Anycast => number(4),
                RouteKind::Local if device.is_none() => number(2),
                _ => ordinary,
            };
            kind = t.choice(*when, own, kind);
        }
        let refused = t.any(found.refused.iter().map(|(when, _)| *when));
        Value { unknown: t.or(found.unknown, refused), ..self.known(kind) }
    }

    /// `fib saddr … oif` of IPv6 (`nft_fib6_eval`).
    fn way_back_value(&self, trip: &Trip, loose: bool, valid_mark: bool) -> Value {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let solicits = if self.is_ipv4() {
            let nobody = self.is_unspecified(tuple.source);
            let all = self.is_limited_broadcast(tuple.destination);
            t.and(nobody, t.or(all, self.is_local_group(tuple.destination)))
        } else {
            let first = self.first_segment(tuple.destination);
            let near = t.is_number(t.masked(first, 0xff0fu16), 0xff02u16);
            let near = t.or(near, self.is_link_local6(tuple.destination));
            let icmp = self.is_protocol(trip, protocol::ICMPV6);
            t.all([self.is_unspecified(tuple.source), icmp, near])
        };
        let sure = t.or(self.interface_named(trip.in_interface, "lo"), solicits);
        let back = self.way_back_by_route(
            trip,
            (loose, valid_mark),
            &[RouteKind::Unicast, RouteKind::Broadcast],
            trip.packet.tuple.protocol,
            self.no_interface(),
        );
        let yes = t.or(sure, back.yes);
        let number = t.choice(yes, t.number(WIDTH, 1u8), t.number(WIDTH, 0u8));
        Value { unknown: t.minus(back.may, sure), ..self.known(number) }
    }
}
