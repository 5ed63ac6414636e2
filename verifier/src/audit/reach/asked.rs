//! What rules ask of packets, dimension by dimension.

use std::collections::HashMap;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::{
    Comparison, Condition, ConnectionCondition, InterfacePattern, PortSide, Sense, connection_state,
};
use nattrace_model::ruleset::Rule;
use nattrace_parser::syntax::Family;

use super::ranges::{Product, Ranges};
use crate::header::bits;

/// A dimension in which packets differ, by its number.
pub(super) type Dimension = usize;

pub(super) const SOURCE: Dimension = 0;
pub(super) const DESTINATION: Dimension = 1;
pub(super) const PROTOCOL: Dimension = 2;
pub(super) const SOURCE_PORT: Dimension = 3;
pub(super) const DESTINATION_PORT: Dimension = 4;
/// Type and code.
const ICMP: Dimension = 5;
const TCP_FLAGS: Dimension = 6;
pub(super) const IN_INTERFACE: Dimension = 7;
pub(super) const OUT_INTERFACE: Dimension = 8;
pub(super) const STATE: Dimension = 9;
/// The bits that some rule looks at, close together.
pub(super) const MARK: Dimension = 10;
const LENGTH: Dimension = 11;
pub(super) const TTL: Dimension = 12;
pub(super) const TOS: Dimension = 13;
/// From here on each dimension is whether something holds.
const FACTS: Dimension = 14;

/// How many bits of marks rules may look at.
const MOST_MARK_BITS: u32 = 12;

/// The states that a packet may be in, with what NAT did to its connection, as bits of
/// [`connection_state`].
const STATES: [u16; 14] = {
    use connection_state::{DNAT, ESTABLISHED, INVALID, NEW, RELATED, SNAT, UNTRACKED};
    [
        NEW,
        NEW | DNAT,
        NEW | SNAT,
        NEW | SNAT | DNAT,
        ESTABLISHED,
        ESTABLISHED | DNAT,
        ESTABLISHED | SNAT,
        ESTABLISHED | SNAT | DNAT,
        RELATED,
        RELATED | DNAT,
        RELATED | SNAT,
        RELATED | SNAT | DNAT,
        INVALID,
        UNTRACKED,
    ]
};

/// What a rule asks.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The values in each dimension that it asks about.
    pub(super) of: Vec<(Dimension, Ranges)>,
    /// Whether it matches every packet with such values: nothing else decides.
    pub(super) surely: bool,
}

/// The dimensions of the rules of one family.
pub(super) struct Dimensions {
    family: Family,
    /// Names of interfaces, of which the first is none.
    interfaces: Vec<Box<str>>,
    /// The bits of marks that rules look at; `None` for too many.
    mark_bits: Option<Vec<u32>>,
    facts: HashMap<Condition, Dimension>,
    /// The highest value of each dimension that is no fact.
    most: [u128; FACTS],
}

impl Dimensions {
    pub(super) fn of(system: &System, family: Family) -> Self {
        let chains = system.rules.chains.iter().filter(|chain| chain.family == family);
        let conditions: Vec<&Condition> =
            chains.flat_map(|chain| &chain.rules).flat_map(|rule| &rule.conditions).collect();
        let mut interfaces: Vec<Box<str>> =
            system.host.interfaces.iter().map(|own| own.name.as_str().into()).collect();
        let mut looked_at = 0u32;
        for condition in &conditions {
            match condition {
                Condition::InInterface(_, pattern) | Condition::OutInterface(_, pattern) => {
                    interfaces.push(match pattern {
                        InterfacePattern::Name(name) => name.clone(),
                        // Some other one that begins so.
                        InterfacePattern::Beginning(start) => format!("{start}~").into(),
                    });
                }
                Condition::Mark { mask, .. } => looked_at |= mask,
                _ => {}
            }
        }
        // And one that nobody speaks of.
        interfaces.push("~".into());
        interfaces.sort();
        interfaces.dedup();
        interfaces.retain(|name| !name.is_empty());
        interfaces.insert(0, "".into());
        let mark_bits = (looked_at.count_ones() <= MOST_MARK_BITS)
            .then(|| (0..32).filter(|bit| looked_at >> bit & 1 == 1).collect());
        let address = match family {
            Family::Ipv4 => u128::from(u32::MAX),
            Family::Ipv6 => u128::MAX,
        };
        let names = interfaces.len() as u128 - 1;
        let marks = (1 << mark_bits.as_ref().map_or(0, Vec::len)) - 1;
        let states = STATES.len() as u128 - 1;
        let most = [
            address, address, 255, 65535, 65535, 65535, 255, names, names, states, marks, 65535,
            255, 255,
        ];
        let mut all = Self { family, interfaces, mark_bits, facts: HashMap::new(), most };
        for condition in conditions {
            if let Some((fact, _)) = all.fact(condition) {
                let next = FACTS + all.facts.len();
                all.facts.entry(fact).or_insert(next);
            }
        }
        all
    }

    /// How many dimensions there are.
    pub(super) fn count(&self) -> usize {
        FACTS + self.facts.len()
    }

    /// All packets.
    pub(super) fn everything(&self) -> Product {
        let facts = std::iter::repeat_n(1, self.facts.len());
        self.most.into_iter().chain(facts).map(|most| Ranges::one(0, most)).collect()
    }

    /// The values of a dimension of interfaces: none, or any.
    pub(super) fn interfaces(&self, present: bool) -> Ranges {
        match present {
            true => Ranges::one(1, self.interfaces.len() as u128 - 1),
            false => Ranges::one(0, 0),
        }
    }

    /// The interface of a value.
    pub(super) fn interface(&self, value: u128) -> Option<&str> {
        let at = usize::try_from(value).ok()?;
        self.interfaces.get(at).map(|name| &**name)
    }

    /// What holds of connection marks and sets may change under way.
    pub(super) fn facts_about(&self, wanted: impl Fn(&Condition) -> bool) -> Vec<Dimension> {
        let all = self.facts.iter().filter(|(condition, _)| wanted(condition));
        all.map(|(_, dimension)| *dimension).collect()
    }

    /// What a rule asks.
    pub(super) fn asked(&self, rule: &Rule) -> Asked {
        let mut asked = Asked { of: Vec::new(), surely: true };
        for condition in &rule.conditions {
            match condition {
                Condition::Constant(true) => {}
                Condition::Undecided(_) => asked.surely = false,
                condition => match self.one(condition) {
                    Some((dimension, ranges)) => asked.add(dimension, ranges),
                    None => asked.surely = false,
                },
            }
        }
        asked
    }

    /// A condition about one dimension; `None` for what is not told here.
    fn one(&self, condition: &Condition) -> Option<(Dimension, Ranges)> {
        if let Some((fact, holds)) = self.fact(condition) {
            let dimension = *self.facts.get(&fact)?;
            return Some((dimension, Ranges::one(holds.into(), holds.into())));
        }
        let (dimension, sense, ranges) = self.plainly(condition)?;
        Some(match sense {
            Sense::Is => (dimension, ranges),
            Sense::IsNot => (dimension, ranges.complement(*self.most.get(dimension)?)),
        })
    }

    fn plainly(&self, condition: &Condition) -> Option<(Dimension, Sense, Ranges)> {
        let ports = |side: PortSide| match side {
            PortSide::Source => Some(SOURCE_PORT),
            PortSide::Destination => Some(DESTINATION_PORT),
            PortSide::Either => None,
        };
        let ends = |ends: &(std::net::IpAddr, std::net::IpAddr)| {
            let own = Family::of(ends.0) == self.family && Family::of(ends.1) == self.family;
            if own { Ranges::one(bits(ends.0), bits(ends.1)) } else { Ranges::none() }
        };
        Some(match condition {
            Condition::Source(sense, net) => (SOURCE, *sense, self.prefix(net)?),
            Condition::Destination(sense, net) => (DESTINATION, *sense, self.prefix(net)?),
            Condition::SourceRange(sense, range) => (SOURCE, *sense, ends(range)),
            Condition::DestinationRange(sense, range) => (DESTINATION, *sense, ends(range)),
            Condition::InInterface(sense, pattern) => {
                (IN_INTERFACE, *sense, self.matching(pattern))
            }
            Condition::OutInterface(sense, pattern) => {
                (OUT_INTERFACE, *sense, self.matching(pattern))
            }
            Condition::Protocol(sense, number) => {
                (PROTOCOL, *sense, Ranges::one((*number).into(), (*number).into()))
            }
            Condition::Port(sense, side, first, last) => {
                (ports(*side)?, *sense, Ranges::one((*first).into(), (*last).into()))
            }
            Condition::Ports(sense, side, all) => {
                let all = all.iter().map(|(first, last)| ((*first).into(), (*last).into()));
                (ports(*side)?, *sense, Ranges::of(all.collect()))
            }
            Condition::TcpFlags { sense, mask, compare } => {
                let (mask, compare) = (u128::from(*mask), u128::from(*compare));
                (TCP_FLAGS, *sense, Ranges::of_values(256, |flags| flags & mask == compare))
            }
            Condition::Icmp { sense, kind: Some(kind), codes } => {
                let of = |code: u8| u128::from(u16::from_be_bytes([*kind, code]));
                (ICMP, *sense, Ranges::one(of(codes.0), of(codes.1)))
            }
            Condition::Icmp { sense, kind: None, codes: (0, 255) } => {
                (ICMP, *sense, Ranges::one(0, 65535))
            }
            Condition::Connection(sense, asked) => match **asked {
                ConnectionCondition::State(wanted) => {
                    let holds = |at: u128| {
                        let state = usize::try_from(at).ok().and_then(|at| STATES.get(at));
                        state.is_some_and(|state| state & wanted != 0)
                    };
                    (STATE, *sense, Ranges::of_values(STATES.len() as u128, holds))
                }
                _ => return None,
            },
            Condition::Mark { sense, value, mask } => {
                let bits = self.mark_bits.as_ref()?;
                let spread = |packed: u128| {
                    let set = (0u32..).zip(bits).filter(|(at, _)| packed >> at & 1 == 1);
                    set.fold(0u32, |mark, (_, bit)| mark | 1 << bit)
                };
                (MARK, *sense, Ranges::of_values(1 << bits.len(), |at| spread(at) & mask == *value))
            }
            Condition::Length(sense, first, last) => {
                (LENGTH, *sense, Ranges::one((*first).into(), (*last).into()))
            }
            Condition::Ttl(sense, how, value) => {
                let value = u128::from(*value);
                let ranges = Ranges::of_values(256, |ttl| match how {
                    Comparison::Equal => ttl == value,
                    Comparison::Less => ttl < value,
                    Comparison::Greater => ttl > value,
                });
                (TTL, *sense, ranges)
            }
            Condition::Tos { sense, value, mask } => {
                let (value, mask) = (u128::from(*value), u128::from(*mask));
                (TOS, *sense, Ranges::of_values(256, |tos| tos & mask == value))
            }
            Condition::Constant(false) => (PROTOCOL, Sense::Is, Ranges::none()),
            _ => return None,
        })
    }

    /// What either holds or not, in a form that is the same for both.
    fn fact(&self, condition: &Condition) -> Option<(Condition, bool)> {
        if matches!(condition, Condition::Undecided(_) | Condition::Constant(_))
            || self.plainly(condition).is_some()
        {
            return None;
        }
        let mut plain = condition.clone();
        let sense = match &mut plain {
            // Of these the negation is the opposite.
            Condition::Source(sense, _)
            | Condition::Destination(sense, _)
            | Condition::SourceType(sense, ..)
            | Condition::DestinationType(sense, ..)
            | Condition::Mark { sense, .. }
            | Condition::Fragment(sense)
            | Condition::Physdev(sense, _) => std::mem::replace(sense, Sense::Is),
            _ => Sense::Is,
        };
        Some((plain, sense == Sense::Is))
    }

    /// The addresses of a prefix; `None` where its mask has holes.
    fn prefix(&self, prefix: &Prefix) -> Option<Ranges> {
        if prefix.family() != self.family {
            return Some(Ranges::none());
        }
        let (network, hosts) = match prefix {
            Prefix::V4(network, mask) => (u128::from(*network), u128::from(!mask)),
            Prefix::V6(own) => (own.0, !own.1),
        };
        let whole = hosts & hosts.wrapping_add(1) == 0;
        whole.then(|| Ranges::one(network, network | hosts))
    }

    fn matching(&self, pattern: &InterfacePattern) -> Ranges {
        Ranges::of_values(self.interfaces.len() as u128, |at| {
            self.interface(at).is_some_and(|name| pattern.matches(name))
        })
    }
}

impl Asked {
    fn add(&mut self, dimension: Dimension, ranges: Ranges) {
        match self.of.iter_mut().find(|(own, _)| *own == dimension) {
            Some((_, known)) => *known = known.intersection(&ranges),
            None => self.of.push((dimension, ranges)),
        }
    }

    pub(super) fn matches(&self, point: &[u128]) -> bool {
        self.of.iter().all(|(dimension, ranges)| {
            point.get(*dimension).is_some_and(|value| ranges.around(*value).is_some())
        })
    }
}
