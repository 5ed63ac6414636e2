//! What is quickly asked of the packets that a chain is folded for, so that rules which match none
//! of them cost little.

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::packet::Transport;
use nattrace_model::simulate::View;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::header::bits as bits_of;
use crate::space::{Field, Space, Tier};
use crate::walk::region::{Provenance, Region};

/// From so many rules on it is worth the while.
const MANY: usize = 16;

/// The fields whose values rules ask for one by one.
const SOUGHT: [Field; 4] =
    [Field::Source, Field::Destination, Field::Protocol, Field::DestinationPort];

/// A field, the value that is asked for, and how much of it.
pub(super) type Sought = (Field, u128, Bits);

/// How much of a value is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    /// All of it.
    All,
    /// So many of its first bits.
    First(u32),
}

/// The packets that a chain is folded for, with what of them is quickly asked.
pub(crate) struct Filter<'c> {
    pub(crate) care: &'c BDDFunction,
    /// The same without their sources: what rules ask of other things is not asked of each source.
    unsourced: Option<BDDFunction>,
    /// Their sources, destinations, protocols and destination ports.
    values: Option<[BDDFunction; 4]>,
}

impl<'c> Filter<'c> {
    /// For a chain with so many rules.
    pub(crate) fn of(space: &Space, care: &'c BDDFunction, rules: usize) -> Self {
        let many = rules > MANY;
        let wanted = many && space.tier(care) == Tier::Source;
        let unsourced = wanted.then(|| {
            let others = Field::ALL.into_iter().filter(|field| *field != Field::Source);
            space.only_of(care, &others.collect())
        });
        let of = |field| space.only_of(care, &[field].into());
        let values = many.then(|| SOUGHT.map(of));
        Self { care, unsourced, values }
    }

    /// Whether rules are many enough to ask for what is quickly asked.
    pub(crate) fn is_worthwhile(&self) -> bool {
        self.values.is_some()
    }

    /// Whether none of the packets has what a condition asks for.
    pub(super) fn rules_out(&self, space: &Space, (field, asked, bits): Sought) -> bool {
        let Some(values) = &self.values else { return false };
        let own = SOUGHT.iter().zip(values).find(|(sought, _)| **sought == field);
        let length = match bits {
            Bits::All => field.width(space.family()),
            Bits::First(length) => length,
        };
        own.is_some_and(|(_, values)| !space.holds_within(values, field, asked, length))
    }

    /// Whether a rule may match any of the packets.
    pub(crate) fn may_match(
        &self,
        space: &Space,
        extents: &[(Tier, BDDFunction, Option<BDDFunction>)],
    ) -> bool {
        let Some(unsourced) = &self.unsourced else { return true };
        let mut left = unsourced.clone();
        for (tier, holds, either) in extents {
            if *tier != Tier::Source {
                left = space.and(&left, either.as_ref().unwrap_or(holds));
            }
        }
        left.satisfiable()
    }
}

impl Region {
    /// The value of a field, as it was sent, that a condition asks for: an address, the protocol, or
    /// the one port.
    pub(super) fn sought(&self, view: &View<'_>, condition: &Condition) -> Option<Sought> {
        let packet = view.packet();
        match condition {
            Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix) => {
                if prefix.family() != self.ground.space.family() {
                    return None;
                }
                let length = prefix_length(prefix)?;
                let address = match condition {
                    Condition::Source(..) => packet.source,
                    _ => packet.destination,
                };
                let bits = if prefix.is_single() { Bits::All } else { Bits::First(length) };
                match self.address_from(address).as_slice() {
                    [Provenance::Sent(field)] => Some((*field, bits_of(prefix.network()), bits)),
                    _ => None,
                }
            }
            Condition::Protocol(Sense::Is, number) if packet.protocol == self.header().protocol => {
                Some((Field::Protocol, (*number).into(), Bits::All))
            }
            Condition::Port(Sense::Is, PortSide::Destination, first, last) if first == last => {
                let Transport::Ports { destination, .. } = packet.transport else { return None };
                if view.is_drawn(PortSide::Destination) {
                    return None;
                }
                match self.port_from(destination).as_slice() {
                    [field] => Some((*field, (*first).into(), Bits::All)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// How many bits of a prefix are given, where they are its first ones.
pub(super) fn prefix_length(prefix: &Prefix) -> Option<u32> {
    match prefix {
        Prefix::V4(_, mask) => {
            (mask.leading_ones() == mask.count_ones()).then(|| mask.count_ones())
        }
        Prefix::V6(prefix) => {
            (prefix.1.leading_ones() == prefix.1.count_ones()).then(|| prefix.1.count_ones())
        }
    }
}
