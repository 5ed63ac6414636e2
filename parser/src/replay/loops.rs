//! Which chains lead to which, and whether that goes round.

use std::collections::BTreeSet;

use super::State;
use crate::syntax::{Rule, Target};

/// The chain that a rule leads to.
pub(super) fn target<'r>(rule: &'r Rule<'_>) -> Option<&'r str> {
    match &rule.target {
        Target::Jump(name, _) | Target::Goto(name, _) => Some(name),
        _ => None,
    }
}

impl State<'_> {
    /// The chains that the rules of a chain lead to.
    fn calls(&self, chain: &str) -> impl Iterator<Item = &str> {
        self.chains.get(chain).into_iter().flat_map(|chain| &chain.rules).filter_map(target)
    }

    /// Whether there is a way from a chain to another, or round in a circle.
    pub(super) fn leads_round<'n>(&'n self, from: &'n str, to: &str) -> bool {
        // Chains that are being left, and those that were.
        let (mut open, mut done) = (BTreeSet::new(), BTreeSet::new());
        let mut ways = vec![(from, false)];
        while let Some((chain, left)) = ways.pop() {
            if left {
                open.remove(chain);
                done.insert(chain);
            } else if chain == to || open.contains(chain) {
                return true;
            } else if !done.contains(chain) {
                open.insert(chain);
                ways.push((chain, true));
                ways.extend(self.calls(chain).map(|next| (next, false)));
            }
        }
        false
    }

    /// Whether packets get into a chain.
    pub(super) fn is_reached(&self, chain: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<&str> = self.name.builtin_chains().to_vec();
        while let Some(from) = ways.pop() {
            if from == chain {
                return true;
            }
            if seen.insert(from) {
                ways.extend(self.calls(from));
            }
        }
        false
    }
}
