//! Rules in the form of iptables-save or of commands, as `iptables -S` prints them.
//!
//! [`parse_rules`] also hands listings of `iptables -L` to their own reader, so that it takes
//! whatever people paste. The lines are read twice: once in order, for tables and chains; then
//! the rules, side by side.

mod chains;
mod commands;
mod rules;
mod tables;

use crate::diagnostic::Diagnostic;
use crate::extension::{ExtensionKind, find};
use crate::host::beside::not_read;
use crate::recognize::recognize;
use crate::replay::Replay;
use crate::span::Span;
use crate::syntax::{Backend, Family, Rule, Rules, RulesFormat, Table, TableName};
use crate::words::Word;
use rayon::prelude::*;

/// How many bytes a core cuts into lines in one go.
const PIECE: usize = 1 << 20;

/// One line of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Without its line end and without blanks around it.
    pub(crate) text: &'a str,
    /// The byte where it starts.
    pub(crate) start: usize,
    /// Counted from 1.
    pub(crate) number: u32,
}

impl Line<'_> {
    pub(crate) fn span(&self) -> Span {
        Span::new(self.start, self.start + self.text.len())
    }
}

pub(crate) use chains::declaration;
pub(crate) use rules::split_counters;
pub(crate) use tables::padding;

/// A line that holds a rule, and how its words are cut.
#[derive(Clone, Copy, Debug)]
struct RuleLine<'a> {
    line: Line<'a>,
    form: LineForm,
    /// Whether a later declaration of its chain clears it: it is read for its faults alone.
    cleared: bool,
}

/// How the words of a rule line are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineForm {
    /// A line of iptables-save.
    Save,
    /// A line of `iptables -S`, which may name its table.
    Command,
    /// A line that was typed at a shell.
    Shell,
}

/// A table whose rules are not read yet.
#[derive(Debug)]
struct Block<'a> {
    name: TableName,
    span: Span,
    chains: Vec<crate::syntax::Chain<'a>>,
    lines: Vec<RuleLine<'a>>,
    /// Whether the chains are declared, so that a chain that is not does not exist.
    declared: bool,
}

/// Where a rules text comes from, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The family; `None` to go by the text.
    pub family: Option<Family>,
    /// The backend; `None` to go by the text.
    pub backend: Option<Backend>,
}

/// Reads rules in whatever form they come: iptables-save, `iptables -S`, or `iptables -L`.
#[must_use]
pub fn parse_rules(text: &str) -> (Rules<'_>, Vec<Diagnostic>) {
    parse_rules_of(text, Origin::default())
}

/// Reads rules of which more is known than their text says; what is known stands over the text.
#[must_use]
pub fn parse_rules_of(text: &str, known: Origin) -> (Rules<'_>, Vec<Diagnostic>) {
    Outline::of(text, known).read(|| |rule| rule)
}

/// A rules text that is cut into tables, chains and the lines of rules, which are not read yet.
#[derive(Debug)]
pub struct Outline<'a> {
    /// The family, where the text tells.
    pub family: Option<Family>,
    /// The backend, where the text tells.
    pub backend: Option<Backend>,
    /// The form it came in.
    pub format: RulesFormat,
    tables: Tables<'a>,
    diagnostics: Vec<Diagnostic>,
}

/// The tables of an outline.
#[derive(Debug)]
enum Tables<'a> {
    Unread(Vec<Block<'a>>),
    /// A listing tells its family only by its rules.
    Read(Vec<Table<'a>>),
}

impl<'a> Outline<'a> {
    /// Cuts a text; what is known beside it stands over what it says.
    #[must_use]
    pub fn of(text: &'a str, known: Origin) -> Self {
        Self::in_format(recognize(text), text, known)
    }

    /// Cuts a text whose form was recognised.
    pub(crate) fn in_format(format: RulesFormat, text: &'a str, known: Origin) -> Self {
        let mut diagnostics = Vec::new();
        if let Some(refused) = unreadable(text) {
            let (tables, diagnostics) = (Tables::Unread(Vec::new()), vec![refused]);
            return Self { family: None, backend: None, format, tables, diagnostics };
        }
        let (mut origin, blocks) = match format {
            RulesFormat::Save => tables::scan(text, known, &mut diagnostics),
            RulesFormat::Commands => commands::scan(text, known, &mut diagnostics),
            RulesFormat::Script => return Self::of_script(text, known),
            RulesFormat::Listing { .. } => {
                let (Rules { family, backend, format, tables }, mut diagnostics) =
                    crate::listing::parse_listing_of(text, known);
                diagnostics.extend(not_read(text));
                return Self { family, backend, format, tables: Tables::Read(tables), diagnostics };
            }
        };
        let failed = diagnostics.iter().any(|one| one.severity == crate::Severity::Error);
        if blocks.is_empty() && !failed {
            diagnostics.push(no_rules(text));
        }
        diagnostics.extend(not_read(text));
        origin.family = origin.family.or_else(|| infer_family(&blocks));
        let Origin { family, backend } = origin;
        Self { family, backend, format, tables: Tables::Unread(blocks), diagnostics }
    }

    /// What a script leaves of one family, where it begins with empty tables.
    fn of_script(text: &'a str, known: Origin) -> Self {
        let format = RulesFormat::Script;
        let (rules, mut diagnostics) = Replay::default().script_of(text, known, 0);
        let several = rules.len() > 1;
        let mut rules = rules.into_iter();
        let first = rules.find(|one| known.family.is_none() || one.family == known.family);
        if several && known.family.is_none() {
            let span = Span::new(0, text.chars().next().map_or(0, char::len_utf8));
            let message = "rules of several families or backends stand in one text";
            diagnostics.push(Diagnostic::error("mixed-families", message, span));
        }
        let (family, backend, tables) =
            first.map_or((None, None, Vec::new()), |one| (one.family, one.backend, one.tables));
        Self { family, backend, format, tables: Tables::Read(tables), diagnostics }
    }

    /// Reads the rules on several cores. Of each rule there remains what `keep` makes of it, so
    /// that a large text never stands in memory as syntax; each core gets a `keep` of its own.
    pub fn read<R: Send, K: FnMut(Rule<'a>) -> R>(
        self,
        keep: impl Fn() -> K + Sync,
    ) -> (Rules<'a, R>, Vec<Diagnostic>) {
        let Self { family, backend, format, tables, mut diagnostics } = self;
        let tables = match tables {
            Tables::Read(tables) => {
                let read = Rules { family, backend, format, tables };
                return (read.map(keep()), diagnostics);
            }
            Tables::Unread(blocks) => {
                let origin = Origin { family, backend };
                let read = |block| rules::read(block, origin, &keep, &mut diagnostics);
                blocks.into_iter().map(read).collect()
            }
        };
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        (Rules { family, backend, format, tables }, diagnostics)
    }
}

/// The family and backend that a text of iptables-save tells, where they are not known.
pub(crate) fn family_of_save(text: &str, known: Origin) -> Origin {
    let (origin, blocks) = tables::scan(text, known, &mut Vec::new());
    Origin { family: origin.family.or_else(|| infer_family(&blocks)), ..origin }
}

/// Refuses what can't be a rules text.
pub(crate) fn unreadable(text: &str) -> Option<Diagnostic> {
    if u32::try_from(text.len()).is_err() {
        let message = "the text is 4 GiB or more";
        return Some(Diagnostic::error("too-large", message, Span::default()));
    }
    let nul = memchr::memchr(0, text.as_bytes())?;
    let message = "expected a text, found a binary file";
    Some(Diagnostic::error("binary", message, Span::new(nul, nul + 1)))
}

pub(crate) fn no_rules(text: &str) -> Diagnostic {
    let span = Span::new(0, text.chars().next().map_or(0, char::len_utf8));
    if lines(text).all(|line| line.text.starts_with('#')) {
        // iptables-save of a host without tables prints nothing (kernel-facts A11).
        return Diagnostic::note("no-rules", "the rules are empty", span);
    }
    Diagnostic::error("no-rules", "no iptables rules were found in this text", span)
        .help("expected the output of iptables-save, `iptables -S` or `iptables -L`")
}

/// The same as [`lines`], cut by several cores where the text is large.
fn all_lines<'a>(text: &'a str) -> Vec<Line<'a>> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    while rest < text.len() {
        let from = (rest + PIECE).min(text.len());
        let bytes = text.as_bytes().get(from..).unwrap_or_default();
        let end = memchr::memchr(b'\n', bytes).map_or(text.len(), |newline| from + newline + 1);
        pieces.push((rest, text.get(rest..end).unwrap_or_default()));
        rest = end;
    }
    let cut = |(start, piece): (usize, &'a str)| {
        let newlines = memchr::memchr_iter(b'\n', piece.as_bytes()).count();
        (start, newlines, lines(piece).collect::<Vec<Line<'a>>>())
    };
    let cut: Vec<_> = pieces.into_par_iter().map(cut).collect();
    let mut all = Vec::with_capacity(cut.iter().map(|(_, _, found)| found.len()).sum());
    let mut before = 0;
    for (start, newlines, found) in cut {
        all.extend(found.into_iter().map(|line| Line {
            text: line.text,
            start: start + line.start,
            number: before + line.number,
        }));
        before += u32::try_from(newlines).unwrap_or(u32::MAX);
    }
    all
}

/// The lines of a text without blanks around them; blank ones are left out.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    let mut number = 0;
    let mut newlines = memchr::memchr_iter(b'\n', text.as_bytes());
    std::iter::from_fn(move || {
        loop {
            if start > text.len() {
                return None;
            }
            let end = newlines.next().unwrap_or(text.len());
            let whole = text.get(start..end).unwrap_or_default();
            let at = start;
            start = end + 1;
            number += 1;
            let line = whole.trim_end();
            let indent = line.len() - line.trim_start().len();
            if indent < line.len() {
                let text = line.get(indent..).unwrap_or_default();
                return Some(Line { text, start: at + indent, number });
            }
        }
    })
}

/// The family of the first rule that shows it by an address or by something of one family only.
fn infer_family(blocks: &[Block<'_>]) -> Option<Family> {
    let mut words: Vec<Word<'_>> = Vec::new();
    for line in blocks.iter().flat_map(|block| &block.lines) {
        words.clear();
        crate::words::split_words(line.line.text, 0, &mut words, &mut Vec::new());
        for pair in words.windows(2) {
            let [option, value] = pair else { continue };
            let found = match option.text.as_ref() {
                "-4" | "--ipv4" => Some(Family::Ipv4),
                "-6" | "--ipv6" => Some(Family::Ipv6),
                "-s" | "-d" | "--source" | "--destination" | "--src" | "--dst" => {
                    family_of_address(&value.text)
                }
                "--to-source" | "--to-destination" | "--to" | "--reject-with" => {
                    family_of_target(&value.text)
                }
                "-p" | "--protocol" => {
                    matches!(value.text.as_ref(), "icmpv6" | "ipv6-icmp").then_some(Family::Ipv6)
                }
                "-m" | "--match" => family_of_extension(ExtensionKind::Match, &value.text),
                "-j" | "--jump" => family_of_extension(ExtensionKind::Target, &value.text),
                "--icmp-type" => Some(Family::Ipv4),
                "--icmpv6-type" => Some(Family::Ipv6),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn family_of_extension(kind: ExtensionKind, name: &str) -> Option<Family> {
    find(kind, name)?.family
}

fn family_of_address(text: &str) -> Option<Family> {
    let host = text.split(['/', ',']).next()?;
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(Family::Ipv6);
    }
    host.parse::<std::net::Ipv4Addr>().ok().map(|_| Family::Ipv4)
}

fn family_of_target(text: &str) -> Option<Family> {
    if text.starts_with('[') || text.starts_with("icmp6-") {
        return Some(Family::Ipv6);
    }
    if text.starts_with("icmp-") {
        return Some(Family::Ipv4);
    }
    let address = text.split('-').next()?;
    family_of_address(address).or_else(|| family_of_address(address.split(':').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is cut where: the same lines, at the same places, with the same numbers.
    #[test]
    fn many_cores_find_the_same_lines() {
        let line = "-A INPUT -s 192.0.2.1/32 -j ACCEPT";
        let mut text = String::from("\n\n*filter\r\n");
        while text.len() < 3 * PIECE {
            text.push_str(line);
            text.push_str(match text.len() % 7 {
                0 => "\n\n  ",
                1 => "\r\n",
                2 => " – \n",
                _ => "\n",
            });
        }
        for end in [text.len(), 2 * PIECE, 10, 0] {
            let cut = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let text = &text[..cut];
            let key = |line: Line<'_>| (line.start, line.number, line.text.to_owned());
            let one: Vec<_> = lines(text).map(key).collect();
            let many: Vec<_> = all_lines(text).into_iter().map(key).collect();
            assert!(one == many, "{} and {} lines of {cut} bytes", one.len(), many.len());
        }
    }
}
