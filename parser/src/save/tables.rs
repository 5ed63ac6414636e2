//! The tables of iptables-save, with their chains and the lines of their rules.

use super::chains::{self, Declared};
use super::{Block, Line, LineForm, Origin, RuleLine, all_lines, commands};
use crate::diagnostic::{Diagnostic, nearest};
use crate::recognize::{header, table};
use crate::syntax::{Family, TableName};
use crate::words::clip;

/// Reads everything but the rules.
pub(super) fn scan<'a>(
    text: &'a str,
    origin: Origin,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Origin, Vec<Block<'a>>) {
    let mut scan = Scan { origin, blocks: Vec::new(), place: Place::Outside, diagnostics };
    for line in all_lines(text) {
        scan.line(line);
    }
    if matches!(scan.place, Place::Table(_)) {
        scan.missing_commit(crate::Span::new(text.trim_end().len(), text.len()));
    }
    (scan.origin, scan.blocks)
}

/// Where the scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before or behind a table.
    Outside,
    /// In the block of this number.
    Table(usize),
    /// In a table that does not exist.
    Unknown,
}

struct Scan<'d, 'a> {
    origin: Origin,
    blocks: Vec<Block<'a>>,
    place: Place,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'a> Scan<'_, 'a> {
    fn line(&mut self, line: Line<'a>) {
        match line.text.as_bytes() {
            [b'-' | b'[', ..] => self.rule(line),
            [b':', ..] => self.chain(line),
            [b'*', ..] => self.table(line),
            [b'#', ..] => self.comment(line),
            b"COMMIT" => self.place = Place::Outside,
            _ if line.text.starts_with(['–', '—', '−']) => self.rule(line),
            _ => self.other(line),
        }
    }

    fn rule(&mut self, line: Line<'a>) {
        let form = LineForm::Save;
        if let Place::Table(index) = self.place {
            if let Some(block) = self.blocks.get_mut(index) {
                match chains::is_other_command(line.text) {
                    false => block.lines.push(RuleLine { line, form }),
                    true => commands::in_table(block, line, self.diagnostics),
                }
            }
            return;
        }
        if self.place == Place::Unknown {
            return;
        }
        if !chains::is_command(line.text) {
            self.other(line);
            return;
        }
        self.diagnostics.push(
            Diagnostic::error("outside-of-table", "this rule stands in no table", line.span())
                .help("expected a line such as `*filter` before it and `COMMIT` behind it"),
        );
        let known = self.blocks.last().filter(|block| !block.declared).is_some();
        if !known {
            self.open(TableName::Filter, line, false);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.lines.push(RuleLine { line, form });
        }
    }

    fn open(&mut self, name: TableName, line: Line<'a>, declared: bool) {
        let span = line.span();
        self.blocks.push(Block { name, span, chains: Vec::new(), lines: Vec::new(), declared });
    }

    fn table(&mut self, line: Line<'a>) {
        if matches!(self.place, Place::Table(_)) {
            self.missing_commit(line.span());
        }
        let name = line.text.trim_start_matches('*').trim();
        let Some(found) = table(name) else {
            let message = format!("unknown table `{}`", clip(name));
            let mut diagnostic = Diagnostic::error("unknown-table", message, line.span());
            let known = TableName::ALL.iter().map(|table| table.as_str());
            diagnostic.help = (name.len() < 40)
                .then(|| nearest(name, known))
                .flatten()
                .map(|near| format!("did you mean `{near}`?"));
            self.diagnostics.push(diagnostic);
            self.place = Place::Unknown;
            return;
        };
        if let Some(first) = self.blocks.iter().find(|block| block.name == found && block.declared)
        {
            let message = format!("table `{name}` stands here a second time");
            let first = first.span;
            self.diagnostics.push(
                Diagnostic::warning("repeated-table", message, line.span()).label(format!(
                    "iptables-restore replaces the first one, at byte {}",
                    first.start
                )),
            );
        }
        self.place = Place::Table(self.blocks.len());
        self.open(found, line, true);
    }

    fn chain(&mut self, line: Line<'a>) {
        match self.place {
            Place::Unknown => {}
            Place::Outside => self.other(line),
            Place::Table(index) => {
                if let Some(block) = self.blocks.get_mut(index)
                    && let Some(chain) =
                        chains::declaration(line, block.name, self.origin.backend, self.diagnostics)
                {
                    block.chains.push(chain);
                }
            }
        }
    }

    fn comment(&mut self, line: Line<'a>) {
        let Some(header) = header(line.text) else { return };
        if let (Some(before), Some(family)) = (self.origin.family, header.family)
            && before != family
        {
            let (first, second) = match family {
                Family::Ipv6 => ("iptables", "ip6tables"),
                Family::Ipv4 => ("ip6tables", "iptables"),
            };
            let message = match self.blocks.is_empty() {
                true => format!("these are rules of {second}, and not of {first} as was said"),
                false => format!("rules of {second} follow rules of {first} in one text"),
            };
            self.diagnostics.push(
                Diagnostic::error("mixed-families", message, line.span())
                    .help("give them as two files"),
            );
        }
        self.origin.family = self.origin.family.or(header.family);
        if self.blocks.is_empty() {
            self.origin.backend = self.origin.backend.or(header.backend);
        }
    }

    /// A line that is none of iptables-save's.
    fn other(&mut self, line: Line<'a>) {
        let found = clip(line.text);
        let diagnostic = match self.place {
            Place::Outside => Diagnostic::note(
                "ignored-text",
                format!("`{found}` is taken for prose"),
                line.span(),
            ),
            _ => Diagnostic::error(
                "unexpected-line",
                format!("expected a rule, a chain or COMMIT, found `{found}`"),
                line.span(),
            )
            .help("if it is the rest of the line before, join the two"),
        };
        self.diagnostics.push(diagnostic);
    }

    fn missing_commit(&mut self, span: crate::Span) {
        self.diagnostics.push(
            Diagnostic::error("missing-commit", "expected COMMIT at the end of the table", span)
                .help("the text may be cut off; if it is whole, add `COMMIT`"),
        );
    }
}

/// The chains that a block declares, for the check of its rules.
pub(super) fn declared<'b>(
    block: &'b Block<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Declared<'b> {
    Declared::new(block.name, &block.chains, block.declared, diagnostics)
}
