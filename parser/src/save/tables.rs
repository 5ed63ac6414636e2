//! The tables of iptables-save, with their chains and the lines of their rules.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::chains::{self, Declared, Order};
use super::{Block, Line, LineForm, Origin, RuleLine, all_lines, commands};
use crate::diagnostic::{Diagnostic, nearest};
use crate::recognize::{Tool, header, program, table};
use crate::syntax::{Backend, Chain, Family, TableName};
use crate::words::clip;

/// Reads everything but the rules.
pub(super) fn scan<'a>(
    text: &'a str,
    origin: Origin,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Origin, Vec<Block<'a>>) {
    let place = Place::Outside;
    let (blocks, prose, promised) = (Vec::new(), Vec::new(), None);
    let padded = false;
    let mut scan = Scan { text, origin, blocks, place, padded, prose, promised, diagnostics };
    for line in all_lines(text) {
        let before = scan.prose.len();
        scan.line(line);
        if scan.prose.len() == before {
            scan.end_prose();
        }
    }
    scan.end_prose();
    if matches!(scan.place, Place::Table(_)) {
        scan.missing_commit(crate::Span::new(text.trim_end().len(), text.len()));
    } else if let Some(span) = scan.promised {
        let message = "no `# Completed` ends what this line begins";
        scan.diagnostics.push(
            Diagnostic::note("cut-off", message, span)
                .help("if the text is cut off, tables are missing that the host has"),
        );
    }
    let Scan { origin, mut blocks, diagnostics, .. } = scan;
    for block in &mut blocks {
        clear_repeated(block, origin.backend, diagnostics);
    }
    (origin, blocks)
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
    text: &'a str,
    origin: Origin,
    blocks: Vec<Block<'a>>,
    place: Place,
    /// Whether blanks were found where iptables-restore takes none.
    padded: bool,
    /// Lines of prose, one behind the other.
    prose: Vec<Line<'a>>,
    /// Where iptables-save began what it has not ended.
    promised: Option<crate::Span>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'a> Scan<'_, 'a> {
    fn line(&mut self, line: Line<'a>) {
        match line.text.as_bytes() {
            [b'-', ..] => self.rule(line),
            [b'[', ..] if self.place == Place::Outside && !chains::is_counted(line.text) => {
                self.other(line);
            }
            [b'[', ..] => {
                self.padding(line);
                self.rule(line);
            }
            [b':', ..] => self.chain(line),
            [b'*', ..] => self.table(line),
            [b'#', ..] => self.comment(line),
            b"COMMIT" => self.commit(line),
            _ if line.text.starts_with(['–', '—', '−']) => self.rule(line),
            _ => self.other(line),
        }
    }

    fn rule(&mut self, line: Line<'a>) {
        let form = LineForm::Save;
        if let Place::Table(index) = self.place {
            if let Some(block) = self.blocks.get_mut(index) {
                match chains::is_other_command(line.text) {
                    false => block.lines.push(RuleLine { line, form, cleared: false }),
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
            block.lines.push(RuleLine { line, form, cleared: false });
        }
    }

    fn open(&mut self, name: TableName, line: Line<'a>, declared: bool) {
        let span = line.span();
        self.blocks.push(Block { name, span, chains: Vec::new(), lines: Vec::new(), declared });
    }

    /// Takes note of the first line that iptables-restore takes only without blanks around it.
    fn padding(&mut self, line: Line<'a>) {
        if !self.padded
            && let Some(padding) = padding(self.text, line, self.origin.backend)
        {
            self.padded = true;
            self.diagnostics.push(padding);
        }
    }

    fn commit(&mut self, line: Line<'a>) {
        self.padding(line);
        if self.place == Place::Outside {
            let message = "COMMIT stands behind no table";
            self.diagnostics.push(Diagnostic::error("outside-of-table", message, line.span()));
        }
        self.place = Place::Outside;
    }

    fn table(&mut self, line: Line<'a>) {
        self.padding(line);
        if matches!(self.place, Place::Table(_)) {
            self.missing_commit(line.span());
        }
        let name = line.text.strip_prefix('*').unwrap_or_default();
        let name = name.split_ascii_whitespace().next().unwrap_or_default();
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
        self.padding(line);
        match self.place {
            Place::Unknown => {}
            Place::Outside => self.other(line),
            Place::Table(index) => {
                if let Some(block) = self.blocks.get_mut(index)
                    && let Some(mut chain) =
                        chains::declaration(line, block.name, self.origin.backend, self.diagnostics)
                {
                    // `-` leaves the policy of a declaration before it.
                    let builtin = block.name.builtin_chains().contains(&chain.name.as_ref());
                    let before = |one: &&Chain<'_>| one.name == chain.name && one.policy.is_some();
                    if builtin
                        && chain.policy.is_none()
                        && let Some(before) = block.chains.iter().rev().find(before)
                    {
                        chain.policy = before.policy;
                        if self.origin.backend == Some(Backend::Legacy) {
                            chain.counters = before.counters;
                        }
                    }
                    block.chains.push(chain);
                }
            }
        }
    }

    fn comment(&mut self, line: Line<'a>) {
        self.padding(line);
        let Some(header) = header(line.text) else {
            if line.text.trim_start_matches(['#', ' ']).starts_with("Completed") {
                self.promised = None;
            }
            return;
        };
        self.promised = is_dated(line.text).then(|| line.span());
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
        if self.place == Place::Outside {
            // A prompt with the command that printed the tables is understood.
            let prompt = crate::shell::prompt(line.text, crate::shell::Lead::Script);
            if prompt == 0 || !line.text.get(prompt..).is_some_and(saves) {
                self.prose.push(line);
            }
            return;
        }
        self.diagnostics.push(
            Diagnostic::error(
                "unexpected-line",
                format!("expected a rule, a chain or COMMIT, found `{found}`"),
                line.span(),
            )
            .help("if it is the rest of the line before, join the two"),
        );
    }

    /// Says of the lines of prose behind one another what they were taken for.
    fn end_prose(&mut self) {
        let (Some(first), Some(last)) = (self.prose.first(), self.prose.last()) else { return };
        let found = clip(first.text);
        let (message, span) = match self.prose.len() - 1 {
            0 => (format!("`{found}` is taken for prose"), first.span()),
            1 => {
                let message = format!("`{found}` and the line behind it are taken for prose");
                (message, first.span().cover(last.span()))
            }
            more => {
                let message = format!("`{found}` and {more} lines behind it are taken for prose");
                (message, first.span().cover(last.span()))
            }
        };
        self.diagnostics.push(Diagnostic::note("ignored-text", message, span));
        self.prose.clear();
    }

    fn missing_commit(&mut self, span: crate::Span) {
        self.diagnostics.push(
            Diagnostic::error("missing-commit", "expected COMMIT at the end of the table", span)
                .help("the text may be cut off; if it is whole, add `COMMIT`"),
        );
    }
}

/// Whether a command prints tables.
fn saves(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace().filter(|word| *word != "sudo");
    words.next().and_then(program).is_some_and(|program| program.tool == Tool::Save)
}

/// Whether a header tells when iptables-save ran, as it always does: others write one for the
/// family alone.
fn is_dated(header: &str) -> bool {
    header.split_once(" on ").is_some_and(|(_, date)| date.split_whitespace().count() >= 4)
}

/// What is said of blanks around a line where iptables-restore takes none (kernel-facts I6). A
/// carriage return is none: texts with Windows line ends are read as they are meant.
pub(crate) fn padding(text: &str, line: Line<'_>, backend: Option<Backend>) -> Option<Diagnostic> {
    let (before, rest) = text.split_at_checked(line.start)?;
    let behind = rest.get(line.text.len()..)?.trim_start_matches('\r');
    let begins = before.is_empty() || before.ends_with('\n');
    let ends = line.text != "COMMIT" || behind.starts_with('\n');
    if begins && behind.is_empty() && !ends && backend == Some(Backend::Legacy) {
        let message = "the last line is not ended, so that iptables-legacy-restore refuses it";
        return Some(Diagnostic::note("repaired-text", message, line.span()));
    }
    if begins && (ends || behind.is_empty()) {
        return None;
    }
    let message = format!("blanks around `{}` left out", clip(line.text));
    Some(
        Diagnostic::note("repaired-text", message, line.span())
            .label("iptables-restore takes this line only without them"),
    )
}

/// Marks what the second of two declarations of a chain clears, which iptables-legacy refuses
/// (kernel-facts I4).
fn clear_repeated(
    block: &mut Block<'_>,
    backend: Option<Backend>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let builtin = block.name.builtin_chains();
    let (ours, users): (Vec<_>, Vec<_>) =
        block.chains.iter().map(|chain| &chain.name).partition(|name| builtin.contains(&&***name));
    // As iptables-save prints them.
    if users.is_sorted_by(|one, next| one < next) && ours.len() <= builtin.len() {
        return;
    }
    let mut names: HashSet<&str, RandomState> =
        HashSet::with_capacity_and_hasher(block.chains.len(), RandomState::default());
    let mut again = Vec::new();
    for chain in &block.chains {
        if !names.insert(chain.name.as_ref()) {
            again.push((chain.name.clone(), chain.span));
        }
    }
    for (name, span) in again {
        let builtin = builtin.contains(&name.as_ref());
        let message = format!("chain `{}` is declared twice", clip(&name));
        let mut diagnostic = match backend {
            Some(Backend::Legacy) if !builtin => {
                Diagnostic::error("duplicate-chain", message, span)
            }
            _ => Diagnostic::warning("duplicate-chain", message, span),
        };
        let mut cleared = Vec::new();
        if !builtin {
            for line in &mut block.lines {
                if !line.cleared
                    && line.line.start < span.range().start
                    && commands::chain_of(line.line.text) == Some(name.as_ref())
                {
                    line.cleared = true;
                    cleared.push(line.line.span());
                }
            }
        }
        if !cleared.is_empty() {
            diagnostic = diagnostic.label("the rules before it are cleared");
        }
        let message = format!("chain `{}` is declared again below, which clears this", clip(&name));
        diagnostics.extend(
            cleared
                .into_iter()
                .map(|span| Diagnostic::note("duplicate-chain", message.clone(), span)),
        );
        diagnostics.push(diagnostic);
    }
}

/// The chains that a block declares, for the check of its rules.
pub(super) fn declared<'b>(block: &'b Block<'_>) -> Declared<'b> {
    let order = match block.lines.first().map(|line| line.form) {
        Some(LineForm::Save) => Order::Counts,
        Some(LineForm::Command | LineForm::Shell) | None => Order::Free,
    };
    Declared::new(block.name, &block.chains, block.declared, order)
}
