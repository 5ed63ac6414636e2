//! Points of a space: what each variable is for one packet.

use nattrace_parser::syntax::Family;

use super::field::{FLAGS, Field, Relation};
use crate::header::Header;

/// As many words as the variables of the larger family take.
const WORDS: usize = 6;

/// The value of each variable of a space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point([u64; WORDS]);

impl Point {
    /// That of a packet, were these its relations.
    pub(crate) fn of(family: Family, header: &Header, same: [(Relation, bool); 2]) -> Self {
        let mut point = Self([0; WORDS]);
        for (relation, holds) in same {
            point.put(relation.variable(), 1, holds.into());
        }
        let mut first = FLAGS;
        for field in Field::ALL {
            let width = field.width(family);
            point.put(first, width, field.of(header));
            first += width;
        }
        point
    }

    /// Puts the last bits of a value, so many of them, where the first of them is a variable.
    fn put(&mut self, first: u32, width: u32, value: u128) {
        let mut rest = value & (u128::MAX >> (128 - width));
        while rest != 0 {
            let variable = first + width - 1 - rest.trailing_zeros();
            if let Some(word) = self.0.get_mut((variable / u64::BITS) as usize) {
                *word |= 1 << (variable % u64::BITS);
            }
            rest &= rest - 1;
        }
    }

    pub(super) fn has(&self, variable: u32) -> bool {
        let word = self.0.get((variable / u64::BITS) as usize);
        word.is_some_and(|word| word >> (variable % u64::BITS) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use oxidd::BooleanFunction;

    use super::*;
    use crate::space::Space;

    #[test]
    fn a_point_is_where_its_packet_is() {
        for (family, source, destination) in [
            (Family::Ipv4, "192.0.2.255", "10.255.0.1"),
            (Family::Ipv6, "2001:db8:8000::ffff", "ff02::8001"),
        ] {
            let space = Space::new(family);
            let header = Header {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                protocol: 6,
                source_port: 0x8001,
                destination_port: 443,
                icmp: (0, 0),
                tcp_flags: 0x81,
            };
            let point = space.point(&header).unwrap();
            let width: u32 = Field::ALL.iter().map(|field| field.width(family)).sum();
            assert!((FLAGS + width).div_ceil(u64::BITS) as usize <= WORDS);
            for field in Field::ALL {
                let value = field.of(&header);
                assert!(space.holds_at(&space.equals(field, value), &point), "{field:?}");
                for bit in 0..field.width(family) {
                    let other = space.equals(field, value ^ 1 << bit);
                    assert!(!space.holds_at(&other, &point), "{field:?} {bit}");
                }
            }
            for relation in [Relation::SameAddress, Relation::SamePort] {
                assert!(space.holds_at(&space.relation(relation, false), &point));
                assert!(!space.holds_at(&space.relation(relation, true), &point));
            }
            assert!(space.holds_at(&space.anything(), &point));
            assert!(!space.holds_at(&space.nothing(), &point));
            let all = space.all();
            assert_eq!(all.contains(&header), space.holds_at(all.function(), &point));
            assert!(all.function().satisfiable());
        }
    }
}
