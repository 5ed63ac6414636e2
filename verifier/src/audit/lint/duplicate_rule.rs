//! The same rule twice.

use std::collections::HashMap;

use nattrace_model::condition::Condition;
use nattrace_model::ruleset::RuleId;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "duplicate-rule";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first: HashMap<(u32, &[Condition], String), RuleId> = HashMap::new();
    for (id, _, rule) in scene.own_rules() {
        if rule.conditions.iter().any(|condition| matches!(condition, Condition::Undecided(_))) {
            continue;
        }
        let key = (id.chain.0, rule.conditions.as_slice(), format!("{:?}", rule.target));
        let Some(earlier) = first.get(&key) else {
            first.insert(key, id);
            continue;
        };
        found.push(
            Finding::new(CODE, Severity::Info, format!("the same as {}", scene.name(*earlier)))
                .at(id, scene.owner(id))
                .effect("it changes nothing; scripts that append without asking (`-C`) leave such rules")
                .fixed_by(
                    scene.delete(id).into_iter().collect(),
                    "or load with iptables-restore instead of appending",
                ),
        );
    }
    found
}
