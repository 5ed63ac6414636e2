//! Zones as a policy names them: `internet`, `lan:eth1`, `net:front`, `container:blog:443/tcp`,
//! `192.168.12.0/24`, `[2001:db8::/32]:443`, a zone of one's own.

use ipnet::IpNet;

use super::Protocol;
use super::entry::has_ports;
use super::value::{invalid_protocol, net, port_range, protocol};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// A zone, perhaps with ports and a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Who.
    pub place: Place,
    /// The destination ports, both ends inclusive.
    pub ports: Option<(u16, u16)>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// As it is written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Where the zone's name stands in it.
    pub name_span: Span,
    /// Where its port or protocol stands, where it has one.
    pub service_span: Option<Span>,
}

/// Who a zone is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `internet`.
    Internet,
    /// `lan`, or `lan:IFACE`.
    Lan(Option<String>),
    /// `host`.
    Host,
    /// `net:NAME`.
    Network(String),
    /// `net:*`.
    EveryNetwork,
    /// `container:NAME`.
    Container(String),
    /// `iface:NAME`.
    Interface(String),
    /// An address or a prefix.
    Net(IpNet),
    /// A zone of one's own.
    Zone(String),
}

/// What may stand before a name.
const KINDS: [&str; 4] = ["net", "container", "iface", "lan"];

/// Reads a zone as it stands on a command line.
///
/// # Errors
///
/// A [`Diagnostic`] whose place is one of `text`.
pub fn parse_expression(text: &str) -> Result<Expression, Diagnostic> {
    parse(text, Position::Inside { start: 0 })
}

/// What a service is: destination ports, a protocol, or both.
pub type ServiceWords = (Option<(u16, u16)>, Option<Protocol>);

/// Reads a service as it stands on a command line: `443`, `443/tcp`, `8000-8010/udp`, `icmp`.
///
/// # Errors
///
/// A [`Diagnostic`] whose place is one of `text`.
pub fn parse_service(text: &str) -> Result<ServiceWords, Diagnostic> {
    let start = text.len() - text.trim_start().len();
    let (ports, word) = match text.trim().split_once('/') {
        Some((ports, word)) => (Some(ports), Some(word)),
        None if text.trim().starts_with(|first: char| first.is_ascii_digit()) => {
            (Some(text.trim()), None)
        }
        None => (None, Some(text.trim())),
    };
    let behind = start + ports.map_or(0, |ports| ports.len() + 1);
    let protocol = match word {
        None => None,
        Some(word) => {
            let span = Span::new(behind, behind + word.len());
            Some(protocol(word).map_err(|help| invalid_protocol(word, span, help))?)
        }
    };
    let Some(digits) = ports else { return Ok((None, protocol)) };
    let span = Span::new(start, start + digits.len());
    let Some(range) = port_range(digits) else {
        let message = format!("expected a port from 1 to 65535 or a range, found `{digits}`");
        return Err(Diagnostic::error("invalid-port", message, span));
    };
    if protocol.is_some_and(|protocol| !has_ports(protocol)) {
        let message = format!("`{}` has no ports", word.unwrap_or(""));
        return Err(Diagnostic::error("no-ports", message, Span::new(start, behind)));
    }
    Ok((Some(range), protocol))
}

/// Reads a zone in quotes, whose place is `span` in `source`.
pub(super) fn parse_quoted(text: &str, span: Span, source: &str) -> Result<Expression, Diagnostic> {
    // A string without escapes stands in the source as it is, behind one quote.
    let inner = Span::new(span.range().start + 1, span.range().start + 1 + text.len());
    let place = match inner.slice(source) == text {
        true => Position::Inside { start: span.range().start + 1 },
        false => Position::Whole(span),
    };
    let mut expression = parse(text, place)?;
    expression.span = span;
    Ok(expression)
}

/// How a place in an expression becomes a place in the source.
#[derive(Clone, Copy)]
enum Position {
    Inside { start: usize },
    Whole(Span),
}

impl Position {
    fn of(self, from: usize, to: usize) -> Span {
        match self {
            Self::Inside { start } => Span::new(start + from, start + to),
            Self::Whole(span) => span,
        }
    }
}

fn parse(text: &str, at: Position) -> Result<Expression, Diagnostic> {
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    let (socket, protocol_word) = split_protocol(trimmed);
    let protocol = match protocol_word {
        None => None,
        Some(word) => {
            let from = start + socket.len() + 1;
            let span = at.of(from, from + word.len());
            Some(protocol(word).map_err(|help| invalid_protocol(word, span, help))?)
        }
    };
    let (who, port) = split_port(socket);
    let ports = match port {
        None => None,
        Some(digits) => {
            let to = start + socket.len();
            let span = at.of(to - digits.len(), to);
            let invalid = || {
                let message =
                    format!("expected a port from 1 to 65535 or a range, found `{digits}`");
                Diagnostic::error("invalid-port", message, span)
            };
            Some(port_range(digits).ok_or_else(invalid)?)
        }
    };
    let name_span = at.of(start, start + who.len());
    let has_service = who.len() < trimmed.len();
    let service_span = has_service.then(|| at.of(start + who.len(), start + trimmed.len()));
    if let (Some(_), Some(protocol), Some(span)) = (ports, protocol, service_span)
        && !has_ports(protocol)
    {
        let message = format!("`{}` has no ports", protocol_word.unwrap_or(""));
        return Err(Diagnostic::error("no-ports", message, span));
    }
    let place = place(who, name_span)?;
    let span = at.of(0, text.len());
    Ok(Expression { place, ports, protocol, text: text.to_owned(), span, name_span, service_span })
}

/// Cuts `/tcp` off. What stands behind the slash of a prefix is a number, and before it an address.
fn split_protocol(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('/') {
        Some((before, word)) if !is_prefix(before, word) => (before, Some(word)),
        _ => (text, None),
    }
}

fn is_prefix(before: &str, word: &str) -> bool {
    // In brackets, the slash may stand inside: `[2001:db8::/32]`.
    let address = before.strip_prefix('[').unwrap_or(before);
    let address = address.strip_suffix(']').unwrap_or(address);
    let length = word.split([']', ':']).next().unwrap_or(word);
    let number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    // An address that is not quite one, such as `10.0.0/8`, was meant as one too.
    let like_one = address.parse::<std::net::IpAddr>().is_ok()
        || address.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.'))
        || address.matches(':').count() > 1 && !KINDS.iter().any(|kind| address.starts_with(kind));
    number && like_one
}

/// Cuts the port off: what stands behind the last colon, unless the colon belongs to an address
/// or to `net:NAME`.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let whole = (text, None);
    if text.starts_with('[') {
        return match text.rsplit_once("]:") {
            Some((address, port)) => (text.get(..=address.len()).unwrap_or(text), Some(port)),
            None => whole,
        };
    }
    if net(text).is_some() {
        return whole;
    }
    let Some((who, port)) = text.rsplit_once(':') else { return whole };
    let kind = text.split(':').next().unwrap_or(text);
    // With so many colons it is a mistyped address.
    if who.contains(':') && !KINDS.contains(&kind) {
        return whole;
    }
    // `lan:80` is a port of the LAN: no interface is called by a number alone.
    let digits =
        port.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) && port_range(port).is_some();
    if KINDS.contains(&who) && !(who == "lan" && digits) { whole } else { (who, Some(port)) }
}

fn place(who: &str, span: Span) -> Result<Place, Diagnostic> {
    let inner = who.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(who);
    if let Some(net) = net(inner) {
        return Ok(Place::Net(net));
    }
    let mistyped = who.starts_with('[')
        || who.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'/'))
        || who.contains('/')
        || (who.matches(':').count() > 1 && !KINDS.iter().any(|kind| who.starts_with(kind)));
    if who.is_empty() {
        let message = "expected a zone such as `internet` or `net:front`, found nothing";
        return Err(Diagnostic::error("missing-endpoint", message, span));
    }
    if mistyped {
        let message = format!("expected a zone, an address or a prefix, found `{who}`");
        return Err(Diagnostic::error("invalid-address", message, span));
    }
    let named = |name: &str, kind: &str| match name {
        "" => {
            let message = format!("expected a name behind `{kind}:`");
            Err(Diagnostic::error("missing-endpoint", message, span))
        }
        name => Ok(name.to_owned()),
    };
    Ok(match (who, who.split_once(':')) {
        ("internet", _) => Place::Internet,
        ("host", _) => Place::Host,
        ("lan", _) => Place::Lan(None),
        ("net:*", _) => Place::EveryNetwork,
        (_, Some(("lan", name))) => Place::Lan(Some(named(name, "lan")?)),
        (_, Some(("net", name))) => Place::Network(named(name, "net")?),
        (_, Some(("container", name))) => Place::Container(named(name, "container")?),
        (_, Some(("iface", name))) => Place::Interface(named(name, "iface")?),
        _ => Place::Zone(who.to_owned()),
    })
}
