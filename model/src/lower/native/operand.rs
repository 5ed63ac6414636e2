//! Where a rule reads a value, and what has to hold for it to be there: nft adds to `tcp dport 80`
//! that the packet is one of TCP.

use nattrace_parser::host::nftables::{BinaryOperator, Expression};
use nattrace_parser::protocols;
use nattrace_parser::syntax::Family;

use super::constant::{ValueKind, number};
use crate::condition::value::{BitOperation, Operand, Selector};
use crate::condition::{Condition, Sense, TupleField, Undecided};

/// A value that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What must hold, or the rule ends.
    pub(super) needs: Vec<Condition>,
    pub(super) operand: Operand,
    pub(super) kind: ValueKind,
    /// Whether it makes the kernel track connections.
    pub(super) tracked: bool,
}

impl Reading {
    fn plain(selector: Selector, kind: ValueKind) -> Self {
        Self { needs: Vec::new(), operand: Operand::plain(selector), kind, tracked: false }
    }

    fn unknown(why: Undecided) -> Self {
        Self::plain(Selector::Unknown(why), ValueKind::Number)
    }

    fn needing(mut self, condition: Condition) -> Self {
        self.needs.insert(0, condition);
        self
    }

    fn of_family(self, asked: Family, own: Family) -> Self {
        if asked == own { self } else { self.needing(Condition::Constant(false)) }
    }

    fn then(mut self, operation: BitOperation) -> Self {
        let mut operations = self.operand.operations.to_vec();
        operations.push(operation);
        self.operand.operations = operations.into();
        self
    }
}

const UNSUPPORTED: Undecided = Undecided::Unsupported;
const CHANCE: Undecided = Undecided::Chance { at_first: None };

/// The parts of a concatenation, or the one value.
pub(super) fn readings(expression: &Expression, family: Family) -> Vec<Reading> {
    match expression {
        Expression::Concatenation(parts) => parts.iter().map(|part| read(part, family)).collect(),
        single => vec![read(single, family)],
    }
}

/// One value.
pub(super) fn read(expression: &Expression, family: Family) -> Reading {
    match expression {
        Expression::Payload { protocol, field } => payload(protocol, field, family),
        Expression::RawPayload { base, offset, length } => {
            raw(base, (*offset, *length), family).unwrap_or(Reading::unknown(UNSUPPORTED))
        }
        Expression::Meta(key) => meta(key, family),
        Expression::Ct { key, direction } => {
            let reading = connection(key, direction.as_deref(), family);
            Reading { tracked: true, ..reading }
        }
        Expression::Numgen { .. } => Reading::unknown(CHANCE),
        Expression::Other { kind, .. } if kind == "jhash" || kind == "symhash" => {
            Reading::unknown(CHANCE)
        }
        Expression::Binary(operator, left, right) => binary(*operator, left, right, family),
        _ => Reading::unknown(UNSUPPORTED),
    }
}

fn binary(
    operator: BinaryOperator,
    left: &Expression,
    right: &Expression,
    family: Family,
) -> Reading {
    let reading = read(left, family);
    let Some(value) = number(reading.kind, right) else { return Reading::unknown(UNSUPPORTED) };
    let all = u128::MAX;
    let shift = u8::try_from(value);
    let operation = match operator {
        BinaryOperator::And => BitOperation::Mask { mask: value, xor: 0 },
        BinaryOperator::Or => BitOperation::Mask { mask: all & !value, xor: value },
        BinaryOperator::Xor => BitOperation::Mask { mask: all, xor: value },
        BinaryOperator::Left => match shift {
            Ok(by) => BitOperation::Left(by),
            Err(_) => return Reading::unknown(UNSUPPORTED),
        },
        BinaryOperator::Right => match shift {
            Ok(by) => BitOperation::Right(by),
            Err(_) => return Reading::unknown(UNSUPPORTED),
        },
    };
    // Of the fragment word only the offset and `more fragments` are known: a packet is whole.
    let fragment = matches!(left, Expression::Payload { field, .. } if field == "frag-off");
    if fragment && operator == BinaryOperator::And && value & 0x4000 == 0 {
        return Reading::plain(Selector::Constant(0), ValueKind::Number)
            .of_family(Family::Ipv4, family);
    }
    reading.then(operation)
}

fn protocol_is(number: u8) -> Condition {
    Condition::Protocol(Sense::Is, number)
}

fn payload(protocol: &str, field: &str, family: Family) -> Reading {
    let ports = |needs: Option<u8>| {
        let selector = match field {
            "sport" => Selector::SourcePort,
            "dport" => Selector::DestinationPort,
            "flags" if protocol == "tcp" => Selector::TcpFlags,
            _ => Selector::Unknown(UNSUPPORTED),
        };
        let kind = match selector {
            Selector::TcpFlags => ValueKind::TcpFlags,
            _ => ValueKind::Port,
        };
        let reading = Reading::plain(selector, kind);
        match needs {
            Some(number) => reading.needing(protocol_is(number)),
            None => reading,
        }
    };
    match protocol {
        "tcp" => ports(Some(protocols::TCP)),
        "udp" => ports(Some(protocols::UDP)),
        "sctp" => ports(Some(protocols::SCTP)),
        "dccp" => ports(Some(protocols::DCCP)),
        "udplite" => ports(Some(protocols::UDPLITE)),
        "th" => ports(None),
        "ip" => header4(field).of_family(Family::Ipv4, family),
        "ip6" => header6(field).of_family(Family::Ipv6, family),
        "icmp" => {
            let reading = match field {
                "type" => Reading::plain(Selector::IcmpType, ValueKind::IcmpType),
                "code" => Reading::plain(Selector::IcmpCode, ValueKind::IcmpCode),
                _ => Reading::unknown(UNSUPPORTED),
            };
            reading.needing(protocol_is(protocols::ICMP)).of_family(Family::Ipv4, family)
        }
        "icmpv6" => {
            let reading = match field {
                "type" => Reading::plain(Selector::IcmpType, ValueKind::Icmpv6Type),
                "code" => Reading::plain(Selector::IcmpCode, ValueKind::Icmpv6Code),
                _ => Reading::unknown(UNSUPPORTED),
            };
            reading.needing(protocol_is(protocols::ICMPV6)).of_family(Family::Ipv6, family)
        }
        "ah" => Reading::unknown(UNSUPPORTED).needing(protocol_is(protocols::AH)),
        "esp" => Reading::unknown(UNSUPPORTED).needing(protocol_is(protocols::ESP)),
        "comp" => Reading::unknown(UNSUPPORTED).needing(protocol_is(protocols::IPCOMP)),
        "igmp" => Reading::unknown(UNSUPPORTED).needing(protocol_is(2)),
        "ether" if field == "type" => meta("protocol", family),
        _ => Reading::unknown(UNSUPPORTED),
    }
}

/// Whole fields by their place in the header, as programs write them that do not go by nft's names
/// (miniupnpd), in bits: where it begins, and how long it is.
fn raw(base: &str, bits: (u32, u32), family: Family) -> Option<Reading> {
    let plain = |selector| Some(Reading::plain(selector, ValueKind::Number));
    match (base, family, bits) {
        ("nh", Family::Ipv4, (72, 8)) | ("nh", Family::Ipv6, (48, 8)) => plain(Selector::Protocol),
        ("nh", Family::Ipv4, (64, 8)) | ("nh", Family::Ipv6, (56, 8)) => plain(Selector::Ttl),
        ("nh", Family::Ipv4, (96, 32)) | ("nh", Family::Ipv6, (64, 128)) => plain(Selector::Source),
        ("nh", Family::Ipv4, (128, 32)) | ("nh", Family::Ipv6, (192, 128)) => {
            plain(Selector::Destination)
        }
        ("th", _, (0, 16)) => plain(Selector::SourcePort),
        ("th", _, (16, 16)) => plain(Selector::DestinationPort),
        _ => None,
    }
}

fn header4(field: &str) -> Reading {
    match field {
        "saddr" => Reading::plain(Selector::Source, ValueKind::Address),
        "daddr" => Reading::plain(Selector::Destination, ValueKind::Address),
        "protocol" => Reading::plain(Selector::Protocol, ValueKind::Protocol),
        "ttl" => Reading::plain(Selector::Ttl, ValueKind::Number),
        "length" => Reading::plain(Selector::Length, ValueKind::Number),
        "version" => Reading::plain(Selector::Constant(4), ValueKind::Number),
        // A traced packet carries no option.
        "hdrlength" => Reading::plain(Selector::Constant(5), ValueKind::Number),
        other => service(other),
    }
}

fn header6(field: &str) -> Reading {
    match field {
        "saddr" => Reading::plain(Selector::Source, ValueKind::Address),
        "daddr" => Reading::plain(Selector::Destination, ValueKind::Address),
        // A traced packet carries no extension header.
        "nexthdr" => Reading::plain(Selector::Protocol, ValueKind::Protocol),
        "hoplimit" => Reading::plain(Selector::Ttl, ValueKind::Number),
        "version" => Reading::plain(Selector::Constant(6), ValueKind::Number),
        other => service(other),
    }
}

/// The two parts of the type of service.
fn service(field: &str) -> Reading {
    let tos = |kind| Reading::plain(Selector::TypeOfService, kind);
    match field {
        "dscp" => tos(ValueKind::Dscp).then(BitOperation::Right(2)),
        "ecn" => tos(ValueKind::Ecn).then(BitOperation::Mask { mask: 3, xor: 0 }),
        _ => Reading::unknown(UNSUPPORTED),
    }
}

fn meta(key: &str, family: Family) -> Reading {
    let by_family = |ipv4: u64, ipv6: u64| {
        Selector::Constant(match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        })
    };
    match key {
        "l4proto" => Reading::plain(Selector::Protocol, ValueKind::Protocol),
        "mark" => Reading::plain(Selector::Mark, ValueKind::Mark),
        "length" => Reading::plain(Selector::Length, ValueKind::Number),
        "nfproto" => Reading::plain(by_family(2, 10), ValueKind::Family),
        "protocol" => Reading::plain(by_family(0x0800, 0x86dd), ValueKind::EtherType),
        "pkttype" => Reading::plain(Selector::LinkDelivery, ValueKind::LinkDelivery),
        // The listing names the interface of an index.
        "iif" | "iifname" => Reading::plain(Selector::InInterface, ValueKind::Interface),
        "oif" | "oifname" => Reading::plain(Selector::OutInterface, ValueKind::Interface),
        "skuid" | "skgid" => Reading::plain(Selector::SocketOwner, ValueKind::Number),
        "random" | "cpu" => Reading::unknown(CHANCE),
        _ => Reading::unknown(UNSUPPORTED),
    }
}

fn connection(key: &str, direction: Option<&str>, family: Family) -> Reading {
    let field = |source: bool| match (direction, source) {
        (Some("reply"), true) => TupleField::ReplySource,
        (Some("reply"), false) => TupleField::ReplyDestination,
        (_, true) => TupleField::OriginalSource,
        (_, false) => TupleField::OriginalDestination,
    };
    let address =
        |source: bool| Reading::plain(Selector::TupleAddress(field(source)), ValueKind::Address);
    let port = |source: bool| Reading::plain(Selector::TuplePort(field(source)), ValueKind::Port);
    // What a packet without a connection does not have ends the rule.
    let of_connection = |reading: Reading| reading.needing(has_connection());
    match key {
        "state" => Reading::plain(Selector::ConnectionState, ValueKind::ConnectionState),
        "status" => Reading::plain(Selector::ConnectionStatus, ValueKind::ConnectionStatus),
        "mark" => Reading::plain(Selector::ConnectionMark, ValueKind::Mark),
        "direction" => Reading::plain(Selector::ConnectionDirection, ValueKind::Direction),
        "zone" => Reading::plain(Selector::ConnectionZone, ValueKind::Number),
        "protocol" => Reading::plain(Selector::ConnectionProtocol, ValueKind::Protocol),
        "saddr" | "daddr" => address(key == "saddr"),
        "ip saddr" | "ip daddr" => address(key == "ip saddr").of_family(Family::Ipv4, family),
        "ip6 saddr" | "ip6 daddr" => address(key == "ip6 saddr").of_family(Family::Ipv6, family),
        "proto-src" | "proto-dst" => port(key == "proto-src"),
        "l3proto" => {
            let number = if family == Family::Ipv4 { 2 } else { 10 };
            of_connection(Reading::plain(Selector::Constant(number), ValueKind::Family))
        }
        "expiration" | "bytes" | "packets" | "avgpkt" | "id" => {
            of_connection(Reading::unknown(CHANCE))
        }
        _ => of_connection(Reading::unknown(UNSUPPORTED)),
    }
}

/// Holds for a packet with a connection.
pub(super) fn has_connection() -> Condition {
    Condition::ConnectionMark { sense: Sense::Is, value: 0, mask: 0 }
}
