//! The policy file: what must hold for every packet (CLI.md, "The policy file").
//!
//! Reading is strict: an unknown key, a missing one or a value of another kind is an error at its
//! place, and all faults of a file come out of one run. Which zones, networks, containers and
//! interfaces a name means is not known here.

mod entry;
mod expression;
mod given;
#[cfg(test)]
mod tests;
mod value;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::host::Read;
use crate::host::zones::{
    self, Placed, Zone, in_order, place, syntax_error, unexpected, unknown_key,
};
use crate::span::Span;
use crate::syntax::Family;

pub use expression::{Expression, Place, ServiceWords, parse_expression, parse_service};
pub use given::{Daemon, Destination, Given, Switch, parse_given};

/// A policy as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The zones that it defines.
    pub zones: Vec<Zone>,
    /// What must hold, in the order of the text.
    pub entries: Vec<Entry>,
    /// Results that are known and put up with.
    pub suppressions: Vec<Suppression>,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, where it has one.
    pub name: Option<Placed<String>>,
    /// What it says.
    pub claim: Claim,
    /// The protocols that it is about; none for those that its zones name, or all.
    pub protocols: Vec<Placed<Protocol>>,
    /// The destination ports that it is about; none for those that its zones name, or all.
    pub ports: Vec<Placed<(u16, u16)>>,
    /// The families that it is about; `None` for those that it can be about.
    pub families: Option<Families>,
    /// What is taken to be otherwise on the host.
    pub given: Given,
    /// Whether it may hold because no packet is concerned.
    pub vacuous: Vacuous,
    /// The header `[[egress]]`.
    pub span: Span,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Every packet that goes from one zone to another leaves with one of these sources.
    Egress {
        /// Where the packets come from.
        from: Vec<Expression>,
        /// Where they go.
        to: Vec<Expression>,
        /// The sources that they may have then.
        sources: Vec<Placed<Source>>,
    },
    /// Every such packet arrives, and its answer comes back.
    Allow {
        /// Where the packets come from.
        from: Vec<Expression>,
        /// Where they are addressed.
        to: Vec<Expression>,
        /// Where they arrive, after NAT; none for anywhere.
        lands: Vec<Expression>,
    },
    /// No packet of one zone lands in another, however it is addressed.
    Deny {
        /// Where the packets come from.
        from: Vec<Expression>,
        /// Where they must not arrive.
        lands: Vec<Expression>,
        /// The names of the entries whose packets may.
        except: Vec<Placed<String>>,
    },
    /// No packet of one zone lands in another, in any direction.
    Isolate {
        /// The zones.
        zones: Vec<Expression>,
    },
}

impl Claim {
    /// The name of its kind, as in the file.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Egress { .. } => Kind::Egress,
            Self::Allow { .. } => Kind::Allow,
            Self::Deny { .. } => Kind::Deny,
            Self::Isolate { .. } => Kind::Isolate,
        }
    }
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the file")]
pub enum Kind {
    Egress,
    Allow,
    Deny,
    Isolate,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Egress, Self::Allow, Self::Deny, Self::Isolate];

    /// The name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Isolate => "isolate",
        }
    }
}

/// A source that packets may leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// One of the addresses of a prefix.
    Net(ipnet::IpNet),
    /// The one they came with.
    Unchanged,
}

/// A protocol that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp,
    /// The one with this number.
    Number(u8),
}

/// The families that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Families {
    /// One.
    One(Family),
    /// Both.
    Both,
}

/// Whether an entry may hold because no packet is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vacuous {
    /// It fails then.
    #[default]
    Fails,
    /// `vacuous = "ok"`.
    Ok,
}

/// A result that is known and put up with for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// What it is about: the name of an entry, or the code of a finding.
    pub what: Suppressed,
    /// Why.
    pub reason: Placed<String>,
    /// The last day on which it counts: year, month, day.
    pub until: Option<Placed<(u16, u8, u8)>>,
    /// The header `[[suppress]]`.
    pub span: Span,
}

/// What a suppression is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppressed {
    /// An entry of the policy, by its name.
    Entry(Placed<String>),
    /// Findings of `audit`, by their code.
    Finding(Placed<String>),
}

/// What may stand at the top of a policy.
const KEYS: [&str; 7] = ["version", "zones", "egress", "allow", "deny", "isolate", "suppress"];

/// Reads a policy.
#[must_use]
pub fn parse(text: &str) -> Read<Policy> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics: Vec<Diagnostic> =
        errors.iter().map(|error| syntax_error(text, error)).collect();
    let mut policy = Policy::default();
    let mut version = Version::Missing;
    for (key, value) in in_order(table.get_ref()) {
        let name = key.get_ref().as_ref();
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == name) {
            for (span, table) in tables(name, text, value, &mut diagnostics) {
                policy.entries.push(entry::read(kind, span, table, text, &mut diagnostics));
            }
            continue;
        }
        match (name, value.get_ref()) {
            ("version", DeValue::Integer(number)) if number.as_str() == "1" => {
                version = Version::Given;
            }
            ("version", _) => {
                version = Version::Given;
                diagnostics.push(unexpected("version 1", text, value));
            }
            ("zones", DeValue::Table(table)) => {
                policy.zones = zones::parse_table(table, &mut diagnostics);
            }
            ("zones", _) => {
                diagnostics.push(unexpected("tables `[zones.NAME]`", text, value));
            }
            ("suppress", _) => {
                for (span, table) in tables(name, text, value, &mut diagnostics) {
                    let read = value::suppression(span, table, text, &mut diagnostics);
                    policy.suppressions.extend(read);
                }
            }
            (other, _) => {
                diagnostics.push(unknown_key(other, place(key.span()), &KEYS));
            }
        }
    }
    if version == Version::Missing && errors.is_empty() {
        let start = text.len() - text.trim_start().len();
        let line_end = text.get(start..).and_then(|rest| rest.find('\n'));
        let span = Span::new(start, line_end.map_or(text.len(), |length| start + length));
        diagnostics.push(
            Diagnostic::error("missing-key", "expected `version = 1` in the policy", span)
                .help("write `version = 1` as its first line"),
        );
    }
    // Tables of one kind stand together in TOML's order, which need not be that of the text.
    policy.entries.sort_by_key(|entry| entry.span);
    names_once(&policy.entries, &mut diagnostics);
    diagnostics.sort_by_key(|found| found.span);
    (policy, diagnostics)
}

/// Whether the file says which version of the format it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Given,
    Missing,
}

/// The tables `[[NAME]]`, each with the place of its header.
fn tables<'t, 'i>(
    name: &str,
    text: &str,
    value: &'t Spanned<DeValue<'i>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(Span, &'t DeTable<'i>)> {
    let expected = format!("tables `[[{name}]]`");
    let DeValue::Array(array) = value.get_ref() else {
        let found = unexpected(&expected, text, value);
        diagnostics.push(match value.get_ref() {
            DeValue::Table(_) => found.help(format!("write `[[{name}]]` with two brackets")),
            _ => found,
        });
        return Vec::new();
    };
    let mut tables = Vec::new();
    for element in array.iter() {
        match element.get_ref() {
            DeValue::Table(table) => tables.push((header(text, place(element.span())), table)),
            _ => diagnostics.push(unexpected(&expected, text, element)),
        }
    }
    tables
}

/// The first line of a table's place.
fn header(text: &str, span: Span) -> Span {
    let line = span.slice(text).lines().next().unwrap_or("").trim_end();
    Span::new(span.range().start, span.range().start + line.len())
}

/// A name stands for one entry: `except`, suppressions and results refer to it.
fn names_once(entries: &[Entry], diagnostics: &mut Vec<Diagnostic>) {
    let mut seen: Vec<&str> = Vec::new();
    for name in entries.iter().filter_map(|entry| entry.name.as_ref()) {
        if seen.contains(&name.value.as_str()) {
            let message = format!("expected a name of its own, found `{}` again", name.value);
            diagnostics.push(Diagnostic::error("duplicate-name", message, name.span));
        }
        seen.push(&name.value);
    }
}
