//! What NAT may make of the ends of packets.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::target::{Action, NatOptions, Target};
use nattrace_parser::syntax::{Family, NatRange};
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::header::bits;
use crate::policy::AddressSet;
use crate::space::{Field, Space};

/// The rules of a host that may give packets another end, by the addresses that they give.
pub(super) struct Translations {
    of: HashMap<(Family, Field), Table>,
}

/// Those of one family that translate one field.
#[derive(Default)]
struct Table {
    /// Those that give one address.
    single: BTreeMap<u128, Vec<(RuleId, Given)>>,
    /// Others.
    others: Vec<(RuleId, Given)>,
}

impl Translations {
    pub(super) fn of(system: &System) -> Self {
        let mut all = Self { of: HashMap::new() };
        for (chain, own) in (0u32..).map(ChainId).zip(&system.rules.chains) {
            for (index, rule) in (0u32..).zip(&own.rules) {
                if !may_translate(&rule.target) {
                    continue;
                }
                for field in [Field::Source, Field::Destination] {
                    for given in given(system, &rule.target, field) {
                        all.add(own.family, field, RuleId { chain, index }, given);
                    }
                }
            }
        }
        all
    }

    fn add(&mut self, family: Family, field: Field, rule: RuleId, given: Given) {
        let table = self.of.entry((family, field)).or_default();
        match given.addresses {
            Some((first, _)) if Family::of(first) != family => {}
            Some((first, last)) if first == last => {
                table.single.entry(bits(first)).or_default().push((rule, given));
            }
            _ => table.others.push((rule, given)),
        }
    }

    /// The rules that may give an end one of some addresses, in the order of these; `None` for any.
    pub(super) fn giving(
        &self,
        family: Family,
        field: Field,
        addresses: Option<&AddressSet>,
    ) -> impl Iterator<Item = &(RuleId, Given)> {
        let any = [(0, u128::MAX)];
        let ranges = addresses.map_or(any.to_vec(), |addresses| addresses.ranges().to_vec());
        let table = self.of.get(&(family, field));
        let single = table.into_iter().flat_map(move |table| {
            let within = ranges.clone().into_iter();
            within.flat_map(|(first, last)| table.single.range(first..=last))
        });
        let others = table.into_iter().flat_map(|table| &table.others);
        single.flat_map(|(_, rules)| rules).chain(others)
    }
}

fn may_translate(target: &Target) -> bool {
    match target {
        Target::Snat(..)
        | Target::Dnat(..)
        | Target::Masquerade(..)
        | Target::Redirect(..)
        | Target::Netmap(_)
        | Target::Unsupported(_) => true,
        Target::Sequence(actions) => actions.iter().any(|action| match action {
            Action::Do(target) => may_translate(target),
            Action::If(_) => false,
        }),
        Target::Map(map) => {
            map.entries.iter().map(|entry| &entry.target).chain(&map.otherwise).any(may_translate)
        }
        _ => false,
    }
}

/// What a translation makes of an end of a packet.
pub(super) struct Given {
    /// The addresses, both ends inclusive; `None` for any.
    addresses: Option<(IpAddr, IpAddr)>,
    pub(super) ports: Known,
}

/// What is known of a port after a translation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is what it was.
    Same,
    /// One of these, both ends inclusive.
    Range(u16, u16),
    /// Nothing.
    Nothing,
}

impl Given {
    /// Whether its ports may be among some, of which a function of that field alone holds.
    pub(super) fn may_have_ports(&self, space: &Space, ports: &BDDFunction, field: Field) -> bool {
        match self.ports {
            Known::Range(first, last) if first == last => {
                space.and(ports, &space.range(field, first.into(), first.into())).satisfiable()
            }
            Known::Same | Known::Range(..) | Known::Nothing => true,
        }
    }

    pub(super) fn function(&self, space: &Space, field: Field, port: Field) -> BDDFunction {
        let addresses = match self.addresses {
            Some((first, last)) => space.addresses(field, first, last),
            None => space.anything(),
        };
        match self.ports {
            Known::Range(first, last) => {
                space.and(&addresses, &space.range(port, first.into(), last.into()))
            }
            Known::Same | Known::Nothing => addresses,
        }
    }
}

/// What a target may make of the source, or the destination.
fn given(system: &System, target: &Target, field: Field) -> Vec<Given> {
    let ranged = |range: &NatRange, options: &NatOptions| {
        let ports = match (range.ports, range.base_port) {
            (_, Some(_)) => Known::Nothing,
            (Some((first, last)), None) => Known::Range(first, last),
            (None, None) if options.random => Known::Nothing,
            (None, None) => Known::Same,
        };
        let ports =
            if field == Field::Source && ports != Known::Same { Known::Nothing } else { ports };
        match range.addresses {
            Some(addresses) => vec![Given { addresses: Some(addresses), ports }],
            // The address stays, or nobody can say.
            None => vec![Given { addresses: None, ports }],
        }
    };
    let own = |ports: Option<(u16, u16)>, options: &NatOptions| {
        let ports = match ports {
            Some((first, last)) if field == Field::Destination => Known::Range(first, last),
            Some(_) => Known::Nothing,
            None if options.random => Known::Nothing,
            None => Known::Same,
        };
        let addresses = system.host.interfaces.iter().flat_map(|own| &own.addresses);
        // What nobody knows has a placeholder.
        let others: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::LOCALHOST.into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let addresses = addresses.map(|own| own.local).chain(others);
        addresses.map(|own| Given { addresses: Some((own, own)), ports }).collect()
    };
    let anything = || vec![Given { addresses: None, ports: Known::Nothing }];
    match (target, field) {
        (Target::Snat(range, options), Field::Source)
        | (Target::Dnat(range, options), Field::Destination) => ranged(range, options),
        (Target::Masquerade(ports, options), Field::Source)
        | (Target::Redirect(ports, options), Field::Destination) => own(*ports, options),
        (Target::Netmap(_) | Target::Unsupported(_) | Target::Map(_) | Target::Sequence(_), _) => {
            anything()
        }
        _ => Vec::new(),
    }
}
