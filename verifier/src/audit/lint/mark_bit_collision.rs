//! Two owners that write the same bits of the packet mark.

use nattrace_model::condition::Condition;
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "mark-bit-collision";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut writers: Vec<(Owner, u32, RuleId)> = Vec::new();
    let written = |id: RuleId| scene.system.rules.rule(id).map(|rule| &rule.target);
    for (id, _, rule) in scene.rules() {
        let bits = match rule.target {
            Target::Mark { value, mask } => value | mask,
            _ => continue,
        };
        writers.push((scene.owner(id), bits, id));
    }
    let read = read_bits(scene);
    for (owner, bits, id) in writers.iter().filter(|(owner, ..)| *owner == Owner::Hand) {
        // Who writes just the same means the same.
        let other = writers.iter().find(|(other, theirs, their_rule)| {
            other != owner && bits & theirs & read != 0 && written(*their_rule) != written(*id)
        });
        let Some((other, theirs, their_rule)) = other else { continue };
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("{} of {} writes the same bits of the mark ({:#x})", scene.name(*their_rule), other.as_str(), bits & theirs),
            )
            .at(*id, *owner)
            .effect("one overwrites what the other's rules or routes look for")
            .help("write only bits of your own: --set-xmark VALUE/MASK with a mask that leaves theirs alone"),
        );
    }
    found
}

/// The bits that some rule, NAT or policy rule looks at.
fn read_bits(scene: &Scene<'_>) -> u32 {
    let by_rules =
        scene.rules().flat_map(|(_, _, rule)| &rule.conditions).map(|condition| match condition {
            Condition::Mark { mask, .. } => *mask,
            _ => 0,
        });
    let routing = &scene.host().routing;
    let by_routing = routing
        .rules4
        .iter()
        .chain(&routing.rules6)
        .filter_map(|rule| rule.mark.map(|(_, mask)| mask));
    by_rules.chain(by_routing).fold(0, |bits, more| bits | more)
}
