//! Matches that look at the packet's own headers, at its mark and at how it came over the link.

use nattrace_parser::syntax::{OptionUse, Value};

use crate::condition::{Comparison, Condition, LinkDelivery, PortSide};
use crate::lower::value::{masked, number, range, sense, text};
use crate::packet::tcp_flag;

/// `tcp`. `--tcp-option` is not modelled: a traced packet has no options.
pub(super) fn tcp(option: &OptionUse<'_>) -> Option<Condition> {
    match (option.option.name, &option.value) {
        // Of no flag at all none is set.
        ("tcp-flags", Value::TcpFlags { mask: 0, compare: 0 }) => {
            Some(Condition::Constant(sense(option).apply(true)))
        }
        ("tcp-flags", &Value::TcpFlags { mask, compare }) => {
            Some(Condition::TcpFlags { sense: sense(option), mask, compare })
        }
        ("syn", Value::Flag) => {
            // kernel-facts G12.
            let mask = tcp_flag::FIN | tcp_flag::SYN | tcp_flag::RST | tcp_flag::ACK;
            Some(Condition::TcpFlags { sense: sense(option), mask, compare: tcp_flag::SYN })
        }
        _ => ports(option),
    }
}

/// `udp`, `udplite`, and of `sctp` and `dccp` the ports. Chunk and packet types are not modelled.
pub(super) fn ports(option: &OptionUse<'_>) -> Option<Condition> {
    let side = match option.option.name {
        "sport" | "source-port" => PortSide::Source,
        "dport" | "destination-port" => PortSide::Destination,
        _ => return None,
    };
    let (low, high) = range(&option.value)?;
    if (low, high) == (0, u16::MAX) {
        return Some(Condition::Constant(sense(option).apply(true)));
    }
    Some(Condition::Port(sense(option), side, low, high))
}

/// `multiport`. `! --ports a,b` asks that neither side is in the list (kernel-facts G11).
pub(super) fn multiport(option: &OptionUse<'_>) -> Option<Condition> {
    let side = match option.option.name {
        "sports" | "source-ports" => PortSide::Source,
        "dports" | "destination-ports" => PortSide::Destination,
        "ports" => PortSide::Either,
        _ => return None,
    };
    let ports: Box<[(u16, u16)]> = match &option.value {
        Value::Ranges(ranges) => ranges.as_slice().into(),
        single => Box::new([range(single)?]),
    };
    Some(Condition::Ports(sense(option), side, ports))
}

/// `icmp`. Type 255 is the same as `any` (kernel-facts G13).
pub(super) fn icmp(option: &OptionUse<'_>) -> Option<Condition> {
    let &Value::Icmp { kind, codes } = &option.value else { return None };
    Some(match kind {
        None | Some(255) => Condition::Constant(sense(option).apply(true)),
        Some(_) => Condition::Icmp { sense: sense(option), kind, codes },
    })
}

/// `icmp6`. Type 255 is a type like any other (`icmp6_type_code_match`).
pub(super) fn icmpv6(option: &OptionUse<'_>) -> Option<Condition> {
    let &Value::Icmp { kind, codes } = &option.value else { return None };
    Some(match kind {
        None => Condition::Constant(sense(option).apply(true)),
        Some(_) => Condition::Icmp { sense: sense(option), kind, codes },
    })
}

/// `iprange`. A reversed range holds no address (kernel-facts G10).
pub(super) fn address_range(option: &OptionUse<'_>) -> Option<Condition> {
    let &Value::AddressRange(first, last) = &option.value else { return None };
    let bounds = Box::new((first, last));
    match option.option.name {
        "src-range" => Some(Condition::SourceRange(sense(option), bounds)),
        "dst-range" => Some(Condition::DestinationRange(sense(option), bounds)),
        _ => None,
    }
}

/// `mac`.
pub(super) fn mac(option: &OptionUse<'_>) -> Option<Condition> {
    match (option.option.name, &option.value) {
        ("mac-source", &Value::Mac(address)) => Some(Condition::Mac(sense(option), address)),
        _ => None,
    }
}

/// `length`.
pub(super) fn length(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "length" {
        return None;
    }
    let (low, high) = range(&option.value)?;
    Some(Condition::Length(sense(option), low, high))
}

/// `ttl` and `hl`.
pub(super) fn ttl(option: &OptionUse<'_>) -> Option<Condition> {
    let comparison = match option.option.name {
        "ttl-eq" | "hl-eq" => Comparison::Equal,
        "ttl-lt" | "hl-lt" => Comparison::Less,
        "ttl-gt" | "hl-gt" => Comparison::Greater,
        _ => return None,
    };
    Some(Condition::Ttl(sense(option), comparison, number(&option.value)?))
}

/// `tos`: `(tos & mask) == value`.
pub(super) fn tos(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "tos" {
        return None;
    }
    let (value, mask) = masked(&option.value, 0xff)?;
    Some(Condition::Tos { sense: sense(option), value, mask })
}

/// `dscp`: the upper six bits. Class names are numbers already (kernel-facts H6).
pub(super) fn dscp(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "dscp" {
        return None;
    }
    let value: u8 = number(&option.value).filter(|value| *value < 64)?;
    Some(Condition::Tos { sense: sense(option), value: value << 2, mask: 0xfc })
}

/// `ecn`: two flags of TCP, and the lower two bits of the type of service.
pub(super) fn ecn(option: &OptionUse<'_>) -> Option<Condition> {
    let sense = sense(option);
    let flag = |flag| Condition::TcpFlags { sense, mask: flag, compare: flag };
    match option.option.name {
        "ecn-tcp-cwr" => Some(flag(tcp_flag::CWR)),
        "ecn-tcp-ece" => Some(flag(tcp_flag::ECE)),
        "ecn-ip-ect" => {
            let value = number(&option.value).filter(|value| *value < 4)?;
            Some(Condition::Tos { sense, value, mask: 0x03 })
        }
        _ => None,
    }
}

/// `pkttype`.
pub(super) fn link_delivery(option: &OptionUse<'_>) -> Option<Condition> {
    // What is for another host never gets as far as a rule (`ip_rcv_core`).
    if text(&option.value)? == "otherhost" {
        return Some(Condition::Constant(option.negated));
    }
    let delivery = match (option.option.name, text(&option.value)?) {
        ("pkt-type", "unicast" | "host") => LinkDelivery::Unicast,
        ("pkt-type", "broadcast") => LinkDelivery::Broadcast,
        ("pkt-type", "multicast") => LinkDelivery::Multicast,
        _ => return None,
    };
    Some(Condition::LinkDelivery(sense(option), delivery))
}

/// `mark`: `(mark & mask) == value`, so a value outside of its mask never matches
/// (kernel-facts G14).
pub(super) fn mark(option: &OptionUse<'_>) -> Option<Condition> {
    if option.option.name != "mark" {
        return None;
    }
    let (value, mask) = masked(&option.value, u32::MAX)?;
    Some(Condition::Mark { sense: sense(option), value, mask })
}
