//! The list of what a rule asks, as it grows.

use crate::condition::{Condition, Undecided};

/// Conditions in the order in which they should be looked at.
///
/// What rules and packet decide comes first, in the order of the rule; what nobody can say comes
/// last, so that a plain "no" is found before anything is in doubt.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    decided: Vec<Condition>,
    undecided: Vec<Undecided>,
}

impl Conditions {
    /// Adds a condition; what always holds is left out.
    pub(super) fn push(&mut self, condition: Condition) {
        match condition {
            Condition::Constant(true) => {}
            Condition::Undecided(why) => self.undecided(why),
            condition => self.decided.push(condition),
        }
    }

    /// Adds a condition, or that it is not modelled.
    pub(super) fn push_or_unsupported(&mut self, condition: Option<Condition>) {
        self.push(condition.unwrap_or(Condition::Undecided(Undecided::Unsupported)));
    }

    /// Adds that a part of the rule is not modelled.
    pub(super) fn unsupported(&mut self) {
        self.undecided(Undecided::Unsupported);
    }

    /// Adds something that nobody can say. Twice the same lack of knowledge is one.
    pub(super) fn undecided(&mut self, why: Undecided) {
        let chance = matches!(why, Undecided::Chance { .. });
        if chance || !self.undecided.contains(&why) {
            self.undecided.push(why);
        }
    }

    /// Adds what chance or history decides.
    pub(super) fn chance(&mut self, at_first: Option<bool>) {
        self.undecided(Undecided::Chance { at_first });
    }

    /// Adds what the number of connections decides, in its place: a rule that counts may drop the
    /// packet before what follows is asked (kernel-facts K14).
    pub(super) fn count(&mut self, at_first: Option<bool>) {
        self.decided.push(Condition::Undecided(Undecided::Count { at_first }));
    }

    /// Hands all of them out, in a vector of just their size, and is ready for the next rule.
    pub(super) fn take(&mut self) -> Vec<Condition> {
        let mut all = Vec::with_capacity(self.decided.len() + self.undecided.len());
        all.append(&mut self.decided);
        all.extend(self.undecided.drain(..).map(Condition::Undecided));
        all
    }
}
