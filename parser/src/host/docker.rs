//! Networks and containers, as `docker network inspect` and `docker inspect` print them.

mod container;
mod network;

pub use container::{
    Attachment, Container, NetworkMode, PortBinding, PublishedPort, parse_containers,
};
pub use network::{Endpoint, GatewayMode, Network, Subnet, parse_networks};

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use super::json::{Json, Object, entries, start};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Reads each object of a text that has to be JSON.
///
/// One list, one object, several lists behind each other and one object a line are all fine. No
/// text at all is no object: that is what docker prints about nothing.
fn read<'a, T>(
    text: &'a str,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
    mut each: impl FnMut(&Object<'a>, &mut Vec<Diagnostic>) -> Result<T, Diagnostic>,
) -> Vec<T> {
    let Some(start) = start(text) else {
        let content = text.trim_start_matches('\u{feff}').trim();
        if !content.is_empty() {
            let span = Span::new(0, text.trim_end().len());
            diagnostics.push(Diagnostic::error(
                "invalid-json",
                format!("expected {expected}"),
                span,
            ));
        }
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries(text, start, expected, diagnostics) {
        match entry.object(expected).and_then(|object| each(&object, diagnostics)) {
            Ok(value) => found.push(value),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    found
}

/// A string that is there and not empty.
fn filled<'a>(object: &Object<'a>, key: &str) -> Result<Option<Cow<'a, str>>, Diagnostic> {
    let text = object.get(key).map(|value| value.string()).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A string, empty where it is absent.
fn string(object: &Object<'_>, key: &str) -> Result<String, Diagnostic> {
    Ok(filled(object, key)?.map(Cow::into_owned).unwrap_or_default())
}

/// `true` or `false`, with what it is where it is absent.
fn flag(object: &Object<'_>, key: &str, absent: bool) -> Result<bool, Diagnostic> {
    object.get(key).map_or(Ok(absent), |value| value.flag())
}

/// An address that may stand with a prefix length, as old versions write gateways of IPv6.
fn address(object: &Object<'_>, key: &str) -> Result<Option<IpAddr>, Diagnostic> {
    let (Some(value), Some(text)) = (object.get(key), filled(object, key)?) else {
        return Ok(None);
    };
    let net = || text.parse::<IpNet>().map(|net| net.addr());
    text.parse().or_else(|_| net()).map(Some).map_err(|_| value.unexpected("an IP address"))
}

/// A prefix, or an address with its prefix length.
fn prefix(object: &Object<'_>, key: &str) -> Result<Option<IpNet>, Diagnostic> {
    let (Some(value), Some(text)) = (object.get(key), filled(object, key)?) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| value.unexpected("an address with a prefix length"))
}

/// An address in one field and its prefix length in another one.
fn address_with_length(
    object: &Object<'_>,
    key: &str,
    length: &str,
) -> Result<Option<IpNet>, Diagnostic> {
    let Some(address) = address(object, key)? else { return Ok(None) };
    let Some(value) = object.get(length) else { return Ok(Some(IpNet::from(address))) };
    let length: u8 = value.parse("a prefix length")?;
    IpNet::new(address, length).map(Some).map_err(|_| value.unexpected("a prefix length"))
}

/// A hardware address.
fn mac(object: &Object<'_>, key: &str) -> Result<Option<[u8; 6]>, Diagnostic> {
    let (Some(value), Some(text)) = (object.get(key), filled(object, key)?) else {
        return Ok(None);
    };
    let mac = super::address::parse_mac(&text);
    mac.map(Some).ok_or_else(|| value.unexpected("a hardware address"))
}

/// A map of strings; numbers and truth values stand as they are written.
fn map(
    object: &Object<'_>,
    key: &str,
) -> Result<std::collections::BTreeMap<String, String>, Diagnostic> {
    let Some(value) = object.get(key) else { return Ok(std::collections::BTreeMap::new()) };
    let entry = |(key, value): (&str, Json<'_>)| {
        let text = value.string().map_or_else(|_| value.shown(), Cow::into_owned);
        (key.to_owned(), text)
    };
    Ok(value.object("a map of strings")?.iter().map(entry).collect())
}

#[cfg(test)]
mod tests;
