//! The rule of a command.

use std::borrow::Cow;

use super::command::Invocation;
use super::verb::Verb;
use super::{At, Field, TableSet};
use crate::arguments::text::print_quoted;
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::emit::emit_rule;
use crate::recognize::Tool;
use crate::rule::{RuleContext, Scratch, check_words, is_chain_name, read_rule};
use crate::span::Span;
use crate::syntax::{Backend, Counters, Interfaces, Placement, Rule, Target, Unsupported};
use crate::words::{Word, clip, over_lines};

/// The rules of a command: several where it has lists of addresses. `None` where iptables refuses
/// it, which is then among the messages.
pub(super) fn read<'a>(
    set: &TableSet<'a>,
    invocation: &Invocation<'a>,
    chain: &str,
    counters: Option<Counters>,
    at: &At<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Rule<'a>>> {
    let context = context(set, invocation, counters, at);
    let unknown = invocation.rule.iter().any(|field| !field.known);
    let (words, kept) = if unknown { without_unknown(&invocation.rule) } else { known(invocation) };
    let mut found = Vec::new();
    let mut rules = rules(&context, chain, &words, &mut found);
    let refused = |found: &[Diagnostic]| found.iter().any(|one| one.severity == Severity::Error);
    if refused(&found) && unknown {
        // What is known of it makes no rule without the rest.
        found.clear();
        rules = self::rules(&context, chain, &[], &mut found);
        let whole = whole(&invocation.rule, at.span);
        for rule in &mut rules {
            let raw = Cow::Borrowed("-j shell");
            rule.target = Target::Unsupported(Unsupported { raw, span: at.span, of: None });
            rule.unsupported.push(whole.clone());
        }
    } else {
        for rule in &mut rules {
            keep(rule, &kept);
        }
    }
    for field in invocation.rule.iter().filter(|field| !field.known) {
        let message = format!("what `{}` stands for can't be known", clip(&field.word.text));
        found.push(
            Diagnostic::warning("shell-variable", message, field.word.span)
                .label("whether the rule matches is left open"),
        );
    }
    check_target(set, invocation, rules.first(), &mut found);
    if !refused(&found) {
        check_lines(invocation, rules.first(), &mut found);
    }
    let refused = refused(&found);
    diagnostics.append(&mut found);
    if refused {
        return None;
    }
    if let Some(doubt) = &at.doubt {
        for rule in &mut rules {
            rule.unsupported.push(doubt.clone());
        }
    }
    Some(rules)
}

/// Says what is wrong with the words of a command that were read before it turned out to be for the
/// other family. Where the chain of a jump is looked up at once, it has to be there.
pub(super) fn check<'a>(
    set: &TableSet<'a>,
    invocation: &Invocation<'a>,
    chain: &str,
    at: &At<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let context = context(set, invocation, None, at);
    let (words, _) = known(invocation);
    check_words(&context, chain, &words, diagnostics);
    if set.backend == Backend::Legacy {
        let mut found = Vec::new();
        let rules = rules(&context, chain, &words, &mut found);
        found.clear();
        check_target(set, invocation, rules.first(), &mut found);
        diagnostics.append(&mut found);
    }
}

fn context<'a>(
    set: &TableSet<'a>,
    invocation: &Invocation<'a>,
    counters: Option<Counters>,
    at: &At<'a>,
) -> RuleContext {
    RuleContext {
        table: invocation.table,
        family: Some(set.family),
        backend: Some(set.backend),
        placement: Placement::Append,
        span: at.span,
        line: at.line,
        counters,
        tool: Tool::Rules,
        interfaces: Interfaces::Given,
        verbatim: false,
    }
}

fn rules<'a>(
    context: &RuleContext,
    chain: &str,
    words: &[Word<'a>],
    found: &mut Vec<Diagnostic>,
) -> Vec<Rule<'a>> {
    let mut more = Vec::new();
    let name = Cow::Owned(chain.to_owned());
    let first = read_rule(context, name, words, &mut Scratch::default(), &mut more, found);
    let mut rules = vec![first];
    rules.append(&mut more);
    rules
}

fn known<'a>(invocation: &Invocation<'a>) -> (Vec<Word<'a>>, Vec<Unsupported<'a>>) {
    (invocation.rule.iter().map(|field| field.word.clone()).collect(), Vec::new())
}

/// The words of a rule but for the options whose value is not known, which are kept apart.
fn without_unknown<'a>(fields: &[Field<'a>]) -> (Vec<Word<'a>>, Vec<Unsupported<'a>>) {
    let mut words: Vec<Word<'a>> = Vec::new();
    let mut kept = Vec::new();
    for field in fields {
        if field.known {
            words.push(field.word.clone());
            continue;
        }
        let mut raw = field.word.text.clone().into_owned();
        let mut span = field.word.span;
        let is_option = |word: &Word<'_>| !word.quoted && word.text.starts_with('-');
        if words.last().is_some_and(is_option)
            && let Some(option) = words.pop()
        {
            raw = format!("{} {raw}", option.text);
            span = option.span.cover(span);
            if words.last().is_some_and(|word| word.text == "!") {
                words.pop();
                raw.insert_str(0, "! ");
            }
        }
        let target = ["-j ", "-g ", "--jump ", "--goto "];
        if !target.iter().any(|option| raw.starts_with(option)) {
            // So that neither iptables nor nattrace takes it for a value when it is read again.
            raw = as_match("shell", &raw);
        }
        kept.push(Unsupported { raw: Cow::Owned(raw), span, of: None });
    }
    (words, kept)
}

/// Adds what was kept apart to a rule.
fn keep<'a>(rule: &mut Rule<'a>, kept: &[Unsupported<'a>]) {
    for unsupported in kept {
        let target = ["-j ", "-g ", "--jump ", "--goto "];
        let jump = target.iter().find_map(|option| unsupported.raw.strip_prefix(option));
        // A quotation mark would end the word when it is read again.
        let is_plain = |name: &str| is_chain_name(name) && !name.contains(['"', '\'', '\\']);
        if jump.is_some_and(is_plain) {
            rule.target = Target::Unsupported(unsupported.clone());
        } else if jump.is_some() {
            // No chain has such a name, which must be readable all the same.
            let raw = Cow::Owned(as_match("shell", &unsupported.raw));
            rule.unsupported.push(Unsupported { raw, span: unsupported.span, of: None });
            let raw = Cow::Borrowed("-j shell");
            rule.target =
                Target::Unsupported(Unsupported { raw, span: unsupported.span, of: None });
        } else {
            rule.unsupported.push(unsupported.clone());
        }
    }
}

/// What is not known, in the form of a match that nobody has, on one line.
pub(crate) fn as_match(name: &str, text: &str) -> String {
    let mut raw = format!("-m {name} ");
    let start = raw.len();
    print_quoted(&text.replace(['\n', '\r'], " "), &mut raw);
    // An option only in quotes, and everything else as it is printed when it is read again.
    if raw.get(start..).is_some_and(|printed| printed.starts_with('-')) {
        raw.insert(start, '"');
        raw.push('"');
    }
    raw
}

fn whole<'a>(fields: &[Field<'a>], span: Span) -> Unsupported<'a> {
    let words: Vec<&str> = fields.iter().map(|field| field.word.text.as_ref()).collect();
    Unsupported { raw: Cow::Owned(as_match("shell", &words.join(" "))), span, of: None }
}

/// Refuses a jump to a chain that does not exist, or to a built-in one.
fn check_target(
    set: &TableSet<'_>,
    invocation: &Invocation<'_>,
    rule: Option<&Rule<'_>>,
    found: &mut Vec<Diagnostic>,
) {
    let Some(Target::Jump(name, span) | Target::Goto(name, span)) = rule.map(|rule| &rule.target)
    else {
        return;
    };
    let state = set.find(invocation.table);
    if invocation.table.builtin_chains().contains(&name.as_ref()) {
        let message = format!("`{name}` is a built-in chain, which no rule can jump to");
        found.push(Diagnostic::error("jump-to-builtin", message, *span));
    } else if state.is_none_or(|state| !state.chains.contains_key(name)) {
        let message = format!("chain `{}` does not exist", clip(name));
        let mut diagnostic = Diagnostic::error("unknown-chain", message, *span);
        let chains = state.into_iter().flat_map(|state| state.chains.keys());
        let mut names: Vec<&str> = chains.map(Cow::as_ref).collect();
        names.extend(["ACCEPT", "DROP", "RETURN"]);
        names.extend(crate::targets::ALL.iter().map(|extension| extension.name));
        diagnostic.help = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        found.push(diagnostic);
    }
}

/// Names the first word over several lines that a new rule has: iptables takes it, and prints it as
/// two lines.
fn check_lines(invocation: &Invocation<'_>, rule: Option<&Rule<'_>>, found: &mut Vec<Diagnostic>) {
    let adds = matches!(invocation.verb, Verb::Append | Verb::Insert | Verb::Replace);
    let mut words = invocation.rule.iter().filter(|field| field.known).map(|field| &field.word);
    if let Some(word) = words.find(|word| word.text.contains('\n'))
        && rule.is_some_and(|rule| adds && printed(rule).contains('\n'))
    {
        found.push(over_lines(word));
    }
}

/// A rule as it is compared with another: what it says, without its counters.
pub(super) fn printed(rule: &Rule<'_>) -> String {
    let mut text = String::new();
    emit_rule(rule, &mut text);
    text
}
