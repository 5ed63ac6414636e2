//! Statements that rewrite or refuse: NAT, marks, header fields, `reject`, `tproxy`.

use nattrace_parser::host::nftables::{Expression, NatKind, NatStatement};
use nattrace_parser::protocols;
use nattrace_parser::syntax::{Family, NatRange};

use super::compare::low;
use super::constant::{self, ValueKind, number};
use super::operand::{has_connection, read};
use super::rule::Draft;
use crate::condition::value::{BitOperation, Selector};
use crate::condition::{Condition, Sense};
use crate::target::{ConnmarkAction, MarkShift, NatOptions, RejectWith, Target, TtlAction};

/// The family that a word names.
fn family_of(word: &str) -> Option<Family> {
    match word {
        "ip" => Some(Family::Ipv4),
        "ip6" => Some(Family::Ipv6),
        _ => None,
    }
}

/// `snat`, `dnat`, `masquerade`, `redirect`.
pub(super) fn nat(draft: &mut Draft<'_>, nat: &NatStatement) {
    let own = draft.context.family;
    if nat.family.as_deref().and_then(family_of).is_some_and(|asked| asked != own) {
        // In a table of both families it leaves the other one's packets alone, and the rule goes on
        // (`nft_nat_inet_eval`). A map is asked before, and ends the rule where it says nothing.
        for value in [&nat.address, &nat.port].into_iter().flatten() {
            if let Expression::Map(key, data) = value {
                draft.map(key, data, Target::None, |_, _| Some(Target::None));
            }
        }
        return;
    }
    let has = |flag: &str| nat.flags.iter().any(|given| given == flag);
    let options =
        NatOptions { random: has("random") || has("fully-random"), persistent: has("persistent") };
    if has("netmap") || nat.type_flags.iter().any(|flag| flag == "prefix") {
        let plain = nat.port.is_none() && options == NatOptions::default();
        let network = |value: &Expression| {
            constant::prefix(value).filter(|prefix| plain && prefix.family() == own)
        };
        let target = match &nat.address {
            Some(Expression::Map(key, data)) => {
                return draft.map(key, data, unsupported(nat.kind), |_, value| {
                    network(value).map(Target::Netmap)
                });
            }
            address => address.as_ref().and_then(network).map(Target::Netmap),
        };
        return draft.act(target.unwrap_or(unsupported(nat.kind)));
    }
    match (&nat.address, &nat.port) {
        (Some(Expression::Map(key, data)), None) => {
            draft.map(key, data, unsupported(nat.kind), |draft, value| {
                let (address, port) = match value {
                    Expression::Concatenation(parts) => match parts.as_slice() {
                        [address, port] => (Some(address), Some(port)),
                        _ => return None,
                    },
                    address => (Some(address), None),
                };
                target(nat.kind, address, port, options, draft.context.family)
            });
        }
        (Some(Expression::Map(key, data)), port @ Some(_)) => {
            draft.map(key, data, unsupported(nat.kind), |draft, value| {
                target(nat.kind, Some(value), port.as_ref(), options, draft.context.family)
            });
        }
        (address, Some(Expression::Map(key, data))) => {
            draft.map(key, data, unsupported(nat.kind), |draft, value| {
                target(nat.kind, address.as_ref(), Some(value), options, draft.context.family)
            });
        }
        (address, port) => match target(nat.kind, address.as_ref(), port.as_ref(), options, own) {
            Some(target) => draft.act(target),
            None => draft.act(unsupported(nat.kind)),
        },
    }
}

fn unsupported(kind: NatKind) -> Target {
    Target::Unsupported(kind.as_str().into())
}

fn target(
    kind: NatKind,
    address: Option<&Expression>,
    port: Option<&Expression>,
    options: NatOptions,
    family: Family,
) -> Option<Target> {
    let ports = match port {
        None => None,
        Some(port) => Some(constant::ports(port)?),
    };
    let addresses = match address {
        None => None,
        Some(address) => {
            let range = constant::addresses(address)?;
            if Family::of(range.0) != family {
                return None;
            }
            Some(range)
        }
    };
    let range = || Box::new(NatRange { addresses, ports, base_port: None });
    Some(match kind {
        NatKind::Snat => Target::Snat(range(), options),
        NatKind::Dnat => Target::Dnat(range(), options),
        NatKind::Masquerade => Target::Masquerade(ports, options),
        NatKind::Redirect => Target::Redirect(ports, options),
    })
}

/// `meta mark set …`, `ct mark set …`, `ip ttl set …`.
pub(super) fn mangle(draft: &mut Draft<'_>, key: &Expression, value: &Expression) {
    match key {
        Expression::Meta(key) => match key.as_str() {
            "mark" => mark(draft, value),
            "priority" | "nftrace" | "secmark" => {
                draft.act(Target::Continue("meta"));
            }
            _ => draft.unsupported("meta"),
        },
        Expression::Ct { key, .. } => {
            draft.found.tracked = true;
            match key.as_str() {
                "mark" => connection_mark(draft, value),
                "zone" => match number(ValueKind::Number, value).map(u16::try_from) {
                    Some(Ok(zone)) => draft.act(Target::Zone(zone)),
                    _ => draft.unsupported("ct zone"),
                },
                "helper" | "label" | "event" | "secmark" | "timeout" | "expectation" => {
                    draft.act(Target::ConntrackOptions);
                }
                _ => draft.unsupported("ct"),
            }
        }
        Expression::Payload { protocol, field } => payload(draft, key, (protocol, field), value),
        Expression::Other { kind, .. } if kind == "tcp option" => {
            draft.ask(Condition::Protocol(Sense::Is, protocols::TCP));
            draft.act(Target::Continue("tcp option"));
        }
        _ => draft.unsupported("set"),
    }
}

/// What is kept of a value and what is turned then, where it is a mark under operators.
fn masked(draft: &Draft<'_>, value: &Expression) -> Option<(Selector, u32, u32)> {
    let reading = read(value, draft.context.family);
    let (mut keep, mut turn) = (u128::MAX, 0);
    for operation in &reading.operand.operations {
        let BitOperation::Mask { mask, xor } = *operation else { return None };
        keep &= mask;
        turn = (turn & mask) ^ xor;
    }
    Some((reading.operand.selector, low(keep), low(turn)))
}

fn mark(draft: &mut Draft<'_>, value: &Expression) {
    if let Some(value) = number(ValueKind::Mark, value) {
        return draft.act(Target::Mark { value: low(value), mask: u32::MAX });
    }
    if let Expression::Map(key, data) = value {
        return draft.map(key, data, Target::Unsupported("meta mark".into()), |_, value| {
            let value = low(number(ValueKind::Mark, value)?);
            Some(Target::Mark { value, mask: u32::MAX })
        });
    }
    match masked(draft, value) {
        Some((Selector::Mark, keep, turn)) => {
            draft.act(Target::Mark { value: turn, mask: !keep });
        }
        Some((Selector::ConnectionMark, keep, 0)) => {
            draft.found.tracked = true;
            draft.ask(has_connection());
            let action = ConnmarkAction::Restore { nfmask: u32::MAX, ctmask: keep };
            draft.act(Target::Connmark(action, MarkShift::None));
        }
        _ => draft.unsupported("meta mark"),
    }
}

fn connection_mark(draft: &mut Draft<'_>, value: &Expression) {
    if let Some(value) = number(ValueKind::Mark, value) {
        let action = ConnmarkAction::Set { value: low(value), mask: u32::MAX };
        return draft.act(Target::Connmark(action, MarkShift::None));
    }
    if let Expression::Map(key, data) = value {
        return draft.map(key, data, Target::Unsupported("ct mark".into()), |_, value| {
            let value = low(number(ValueKind::Mark, value)?);
            Some(Target::Connmark(ConnmarkAction::Set { value, mask: u32::MAX }, MarkShift::None))
        });
    }
    match masked(draft, value) {
        Some((Selector::Mark, keep, 0)) => {
            let action = ConnmarkAction::Save { nfmask: keep, ctmask: u32::MAX };
            draft.act(Target::Connmark(action, MarkShift::None));
        }
        Some((Selector::ConnectionMark, keep, turn)) => {
            draft.ask(has_connection());
            let action = ConnmarkAction::Set { value: turn, mask: !keep };
            draft.act(Target::Connmark(action, MarkShift::None));
        }
        _ => draft.unsupported("ct mark"),
    }
}

/// Fields of the IP header; the others are not modelled.
fn payload(
    draft: &mut Draft<'_>,
    key: &Expression,
    (protocol, field): (&str, &str),
    value: &Expression,
) {
    for need in read(key, draft.context.family).needs {
        draft.ask(need);
    }
    let byte = |kind| number(kind, value).and_then(|value| u8::try_from(value).ok());
    let target = match (protocol, field) {
        ("ip", "ttl") | ("ip6", "hoplimit") => {
            byte(ValueKind::Number).map(|ttl| Target::Ttl(TtlAction::Set(ttl)))
        }
        ("ip" | "ip6", "dscp") => {
            byte(ValueKind::Dscp).map(|dscp| Target::Tos { value: dscp << 2, mask: 0xfc })
        }
        // None, which IPv4 allows; libvirt does so for DHCP clients that can't verify one.
        ("udp", "checksum") if number(ValueKind::Number, value) == Some(0) => {
            (draft.context.family == Family::Ipv4).then_some(Target::Continue("checksum"))
        }
        ("ip" | "ip6", "ecn") => {
            byte(ValueKind::Ecn).map(|ecn| Target::Tos { value: ecn & 3, mask: 3 })
        }
        _ => None,
    };
    match target {
        Some(target) => draft.act(target),
        None => draft.unsupported(&format!("{protocol} {field}")),
    }
}

/// `reject`: without more it is an ICMP error about the port.
pub(super) fn reject(draft: &mut Draft<'_>, kind: Option<&str>, code: Option<&Expression>) {
    let family = draft.context.family;
    let with = |ipv4: u8, ipv6: u8| match family {
        Family::Ipv4 => RejectWith::Icmp { kind: 3, code: ipv4 },
        Family::Ipv6 => RejectWith::Icmp { kind: 1, code: ipv6 },
    };
    let code_of = |kind| {
        let code = code.and_then(|code| number(kind, code));
        code.and_then(|code| u8::try_from(code).ok())
    };
    let with = match kind {
        None => Some(with(3, 4)),
        Some("tcp reset") => {
            draft.ask(Condition::Protocol(Sense::Is, protocols::TCP));
            Some(RejectWith::TcpReset)
        }
        Some("icmp") => {
            draft.ask(Condition::Constant(family == Family::Ipv4));
            code_of(ValueKind::IcmpCode).or(Some(3)).map(|code| with(code, 0))
        }
        Some("icmpv6") => {
            draft.ask(Condition::Constant(family == Family::Ipv6));
            code_of(ValueKind::Icmpv6Code).or(Some(4)).map(|code| with(0, code))
        }
        Some("icmpx") => match code {
            None => Some(with(3, 4)),
            // `nft_reject_icmp_code`, `nft_reject_icmpv6_code`.
            Some(Expression::Text(name)) => match name.as_str() {
                "no-route" => Some(with(0, 0)),
                "port-unreachable" => Some(with(3, 4)),
                "host-unreachable" => Some(with(1, 3)),
                "admin-prohibited" => Some(with(13, 1)),
                _ => None,
            },
            Some(Expression::Number(number)) => match number {
                0 => Some(with(0, 0)),
                1 => Some(with(3, 4)),
                2 => Some(with(1, 3)),
                3 => Some(with(13, 1)),
                _ => None,
            },
            Some(_) => None,
        },
        Some(_) => None,
    };
    match with {
        Some(with) => draft.act(Target::Reject(with)),
        None => draft.unsupported("reject"),
    }
}

/// `tproxy`.
pub(super) fn tproxy(
    draft: &mut Draft<'_>,
    family: Option<&str>,
    address: Option<&Expression>,
    port: Option<&Expression>,
) {
    let own = draft.context.family;
    if family.and_then(family_of).is_some_and(|asked| asked != own) {
        // `nft_tproxy_eval` ends the rule for the other family.
        return draft.ask(Condition::Constant(false));
    }
    let port = match port {
        None => Some(0),
        Some(port) => constant::ports(port).filter(|(first, last)| first == last).map(|p| p.0),
    };
    let address = match address {
        None => Ok(None),
        Some(address) => constant::address(address).map(Some).ok_or(()),
    };
    match (port, address) {
        (Some(port), Ok(address)) => draft.act(Target::Socket { port, address }),
        _ => draft.unsupported("tproxy"),
    }
}
