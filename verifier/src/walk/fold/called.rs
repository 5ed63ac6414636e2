//! Chains that others call, folded once for all packets wherever these leave.
//!
//! A base chain is folded anew for each pair of interfaces. Most of what it calls never asks where
//! packets leave: that is the same piece each time, but for the numbers of its ways out.

use std::collections::HashMap;
use std::rc::Rc;

use nattrace_model::ruleset::{ChainId, Ruleset};
use oxidd::bdd::BDDFunction;

use super::forks::Then;
use super::{Exits, Matter, SHORT};
use crate::walk::context::Context;
use crate::walk::piece::{Exit, Piece};
use crate::walk::region::Region;

/// The chains that were folded.
#[derive(Default)]
pub(crate) struct Called {
    known: HashMap<Key, Rc<Part>>,
}

/// What a chain that is called was folded for.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// But for where packets leave.
    context: Context,
    chain: ChainId,
    callers: Vec<(ChainId, u32)>,
    packets: BDDFunction,
}

/// A chain with its own ways out.
struct Part {
    piece: Piece,
    exits: Exits,
}

impl Region {
    /// The packets that a chain decides about which another one calls.
    pub(super) fn called(
        &mut self,
        matter: &mut Matter<'_, '_, '_>,
        chain: ChainId,
        packets: &BDDFunction,
    ) -> Option<Piece> {
        let ground = Rc::clone(&self.ground);
        let long = matter.rules.chain(chain).is_some_and(|own| own.rules.len() > SHORT);
        let context = matter.context.clone().filter(|_| long);
        let Some(context) = context.filter(|_| !ground.land.asks_out(matter.rules, chain)) else {
            return self.piece(matter, (chain, 0), packets);
        };
        let (callers, packets) = (matter.callers.clone(), packets.clone());
        let key = Key { context, chain, callers, packets };
        let known = ground.called.borrow().known.get(&key).cloned();
        if let Some(part) = known {
            return matter.exits.take(matter.rules, &part);
        }
        let outer = std::mem::take(&mut matter.exits);
        let piece = self.piece(matter, (chain, 0), &key.packets);
        let exits = std::mem::replace(&mut matter.exits, outer);
        let part = Rc::new(Part { piece: piece?, exits });
        // What looked at more of the packet than the context says is of that packet alone.
        if !self.touched {
            ground.called.borrow_mut().known.insert(key, Rc::clone(&part));
        }
        matter.exits.take(matter.rules, &part)
    }
}

impl Exits {
    /// Takes the ways out of a chain, which get numbers of these.
    fn take(&mut self, rules: &Ruleset, part: &Part) -> Option<Piece> {
        let ends = part.exits.ends.iter();
        let ends: Option<Vec<usize>> =
            ends.map(|id| Some(self.end(&rules.rule(*id)?.target, *id))).collect();
        let ends = ends?;
        let opened = self.open.len();
        self.open.extend(part.exits.open.iter().cloned());
        let end = |at: usize| ends.get(at).copied().unwrap_or(usize::MAX);
        let then = |then: &Then| match then {
            Then::Ends(at) => Then::Ends(end(*at)),
            other => other.clone(),
        };
        let mut all: Vec<(&(Then, Then), usize)> =
            part.exits.known_forks.iter().map(|(key, at)| (key, *at)).collect();
        all.sort_unstable_by_key(|(_, at)| *at);
        let forks: Vec<usize> = all
            .into_iter()
            .map(|((target, otherwise), _)| self.fork((then(target), then(otherwise))))
            .collect();
        Some(part.piece.clone().renumbered(|exit| match exit {
            Exit::End(at) => Exit::End(end(at)),
            Exit::Open(at) => Exit::Open(opened + at),
            Exit::Fork(at) => Exit::Fork(forks.get(at).copied().unwrap_or(usize::MAX)),
            Exit::Return => Exit::Return,
        }))
    }
}
