//! `nft -j list ruleset`: tables, chains, rules, sets and maps (libnftables-json(5)).
//!
//! Nothing is dropped: an expression or a statement that is not known is kept as it is written, and
//! its rule with it.

mod expression;
mod print;
mod read;
mod statement;

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

use super::json;

pub use expression::{BinaryOperator, Element, Expression};
pub use statement::{NatKind, NatStatement, Relation, SetOperation, Statement, Verdict};

/// The family of a table, which tells whose packets its chains see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are nft's own")]
pub enum TableFamily {
    Ip,
    Ip6,
    Inet,
    Arp,
    Bridge,
    Netdev,
}

impl TableFamily {
    /// All families.
    pub const ALL: [Self; 6] =
        [Self::Ip, Self::Ip6, Self::Inet, Self::Arp, Self::Bridge, Self::Netdev];

    /// The word that nft uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The table that something belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Its family.
    pub family: TableFamily,
    /// Its name.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its family and name.
    pub name: TableName,
    /// The kernel's number, which rises from table to table as they are made.
    pub handle: Option<u64>,
    /// Whether its chains are unhooked (`flags dormant`).
    pub dormant: bool,
    /// Its place in the text.
    pub span: Span,
}

/// Where a base chain sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook as nft names it: `prerouting`, `ingress`, …
    pub hook: String,
    /// Its priority, as a number.
    pub priority: i32,
    /// Whether its policy is drop.
    pub drops: bool,
    /// The devices of an ingress or egress chain.
    pub devices: Vec<String>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub name: String,
    /// The kernel's number, which rises from chain to chain of a table as they are made.
    pub handle: Option<u64>,
    /// Set for a chain that is hooked into the path of packets.
    pub base: Option<Base>,
    /// Its place in the text.
    pub span: Span,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its table.
    pub table: TableName,
    /// Its chain.
    pub chain: String,
    /// The kernel's number, by which `nft delete rule` takes it.
    pub handle: Option<u64>,
    /// Its statements in order; a match is one of them.
    pub statements: Vec<Statement>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its place in the text.
    pub span: Span,
}

/// A named set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub name: String,
    /// The types of its key, one for each part of a concatenation.
    pub types: Vec<String>,
    /// What a map maps to: a type, or `verdict`; none for a set.
    pub map: Option<Vec<String>>,
    /// Whether packets or time change it: `dynamic`, or with a timeout.
    pub changes: bool,
    /// Its elements.
    pub elements: Vec<Element>,
    /// Its place in the text.
    pub span: Span,
}

/// A named object: a counter, a quota, a limit, a helper, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedObject {
    /// Its table.
    pub table: TableName,
    /// What it is: `counter`, `limit`, `flowtable`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is the inverse, `over`.
    pub over: bool,
    /// Its place in the text.
    pub span: Span,
}

/// Everything that `nft -j list ruleset` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The tables.
    pub tables: Vec<Table>,
    /// The chains.
    pub chains: Vec<Chain>,
    /// The rules, those of a chain in their order.
    pub rules: Vec<Rule>,
    /// The named sets and maps.
    pub sets: Vec<Set>,
    /// The other named objects.
    pub objects: Vec<NamedObject>,
}

impl Ruleset {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.chains.is_empty() && self.rules.is_empty()
    }

    /// The rules of a chain, in order.
    pub fn rules_of<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|rule| rule.chain == chain.name && rule.table == chain.table)
    }
}

/// What a text of another kind is told to be.
const EXPECTED: &str = "a ruleset, as `nft -j list ruleset` prints";

/// Whether a text is what `nft list ruleset` prints for people, without `-j`.
#[must_use]
pub fn is_listing(text: &str) -> bool {
    let opens = |line: &str| {
        let mut words = line.split_whitespace();
        let family =
            |word: &str| TableFamily::ALL.into_iter().any(|family| family.as_str() == word);
        words.next() == Some("table")
            && words.next().is_some_and(|word| family(word) || line.trim_end().ends_with('{'))
            && line.contains('{')
    };
    // Only lines with the word are looked at: a dump of iptables-save has many without it.
    memchr::memmem::find_iter(text.as_bytes(), "table").any(|at| {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = at + rest.find('\n').unwrap_or(rest.len());
        opens(text.get(start..end).unwrap_or_default())
    })
}

/// Whether a text is what `nft -j list ruleset` prints.
#[must_use]
pub fn is_json(text: &str) -> bool {
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    start.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with("\"nftables\""))
}

/// How deep values may stand in one another; rules do not come near.
const MOST_DEPTH: usize = 200;

/// Where a text nests deeper than anything that is read.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                if depth > MOST_DEPTH {
                    return Some(place);
                }
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Reads a ruleset.
#[must_use]
pub fn parse(text: &str) -> (Ruleset, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut ruleset = Ruleset::default();
    if text.trim().is_empty() {
        return (ruleset, diagnostics);
    }
    let line = Span::new(0, text.lines().next().map_or(0, str::len));
    if is_listing(text) && !is_json(text) {
        let message = format!("expected {EXPECTED}, found its form for people");
        diagnostics.push(
            Diagnostic::error("not-json", message, line)
                .help("`nft -j list ruleset` prints it as JSON"),
        );
        return (ruleset, diagnostics);
    }
    let Some(start) = json::start(text) else {
        diagnostics.push(Diagnostic::error("not-json", format!("expected {EXPECTED}"), line));
        return (ruleset, diagnostics);
    };
    if let Some(place) = too_deep(text) {
        let message = format!("expected {EXPECTED}, found values more than {MOST_DEPTH} deep");
        diagnostics.push(Diagnostic::error("too-deep", message, Span::new(place, place + 1)));
        return (ruleset, diagnostics);
    }
    for entry in json::entries(text, start, EXPECTED, &mut diagnostics) {
        read::ruleset(entry, &mut ruleset, &mut diagnostics);
    }
    // A table that only its chains show is there all the same.
    for chain in &ruleset.chains {
        if !ruleset.tables.iter().any(|table| table.name == chain.table) {
            let (name, span) = (chain.table.clone(), chain.span);
            ruleset.tables.push(Table { name, handle: None, dormant: false, span });
        }
    }
    (ruleset, diagnostics)
}

#[cfg(test)]
mod tests;
