//! Addresses that the host treats alike as destinations: its own ones of bridges of containers, and
//! the broadcast addresses there.
//!
//! A packet that comes in for one of them is for the host, by whichever bridge it has the address;
//! what tells them apart are rules, sockets, zones and published ports that name one of them. Those
//! of the interface by which packets come in are left out: its subnet is the senders' own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::address::is_internet;
use nattrace_model::condition::{Condition, TypeLimit};
use nattrace_model::host::route::{LOCAL, RouteKind, RuleAction};
use nattrace_model::host::{Host, Part, Scope};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use crate::header::bits;
use crate::walk::Entry;

/// What addresses that are treated alike are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Alike {
    /// The host's own.
    Own,
    /// Those of all hosts of a subnet.
    Broadcast,
}

/// The addresses that are treated alike by packets that begin somewhere.
pub(crate) fn alike(system: &System, family: Family, entry: &Entry) -> BTreeMap<u128, Alike> {
    let host = &system.host;
    // A local process has its packets' source from their destination.
    let Entry::Interface(came_by) = entry else { return BTreeMap::new() };
    let apart = !host.has(Part::Addresses)
        || !local_first(host, family)
        || !gateways_are_own(host, family)
        || lacks_default_route(host, family, came_by)
        || tells_interfaces_apart(system, family);
    if apart {
        return BTreeMap::new();
    }
    let bridges: BTreeSet<&str> = host
        .interfaces
        .iter()
        .filter(|own| own.up && own.name != *came_by && host.is_container_bridge(&own.name))
        .map(|own| own.name.as_str())
        .collect();
    let local = host.routing.tables(family).get(&LOCAL);
    let full = if family == Family::Ipv4 { 32 } else { 128 };
    let mut all = BTreeMap::new();
    for route in local.into_iter().flat_map(|table| table.routes()) {
        let there = route.next_hops.iter().all(|hop| bridges.contains(hop.interface.as_str()));
        let address = route.destination.network();
        if route.destination.length() != full || !there || is_internet(address) {
            continue;
        }
        let known = match route.kind {
            RouteKind::Local if is_global(host, address) => Alike::Own,
            RouteKind::Broadcast => Alike::Broadcast,
            _ => continue,
        };
        if route.tos == 0 && is_first(host, address, route.kind) {
            all.insert(bits(address), known);
        }
    }
    all
}

/// Whether table local is asked before all others, and every packet is routed alike.
pub(crate) fn local_first(host: &Host, family: Family) -> bool {
    let rules = host.routing.rules(family);
    let local = RuleAction::Lookup { table: LOCAL, suppress_prefix_length: None };
    rules.first().is_some_and(|rule| rule.action == local)
        && rules.iter().all(|rule| {
            !rule.inverted
                && rule.source.is_none()
                && rule.destination.is_none()
                && rule.in_interface.is_none()
                && rule.out_interface.is_none()
                && rule.mark.is_none()
                && rule.tos.is_none()
                && rule.protocol.is_none()
                && rule.source_port.is_none()
                && rule.destination_port.is_none()
                && rule.users.is_none()
        })
}

/// Whether a container behind a bridge has no default route: what its networks are then decides what
/// it can send.
fn lacks_default_route(host: &Host, family: Family, bridge: &str) -> bool {
    let inventory = &host.inventory;
    let mut inner = inventory.networks.iter().filter(|own| own.internal && own.bridge == bridge);
    inner.any(|network| {
        let mut attached = inventory.containers.iter().filter(|container| {
            container.running && container.endpoints.iter().any(|own| own.network == network.name)
        });
        attached.any(|own| inventory.default_network(own, family).is_none())
    })
}

/// Whether every container's gateway is the host: else what a container's network is decides what
/// it can send.
fn gateways_are_own(host: &Host, family: Family) -> bool {
    let own = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    let own: BTreeSet<IpAddr> = own.map(|own| own.local).collect();
    let endpoints = host.inventory.containers.iter().flat_map(|container| &container.endpoints);
    let mut gateways = endpoints.flat_map(|endpoint| &endpoint.gateways);
    gateways.all(|gateway| Family::of(*gateway) != family || own.contains(gateway))
}

/// Whether an own address is one for everywhere.
fn is_global(host: &Host, address: IpAddr) -> bool {
    let mut own = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    own.any(|own| own.local == address && own.scope == Scope::Global)
}

/// Whether the route that table local has for an address is of a kind.
pub(crate) fn is_first(host: &Host, address: IpAddr, kind: RouteKind) -> bool {
    let local = host.routing.tables(Family::of(address)).get(&LOCAL);
    let mut routes = local.into_iter().flat_map(|table| table.routes());
    routes.find(|route| route.destination.contains(address)).is_some_and(|route| route.kind == kind)
}

/// Whether rules may ask which interface has an address.
pub(crate) fn tells_interfaces_apart(system: &System, family: Family) -> bool {
    let chains = system.rules.chains.iter().filter(|chain| chain.family == family);
    chains.flat_map(|chain| &chain.rules).any(|rule| {
        let native = matches!(rule.target, Target::Sequence(_) | Target::Map(_));
        native
            || rule.conditions.iter().any(|condition| match condition {
                Condition::DestinationType(_, _, limit) | Condition::SourceType(_, _, limit) => {
                    *limit != TypeLimit::None
                }
                Condition::Value(..) => true,
                _ => false,
            })
    })
}
