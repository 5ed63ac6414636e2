//! What is wrong with a host although nobody wrote a policy.
//!
//! A lint looks for one defect and proves it with a witness: a packet on which the simulator was
//! run. What no packet shows is told only where it is structural (a rule behind one that always
//! ends the chain). Rules that a program keeps (Docker, kube-proxy, ufw, …) are its own business:
//! they are only looked at for what they do together with others.

pub mod allowance;
pub mod finding;
mod inferred;
mod lint;
pub(crate) mod owner;
mod reach;
mod remedy;
mod scene;
mod variant;

use std::borrow::Cow;
use std::collections::HashSet;

use nattrace_model::System;
use nattrace_model::answer::{Effect, Step, Verdict};
use nattrace_model::ruleset::RuleId;
use rayon::prelude::*;

pub use allowance::{Allowance, Unclear, allowances};
pub use finding::{Finding, Severity};
use scene::Scene;

/// Whose rules are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// Those that people wrote.
    #[default]
    Hand,
    /// Those of programs too.
    All,
}

/// A lint.
struct Lint {
    code: &'static str,
    find: fn(&Scene<'_>) -> Vec<Finding>,
}

/// The lints that know more of a rule than that no packet gets to it.
const TOLD_BETTER: [&str; 3] =
    ["interface-never-matches", "snat-shadowed-by-masquerade", "dnat-shadowed-duplicate"];

/// The codes of all lints, in the order in which findings are told.
#[must_use]
pub fn codes() -> Vec<&'static str> {
    lint::LINTS.iter().map(|lint| lint.code).collect()
}

/// Everything that the lints find, by severity, then by the order of the lints, then by place.
#[must_use]
pub fn audit(system: &System, owners: Owners) -> Vec<Finding> {
    let supplemented = inferred::supplemented(system);
    let mut scene = Scene::new(&supplemented, owners);
    if let Cow::Owned(_) = supplemented {
        scene = scene.inferred_from(system);
    }
    let found = lint::LINTS.par_iter().map(|lint| {
        let mut found = (lint.find)(&scene);
        found.dedup();
        found.into_iter().map(|finding| (lint.code, finding)).collect::<Vec<_>>()
    });
    let found: Vec<(&str, Finding)> = found.collect::<Vec<_>>().into_iter().flatten().collect();
    // One mistake is told once, by the lint that knows most about it.
    let told: HashSet<RuleId> = found
        .iter()
        .filter(|(lint, _)| TOLD_BETTER.contains(lint))
        .filter_map(|(_, own)| own.rule)
        .collect();
    let again = |lint: &str, own: &Finding| {
        lint == "unreachable-rule" && own.rule.is_some_and(|rule| told.contains(&rule))
    };
    let found = found.into_iter().filter(|(lint, own)| !again(lint, own));
    let mut findings: Vec<Finding> = found.map(|(_, finding)| finding).collect();
    once_for_both_families(&scene, &mut findings);
    findings.iter_mut().for_each(|finding| show(&scene, finding));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Tells once what holds of a rule of an nft table in both of its families.
fn once_for_both_families(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let of = |finding: &Finding, rule| (finding.code, rule, finding.message.clone());
    let mut told: HashSet<(&str, RuleId, String)> = HashSet::new();
    findings.retain(|finding| {
        let Some(rule) = finding.rule else { return true };
        told.insert(of(finding, rule));
        scene.twin(rule).is_none_or(|twin| !told.contains(&of(finding, twin)))
    });
}

/// Lints of packets that should fare otherwise, whichever rule lets them in or stops them.
const OF_PACKETS: [&str; 6] = [
    "published-port-bypasses-input",
    "sensitive-port-world-reachable",
    "direct-route-exposure",
    "loopback-publish-reachable",
    "ipv6-policy-mismatch",
    "hairpin-broken",
];

/// Gives a finding without a rule the place of that which decided about its witness: the DNAT that
/// led it there, or the rule that let it pass or dropped it.
fn show(scene: &Scene<'_>, finding: &mut Finding) {
    let (None, Some(answer)) = (finding.rule, &finding.witness) else { return };
    if !OF_PACKETS.contains(&finding.code) {
        return;
    }
    let translated = answer.steps.iter().find_map(|step| match step {
        Step::Rule { rule, effect: Effect::Dnat, .. } => Some(*rule),
        _ => None,
    });
    let decided = || match answer.decided_by.and_then(|at| answer.steps.get(at)) {
        Some(Step::Rule { rule, .. }) => Some(*rule),
        _ => None,
    };
    let lost = matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected);
    finding.shown = if lost { decided() } else { translated.or_else(decided) };
    finding.owner = finding.owner.or(finding.shown.map(|rule| scene.owner(rule)));
}

#[cfg(test)]
mod tests;
