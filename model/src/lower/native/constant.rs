//! Values that rules compare with, as numbers: addresses, ports, names of all kinds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::host::nftables::{BinaryOperator, Expression};
use nattrace_parser::{protocols, services};

use crate::address::Prefix;
use crate::condition::InterfacePattern;
use crate::condition::value::Interval;

/// What kind of values an expression has, which tells what names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Number,
    Address,
    Mark,
    Port,
    Protocol,
    Interface,
    IcmpType,
    IcmpCode,
    Icmpv6Type,
    Icmpv6Code,
    TcpFlags,
    ConnectionState,
    ConnectionStatus,
    Direction,
    Dscp,
    Ecn,
    LinkDelivery,
    EtherType,
    Family,
}

impl ValueKind {
    /// Whether several values together are flags of which any counts.
    pub(super) fn holds_flags(self) -> bool {
        matches!(self, Self::TcpFlags | Self::ConnectionState | Self::ConnectionStatus)
    }
}

/// The interval of a value that is known beforehand.
pub(super) fn interval(kind: ValueKind, value: &Expression) -> Option<Interval> {
    if matches!(value, Expression::Text(text) if text == "*") {
        return Some(Interval::ALL);
    }
    if kind == ValueKind::Interface {
        let Expression::Text(name) = value else { return None };
        return Some(Interval::Interface(interface(name)));
    }
    match value {
        Expression::Prefix(address, length) => {
            let (start, width) = address_bits(address)?;
            let host = u32::from(width).checked_sub(u32::from(*length))?;
            let mask = if host == 128 { u128::MAX } else { (1 << host) - 1 };
            Some(Interval::Numbers(start & !mask, start | mask))
        }
        Expression::Range(first, last) => {
            Some(Interval::Numbers(number(kind, first)?, number(kind, last)?))
        }
        single => number(kind, single).map(|value| Interval::Numbers(value, value)),
    }
}

/// A name, or the beginning of one.
pub(super) fn interface(name: &str) -> InterfacePattern {
    match name.strip_suffix('*') {
        // A backslash keeps the star a star.
        Some(beginning) => match beginning.strip_suffix('\\') {
            Some(name) => InterfacePattern::Name(format!("{name}*").into()),
            None => InterfacePattern::Beginning(beginning.into()),
        },
        None => InterfacePattern::Name(name.into()),
    }
}

fn address_bits(value: &Expression) -> Option<(u128, u8)> {
    let Expression::Text(text) = value else { return None };
    Some(match text.parse().ok()? {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    })
}

/// An address, where it is one.
pub(super) fn address(value: &Expression) -> Option<IpAddr> {
    let Expression::Text(text) = value else { return None };
    text.parse().ok()
}

/// A network, or one address as a network.
pub(super) fn prefix(value: &Expression) -> Option<Prefix> {
    match value {
        Expression::Prefix(network, length) => {
            let network = address(network)?;
            let width = if network.is_ipv4() { 32 } else { 128 };
            (*length <= width).then(|| Prefix::new(network, *length))
        }
        single => {
            let address = address(single)?;
            Some(Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }))
        }
    }
}

/// A number, or what a name or several flags stand for.
pub(super) fn number(kind: ValueKind, value: &Expression) -> Option<u128> {
    match value {
        Expression::Number(number) => Some((*number).into()),
        Expression::Flag(flag) => Some(u128::from(*flag)),
        Expression::List(flags) => {
            let mut all = 0;
            for flag in flags {
                all |= number(kind, flag)?;
            }
            Some(all)
        }
        Expression::Binary(operator, left, right) => {
            let (left, right) = (number(kind, left)?, number(kind, right)?);
            Some(match operator {
                BinaryOperator::And => left & right,
                BinaryOperator::Or => left | right,
                BinaryOperator::Xor => left ^ right,
                BinaryOperator::Left => left.checked_shl(u32::try_from(right).ok()?)?,
                BinaryOperator::Right => left.checked_shr(u32::try_from(right).ok()?)?,
            })
        }
        Expression::Text(text) => named(kind, text),
        _ => None,
    }
}

/// Both ends of a range of ports, or one port twice.
pub(super) fn ports(value: &Expression) -> Option<(u16, u16)> {
    match interval(ValueKind::Port, value)? {
        Interval::Numbers(first, last) => {
            Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?))
        }
        Interval::Interface(_) => None,
    }
}

/// Both ends of a range of addresses, or one address twice.
pub(super) fn addresses(value: &Expression) -> Option<(IpAddr, IpAddr)> {
    match value {
        Expression::Range(first, last) => Some((address(first)?, address(last)?)),
        Expression::Prefix(network, _) => {
            let Interval::Numbers(first, last) = interval(ValueKind::Address, value)? else {
                return None;
            };
            let of = |bits: u128| match address(network)? {
                IpAddr::V4(_) => Some(IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?))),
                IpAddr::V6(_) => Some(IpAddr::V6(Ipv6Addr::from_bits(bits))),
            };
            Some((of(first)?, of(last)?))
        }
        single => {
            let address = address(single)?;
            Some((address, address))
        }
    }
}

fn named(kind: ValueKind, text: &str) -> Option<u128> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u128::from_str_radix(hex, 16).ok();
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    let of = |table: &[(&str, u64)]| {
        table.iter().find(|(name, _)| *name == text).map(|(_, value)| u128::from(*value))
    };
    match kind {
        ValueKind::Number | ValueKind::Mark | ValueKind::Interface => None,
        ValueKind::Address => match text.parse().ok()? {
            IpAddr::V4(address) => Some(address.to_bits().into()),
            IpAddr::V6(address) => Some(address.to_bits()),
        },
        ValueKind::Port => services::port(text, None).map(Into::into),
        ValueKind::Protocol => protocols::number(text).map(Into::into),
        ValueKind::IcmpType => of(ICMP_TYPES),
        ValueKind::IcmpCode => of(ICMP_CODES),
        ValueKind::Icmpv6Type => of(ICMPV6_TYPES),
        ValueKind::Icmpv6Code => of(ICMPV6_CODES),
        ValueKind::TcpFlags => of(TCP_FLAGS),
        ValueKind::ConnectionState => of(CONNECTION_STATES),
        ValueKind::ConnectionStatus => of(CONNECTION_STATUS),
        ValueKind::Direction => of(&[("original", 0), ("reply", 1)]),
        ValueKind::Dscp => of(DSCP),
        ValueKind::Ecn => of(&[("not-ect", 0), ("ect1", 1), ("ect0", 2), ("ce", 3)]),
        ValueKind::LinkDelivery => {
            of(&[("host", 0), ("unicast", 0), ("broadcast", 1), ("multicast", 2), ("other", 3)])
        }
        ValueKind::EtherType => of(&[("ip", 0x0800), ("arp", 0x0806), ("ip6", 0x86dd)]),
        ValueKind::Family => of(&[("ipv4", 2), ("ipv6", 10)]),
    }
}

/// `nft describe icmp type`.
const ICMP_TYPES: &[(&str, u64)] = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
];

/// `nft describe icmp code`.
const ICMP_CODES: &[(&str, u64)] = &[
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("frag-needed", 4),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

/// `nft describe icmpv6 type`.
const ICMPV6_TYPES: &[(&str, u64)] = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("mld-listener-reduction", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("router-renumbering", 138),
    ("ind-neighbor-solicit", 141),
    ("ind-neighbor-advert", 142),
    ("mld2-listener-report", 143),
];

/// `nft describe icmpv6 code`.
const ICMPV6_CODES: &[(&str, u64)] = &[
    ("no-route", 0),
    ("admin-prohibited", 1),
    ("addr-unreachable", 3),
    ("port-unreachable", 4),
    ("policy-fail", 5),
    ("reject-route", 6),
];

const TCP_FLAGS: &[(&str, u64)] = &[
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ecn", 0x40),
    ("cwr", 0x80),
];

/// `enum nft_ct_state` as `nft describe ct state` prints it.
const CONNECTION_STATES: &[(&str, u64)] =
    &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)];

/// `enum ip_conntrack_status` as `nft describe ct status` prints it.
const CONNECTION_STATUS: &[(&str, u64)] = &[
    ("expected", 1),
    ("seen-reply", 2),
    ("assured", 4),
    ("confirmed", 8),
    ("snat", 16),
    ("dnat", 32),
    ("dying", 512),
];

/// `nft describe ip dscp`.
const DSCP: &[(&str, u64)] = &[
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("df", 0),
    ("be", 0),
    ("lephb", 1),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("va", 44),
    ("ef", 46),
];
