//! Listings of `iptables -L` and `ip6tables -L`, as people paste them.
//!
//! Takes every combination of `-n`, `-v`, `-x` and `--line-numbers`, of iptables-nft and
//! iptables-legacy and of the versions before 1.8.9, several tables in one paste, and what mail,
//! Markdown and word processors do to them. A row is turned into the words of its rule, which are
//! then read as those of a rule line; what a row says beyond that is kept as not understood.
//!
//! What a listing does not show, no reader can give back: interfaces without `-v`, the name of a
//! `hashlimit`, `--ttl` of `osf`, the `!` of `quota`, exact counters without `-x`. ip6tables without
//! `-n` prints `anywhere` for every mask of `::`, and ip6tables-nft prints nothing at all for
//! `-m eui64`.

mod extra;
mod line;
mod names;
mod piece;
mod row;
mod rule;
mod tables;

use std::borrow::Cow;

use crate::diagnostic::Diagnostic;
use crate::save::Origin;
use crate::shell::{self, Lead};
use crate::span::Span;
use crate::syntax::{AddressMask, Backend, Chain, Family, Negatable, Rules, RulesFormat, Table};
use crate::words::clip;
use line::{Header, Line, classify, is_rule_command, looks_like_row, unquoted};
use piece::Piece;
use row::{Columns, Row};
use rule::{Names, Surroundings, rule_of};
use tables::{Hint, Segment, Told, segments};

/// A chain of a listing with its rows.
#[derive(Debug)]
struct Block<'a> {
    header: Header<'a>,
    /// The number of the hint that stands before it.
    hint: Option<usize>,
    columns: Option<Columns>,
    /// The rows, each with its line.
    rows: Vec<(Row<'a>, u32)>,
}

/// Reads listings of `iptables -L` or `ip6tables -L`.
///
/// A listing without `-v` shows no interfaces; its rules have
/// [`Interfaces::NotShown`](crate::syntax::Interfaces::NotShown).
#[must_use]
pub fn parse_listing(text: &str) -> (Rules<'_>, Vec<Diagnostic>) {
    parse_listing_of(text, Origin::default())
}

/// Reads listings of which more is known than they say.
pub(crate) fn parse_listing_of(text: &str, known: Origin) -> (Rules<'_>, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    if u32::try_from(text.len()).is_ok() {
        reader.read(text);
    } else {
        let message = "the listing is too long: at most 4 GiB";
        reader.diagnostics.push(Diagnostic::error("too-long", message, Span::default()));
    }
    reader.finish(text, known)
}

/// Which line was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// A row or the header of its chain.
    Chain,
    #[default]
    Other,
}

/// Collects the chains of a text.
#[derive(Debug, Default)]
struct Reader<'a> {
    blocks: Vec<Block<'a>>,
    hints: Vec<Hint>,
    /// Whether rows belong to the last block.
    open: bool,
    /// Whether another command than one of iptables was typed last, whose output follows.
    foreign: bool,
    last: Last,
    /// The place of the first chain that shows no interfaces.
    no_interfaces: Option<Span>,
    /// How many rules of another form stand in the text, and the first of them.
    other_rules: Option<(u32, Span)>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, text: &'a str) {
        let mut start = 0;
        for (index, line) in text.split('\n').enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            self.line(unquoted(Piece { text: line, start }), number);
            start += line.len() + 1;
        }
    }

    fn line(&mut self, line: Piece<'a>, number: u32) {
        let last = std::mem::take(&mut self.last);
        let class = classify(line);
        self.foreign &= matches!(class, Line::Other | Line::Blank | Line::Boundary);
        match class {
            Line::Blank => {}
            Line::Boundary => self.boundary(line.trim()),
            Line::Command(command) => {
                let line::Command { table, family, backend, span } = command;
                self.hint(Hint { table, family: Some(family), backend, span });
            }
            Line::Table(table, span) => {
                self.hint(Hint { table, family: None, backend: None, span })
            }
            Line::Legacy(span) => self.diagnostics.push(
                Diagnostic::warning(
                    "legacy-tables",
                    "iptables-legacy holds rules as well, which this listing does not show",
                    span,
                )
                .help("add the output of `iptables-legacy-save`"),
            ),
            Line::Chain(header) => {
                let hint = self.hints.len().checked_sub(1);
                self.blocks.push(Block { header, hint, columns: None, rows: Vec::new() });
                self.open = true;
                self.last = Last::Chain;
            }
            Line::Columns(columns) => {
                if let Some(block) = self.blocks.last_mut().filter(|_| self.open) {
                    if block.columns.is_some() || !block.rows.is_empty() {
                        self.diagnostics.push(lost_header(line.trim().span()));
                    }
                    block.columns = Some(columns);
                    self.last = Last::Chain;
                    if !columns.verbose {
                        self.no_interfaces.get_or_insert(line.trim().span());
                    }
                }
            }
            Line::Other => self.row(line, number, last),
        }
    }

    /// A fence, or a prompt with a command: what that prints is no part of the listing.
    fn boundary(&mut self, line: Piece<'a>) {
        self.foreign = shell::prompt(line.text, Lead::Script) > 0;
        if self.foreign {
            self.open = false;
            let message = format!("`{}` and what it printed are left out", clip(line.text));
            self.diagnostics.push(Diagnostic::note("ignored-text", message, line.span()));
        }
    }

    fn hint(&mut self, hint: Hint) {
        self.hints.push(hint);
        self.open = false;
    }

    /// A line that is a row, or should be one, or is prose.
    fn row(&mut self, line: Piece<'a>, number: u32, last: Last) {
        if self.foreign {
            return;
        }
        let block = self.blocks.last_mut().filter(|_| self.open);
        let columns = block.as_ref().and_then(|block| block.columns);
        let row = Row::read(line, columns);
        let span = line.trim().span();
        match (row, block) {
            (Some(row), Some(block)) => {
                if row.interfaces.is_none() {
                    self.no_interfaces.get_or_insert(block.header.span);
                }
                self.diagnostics.extend(missing_rows(block, &row));
                block.rows.push((row, number));
                self.last = Last::Chain;
            }
            (Some(_), None) => self.diagnostics.push(
                Diagnostic::error("rule-without-chain", "this rule stands in no chain", span)
                    .help("paste the line `Chain NAME (…)` above it as well"),
            ),
            (None, _)
                if looks_like_row(line) || last == Last::Chain && extra::starts_extra(line) =>
            {
                self.diagnostics.push(
                    Diagnostic::error("unread-line", "this line of a listing can't be read", span)
                        .help("a rule must stand on one line as `iptables -L` prints it"),
                );
            }
            (None, _) if is_rule_command(line) => {
                self.other_rules.get_or_insert((0, span)).0 += 1;
            }
            (None, _) if last == Last::Chain => self.diagnostics.push(
                Diagnostic::warning("skipped-line", "this line inside of a chain is no rule", span)
                    .help("if it stands for rules that were left out, the answers are wrong"),
            ),
            (None, _) => {}
        }
    }

    fn finish(mut self, text: &'a str, known: Origin) -> (Rules<'a>, Vec<Diagnostic>) {
        if self.blocks.is_empty() && self.diagnostics.is_empty() {
            let end = text.find('\n').unwrap_or(text.len());
            self.diagnostics.push(
                Diagnostic::error(
                    "no-listing",
                    "expected the output of `iptables -L`, found no chain",
                    Span::new(0, end),
                )
                .help("it has lines such as `Chain INPUT (policy ACCEPT)`"),
            );
        }
        if let Some((count, span)) = self.other_rules {
            let (rules, are) = if count == 1 { ("rule", "is") } else { ("rules", "are") };
            let message = format!("{count} {rules} of another form {are} left out of this listing");
            self.diagnostics.push(
                Diagnostic::warning("skipped-rule", message, span)
                    .help("give them as an input of their own"),
            );
        }
        if let Some(span) = self.no_interfaces {
            self.diagnostics.push(
                Diagnostic::note(
                    "interfaces-not-shown",
                    "this listing does not show to which interfaces its rules apply",
                    span,
                )
                .help("run `iptables -nvL`, or better iptables-save"),
            );
        }
        let segments = segments(self.blocks, &self.hints);
        let told = family(&segments, &mut self.diagnostics);
        let origin = Origin { family: known.family.or(told), ..known };
        let mut looked_up = None;
        let mut tables = Vec::with_capacity(segments.len());
        for segment in &segments {
            let names = read_table(segment, origin, &mut tables, &mut self.diagnostics);
            if names == Names::LookedUp {
                looked_up.get_or_insert(segment.span());
            }
        }
        if let Some(span) = looked_up {
            self.diagnostics.push(
                Diagnostic::note(
                    "names-looked-up",
                    "names of services and hosts are read as they are usual, not as this host has them",
                    span,
                )
                .help("`iptables -n` prints numbers"),
            );
        }
        let rules = Rules {
            family: origin.family,
            backend: origin.backend.or_else(|| backend(&segments)).or_else(|| shown_by(&tables)),
            format: RulesFormat::Listing { verbose: self.no_interfaces.is_none() },
            tables,
        };
        (rules, self.diagnostics)
    }
}

/// Says that the rows under these titles belong to a chain whose header was not recognised.
fn lost_header(span: Span) -> Diagnostic {
    let message = "expected a line `Chain NAME (…)` above these titles of columns";
    Diagnostic::error("rule-without-chain", message, span)
        .help("without it, the rules below would be taken for those of the chain before")
}

/// Says so if numbers of rows are left out.
fn missing_rows(block: &Block<'_>, row: &Row<'_>) -> Option<Diagnostic> {
    let number = row.number?;
    let expected =
        block.rows.last().map_or(1, |(last, _)| last.number.unwrap_or(0).saturating_add(1));
    (number != expected).then(|| {
        Diagnostic::warning(
            "missing-rows",
            format!("expected rule {expected} of this chain, found rule {number}"),
            row.piece.span(),
        )
        .help("if rules were left out, the answers are wrong")
    })
}

/// The one family of a listing.
fn family(segments: &[Segment<'_>], diagnostics: &mut Vec<Diagnostic>) -> Option<Family> {
    let mut told = segments.iter().filter_map(|segment| Some((segment.family()?, segment.span())));
    let (family, _) = told.next()?;
    if let Some((_, span)) = told.find(|(other, _)| *other != family) {
        diagnostics.push(
            Diagnostic::error(
                "mixed-families",
                "a listing of the other IP version begins here",
                span,
            )
            .help("give the listings of iptables and of ip6tables as two inputs"),
        );
    }
    Some(family)
}

/// The backend, if all commands agree on it.
fn backend(segments: &[Segment<'_>]) -> Option<Backend> {
    let mut told = segments.iter().map(|segment| segment.hint.and_then(|hint| hint.backend));
    let first = told.next().flatten()?;
    told.all(|other| other == Some(first)).then_some(first)
}

/// The backend that alone lists such rules: a negated `anywhere` is iptables-legacy's
/// (kernel-facts H1).
fn shown_by(tables: &[Table<'_>]) -> Option<Backend> {
    let never = |field: &Option<Negatable<AddressMask>>| {
        matches!(
            field,
            Some(Negatable { negated: true, value: AddressMask::V4(_, 0) | AddressMask::V6(_, 0) })
        )
    };
    let mut rules = tables.iter().flat_map(|table| &table.rules);
    rules.any(|rule| never(&rule.source) || never(&rule.destination)).then_some(Backend::Legacy)
}

/// Reads the rows of one table.
fn read_table<'a>(
    segment: &Segment<'a>,
    origin: Origin,
    tables: &mut Vec<Table<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Names {
    let (name, told) = segment.table();
    let span = segment.span();
    if told == Told::Probably {
        diagnostics.push(
            Diagnostic::warning(
                "table-assumed",
                format!(
                    "the table of these chains is not named; read as the {} table",
                    name.as_str()
                ),
                span,
            )
            .help("put the command above them, for example `iptables -t nat -nvL`"),
        );
    }
    let mut table =
        Table { name, span, chains: Vec::with_capacity(segment.blocks.len()), rules: Vec::new() };
    let mut names = Names::None;
    for Block { header, rows, .. } in &segment.blocks {
        crate::rule::check_chain_name(header.name.text, header.name.span(), diagnostics);
        let builtin = name.builtin_chains().contains(&header.name.text);
        if builtin && header.policy.is_none() {
            diagnostics.push(Diagnostic::warning(
                "policy-not-shown",
                format!("the policy of the chain `{}` is not shown", header.name.text),
                header.span,
            ));
        }
        table.chains.push(Chain {
            name: Cow::Borrowed(header.name.text),
            policy: header.policy,
            counters: header.counters,
            span: header.span,
        });
        let backend = origin.backend.or(segment.hint.and_then(|hint| hint.backend));
        let family = origin.family;
        let around = Surroundings { table: name, family, backend, chain: header.name.text };
        for (row, line) in rows {
            if rule_of(row, *line, &around, &mut table.rules, diagnostics) == Names::LookedUp {
                names = Names::LookedUp;
            }
        }
    }
    tables.push(table);
    names
}
