//! Values of a policy's keys.

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Families, Protocol, Source, Suppressed, Suppression, Vacuous};
use crate::diagnostic::{Diagnostic, nearest};
use crate::host::zones::{Placed, in_order, place, unexpected, unknown_key};
use crate::protocols;
use crate::span::Span;
use crate::syntax::Family;

/// A value with what it stands in, for messages.
#[derive(Clone, Copy)]
pub(super) struct Value<'t, 'i> {
    pub(super) value: &'t Spanned<DeValue<'i>>,
    pub(super) text: &'t str,
}

impl<'t> Value<'t, '_> {
    pub(super) fn span(self) -> Span {
        place(self.value.span())
    }

    pub(super) fn unexpected(self, expected: &str) -> Diagnostic {
        unexpected(expected, self.text, self.value)
    }

    /// A string that is not empty.
    pub(super) fn string(
        self,
        expected: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Placed<String>> {
        match self.value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => {
                Some(Placed { value: text.to_string(), span: self.span() })
            }
            _ => {
                diagnostics.push(self.unexpected(expected));
                None
            }
        }
    }

    /// One value, or the values of a list.
    pub(super) fn each(self) -> Vec<Self> {
        match self.value.get_ref() {
            DeValue::Array(array) => {
                array.iter().map(|value| Self { value, text: self.text }).collect()
            }
            _ => vec![self],
        }
    }

    /// The same where a list must not be empty.
    pub(super) fn each_of_some(
        self,
        expected: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Self> {
        let each = self.each();
        if each.is_empty() {
            diagnostics.push(self.unexpected(expected));
        }
        each
    }
}

/// `proto`: a name or a number, or a list of them.
pub(super) fn protocols(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<Protocol>> {
    let expected = "a protocol such as \"tcp\"";
    let mut read = Vec::new();
    for entry in value.each_of_some(expected, diagnostics) {
        let found = match entry.value.get_ref() {
            DeValue::String(name) => match protocol(name) {
                Ok(protocol) => Some(protocol),
                Err(help) => {
                    diagnostics.push(invalid_protocol(name, entry.span(), help));
                    continue;
                }
            },
            DeValue::Integer(number) => number.as_str().parse().ok().map(Protocol::Number),
            _ => None,
        };
        match found {
            Some(value) => read.push(Placed { value, span: entry.span() }),
            None => diagnostics.push(entry.unexpected(expected)),
        }
    }
    read
}

/// The protocol of a name or number; else what may be meant.
pub(super) fn protocol(name: &str) -> Result<Protocol, Option<String>> {
    let lower = name.to_ascii_lowercase();
    if ["icmp", "icmpv6", "icmp6", "ipv6-icmp"].contains(&lower.as_str()) {
        return Ok(Protocol::Icmp);
    }
    if lower.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = lower.parse()
    {
        return Ok(Protocol::Number(number));
    }
    if let Some(number) = protocols::number(&lower) {
        return Ok(Protocol::Number(number));
    }
    let near = nearest(&lower, ["tcp", "udp", "icmp", "sctp", "dccp", "udplite", "gre", "esp"]);
    Err(near.map(|near| format!("did you mean `{near}`?")))
}

/// The error about a protocol that is not known.
pub(super) fn invalid_protocol(name: &str, span: Span, help: Option<String>) -> Diagnostic {
    let message = format!("expected a protocol such as `tcp`, found `{name}`");
    let found = Diagnostic::error("invalid-protocol", message, span);
    match help {
        Some(help) => found.help(help),
        None => found,
    }
}

/// `ports`: a port, a range in quotes, or a list of them.
pub(super) fn ports(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<(u16, u16)>> {
    let expected = "a port or a range such as \"8000-8080\"";
    let mut read = Vec::new();
    for entry in value.each_of_some(expected, diagnostics) {
        let range = match entry.value.get_ref() {
            DeValue::Integer(number) => port_range(number.as_str()),
            DeValue::String(text) => port_range(text),
            _ => None,
        };
        match range {
            Some(value) => read.push(Placed { value, span: entry.span() }),
            None => {
                let found = entry.unexpected(expected);
                diagnostics.push(Diagnostic { code: "invalid-port", ..found });
            }
        }
    }
    read
}

/// `80`, or `8000-8080`.
pub(super) fn port_range(text: &str) -> Option<(u16, u16)> {
    let port = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|port| plain && *port != 0)
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((first, last)) => {
            Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last)
        }
    }
}

/// `family`.
pub(super) fn families(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Families> {
    let found = match value.value.get_ref() {
        DeValue::String(text) => text.as_ref(),
        _ => "",
    };
    match found {
        "ipv4" => Some(Families::One(Family::Ipv4)),
        "ipv6" => Some(Families::One(Family::Ipv6)),
        "both" => Some(Families::Both),
        other => {
            let known = ["ipv4", "ipv6", "both"];
            let error = value.unexpected("`ipv4`, `ipv6` or `both`");
            diagnostics.push(match nearest(other, known) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            });
            None
        }
    }
}

/// `vacuous`.
pub(super) fn vacuous(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Vacuous {
    match value.value.get_ref() {
        DeValue::String(text) if text == "ok" => Vacuous::Ok,
        _ => {
            diagnostics.push(value.unexpected("`ok`"));
            Vacuous::Fails
        }
    }
}

/// `source`: an address or prefix, or a list of them, or `unchanged`.
pub(super) fn sources(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<Source>> {
    let expected = "an address, a list of addresses or `unchanged`";
    let mut read = Vec::new();
    for entry in value.each_of_some(expected, diagnostics) {
        let DeValue::String(text) = entry.value.get_ref() else {
            diagnostics.push(entry.unexpected(expected));
            continue;
        };
        let span = entry.span();
        match (text.as_ref(), net(text)) {
            ("unchanged", _) => read.push(Placed { value: Source::Unchanged, span }),
            (_, Some(net)) => read.push(Placed { value: Source::Net(net), span }),
            (other, None) => {
                let message = format!("expected {expected}, found `{other}`");
                let found = Diagnostic::error("invalid-address", message, span);
                diagnostics.push(match nearest(other, ["unchanged"]) {
                    Some(near) => found.help(format!("did you mean `{near}`?")),
                    None => found,
                });
            }
        }
    }
    read
}

/// An address or a prefix, with the bits behind the prefix cleared.
pub(super) fn net(text: &str) -> Option<IpNet> {
    let address = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse::<IpNet>().ok().map(|net| net.trunc()).or_else(address)
}

/// The keys of a suppression.
const SUPPRESSION_KEYS: [&str; 4] = ["name", "code", "reason", "until"];

/// One `[[suppress]]`.
pub(super) fn suppression(
    span: Span,
    table: &DeTable<'_>,
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Suppression> {
    let (mut name, mut code, mut reason, mut until) = (None, None, None, None);
    for (key, value) in in_order(table) {
        let value = Value { value, text };
        match key.get_ref().as_ref() {
            "name" => name = value.string("the name of an entry", diagnostics),
            "code" => code = value.string("the code of a finding", diagnostics),
            "reason" => reason = value.string("why the result is put up with", diagnostics),
            "until" => until = day(value, diagnostics),
            other => {
                diagnostics.push(unknown_key(other, place(key.span()), &SUPPRESSION_KEYS));
            }
        }
    }
    let what = match (name, code) {
        (Some(name), None) => Suppressed::Entry(name),
        (None, Some(code)) => Suppressed::Finding(code),
        _ => {
            let message = "expected either `name` or `code` in `[[suppress]]`";
            diagnostics.push(Diagnostic::error("missing-key", message, span));
            return None;
        }
    };
    let Some(reason) = reason else {
        diagnostics.push(missing("reason", "suppress", span));
        return None;
    };
    Some(Suppression { what, reason, until, span })
}

/// A day, as TOML's local date.
fn day(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Placed<(u16, u8, u8)>> {
    let date = match value.value.get_ref() {
        DeValue::Datetime(when) => when.date.filter(|_| when.time.is_none()),
        _ => None,
    };
    if date.is_none() {
        diagnostics.push(value.unexpected("a day such as 2027-01-31, without quotes"));
    }
    date.map(|date| Placed { value: (date.year, date.month, date.day), span: value.span() })
}

/// The error about a key that is not there.
pub(super) fn missing(key: &str, table: &str, span: Span) -> Diagnostic {
    Diagnostic::error("missing-key", format!("expected `{key}` in `[[{table}]]`"), span)
}
