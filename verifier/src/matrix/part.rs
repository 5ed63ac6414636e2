//! Which packets of a cell a part is, in terms of addresses and ports.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use nattrace_model::address::Prefix;
use nattrace_parser::syntax::Family;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::header::address;
use crate::packets::PacketSet;
use crate::policy::Where;
use crate::space::{Field, Space};

/// How many prefixes or ranges of ports are named.
const MOST_NAMED: usize = 8;

/// What tells the packets of a part from the others of its cell. Each of them has a value of each
/// list; not every packet that has is one of them where several lists are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Where they start, where that tells.
    pub starts: Option<Vec<Where>>,
    /// Their sources, where they tell.
    pub sources: Option<Share<Prefix>>,
    /// Their destinations, where they tell.
    pub destinations: Option<Share<Prefix>>,
    /// Their source ports, where they tell.
    pub source_ports: Option<Share<(u16, u16)>>,
    /// Their destination ports, where they tell.
    pub ports: Option<Share<(u16, u16)>>,
}

/// Some values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<T> {
    /// The first of them.
    pub named: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

/// The variables that are forgotten again and again.
#[derive(Default)]
pub(super) struct Cubes {
    others: RefCell<BTreeMap<Field, BDDFunction>>,
}

impl Cubes {
    /// All variables but those of a field.
    fn others(&self, field: Field, space: &Space) -> BDDFunction {
        let mut known = self.others.borrow_mut();
        known.entry(field).or_insert_with(|| space.variables_but(&[field])).clone()
    }
}

/// What starts in one place: the part, and the whole cell.
pub(super) struct Piece<'a> {
    pub(super) at: &'a Where,
    pub(super) part: Option<&'a PacketSet>,
    pub(super) whole: &'a PacketSet,
}

impl Which {
    /// What tells the packets of a part from others; all pieces are of one space.
    pub(super) fn of(pieces: &[Piece<'_>], space: &Space, cubes: &Cubes) -> Self {
        let in_part = |piece: &&Piece<'_>| piece.part.is_some();
        let distinct = |pieces: &mut dyn Iterator<Item = &Piece<'_>>| {
            pieces.map(|piece| piece.at.clone()).collect::<BTreeSet<Where>>()
        };
        let (here, all) =
            (distinct(&mut pieces.iter().filter(in_part)), distinct(&mut pieces.iter()));
        let starts = (here != all).then(|| here.into_iter().collect());
        let share = |field: Field| {
            let sets = |part: bool| {
                // The source of a packet whose source the kernel picks is nobody's choice.
                let picked =
                    |piece: &&Piece<'_>| field != Field::Source || *piece.at != Where::Unbound;
                let sets = pieces.iter().filter(picked).filter_map(|piece| match part {
                    true => piece.part,
                    false => Some(piece.whole),
                });
                let only = cubes.others(field, space);
                space.union(sets.map(|set| space.forget(set.function(), &only)).collect())
            };
            let (part, whole) = (sets(true), sets(false));
            (part != whole).then_some(part)
        };
        let prefixes = |field| share(field).map(|set| Values::new(space, field, &set).prefixes());
        let ports = |field| share(field).map(|set| Values::new(space, field, &set).ports());
        Self {
            starts,
            sources: prefixes(Field::Source),
            destinations: prefixes(Field::Destination),
            source_ports: ports(Field::SourcePort),
            ports: ports(Field::DestinationPort),
        }
    }

    /// Whether nothing of it tells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The values of a field in a set that says nothing of others, block by block.
struct Values<'a> {
    space: &'a Space,
    field: Field,
    width: u32,
    found: Vec<(u128, u32)>,
    more: bool,
}

impl<'a> Values<'a> {
    fn new(space: &'a Space, field: Field, set: &BDDFunction) -> Self {
        let width = field.width(space.family());
        let mut values = Self { space, field, width, found: Vec::new(), more: false };
        values.gather(set, 0, 0);
        values
    }

    /// Adds the blocks of those values that begin with these bits, of which the function says
    /// the rest.
    fn gather(&mut self, rest: &BDDFunction, bits: u128, length: u32) {
        if self.more || !rest.satisfiable() {
            return;
        }
        if *rest == self.space.anything() || length == self.width {
            if self.found.len() == MOST_NAMED {
                self.more = true;
            } else {
                let value = bits.checked_shl(self.width - length).unwrap_or(0);
                self.found.push((value, length));
            }
            return;
        }
        let variable = self.field.first(self.space.family()) + length;
        let (one, zero) = Space::halves(rest, variable);
        self.gather(&zero, bits << 1, length + 1);
        self.gather(&one, bits << 1 | 1, length + 1);
    }

    fn prefixes(self) -> Share<Prefix> {
        let family: Family = self.space.family();
        let prefix = |(value, length): &(u128, u32)| {
            Prefix::new(address(family, *value), u8::try_from(*length).unwrap_or(u8::MAX))
        };
        Share { named: self.found.iter().map(prefix).collect(), more: self.more }
    }

    fn ports(self) -> Share<(u16, u16)> {
        let mut named: Vec<(u16, u16)> = Vec::new();
        for (value, length) in &self.found {
            let port = |value: u128| u16::try_from(value).unwrap_or(u16::MAX);
            let last = value | ((1u128 << (self.width - length)) - 1);
            match named.last_mut() {
                Some(own) if u128::from(own.1) + 1 == *value => own.1 = port(last),
                _ => named.push((port(*value), port(last))),
            }
        }
        Share { named, more: self.more }
    }
}
