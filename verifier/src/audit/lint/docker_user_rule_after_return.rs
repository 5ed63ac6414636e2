//! A rule behind the RETURN with which Docker ends DOCKER-USER.

use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "docker-user-rule-after-return";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (chain_index, chain) in (0u32..).zip(&scene.system.rules.chains) {
        if *chain.name != *"DOCKER-USER" {
            continue;
        }
        let ends = |rule: &nattrace_model::ruleset::Rule| {
            rule.conditions.is_empty() && rule.target == Target::Return
        };
        let Some(end) = chain.rules.iter().position(ends) else { continue };
        for (index, _) in (0u32..).zip(&chain.rules).skip(end + 1) {
            let id = RuleId { chain: ChainId(chain_index), index };
            let finding = Finding::new(
                CODE,
                Severity::Error,
                "no packet gets to this rule: RETURN stands before it",
            )
            .at(id, scene.owner(id))
            .effect("the rule is as good as not there")
            .fixed_by(
                scene.advance(id, RuleId { chain: id.chain, index: 0 }).unwrap_or_default(),
                &format!(
                    "put it in front, by `-I` instead of `-A`: rule {} returns every packet",
                    end + 1
                ),
            );
            found.push(finding);
        }
    }
    found
}
