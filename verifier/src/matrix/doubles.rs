//! Own addresses that stand for one another.
//!
//! A host has an address for each of its bridges and their ports, and a process that sends to one of
//! them has that one for its source, too. Where no rule rewrites anything, and none tells them
//! apart, what becomes of packets to one of them becomes of packets to any: one is looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::address::is_internet;
use nattrace_model::condition::{Condition, ConnectionCondition};
use nattrace_model::host::route::RouteKind;
use nattrace_model::host::{Host, Part, Scope};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use crate::cells::{is_first, local_first, special_ranges, tells_interfaces_apart};
use crate::policy::{AddressSet, Side, Where};

/// Own addresses, each standing for others.
#[derive(Debug, Default)]
pub(super) struct Doubles {
    /// The first of each group is the one that is looked at.
    groups: Vec<AddressSet>,
}

/// What tells own addresses apart.
type Likeness = (Vec<bool>, Vec<bool>, Vec<u32>);

impl Doubles {
    /// Takes those out of what local processes send that others stand for; `columns` says which
    /// addresses are told apart besides.
    pub(super) fn take(
        system: &System,
        family: Family,
        sides: &mut Vec<Side>,
        columns: &[AddressSet],
    ) -> Self {
        let host = &system.host;
        let apart = !host.has(Part::Addresses)
            || !local_first(host, family)
            || tells_interfaces_apart(system, family);
        let Some(asked) = asked(system, family).filter(|_| !apart) else { return Self::default() };
        let special = special_ranges(host, family);
        let named = named(host, family);
        let mut groups: BTreeMap<(Scope, Likeness), Vec<IpAddr>> = BTreeMap::new();
        for side in sides.iter() {
            let Some((own, scope)) = to_itself(host, side) else { continue };
            if named.contains(own) || is_internet(own) {
                continue;
            }
            let in_special =
                special.iter().filter(|(range, name)| *name < NEAREST && range.contains(own));
            let likeness = (
                asked.iter().map(|set| set.contains(own)).collect(),
                columns.iter().map(|set| set.contains(own)).collect(),
                in_special.map(|(_, name)| *name).collect(),
            );
            groups.entry((scope, likeness)).or_default().push(own);
        }
        let groups = groups.into_values().map(|own| AddressSet::of(family, own.into_iter()));
        let groups: Vec<AddressSet> =
            groups.filter(|own| own.ranges().len() > 1 || own.each(1).is_none()).collect();
        let stands_for = |side: &Side| {
            let group = side
                .sources
                .first()
                .and_then(|own| groups.iter().find(|group| group.contains(own)));
            group.is_some_and(|group| group.first() != side.sources.first())
                && to_itself(host, side).is_some()
        };
        sides.retain(|side| !stands_for(side));
        Self { groups }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Some addresses with those that they stand for.
    pub(super) fn with(&self, addresses: &AddressSet) -> AddressSet {
        let each = self
            .groups
            .iter()
            .filter(|group| group.first().is_some_and(|own| addresses.contains(own)));
        each.fold(addresses.clone(), |all, group| all.union(group))
    }
}

/// The names of special ranges from here on tell which own address is the nearest to another one,
/// and none is nearer than itself.
const NEAREST: u32 = 100_000;

/// The own address that processes send to from itself, if they send to no other one from there.
fn to_itself(host: &Host, side: &Side) -> Option<(IpAddr, Scope)> {
    let own = side.sources.first()?;
    let alone = side.at == Where::Unbound && side.reaches.as_ref() == Some(&side.sources);
    let mut holders = host.interfaces.iter().flat_map(|interface| {
        let here = interface.addresses.iter().filter(|held| held.local == own);
        here.map(move |held| (interface.up, held.scope))
    });
    let (up, scope) = holders.next()?;
    let first = is_first(host, own, RouteKind::Local);
    (alone && up && first && holders.next().is_none()).then_some((own, scope))
}

/// Own addresses that somebody names, besides rules.
fn named(host: &Host, family: Family) -> AddressSet {
    let bound = host.listeners.iter().flatten().filter_map(|listener| listener.address);
    let containers = &host.inventory.containers;
    let published =
        containers.iter().flat_map(|own| &own.published).filter_map(|own| own.host_address);
    let endpoints = containers.iter().flat_map(|own| &own.endpoints);
    let inside = endpoints.flat_map(|endpoint| &endpoint.addresses).map(|(own, _)| *own);
    let single = AddressSet::of(family, bound.chain(published).chain(inside));
    let nets = host.zones.values().flat_map(|zone| zone.nets.iter().chain(&zone.routes));
    let nets = nets.filter(|net| net.family() == family).map(AddressSet::prefix);
    nets.fold(single, |all, net| all.union(&net))
}

/// The addresses that rules ask for; `None` where rules may do more than to let packets pass or not,
/// or may tell own addresses apart in another way.
fn asked(system: &System, family: Family) -> Option<Vec<AddressSet>> {
    let chains = system.rules.chains.iter().filter(|chain| chain.family == family);
    let mut asked = Vec::new();
    for rule in chains.flat_map(|chain| &chain.rules) {
        if !rewrites_nothing(&rule.target) {
            return None;
        }
        for condition in &rule.conditions {
            match condition {
                Condition::Source(_, prefix) | Condition::Destination(_, prefix) => {
                    let range = AddressSet::prefix(prefix);
                    // A mask may have holes.
                    asked.push(Some(range).filter(|range| !range.is_empty())?);
                }
                Condition::SourceRange(_, range) | Condition::DestinationRange(_, range) => {
                    asked.push(AddressSet::range(range.0, range.1));
                }
                condition if asks_no_address(condition) => {}
                _ => return None,
            }
        }
    }
    Some(asked)
}

fn rewrites_nothing(target: &Target) -> bool {
    matches!(
        target,
        Target::None
            | Target::Accept
            | Target::Drop
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Reject(_)
            | Target::Log
    )
}

/// Whether a condition has nothing to do with which address packets to this host have.
fn asks_no_address(condition: &Condition) -> bool {
    match condition {
        // All own addresses are of one type.
        Condition::SourceType(..)
        | Condition::DestinationType(..)
        | Condition::InInterface(..)
        | Condition::OutInterface(..)
        | Condition::Protocol(..)
        | Condition::Fragment(_)
        | Condition::Port(..)
        | Condition::Ports(..)
        | Condition::TcpFlags { .. }
        | Condition::Icmp { .. }
        | Condition::Mark { .. }
        | Condition::Length(..)
        | Condition::Constant(_) => true,
        Condition::Connection(_, asked) => matches!(
            **asked,
            ConnectionCondition::State(_)
                | ConnectionCondition::Status(_)
                | ConnectionCondition::Direction(_)
        ),
        _ => false,
    }
}
