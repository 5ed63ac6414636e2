//! A second DNAT for the same packets.

use std::collections::HashMap;

use nattrace_model::condition::Condition;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "dnat-shadowed-duplicate";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first: HashMap<(u32, &[Condition]), (RuleId, &Target)> = HashMap::new();
    let mut earlier_ones: HashMap<u32, Vec<(RuleId, &Rule)>> = HashMap::new();
    for (id, _, rule) in scene.rules() {
        let chance = rule.conditions.iter().any(|c| matches!(c, Condition::Undecided(_)));
        if !matches!(rule.target, Target::Dnat(..) | Target::Redirect(..)) || chance {
            continue;
        }
        let key = (id.chain.0, rule.conditions.as_slice());
        let before = earlier_ones.entry(id.chain.0).or_default();
        // What asks for less takes its packets too.
        let wider = before.iter().find(|(_, wide)| is_wider(wide, rule));
        let wider = wider.map(|(id, rule)| (*id, &rule.target));
        before.push((id, rule));
        let Some((earlier, target)) = first.get(&key).copied().or(wider) else {
            first.insert(key, (id, &rule.target));
            continue;
        };
        if *target == rule.target {
            continue;
        }
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("{} takes all of its packets", scene.name(earlier)),
            )
            .at(id, scene.owner(id))
            .effect("the second target never gets a packet")
            .fixed_by(
                scene.delete(id).filter(|_| scene.owner(id) == Owner::Hand).into_iter().collect(),
                "or delete the first one; to share packets out use `-m statistic`",
            ),
        );
    }
    found
}

/// Whether a rule asks for nothing that another one does not ask for too.
fn is_wider(wide: &Rule, rule: &Rule) -> bool {
    wide.conditions.len() < rule.conditions.len()
        && wide.conditions.iter().all(|asked| rule.conditions.contains(asked))
}
