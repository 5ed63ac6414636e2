//! Conditions of rules as sets of packets, in terms of the packets as they were sent.

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::ruleset::Rule;
use oxidd::BooleanFunctionQuant;
use oxidd::bdd::BDDFunction;

use super::extent::addresses;
use crate::policy::AddressSet;
use crate::space::{Field, Space};

/// What a packet that meets rules is to the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum View {
    /// The packet, as it was sent.
    Packet,
    /// The answer, from where the packet was sent to.
    Answer,
}

impl View {
    /// The field as it was sent that a field has its value from.
    pub(super) fn origin(self, field: Field) -> Field {
        match (self, field) {
            (Self::Answer, Field::Source) => Field::Destination,
            (Self::Answer, Field::Destination) => Field::Source,
            (Self::Answer, Field::SourcePort) => Field::DestinationPort,
            (Self::Answer, Field::DestinationPort) => Field::SourcePort,
            (_, field) => field,
        }
    }
}

/// Packets as rules meet them, in terms of those that were sent.
pub(super) struct Meets<'a> {
    pub(super) space: &'a Space,
    pub(super) view: View,
}

impl Meets<'_> {
    pub(super) fn space(&self) -> &Space {
        self.space
    }

    /// The addresses that some packets have where they meet rules.
    pub(super) fn bounds(&self, packets: &BDDFunction) -> Bounds {
        let set = self.space.set(packets.clone());
        let of = |field| addresses(&set, self.view.origin(field));
        Bounds { source: of(Field::Source), destination: of(Field::Destination) }
    }

    /// The packets for which a condition holds; `None` where their headers do not tell.
    pub(super) fn exactly(&self, condition: &Condition) -> Option<BDDFunction> {
        let space = self.space;
        let is = |sense: Sense, function: BDDFunction| space.when(sense == Sense::Is, &function);
        let (source, destination) =
            (self.view.origin(Field::Source), self.view.origin(Field::Destination));
        Some(match condition {
            Condition::Source(sense, prefix) => is(*sense, space.prefix(source, prefix)),
            Condition::Destination(sense, prefix) => is(*sense, space.prefix(destination, prefix)),
            Condition::SourceRange(sense, ends) => {
                is(*sense, space.addresses(source, ends.0, ends.1))
            }
            Condition::DestinationRange(sense, ends) => {
                is(*sense, space.addresses(destination, ends.0, ends.1))
            }
            Condition::Protocol(sense, number) => {
                is(*sense, space.equals(Field::Protocol, (*number).into()))
            }
            Condition::Port(sense, side, first, last) => {
                self.ports(*sense, *side, &[(*first, *last)])
            }
            Condition::Ports(sense, side, ranges) => self.ports(*sense, *side, ranges),
            Condition::Constant(true) => space.anything(),
            Condition::Constant(false) => space.nothing(),
            _ => return None,
        })
    }

    fn ports(&self, sense: Sense, side: PortSide, ranges: &[(u16, u16)]) -> BDDFunction {
        let space = self.space;
        let of = |field: Field| {
            let field = self.view.origin(field);
            let range = |(first, last): &(u16, u16)| {
                space.range(field, u128::from(*first), u128::from(*last))
            };
            space.union(ranges.iter().map(range).collect())
        };
        let either = match side {
            PortSide::Source => of(Field::SourcePort),
            PortSide::Destination => of(Field::DestinationPort),
            PortSide::Either => space.or(&of(Field::SourcePort), &of(Field::DestinationPort)),
        };
        space.and(&space.with_ports(), &space.when(sense == Sense::Is, &either))
    }
}

/// Addresses that packets have; `None` where they are not known to be few.
pub(super) struct Bounds {
    source: Option<AddressSet>,
    destination: Option<AddressSet>,
}

impl Bounds {
    /// Whether a rule may match one of the packets: a cheap look at the addresses that it names.
    pub(super) fn may_match(&self, rule: &Rule) -> bool {
        rule.conditions.iter().all(|condition| match condition {
            Condition::Source(Sense::Is, prefix) => meets_prefix(self.source.as_ref(), prefix),
            Condition::Destination(Sense::Is, prefix) => {
                meets_prefix(self.destination.as_ref(), prefix)
            }
            _ => true,
        })
    }
}

fn meets_prefix(addresses: Option<&AddressSet>, prefix: &Prefix) -> bool {
    let Some(addresses) = addresses else { return true };
    let (network, hosts) = match prefix {
        Prefix::V4(network, mask) => (u128::from(*network), u128::from(!mask)),
        Prefix::V6(prefix) => (prefix.0, !prefix.1),
    };
    // A mask with holes covers addresses up to this one, and others between.
    let last = network | hosts;
    addresses.ranges().iter().any(|(first, end)| *first <= last && network <= *end)
}

/// The function whatever some fields are.
pub(super) fn forget(space: &Space, function: &BDDFunction, fields: &[Field]) -> BDDFunction {
    function.exists(&space.fields(fields)).unwrap_or_else(|_| space.anything())
}

/// The function of a field alone: of the values that it takes whatever the others are.
pub(super) fn forget_others(space: &Space, function: &BDDFunction, field: Field) -> BDDFunction {
    let others: Vec<Field> = Field::ALL.into_iter().filter(|other| *other != field).collect();
    forget(space, function, &others)
}
