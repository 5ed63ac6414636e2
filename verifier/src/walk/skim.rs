//! The simulator in a hurry: rules of long chains that surely don't match are passed over.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::answer::Answer;
use nattrace_model::condition::Condition;
use nattrace_model::flow::Flow;
use nattrace_model::packet::Packet;
use nattrace_model::ruleset::{ChainId, RuleId, Ruleset};
use nattrace_model::simulate::{Foresight, Mapped, Stand, View, Witness, witnessed};
use nattrace_model::target::TargetMap;
use nattrace_parser::syntax::Family;

use super::index::Known;
use super::world::{Landscape, World};

/// From so many rules on it is worth the while.
const MANY: usize = if cfg!(test) { 1 } else { 64 };

/// What becomes of a packet: the answer of the simulator's `why`.
pub(crate) fn why(system: &System, world: &World, flow: &Flow) -> Answer {
    let land = world.landscape(system, Family::of(flow.destination));
    witnessed(system, flow, Box::new(Skim { land, last: None })).0
}

/// A witness who is not curious, and knows which rules may match.
struct Skim {
    land: Arc<Landscape>,
    last: Option<Candidates>,
}

/// The rules of a chain that may match a packet.
struct Candidates {
    chain: ChainId,
    known: Known,
    out: String,
    rules: Vec<u32>,
}

impl fmt::Debug for Skim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skim").finish_non_exhaustive()
    }
}

impl Skim {
    /// The rules of a chain that may match a packet, in order.
    fn candidates(&mut self, view: &View<'_>, rules: &Ruleset, chain: ChainId) -> &[u32] {
        let (known, out) = (Known::all(view), view.out_interface());
        let last = self
            .last
            .take()
            .filter(|last| last.chain == chain && last.known == known && last.out == out);
        let found = last.unwrap_or_else(|| {
            let all = rules.chain(chain).map_or(&[][..], |chain| &chain.rules);
            let rules = self.land.index(chain, all).candidates(view, &known);
            Candidates { chain, known, out: out.to_owned(), rules }
        });
        &self.last.insert(found).rules
    }
}

impl Witness for Skim {
    fn foresee(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        _base: ChainId,
        from: &Stand,
    ) -> Foresight {
        let RuleId { chain, index } = from.next;
        let many = rules.chain(chain).map_or(0, |chain| chain.rules.len());
        if many < MANY {
            return Foresight::From(from.clone());
        }
        let candidates = self.candidates(view, rules, chain);
        let at = candidates.partition_point(|candidate| *candidate < index);
        let end = u32::try_from(many).unwrap_or(u32::MAX);
        let next = RuleId { chain, index: candidates.get(at).copied().unwrap_or(end) };
        Foresight::From(Stand { callers: from.callers.clone(), next })
    }

    fn weighed(&mut self, _view: &View<'_>, _conditions: &[Condition]) {}

    fn looked_up(&mut self, _view: &View<'_>, _map: &TargetMap) {}

    fn mapped(&mut self, _mapped: &Mapped<'_>) {}

    fn drawn(&mut self, _port: u16) {}

    fn claimed(&mut self, _port: u16, _range: Option<(u16, u16)>) {}

    fn unfollowed(&mut self, _why: &'static str) {}

    fn received(&mut self, _packet: &Packet) {}

    fn pace(&self) -> usize {
        1
    }

    fn watches_refused(&self) -> bool {
        true
    }
}
