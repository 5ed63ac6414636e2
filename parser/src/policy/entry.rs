//! The tables `[[egress]]`, `[[allow]]`, `[[deny]]` and `[[isolate]]`.

use toml::de::DeTable;

use super::expression::{self, Expression};
use super::given;
use super::value::{self, Value, missing};
use super::{Claim, Entry, Given, Kind, Vacuous};
use crate::diagnostic::Diagnostic;
use crate::host::zones::{Placed, in_order, place, unknown_key};
use crate::span::Span;

/// The keys that every entry may have.
const COMMON: [&str; 6] = ["name", "proto", "ports", "family", "given", "vacuous"];

impl Kind {
    /// The keys of its own.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Egress => &["from", "to", "source"],
            Self::Allow => &["from", "to", "lands"],
            Self::Deny => &["from", "lands", "except"],
            Self::Isolate => &["zones"],
        }
    }
}

/// What the keys of an entry hold.
#[derive(Default)]
struct Keys {
    from: Option<Vec<Expression>>,
    to: Option<Vec<Expression>>,
    lands: Option<Vec<Expression>>,
    zones: Option<Vec<Expression>>,
    source: Option<Vec<Placed<super::Source>>>,
    except: Vec<Placed<String>>,
}

/// Reads one entry.
pub(super) fn read(
    kind: Kind,
    span: Span,
    table: &DeTable<'_>,
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Entry {
    let mut keys = Keys::default();
    let mut entry = Entry {
        name: None,
        claim: Claim::Isolate { zones: Vec::new() },
        protocols: Vec::new(),
        ports: Vec::new(),
        families: None,
        given: Given::default(),
        vacuous: Vacuous::default(),
        span,
    };
    for (key, found) in in_order(table) {
        let value = Value { value: found, text };
        let name = key.get_ref().as_ref();
        if !COMMON.contains(&name) && !kind.keys().contains(&name) {
            diagnostics.push(unexpected_key(kind, name, place(key.span())));
            continue;
        }
        match name {
            "name" => entry.name = value.string("a name in quotes", diagnostics),
            "proto" => entry.protocols = value::protocols(value, diagnostics),
            "ports" => entry.ports = value::ports(value, diagnostics),
            "family" => entry.families = value::families(value, diagnostics),
            "given" => entry.given = given::read(value, diagnostics),
            "vacuous" => entry.vacuous = value::vacuous(value, diagnostics),
            "from" => keys.from = Some(expressions(value, Port::Refused, diagnostics)),
            "to" => keys.to = Some(expressions(value, Port::Allowed, diagnostics)),
            "lands" => keys.lands = Some(expressions(value, Port::Allowed, diagnostics)),
            "zones" => keys.zones = Some(several(value, diagnostics)),
            "source" => keys.source = Some(value::sources(value, diagnostics)),
            _ => keys.except = names(value, diagnostics),
        }
    }
    entry.claim = claim(kind, span, keys, diagnostics);
    contradictions(&entry, diagnostics);
    entry
}

/// Puts the keys together, and says which ones are missing. An entry without them is never used,
/// but the names in it are looked at all the same.
fn claim(kind: Kind, span: Span, keys: Keys, diagnostics: &mut Vec<Diagnostic>) -> Claim {
    let mut need = |is_there: bool, key: &str| {
        if !is_there {
            diagnostics.push(missing(key, kind.as_str(), span));
        }
    };
    match kind {
        Kind::Egress | Kind::Allow => {
            need(keys.from.is_some(), "from");
            need(keys.to.is_some(), "to");
        }
        Kind::Deny => {
            need(keys.from.is_some(), "from");
            need(keys.lands.is_some(), "lands");
        }
        Kind::Isolate => need(keys.zones.is_some(), "zones"),
    }
    if kind == Kind::Egress {
        need(keys.source.is_some(), "source");
    }
    let (from, to) = (keys.from.unwrap_or_default(), keys.to.unwrap_or_default());
    let lands = keys.lands.unwrap_or_default();
    match kind {
        Kind::Egress => Claim::Egress { from, to, sources: keys.source.unwrap_or_default() },
        Kind::Allow => Claim::Allow { from, to, lands },
        Kind::Deny => Claim::Deny { from, lands, except: keys.except },
        Kind::Isolate => Claim::Isolate { zones: keys.zones.unwrap_or_default() },
    }
}

/// The error about a key that an entry of this kind does not have.
fn unexpected_key(kind: Kind, found: &str, span: Span) -> Diagnostic {
    let known: Vec<&str> = kind.keys().iter().chain(&COMMON).copied().collect();
    let diagnostic = unknown_key(found, span, &known);
    match (kind, found) {
        (Kind::Deny, "to") => diagnostic
            .help("`lands` says where packets must not arrive, however they are addressed"),
        _ => diagnostic,
    }
}

/// Whether a zone may have a port behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Allowed,
    Refused,
}

/// A zone, or a list of zones.
fn expressions(
    value: Value<'_, '_>,
    port: Port,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Expression> {
    let expected = "a zone such as \"internet\" or \"net:front\"";
    let mut read = Vec::new();
    for entry in value.each_of_some(expected, diagnostics) {
        let Some(Placed { value: text, span }) = entry.string(expected, diagnostics) else {
            continue;
        };
        match expression::parse_quoted(&text, span, value.text) {
            Ok(expression) => {
                if port == Port::Refused
                    && let Some(span) = expression.service_span
                {
                    diagnostics.push(
                        Diagnostic::error(
                            "unexpected-value",
                            "expected a zone without a port: ports are those of destinations",
                            span,
                        )
                        .help("`ports` and `proto` say which packets the entry is about"),
                    );
                }
                read.push(expression);
            }
            Err(found) => diagnostics.push(found),
        }
    }
    read
}

/// `zones`: at least two.
fn several(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Expression> {
    let count = value.each().len();
    let read = expressions(value, Port::Refused, diagnostics);
    if count == 1 {
        diagnostics.push(value.unexpected("a list of at least two zones"));
    }
    read
}

/// `except`: the name of an entry, or a list of names.
fn names(value: Value<'_, '_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Placed<String>> {
    let expected = "the name of an `[[allow]]` entry";
    value.each().into_iter().filter_map(|name| name.string(expected, diagnostics)).collect()
}

/// What an entry says twice.
fn contradictions(entry: &Entry, diagnostics: &mut Vec<Diagnostic>) {
    let (to, lands): (&[Expression], &[Expression]) = match &entry.claim {
        Claim::Egress { to, .. } => (to, &[]),
        Claim::Allow { to, lands, .. } => (to, lands),
        Claim::Deny { lands, .. } => (&[], lands),
        Claim::Isolate { .. } => (&[], &[]),
    };
    // `ports` of an `allow` are those that packets are addressed to.
    let addressed = match &entry.claim {
        Claim::Allow { .. } => to.iter().chain(&[]),
        _ => to.iter().chain(lands),
    };
    if let Some(ports) = entry.ports.first()
        && let Some(twice) = addressed.clone().find(|zone| zone.ports.is_some())
    {
        diagnostics.push(
            Diagnostic::error(
                "contradiction",
                format!("`ports` stands beside the port of `{}`", twice.text),
                ports.span,
            )
            .help("write the port once"),
        );
    }
    if let Some(protocol) = entry.protocols.first()
        && let Some(twice) = addressed.clone().find(|zone| zone.protocol.is_some())
    {
        diagnostics.push(
            Diagnostic::error(
                "contradiction",
                format!("`proto` stands beside the protocol of `{}`", twice.text),
                protocol.span,
            )
            .help("write the protocol once"),
        );
    }
    let portless = entry.protocols.iter().find(|protocol| !has_ports(protocol.value));
    let asks = !entry.ports.is_empty() || addressed.clone().any(|zone| zone.ports.is_some());
    if let Some(protocol) = portless
        && asks
    {
        diagnostics.push(Diagnostic::error(
            "no-ports",
            "expected a protocol with ports beside a port",
            protocol.span,
        ));
    }
}

/// Whether packets of a protocol have ports.
pub(super) fn has_ports(protocol: super::Protocol) -> bool {
    matches!(protocol, super::Protocol::Number(6 | 17 | 33 | 132 | 136))
}
