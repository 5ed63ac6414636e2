//! One rule: its conditions, its target, and where it came from.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nattrace_parser::diagnostic::Diagnostic;
use nattrace_parser::emit_rule;
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{self, AddressMask, Family, Interfaces, NatRange, Negatable, Value};
use rayon::prelude::*;

use super::chain::{ChainDraft, RuleList, Table};
use super::conditions::Conditions;
use super::{matches, placement, targets, tracking};
use crate::address::Prefix;
use crate::condition::{Condition, InterfacePattern, Sense, Undecided};
use crate::graph::HookSet;
use crate::ruleset::{Chain, ChainId, Origin, Rule};
use crate::target::Target;

/// From how many rules on a chain is lowered on several cores.
const LONG_CHAIN: usize = 2048;

/// All chains with their rules.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) chains: Vec<Chain>,
    /// For each chain the hooks at which the kernel takes all of its rules.
    pub(super) allowed: Vec<HookSet>,
    /// Whether connections are tracked, for IPv4 and IPv6.
    pub(super) tracking: [bool; 2],
}

/// What the lowering of a rule needs to know of its surroundings.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) family: Family,
    /// The index of the input.
    input: usize,
    findings: &'a Findings,
}

/// What is found on the way, in no order.
#[derive(Debug, Default)]
struct Findings {
    diagnostics: Mutex<Vec<(usize, Diagnostic)>>,
    tracking: [AtomicBool; 2],
}

impl Context<'_> {
    /// Reports something about the input at hand.
    pub(super) fn report(&self, diagnostic: Diagnostic) {
        if let Ok(mut diagnostics) = self.findings.diagnostics.lock() {
            diagnostics.push((self.input, diagnostic));
        }
    }

    /// Marks that a rule of this family needs the kernel to track connections.
    fn track(&self) {
        let [v4, v6] = &self.findings.tracking;
        let flag = match self.family {
            Family::Ipv4 => v4,
            Family::Ipv6 => v6,
        };
        // Reading first keeps the line of the cache shared among the cores.
        if !flag.load(Ordering::Relaxed) {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// Lowers the rules of all chains, on several cores.
pub(super) fn lower_rules(
    tables: &[Table<'_>],
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) -> Lowered {
    let findings = Findings::default();
    let drafts: Vec<(&Table<'_>, &ChainDraft<'_>)> = tables
        .iter()
        .flat_map(|table| table.chains.iter().map(move |draft| (table, draft)))
        .collect();
    let (chains, allowed) = drafts
        .par_iter()
        .map_init(Conditions::default, |scratch, (table, draft)| {
            let section = table.section;
            let family = section.family;
            let context = Context { table, family, input: section.input, findings: &findings };
            let rules = lower_chain(&draft.rules, &context, scratch);
            let allowed = rules.iter().map(placement::hooks_of);
            let allowed = allowed.fold(HookSet::all(), HookSet::intersection);
            let chain = Chain {
                backend: section.backend,
                family,
                table: section.table,
                name: draft.name.into(),
                base: draft.base,
                rules,
            };
            (chain, allowed)
        })
        .unzip();
    let tracking = findings.tracking.map(AtomicBool::into_inner);
    // A poisoned lock means a panic, which ends the program anyway.
    diagnostics.extend(findings.diagnostics.into_inner().unwrap_or_default());
    Lowered { chains, allowed, tracking }
}

fn lower_chain(rules: &RuleList<'_>, context: &Context<'_>, scratch: &mut Conditions) -> Vec<Rule> {
    match rules.view() {
        Ok(rules) if rules.len() < LONG_CHAIN => {
            rules.iter().map(|rule| lower_rule(rule, context, scratch)).collect()
        }
        Ok(rules) => rules
            .par_iter()
            .map_init(Conditions::default, |scratch, rule| lower_rule(rule, context, scratch))
            .collect(),
        Err(rules) => rules
            .par_iter()
            .map_init(Conditions::default, |scratch, rule| lower_rule(rule, context, scratch))
            .collect(),
    }
}

fn lower_rule(rule: &syntax::Rule<'_>, context: &Context<'_>, conditions: &mut Conditions) -> Rule {
    check_families(rule, context);
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
    let target = lower_target(&rule.target, context, &mut tracked);
    if tracked {
        context.track();
    }
    Rule {
        conditions: conditions.take(),
        target,
        origin: Origin {
            source: u16::try_from(context.input).unwrap_or(u16::MAX),
            line: rule.line,
            span: rule.span,
            printed: (!rule.verbatim).then(|| print(rule)),
        },
        counters: rule.counters,
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

fn lower_target(target: &syntax::Target<'_>, context: &Context<'_>, tracked: &mut bool) -> Target {
    match target {
        syntax::Target::None => Target::None,
        syntax::Target::Accept => Target::Accept,
        syntax::Target::Drop => Target::Drop,
        syntax::Target::Return => Target::Return,
        syntax::Target::Jump(name, span) => call(name, *span, Target::Jump, context),
        syntax::Target::Goto(name, span) => call(name, *span, Target::Goto, context),
        syntax::Target::Extension(extension) => {
            *tracked |= tracking::target_needs_connections(extension);
            targets::lower_target(extension)
        }
        syntax::Target::Unsupported(unknown) => {
            let mut words = unknown.raw.split_whitespace();
            let name = words.find(|word| !word.starts_with('-')).unwrap_or(&unknown.raw);
            Target::Unsupported(name.into())
        }
    }
}

fn call(name: &str, span: Span, target: fn(ChainId) -> Target, context: &Context<'_>) -> Target {
    let Some(chain) = context.table.find(name) else {
        context.report(missing_chain(name, span, context.table));
        return Target::Unsupported(name.into());
    };
    if context.table.is_base(chain) {
        // The parser refuses it already.
        return Target::Unsupported(name.into());
    }
    target(chain)
}

/// The parser finds these in a text; what an edit leaves behind is found here.
fn missing_chain(name: &str, span: Span, table: &Table<'_>) -> Diagnostic {
    let message = format!("chain `{name}` does not exist");
    let diagnostic = Diagnostic::error("unknown-chain", message, span);
    match table.nearest(name) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// Refuses addresses of the other family; the parser can't tell where the text does not.
fn check_families(rule: &syntax::Rule<'_>, context: &Context<'_>) {
    let check = |family: Family, span: Span| {
        if family != context.family {
            let (expected, found) = match context.family {
                Family::Ipv4 => ("IPv4", "IPv6"),
                Family::Ipv6 => ("IPv6", "IPv4"),
            };
            let message = format!("expected an {expected} address, found an {found} address");
            context.report(Diagnostic::error("wrong-family", message, span));
        }
    };
    for given in [&rule.source, &rule.destination].into_iter().flatten() {
        check(family_of(given.value), rule.span);
    }
    let target = match &rule.target {
        syntax::Target::Extension(extension) => Some(extension),
        _ => None,
    };
    for option in rule.matches.iter().chain(target).flat_map(|extension| &extension.options) {
        match &option.value {
            Value::Address(address) => check(family_of(*address), option.span),
            Value::AddressRange(first, _) => check(Family::of(*first), option.span),
            Value::Nat(NatRange { addresses: Some((first, _)), .. }) => {
                check(Family::of(*first), option.span);
            }
            _ => {}
        }
    }
}

fn family_of(address: AddressMask) -> Family {
    match address {
        AddressMask::V4(..) => Family::Ipv4,
        AddressMask::V6(..) => Family::Ipv6,
    }
}
