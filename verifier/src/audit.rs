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

use std::collections::HashSet;

use nattrace_model::System;
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

/// The codes of all lints, in the order in which findings are told.
#[must_use]
pub fn codes() -> Vec<&'static str> {
    lint::LINTS.iter().map(|lint| lint.code).collect()
}

/// Everything that the lints find, by severity, then by the order of the lints, then by place.
#[must_use]
pub fn audit(system: &System, owners: Owners) -> Vec<Finding> {
    let system = inferred::supplemented(system);
    let scene = Scene::new(&system, owners);
    let found = lint::LINTS.par_iter().map(|lint| {
        let mut found = (lint.find)(&scene);
        debug_assert!(found.iter().all(|finding| finding.code == lint.code));
        found.dedup();
        found
    });
    let mut findings: Vec<Finding> = found.collect::<Vec<_>>().into_iter().flatten().collect();
    // One mistake is told once, by the lint that knows most about it.
    let told: HashSet<RuleId> = findings
        .iter()
        .filter(|finding| {
            ["interface-never-matches", "snat-shadowed-by-masquerade"].contains(&finding.code)
        })
        .filter_map(|finding| finding.rule)
        .collect();
    findings.retain(|finding| {
        finding.code != "unreachable-rule" || finding.rule.is_none_or(|rule| !told.contains(&rule))
    });
    once_for_both_families(&scene, &mut findings);
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

#[cfg(test)]
mod tests;
