//! Where a packet is in a fold, as the rules tell that may match it.

use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_model::simulate::{Stand, View};
use nattrace_model::target::Target;

use super::{End, Fate, Fold, end_of};
use crate::walk::index::Known;
use crate::walk::region::Region;

impl Region {
    /// The part of a fold that the packet is in, as the rules tell that may match it.
    pub(super) fn locate(
        &self,
        view: &View<'_>,
        rules: &Ruleset,
        (base, stand): (ChainId, &Stand),
        fold: &Fold,
    ) -> Option<usize> {
        let known = Known::all(view);
        let mut callers = stand.callers.clone();
        let (mut chain, mut from) = (stand.next.chain, stand.next.index);
        loop {
            let all = &rules.chain(chain)?.rules;
            let candidates = self.ground.land.index(chain, all).candidates(view, &known);
            let mut next = None;
            for index in candidates.into_iter().filter(|index| *index >= from) {
                let rule = all.get(index as usize)?;
                if rule.target.does_nothing() {
                    continue;
                }
                let mut says = rule.conditions.iter().map(|condition| view.says(condition));
                if says.any(|says| says == Some(false)) {
                    continue;
                }
                let id = RuleId { chain, index };
                let open = fold.open.get(&id).into_iter().flatten().find(|at| {
                    let part = fold.parts.get(**at);
                    matches!(part, Some((Fate::Walks(stand), _)) if stand.callers == callers)
                });
                if open.is_some() {
                    return open.copied();
                }
                if rule.conditions.iter().any(|condition| view.says(condition).is_none()) {
                    return fold.forks.iter().copied().find(|at| {
                        fold.parts.get(*at).is_some_and(|(_, part)| self.holds_here(part))
                    });
                }
                match &rule.target {
                    Target::Return => {}
                    Target::Jump(to) => {
                        callers.push((chain, index + 1));
                        next = Some(*to);
                    }
                    Target::Goto(to) => next = Some(*to),
                    target => return fold.ends.get(&End::By(target.clone())).copied(),
                }
                break;
            }
            (chain, from) = match next {
                Some(to) => (to, 0),
                None => match callers.pop() {
                    Some(caller) => caller,
                    None => return fold.ends.get(&end_of(rules, base, None)).copied(),
                },
            };
        }
    }

    /// The first rule on the way of the packet of which nobody can say whether it matches.
    pub(super) fn unsure(&self, view: &View<'_>, rules: &Ruleset, from: &Stand) -> Option<Stand> {
        let known = Known::all(view);
        let mut callers = from.callers.clone();
        let mut at = (from.next.chain, from.next.index);
        loop {
            let (chain, first) = at;
            let all = &rules.chain(chain)?.rules;
            let candidates = self.ground.land.index(chain, all).candidates(view, &known);
            let mut next = None;
            for index in candidates.into_iter().filter(|index| *index >= first) {
                let rule = all.get(index as usize)?;
                if rule.target.does_nothing() {
                    continue;
                }
                let says: Vec<Option<bool>> =
                    rule.conditions.iter().map(|condition| view.says(condition)).collect();
                if says.contains(&Some(false)) {
                    continue;
                }
                if says.contains(&None) {
                    return Some(Stand { callers, next: RuleId { chain, index } });
                }
                match &rule.target {
                    Target::Return => {}
                    Target::Jump(to) => {
                        callers.push((chain, index + 1));
                        next = Some((*to, 0));
                    }
                    Target::Goto(to) => next = Some((*to, 0)),
                    _ => return None,
                }
                break;
            }
            at = next.or_else(|| callers.pop())?;
        }
    }
}
