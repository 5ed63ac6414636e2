//! What people call the places that packets come from and go to.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::inventory::Network;
use nattrace_parser::policy::Place as Zone;
use nattrace_parser::syntax::Family;

use crate::check::packets::{destinations, sources};
use crate::packets::PacketSet;
use crate::policy::{AddressSet, Breadth, Side, Where, Zones};
use crate::space::Space;
use crate::walk::Entry;

/// How many addresses or prefixes are listed instead of a zone's name.
const MOST_LISTED: usize = 3;

/// Addresses that have a name.
pub(super) struct Place {
    /// The name; none for what lies in no zone.
    name: Option<String>,
    /// The addresses.
    pub(super) addresses: AddressSet,
    /// Those that have to be in a set for it to be all of the place.
    whole: AddressSet,
}

impl Place {
    /// Whether people have a name for it.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }
}

/// The places of one family, where packets start in one way.
pub(super) struct Places<'s> {
    system: &'s System,
    /// Where packets come from, without what nobody there has.
    pub(super) sources: Vec<Place>,
    /// Where they go; together all addresses.
    pub(super) destinations: Vec<Place>,
    /// Packets whose sender has no way to know the destination.
    unknown: Vec<(AddressSet, AddressSet)>,
    /// Addresses of containers that run.
    members: AddressSet,
}

impl<'s> Places<'s> {
    pub(super) fn new(system: &'s System, family: Family, entry: &Entry, named: &[IpAddr]) -> Self {
        let zones = Zones::new(system, family);
        let side = match entry {
            Entry::Interface(name) => Where::Behind(name.clone()),
            Entry::Local => Where::Bound,
            Entry::LocalAnySource => Where::Unbound,
        };
        let sources = sources_of(system, &zones, family, entry);
        let all =
            sources.iter().fold(AddressSet::none(family), |all, place| all.union(&place.addresses));
        let side = Side { at: side, sources: all, reaches: None };
        Self {
            system,
            sources,
            destinations: destinations_of(system, &zones, family, &side, named),
            unknown: zones.unknown_to(&side),
            members: members(system, family, |_| true),
        }
    }

    /// The packets from where they are at home.
    pub(super) fn home(&self, space: &Space) -> PacketSet {
        let each = self.sources.iter().map(|place| sources(space, &place.addresses));
        each.fold(space.none(), |all, own| all.union(&own))
    }

    /// The packets from and to containers that run, where there are any.
    pub(super) fn running(&self, space: &Space) -> Vec<PacketSet> {
        let ends = [sources(space, &self.members), destinations(space, &self.members)];
        ends.into_iter().filter(|_| !self.members.is_empty()).collect()
    }

    /// The packets of a space that are out of the ordinary because their sender has no way to know
    /// where they go.
    pub(super) fn misguided(&self, space: &Space) -> PacketSet {
        self.unknown.iter().fold(space.none(), |all, (who, what)| {
            all.union(&sources(space, who).intersection(&destinations(space, what)))
        })
    }

    /// What to call some addresses of a place.
    pub(super) fn told(&self, place: &Place, own: Option<&AddressSet>) -> String {
        let name = place.name.as_deref();
        let Some(own) = own else {
            return name.map_or_else(|| "elsewhere".to_owned(), |name| format!("part of {name}"));
        };
        if let Some(name) = name
            && own.covers(&place.whole)
        {
            return name.to_owned();
        }
        let listed = self.listed(own);
        match (listed, name) {
            (Some(listed), _) => listed,
            (None, Some(name)) => format!("part of {name}"),
            (None, None) => "elsewhere".to_owned(),
        }
    }

    /// Few addresses one by one, by the names of containers where they have them.
    fn listed(&self, own: &AddressSet) -> Option<String> {
        if let Some(each) = own.each(MOST_LISTED as u32) {
            let names: Vec<String> = each.into_iter().map(|one| self.called(one)).collect();
            return Some(names.join(", "));
        }
        let prefixes = own.prefixes();
        let few = prefixes.len() <= MOST_LISTED;
        few.then(|| prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    /// A container's name, or the address.
    fn called(&self, address: IpAddr) -> String {
        match self.container(address) {
            Some(name) => name.to_owned(),
            None if address.is_ipv6() => format!("[{address}]"),
            None => address.to_string(),
        }
    }

    /// The name of the running container that has an address.
    pub(super) fn container(&self, address: IpAddr) -> Option<&str> {
        let (container, _) = self.system.host.inventory.owner(address)?;
        Some(&container.name)
    }
}

/// Takes addresses for a place out of what is left.
fn take(places: &mut Vec<Place>, rest: &mut AddressSet, name: String, addresses: &AddressSet) {
    let own = rest.intersection(addresses);
    if !own.is_empty() {
        *rest = rest.difference(&own);
        places.push(Place { name: Some(name), whole: own.clone(), addresses: own });
    }
}

/// The addresses of senders that start by an entry.
fn sources_of(system: &System, zones: &Zones<'_>, family: Family, entry: &Entry) -> Vec<Place> {
    let mut places = Vec::new();
    let Entry::Interface(interface) = entry else {
        let addresses = match entry {
            Entry::Local => zones.own(),
            // The source of the set means nothing.
            _ => AddressSet::all(family),
        };
        let whole = addresses.clone();
        return vec![Place { name: Some("host".to_owned()), addresses, whole }];
    };
    let mut rest = AddressSet::all(family).difference(&zones.own());
    let of_zone = |zone: &Zone| {
        let sides = zones.senders(zone, Breadth::Meant).into_iter();
        let here = sides.filter(|side| side.at == Where::Behind(interface.clone()));
        here.fold(AddressSet::none(family), |all, side| all.union(&side.sources))
    };
    for name in system.host.zones.keys() {
        take(&mut places, &mut rest, name.clone(), &of_zone(&Zone::Zone(name.clone())));
    }
    for network in &system.host.inventory.networks {
        let zone = Zone::Network(network.name.clone());
        take_network(&mut places, &mut rest, system, network, &of_zone(&zone));
    }
    let lan = Zone::Lan(Some(interface.clone()));
    take(&mut places, &mut rest, format!("lan:{interface}"), &of_zone(&lan));
    take(&mut places, &mut rest, "internet".to_owned(), &of_zone(&Zone::Internet));
    let routed = zones.behind_by_routes(interface);
    take(&mut places, &mut rest, format!("iface:{interface}"), &routed);
    places
}

/// The same for a network, all of which is meant where all of its running containers are.
fn take_network(
    places: &mut Vec<Place>,
    rest: &mut AddressSet,
    system: &System,
    network: &Network,
    addresses: &AddressSet,
) {
    let before = places.len();
    take(places, rest, format!("net:{}", network.name), addresses);
    let members = members(system, rest.family(), |of| of == network.name);
    if let Some(place) = places.get_mut(before) {
        // One container is called by its own name unless the rest of the network fares alike.
        if members.each(1).is_none() {
            place.whole = place.whole.intersection(&members);
        }
    }
}

/// The addresses of running containers on some networks.
fn members(system: &System, family: Family, networks: impl Fn(&str) -> bool) -> AddressSet {
    let running = system.host.inventory.containers.iter().filter(|container| container.running);
    let own = running
        .flat_map(|container| &container.endpoints)
        .filter(|endpoint| networks(&endpoint.network))
        .flat_map(|endpoint| &endpoint.addresses)
        .filter(|(own, _)| Family::of(*own) == family);
    own.fold(AddressSet::none(family), |all, (own, _)| all.union(&AddressSet::one(*own)))
}

/// The places that packets may be addressed to.
fn destinations_of(
    system: &System,
    zones: &Zones<'_>,
    family: Family,
    side: &Side,
    named: &[IpAddr],
) -> Vec<Place> {
    let mut places = Vec::new();
    let mut rest = AddressSet::all(family);
    let own = zones.own();
    let known = zones.addressed(&Zone::Host, side).intersection(&own);
    rest = rest.difference(&own);
    if !own.is_empty() {
        let whole = if known.is_empty() { own.clone() } else { known };
        places.push(Place { name: Some("host".to_owned()), addresses: own, whole });
    }
    for name in system.host.zones.keys() {
        let to = zones.addressed(&Zone::Zone(name.clone()), side);
        take(&mut places, &mut rest, name.clone(), &to);
    }
    for network in &system.host.inventory.networks {
        if ["host", "null", "none"].contains(&network.driver.as_str()) {
            continue;
        }
        let subnets = network.subnets.iter().filter(|subnet| subnet.family() == family);
        let all = subnets
            .fold(AddressSet::none(family), |all, subnet| all.union(&AddressSet::prefix(subnet)));
        take_network(&mut places, &mut rest, system, network, &all);
    }
    for interface in &system.host.interfaces {
        let zone = Zone::Lan(Some(interface.name.clone()));
        let to = zones.addressed(&zone, side);
        let name = match system.host.is_container_bridge(&interface.name) {
            true => format!("iface:{}", interface.name),
            false => format!("lan:{}", interface.name),
        };
        take(&mut places, &mut rest, name, &to);
    }
    take(&mut places, &mut rest, "internet".to_owned(), &zones.internet());
    for own in named.iter().filter(|own| Family::of(**own) == family) {
        take(&mut places, &mut rest, own.to_string(), &AddressSet::one(*own));
    }
    if !rest.is_empty() {
        places.push(Place { name: None, whole: rest.clone(), addresses: rest });
    }
    places
}
