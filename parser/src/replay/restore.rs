//! The input of iptables-restore, carried out line by line (kernel-facts I1, I4, I5, I6).

use std::borrow::Cow;

use super::batch::{self, Course};
use super::change::position;
use super::verb::Verb;
use super::{At, Counts, Field, Outcome, TableSet};
use super::{command, spec};
use crate::diagnostic::{Diagnostic, Severity};
use crate::recognize::{Tool, table};
use crate::save::{Line, declaration, split_counters};
use crate::span::Span;
use crate::syntax::{Backend, Counters, TableName, Unsupported};
use crate::words::{Word, clip, split_words};

/// Marks a word whose value is not known, in front of how it is written. A character that no text
/// is expected to hold.
pub(crate) const UNKNOWN: char = '\u{e0f5}';

/// A line of the input.
#[derive(Clone, Debug)]
pub(crate) struct RestoreLine<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Where it stands; its text is exactly that of this place where it is borrowed.
    pub(crate) span: Span,
    pub(crate) line: u32,
}

/// How the tool was called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `-n`: what is there stays.
    pub(crate) keeps: bool,
    /// `-c`: counters count.
    pub(crate) counters: bool,
    /// `-T`: only this table.
    pub(crate) only: Option<TableName>,
}

/// Carries out the lines. A table with a fault stays as it was, and what follows is only read for
/// more faults.
pub(crate) fn restore<'a>(
    set: &mut TableSet<'a>,
    lines: &[RestoreLine<'a>],
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Outcome {
    set.touch();
    if set.backend == Backend::Legacy && !options.keeps {
        set.counts = Counts::Load;
    }
    let mut restore =
        Restore { before: None, set, options, diagnostics, table: None, outcome: Outcome::Done };
    for line in lines {
        restore.line(line);
    }
    if restore.table.is_some() {
        let span = lines.last().map_or(Span::default(), |line| line.span);
        let message = "expected COMMIT at the end of the table";
        restore.fail(Diagnostic::error("missing-commit", message, span));
    }
    restore.set.counts = Counts::Kernel;
    restore.outcome
}

struct Restore<'s, 'a> {
    set: &'s mut TableSet<'a>,
    /// The tables before the one that is being read.
    before: Option<TableSet<'a>>,
    options: &'s Options,
    diagnostics: &'s mut Vec<Diagnostic>,
    /// The table that is being read; `None` inside for one that is left out.
    table: Option<Option<TableName>>,
    outcome: Outcome,
}

impl<'a> Restore<'_, 'a> {
    /// Reports a fault, and undoes the table.
    fn fail(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
        self.outcome = Outcome::Refused;
    }

    fn line(&mut self, line: &RestoreLine<'a>) {
        let text = line.text.trim();
        match text.as_bytes() {
            [] | [b'#', ..] => {}
            [b'*', ..] => self.begin(text, line),
            b"COMMIT" => self.commit(line),
            [b':', ..] => self.chain(line),
            [b'-' | b'[' | b'"' | b'!', ..] => self.command(line),
            _ => self.fail(Diagnostic::error(
                "unexpected-line",
                format!("expected a rule, a chain or COMMIT, found `{}`", clip(text)),
                line.span,
            )),
        }
    }

    fn begin(&mut self, text: &str, line: &RestoreLine<'a>) {
        if self.table.is_some() {
            let message = "expected COMMIT before the next table";
            self.fail(Diagnostic::error("missing-commit", message, line.span));
        }
        let name = text.strip_prefix('*').unwrap_or_default();
        let name = name.split_ascii_whitespace().next().unwrap_or_default();
        let Some(found) = table(name) else {
            let message = format!("unknown table `{}`", clip(name));
            self.fail(Diagnostic::error("unknown-table", message, line.span));
            self.table = Some(None);
            return;
        };
        if self.options.only.is_some_and(|only| only != found) {
            self.table = Some(None);
            return;
        }
        self.table = Some(Some(found));
        if self.set.backend == Backend::Legacy {
            // It is there even where the input is refused (kernel-facts A11).
            self.set.make(found, line.span);
        }
        self.before = Some(self.set.clone());
        if !self.options.keeps {
            match self.set.backend {
                // kernel-facts I4.
                Backend::Nft => self.set.tables.retain(|known| known.name != found),
                Backend::Legacy => {
                    let state = self.set.make(found, line.span);
                    let builtin = found.builtin_chains();
                    state.chains.retain(|name, _| builtin.contains(&name.as_ref()));
                    state.chains.values_mut().for_each(|chain| chain.rules.clear());
                }
            }
        }
    }

    fn commit(&mut self, line: &RestoreLine<'a>) {
        if self.table.take().is_none() {
            let message = "COMMIT stands behind no table";
            self.fail(Diagnostic::error("outside-of-table", message, line.span));
        }
        if self.outcome != Outcome::Done
            && let Some(before) = self.before.take()
        {
            *self.set = before;
        }
    }

    /// The table of a line; `None`, and a message, where it stands in none.
    fn current(&mut self, line: &RestoreLine<'a>) -> Option<TableName> {
        if self.table.is_none() {
            let message = "this line stands in no table";
            let diagnostic = Diagnostic::error("outside-of-table", message, line.span)
                .help("expected a line such as `*filter` before it and `COMMIT` behind it");
            self.fail(diagnostic);
        }
        self.table.flatten()
    }

    /// `:NAME POLICY [PACKETS:BYTES]`.
    fn chain(&mut self, line: &RestoreLine<'a>) {
        let Some(table) = self.current(line) else { return };
        let mut found = Vec::new();
        let start = line.span.range().start;
        let owned = line.text.trim().to_owned();
        let read = Line { text: &owned, start, number: line.line };
        let chain = declaration(read, table, Some(self.set.backend), &mut found).map(|chain| {
            (Cow::<'a, str>::Owned(chain.name.into_owned()), chain.policy, chain.counters)
        });
        let failed = found.iter().any(|one| one.severity == Severity::Error);
        self.diagnostics.append(&mut found);
        let Some((name, policy, counters)) = chain.filter(|_| !failed) else {
            self.outcome = Outcome::Refused;
            return;
        };
        let counters = counters.filter(|_| self.options.counters);
        let builtin = table.builtin_chains().contains(&name.as_ref());
        let known = self.set.find(table).is_some_and(|state| state.chains.contains_key(&name));
        if known && !builtin && self.set.backend == Backend::Legacy && !self.options.keeps {
            // kernel-facts I4.
            let message = format!("chain `{}` is declared twice", clip(&name));
            self.fail(Diagnostic::error("duplicate-chain", message, line.span));
            return;
        }
        let state = self.set.make(table, line.span).chain(&name, line.span);
        state.span = line.span;
        state.there = true;
        if builtin {
            state.policy = policy.or(state.policy);
            state.counters = counters;
        } else {
            // Also where it was there before (kernel-facts I5).
            if !state.rules.is_empty() && !self.options.keeps {
                let message = format!("chain `{}` is declared twice", clip(&name));
                self.diagnostics.push(
                    Diagnostic::warning("duplicate-chain", message, line.span)
                        .label("the rules before it are cleared"),
                );
            }
            state.rules.clear();
        }
    }

    fn command(&mut self, line: &RestoreLine<'a>) {
        let Some(table) = self.current(line) else { return };
        let mut found = Vec::new();
        let fields = fields(line, &mut found);
        let counters = fields.1;
        let at = At { span: line.span, line: line.line, doubt: None };
        let family = self.set.family;
        let invocation = command::read(&fields.0, Tool::Restore, family, line.span, &mut found);
        let counters = counters.filter(|_| self.options.counters);
        let outcome = match invocation {
            Some(mut one) if one.stopped.is_some() => {
                one.table = table;
                self.stopped(&one, &at, &mut found)
            }
            Some(mut one) => {
                one.table = table;
                let said = found.len();
                let outcome = self.carry_out(&one, counters, &at, &mut found);
                // A list of a chain that is not there: a script may ask so, an input may not.
                if let Some(chain) = one.chain.as_ref().filter(|_| found.len() == said)
                    && outcome == Outcome::Refused
                {
                    self.set.no_chain(table, chain, &mut found);
                }
                outcome
            }
            None => Outcome::Refused,
        };
        self.diagnostics.append(&mut found);
        if outcome != Outcome::Done {
            self.outcome = Outcome::Refused;
        }
    }
}

impl<'a> Restore<'_, 'a> {
    /// A command whose reading ended at the option of the other family: its rule is passed over,
    /// and any other command is carried out all the same.
    fn stopped(
        &mut self,
        one: &command::Invocation<'a>,
        at: &At<'a>,
        found: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let span = one.stopped.unwrap_or(at.span);
        let numbered = one.verb == Verb::Delete && one.value.is_some();
        let of_rule = [Verb::Append, Verb::Insert, Verb::Delete, Verb::Check];
        if one.verb == Verb::Replace {
            let message = "iptables-restore crashes where `-R` is for the other family";
            found.push(Diagnostic::error("wrong-family", message, span));
            return Outcome::Refused;
        }
        let chain = one.chain.as_ref().map(|chain| chain.word.text.clone()).unwrap_or_default();
        let said = found.len();
        if of_rule.contains(&one.verb)
            && let Some(number) = &one.value
        {
            position(number, found);
        }
        spec::check(self.set, one, &chain, at, found);
        let refused = |one: &Diagnostic| one.severity == Severity::Error;
        if found.get(said..).unwrap_or_default().iter().any(refused) {
            return Outcome::Refused;
        }
        if one.verb != Verb::Help && (numbered || !of_rule.contains(&one.verb)) {
            let message = "this command is carried out, whichever family it asks for";
            found.push(Diagnostic::note("ignored-text", message, span));
            return self.carry_out(one, None, at, found);
        }
        let message = "this line is for the other family, and left out";
        found.push(Diagnostic::note("ignored-text", message, at.span));
        Outcome::Done
    }

    fn carry_out(
        &mut self,
        one: &command::Invocation<'a>,
        counters: Option<Counters>,
        at: &At<'a>,
        found: &mut Vec<Diagnostic>,
    ) -> Outcome {
        if self.set.backend == Backend::Legacy {
            return self.set.carry_out(one, counters, at, found);
        }
        let kernel = self.before.as_ref().filter(|_| self.options.keeps);
        let outcome = match batch::course(self.set, kernel, one, at.span, found) {
            Course::Nothing => Outcome::Done,
            Course::Refused => Outcome::Refused,
            Course::Usual => self.set.carry_out(one, counters, at, found),
        };
        if outcome == Outcome::Done {
            batch::lose_policies(self.set, kernel, one, at.span, found);
        }
        outcome
    }
}

/// The words of a line, and the counters before them.
fn fields<'a>(
    line: &RestoreLine<'a>,
    found: &mut Vec<Diagnostic>,
) -> (Vec<Field<'a>>, Option<Counters>) {
    let start = line.span.range().start;
    match &line.text {
        Cow::Borrowed(text) => {
            let line = Line { text: text.trim_end(), start, number: line.line };
            let (line, counters) = split_counters(line, found);
            let mut words = Vec::new();
            split_words(line.text, line.start, &mut words, found);
            (words.into_iter().map(|word| Field { word, known: true }).collect(), counters)
        }
        Cow::Owned(text) => {
            let read = Line { text: text.trim(), start, number: line.line };
            let (read, counters) = split_counters(read, found);
            let mut words = Vec::new();
            split_words(read.text, read.start, &mut words, found);
            let field = |word: Word<'_>| {
                let known = !word.text.contains(UNKNOWN);
                let text = Cow::Owned(word.text.replace(UNKNOWN, ""));
                Field { word: Word { text, span: line.span, quoted: word.quoted }, known }
            };
            (words.into_iter().map(field).collect(), counters)
        }
    }
}

/// The rules of a text in doubt are not carried out: too much depends on whether they are.
pub(crate) fn doubted(doubt: &Unsupported<'_>, span: Span) -> Diagnostic {
    let message = format!("whether these rules are restored depends on `{}`", clip(&doubt.raw));
    Diagnostic::error("undetermined-command", message, span)
}
