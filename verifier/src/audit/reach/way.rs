//! The way of one packet through chains, and which others surely go the same way.

use std::collections::HashMap;

use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_model::target::{Action, Target};

use super::asked::{Asked, DESTINATION, DESTINATION_PORT, Dimension, SOURCE, SOURCE_PORT};
use super::ranges::{Cube, Ranges};

/// How deep chains may nest.
const DEEPEST: usize = 24;

/// A chain, with what its rules ask.
pub(super) struct Walked {
    asked: Vec<Asked>,
    index: Index,
    /// The rules by which packets may leave the chain alive.
    escapes: Vec<u32>,
}

/// Rules by the one thing that they ask and fewest packets have.
#[derive(Default)]
struct Index {
    /// A dimension, how many bits of it are free, and the others.
    of: HashMap<(Dimension, u32, u128), Vec<u32>>,
    kinds: Vec<(Dimension, u32)>,
    others: Vec<u32>,
}

/// What becomes of a packet in a chain.
pub(super) enum Way {
    /// It gets through, as far as anybody can say.
    Through,
    /// A rule takes it; and so it, or one before, takes all of a cube.
    Taken(RuleId, Cube),
}

/// The chains of a ruleset.
pub(super) struct Chains<'s> {
    pub(super) rules: &'s Ruleset,
    pub(super) walked: HashMap<ChainId, Walked>,
}

/// How packets go: which dimensions may change under way.
pub(super) struct Terms<'t> {
    pub(super) loose: &'t [Dimension],
    /// All packets.
    pub(super) whole: &'t Cube,
    /// The only rules that are looked at, where it is not about all.
    pub(super) only: Option<&'t [RuleId]>,
}

impl Walked {
    pub(super) fn of(asked: Vec<Asked>, rules: &[nattrace_model::ruleset::Rule]) -> Self {
        let mut index = Index::default();
        for (at, one) in (0u32..).zip(&asked) {
            index.add(one, at);
        }
        let escapes = (0u32..).zip(rules).filter(|(_, rule)| may_leave(&rule.target));
        let escapes = escapes.map(|(at, _)| at).collect();
        Self { asked, index, escapes }
    }

    pub(super) fn asked(&self, index: u32) -> Option<&Asked> {
        self.asked.get(index as usize)
    }
}

/// Whether a packet may leave its chain alive by a target.
fn may_leave(target: &Target) -> bool {
    match target {
        Target::Return | Target::Goto(_) | Target::Unsupported(_) => true,
        Target::Sequence(actions) => {
            actions.iter().any(|action| matches!(action, Action::Do(target) if may_leave(target)))
        }
        Target::Map(map) => {
            let entries = map.entries.iter().map(|entry| &entry.target);
            entries.chain(map.otherwise.as_ref()).any(may_leave)
        }
        _ => false,
    }
}

impl Index {
    fn add(&mut self, asked: &Asked, rule: u32) {
        let mut best: Option<(u32, (Dimension, u32, u128))> = None;
        for (dimension, ranges) in &asked.of {
            let [(first, last)] = ranges.as_slice() else { continue };
            let width = match *dimension {
                SOURCE | DESTINATION => {
                    if *last > u128::from(u32::MAX) {
                        128
                    } else {
                        32
                    }
                }
                SOURCE_PORT | DESTINATION_PORT => 16,
                _ => continue,
            };
            let size = last - first;
            let free = 128 - size.leading_zeros();
            let is_block = size & size.wrapping_add(1) == 0 && first & size == 0;
            let told = width - free.min(width);
            if is_block && told >= 4 && best.is_none_or(|(known, _)| told > known) {
                best = Some((told, (*dimension, free, first.checked_shr(free).unwrap_or(0))));
            }
        }
        let Some((_, key)) = best else { return self.others.push(rule) };
        if !self.kinds.contains(&(key.0, key.1)) {
            self.kinds.push((key.0, key.1));
        }
        self.of.entry(key).or_default().push(rule);
    }

    /// The rules before some place that may match a packet, in order.
    fn candidates(&self, point: &[u128], before: u32) -> Vec<u32> {
        let of_kind = |(dimension, free): &(Dimension, u32)| {
            let value = point.get(*dimension).copied().unwrap_or(0).checked_shr(*free);
            self.of.get(&(*dimension, *free, value.unwrap_or(0)))
        };
        let found = self.kinds.iter().filter_map(of_kind).flatten().chain(&self.others);
        let mut found: Vec<u32> = found.copied().filter(|rule| *rule < before).collect();
        found.sort_unstable();
        found
    }
}

impl Chains<'_> {
    /// Whether a packet gets to a place in a chain, from its beginning.
    pub(super) fn way(&self, id: RuleId, point: &[u128], terms: &Terms<'_>) -> Way {
        let Some(walked) = self.walked.get(&id.chain) else { return Way::Through };
        for index in walked.index.candidates(point, id.index) {
            let here = RuleId { chain: id.chain, index };
            if terms.only.is_some_and(|only| !only.contains(&here)) {
                continue;
            }
            let (Some(rule), Some(asked)) = (self.rules.rule(here), walked.asked(index)) else {
                continue;
            };
            if !matches_surely(asked, point, terms) {
                continue;
            }
            match &rule.target {
                Target::Unsupported(_) => {}
                Target::Return | Target::Goto(_) => return taken(here, asked, point, terms),
                target if target.ends() => return taken(here, asked, point, terms),
                Target::Jump(called) => {
                    if let Some(cube) = self.ended(*called, point, terms, 0) {
                        return Way::Taken(here, within(cube, asked, point));
                    }
                }
                _ => {}
            }
        }
        Way::Through
    }

    /// Packets like this one that surely don't come back from a chain; none where it may.
    fn ended(
        &self,
        chain: ChainId,
        point: &[u128],
        terms: &Terms<'_>,
        depth: usize,
    ) -> Option<Cube> {
        let walked = self.walked.get(&chain).filter(|_| depth < DEEPEST)?;
        let rules = &self.rules.chain(chain)?.rules;
        for index in walked.index.candidates(point, u32::MAX) {
            let (rule, asked) = (rules.get(index as usize)?, walked.asked(index)?);
            if !matches_surely(asked, point, terms) {
                continue;
            }
            let cube = match &rule.target {
                Target::Unsupported(_) => None,
                Target::Return => return None,
                Target::Goto(to) => Some(self.ended(*to, point, terms, depth + 1)?),
                target if target.ends() => Some(terms.whole.clone()),
                Target::Jump(to) => self.ended(*to, point, terms, depth + 1),
                _ => None,
            };
            if let Some(cube) = cube {
                let cube = within(cube, asked, point);
                return walked.without_escapes(index, cube, point, terms);
            }
        }
        None
    }
}

impl Walked {
    /// The packets of a cube that no rule before some place lets escape; none where the packet
    /// itself may.
    fn without_escapes(
        &self,
        before: u32,
        mut cube: Cube,
        point: &[u128],
        terms: &Terms<'_>,
    ) -> Option<Cube> {
        for index in self.escapes.iter().take_while(|index| **index < before) {
            let asked = self.asked(*index)?;
            // The dimension in which most of the packets around are none of the rule's.
            let gap = |(dimension, ranges): &(Dimension, Ranges)| {
                let (value, own) = (*point.get(*dimension)?, *cube.get(*dimension)?);
                if terms.loose.contains(dimension) || ranges.around(value).is_some() {
                    return None;
                }
                let gap = ranges.complement(u128::MAX).around(value)?;
                let gap = (gap.0.max(own.0), gap.1.min(own.1));
                let lost = (own.1 - own.0) - (gap.1 - gap.0);
                Some((lost.checked_ilog2(), *dimension, gap))
            };
            let (_, dimension, gap) = asked.of.iter().filter_map(gap).min_by_key(|gap| gap.0)?;
            *cube.get_mut(dimension)? = gap;
        }
        Some(cube)
    }
}

/// Whether a rule matches a packet whatever happened to it under way.
fn matches_surely(asked: &Asked, point: &[u128], terms: &Terms<'_>) -> bool {
    let firm = |(dimension, _): &(Dimension, Ranges)| !terms.loose.contains(dimension);
    asked.surely && asked.matches(point) && asked.of.iter().all(firm)
}

fn taken(rule: RuleId, asked: &Asked, point: &[u128], terms: &Terms<'_>) -> Way {
    Way::Taken(rule, within(terms.whole.clone(), asked, point))
}

/// The part of a cube around a packet that a rule asks for.
fn within(mut cube: Cube, asked: &Asked, point: &[u128]) -> Cube {
    for (dimension, ranges) in &asked.of {
        let around = point.get(*dimension).and_then(|value| ranges.around(*value));
        if let (Some(own), Some((first, last))) = (cube.get_mut(*dimension), around) {
            *own = (own.0.max(first), own.1.min(last));
        }
    }
    cube
}
