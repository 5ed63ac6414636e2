//! Protocol, ports and the options of a request.

use nattrace_parser::diagnostic::nearest;
use nattrace_parser::protocols;
use nattrace_parser::syntax::Family;

use super::FlowRequest;
use super::error::{Advised, Argument, EndpointError, Problem, at, within};
use super::name::Written;
use crate::flow::FlowState;
use crate::packet::{protocol, tcp_flag};

/// The protocol with its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) protocol: u8,
    pub(super) source_port: Option<u16>,
    pub(super) destination_port: Option<u16>,
}

/// The protocol that the request names or implies: tcp where a port is given, else ICMP.
pub(super) fn service(
    request: &FlowRequest,
    source: &Written,
    destination: &Written,
    family: Family,
) -> Result<Service, EndpointError> {
    let source_port = port(
        Argument::SourcePort,
        request.source_port.as_deref(),
        source.port.map(|(port, _)| port),
    )?;
    let destination_port = port(
        Argument::DestinationPort,
        request.destination_port.as_deref(),
        destination.port.map(|(port, _)| port),
    )?;
    let named = named_protocol(request, source, destination, family)?;
    let has_port = source_port.is_some() || destination_port.is_some();
    let implied = match (family, has_port) {
        (_, true) => protocol::TCP,
        (Family::Ipv4, false) => protocol::ICMP,
        (Family::Ipv6, false) => protocol::ICMPV6,
    };
    let protocol = named.unwrap_or(implied);
    let port_place = |argument: Argument, written: &Written, option: Option<&String>| match (
        written.port,
        option,
    ) {
        (Some((_, span)), _) if argument == Argument::SourcePort => (Argument::Source, span),
        (Some((_, span)), _) => (Argument::Destination, span),
        (None, option) => (argument, whole(option.map_or("", |text| text.as_str()))),
    };
    if !has_ports(protocol) && has_port {
        let (argument, span) = if destination_port.is_some() {
            port_place(Argument::DestinationPort, destination, request.destination_port.as_ref())
        } else {
            port_place(Argument::SourcePort, source, request.source_port.as_ref())
        };
        let problem = Problem::NoPorts(protocol_name(protocol))
            .help("leave the port out, or name `tcp` or `udp`");
        return Err(within(argument, span, problem));
    }
    if has_ports(protocol) && destination_port.is_none() {
        let help = format!("put it behind the destination: `{}:80`", request.destination.trim());
        let problem = Problem::MissingPort(protocol_name(protocol)).help(help);
        return Err(at(Argument::Destination, &request.destination, problem));
    }
    Ok(Service { protocol, source_port, destination_port })
}

fn whole(text: &str) -> nattrace_parser::span::Span {
    nattrace_parser::span::Span::new(0, text.len())
}

/// A port from its option and from its endpoint, which must agree.
fn port(
    argument: Argument,
    option: Option<&str>,
    written: Option<u16>,
) -> Result<Option<u16>, EndpointError> {
    let Some(text) = option else { return Ok(written) };
    let invalid = || at(argument, text, Problem::InvalidPort(text.to_owned()));
    let port: u16 = text.trim().parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
    match written {
        Some(other) if other != port => {
            let problem = Problem::Contradiction(text.to_owned(), format!(":{other}"));
            Err(at(argument, text, problem))
        }
        _ => Ok(Some(port)),
    }
}

/// The protocol of `--proto` and of `/tcp` behind an endpoint, which must agree.
fn named_protocol(
    request: &FlowRequest,
    source: &Written,
    destination: &Written,
    family: Family,
) -> Result<Option<u8>, EndpointError> {
    let option = request.protocol.as_ref().map(|text| (Argument::Protocol, text, whole(text)));
    let of_source = source.protocol.as_ref().map(|(text, span)| (Argument::Source, text, *span));
    let of_destination =
        destination.protocol.as_ref().map(|(text, span)| (Argument::Destination, text, *span));
    let mut found: Option<(u8, &str)> = None;
    for (argument, text, span) in [option, of_source, of_destination].into_iter().flatten() {
        let number =
            protocol_number(text, family).map_err(|problem| within(argument, span, problem))?;
        match found {
            Some((other, name)) if other != number => {
                let problem = Problem::Contradiction(text.clone(), name.to_owned());
                return Err(within(argument, span, problem));
            }
            _ => found = Some((number, text)),
        }
    }
    Ok(found.map(|(number, _)| number))
}

/// The number of a protocol; ICMP is that of the family.
fn protocol_number(text: &str, family: Family) -> Result<u8, Advised> {
    let lower = text.trim().to_ascii_lowercase();
    let icmp = match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    if matches!(lower.as_str(), "icmp" | "ping" | "icmpv6" | "icmp6" | "ipv6-icmp") {
        return Ok(icmp);
    }
    if let Ok(number) = lower.parse::<u8>() {
        return Ok(number);
    }
    protocols::number(&lower).ok_or_else(|| {
        let problem = Problem::InvalidProtocol(text.to_owned());
        let help =
            match nearest(&lower, ["tcp", "udp", "icmp", "sctp", "icmpv6", "udplite", "dccp"]) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name `tcp`, `udp`, `icmp`, `sctp` or a number".to_owned(),
            };
        problem.help(help)
    })
}

fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    )
}

fn protocol_name(number: u8) -> String {
    protocols::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// `--state`.
pub(super) fn state(request: &FlowRequest) -> Result<FlowState, EndpointError> {
    let Some(text) = &request.state else { return Ok(FlowState::New) };
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "new" => FlowState::New,
        "established" => FlowState::Established,
        "related" => FlowState::Related,
        "invalid" => FlowState::Invalid,
        "untracked" => FlowState::Untracked,
        other => {
            let known = ["new", "established", "related", "invalid", "untracked"];
            let help = nearest(other, known).map(|name| format!("did you mean `{name}`?"));
            let problem = Advised { problem: Problem::InvalidState(text.clone()), help };
            return Err(at(Argument::State, text, problem));
        }
    })
}

/// `--mark`.
pub(super) fn mark(request: &FlowRequest) -> Result<u32, EndpointError> {
    let Some(text) = &request.mark else { return Ok(0) };
    let trimmed = text.trim();
    let hexadecimal = trimmed.strip_prefix("0x").or_else(|| trimmed.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((trimmed, 10), |digits| (digits, 16));
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| at(Argument::Mark, text, Problem::InvalidMark(text.clone())))
}

/// `--tcp-flags`.
pub(super) fn tcp_flags(request: &FlowRequest, number: u8) -> Result<Option<u8>, EndpointError> {
    let Some(text) = &request.tcp_flags else { return Ok(None) };
    if number != protocol::TCP {
        let problem = Problem::NotOfProtocol(protocol_name(number), "TCP flags");
        return Err(at(Argument::TcpFlags, text, problem));
    }
    let invalid = || at(Argument::TcpFlags, text, Problem::InvalidFlags(text.clone()));
    let mut flags = 0;
    for name in text.split([',', '|', '+']) {
        flags |= match name.trim().to_ascii_uppercase().as_str() {
            "FIN" => tcp_flag::FIN,
            "SYN" => tcp_flag::SYN,
            "RST" => tcp_flag::RST,
            "PSH" => tcp_flag::PSH,
            "ACK" => tcp_flag::ACK,
            "URG" => tcp_flag::URG,
            "ECE" => tcp_flag::ECE,
            "CWR" => tcp_flag::CWR,
            "ALL" => 0x3f,
            "NONE" => 0,
            _ => return Err(invalid()),
        };
    }
    Ok(Some(flags))
}

/// Names of ICMP types with their codes, as iptables has them, for packets a person may ask for.
const ICMP_NAMES: [(&str, u8, u8); 22] = [
    ("echo-reply", 0, 0),
    ("pong", 0, 0),
    ("network-unreachable", 3, 0),
    ("destination-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("source-route-failed", 3, 5),
    ("host-prohibited", 3, 10),
    ("communication-prohibited", 3, 13),
    ("source-quench", 4, 0),
    ("redirect", 5, 1),
    ("echo-request", 8, 0),
    ("ping", 8, 0),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("time-exceeded", 11, 0),
    ("ttl-exceeded", 11, 0),
    ("parameter-problem", 12, 0),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
];

/// The same for ICMPv6.
const ICMPV6_NAMES: [(&str, u8, u8); 17] = [
    ("destination-unreachable", 1, 0),
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("beyond-scope", 1, 2),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("time-exceeded", 3, 0),
    ("ttl-exceeded", 3, 0),
    ("parameter-problem", 4, 0),
    ("echo-request", 128, 0),
    ("ping", 128, 0),
    ("echo-reply", 129, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
];

/// `--icmp-type`.
pub(super) fn icmp(request: &FlowRequest, number: u8) -> Result<Option<(u8, u8)>, EndpointError> {
    let Some(text) = &request.icmp_type else { return Ok(None) };
    let names: &[(&str, u8, u8)] = match number {
        protocol::ICMP => &ICMP_NAMES,
        protocol::ICMPV6 => &ICMPV6_NAMES,
        _ => {
            let problem = Problem::NotOfProtocol(protocol_name(number), "ICMP type");
            return Err(at(Argument::IcmpType, text, problem));
        }
    };
    let word = text.trim().to_ascii_lowercase().replace("neighbor", "neighbour");
    if let Some((_, kind, code)) = names.iter().find(|(name, ..)| *name == word) {
        return Ok(Some((*kind, *code)));
    }
    let (kind, code) = word.split_once('/').unwrap_or((&word, "0"));
    match (kind.parse(), code.parse()) {
        (Ok(kind), Ok(code)) => Ok(Some((kind, code))),
        _ => {
            let near = nearest(&word, names.iter().map(|(name, ..)| *name));
            let help = near.map(|name| format!("did you mean `{name}`?"));
            let problem = Advised { problem: Problem::InvalidIcmpType(text.clone()), help };
            Err(at(Argument::IcmpType, text, problem))
        }
    }
}

/// `--ttl`.
pub(super) fn ttl(request: &FlowRequest) -> Result<Option<u8>, EndpointError> {
    let Some(text) = &request.ttl else { return Ok(None) };
    let invalid = |_| at(Argument::Ttl, text, Problem::InvalidTtl(text.clone()));
    text.trim().parse().map(Some).map_err(invalid)
}
