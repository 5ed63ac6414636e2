//! Rules that may match, and what is sure on either way.
//!
//! Where a rule that nobody can say of whether it matches would end the chain, or leave it, the
//! packets need not walk: what comes where it matches is known, and what comes where it does not is
//! what comes behind it. Packets for which both are the same go the same ways, by whichever rule.

use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::simulate::{Foresight, Stand};
use nattrace_model::target::Target;

use super::{Exits, Matter};
use crate::walk::piece::{Exit, Otherwise};

/// What comes then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// The base chain ends, by what other rules end it by, too.
    Ends(usize),
    /// The policy decides.
    Policy,
    /// The packet comes to a place.
    Comes(Stand),
}

impl Exits {
    /// The number of a way out by what comes where a rule matches, and where it does not.
    pub(super) fn fork(&mut self, key: (Then, Then)) -> usize {
        if let Some(known) = self.known_forks.get(&key) {
            return *known;
        }
        let foresight = match &key.1 {
            Then::Comes(stand) => Foresight::From(stand.clone()),
            Then::Ends(at) => Foresight::Ends(self.ends.get(*at).copied()),
            Then::Policy => Foresight::Ends(None),
        };
        self.known_forks.insert(key, self.forks.len());
        self.forks.push(foresight);
        self.forks.len() - 1
    }
}

impl Matter<'_, '_, '_> {
    /// What a rule does with packets that it may match, where that is one simple thing.
    pub(super) fn undecided(&mut self, rule: &Rule, id: RuleId) -> Option<Exit> {
        // Behind such a rule the rest of the chain is decided at once.
        let hidden = Condition::Undecided(Undecided::InterfacesNotShown);
        if rule.conditions.contains(&hidden) {
            return None;
        }
        match &rule.target {
            Target::Return => Some(Exit::Return),
            target if target.ends() => Some(Exit::End(self.exits.end(target, id))),
            _ => None,
        }
    }

    /// A way out of a chain with so many rules: by what a rule does with packets that it may match,
    /// or else by what comes where it does not.
    pub(super) fn fork(
        &mut self,
        (chain, rules): (ChainId, usize),
        target: Exit,
        otherwise: Otherwise,
    ) -> Exit {
        let end = u32::try_from(rules).unwrap_or(u32::MAX);
        let here = |index| {
            Then::Comes(Stand { callers: self.callers.clone(), next: RuleId { chain, index } })
        };
        let leaves = |by: Exit| match by {
            Exit::End(at) => Then::Ends(at),
            Exit::Return => self.back(),
            Exit::Open(at) => self.exits.open.get(at).cloned().map_or_else(|| here(0), Then::Comes),
            Exit::Fork(_) => here(0),
        };
        let none = match otherwise {
            Otherwise::Leaves(by) => leaves(by),
            Otherwise::Meets(index) => here(index),
            Otherwise::Falls => here(end),
        };
        Exit::Fork(self.exits.fork((leaves(target), none)))
    }

    /// Where RETURN leads to from the chain that is looked at.
    fn back(&self) -> Then {
        match self.callers.split_last() {
            Some(((chain, index), callers)) => {
                let next = RuleId { chain: *chain, index: *index };
                Then::Comes(Stand { callers: callers.to_vec(), next })
            }
            None => Then::Policy,
        }
    }
}
