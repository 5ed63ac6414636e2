//! The grammar of an endpoint: `ADDR`, `ADDR:PORT`, `[V6]:PORT`, a name in place of the address,
//! and `/tcp` and its like behind.

use std::net::IpAddr;

use nattrace_parser::span::Span;

use super::error::{Argument, EndpointError, Problem, within};

/// An endpoint as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Who.
    pub(super) place: Place,
    /// Where `place` stands in the argument.
    pub(super) span: Span,
    /// The port, and where it stands.
    pub(super) port: Option<(u16, Span)>,
    /// The protocol, and where it stands.
    pub(super) protocol: Option<(String, Span)>,
}

/// Who an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An address, with the interface behind `%`.
    Address(IpAddr, Option<String>),
    /// `host`.
    Host,
    /// `internet`.
    Internet,
    /// `lan`, or `lan:IFACE`.
    Lan(Option<String>),
    /// `container:NAME`.
    Container(String),
    /// `net:NAME`.
    Network(String),
    /// A container's or a network's name.
    Name(String),
}

/// Reads an endpoint.
pub(super) fn parse(argument: Argument, text: &str) -> Result<Written, EndpointError> {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    if trimmed.is_empty() {
        return Err(within(argument, Span::new(0, text.len()), Problem::Empty));
    }
    let span_of = |from: usize, part: &str| Span::new(start + from, start + from + part.len());
    let (socket, protocol) = match trimmed.rsplit_once('/') {
        Some((socket, word)) if word.bytes().all(|b| b.is_ascii_digit()) && is_address(socket) => {
            let help = "give one address of the network";
            let problem = Problem::Network(trimmed.to_owned()).help(help);
            return Err(within(argument, span_of(0, trimmed), problem));
        }
        Some((socket, word)) => (socket, Some((word.to_owned(), span_of(socket.len() + 1, word)))),
        None => (trimmed, None),
    };
    let (who, port) = split_port(socket);
    let port = match port {
        None => None,
        Some(digits) => {
            let span = span_of(socket.len() - digits.len(), digits);
            let port = digits.parse().ok().filter(|port| *port != 0 && !digits.starts_with('+'));
            let invalid = || within(argument, span, Problem::InvalidPort(digits.to_owned()));
            Some((port.ok_or_else(invalid)?, span))
        }
    };
    let span = span_of(0, who);
    let place = place(who).map_err(|problem| within(argument, span, problem))?;
    Ok(Written { place, span, port, protocol })
}

/// Whether a text is an address, in brackets or not, perhaps with a port.
fn is_address(text: &str) -> bool {
    unbracketed(text).parse::<IpAddr>().is_ok()
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text)
}

/// What may stand before a name.
const KINDS: [&str; 3] = ["net", "container", "lan"];

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
    let address = text.split('%').next().unwrap_or(text);
    if address.parse::<IpAddr>().is_ok() {
        return whole;
    }
    let Some((who, port)) = text.rsplit_once(':') else { return whole };
    let is_kind = KINDS.contains(&who);
    let kind = text.split(':').next().unwrap_or(text);
    // With so many colons it is a mistyped address.
    if who.contains(':') && !KINDS.contains(&kind) {
        return whole;
    }
    // `lan:80` is a port of the LAN: no interface is called by a number alone.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_kind && !(who == "lan" && digits) { whole } else { (who, Some(port)) }
}

fn place(who: &str) -> Result<Place, Problem> {
    let inner = unbracketed(who);
    let (address, zone) = match inner.split_once('%') {
        Some((address, zone)) => (address, Some(zone.to_owned())),
        None => (inner, None),
    };
    if let Ok(address) = address.parse() {
        return Ok(Place::Address(address, zone));
    }
    let has_only = |set: &str| who.chars().all(|c| set.contains(c));
    // A mistyped address is no name.
    if who.starts_with('[')
        || has_only("0123456789.")
        || (who.matches(':').count() > 1 && !KINDS.iter().any(|kind| who.starts_with(kind)))
    {
        return Err(Problem::InvalidAddress(who.to_owned()));
    }
    Ok(match who {
        "" => return Err(Problem::Empty),
        "host" => Place::Host,
        "internet" => Place::Internet,
        "lan" => Place::Lan(None),
        _ => match who.split_once(':') {
            Some(("lan", interface)) => Place::Lan(Some(interface.to_owned())),
            Some(("net", name)) => Place::Network(name.to_owned()),
            Some(("container", name)) => Place::Container(name.to_owned()),
            _ => Place::Name(who.to_owned()),
        },
    })
}
