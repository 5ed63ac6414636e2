//! Comparisons of nft as conditions: those that iptables knows too become the same ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use nattrace_parser::host::nftables::{Element, Expression, Relation, Set, Statement};
use nattrace_parser::syntax::Family;

use super::Context;
use super::constant::{self, ValueKind};
use super::operand::{Reading, readings};
use crate::address::Prefix;
use crate::condition::value::{
    BitOperation, Interval, Operand, Selector, ValueCondition, ValueSet,
};
use crate::condition::{
    Condition, ConnectionCondition, PortSide, Sense, TypeLimit, Undecided, address_type,
    connection_state,
};

/// What a comparison comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) conditions: Vec<Condition>,
    /// Whether it makes the kernel track connections.
    pub(super) tracked: bool,
}

const UNSUPPORTED: Condition = Condition::Undecided(Undecided::Unsupported);

/// A comparison.
pub(super) fn compare(
    context: &Context<'_>,
    relation: Relation,
    left: &Expression,
    right: &Expression,
) -> Compared {
    if let Some(conditions) = special(context, relation, left, right) {
        return Compared { conditions, tracked: false };
    }
    let read = readings(left, context.family);
    let tracked = read.iter().any(|reading| reading.tracked);
    let mut conditions: Vec<Condition> =
        read.iter().flat_map(|reading| reading.needs.clone()).collect();
    conditions.push(condition(context, relation, &read, right).unwrap_or(UNSUPPORTED));
    Compared { conditions, tracked }
}

/// Two ports that are compared with `!=` one behind the other: nft makes one comparison of them,
/// which holds unless both are equal; later versions do not, and list the same. So where just one
/// is equal, nobody can say (kernel-facts K33).
pub(super) fn joined(
    context: &Context<'_>,
    one: &Statement,
    next: &Statement,
) -> Option<Vec<Condition>> {
    let port = |statement: &Statement, side: &str| match statement {
        Statement::Match {
            relation: Relation::NotEqual,
            left: left @ Expression::Payload { protocol, field },
            right: right @ (Expression::Number(_) | Expression::Text(_)),
        } if field == side => Some((protocol.clone(), left.clone(), right.clone())),
        _ => None,
    };
    let (protocol, source, from) = port(one, "sport")?;
    let (other, destination, to) = port(next, "dport")?;
    if protocol != other {
        return None;
    }
    let read = readings(&Expression::Concatenation(vec![source, destination]), context.family);
    let both = element(&read, &Expression::Concatenation(vec![from, to]))?;
    let [own, far] = &*both else { return None };
    let either = vec![[own.clone(), Interval::ALL].into(), [Interval::ALL, far.clone()].into()];
    let unsure = Arc::new(ValueSet { elements: either, grows: false, shrinks: true });
    let unsure = ValueCondition { operands: operands(&read), set: unsure };
    let needs = read.iter().flat_map(|reading| reading.needs.clone());
    let mut conditions: Vec<Condition> = needs.collect();
    conditions.push(value(Sense::IsNot, &read, vec![both]));
    conditions.push(Condition::Value(Sense::IsNot, Box::new(unsure)));
    Some(conditions)
}

fn condition(
    context: &Context<'_>,
    relation: Relation,
    read: &[Reading],
    right: &Expression,
) -> Option<Condition> {
    let sense = Sense::of_negation(relation == Relation::NotEqual);
    if let [single] = read {
        if let Expression::Range(first, last) = right {
            // `tcp dport < 1024 tcp dport > 500` is listed as `!= 1024-500`, `tcp sport >= 80 tcp
            // dport <= 53` as `tcp dport 80-53`: of which field the first was, nobody can say
            // (kernel-facts K33).
            if constant::number(single.kind, first)? > constant::number(single.kind, last)? {
                return None;
            }
        }
        if let Selector::Unknown(why) = single.operand.selector {
            return Some(Condition::Undecided(why));
        }
        if let Some(found) = flags(relation, single, right) {
            return Some(found);
        }
        if let Some(interval) = ordered(relation, single, right) {
            return Some(value(Sense::Is, read, vec![Box::new([interval?])]));
        }
    }
    if let Some(set) = named_set(context, right) {
        let elements = elements(read, &set.elements)?;
        let grows = context.grown.contains(set.name.as_str());
        let shrinks = context.shrunk.contains(set.name.as_str());
        let set = Arc::new(ValueSet { elements, grows, shrinks });
        return Some(Condition::Value(
            sense,
            Box::new(ValueCondition { operands: operands(read), set }),
        ));
    }
    let elements = match right {
        Expression::Set(own) => elements(read, own)?,
        Expression::SetReference(_) => return None,
        single => vec![element(read, single)?],
    };
    if let [reading] = read
        && let Some(found) = usual(sense, reading, &elements, context.family)
    {
        return Some(found);
    }
    Some(value(sense, read, elements))
}

fn operands(read: &[Reading]) -> Box<[Operand]> {
    read.iter().map(|reading| reading.operand.clone()).collect()
}

fn value(sense: Sense, read: &[Reading], elements: Vec<Box<[Interval]>>) -> Condition {
    let set = Arc::new(ValueSet { elements, grows: false, shrinks: false });
    Condition::Value(sense, Box::new(ValueCondition { operands: operands(read), set }))
}

/// The set that a name stands for.
pub(super) fn named_set<'a>(context: &Context<'a>, value: &Expression) -> Option<&'a Set> {
    let Expression::SetReference(name) = value else { return None };
    context.ruleset.sets.iter().find(|set| set.table == *context.table && set.name == *name)
}

/// The elements of a set as intervals.
pub(super) fn elements(read: &[Reading], listed: &[Element]) -> Option<Vec<Box<[Interval]>>> {
    listed.iter().map(|listed| element(read, &listed.key)).collect()
}

/// One value as intervals: one for each part of a concatenation.
pub(super) fn element(read: &[Reading], value: &Expression) -> Option<Box<[Interval]>> {
    match (read, value) {
        ([single], value) if !matches!(value, Expression::Concatenation(_)) => {
            Some(Box::new([constant::interval(single.kind, value)?]))
        }
        (read, Expression::Concatenation(parts)) if read.len() == parts.len() => read
            .iter()
            .zip(parts)
            .map(|(reading, part)| constant::interval(reading.kind, part))
            .collect(),
        (read, Expression::Text(any)) if any == "*" => {
            Some(read.iter().map(|_| Interval::ALL).collect())
        }
        _ => None,
    }
}

/// `ct state new,related`, `tcp flags syn`, `ct status dnat`: one of the bits is set, or (of later
/// versions, with a list behind `!=`) none.
fn flags(relation: Relation, reading: &Reading, right: &Expression) -> Option<Condition> {
    if !reading.kind.holds_flags() && relation != Relation::Without {
        return None;
    }
    let plain = reading.operand.operations.is_empty();
    let sense = match (relation, right) {
        (Relation::In, right) if !matches!(right, Expression::Set(_)) => Sense::Is,
        (Relation::NotEqual, Expression::List(_)) | (Relation::Without, _) => Sense::IsNot,
        // What else is in the word than its names, nobody can say.
        _ if reading.kind == ValueKind::ConnectionStatus && plain => return Some(UNSUPPORTED),
        _ => return None,
    };
    if !plain {
        return Some(UNSUPPORTED);
    }
    let mask = constant::number(reading.kind, right)?;
    if reading.kind == ValueKind::ConnectionState {
        return Some(state(sense, mask));
    }
    let masked = Operand {
        selector: reading.operand.selector,
        operations: Box::new([BitOperation::Mask { mask, xor: 0 }]),
    };
    let elements: Vec<Box<[Interval]>> = vec![Box::new([Interval::Numbers(1, u128::MAX)])];
    let set = Arc::new(ValueSet { elements, grows: false, shrinks: false });
    Some(Condition::Value(sense, Box::new(ValueCondition { operands: Box::new([masked]), set })))
}

/// The state is one bit, so asking for one of several is what `--ctstate` asks.
fn state(sense: Sense, bits: u128) -> Condition {
    let of = |bit: u128, own: u16| if bits & bit != 0 { own } else { 0 };
    let mask = of(1, connection_state::INVALID)
        | of(2, connection_state::ESTABLISHED)
        | of(4, connection_state::RELATED)
        | of(8, connection_state::NEW)
        | of(64, connection_state::UNTRACKED);
    Condition::Connection(sense, Box::new(ConnectionCondition::State(mask)))
}

/// `<`, `>`, `<=`, `>=`; the outer `None` where it is no such relation.
fn ordered(relation: Relation, reading: &Reading, right: &Expression) -> Option<Option<Interval>> {
    let number = || constant::number(reading.kind, right);
    Some(match relation {
        Relation::Less => number().map(|end| match end.checked_sub(1) {
            Some(last) => Interval::Numbers(0, last),
            None => Interval::Numbers(1, 0),
        }),
        Relation::AtMost => number().map(|last| Interval::Numbers(0, last)),
        Relation::Greater => {
            number().and_then(|end| Some(Interval::Numbers(end.checked_add(1)?, u128::MAX)))
        }
        Relation::AtLeast => number().map(|first| Interval::Numbers(first, u128::MAX)),
        Relation::Equal | Relation::NotEqual | Relation::In | Relation::Without => return None,
    })
}

/// The condition of iptables that asks the same.
fn usual(
    sense: Sense,
    reading: &Reading,
    elements: &[Box<[Interval]>],
    family: Family,
) -> Option<Condition> {
    let operand = &reading.operand;
    let intervals: Vec<&Interval> = elements.iter().filter_map(|element| element.first()).collect();
    if let ([Interval::Interface(pattern)], []) = (intervals.as_slice(), &*operand.operations) {
        return Some(match operand.selector {
            Selector::InInterface => Condition::InInterface(sense, pattern.clone()),
            _ => Condition::OutInterface(sense, pattern.clone()),
        });
    }
    let numbers: Vec<(u128, u128)> = intervals
        .iter()
        .filter_map(|interval| match interval {
            Interval::Numbers(first, last) => Some((*first, *last)),
            Interval::Interface(_) => None,
        })
        .collect();
    if numbers.len() != elements.len() {
        return None;
    }
    // No bits but these: the condition of iptables has a mask of its own.
    let mask = match &*operand.operations {
        [] => u128::MAX,
        [BitOperation::Mask { mask, xor: 0 }] => *mask,
        _ => return None,
    };
    let whole = mask == u128::MAX;
    if let Selector::ConnectionState = operand.selector {
        let single = numbers.iter().all(|(first, last)| first == last && first.count_ones() == 1);
        let bits = numbers.iter().fold(0, |bits, (first, _)| bits | first);
        return (whole && single).then(|| state(sense, bits));
    }
    if let (true, Some(side)) = (whole, side_of(operand.selector)) {
        // `th` reads what stands there, ports or not.
        if reading.needs.is_empty() {
            return None;
        }
        let ports: Option<Vec<(u16, u16)>> = numbers
            .iter()
            .map(|(first, last)| Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?)))
            .collect();
        return Some(match ports?.as_slice() {
            [(first, last)] => Condition::Port(sense, side, *first, *last),
            ranges => Condition::Ports(sense, side, ranges.into()),
        });
    }
    let [(first, last)] = *numbers.as_slice() else { return None };
    single(sense, operand.selector, (first, last), mask, family)
}

fn side_of(selector: Selector) -> Option<PortSide> {
    match selector {
        Selector::SourcePort => Some(PortSide::Source),
        Selector::DestinationPort => Some(PortSide::Destination),
        _ => None,
    }
}

/// The condition of iptables for one interval.
fn single(
    sense: Sense,
    selector: Selector,
    (first, last): (u128, u128),
    mask: u128,
    family: Family,
) -> Option<Condition> {
    let whole = mask == u128::MAX;
    let one = first == last;
    match selector {
        Selector::Source | Selector::Destination if whole => {
            let range = (address(first, family)?, address(last, family)?);
            Some(match (selector, prefix(range)) {
                (Selector::Source, Some(prefix)) => Condition::Source(sense, prefix),
                (Selector::Source, None) => Condition::SourceRange(sense, Box::new(range)),
                (_, Some(prefix)) => Condition::Destination(sense, prefix),
                (_, None) => Condition::DestinationRange(sense, Box::new(range)),
            })
        }
        Selector::Protocol if whole && one => {
            Some(Condition::Protocol(sense, u8::try_from(first).ok()?))
        }
        Selector::Mark if one => {
            Some(Condition::Mark { sense, value: low(first), mask: low(mask) })
        }
        Selector::ConnectionMark if one => {
            Some(Condition::ConnectionMark { sense, value: low(first), mask: low(mask) })
        }
        Selector::TcpFlags if one => {
            let byte = |value: u128| u8::try_from(value & 0xff).unwrap_or(0);
            Some(Condition::TcpFlags { sense, mask: byte(mask), compare: byte(first) })
        }
        Selector::Constant(value) if whole => {
            let holds = (first..=last).contains(&u128::from(value));
            Some(Condition::Constant(sense.apply(holds)))
        }
        _ => None,
    }
}

/// The lowest 32 bits, which marks have.
pub(super) fn low(value: u128) -> u32 {
    u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)
}

fn address(bits: u128, family: Family) -> Option<IpAddr> {
    Some(match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    })
}

/// The prefix that is exactly a range.
fn prefix((first, last): (IpAddr, IpAddr)) -> Option<Prefix> {
    let host = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(first.to_bits() ^ last.to_bits()),
        (IpAddr::V6(first), IpAddr::V6(last)) => first.to_bits() ^ last.to_bits(),
        _ => return None,
    };
    let bits = match first {
        IpAddr::V4(first) => u128::from(first.to_bits()),
        IpAddr::V6(first) => first.to_bits(),
    };
    let width = if first.is_ipv4() { 32 } else { 128 };
    let contiguous = host & host.wrapping_add(1) == 0 && bits & host == 0;
    let length = u8::try_from(width - host.count_ones()).ok()?;
    contiguous.then(|| Prefix::new(first, length))
}

/// Comparisons that are no lookups of a value: routes, extension headers, hardware addresses.
fn special(
    context: &Context<'_>,
    relation: Relation,
    left: &Expression,
    right: &Expression,
) -> Option<Vec<Condition>> {
    let sense = Sense::of_negation(relation == Relation::NotEqual);
    match left {
        Expression::Fib { result, flags } => {
            Some(vec![fib((sense, context.family), result, flags, right)])
        }
        Expression::Payload { protocol, field } if protocol == "ether" && field == "saddr" => {
            let Expression::Text(text) = right else { return Some(vec![UNSUPPORTED]) };
            Some(vec![mac(text).map_or(UNSUPPORTED, |mac| Condition::Mac(sense, mac))])
        }
        Expression::Other { kind, .. } => Some(other(context, kind, sense, right)),
        _ => None,
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// A traced packet has no extension headers and no IP options; of its TCP options nothing is known.
fn other(context: &Context<'_>, kind: &str, sense: Sense, right: &Expression) -> Vec<Condition> {
    let family = match kind {
        "exthdr" => Family::Ipv6,
        "ip option" => Family::Ipv4,
        "tcp option" => {
            return vec![
                Condition::Protocol(Sense::Is, nattrace_parser::protocols::TCP),
                UNSUPPORTED,
            ];
        }
        "jhash" | "symhash" => {
            return vec![Condition::Undecided(Undecided::Chance { at_first: None })];
        }
        _ => return vec![UNSUPPORTED],
    };
    let missing = matches!(right, Expression::Flag(false));
    let asks_presence = matches!(right, Expression::Flag(_));
    vec![Condition::Constant(family == context.family && asks_presence && sense.apply(missing))]
}

/// `fib`: the type of an address (as addrtype), or whether the way back is known
/// (not quite as rpfilter).
fn fib(
    (sense, family): (Sense, Family),
    result: &str,
    flags: &[String],
    right: &Expression,
) -> Condition {
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let source = has("saddr");
    if result == "type" {
        let limit = match (has("iif"), has("oif")) {
            (true, _) => TypeLimit::InInterface,
            (_, true) => TypeLimit::OutInterface,
            (false, false) => TypeLimit::None,
        };
        let Some(types) = address_types(right) else { return UNSUPPORTED };
        if family == Family::Ipv6 {
            // addrtype's answer is another one for IPv6 (`nft_fib6_eval_type`).
            let selector = match source {
                true => Selector::SourceType(limit),
                false => Selector::DestinationType(limit),
            };
            return type_condition(sense, selector, types);
        }
        return if source {
            Condition::SourceType(sense, types, limit)
        } else {
            Condition::DestinationType(sense, types, limit)
        };
    }
    let exists = match right {
        Expression::Flag(exists) => *exists,
        Expression::Text(text) if text == "0" => false,
        Expression::Number(0) => false,
        _ => return UNSUPPORTED,
    };
    if !source || has("oif") {
        return UNSUPPORTED;
    }
    let sense = Sense::of_negation(!sense.apply(exists));
    let (loose, valid_mark) = (!has("iif"), has("mark"));
    type_condition(sense, Selector::WayBack { loose, valid_mark }, 1 << 1)
}

/// One of the types, which are bits by the kernel's numbers.
fn type_condition(sense: Sense, selector: Selector, types: u16) -> Condition {
    let numbers = (0..16u128).filter(|number| types & (1 << number) != 0);
    let elements: Vec<Box<[Interval]>> =
        numbers.map(|number| vec![Interval::Numbers(number, number)].into()).collect();
    let set = Arc::new(ValueSet { elements, grows: false, shrinks: false });
    let operands = Box::new([Operand::plain(selector)]);
    Condition::Value(sense, Box::new(ValueCondition { operands, set }))
}

fn address_types(right: &Expression) -> Option<u16> {
    match right {
        Expression::Set(elements) => {
            elements.iter().try_fold(0, |all, element| Some(all | address_types(&element.key)?))
        }
        Expression::Text(name) => Some(match name.as_str() {
            "unspec" => address_type::UNSPEC,
            "unicast" => address_type::UNICAST,
            "local" => address_type::LOCAL,
            "broadcast" => address_type::BROADCAST,
            "anycast" => address_type::ANYCAST,
            "multicast" => address_type::MULTICAST,
            "blackhole" => address_type::BLACKHOLE,
            "unreachable" => address_type::UNREACHABLE,
            "prohibit" => address_type::PROHIBIT,
            _ => return None,
        }),
        _ => None,
    }
}
