//! `given`: the same question on a host that is a little different.

use std::net::IpAddr;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Value, net};
use crate::diagnostic::Diagnostic;
use crate::host::Read;
use crate::host::zones::{Placed, in_order, place, syntax_error, unknown_key};
use crate::span::Span;

/// What is taken to be otherwise on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `down`: interfaces that are down.
    pub down: Vec<Placed<String>>,
    /// `gone`: destinations of routes that are not there; `default` is the prefix of length 0.
    pub gone: Vec<Placed<Destination>>,
    /// `moved`: containers with another address.
    pub moved: Vec<(Placed<String>, Placed<IpAddr>)>,
    /// `ip_forward`: whether the host forwards IPv4.
    pub ip_forward: Option<Placed<Switch>>,
    /// `ipv6_forward`: whether the host forwards IPv6.
    pub ipv6_forward: Option<Placed<Switch>>,
    /// `ipv6`: the host has IPv6, if it had none.
    pub ipv6: Option<Span>,
    /// `restarted`: daemons that were restarted.
    pub restarted: Vec<Placed<Daemon>>,
}

impl Given {
    /// Whether the host is as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with what another one says.
    pub fn extend(&mut self, other: Self) {
        self.down.extend(other.down);
        self.gone.extend(other.gone);
        self.moved.extend(other.moved);
        self.ip_forward = other.ip_forward.or(self.ip_forward.take());
        self.ipv6_forward = other.ipv6_forward.or(self.ipv6_forward.take());
        self.ipv6 = other.ipv6.or(self.ipv6.take());
        self.restarted.extend(other.restarted);
    }
}

/// The destination of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// `default`, of both families.
    Default,
    /// A prefix.
    Net(IpNet),
}

/// A setting that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Switch {
    On,
    Off,
}

/// A daemon that makes rules when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Daemon {
    /// `dockerd`.
    Dockerd,
}

/// The keys of `given`.
const KEYS: [&str; 7] =
    ["down", "gone", "moved", "restarted", "ip_forward", "ipv6", "ipv6_forward"];

/// Reads `--given`: the inside of the table `given`, such as `down = ["wg0"]`; or, shorter,
/// `down=wg0`, `restarted=dockerd` and `ip_forward=off`.
#[must_use]
pub fn parse_given(text: &str) -> Read<Given> {
    let quoted = shorthand(text);
    let text = quoted.as_deref().unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics: Vec<Diagnostic> =
        errors.iter().map(|error| syntax_error(text, error)).collect();
    let given = read_table(table.get_ref(), text, &mut diagnostics);
    (given, diagnostics)
}

/// `down=wg0` as TOML; `None` where the value is TOML already.
fn shorthand(text: &str) -> Option<String> {
    let (key, value) = text.split_once('=')?;
    let bare = value.trim();
    let plain = !bare.is_empty()
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte));
    (plain && !["true", "false"].contains(&bare)).then(|| format!("{key}= \"{bare}\""))
}

/// Reads the value of `given`.
pub(super) fn read(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Given {
    match value.value.get_ref() {
        DeValue::Table(table) => read_table(table, value.text, diagnostics),
        _ => {
            diagnostics.push(value.unexpected("a table such as { down = [\"wg0\"] }"));
            Given::default()
        }
    }
}

fn read_table(table: &DeTable<'_>, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Given {
    let mut given = Given::default();
    for (key, found) in in_order(table) {
        let value = Value { value: found, text };
        match key.get_ref().as_ref() {
            "down" => given.down = strings(value, "the name of an interface", diagnostics),
            "gone" => given.gone = destinations(value, diagnostics),
            "moved" => given.moved = moved(value, diagnostics),
            "ip_forward" => given.ip_forward = switch(value, diagnostics),
            "ipv6_forward" => given.ipv6_forward = switch(value, diagnostics),
            "ipv6" => match switch(value, diagnostics) {
                Some(Placed { value: Switch::On, span }) => given.ipv6 = Some(span),
                Some(Placed { value: Switch::Off, .. }) => diagnostics.push(
                    value
                        .unexpected("true")
                        .help("what an interface has of IPv6 goes with the interface: `down`"),
                ),
                None => {}
            },
            "restarted" => given.restarted = daemons(value, diagnostics),
            other => diagnostics.push(unknown_key(other, place(key.span()), &KEYS)),
        }
    }
    given
}

fn strings(
    value: Value<'_, '_>,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<String>> {
    let each = value.each_of_some(expected, diagnostics);
    each.into_iter().filter_map(|entry| entry.string(expected, diagnostics)).collect()
}

fn daemons(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Placed<Daemon>> {
    let expected = "a daemon that makes rules: \"dockerd\"";
    let mut read = Vec::new();
    for Placed { value: text, span } in strings(value, expected, diagnostics) {
        match text.as_str() {
            "dockerd" | "docker" => read.push(Placed { value: Daemon::Dockerd, span }),
            other => {
                let message = format!("expected {expected}, found `{other}`");
                let found = Diagnostic::error("unexpected-value", message, span);
                diagnostics.push(found.help("a container that was restarted is `moved`"));
            }
        }
    }
    read
}

fn destinations(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Placed<Destination>> {
    let expected = "the destination of a route, such as \"default\" or \"10.0.0.0/8\"";
    let mut read = Vec::new();
    for Placed { value: text, span } in strings(value, expected, diagnostics) {
        match (text.as_str(), net(&text)) {
            ("default", _) => read.push(Placed { value: Destination::Default, span }),
            (_, Some(net)) => read.push(Placed { value: Destination::Net(net), span }),
            (other, None) => {
                let message = format!("expected {expected}, found `{other}`");
                diagnostics.push(Diagnostic::error("invalid-address", message, span));
            }
        }
    }
    read
}

fn moved(
    value: Value<'_, '_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(Placed<String>, Placed<IpAddr>)> {
    let expected = "a table such as { web = \"172.18.0.9\" }";
    let DeValue::Table(table) = value.value.get_ref() else {
        diagnostics.push(value.unexpected(expected));
        return Vec::new();
    };
    let mut read = Vec::new();
    for (key, found) in in_order(table) {
        let found: &Spanned<DeValue<'_>> = found;
        let entry = Value { value: found, text: value.text };
        let Some(address) = entry.string("an address", diagnostics) else { continue };
        let Ok(parsed) = address.value.parse() else {
            let message = format!("expected an address, found `{}`", address.value);
            diagnostics.push(Diagnostic::error("invalid-address", message, address.span));
            continue;
        };
        let name = Placed { value: key.get_ref().to_string(), span: place(key.span()) };
        read.push((name, Placed { value: parsed, span: address.span }));
    }
    read
}

fn switch(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Placed<Switch>> {
    let read = match value.value.get_ref() {
        DeValue::Boolean(true) => Some(Switch::On),
        DeValue::Boolean(false) => Some(Switch::Off),
        DeValue::String(text) if text == "on" => Some(Switch::On),
        DeValue::String(text) if text == "off" => Some(Switch::Off),
        _ => None,
    };
    if read.is_none() {
        diagnostics.push(value.unexpected("true or false"));
    }
    read.map(|read| Placed { value: read, span: value.span() })
}
