//! Which packets of a cell a part is, in terms of addresses and ports.

use nattrace_model::address::Prefix;
use nattrace_parser::syntax::Family;

use super::diagram::{ANYTHING, Diagram, Id, NOTHING};
use crate::header::address;
use crate::policy::{AddressSet, Where};
use crate::space::Field;

/// How many prefixes or ranges of ports are named.
pub(super) const MOST_NAMED: usize = 8;

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

impl Which {
    /// Whether nothing of it tells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Addresses as prefixes, from their first bits and how many those are.
pub(super) fn prefixes(family: Family, blocks: Vec<(u128, u32)>) -> Share<Prefix> {
    let width = Field::Source.width(family);
    let prefix = |(bits, length): (u128, u32)| {
        let value = bits.checked_shl(width - length).unwrap_or(0);
        Prefix::new(address(family, value), u8::try_from(length).unwrap_or(u8::MAX))
    };
    let more = blocks.len() > MOST_NAMED;
    Share { named: blocks.into_iter().take(MOST_NAMED).map(prefix).collect(), more }
}

/// Addresses as a set, from their first bits and how many those are.
pub(super) fn addresses(family: Family, blocks: Vec<(u128, u32)>) -> AddressSet {
    let width = Field::Source.width(family);
    let range = |(bits, length): (u128, u32)| {
        let first = bits.checked_shl(width - length).unwrap_or(0);
        (first, first | u128::MAX.checked_shr(128 - width + length).unwrap_or(0))
    };
    AddressSet::of_ranges(family, blocks.into_iter().map(range).collect())
}

/// The values of a field of ports in a set that says nothing of others.
pub(super) fn ports(diagram: &Diagram, first: u32, set: Id) -> Share<(u16, u16)> {
    let mut values = Values { first, found: Vec::new(), more: false };
    values.gather(diagram, set, 0, 0);
    let mut named: Vec<(u16, u16)> = Vec::new();
    for (value, length) in &values.found {
        let port = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let last = value | ((1u32 << (WIDTH - length)) - 1);
        match named.last_mut() {
            Some(own) if u32::from(own.1) + 1 == *value => own.1 = port(last),
            _ => named.push((port(*value), port(last))),
        }
    }
    Share { named, more: values.more }
}

/// The bits of a port.
const WIDTH: u32 = 16;

/// Ports block by block.
struct Values {
    first: u32,
    found: Vec<(u32, u32)>,
    more: bool,
}

impl Values {
    /// Adds the blocks of those values that begin with these bits, of which the node says the rest.
    fn gather(&mut self, diagram: &Diagram, rest: Id, bits: u32, length: u32) {
        if self.more || rest == NOTHING {
            return;
        }
        if rest == ANYTHING || length == WIDTH {
            if self.found.len() == MOST_NAMED {
                self.more = true;
            } else {
                self.found.push((bits << (WIDTH - length), length));
            }
            return;
        }
        let (level, one, zero) = diagram.at(rest);
        let asks = level == self.first + length;
        let (one, zero) = if asks { (one, zero) } else { (rest, rest) };
        self.gather(diagram, zero, bits << 1, length + 1);
        self.gather(diagram, one, bits << 1 | 1, length + 1);
    }
}
