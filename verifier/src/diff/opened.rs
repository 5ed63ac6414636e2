//! Which usual packets may fare differently where nothing but rules that translate sources differs.
//!
//! Such rules are asked about the first packet of a connection alone (`nf_nat_inet_fn`), and nothing
//! before them gives a packet another source. So what counts is the source that a packet was sent
//! with, or the one that the host picks for its own. Where connections are tracked, answers never
//! meet these rules, so that most packets are out of the question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, InterfacePattern, Sense, address_type};
use nattrace_model::hook::Hook;
use nattrace_model::host::route::{Route, RouteKind, RouteTable};
use nattrace_model::host::{Interface, Scope};
use nattrace_model::ruleset::{Base, ChainId, ChainKind, Rule};
use nattrace_model::target::{RejectWith, Target};
use nattrace_parser::syntax::{Family, Policy};
use oxidd::bdd::BDDFunction;

use super::change::Hosts;
use super::edits::{Edits, bases};
use super::identity::name;
use super::search::Map;
use super::touched::{Taken, proxy_targets};
use crate::packets::PacketSet;
use crate::policy::AddressSet;
use crate::space::{Field, Space};
use crate::walk::Entry;

/// The sources that rules which differ ask for, where nothing but rules that translate sources
/// differs.
pub(super) struct Opened {
    of: [AddressSet; 2],
    /// The same rule by rule, with the interfaces that each asks for.
    asked: Vec<Asked>,
    /// Whether a rule may lead what the host itself sends to others elsewhere.
    led: bool,
    /// The ports on which docker-proxy may take connections.
    taken: Vec<Taken>,
}

/// What a rule asks for.
struct Asked {
    family: Family,
    sources: AddressSet,
    exits: Vec<(Sense, InterfacePattern)>,
}

impl Asked {
    fn of(rule: &Rule, family: Family) -> Self {
        let exits = rule.conditions.iter().filter_map(|condition| match condition {
            Condition::OutInterface(sense, pattern) => Some((*sense, pattern.clone())),
            _ => None,
        });
        Self { family, sources: source_of(rule, family), exits: exits.collect() }
    }

    fn may_leave_by(&self, interface: &str) -> bool {
        self.exits.iter().all(|(sense, pattern)| sense.apply(pattern.matches(interface)))
    }
}

impl Opened {
    /// `None` where other rules differ, or where packets may meet them in other ways.
    pub(super) fn between(
        hosts: &Hosts<'_>,
        edits: &Edits,
        maps: &(Map<'_>, Map<'_>),
    ) -> Option<Self> {
        if !hosts.before.host.is_same_as(&hosts.after.host) {
            return None;
        }
        let mut of = [Family::Ipv4, Family::Ipv6].map(AddressSet::none);
        let mut asked = Vec::new();
        for (family, sources) in [Family::Ipv4, Family::Ipv6].into_iter().zip(&mut of) {
            let tracks = |system: &System| system.rules.tracks_connections(family);
            if tracks(hosts.before) != tracks(hosts.after) || !same_but_for_sources(hosts, family) {
                return None;
            }
            for edited in edits.chains.iter().filter(|own| own.family == family) {
                let versions = [
                    (hosts.before, &maps.0, &edited.before),
                    (hosts.after, &maps.1, &edited.after),
                ];
                for (system, map, version) in versions {
                    let Some((id, rules)) = version else { continue };
                    if !map.bases(*id).iter().all(translates_sources) {
                        return None;
                    }
                    for index in rules {
                        let rule = system.rules.chain(*id)?.rules.get(*index as usize)?;
                        let own = Asked::of(rule, family);
                        *sources = sources.union(&own.sources);
                        asked.push(own);
                    }
                }
            }
        }
        let plain = |system: &System| {
            system.rules.chains.iter().flat_map(|chain| &chain.rules).all(is_plain)
        };
        if !plain(hosts.before) || !plain(hosts.after) {
            return None;
        }
        let mut taken = Vec::new();
        proxy_targets(hosts.before, &mut taken);
        proxy_targets(hosts.after, &mut taken);
        let led = leads_away(hosts.before) || leads_away(hosts.after);
        Some(Self { of, asked, led, taken })
    }

    fn sources(&self, family: Family) -> &AddressSet {
        match family {
            Family::Ipv4 => &self.of[0],
            Family::Ipv6 => &self.of[1],
        }
    }

    /// The packets of an entry, usual ones, that may meet a rule that differs.
    pub(super) fn packets(&self, system: &System, space: &Space, entry: &Entry) -> PacketSet {
        let sources = self.sources(space.family());
        let picked = self.picked(system, space.family());
        let of = |field: Field, addresses: &AddressSet| -> BDDFunction {
            let ranges = addresses.each_range();
            space.union(ranges.map(|(first, last)| space.addresses(field, first, last)).collect())
        };
        let met = match entry {
            Entry::Local => space.anything(),
            // To oneself one speaks from the address that one asks for.
            Entry::LocalAnySource => of(Field::Destination, &picked.union(sources)),
            // The host answers from an address of its own choice, perhaps.
            Entry::Interface(_) => of(Field::Source, &picked.union(sources)),
        };
        space.set(space.or(&met, &self.proxied(system, space)))
    }

    /// The destinations for which the host may pick one of the sources.
    fn picked(&self, system: &System, family: Family) -> AddressSet {
        let mut all = AddressSet::none(family);
        for route in system.host.routing.tables(family).values().flat_map(RouteTable::routes) {
            if self.may_pick(system, self.sources(family), route) {
                all = all.union(&AddressSet::prefix(&route.destination));
            }
        }
        all
    }

    fn may_pick(&self, system: &System, sources: &AddressSet, route: &Route) -> bool {
        let family = sources.family();
        if let Some(own) = route.preferred_source {
            return sources.contains(own);
        }
        if route.kind == RouteKind::Local {
            return !AddressSet::prefix(&route.destination).intersection(sources).is_empty();
        }
        let interfaces = &system.host.interfaces;
        let any = |own: &Interface| own.addresses.iter().any(|own| sources.contains(own.local));
        route.next_hops.iter().any(|hop| {
            let own = interfaces.iter().find(|own| own.name == hop.interface);
            let first = own.and_then(|own| {
                own.addresses.iter().find(|address| {
                    Family::of(address.local) == family && address.scope == Scope::Global
                })
            });
            match (own, first) {
                // It has one to pick from.
                (Some(own), Some(_)) => any(own),
                _ => interfaces.iter().any(any) || own.is_none_or(|own| own.addresses.is_empty()),
            }
        })
    }

    /// The packets that docker-proxy may take whose own connection may have one of the sources.
    fn proxied(&self, system: &System, space: &Space) -> BDDFunction {
        let mut all = Vec::new();
        for Taken { number, port, target } in &self.taken {
            if target.is_none_or(|(address, _)| self.may_connect_to(system, address)) {
                all.push(space.and(
                    &space.equals(Field::Protocol, (*number).into()),
                    &space.equals(Field::DestinationPort, (*port).into()),
                ));
            }
        }
        let here = here(system, space.family());
        let here = here.each_range();
        let here = here.map(|(first, last)| space.addresses(Field::Destination, first, last));
        space.and(&space.union(all), &space.union(here.collect()))
    }

    fn may_connect_to(&self, system: &System, address: IpAddr) -> bool {
        let family = Family::of(address);
        if self.led || system.host.owner(address).is_some() {
            return true;
        }
        let routes = system.host.routing.tables(family).values();
        let mut routes = routes.flat_map(RouteTable::routes);
        routes.any(|route| {
            route.destination.contains(address)
                && self.asked.iter().filter(|asked| asked.family == family).any(|asked| {
                    self.may_pick(system, &asked.sources, route)
                        && (route.next_hops.is_empty()
                            || route.next_hops.iter().any(|hop| asked.may_leave_by(&hop.interface)))
                })
        })
    }
}

/// Whether a rule may lead elsewhere what the host sends to an address that is not its own.
fn leads_away(system: &System) -> bool {
    let is_for_others = |rule: &Rule| {
        !rule.conditions.iter().any(|condition| {
            matches!(condition, Condition::DestinationType(Sense::Is, address_type::LOCAL, _))
        })
    };
    let chains = &system.rules.chains;
    let mut reached: Vec<ChainId> = Vec::new();
    for (id, chain) in (0u32..).map(ChainId).zip(chains) {
        if chain.base.is_some_and(|base| base.hook == Hook::Output) {
            reached.push(id);
        }
    }
    let mut at = 0;
    while let Some(chain) = reached.get(at).and_then(|id| system.rules.chain(*id)) {
        at += 1;
        for rule in chain.rules.iter().filter(|rule| is_for_others(rule)) {
            if matches!(rule.target, Target::Dnat(..) | Target::Redirect(..)) {
                return true;
            }
            rule.target.calls(&mut |called, _| {
                if !reached.contains(&called) {
                    reached.push(called);
                }
            });
        }
    }
    false
}

/// The destinations that may be the host's own, groups and broadcasts among them.
fn here(system: &System, family: Family) -> AddressSet {
    let host = &system.host;
    let leads_here = |target: &Target| match target {
        Target::Redirect(..) => true,
        Target::Dnat(range, _) => range.addresses.is_none_or(|(first, last)| {
            first != last || host.owner(first).is_some() || Family::of(first) != family
        }),
        _ => false,
    };
    let mut rules = system.rules.chains.iter().flat_map(|chain| &chain.rules);
    if rules.any(|rule| leads_here(&rule.target)) {
        return AddressSet::all(family);
    }
    let own = host.interfaces.iter().flat_map(|own| &own.addresses);
    let own = own.filter(|own| Family::of(own.local) == family);
    let own = own.flat_map(|own| {
        let last = AddressSet::prefix(&own.subnet).each_range().last().map(|(_, last)| last);
        [Some(own.local), own.broadcast, last].into_iter().flatten()
    });
    let local = |route: &&Route| !matches!(route.kind, RouteKind::Unicast);
    let routes = host.routing.tables(family).values().flat_map(RouteTable::routes);
    let groups = match family {
        Family::Ipv4 => [
            Prefix::new(Ipv4Addr::LOCALHOST.into(), 8),
            Prefix::new(Ipv4Addr::new(224, 0, 0, 0).into(), 3),
        ],
        Family::Ipv6 => [
            Prefix::new(Ipv6Addr::LOCALHOST.into(), 128),
            Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
        ],
    };
    let prefixes = routes.filter(local).map(|route| &route.destination).chain(&groups);
    let own = AddressSet::of(family, own);
    prefixes.fold(own, |all, prefix| all.union(&AddressSet::prefix(prefix)))
}

/// Whether the chains that lead to a rule translate sources, and nothing else.
fn translates_sources(base: &Base) -> bool {
    base.kind == ChainKind::Nat && matches!(base.hook, Hook::Postrouting | Hook::Input)
}

/// Whether the base chains that matter are the same, but for those that translate sources.
fn same_but_for_sources(hosts: &Hosts<'_>, family: Family) -> bool {
    let others = |system: &System| {
        let mut all = bases(system, family, |_, chain| name(chain));
        all.retain(|(_, hook, _, policy, kind)| {
            let nat = *kind == ChainKind::Nat && matches!(hook, Hook::Postrouting | Hook::Input);
            !nat || *policy != Policy::Accept
        });
        all
    };
    let physdev = |system: &System| system.rules.asks_physdev();
    others(hosts.before) == others(hosts.after) && physdev(hosts.before) == physdev(hosts.after)
}

/// Whether a rule neither gives packets another source before sources are translated, nor has to
/// do with answers that meet such rules.
fn is_plain(rule: &Rule) -> bool {
    match &rule.target {
        Target::Reject(with) => *with != RejectWith::TcpReset,
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Log
        | Target::Mark { .. }
        | Target::Connmark(..)
        | Target::ConntrackOptions
        | Target::Snat(..)
        | Target::Dnat(..)
        | Target::Masquerade(..)
        | Target::Redirect(..)
        | Target::Queue { .. }
        | Target::Set { .. }
        | Target::Ttl(_)
        | Target::Tos { .. }
        | Target::Continue(_) => true,
        Target::Notrack
        | Target::Zone(_)
        | Target::Netmap(_)
        | Target::Snpt(_)
        | Target::Dnpt(_)
        | Target::Tproxy { .. }
        | Target::Socket { .. }
        | Target::Offload
        | Target::Sequence(_)
        | Target::Map(_)
        | Target::Unsupported(_) => false,
    }
}

/// The sources that a rule asks for.
fn source_of(rule: &Rule, family: Family) -> AddressSet {
    rule.conditions.iter().fold(AddressSet::all(family), |all, condition| match condition {
        Condition::Source(Sense::Is, prefix) => all.intersection(&AddressSet::prefix(prefix)),
        _ => all,
    })
}
