//! A rule that no packet gets to, because one before it takes all that it could match.

use nattrace_model::condition::Condition;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "unreachable-rule";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, chain, rule) in scene.own_rules() {
        let before = chain.rules.iter().take(id.index as usize);
        let by = (0u32..).zip(before).find(|(_, earlier)| takes_all(earlier, rule));
        let Some((index, earlier)) = by else { continue };
        if *chain.name == *"DOCKER-USER"
            && earlier.target == Target::Return
            && earlier.conditions.is_empty()
        {
            // `docker-user-rule-after-return` tells it better.
            continue;
        }
        if earlier.conditions == rule.conditions
            && earlier.target != rule.target
            && matches!(rule.target, Target::Dnat(..) | Target::Redirect(..))
        {
            // `dnat-shadowed-duplicate` does.
            continue;
        }
        let by = RuleId { index, ..id };
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("no packet gets to this rule: {} takes all of its packets", scene.name(by)),
            )
            .at(id, scene.owner(id))
            .effect("the rule is as good as not there")
            .help(format!("delete it, or put it before {}", scene.name(by))),
        );
    }
    found
}

/// Whether an earlier rule ends the walk of every packet that a later one could match: it asks for
/// nothing that the later one does not ask for too.
fn takes_all(earlier: &Rule, later: &Rule) -> bool {
    let ends = matches!(
        earlier.target,
        Target::Accept
            | Target::Drop
            | Target::Reject(_)
            | Target::Return
            | Target::Goto(_)
            | Target::Dnat(..)
            | Target::Snat(..)
            | Target::Masquerade(..)
            | Target::Redirect(..)
    );
    let sure = |condition: &Condition| !matches!(condition, Condition::Undecided(_));
    ends && earlier.conditions.iter().all(|condition| {
        sure(condition) && later.conditions.iter().any(|other| implies(other, condition))
    })
}

/// Whether a packet that satisfies one condition surely satisfies another.
fn implies(one: &Condition, other: &Condition) -> bool {
    use Condition::{Destination, Port, Source};
    use nattrace_model::condition::Sense::Is;
    match (one, other) {
        (Source(Is, inner), Source(Is, outer))
        | (Destination(Is, inner), Destination(Is, outer)) => {
            inner.family() == outer.family()
                && inner.length() >= outer.length()
                && outer.contains(inner.network())
        }
        (Port(Is, side, from, to), Port(Is, other_side, low, high)) => {
            side == other_side && low <= from && to <= high
        }
        _ => one == other,
    }
}
