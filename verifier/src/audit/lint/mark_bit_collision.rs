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
    let mut told: Vec<(Owner, Owner)> = Vec::new();
    for (owner, bits, id) in &writers {
        // Who writes just the same means the same.
        let other = writers.iter().find(|(other, theirs, their_rule)| {
            other != owner
                && bits & theirs & read != 0
                && written(*their_rule) != written(*id)
                && !reads(scene, *other, written(*id))
        });
        let Some((other, theirs, their_rule)) = other else { continue };
        // Of a person's rules each is told, of two programs that they do.
        if *owner != Owner::Hand {
            if *other == Owner::Hand || told.contains(&(*other, *owner)) {
                continue;
            }
            told.push((*owner, *other));
        }
        let by_hand = written(*id).filter(|_| *owner == Owner::Hand);
        let fix = by_hand.and_then(|own| within_own_bits(scene, *id, own, *theirs));
        found.push(
            Finding::new(
                CODE,
                Severity::Warning,
                format!("{} of {} writes the same bits of the mark ({:#x})", scene.name(*their_rule), other.as_str(), bits & theirs),
            )
            .at(*id, *owner)
            .effect("one overwrites what the other's rules or routes look for")
            .fixed_by(
                fix.into_iter().collect(),
                match fix_is_possible(by_hand, *theirs) {
                    _ if *owner != Owner::Hand => "both are programs: give one other bits in its own configuration (calico: iptablesMarkMask)",
                    true => "the mask leaves theirs alone",
                    false => "write only bits of your own, in what reads them too: --set-xmark VALUE/MASK with a mask that leaves theirs alone",
                },
            ),
        );
    }
    found
}

/// Whether rules of an owner look for just what a rule writes: then they mean the same by it.
fn reads(scene: &Scene<'_>, owner: Owner, target: Option<&Target>) -> bool {
    let Some(Target::Mark { value: written, .. }) = target else { return false };
    scene.rules().any(|(id, _, rule)| {
        let asks = |condition: &Condition| {
            matches!(condition, Condition::Mark { value, mask, .. }
                if *value != 0 && value == written && mask & value == *value)
        };
        rule.conditions.iter().any(asks) && scene.owner(id) == owner
    })
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

/// Whether the value that a rule writes lies in bits of its own.
fn fix_is_possible(target: Option<&Target>, theirs: u32) -> bool {
    matches!(target, Some(Target::Mark { value, .. }) if *value != 0 && value & theirs == 0)
}

/// The command that has a rule write no bits of others; none where its value needs them.
fn within_own_bits(scene: &Scene<'_>, id: RuleId, target: &Target, theirs: u32) -> Option<String> {
    let Target::Mark { value, mask } = target else { return None };
    if !fix_is_possible(Some(target), theirs) {
        return None;
    }
    let words = scene.words(id)?;
    let (conditions, _) = words.rsplit_once("-j MARK")?;
    let mask = (mask | value) & !theirs;
    scene.reword(id, &format!("{conditions}-j MARK --set-xmark {value:#x}/{mask:#x}"))
}
