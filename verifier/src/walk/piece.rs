//! Pieces of chains: which packets leave where, and how neighbours are put together.

use std::collections::HashSet;

use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::space::{Field, Space};

/// How a packet leaves a piece of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exit {
    /// By an end of the base chain.
    End(usize),
    /// It has to walk.
    Open(usize),
    /// A rule may match it, and where that does not another thing is sure.
    Fork(usize),
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

    /// Whether nothing is of both keys.
    fn excludes(self, other: Self) -> bool {
        let mut both = self.0.iter().zip(other.0);
        both.any(|(own, other)| matches!((own, other), (Some(own), Some(other)) if *own != other))
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
    fn of(piece: &Piece) -> Self {
        let keys = piece.exits.iter().map(|left| left.key);
        let keys: Vec<Key> = keys.chain(piece.pending.iter().map(|own| own.key)).collect();
        Self(std::array::from_fn(|at| {
            keys.iter().map(|key| key.0.get(at).copied().flatten()).collect()
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
    /// The rule of the chain by which they leave it.
    rule: u32,
}

/// Packets of which nobody can say whether a rule matches them, and what comes if it does not is
/// not known yet.
#[derive(Clone)]
struct Pending {
    /// What the rule does with them.
    target: Exit,
    packets: BDDFunction,
    key: Key,
    rule: u32,
}

/// What becomes of pending packets where their rule does not match.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// They leave.
    Leaves(Exit),
    /// They come to a rule of the chain.
    Meets(u32),
    /// They come to the end of the chain.
    Falls,
}

/// What gives a number to a way out for packets that a rule may match: what that does, and what
/// comes where it does not.
pub(super) type Forks<'f> = dyn FnMut(Exit, Otherwise) -> Exit + 'f;

/// A piece of a chain: the packets that it decides about.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) exits: Vec<Left>,
    pub(super) any: BDDFunction,
    pending: Vec<Pending>,
}

impl Piece {
    pub(super) fn of(by: Exit, (packets, key): (&BDDFunction, Key)) -> Self {
        let left = Left { by, packets: packets.clone(), key, rule: 0 };
        Self { exits: vec![left], any: packets.clone(), pending: Vec::new() }
    }

    /// Packets that a rule may match.
    pub(super) fn perhaps(space: &Space, target: Exit, (packets, key): (BDDFunction, Key)) -> Self {
        let pending = vec![Pending { target, packets, key, rule: 0 }];
        Self { exits: Vec::new(), any: space.nothing(), pending }
    }

    /// The piece as that of a rule.
    pub(super) fn of_rule(mut self, rule: u32) -> Self {
        self.exits.iter_mut().for_each(|left| left.rule = rule);
        self.pending.iter_mut().for_each(|own| own.rule = rule);
        self
    }

    /// The piece of a whole chain: what is still pending falls out of it.
    pub(super) fn settled(mut self, space: &Space, forks: &mut Forks<'_>) -> Self {
        for Pending { target, packets, key, rule } in std::mem::take(&mut self.pending) {
            if packets.satisfiable() {
                self.any = space.or(&self.any, &packets);
                let by = forks(target, Otherwise::Falls);
                self.put(space, Left { by, packets, key, rule });
            }
        }
        self
    }

    /// The piece with other numbers for its exits.
    pub(super) fn renumbered(mut self, number: impl Fn(Exit) -> Exit) -> Self {
        self.exits.iter_mut().for_each(|left| left.by = number(left.by));
        self.pending.iter_mut().for_each(|own| own.target = number(own.target));
        self
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
        self.exits.push(Left { by: Exit::Return, packets, key: Key::default(), rule: 0 });
        Self { any: all.clone(), ..self }
    }

    /// The piece for packets of a key alone.
    pub(super) fn within(mut self, key: Key) -> Self {
        self.exits.iter_mut().for_each(|left| left.key = left.key.within(key));
        self
    }

    /// Pieces one behind the other: what one decides about, the later ones don't see.
    pub(super) fn together(space: &Space, pieces: Vec<Self>, forks: &mut Forks<'_>) -> Self {
        let valued = |piece: Self| {
            let values = Values::of(&piece);
            (piece, values)
        };
        let mut pieces: Vec<(Self, Values)> = pieces.into_iter().map(valued).collect();
        while pieces.len() > 1 {
            let mut paired = Vec::with_capacity(pieces.len().div_ceil(2));
            let mut all = pieces.into_iter();
            while let Some((mut first, mut values)) = all.next() {
                if let Some((second, others)) = all.next() {
                    first.take(space, &values, (second, &others), forks);
                    values.add(others);
                }
                paired.push((first, values));
            }
            pieces = paired;
        }
        let all = pieces.pop().map(|(piece, _)| piece);
        let none = || Self { exits: Vec::new(), any: space.nothing(), pending: Vec::new() };
        all.unwrap_or_else(none)
    }

    /// Takes the next piece, of which only packets are left that none of this one's is.
    fn take(
        &mut self,
        space: &Space,
        values: &Values,
        (next, others): (Self, &Values),
        forks: &mut Forks<'_>,
    ) {
        let mut waiting: Vec<Pending> = Vec::new();
        let mut gone = vec![next.any];
        waiting.extend(self.pending.extract_if(.., |own| !others.exclude(own.key)));
        for mut left in next.exits {
            if !values.exclude(left.key) {
                left.packets = space.minus(&left.packets, &self.any);
                let otherwise = match left.by {
                    Exit::Fork(_) => Otherwise::Meets(left.rule),
                    by => Otherwise::Leaves(by),
                };
                let rest = (left.packets, left.key);
                left.packets = self.fork(space, &mut waiting, rest, otherwise, forks);
            }
            self.put(space, left);
        }
        for mut own in next.pending {
            if !values.exclude(own.key) {
                own.packets = space.minus(&own.packets, &self.any);
                let before = own.packets.clone();
                let (rest, otherwise) = ((own.packets, own.key), Otherwise::Meets(own.rule));
                own.packets = self.fork(space, &mut waiting, rest, otherwise, forks);
                gone.push(space.minus(&before, &own.packets));
            }
            if own.packets.satisfiable() {
                self.pending.push(own);
            }
        }
        self.pending.extend(waiting.into_iter().filter(|own| own.packets.satisfiable()));
        gone.push(self.any.clone());
        self.any = space.union(gone);
    }

    /// What is left of packets without those that are pending.
    fn fork(
        &mut self,
        space: &Space,
        waiting: &mut [Pending],
        (mut packets, key): (BDDFunction, Key),
        otherwise: Otherwise,
        forks: &mut Forks<'_>,
    ) -> BDDFunction {
        for own in waiting.iter_mut().filter(|own| !own.key.excludes(key)) {
            let both = space.and(&own.packets, &packets);
            if both.satisfiable() {
                own.packets = space.minus(&own.packets, &both);
                packets = space.minus(&packets, &both);
                let by = forks(own.target, otherwise);
                self.put(space, Left { by, packets: both, key: own.key, rule: own.rule });
            }
        }
        packets
    }

    fn put(&mut self, space: &Space, left: Left) {
        // No two rules are open alike.
        let known = match left.by {
            Exit::Open(_) => None,
            by => self.exits.iter_mut().find(|own| own.by == by),
        };
        match known {
            Some(own) => {
                own.packets = space.or(&own.packets, &left.packets);
                own.key = own.key.either(left.key);
                own.rule = own.rule.min(left.rule);
            }
            None => self.exits.push(left),
        }
    }
}
