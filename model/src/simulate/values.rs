//! Values of a packet that native nft rules compare with sets of values.

use std::net::IpAddr;

use crate::condition::value::{BitOperation, Interval, Operand, Selector, ValueCondition};
use crate::condition::{
    Direction, LinkDelivery, TypeLimit, Undecided, connection_state, connection_status,
};
use crate::host::route::RouteKind;
use crate::packet::{Transport, protocol};
use crate::simulate::connection::{Assured, Connection, Tracking};
use crate::simulate::matching::{Ternary, View, tuple_address, tuple_port};
use crate::simulate::routing::{self, Lookup, LookupResult, User};
use crate::simulate::trip::Maker;

/// A value as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u128),
    Name(&'a str),
    /// It can't be read: the rule ends here (`NFT_BREAK`).
    None,
    /// Nobody can say what it is.
    Unknown(Undecided),
}

const UNKNOWN: Value<'static> = Value::Unknown(Undecided::Unsupported);
const DRAWN: Value<'static> = Value::Unknown(Undecided::Chance { at_first: None });

/// Whether the values are in the set; where one of them can't be read, the rule does not match,
/// negated or not.
pub(crate) fn holds(view: &View<'_>, asked: &ValueCondition) -> Option<Ternary> {
    let values = read(view, &asked.operands)?;
    let mut result = Ternary::No;
    for element in &asked.set.elements {
        match fits(&values, element) {
            Ternary::Yes if asked.set.shrinks => return Some(chance(true)),
            Ternary::Yes => return Some(Ternary::Yes),
            Ternary::No => {}
            may @ Ternary::May(_) => result = may,
        }
    }
    Some(if result == Ternary::No && asked.set.grows { chance(false) } else { result })
}

fn chance(at_first: bool) -> Ternary {
    Ternary::May(Undecided::Chance { at_first: Some(at_first) })
}

/// The values of all operands; `None` where one can't be read.
pub(crate) fn read<'v>(view: &'v View<'_>, operands: &[Operand]) -> Option<Vec<Value<'v>>> {
    let values = operands.iter().map(|operand| match read_one(view, operand) {
        Value::None => None,
        value => Some(value),
    });
    values.collect()
}

/// Whether values fit an element: one interval for each.
pub(crate) fn fits(values: &[Value<'_>], element: &[Interval]) -> Ternary {
    let mut result = Ternary::Yes;
    for (value, interval) in values.iter().zip(element) {
        let fits = match (value, interval) {
            (_, Interval::Numbers(0, u128::MAX)) => true,
            (Value::Number(number), Interval::Numbers(first, last)) => {
                (first..=last).contains(&number)
            }
            (Value::Name(name), Interval::Interface(pattern)) => pattern.matches(name),
            (Value::Unknown(why), _) => {
                result = Ternary::May(*why);
                continue;
            }
            (Value::Number(_) | Value::Name(_) | Value::None, _) => false,
        };
        if !fits {
            return Ternary::No;
        }
    }
    result
}

fn read_one<'v>(view: &'v View<'_>, operand: &Operand) -> Value<'v> {
    let status = operand.selector == Selector::ConnectionStatus;
    if status && view.connection.is_some() && !is_known(view, operand) {
        return UNKNOWN;
    }
    match select(view, operand.selector) {
        Value::Number(number) => {
            let done = operand.operations.iter();
            Value::Number(done.fold(number, |value, operation| operation.apply(value)))
        }
        other => other,
    }
}

/// Whether the bits of the status that are looked at are known: those that rules name.
fn is_known(view: &View<'_>, operand: &Operand) -> bool {
    let Some(BitOperation::Mask { mask, .. }) = operand.operations.first() else { return false };
    let guessed = view.connection.is_some_and(|own| own.assured == Assured::Unknown);
    mask & !0x3e == 0 && !(guessed && mask & 4 != 0)
}

fn select<'v>(view: &'v View<'_>, selector: Selector) -> Value<'v> {
    let packet = view.packet;
    let number = |number: u64| Value::Number(number.into());
    // Ports of a packet without ports: `th` reads what stands there, of which little is known.
    let port = |port: Option<u16>| port.map_or(UNKNOWN, |port| Value::Number(port.into()));
    match selector {
        Selector::Source => Value::Number(address(packet.source)),
        Selector::Destination => Value::Number(address(packet.destination)),
        Selector::Protocol => number(packet.protocol.into()),
        // A port that NAT drew may be any of its range.
        Selector::SourcePort if view.drawn.source.is_some() => DRAWN,
        Selector::DestinationPort if view.drawn.destination.is_some() => DRAWN,
        Selector::SourcePort => port(packet.source_port()),
        Selector::DestinationPort => port(packet.destination_port()),
        Selector::TcpFlags if packet.protocol == protocol::TCP => number(packet.tcp_flags.into()),
        Selector::IcmpType => icmp(packet.transport, |kind, _| kind),
        Selector::IcmpCode => icmp(packet.transport, |_, code| code),
        Selector::TcpFlags => Value::None,
        Selector::TypeOfService => number(packet.tos.into()),
        Selector::Ttl => number(packet.ttl.into()),
        Selector::Length => packet.length.map_or(UNKNOWN, |length| number(length.into())),
        Selector::Mark => number(packet.mark.into()),
        Selector::ConnectionState => number(state(view)),
        Selector::ConnectionMark
        | Selector::ConnectionStatus
        | Selector::ConnectionDirection
        | Selector::ConnectionProtocol
        | Selector::ConnectionZone
        | Selector::TupleAddress(_)
        | Selector::TuplePort(_) => match view.connection {
            Some(connection) => of_connection(view, connection, selector),
            None => Value::None,
        },
        Selector::InInterface => Value::Name(view.in_interface),
        Selector::OutInterface => Value::Name(view.out_interface),
        Selector::LinkDelivery => number(match view.delivery {
            LinkDelivery::Unicast => 0,
            LinkDelivery::Broadcast => 1,
            LinkDelivery::Multicast => 2,
        }),
        Selector::SocketOwner if view.local && view.maker == Maker::Sender => UNKNOWN,
        Selector::SocketOwner => Value::None,
        Selector::SourceType(limit) => route_type(view, packet.source, packet.destination, limit),
        Selector::DestinationType(limit) => {
            route_type(view, packet.destination, packet.source, limit)
        }
        Selector::WayBack { loose, valid_mark } => match way_back(view, loose, valid_mark) {
            Ternary::Yes => number(1),
            Ternary::No => number(0),
            Ternary::May(why) => Value::Unknown(why),
        },
        Selector::Constant(value) => number(value),
        Selector::Unknown(why) => Value::Unknown(why),
    }
}

/// An address as a number.
pub(crate) fn address(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn icmp<'v>(transport: Transport, part: fn(u8, u8) -> u8) -> Value<'v> {
    match transport {
        Transport::Icmp { kind, code, .. } => Value::Number(part(kind, code).into()),
        Transport::Ports { .. } | Transport::Opaque => Value::None,
    }
}

/// The one bit of `ct state` (`nft_ct_get_eval`); a packet that nobody tracks counts as invalid
/// (kernel-facts F6).
fn state(view: &View<'_>) -> u64 {
    match view.tracking.state() {
        connection_state::NEW => 8,
        connection_state::RELATED => 4,
        connection_state::ESTABLISHED => 2,
        connection_state::UNTRACKED => 64,
        _ => 1,
    }
}

fn of_connection<'v>(view: &View<'_>, connection: &Connection, selector: Selector) -> Value<'v> {
    let number = |number: u64| Value::Number(number.into());
    match selector {
        Selector::ConnectionMark => number(connection.mark.into()),
        Selector::ConnectionStatus => {
            let bit = |has: bool, bit: u64| if has { bit } else { 0 };
            let known = connection.status();
            // `enum ip_conntrack_status`, as far as a rule can ask for it by name.
            let of = |mask: u16, value: u64| bit(known & mask != 0, value);
            number(
                of(connection_status::SEEN_REPLY, 2)
                    | of(connection_status::ASSURED, 4)
                    | of(connection_status::CONFIRMED, 8)
                    | bit(connection.source_translated, 16)
                    | bit(connection.destination_translated, 32),
            )
        }
        Selector::ConnectionDirection => match view.tracking {
            Tracking::Tracked { direction: Direction::Original, .. } => number(0),
            Tracking::Tracked { direction: Direction::Reply, .. } => number(1),
            Tracking::Template => UNKNOWN,
            Tracking::None | Tracking::Attached | Tracking::Invalid | Tracking::Untracked => {
                Value::None
            }
        },
        Selector::ConnectionProtocol => number(connection.original.protocol.into()),
        Selector::ConnectionZone => number(connection.zone.into()),
        Selector::TupleAddress(field) => Value::Number(address(tuple_address(connection, field))),
        Selector::TuplePort(field) => {
            tuple_port(connection, field).map_or(UNKNOWN, |port| number(port.into()))
        }
        _ => UNKNOWN,
    }
}

/// The type of an address in the way of `nft_fib6_eval_type`: of a lookup in all tables, not just in
/// table local, and one type only.
fn route_type<'v>(
    view: &'v View<'_>,
    address: IpAddr,
    other: IpAddr,
    limit: TypeLimit,
) -> Value<'v> {
    let device = match limit {
        TypeLimit::None => None,
        TypeLimit::InInterface => Some(view.in_interface),
        TypeLimit::OutInterface => Some(view.out_interface),
    };
    let packet = view.packet;
    let link_local = matches!(address, IpAddr::V6(own) if own.is_unicast_link_local());
    let key = Lookup {
        source: Some(other).filter(|other| !other.is_multicast() && !other.is_unspecified()),
        in_interface: match device {
            Some(device) if link_local => device,
            // Of a packet that is sent from here it is the link by which it leaves.
            _ if link_local && view.in_interface.is_empty() => view.out_interface,
            _ if link_local => view.in_interface,
            _ => "lo",
        },
        tos: packet.tos,
        protocol: packet.protocol,
        user: User::Root,
        ..Lookup::to(address)
    };
    let kind = match routing::lookup(view.host, &key) {
        LookupResult::Found(found) => found.route.kind,
        LookupResult::None => return Value::Number(7),
        LookupResult::Refused(_) | LookupResult::Unknown(_) => return UNKNOWN,
    };
    let on_device = || {
        let own = device.and_then(|name| view.host.interface(name));
        own.is_some_and(|own| own.addresses.iter().any(|have| have.local == address))
    };
    Value::Number(match kind {
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable | RouteKind::Throw => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Anycast => 4,
        RouteKind::Local if device.is_none() => 2,
        _ if on_device() => 2,
        _ if address.is_multicast() => 5,
        _ if address.is_unspecified() => 0,
        _ => 1,
    })
}

/// `fib saddr … oif`: a source that nobody has is looked up like any other, unlike in rpfilter, but
/// for those who are about to have an address (`nft_fib4_eval`, `nft_fib6_eval`).
fn way_back(view: &View<'_>, loose: bool, valid_mark: bool) -> Ternary {
    let solicits = match (view.packet.source, view.packet.destination) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [first, ..] = to.segments();
            from.is_unspecified()
                && view.packet.protocol == protocol::ICMPV6
                && (to.is_unicast_link_local() || first & 0xff0f == 0xff02)
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            from.is_unspecified() && (to.is_broadcast() || matches!(to.octets(), [224, 0, 0, _]))
        }
        _ => false,
    };
    if view.in_interface == "lo" || solicits {
        return Ternary::Yes;
    }
    // A source to which a broadcast route leads has a way back, and policy rules see the protocol,
    // unlike for rpfilter (`nft_fib4_eval`; measured).
    let usable = &[RouteKind::Unicast, RouteKind::Broadcast];
    view.way_back(loose, valid_mark, usable, view.packet.protocol, None)
}
