//! Which packets of a cell a part is, in terms of addresses and ports.

use std::collections::{BTreeSet, HashMap};

use nattrace_model::address::Prefix;
use nattrace_parser::syntax::Family;

use super::diagram::{ANYTHING, Diagram, Id, NOTHING};
use super::shadow::{Chosen, Live, levels};
use crate::header::address;
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

/// What starts in one place: the set that the part is of, and what the whole cell is of.
pub(super) struct Piece<'a> {
    pub(super) at: &'a Where,
    pub(super) part: Option<Id>,
    pub(super) whole: Id,
}

impl Which {
    /// What tells the packets of a part from others, among those with the services of a lot.
    pub(super) fn of(
        pieces: &[Piece<'_>],
        chosen: Chosen,
        space: &Space,
        diagram: &mut Diagram,
        live: &mut Live<'_>,
    ) -> Self {
        let in_part = |piece: &&Piece<'_>| piece.part.is_some();
        let distinct = |pieces: &mut dyn Iterator<Item = &Piece<'_>>| {
            pieces.map(|piece| piece.at.clone()).collect::<BTreeSet<Where>>()
        };
        let (here, all) =
            (distinct(&mut pieces.iter().filter(in_part)), distinct(&mut pieces.iter()));
        let starts = (here != all).then(|| here.into_iter().collect());
        let mut share = |field: Field| {
            // The source of a packet whose source the kernel picks is nobody's choice.
            let picked = |piece: &&Piece<'_>| field != Field::Source || *piece.at != Where::Unbound;
            let pieces = || pieces.iter().filter(picked);
            let levels = levels(space, field);
            let mut whole = NOTHING;
            for piece in pieces() {
                let own = diagram.both(piece.whole, chosen.meant, &levels, &mut HashMap::new());
                whole = diagram.or(whole, own);
            }
            let sets: Vec<Id> = pieces().filter_map(|piece| piece.part).collect();
            let part = match field {
                Field::Source | Field::Destination => {
                    diagram.addresses(&sets, &levels, chosen.lot, live)
                }
                _ => diagram.ports(&sets, &levels, chosen, whole, live),
            };
            (part != whole).then(|| Values::new(diagram, space, field, part))
        };
        Self {
            starts,
            sources: share(Field::Source).map(Values::prefixes),
            destinations: share(Field::Destination).map(Values::prefixes),
            source_ports: share(Field::SourcePort).map(Values::ports),
            ports: share(Field::DestinationPort).map(Values::ports),
        }
    }

    /// Whether nothing of it tells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The values of a field in a set that says nothing of others, block by block.
struct Values {
    family: Family,
    first: u32,
    width: u32,
    found: Vec<(u128, u32)>,
    more: bool,
}

impl Values {
    fn new(diagram: &Diagram, space: &Space, field: Field, set: Id) -> Self {
        let family = space.family();
        let (first, width) = (field.first(family), field.width(family));
        let mut values = Self { family, first, width, found: Vec::new(), more: false };
        values.gather(diagram, set, 0, 0);
        values
    }

    /// Adds the blocks of those values that begin with these bits, of which the node says the rest.
    fn gather(&mut self, diagram: &Diagram, rest: Id, bits: u128, length: u32) {
        if self.more || rest == NOTHING {
            return;
        }
        if rest == ANYTHING || length == self.width {
            if self.found.len() == MOST_NAMED {
                self.more = true;
            } else {
                let value = bits.checked_shl(self.width - length).unwrap_or(0);
                self.found.push((value, length));
            }
            return;
        }
        let (level, one, zero) = diagram.at(rest);
        let asks = level == self.first + length;
        let (one, zero) = if asks { (one, zero) } else { (rest, rest) };
        self.gather(diagram, zero, bits << 1, length + 1);
        self.gather(diagram, one, bits << 1 | 1, length + 1);
    }

    fn prefixes(self) -> Share<Prefix> {
        let prefix = |(value, length): &(u128, u32)| {
            Prefix::new(address(self.family, *value), u8::try_from(*length).unwrap_or(u8::MAX))
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
