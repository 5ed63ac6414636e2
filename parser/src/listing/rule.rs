//! A row into the rule that it shows.

use std::borrow::Cow;

use super::extra::{Extra, TargetText};
use super::names::{Place, place};
use super::row::{Field, Fragment, Row};
use crate::diagnostic::Diagnostic;
use crate::protocols;
use crate::recognize::Tool;
use crate::rule::{RuleContext, rule_from_words};
use crate::syntax::{Backend, Family, Interfaces, Placement, Rule, TableName, Target, Unsupported};
use crate::words::Word;

/// What is the same for all rows of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) table: TableName,
    pub(super) family: Option<Family>,
    pub(super) backend: Option<Backend>,
    pub(super) chain: &'a str,
}

/// Whether a name was looked up in our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    None,
    LookedUp,
}

/// The rule of a row.
pub(super) fn rule_of<'a>(
    row: &Row<'a>,
    line: u32,
    around: &Surroundings<'a>,
    rules: &mut Vec<Rule<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Names {
    let protocol =
        protocols::number(row.protocol.value.text).or_else(|| row.protocol.value.text.parse().ok());
    let mut extra = Extra::new(protocol.filter(|number| *number != 0), around.family);
    address_words(&mut extra, "-s", row.source);
    address_words(&mut extra, "-d", row.destination);
    if let Some((input, output)) = row.interfaces {
        interface_words(&mut extra, "-i", input, output);
        interface_words(&mut extra, "-o", output, input);
    }
    match protocol {
        Some(0) => {}
        Some(_) => option_words(&mut extra, "-p", row.protocol, row.protocol.value.text.into()),
        None => extra.unresolved("protocol", row.protocol.value, row.protocol.whole),
    }
    if row.fragment != Fragment::Any {
        let span = row.fragment_piece.span();
        if row.fragment == Fragment::Not {
            extra.words.push(Word { text: Cow::Borrowed("!"), span, quoted: false });
        }
        extra.words.push(Word { text: Cow::Borrowed("-f"), span, quoted: false });
    }
    let target_text = extra.read(row.extra, row.target);

    // Only iptables-legacy lists a negated `anywhere` (kernel-facts H1).
    let never =
        |field: Field<'_>| field.negated && place(field.value.text, None) == Some(Place::Any);
    let legacy = never(row.source) || never(row.destination);
    let context = RuleContext {
        table: around.table,
        family: around.family,
        backend: around.backend.or(legacy.then_some(Backend::Legacy)),
        placement: Placement::Append,
        span: row.piece.span(),
        line,
        counters: row.counters,
        tool: Tool::Rules,
        interfaces: match row.interfaces {
            Some(_) => Interfaces::Given,
            None => Interfaces::NotShown,
        },
        verbatim: false,
    };
    diagnostics.append(&mut extra.diagnostics);
    let chain = Cow::Borrowed(around.chain);
    let mut read = rule_from_words(&context, chain, &extra.words, diagnostics);
    for rule in &mut read {
        rule.unsupported.extend(extra.unsupported.iter().cloned());
        if let (TargetText::Unknown, Some(target)) = (target_text, row.target) {
            let raw = Cow::Owned(format!("-j {}", target.text));
            rule.target = Target::Unsupported(Unsupported { raw, span: target.span(), of: None });
        }
        if let Target::Jump(name, span) | Target::Goto(name, span) = &rule.target
            && around.table.builtin_chains().contains(&name.as_ref())
        {
            let message = format!("`{name}` is a built-in chain, which no rule can jump to");
            diagnostics.push(Diagnostic::error("jump-to-builtin", message, *span));
        }
    }
    rules.append(&mut read);
    if extra.looked_up { Names::LookedUp } else { Names::None }
}

/// `-s` or `-d`, unless the column says any address.
fn address_words<'a>(extra: &mut Extra<'a>, option: &'static str, field: Field<'a>) {
    let text = match place(field.value.text, extra.family) {
        Some(Place::Any) if !field.negated => return,
        Some(Place::Any) if extra.family == Some(Family::Ipv6) => Cow::Borrowed("::/0"),
        Some(Place::Any) => Cow::Borrowed("0.0.0.0/0"),
        Some(Place::Named(address)) => {
            extra.looked_up = true;
            Cow::Owned(address)
        }
        Some(Place::Address(text)) => Cow::Borrowed(text),
        Some(Place::Unknown) | None => {
            extra.unresolved("address", field.value, field.whole);
            return;
        }
    };
    option_words(extra, option, field, text);
}

/// `-i` or `-o`, unless the column says any interface: `*`, without `-n` `any`, and `+` where
/// iptables-legacy was given that.
fn interface_words<'a>(
    extra: &mut Extra<'a>,
    option: &'static str,
    field: Field<'a>,
    other: Field<'a>,
) {
    let any = match field.value.text {
        "*" | "+" => true,
        // Beside a `*` it is the name of an interface.
        "any" => other.value.text != "*",
        _ => false,
    };
    if any && !field.negated {
        return;
    }
    option_words(extra, option, field, Cow::Borrowed(field.value.text));
}

fn option_words<'a>(
    extra: &mut Extra<'a>,
    option: &'static str,
    field: Field<'a>,
    text: Cow<'a, str>,
) {
    let span = field.whole.span();
    let mut push = |text, quoted| extra.words.push(Word { text, span, quoted });
    if field.negated {
        push(Cow::Borrowed("!"), false);
    }
    push(Cow::Borrowed(option), false);
    // A value is never an option, even if it begins with a dash.
    push(text, true);
}
