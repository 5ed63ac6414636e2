//! Which packets may get to a place at all: those that are addressed there, and those that a rule
//! or docker-proxy may send there.
//!
//! A packet gets where its destination is in the end. So a question that is only about packets
//! that get somewhere needs no others: what is left out here is never looked at. Too many are no
//! fault, one too few would be.

use std::collections::HashMap;
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, PortSide, Sense, TypeLimit, address_type};
use nattrace_model::host::Part;
use nattrace_model::host::route::RouteKind;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::{Action, Target};
use nattrace_parser::policy::Protocol;
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;

use super::packets;
use crate::packets::PacketSet;
use crate::policy::{AddressSet, Landing, Service};
use crate::space::{Field, Space};

/// What of a family's rules may give packets another destination.
#[derive(Debug)]
pub(super) struct Redirections {
    family: Family,
    /// The rules that do.
    rules: Vec<RuleId>,
    /// The rules that lead into a chain.
    callers: HashMap<ChainId, Vec<RuleId>>,
    /// The addresses that may be delivered here.
    delivered: AddressSet,
    /// Whether something may do so that can't be read from the rules.
    unreadable: bool,
}

/// What is known of a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The destination stays.
    Stays,
    /// NAT picks another one.
    Picked,
    /// Anything may happen.
    Anything,
}

fn effect(target: &Target) -> Effect {
    match target {
        Target::Dnat(..) | Target::Redirect(..) | Target::Netmap(_) => Effect::Picked,
        Target::Dnpt(_)
        | Target::Tproxy { .. }
        | Target::Socket { .. }
        | Target::Queue { .. }
        | Target::Unsupported(_) => Effect::Anything,
        Target::Sequence(actions) => {
            let done = actions.iter().filter_map(|action| match action {
                Action::Do(target) => Some(target),
                Action::If(_) => None,
            });
            inner(done)
        }
        Target::Map(map) => {
            inner(map.entries.iter().map(|entry| &entry.target).chain(&map.otherwise))
        }
        Target::None
        | Target::Accept
        | Target::Drop
        | Target::Return
        | Target::Jump(_)
        | Target::Goto(_)
        | Target::Reject(_)
        | Target::Log
        | Target::Mark { .. }
        | Target::Connmark(..)
        | Target::Notrack
        | Target::Zone(_)
        | Target::ConntrackOptions
        | Target::Snat(..)
        | Target::Snpt(_)
        | Target::Masquerade(..)
        | Target::Set { .. }
        | Target::Ttl(_)
        | Target::Tos { .. }
        | Target::Offload
        | Target::Continue(_) => Effect::Stays,
    }
}

/// What is done within a rule that does several things is not looked into.
fn inner<'t>(mut targets: impl Iterator<Item = &'t Target>) -> Effect {
    match targets.all(|target| effect(target) == Effect::Stays) {
        true => Effect::Stays,
        false => Effect::Anything,
    }
}

impl Redirections {
    /// Those of a host.
    pub(super) fn of(system: &System, family: Family) -> Self {
        let (host, rules) = (&system.host, &system.rules);
        let parts = match family {
            Family::Ipv4 => [Part::Rules4, Part::LegacyRules4, Part::Nft],
            Family::Ipv6 => [Part::Rules6, Part::LegacyRules6, Part::Nft],
        };
        let mut all = Self {
            family,
            rules: Vec::new(),
            callers: HashMap::new(),
            delivered: delivered(system, family),
            unreadable: !host.foreign_chains.is_empty()
                || !parts.into_iter().any(|part| host.has(part)),
        };
        for (chain, known) in (0u32..).map(ChainId).zip(&rules.chains) {
            if known.family != family {
                continue;
            }
            for (index, rule) in (0u32..).zip(&known.rules) {
                let id = RuleId { chain, index };
                match effect(&rule.target) {
                    Effect::Stays => {}
                    Effect::Picked => all.rules.push(id),
                    Effect::Anything => all.unreadable = true,
                }
                rule.target.calls(&mut |to, _| {
                    let callers = all.callers.entry(to).or_default();
                    if callers.last() != Some(&id) {
                        callers.push(id);
                    }
                });
            }
        }
        all
    }

    /// The packets that may get to one of some places; `None` where any packet may.
    pub(super) fn into(
        &self,
        system: &System,
        space: &Space,
        landing: &[Landing],
    ) -> Option<PacketSet> {
        if self.unreadable {
            return None;
        }
        let mut goals: Vec<(AddressSet, Service)> = landing
            .iter()
            .map(|landing| {
                let none = AddressSet::none(self.family);
                let spots = landing.spots.iter();
                let all = spots.fold(none, |all, spot| all.union(spot.addresses()));
                (all, landing.service.clone())
            })
            .collect();
        goals.extend(self.proxied(system, &goals));
        let mut search = Search {
            redirections: self,
            system,
            space,
            entries: HashMap::new(),
            goals: &goals,
            delivered: packets::destinations(space, &self.delivered).function().clone(),
        };
        let direct = goals.iter().map(|(addresses, service)| {
            packets::destinations(space, addresses).intersection(&packets::service(space, service))
        });
        let direct = direct.fold(space.none(), |all, one| all.union(&one));
        let mut sent = Vec::new();
        for id in &self.rules {
            if let Some(rule) = system.rules.rule(*id)
                && search.may_reach(rule)
            {
                sent.push(search.matched(*id, rule));
            }
        }
        let sent = space.all().intersection(&space.set(space.union(sent)));
        Some(direct.union(&sent))
    }

    /// The ports by which docker-proxy may be reached that connects to one of the goals: what
    /// docker publishes, and what DNAT rules of the same port tell where the inventory is missing.
    fn proxied(
        &self,
        system: &System,
        goals: &[(AddressSet, Service)],
    ) -> Vec<(AddressSet, Service)> {
        let mut ports: Vec<u16> = Vec::new();
        let meant = |address: IpAddr, port: u16| {
            goals.iter().any(|(addresses, service)| {
                addresses.contains(address) && has_port(service, Some((port, port)))
            })
        };
        for container in &system.host.inventory.containers {
            let mut own = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            let published = &container.published;
            if published.is_empty()
                || !own.any(|(own, _)| published.iter().any(|p| meant(*own, p.container_port)))
            {
                continue;
            }
            ports.extend(published.iter().map(|published| published.host_port));
        }
        for rule in self.rules.iter().filter_map(|id| system.rules.rule(*id)) {
            let Target::Dnat(range, _) = &rule.target else { continue };
            let (Some((address, _)), Some((to, _))) = (range.addresses, range.ports) else {
                continue;
            };
            if !meant(address, to) {
                continue;
            }
            ports.extend(rule.conditions.iter().filter_map(|condition| match condition {
                Condition::Port(Sense::Is, PortSide::Destination, port, _) => Some(*port),
                _ => None,
            }));
        }
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            return Vec::new();
        }
        let protocols = [protocol::TCP, protocol::UDP, protocol::SCTP];
        let service = Service {
            protocols: protocols.into_iter().map(Protocol::Number).collect(),
            ports: ports.into_iter().map(|port| (port, port)).collect(),
        };
        vec![(self.delivered.clone(), service)]
    }
}

/// The addresses that may be delivered here: those of interfaces, those that routes say so of, and
/// those of groups.
fn delivered(system: &System, family: Family) -> AddressSet {
    let host = &system.host;
    if !host.has(Part::Addresses) {
        return AddressSet::all(family);
    }
    let special: [&str; 4] = match family {
        Family::Ipv4 => ["0.0.0.0/32", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"],
        Family::Ipv6 => ["::/128", "::1/128", "ff00::/8", "fe80::/10"],
    };
    let special = special.into_iter().filter_map(|net| {
        let (address, length) = net.split_once('/')?;
        Some(Prefix::new(address.parse().ok()?, length.parse().ok()?))
    });
    let own = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    let own = own.map(|own| Prefix::new(own.local, 128));
    let routes = host.routing.tables(family).values().flat_map(|table| table.routes());
    let routes = routes
        .filter(|route| route.kind != RouteKind::Unicast)
        .map(|route| route.destination.clone());
    let all: Vec<Prefix> = special.chain(own).chain(routes).collect();
    let all = all.iter().map(AddressSet::prefix).filter(|one| one.family() == family);
    all.fold(AddressSet::none(family), |all, one| all.union(&one))
}

/// Whether a service has a port of a range; of all, where none is given.
fn has_port(service: &Service, ports: Option<(u16, u16)>) -> bool {
    let Some((low, high)) = ports else { return true };
    service.ports.is_empty()
        || service.ports.iter().any(|(first, last)| *first <= high && low <= *last)
}

/// The search for packets that rules send to some goals.
struct Search<'a> {
    redirections: &'a Redirections,
    system: &'a System,
    space: &'a Space,
    goals: &'a [(AddressSet, Service)],
    /// The packets that may get into a chain.
    entries: HashMap<ChainId, BDDFunction>,
    /// The packets to addresses that may be delivered here.
    delivered: BDDFunction,
}

impl Search<'_> {
    /// Whether a rule may send packets to a goal.
    fn may_reach(&self, rule: &Rule) -> bool {
        let (addresses, ports) = match &rule.target {
            Target::Dnat(range, _) => (
                range.addresses.map(|(first, last)| AddressSet::range(first, last)),
                // Ports that are shifted may be any.
                range.ports.filter(|_| range.base_port.is_none()),
            ),
            // A mask with holes makes no set of addresses.
            Target::Netmap(prefix) => {
                (Some(AddressSet::prefix(prefix)).filter(|set| !set.is_empty()), None)
            }
            Target::Redirect(ports, _) => (None, *ports),
            _ => (None, None),
        };
        self.goals.iter().any(|(goal, service)| {
            let meets = |addresses: &AddressSet| !goal.intersection(addresses).is_empty();
            has_port(service, ports) && addresses.as_ref().is_none_or(meets)
        })
    }

    /// The packets that may match a rule.
    fn matched(&mut self, id: RuleId, rule: &Rule) -> BDDFunction {
        let entry = self.entry(id.chain);
        self.space.and(&entry, &self.asked(rule))
    }

    /// The packets that may get into a chain. No packet was rewritten before: the first rule that
    /// picks a destination settles it.
    fn entry(&mut self, chain: ChainId) -> BDDFunction {
        if let Some(known) = self.entries.get(&chain) {
            return known.clone();
        }
        // Nothing gets into chains that only call one another.
        self.entries.insert(chain, self.space.nothing());
        let is_base = self.system.rules.chain(chain).is_some_and(|chain| chain.base.is_some());
        let entry = if is_base {
            self.space.anything()
        } else {
            let callers = self.redirections.callers.get(&chain).cloned().unwrap_or_default();
            let each = callers.into_iter().filter_map(|id| {
                let rule = self.system.rules.rule(id)?;
                Some(self.matched(id, rule))
            });
            let each: Vec<BDDFunction> = each.collect();
            self.space.union(each)
        };
        self.entries.insert(chain, entry.clone());
        entry
    }

    /// The packets that a rule may match, as far as their destination and protocol tell.
    fn asked(&self, rule: &Rule) -> BDDFunction {
        let space = self.space;
        let mut asked = space.anything();
        for condition in &rule.conditions {
            let (sense, holds) = match condition {
                Condition::Destination(sense, prefix) => {
                    (*sense, space.prefix(Field::Destination, prefix))
                }
                Condition::DestinationType(Sense::Is, address_type::LOCAL, TypeLimit::None) => {
                    (Sense::Is, self.delivered.clone())
                }
                Condition::Protocol(sense, number) => {
                    (*sense, space.equals(Field::Protocol, (*number).into()))
                }
                Condition::Port(Sense::Is, PortSide::Destination, first, last) => {
                    (Sense::Is, space.ports(Field::DestinationPort, *first, *last))
                }
                Condition::Ports(Sense::Is, PortSide::Destination, ranges) => {
                    let each = ranges
                        .iter()
                        .map(|(first, last)| space.ports(Field::DestinationPort, *first, *last));
                    (Sense::Is, space.union(each.collect()))
                }
                _ => continue,
            };
            asked = space.and(&asked, &space.when(sense.apply(true), &holds));
        }
        asked
    }
}
