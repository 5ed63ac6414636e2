//! The sets of changes that are still to be looked at, the lightest first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::change::Change;

/// What one edit weighs, and what one packet that still breaks the policy does.
const EDIT: u32 = 100;

/// What each usual packet weighs that fares differently.
const CHANGED: u32 = 2;

/// How many of them count.
const MOST_CHANGED: usize = 60;

/// A set of changes that was tried.
pub(super) struct State {
    pub(super) changes: Vec<Change>,
    pub(super) dislike: u32,
    /// How many usual packets fare differently, once that was looked at.
    pub(super) changed: Option<usize>,
    /// The known packets that still break the policy.
    pub(super) broken: Vec<usize>,
    /// How many packets were known when it was tried.
    pub(super) known: usize,
}

impl State {
    /// Few, mending much, little disliked, and changing little else is light. What was not looked
    /// at yet may be lighter than it turns out to be.
    fn weight(&self) -> u32 {
        let count = self.changes.len() + self.broken.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let changed =
            u32::try_from(self.changed.unwrap_or(0).min(MOST_CHANGED)).unwrap_or(u32::MAX);
        let edits = count.saturating_mul(EDIT);
        edits.saturating_add(self.dislike).saturating_add(changed.saturating_mul(CHANGED))
    }

    fn key(&self) -> String {
        format!("{:?}", self.changes.iter().map(Change::key).collect::<Vec<_>>())
    }
}

/// What is still to be looked at. Among equally light ones the earlier comes first.
#[derive(Default)]
pub(super) struct Frontier {
    queue: BinaryHeap<Reverse<(u32, usize)>>,
    states: Vec<Option<State>>,
    seen: HashSet<String>,
}

impl Frontier {
    /// The lightest one, with its number.
    pub(super) fn next(&mut self) -> Option<(usize, State)> {
        while let Some(Reverse((_, number))) = self.queue.pop() {
            if let Some(state) = self.states.get_mut(number).and_then(Option::take) {
                return Some((number, state));
            }
        }
        None
    }

    /// Puts one back that may weigh more than it did, at its place among equally light ones.
    pub(super) fn put_back(&mut self, number: usize, state: State) {
        if let Some(place) = self.states.get_mut(number) {
            self.queue.push(Reverse((state.weight(), number)));
            *place = Some(state);
        }
    }

    /// Takes one in, where there is one.
    pub(super) fn extend(&mut self, state: Option<State>) {
        if let Some(state) = state {
            self.queue.push(Reverse((state.weight(), self.states.len())));
            self.states.push(Some(state));
        }
    }

    /// Whether a set was not seen yet.
    pub(super) fn is_new(&mut self, state: &State) -> bool {
        self.seen.insert(state.key())
    }
}
