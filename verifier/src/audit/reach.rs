//! Which rules some packet gets to, and what takes the packets of the others.
//!
//! A rule is reached if from some hook on a packet passes every rule before it, and before each
//! rule that calls its chain. One packet after the other is tried: what takes it takes others too,
//! and these are left out, until one gets through or none is left. What a header does not tell (a
//! set, an address's type) either holds or does not, whatever the header is; so there may be more
//! packets than there really are, and no rule is said not to be reached that is. Behind a rule that
//! nobody knows the workings of, only what asks for nothing surely takes a packet.

mod asked;
mod changed;
mod ranges;
#[cfg(test)]
mod tests;
mod way;

use std::collections::HashMap;

use nattrace_model::System;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_parser::syntax::Family;

use asked::{Dimension, Dimensions};
use changed::Changes;
use ranges::{Cube, Point, Product, Ranges, without};
use way::{Chains, Terms, Walked, Way};

/// How many packets are tried for a rule.
const MOST_TRIES: usize = 4_000;
/// Of how many rules it is looked at which of them are needed.
const MOST_WEIGHED: usize = 24;
/// In how many ways a chain may be called.
const MOST_CALLS: usize = 256;

/// Whether packets get to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// One does, or nobody can say that none does.
    Yes(Option<Seen>),
    /// None does: these rules take what it could match.
    TakenBy(Vec<RuleId>),
    /// No rule that a packet gets to leads to its chain with such packets.
    NotCalled,
}

/// A packet, as far as rules look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) hook: Hook,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) protocol: u8,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) in_interface: Option<String>,
}

/// The rules of a host, to be asked which of them packets get to.
pub(super) struct Reach<'s> {
    system: &'s System,
    chains: Chains<'s>,
    dimensions: [Dimensions; 2],
    callers: HashMap<ChainId, Vec<RuleId>>,
    changes: Changes,
}

/// A way to a rule: the base chain's hook, the rules that call, and the rule itself.
struct Path {
    hook: Hook,
    stops: Vec<RuleId>,
}

impl<'s> Reach<'s> {
    pub(super) fn new(system: &'s System) -> Self {
        let dimensions = [Family::Ipv4, Family::Ipv6].map(|family| Dimensions::of(system, family));
        let mut callers: HashMap<ChainId, Vec<RuleId>> = HashMap::new();
        let mut walked = HashMap::new();
        for (chain, own) in (0u32..).map(ChainId).zip(&system.rules.chains) {
            for (index, rule) in (0u32..).zip(&own.rules) {
                let id = RuleId { chain, index };
                rule.target.calls(&mut |called, _| callers.entry(called).or_default().push(id));
            }
            let [v4, v6] = &dimensions;
            let dimensions = if own.family == Family::Ipv4 { v4 } else { v6 };
            let asked = own.rules.iter().map(|rule| dimensions.asked(rule)).collect();
            walked.insert(chain, Walked::of(asked, &own.rules));
        }
        let chains = Chains { rules: &system.rules, walked };
        let changes = Changes::of(&system.rules, &dimensions);
        Self { system, chains, dimensions, callers, changes }
    }

    fn dimensions(&self, chain: ChainId) -> &Dimensions {
        let [v4, v6] = &self.dimensions;
        let family = self.system.rules.chain(chain).map(|chain| chain.family);
        if family == Some(Family::Ipv6) { v6 } else { v4 }
    }

    /// The rules that call a chain.
    pub(super) fn callers(&self, chain: ChainId) -> &[RuleId] {
        self.callers.get(&chain).map_or(&[], Vec::as_slice)
    }

    /// Whether packets get to a rule.
    pub(super) fn of(&self, id: RuleId) -> Reached {
        let Some(paths) = self.paths(id) else { return Reached::Yes(None) };
        let mut by: Vec<RuleId> = Vec::new();
        let mut tries = MOST_TRIES;
        for path in &paths {
            match self.by_path(path, None, &mut tries) {
                Ok(taken) => by.extend(taken),
                Err(seen) => return Reached::Yes(seen),
            }
        }
        by.sort_unstable();
        by.dedup();
        if by.is_empty() { Reached::NotCalled } else { Reached::TakenBy(self.fewest(&paths, by)) }
    }

    /// One of some rules that takes everything alone, or those that it takes together.
    fn fewest(&self, paths: &[Path], by: Vec<RuleId>) -> Vec<RuleId> {
        if by.len() < 2 || by.len() > MOST_WEIGHED {
            return by;
        }
        let suffice = |some: &[RuleId]| {
            let mut tries = MOST_TRIES / 10;
            paths.iter().all(|path| self.by_path(path, Some(some), &mut tries).is_ok())
        };
        // The nearest one tells most.
        if let Some(one) = by.iter().rev().find(|one| suffice(&[**one])) {
            return vec![*one];
        }
        let mut kept = by;
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.remove(at);
            if suffice(&fewer) {
                kept = fewer;
            } else {
                at += 1;
            }
        }
        kept
    }

    /// The ways to a rule; none where there are too many of them.
    fn paths(&self, id: RuleId) -> Option<Vec<Path>> {
        let mut found = Vec::new();
        let mut open = vec![vec![id]];
        while let Some(stops) = open.pop() {
            let first = stops.first()?.chain;
            if let Some(base) = self.system.rules.chain(first)?.base {
                found.push(Path { hook: base.hook, stops: stops.clone() });
            }
            for caller in self.callers(first) {
                if stops.iter().all(|stop| stop.chain != caller.chain) {
                    open.push([&[*caller], stops.as_slice()].concat());
                }
            }
            if found.len() + open.len() > MOST_CALLS {
                return None;
            }
        }
        Some(found)
    }

    /// What takes the packets of a path, or one that gets through: `None` where nobody knows.
    fn by_path(
        &self,
        path: &Path,
        only: Option<&[RuleId]>,
        tries: &mut usize,
    ) -> Result<Vec<RuleId>, Option<Seen>> {
        let Some(base) = path.stops.first() else { return Ok(Vec::new()) };
        let dimensions = self.dimensions(base.chain);
        let loose = self.changes.before(&self.system.rules, dimensions, &path.stops);
        let everything = self.at_hook(dimensions, path.hook);
        let whole: Cube = everything
            .iter()
            .map(|ranges| (ranges.first().unwrap_or(0), ranges.last().unwrap_or(0)))
            .collect();
        let mut wanted = everything;
        for stop in &path.stops {
            let asked = self.chains.walked.get(&stop.chain).and_then(|own| own.asked(stop.index));
            for (dimension, ranges) in asked.into_iter().flat_map(|asked| &asked.of) {
                if let Some(own) = wanted.get_mut(*dimension).filter(|_| !loose.contains(dimension))
                {
                    *own = own.intersection(ranges);
                }
            }
        }
        let terms = Terms { loose: &loose, whole: &whole, only };
        let mut by = Vec::new();
        let mut open = vec![wanted];
        while let Some(product) = open.pop() {
            if product.iter().any(Ranges::is_empty) {
                continue;
            }
            *tries = tries.checked_sub(1).ok_or(None)?;
            let mut met = None;
            for point in points(&product) {
                let taken = path.stops.iter().find_map(|stop| {
                    match self.chains.way(*stop, &point, &terms) {
                        Way::Through => None,
                        Way::Taken(rule, cube) => Some((rule, cube)),
                    }
                });
                let Some(taken) = taken else { return Err(Some(seen(dimensions, path, &point))) };
                met.get_or_insert(taken);
            }
            let Some((rule, cube)) = met else { continue };
            if !by.contains(&rule) {
                by.push(rule);
            }
            open.extend(without(&product, &cube));
        }
        Ok(by)
    }

    /// All packets at a hook.
    fn at_hook(&self, dimensions: &Dimensions, hook: Hook) -> Product {
        let mut all = dimensions.everything();
        let (comes, leaves) = match hook {
            Hook::Prerouting | Hook::Input => (Some(true), Some(false)),
            Hook::Forward => (Some(true), Some(true)),
            Hook::Output => (Some(false), Some(true)),
            Hook::Postrouting => (None, Some(true)),
        };
        let mut set = |dimension: Dimension, present: Option<bool>| {
            if let (Some(own), Some(present)) = (all.get_mut(dimension), present) {
                *own = dimensions.interfaces(present);
            }
        };
        set(asked::IN_INTERFACE, comes);
        set(asked::OUT_INTERFACE, leaves);
        all
    }
}

/// Packets of a product that are worth trying: its ends.
fn points(product: &Product) -> Vec<Point> {
    let first: Point = product.iter().filter_map(Ranges::first).collect();
    // Facts hold as rarely as can be, and packets are otherwise plain ones.
    let last: Point = product
        .iter()
        .enumerate()
        .filter_map(
            |(at, ranges)| if at < asked::IN_INTERFACE { ranges.last() } else { ranges.first() },
        )
        .collect();
    if first == last { vec![first] } else { vec![first, last] }
}

fn seen(dimensions: &Dimensions, path: &Path, point: &Point) -> Seen {
    let of = |dimension: Dimension| point.get(dimension).copied().unwrap_or(0);
    let port = |dimension: Dimension| u16::try_from(of(dimension)).unwrap_or(0);
    let interface = dimensions.interface(of(asked::IN_INTERFACE)).filter(|name| !name.is_empty());
    Seen {
        hook: path.hook,
        source: of(asked::SOURCE),
        destination: of(asked::DESTINATION),
        protocol: u8::try_from(of(asked::PROTOCOL)).unwrap_or(0),
        source_port: port(asked::SOURCE_PORT),
        destination_port: port(asked::DESTINATION_PORT),
        in_interface: interface.map(str::to_owned),
    }
}
