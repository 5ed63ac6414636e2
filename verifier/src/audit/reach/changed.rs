//! Which dimensions rules may change of the packets that meet them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nattrace_model::condition::Condition;
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_model::target::{Action, ConnmarkAction, Target};
use nattrace_parser::syntax::Family;

use super::asked::{DESTINATION, Dimension, Dimensions, MARK, SOURCE, STATE, TOS, TTL};

/// Dimensions that may change.
type Loose = BTreeSet<Dimension>;

/// What may change under way, chain by chain.
pub(super) struct Changes {
    /// By a chain as a whole, with those that it calls.
    whole: HashMap<ChainId, Loose>,
    /// Behind so many rules of a chain, wherever it becomes more.
    grown: HashMap<ChainId, Vec<(u32, Loose)>>,
}

impl Changes {
    pub(super) fn of(rules: &Ruleset, dimensions: &[Dimensions; 2]) -> Self {
        let chains = || (0u32..).map(ChainId).zip(&rules.chains);
        let [v4, v6] = dimensions;
        let by = |family: Family, target: &Target| {
            Changed::by_one(if family == Family::Ipv4 { v4 } else { v6 }, target)
        };
        let mut whole: HashMap<ChainId, Loose> = HashMap::new();
        let mut calls: BTreeMap<ChainId, BTreeSet<ChainId>> = BTreeMap::new();
        for (id, chain) in chains() {
            let own = chain.rules.iter().flat_map(|rule| by(chain.family, &rule.target));
            whole.insert(id, own.collect());
            for rule in &chain.rules {
                rule.target.calls(&mut |called, _| {
                    calls.entry(id).or_default().insert(called);
                });
            }
        }
        // What a chain calls changes as much, and what that calls: until nothing is new.
        let mut more = true;
        while more {
            more = false;
            for (id, called) in &calls {
                let mut all = whole.get(id).cloned().unwrap_or_default();
                let before = all.len();
                all.extend(called.iter().filter_map(|called| whole.get(called)).flatten());
                if all.len() > before {
                    whole.insert(*id, all);
                    more = true;
                }
            }
        }
        let mut grown = HashMap::new();
        for (id, chain) in chains() {
            let mut steps: Vec<(u32, Loose)> = Vec::new();
            let mut all = Loose::new();
            for (behind, rule) in (1u32..).zip(&chain.rules) {
                let before = all.len();
                all.extend(by(chain.family, &rule.target));
                rule.target
                    .calls(&mut |called, _| all.extend(whole.get(&called).into_iter().flatten()));
                if all.len() > before {
                    steps.push((behind, all.clone()));
                }
            }
            grown.insert(id, steps);
        }
        Self { whole, grown }
    }

    /// The dimensions that rules may change which packets meet on their way to a place.
    pub(super) fn before(
        &self,
        rules: &Ruleset,
        dimensions: &Dimensions,
        stops: &[RuleId],
    ) -> Vec<Dimension> {
        let mut loose = Loose::new();
        for (at, stop) in stops.iter().enumerate() {
            let steps = self.grown.get(&stop.chain).map_or(&[][..], Vec::as_slice);
            let passed = steps.iter().take_while(|(behind, _)| *behind <= stop.index);
            loose.extend(passed.last().into_iter().flat_map(|(_, loose)| loose));
            // The call itself is met too, what is at the end of the way is not.
            if let (Some(next), Some(call)) = (stops.get(at + 1), rules.rule(*stop)) {
                loose.extend(Changed::by_one(dimensions, &call.target));
                call.target.calls(&mut |called, _| {
                    if called != next.chain {
                        loose.extend(self.whole.get(&called).into_iter().flatten());
                    }
                });
            }
        }
        loose.into_iter().collect()
    }
}

/// The dimensions that a target may change.
struct Changed<'d> {
    dimensions: &'d Dimensions,
    loose: Vec<Dimension>,
}

impl<'d> Changed<'d> {
    fn by_one(dimensions: &'d Dimensions, target: &Target) -> Vec<Dimension> {
        let mut change = Self { dimensions, loose: Vec::new() };
        change.by(target);
        change.loose
    }

    fn facts(&mut self, about: impl Fn(&Condition) -> bool) {
        self.loose.extend(self.dimensions.facts_about(about));
    }

    /// Adds what a target may change.
    fn by(&mut self, target: &Target) {
        match target {
            // Anything may happen to a packet there.
            Target::Unsupported(_) => self.loose = (0..self.dimensions.count()).collect(),
            Target::Sequence(actions) => {
                for action in actions {
                    if let Action::Do(target) = action {
                        self.by(target);
                    }
                }
            }
            Target::Map(map) => {
                let entries = map.entries.iter().map(|entry| &entry.target);
                entries.chain(map.otherwise.as_ref()).for_each(|target| self.by(target));
            }
            Target::Snpt(_) => self.loose.push(SOURCE),
            Target::Dnpt(_) => self.loose.push(DESTINATION),
            Target::Mark { .. }
            | Target::Tproxy { .. }
            | Target::Connmark(ConnmarkAction::Restore { .. }, _) => {
                self.loose.push(MARK);
                self.facts(|fact| matches!(fact, Condition::Mark { .. } | Condition::Set(..)));
            }
            Target::Connmark(..) => {
                self.facts(|fact| matches!(fact, Condition::ConnectionMark { .. }));
            }
            Target::Notrack | Target::Zone(_) | Target::ConntrackOptions => {
                self.loose.push(STATE);
                self.facts(|fact| {
                    matches!(fact, Condition::Connection(..) | Condition::ConnectionMark { .. })
                });
            }
            Target::Set { .. } => self.facts(|fact| matches!(fact, Condition::Set(..))),
            Target::Ttl(_) => self.loose.push(TTL),
            Target::Tos { .. } => self.loose.push(TOS),
            _ => {}
        }
    }
}
