//! Own addresses that the host treats alike as destinations: those of bridges of containers.
//!
//! A packet that comes in for one of them is for the host, by whichever bridge it has the address;
//! what tells them apart are rules, sockets, zones and published ports that name one of them. The
//! address of the interface by which packets come in is left out: its subnet is the senders' own.

use std::collections::BTreeSet;
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

/// The addresses that are treated alike by packets that begin somewhere.
pub(crate) fn alike(system: &System, family: Family, entry: &Entry) -> BTreeSet<u128> {
    let host = &system.host;
    // A local process has its packets' source from their destination.
    let Entry::Interface(came_by) = entry else { return BTreeSet::new() };
    if !host.has(Part::Addresses) || !local_first(host, family) || !gateways_are_own(host, family) {
        return BTreeSet::new();
    }
    let bridges = host.interfaces.iter().filter(|interface| {
        interface.up && interface.name != *came_by && host.is_container_bridge(&interface.name)
    });
    let own = bridges.flat_map(|bridge| &bridge.addresses);
    let all: BTreeSet<u128> = own
        .filter(|own| Family::of(own.local) == family && own.scope == Scope::Global)
        .filter(|own| !is_internet(own.local) && is_delivered(host, own.local))
        .map(|own| bits(own.local))
        .collect();
    if all.len() < 2 || tells_interfaces_apart(system, family) {
        return BTreeSet::new();
    }
    all
}

/// Whether table local is asked before all others, and every packet is routed alike.
fn local_first(host: &Host, family: Family) -> bool {
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

/// Whether every container's gateway is the host: else what a container's network is decides what
/// it can send.
fn gateways_are_own(host: &Host, family: Family) -> bool {
    let own = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    let own: BTreeSet<IpAddr> = own.map(|own| own.local).collect();
    let endpoints = host.inventory.containers.iter().flat_map(|container| &container.endpoints);
    let mut gateways = endpoints.flat_map(|endpoint| &endpoint.gateways);
    gateways.all(|gateway| Family::of(*gateway) != family || own.contains(gateway))
}

/// Whether table local has a route of its own that delivers an address.
fn is_delivered(host: &Host, address: IpAddr) -> bool {
    let local = host.routing.tables(Family::of(address)).get(&LOCAL);
    let mut routes = local.into_iter().flat_map(|table| table.routes());
    let full = if address.is_ipv4() { 32 } else { 128 };
    routes.find(|route| route.destination.contains(address)).is_some_and(|route| {
        route.kind == RouteKind::Local && route.destination.length() == full && route.tos == 0
    })
}

/// Whether rules may ask which interface has an address.
fn tells_interfaces_apart(system: &System, family: Family) -> bool {
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
