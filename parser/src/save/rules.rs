//! The rules of a table, from their lines.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::chains::Declared;
use super::{Block, Line, LineForm, Origin, RuleLine, commands, tables};
use crate::arguments::number;
use crate::diagnostic::{Diagnostic, Severity};
use crate::recognize::Tool;
use crate::rule::{RuleContext, Scratch, is_chain_name, read_rule};
use crate::span::Span;
use crate::syntax::{Backend, Counters, Interfaces, Placement, Rule, Table, TableName};
use crate::words::{Word, clip, split_typed_words, split_words};

/// How many lines a thread should have at least.
const LINES_A_THREAD: usize = 1_024;

/// Reads the rules of one table, and keeps of each what a `keep` makes of it.
pub(super) fn read<'a, R: Send, K: FnMut(Rule<'a>) -> R>(
    block: Block<'a>,
    origin: Origin,
    keep: &(impl Fn() -> K + Sync),
    diagnostics: &mut Vec<Diagnostic>,
) -> Table<'a, R> {
    let mut declared = tables::declared(&block);
    if !block.declared {
        for line in &block.lines {
            if let Some(name) = commands::chain_of(line.line.text)
                && is_chain_name(name)
            {
                declared.add(name);
            }
        }
    }
    let reading = Reading {
        table: block.name,
        origin,
        declared: &declared,
        asides: Mutex::new(Asides::default()),
    };
    let start = || (Buffers::default(), keep());
    let line = |(buffers, keep): &mut (Buffers<'a>, K), (index, line): (usize, &RuleLine<'a>)| {
        reading.line(index, line, buffers, keep)
    };
    let mut rules = Vec::new();
    if block.lines.len() < 2 * LINES_A_THREAD {
        let mut started = start();
        rules.reserve_exact(block.lines.len());
        rules.extend(block.lines.iter().enumerate().map(|numbered| line(&mut started, numbered)));
    } else {
        block
            .lines
            .par_iter()
            .enumerate()
            .with_min_len(LINES_A_THREAD)
            .map_init(start, line)
            .collect_into_vec(&mut rules);
    }
    let mut asides = reading.asides.into_inner().unwrap_or_else(PoisonError::into_inner);
    diagnostics.append(&mut asides.diagnostics);
    if !asides.more.is_empty() || !asides.none.is_empty() {
        rules = merge(rules, asides);
    }
    Table { name: block.name, span: block.span, chains: block.chains, rules }
}

/// Puts the further rules of lists where they belong, and takes out what is no rule.
fn merge<R>(rules: Vec<R>, mut asides: Asides<R>) -> Vec<R> {
    asides.more.sort_by_key(|(index, _)| *index);
    asides.none.sort_unstable();
    let mut more = asides.more.into_iter().peekable();
    let mut merged = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        if asides.none.binary_search(&index).is_err() {
            merged.push(rule);
        }
        while let Some((_, rule)) = more.next_if(|(of, _)| *of == index) {
            merged.push(rule);
        }
    }
    merged
}

/// Buffers that are used again for every line of a thread.
#[derive(Default)]
struct Buffers<'a> {
    words: Vec<Word<'a>>,
    scratch: Scratch<'a>,
    more: Vec<Rule<'a>>,
    diagnostics: Vec<Diagnostic>,
    /// The chain of the last rule, which is declared: most rules stand in the chain of the one
    /// before.
    home: Option<Cow<'a, str>>,
}

/// What few lines have: messages and further rules, with the number of their line.
struct Asides<R> {
    diagnostics: Vec<Diagnostic>,
    more: Vec<(usize, R)>,
    none: Vec<usize>,
}

impl<R> Default for Asides<R> {
    fn default() -> Self {
        Self { diagnostics: Vec::new(), more: Vec::new(), none: Vec::new() }
    }
}

/// The reading of the rules of one table.
struct Reading<'b, R> {
    table: TableName,
    origin: Origin,
    declared: &'b Declared<'b>,
    asides: Mutex<Asides<R>>,
}

impl<R> Reading<'_, R> {
    /// Reads one line; what is beside its rule goes to the asides.
    fn line<'a>(
        &self,
        index: usize,
        line: &RuleLine<'a>,
        buffers: &mut Buffers<'a>,
        keep: &mut impl FnMut(Rule<'a>) -> R,
    ) -> R {
        let (rule, is_rule) = self.rule(line, buffers);
        let kept = keep(rule);
        if !is_rule || !buffers.more.is_empty() || !buffers.diagnostics.is_empty() {
            let mut asides = self.asides.lock().unwrap_or_else(PoisonError::into_inner);
            asides.diagnostics.append(&mut buffers.diagnostics);
            asides.more.extend(buffers.more.drain(..).map(|rule| (index, keep(rule))));
            if !is_rule {
                asides.none.push(index);
            }
        }
        kept
    }

    fn rule<'a>(&self, rule_line: &RuleLine<'a>, buffers: &mut Buffers<'a>) -> (Rule<'a>, bool) {
        let Buffers { words, scratch, more, diagnostics, home } = buffers;
        words.clear();
        let (line, counters) = split_counters(rule_line.line, diagnostics);
        match rule_line.form {
            LineForm::Shell => split_typed_words(line.text, line.start, words, diagnostics),
            LineForm::Save | LineForm::Command => {
                split_words(line.text, line.start, words, diagnostics);
            }
        }
        if rule_line.form != LineForm::Save {
            commands::clean(rule_line.form, words, diagnostics);
        }
        if words.is_empty() {
            let message = "expected `-A CHAIN …` behind the counters, found the end of the line";
            let place = rule_line.line.span();
            diagnostics.push(Diagnostic::error("unexpected-line", message, place));
        }
        let (placement, chain, used) = command(words, line, diagnostics);
        let chain_span = words.get(1).map_or(line.span(), |word| word.span);
        let context = RuleContext {
            table: self.table,
            family: self.origin.family,
            backend: self.origin.backend,
            placement: placement.unwrap_or(Placement::Append),
            span: line.span(),
            line: line.number,
            counters,
            tool: match rule_line.form {
                LineForm::Save => Tool::Restore,
                LineForm::Command | LineForm::Shell => Tool::Rules,
            },
            interfaces: Interfaces::Given,
            verbatim: rule_line.form != LineForm::Shell,
        };
        let rest = words.get(used..).unwrap_or_default();
        let rest = if placement.is_some() { rest } else { &[] };
        let mut rule = read_rule(&context, chain, rest, scratch, more, diagnostics);
        if rule_line.cleared {
            self.declared.check_target(&mut rule, diagnostics);
            more.clear();
            return (rule, false);
        }
        if placement.is_some() && scratch.is_of_other_family() {
            let failed = diagnostics.iter().any(|one| one.severity == Severity::Error);
            if self.origin.backend == Some(Backend::Legacy) {
                self.declared.look_up_target(&mut rule, diagnostics);
            }
            if !failed {
                let message = "this line is for the other family, and left out";
                diagnostics.push(Diagnostic::note("ignored-text", message, line.span()));
            }
            return (rule, false);
        }
        if placement.is_none() {
            return (rule, false);
        }
        if home.as_ref() != Some(&rule.chain) {
            if self.declared.contains(&rule.chain, rule.span) {
                *home = Some(rule.chain.clone());
            } else {
                self.declared.check_home(&rule, chain_span, diagnostics);
            }
        }
        self.declared.check_target(&mut rule, diagnostics);
        for one in more.iter_mut() {
            one.target = rule.target.clone();
        }
        (rule, true)
    }
}

/// Takes the counters off the front of a line. What stands behind a number does not count
/// (`tokenize_rule_counters`).
pub(crate) fn split_counters<'a>(
    line: Line<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Line<'a>, Option<Counters>) {
    let Some(inner) = line.text.strip_prefix('[') else { return (line, None) };
    let (inner, rest) = inner.split_once(']').unwrap_or((inner, ""));
    let closed = inner.len() + 1 < line.text.len();
    let counters = inner.split_once(':').filter(|_| closed).and_then(|(packets, bytes)| {
        let (packets, _) = number::scanned(packets)?;
        // strtok(3) goes on behind the bracket where nothing stands before it: `[1:] -4A INPUT`.
        let (bytes, _) = number::scanned(if bytes.is_empty() { rest } else { bytes })?;
        Some(Counters { packets, bytes })
    });
    if counters.is_none() {
        let end = (inner.len() + 2).min(line.text.len());
        let front = line.text.get(..end).unwrap_or(line.text);
        let message = format!("expected `[PACKETS:BYTES]`, found `{}`", clip(front));
        let span = Span::new(line.start, line.start + end);
        diagnostics.push(Diagnostic::error("invalid-counters", message, span));
    }
    let rest_trimmed = rest.trim_start();
    let start = line.start + line.text.len() - rest_trimmed.len();
    (Line { text: rest_trimmed, start, ..line }, counters)
}

/// What a line does, its chain, and how many words that took; no placement if it adds no rule.
fn command<'a>(
    words: &[Word<'a>],
    line: Line<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<Placement>, Cow<'a, str>, usize) {
    let none = (None, Cow::Borrowed(""), 0);
    let Some(command) = words.first() else { return none };
    let text = command.text.as_ref();
    let insert = match text {
        "-A" | "--append" => false,
        "-I" | "--insert" => true,
        // `-AFORWARD` (kernel-facts H12).
        _ if text.starts_with("-A") || text.starts_with("-I") => {
            let chain = Cow::Owned(text.get(2..).unwrap_or_default().to_owned());
            let insert = text.starts_with("-I");
            return place(insert, chain, words, 1, diagnostics);
        }
        _ => {
            diagnostics.push(
                Diagnostic::error(
                    "unexpected-line",
                    format!("expected `-A CHAIN …`, found `{}`", clip(text)),
                    line.span(),
                )
                .help("if it is the rest of the line before, join the two"),
            );
            return none;
        }
    };
    match words.get(1) {
        Some(chain) => place(insert, chain.text.clone(), words, 2, diagnostics),
        None => {
            let message = format!("`{text}` needs the name of a chain");
            diagnostics.push(Diagnostic::error("missing-argument", message, command.span));
            none
        }
    }
}

fn place<'a>(
    insert: bool,
    chain: Cow<'a, str>,
    words: &[Word<'a>],
    used: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<Placement>, Cow<'a, str>, usize) {
    if !insert {
        return (Some(Placement::Append), chain, used);
    }
    let number = words.get(used).filter(|word| word.text.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(number) = number else { return (Some(Placement::Insert(1)), chain, used) };
    let position = number.text.parse().ok().filter(|&position| position > 0);
    if position.is_none() {
        let message = format!("expected a position from 1, found `{}`", clip(&number.text));
        diagnostics.push(Diagnostic::error("invalid-position", message, number.span));
    }
    (Some(Placement::Insert(position.unwrap_or(1))), chain, used + 1)
}
