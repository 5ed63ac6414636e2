//! Chains with their rules: jumps become chains, and what is found on the way is collected.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nattrace_parser::diagnostic::Diagnostic;
use nattrace_parser::span::Span;
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use super::chain::{ChainDraft, RuleList, Table};
use super::draft::{Draft, DraftTarget};
use super::placement;
use crate::graph::HookSet;
use crate::ruleset::{Chain, ChainId, Rule, Table as ChainTable};
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
struct Context<'a> {
    table: &'a Table<'a>,
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
    fn report(&self, diagnostic: Diagnostic) {
        if let Ok(mut diagnostics) = self.findings.diagnostics.lock() {
            diagnostics.push((self.table.section.input, diagnostic));
        }
    }

    /// Reports something about the input of this number.
    fn report_in(&self, input: u16, diagnostic: Diagnostic) {
        if let Ok(mut diagnostics) = self.findings.diagnostics.lock() {
            diagnostics.push((usize::from(input), diagnostic));
        }
    }

    /// Marks that a rule of this family needs the kernel to track connections.
    fn track(&self) {
        let [v4, v6] = &self.findings.tracking;
        let flag = match self.table.section.family {
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
    tables: Vec<(Table<'_>, Vec<RuleList<'_, '_>>)>,
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) -> Lowered {
    let findings = Findings::default();
    let (tables, lists): (Vec<Table<'_>>, Vec<_>) = tables.into_iter().unzip();
    let drafts: Vec<(&Table<'_>, &ChainDraft<'_>, RuleList<'_, '_>)> = tables
        .iter()
        .zip(lists)
        .flat_map(|(table, lists)| {
            table.chains.iter().zip(lists).map(move |(draft, list)| (table, draft, list))
        })
        .collect();
    let (chains, allowed) = drafts
        .into_par_iter()
        .map(|(table, draft, list)| {
            let section = table.section;
            let rules = lower_chain(list, &Context { table, findings: &findings });
            let allowed = rules.iter().map(placement::hooks_of);
            let allowed = allowed.fold(HookSet::all(), HookSet::intersection);
            let chain = Chain {
                backend: section.backend,
                family: section.family,
                table: ChainTable::Iptables(section.table),
                name: draft.name.as_ref().into(),
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

fn lower_chain(rules: RuleList<'_, '_>, context: &Context<'_>) -> Vec<Rule> {
    match rules {
        RuleList::Run(rules) if rules.len() < LONG_CHAIN => {
            rules.iter_mut().map(|draft| settle(draft, context)).collect()
        }
        RuleList::Run(rules) => rules.par_iter_mut().map(|draft| settle(draft, context)).collect(),
        RuleList::Scattered(rules) => {
            rules.into_par_iter().map(|draft| settle(draft, context)).collect()
        }
    }
}

/// Hands out a rule with its jump resolved.
fn settle(draft: &mut Draft<'_>, context: &Context<'_>) -> Rule {
    for span in &draft.strangers {
        let (expected, found) = match context.table.section.family {
            Family::Ipv4 => ("IPv4", "IPv6"),
            Family::Ipv6 => ("IPv6", "IPv4"),
        };
        let message = format!("expected an {expected} address, found an {found} address");
        context.report_in(draft.origin.source, Diagnostic::error("wrong-family", message, *span));
    }
    if draft.tracked {
        context.track();
    }
    let target = match &mut draft.target {
        DraftTarget::Jump(name, span) => call(name, *span, Target::Jump, context),
        DraftTarget::Goto(name, span) => call(name, *span, Target::Goto, context),
        DraftTarget::Lowered(target) => std::mem::replace(target, Target::None),
    };
    Rule {
        conditions: std::mem::take(&mut draft.conditions),
        target,
        origin: std::mem::take(&mut draft.origin),
        counters: draft.counters,
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
