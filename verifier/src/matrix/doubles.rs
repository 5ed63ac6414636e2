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

#[cfg(test)]
mod tests {
    use nattrace_model::build::{Text, load};
    use nattrace_parser::policy::parse_expression;

    use super::*;
    use crate::matrix::{Kept, Matrix, Scope as Asked, matrix};

    fn host(rules: &str, listeners: &str) -> System {
        let each = (2..14u32).map(|at| {
            format!(
                "{at}: br{at}: <UP>\n    inet6 fe80::{at:x}/64 scope link\n    \
                 inet6 fd00:{at}::1/64 scope global\n"
            )
        });
        let addresses: String = ["1: lo: <LOOPBACK,UP>\n    inet6 ::1/128 scope host\n".to_owned()]
            .into_iter()
            .chain(each)
            .collect();
        let parts = [
            Text { name: "ip6tables-save", text: rules },
            Text { name: "ip-addr", text: &addresses },
            Text { name: "listeners", text: listeners },
        ];
        let loaded = load(&parts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        loaded.system
    }

    fn of_host(system: &System, kept: Kept) -> Matrix {
        let host = || vec![parse_expression("host").unwrap()];
        let family = Some(Family::Ipv6);
        let asked = Asked { from: host(), to: host(), family, kept, ..Asked::default() };
        matrix(system, &asked).unwrap()
    }

    fn said(matrix: &Matrix) -> Vec<String> {
        let each = matrix.cells.iter().flat_map(|cell| {
            let services: Vec<String> = cell.services.iter().map(ToString::to_string).collect();
            cell.parts.iter().map(move |part| {
                format!(
                    "{} {:?} {:?} {:?} {:?} {:?} {:?}",
                    services.join(" "),
                    part.outcome,
                    part.verdict,
                    part.sources,
                    part.landings,
                    part.because,
                    part.which
                )
            })
        });
        each.collect()
    }

    const FILTER: &str =
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
    const LISTENER: &str = "tcp LISTEN 0 128 [::]:80 [::]:*\n";

    /// Where every packet is kept no address stands for another one: the same has to be said.
    #[test]
    fn what_is_said_of_one_is_so_of_those_that_it_stands_for() {
        let rules = |rules: &str| format!("{FILTER}{rules}COMMIT\n");
        for (rules, listeners, fewer) in [
            (String::new(), LISTENER, true),
            (rules(""), LISTENER, true),
            (rules("-A INPUT -d fe80::5/128 -p tcp -m tcp --dport 80 -j DROP\n"), LISTENER, true),
            (
                rules("-A OUTPUT -d fe80::4/126 -j REJECT\n-A INPUT -s fd00:3::/32 -j DROP\n"),
                LISTENER,
                true,
            ),
            (rules("-A INPUT -i lo -m addrtype --dst-type LOCAL -j DROP\n"), LISTENER, true),
            (String::new(), "tcp LISTEN 0 128 [fe80::7]:80 [::]:*\n", true),
            (
                "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
                 -A OUTPUT -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 80\nCOMMIT\n"
                    .to_owned(),
                LISTENER,
                false,
            ),
            (rules("-A INPUT -m u32 --u32 \"20&0xFF=0x5\" -j DROP\n"), LISTENER, false),
        ] {
            let system = host(&rules, listeners);
            let (quick, whole) = (of_host(&system, Kept::Witness), of_host(&system, Kept::Packets));
            assert_eq!(said(&quick), said(&whole), "{rules}{listeners}");
            assert_eq!(quick.asked < whole.asked, fewer, "{rules}{listeners}");
        }
    }
}
