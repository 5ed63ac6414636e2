//! A rule on its own: everything of it that needs no other rule.
//!
//! Rules are drafted as soon as they are parsed, so that their syntax need not be kept. What is
//! left for later is the chain that a rule jumps to.

use std::borrow::Cow;

use nattrace_parser::emit_rule;
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{
    self, AddressMask, Counters, Family, Interfaces, NatRange, Negatable, Placement, Value,
};

use super::conditions::Conditions;
use super::{matches, targets, tracking};
use crate::address::Prefix;
use crate::condition::{Condition, InterfacePattern, Sense, Undecided};
use crate::ruleset::Origin;
use crate::target::Target;

/// A lowered rule whose jump is not resolved.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    /// The chain it stands in.
    pub(super) chain: Cow<'a, str>,
    pub(super) placement: Placement,
    pub(super) conditions: Vec<Condition>,
    pub(super) target: DraftTarget<'a>,
    pub(super) origin: Origin,
    pub(super) counters: Option<Counters>,
    /// Whether it makes the kernel track connections.
    pub(super) tracked: bool,
    /// The places of addresses of the other family.
    pub(super) strangers: Box<[Span]>,
}

/// A target whose chain is known by its name only.
#[derive(Debug)]
pub(super) enum DraftTarget<'a> {
    Jump(Cow<'a, str>, Span),
    Goto(Cow<'a, str>, Span),
    /// Any other.
    Lowered(Target),
}

/// Drafts the rules of one text.
#[derive(Debug)]
pub(crate) struct Drafter {
    /// The index of the text.
    source: u16,
    family: Family,
    /// Used again for every rule.
    conditions: Conditions,
}

impl Drafter {
    /// A drafter for the text of this index.
    pub(crate) fn new(input: usize, family: Family) -> Self {
        let source = u16::try_from(input).unwrap_or(u16::MAX);
        Self { source, family, conditions: Conditions::default() }
    }

    /// Makes a draft of a rule.
    pub(crate) fn draft<'a>(&mut self, rule: &syntax::Rule<'a>) -> Draft<'a> {
        let conditions = &mut self.conditions;
        lower_basics(rule, conditions);
        let mut tracked = false;
        for extension in &rule.matches {
            tracked |= tracking::match_needs_connections(extension.extension.name);
            matches::lower_match(extension, conditions);
        }
        for _ in &rule.unsupported {
            conditions.unsupported();
        }
        if rule.interfaces == Interfaces::NotShown {
            conditions.undecided(Undecided::InterfacesNotShown);
        }
        if let syntax::Target::Extension(extension) = &rule.target {
            tracked |= tracking::target_needs_connections(extension);
        }
        let origin = Origin {
            // A script leaves rules of the texts before it.
            source: rule.stands_in.unwrap_or(self.source),
            line: rule.line,
            handle: None,
            span: rule.span,
            printed: (!rule.verbatim).then(|| print(rule)),
        };
        Draft {
            chain: rule.chain.clone(),
            placement: rule.placement,
            conditions: conditions.take(),
            target: lower_target(&rule.target),
            origin,
            counters: rule.counters,
            tracked,
            strangers: strangers(rule, self.family).collect(),
        }
    }
}

fn print(rule: &syntax::Rule<'_>) -> Box<str> {
    let mut text = String::new();
    emit_rule(rule, &mut text);
    text.into()
}

/// What a rule asks without any extension.
fn lower_basics(rule: &syntax::Rule<'_>, conditions: &mut Conditions) {
    let prefix = |given: &Negatable<AddressMask>| {
        let any = matches!(given.value, AddressMask::V4(_, 0) | AddressMask::V6(_, 0));
        let sense = Sense::of_negation(given.negated);
        (!any || given.negated).then(|| (sense, Prefix::from(given.value)))
    };
    if let Some((sense, prefix)) = rule.source.as_ref().and_then(prefix) {
        conditions.push(Condition::Source(sense, prefix));
    }
    if let Some((sense, prefix)) = rule.destination.as_ref().and_then(prefix) {
        conditions.push(Condition::Destination(sense, prefix));
    }
    if let Some(given) = &rule.in_interface {
        let sense = Sense::of_negation(given.negated);
        conditions.push(interface(sense, &given.value, Condition::InInterface));
    }
    if let Some(given) = &rule.out_interface {
        let sense = Sense::of_negation(given.negated);
        conditions.push(interface(sense, &given.value, Condition::OutInterface));
    }
    if let Some(given) = rule.protocol {
        conditions.push(protocol(given));
    }
    if let Some(given) = rule.fragment {
        conditions.push(Condition::Fragment(Sense::of_negation(given.negated)));
    }
}

/// `+` and, in rules of old tools, the empty name stand for every interface; negated they never
/// match (kernel-facts G8).
fn interface(
    sense: Sense,
    name: &str,
    condition: fn(Sense, InterfacePattern) -> Condition,
) -> Condition {
    match name {
        "+" | "" => Condition::Constant(sense.apply(true)),
        _ => condition(sense, InterfacePattern::parse(name)),
    }
}

/// Protocol 0 stands for all (kernel-facts G10).
fn protocol(given: Negatable<u8>) -> Condition {
    let sense = Sense::of_negation(given.negated);
    match given.value {
        0 => Condition::Constant(sense.apply(true)),
        number => Condition::Protocol(sense, number),
    }
}

fn lower_target<'a>(target: &syntax::Target<'a>) -> DraftTarget<'a> {
    DraftTarget::Lowered(match target {
        syntax::Target::None => Target::None,
        syntax::Target::Accept => Target::Accept,
        syntax::Target::Drop => Target::Drop,
        syntax::Target::Return => Target::Return,
        syntax::Target::Jump(name, span) => return DraftTarget::Jump(name.clone(), *span),
        syntax::Target::Goto(name, span) => return DraftTarget::Goto(name.clone(), *span),
        syntax::Target::Extension(extension) => targets::lower_target(extension),
        syntax::Target::Unsupported(unknown) => {
            let mut words = unknown.raw.split_whitespace();
            let name = words.find(|word| !word.starts_with('-')).unwrap_or(&unknown.raw);
            Target::Unsupported(name.into())
        }
    })
}

/// The places of addresses of the other family; the parser can't tell where the text does not.
fn strangers(rule: &syntax::Rule<'_>, family: Family) -> impl Iterator<Item = Span> {
    let given = [&rule.source, &rule.destination].into_iter().flatten();
    let given = given.map(|given| (family_of(given.value), rule.span));
    let target = match &rule.target {
        syntax::Target::Extension(extension) => Some(extension),
        _ => None,
    };
    let options = rule.matches.iter().chain(target).flat_map(|extension| &extension.options);
    let options = options.filter_map(|option| match &option.value {
        Value::Address(address) => Some((family_of(*address), option.span)),
        Value::AddressRange(first, _) => Some((Family::of(*first), option.span)),
        Value::Nat(NatRange { addresses: Some((first, _)), .. }) => {
            Some((Family::of(*first), option.span))
        }
        _ => None,
    });
    given.chain(options).filter(move |(found, _)| *found != family).map(|(_, span)| span)
}

fn family_of(address: AddressMask) -> Family {
    match address {
        AddressMask::V4(..) => Family::Ipv4,
        AddressMask::V6(..) => Family::Ipv6,
    }
}
