//! What iptables-nft-restore 1.8.9 makes of commands on what it adds in the same load.
//!
//! It looks at the chains as the kernel has them, so that a policy of the same load is lost to
//! `-X` and `-Z`, `-F` without a chain clears nothing of it, and a new chain can't be renamed.

use super::command::Invocation;
use super::verb::Verb;
use super::{State, TableSet};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::{Policy, TableName};
use crate::words::clip;

/// How a command of a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// As outside of a load.
    Usual,
    /// It changes nothing.
    Nothing,
    /// It is refused, with a message.
    Refused,
}

/// How a command goes; `before` is what the kernel has of the tables, `None` where the load
/// replaces it.
pub(super) fn course(
    set: &TableSet<'_>,
    before: Option<&TableSet<'_>>,
    invocation: &Invocation<'_>,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Course {
    let table = invocation.table;
    let state = set.find(table);
    let chain = invocation.chain.as_ref().map(|chain| chain.word.text.as_ref());
    match (invocation.verb, chain) {
        (Verb::Flush, None) if before.is_none() => {
            let rules = state.into_iter().flat_map(|state| state.chains.values());
            if rules.clone().any(|chain| !chain.rules.is_empty()) {
                let message = "this clears no rule that stands above it";
                diagnostics.push(
                    Diagnostic::warning("lost-in-load", message, span)
                        .label("iptables-nft-restore clears what the kernel had before")
                        .help("name the chain: `-F CHAIN`"),
                );
            }
            Course::Nothing
        }
        (Verb::Rename, Some(old)) if kernel_chain(before, table, old).is_none() => {
            let message = format!("chain `{}` is new and can't be renamed here", clip(old));
            diagnostics.push(
                Diagnostic::error("lost-in-load", message, span)
                    .label("iptables: CHAIN_RENAME failed (No such file or directory)"),
            );
            Course::Refused
        }
        (Verb::Zero, _) => zero(state, invocation, span, diagnostics),
        (Verb::DeleteChain, Some(name)) if table.builtin_chains().contains(&name) => {
            let known = state.and_then(|state| state.chains.get(name));
            match known.filter(|known| known.there || !known.rules.is_empty()) {
                Some(known) if known.rules.is_empty() && before.is_none() => Course::Nothing,
                _ => Course::Usual,
            }
        }
        _ => Course::Usual,
    }
}

fn zero(
    state: Option<&State<'_>>,
    invocation: &Invocation<'_>,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Course {
    let mut refused = |message: String, says: &str| {
        diagnostics.push(Diagnostic::error("lost-in-load", message, span).label(says));
        Course::Refused
    };
    let Some(chain) = &invocation.chain else {
        let chains = state.into_iter().flat_map(|state| state.chains.values());
        let mut rules = chains.flat_map(|chain| &chain.rules);
        return match rules.any(|rule| rule.counters.unwrap_or_default() != Default::default()) {
            true => refused(
                "counters that this load sets can't be cleared in it".to_owned(),
                "iptables: RULE_REPLACE failed (Invalid argument)",
            ),
            false => Course::Usual,
        };
    };
    let name = chain.word.text.as_ref();
    let known = state.and_then(|state| state.chains.get(name));
    let there = known.is_some_and(|known| known.there || !known.rules.is_empty());
    if state.is_some_and(|state| state.is_builtin(name)) && !there {
        let message = format!("chain `{}` does not exist before something uses it", clip(name));
        return refused(message, super::change::NO_CHAIN);
    }
    let Some(known) = known else { return Course::Usual };
    let counted =
        |rule: &crate::syntax::Rule<'_>| rule.counters.unwrap_or_default() != Default::default();
    let number = invocation.value.as_ref().and_then(|value| {
        let number = crate::arguments::number::parse(&value.word.text)?;
        usize::try_from(number).ok()
    });
    let bad = match number {
        Some(number) => number > 0 && number <= known.rules.len(),
        None => known.rules.iter().any(counted),
    };
    if bad {
        let message = "counters that this load sets can't be cleared in it".to_owned();
        return refused(message, "iptables: RULE_REPLACE failed (Invalid argument)");
    }
    Course::Usual
}

/// A chain as the kernel has it.
fn kernel_chain<'s, 'a>(
    before: Option<&'s TableSet<'a>>,
    table: TableName,
    chain: &str,
) -> Option<&'s super::ChainState<'a>> {
    before?.find(table)?.chains.get(chain)
}

/// Takes back the policies that a command of a load loses.
pub(super) fn lose_policies(
    set: &mut TableSet<'_>,
    before: Option<&TableSet<'_>>,
    invocation: &Invocation<'_>,
    span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let table = invocation.table;
    let chain = invocation.chain.as_ref().map(|chain| chain.word.text.as_ref());
    let deletes = match (invocation.verb, chain) {
        (Verb::DeleteChain, _) => true,
        (Verb::Zero, _) if invocation.value.is_none() => false,
        _ => return,
    };
    let Some(state) = set.find_mut(table) else { return };
    for name in table.builtin_chains() {
        let Some(known) = state.chains.get_mut(*name) else { continue };
        let concerned = match deletes {
            true => known.rules.is_empty(),
            false => true,
        };
        let concerned = concerned && chain.is_none_or(|chain| chain == *name);
        let kernel = kernel_chain(before, table, name).and_then(|chain| chain.policy);
        if !concerned || deletes && kernel == Some(Policy::Drop) {
            continue;
        }
        if known.policy == Some(Policy::Drop) && kernel != Some(Policy::Drop) {
            let message = format!("the policy DROP of {name} is lost");
            diagnostics.push(
                Diagnostic::warning("lost-in-load", message, span)
                    .label("iptables-nft-restore sets it back to what the kernel had before")
                    .help("leave this line out, or set the policy behind it"),
            );
        }
        known.policy = kernel;
        known.counters = None;
        known.there &= !deletes;
    }
}
