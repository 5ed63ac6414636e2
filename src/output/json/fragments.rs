//! Steps that were written once and are copied from then on.
//!
//! A rule that matches is written in the same way each time, unless it rewrote something; with
//! many packets that is most of what is written.

use std::sync::OnceLock;

use nattrace_model::answer::{Effect, Step};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::Ruleset;
use serde_json::value::RawValue;

/// One kept text for each rule and for the end of each chain.
#[derive(Debug)]
pub(crate) struct Fragments {
    chains: Vec<ChainFragments>,
}

#[derive(Debug)]
struct ChainFragments {
    rules: Vec<OnceLock<RuleFragment>>,
    end: OnceLock<EndFragment>,
}

/// A rule's text holds for the hook and the effect it was first written with.
#[derive(Debug)]
struct RuleFragment {
    hook: Hook,
    effect: Effect,
    text: Box<RawValue>,
}

#[derive(Debug)]
struct EndFragment {
    step: Step,
    text: Box<RawValue>,
}

impl Fragments {
    /// Room for the rules of a host; nothing is written yet.
    pub(crate) fn new(rules: &Ruleset) -> Self {
        let chain = |rules: usize| ChainFragments {
            rules: (0..rules).map(|_| OnceLock::new()).collect(),
            end: OnceLock::new(),
        };
        Self { chains: rules.chains.iter().map(|known| chain(known.rules.len())).collect() }
    }

    /// The text of a step; `write` makes it where it is not kept yet. `None` where a text of this
    /// step would not hold for the next one.
    pub(super) fn of(
        &self,
        step: &Step,
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
                let kept = &self.chains.get(chain.0 as usize)?.end;
                if kept.get().is_none() {
                    let _ = kept.set(EndFragment { step: step.clone(), text: write()? });
                }
                let kept = kept.get()?;
                (kept.step == *step).then_some(&*kept.text)
            }
            Step::Rule { .. }
            | Step::Conntrack { .. }
            | Step::Route { .. }
            | Step::Socket { .. } => None,
        }
    }
}
