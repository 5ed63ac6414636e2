//! Pieces of chains: which packets leave where, and how neighbours are put together.

use std::collections::HashSet;

use oxidd::bdd::BDDFunction;

use crate::space::{Field, Space};

/// How a packet leaves a piece of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// By an end of the base chain.
    End(usize),
    /// It has to walk.
    Open(usize),
    /// Back to where the chain was called.
    Return,
}

/// The fields of which rules mostly ask for one value.
const KEYS: [Field; 3] = [Field::Source, Field::Destination, Field::DestinationPort];

/// The one value that all packets of a set have in a field, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key([Option<u128>; KEYS.len()]);

impl Key {
    /// All packets have this value in a field.
    pub(super) fn set(&mut self, field: Field, value: u128) {
        let known = KEYS.iter().zip(&mut self.0).find(|(key, _)| **key == field);
        if let Some((_, own)) = known {
            *own = Some(value);
        }
    }

    /// The packets that are in a set of this key, too.
    fn within(self, other: Self) -> Self {
        let [mut own, others] = [self.0, other.0];
        own.iter_mut().zip(others).for_each(|(own, other)| *own = own.or(other));
        Self(own)
    }

    /// What packets of either set have.
    fn either(self, other: Self) -> Self {
        let [mut own, others] = [self.0, other.0];
        own.iter_mut().zip(others).for_each(|(own, other)| *own = own.filter(|_| *own == other));
        Self(own)
    }
}

/// The values that the packets of a set have in each of the keys; `None` where they may have any.
struct Values([Option<HashSet<u128>>; KEYS.len()]);

impl Values {
    fn of(exits: &[Left]) -> Self {
        Self(std::array::from_fn(|at| {
            let values = exits.iter().map(|left| left.key.0.get(at).copied().flatten());
            values.collect()
        }))
    }

    /// Whether no packet of a key is among them.
    fn exclude(&self, key: Key) -> bool {
        let mut both = self.0.iter().zip(key.0);
        both.any(|(own, value)| match (own, value) {
            (Some(own), Some(value)) => !own.contains(&value),
            _ => false,
        })
    }

    fn add(&mut self, other: Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = match (own.take(), other) {
                (Some(mut one), Some(mut other)) => {
                    if one.len() < other.len() {
                        std::mem::swap(&mut one, &mut other);
                    }
                    one.extend(other);
                    Some(one)
                }
                _ => None,
            };
        }
    }
}

/// Packets that leave a piece.
#[derive(Clone)]
pub(super) struct Left {
    pub(super) by: Exit,
    pub(super) packets: BDDFunction,
    key: Key,
}

/// A piece of a chain: the packets that it decides about.
pub(super) struct Piece {
    pub(super) exits: Vec<Left>,
    pub(super) any: BDDFunction,
}

impl Piece {
    pub(super) fn of(by: Exit, (packets, key): (&BDDFunction, Key)) -> Self {
        let left = Left { by, packets: packets.clone(), key };
        Self { exits: vec![left], any: packets.clone() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.exits.iter().any(|left| matches!(left.by, Exit::Open(_)))
    }

    /// Takes what returns out of the piece.
    pub(super) fn without_returns(mut self, space: &Space) -> Self {
        let before = self.exits.len();
        self.exits.retain(|left| left.by != Exit::Return);
        if self.exits.len() < before {
            self.any = space.union(self.exits.iter().map(|left| left.packets.clone()).collect());
        }
        self
    }

    /// Lets what gets through a piece return from it: all of these packets leave.
    pub(super) fn all_returning(mut self, space: &Space, all: &BDDFunction) -> Self {
        let packets = space.minus(all, &self.any);
        self.exits.push(Left { by: Exit::Return, packets, key: Key::default() });
        Self { exits: self.exits, any: all.clone() }
    }

    /// The piece for packets of a key alone.
    pub(super) fn within(mut self, key: Key) -> Self {
        self.exits.iter_mut().for_each(|left| left.key = left.key.within(key));
        self
    }

    /// Pieces one behind the other: what one decides about, the later ones don't see.
    pub(super) fn together(space: &Space, pieces: Vec<Self>) -> Self {
        let valued = |piece: Self| {
            let values = Values::of(&piece.exits);
            (piece, values)
        };
        let mut pieces: Vec<(Self, Values)> = pieces.into_iter().map(valued).collect();
        while pieces.len() > 1 {
            let mut paired = Vec::with_capacity(pieces.len().div_ceil(2));
            let mut all = pieces.into_iter();
            while let Some((mut first, mut values)) = all.next() {
                if let Some((second, others)) = all.next() {
                    first.take(space, &values, second);
                    values.add(others);
                }
                paired.push((first, values));
            }
            pieces = paired;
        }
        let all = pieces.pop().map(|(piece, _)| piece);
        all.unwrap_or_else(|| Self { exits: Vec::new(), any: space.nothing() })
    }

    /// Takes the next piece, of which only packets are left that none of this one's is.
    fn take(&mut self, space: &Space, values: &Values, next: Self) {
        for mut left in next.exits {
            if !values.exclude(left.key) {
                left.packets = space.minus(&left.packets, &self.any);
            }
            // No two rules are open alike.
            let known = match left.by {
                Exit::Open(_) => None,
                by => self.exits.iter_mut().find(|own| own.by == by),
            };
            match known {
                Some(own) => {
                    own.packets = space.or(&own.packets, &left.packets);
                    own.key = own.key.either(left.key);
                }
                None => self.exits.push(left),
            }
        }
        self.any = space.or(&self.any, &next.any);
    }
}
