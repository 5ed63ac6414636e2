//! Steps that were written once and are copied from then on.
//!
//! A rule that matches is written in the same way each time, unless it rewrote something, and so is
//! a route nearly always; with many packets that is most of what is written.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nattrace_model::System;
use nattrace_model::answer::{Effect, Step};
use nattrace_model::hook::Hook;
use nattrace_model::host::route::TableId;
use nattrace_parser::syntax::Family;
use serde_json::value::RawValue;

/// One kept text for each rule, for the end of each chain and for each route.
#[derive(Debug)]
pub(crate) struct Fragments {
    chains: Vec<ChainFragments>,
    routes4: RouteFragments,
    routes6: RouteFragments,
}

/// For each route of each table the first step that followed it.
type RouteFragments = BTreeMap<TableId, Vec<OnceLock<Box<StepFragment>>>>;

#[derive(Debug)]
struct ChainFragments {
    rules: Vec<OnceLock<RuleFragment>>,
    end: OnceLock<Box<StepFragment>>,
}

/// A rule's text holds for the hook and the effect it was first written with.
#[derive(Debug)]
struct RuleFragment {
    hook: Hook,
    effect: Effect,
    text: Box<RawValue>,
}

/// A text that holds for one step only.
#[derive(Debug)]
struct StepFragment {
    step: Step,
    text: Box<RawValue>,
}

impl Fragments {
    /// Room for the rules and routes of a host; nothing is written yet.
    pub(crate) fn new(system: &System) -> Self {
        let chain = |rules: usize| ChainFragments {
            rules: (0..rules).map(|_| OnceLock::new()).collect(),
            end: OnceLock::new(),
        };
        let chains = system.rules.chains.iter().map(|known| chain(known.rules.len())).collect();
        let routes = |family| {
            let tables = system.host.routing.tables(family).iter();
            tables
                .map(|(id, table)| (*id, table.routes().iter().map(|_| OnceLock::new()).collect()))
                .collect()
        };
        Self { chains, routes4: routes(Family::Ipv4), routes6: routes(Family::Ipv6) }
    }

    /// The text of a step of a packet of this family; `write` makes it where it is not kept yet. `None` where a text of this
    /// step would not hold for the next one.
    pub(super) fn of(
        &self,
        step: &Step,
        family: Family,
        write: impl FnOnce() -> Option<Box<RawValue>>,
    ) -> Option<&RawValue> {
        match step {
            Step::Rule { hook, rule, effect, rewrites } if rewrites.is_empty() => {
                let chain = self.chains.get(rule.chain.0 as usize)?;
                let kept = chain.rules.get(rule.index as usize)?;
                if kept.get().is_none() {
                    let fragment =
                        RuleFragment { hook: *hook, effect: effect.clone(), text: write()? };
                    // Another thread may have been faster; what it kept is checked below.
                    let _ = kept.set(fragment);
                }
                let kept = kept.get()?;
                (kept.hook == *hook && kept.effect == *effect).then_some(&*kept.text)
            }
            Step::Return { chain, .. } | Step::Policy { chain, .. } => {
                kept_step(&self.chains.get(chain.0 as usize)?.end, step, write)
            }
            Step::Route { route: Some((table, index)), .. } => {
                let routes = match family {
                    Family::Ipv4 => &self.routes4,
                    Family::Ipv6 => &self.routes6,
                };
                kept_step(routes.get(table)?.get(*index as usize)?, step, write)
            }
            Step::Rule { .. }
            | Step::Conntrack { .. }
            | Step::Route { .. }
            | Step::Socket { .. } => None,
        }
    }
}

/// The text that is kept here, if it is the text of this step.
fn kept_step<'f>(
    kept: &'f OnceLock<Box<StepFragment>>,
    step: &Step,
    write: impl FnOnce() -> Option<Box<RawValue>>,
) -> Option<&'f RawValue> {
    if kept.get().is_none() {
        let fragment = StepFragment { step: step.clone(), text: write()? };
        let _ = kept.set(Box::new(fragment));
    }
    let kept = kept.get()?;
    (kept.step == *step).then_some(&*kept.text)
}
