//! Zones on one host: who sends from there, which addresses mean it, and where packets arrive.
//!
//! A claim that packets get through is about those that its zone legitimately sends, and one that
//! none does is about those that it could send: the two differ where a process of the host may
//! choose its source, and where a zone is an interface ([`Breadth`]).

mod container;
mod range;

use std::cell::OnceCell;

use nattrace_model::System;
use nattrace_model::host::{Host, Interface, InterfaceKind, Scope};
use nattrace_model::simulate::Expected;
use nattrace_parser::policy::Place;
use nattrace_parser::syntax::Family;

use super::addresses::AddressSet;
use super::side::{Side, Spot, Where};

/// Which packets a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Those that the zone sends as it is meant to.
    Meant,
    /// Those that it could send.
    Possible,
}

/// The zones of one family on one host.
pub(crate) struct Zones<'s> {
    system: &'s System,
    family: Family,
    routed: OnceCell<Vec<Region<'s>>>,
    own: OnceCell<AddressSet>,
}

/// Addresses that are expected in one place.
struct Region<'s> {
    expected: Expected<'s>,
    addresses: AddressSet,
}

impl<'s> Zones<'s> {
    pub(crate) fn new(system: &'s System, family: Family) -> Self {
        Self { system, family, routed: OnceCell::new(), own: OnceCell::new() }
    }

    fn host(&self) -> &'s Host {
        &self.system.host
    }

    fn none(&self) -> AddressSet {
        AddressSet::none(self.family)
    }

    /// The packets that a zone sends.
    pub(crate) fn senders(&self, place: &Place, breadth: Breadth) -> Vec<Side> {
        let mut sides = match place {
            Place::Internet => {
                let internet = self.internet();
                let side = |interface: &str| self.behind(interface, internet.clone());
                self.uplinks().into_iter().map(side).collect()
            }
            Place::Lan(None) => self.lans().map(|own| self.on_link_side(own)).collect(),
            Place::Lan(Some(name)) => self.named(name).map(|own| self.on_link_side(own)).collect(),
            Place::Host => self.host_senders(breadth),
            Place::Network(name) => match self.host().inventory.network(name) {
                Some(network) => self.network_senders(network, breadth),
                None => Vec::new(),
            },
            Place::EveryNetwork => {
                let networks = self.bridged_networks();
                networks.flat_map(|network| self.network_senders(network, breadth)).collect()
            }
            Place::Container(name) => match self.host().inventory.container(name) {
                Some(container) => self.container_senders(container, breadth),
                None => Vec::new(),
            },
            Place::Interface(name) => {
                let side = |own: &Interface| match breadth {
                    Breadth::Possible => self.behind(&own.name, AddressSet::all(self.family)),
                    Breadth::Meant => self.behind(&own.name, self.behind_by_routes(&own.name)),
                };
                self.named(name).map(side).collect()
            }
            Place::Net(net) => self.net_senders(&self.of_net(*net)),
            Place::Zone(name) => self.own_zone_senders(name, breadth),
        };
        sides.retain(|side| side.at == Where::Unbound || !side.sources.is_empty());
        sides
    }

    /// The destinations that packets to a zone are addressed to, where they start at `from`.
    pub(crate) fn addressed(&self, place: &Place, from: &Side) -> AddressSet {
        match place {
            // Where no way leads there, there is no internet.
            Place::Internet if self.uplinks().is_empty() => self.none(),
            Place::Internet => self.internet(),
            Place::Lan(None) => self.union(self.lans().map(|own| self.hosts_on_link(own))),
            Place::Lan(Some(name)) => {
                self.union(self.named(name).map(|own| self.hosts_on_link(own)))
            }
            Place::Host => self.host_addresses(from),
            Place::Network(name) => match self.host().inventory.network(name) {
                Some(network) => self.members(network, from),
                None => self.none(),
            },
            Place::EveryNetwork => {
                self.union(self.bridged_networks().map(|network| self.members(network, from)))
            }
            Place::Container(name) => match self.host().inventory.container(name) {
                Some(container) if container.host_network => self.host_addresses(from),
                Some(container) => self.container_addresses(container, from),
                None => self.none(),
            },
            Place::Interface(name) => {
                self.union(self.named(name).map(|own| self.behind_by_routes(&own.name)))
            }
            Place::Net(net) => self.of_net(*net),
            Place::Zone(name) => {
                let Some(zone) = self.host().zones.get(name) else { return self.none() };
                if zone.nets.is_empty() {
                    return self.union(zone.via.iter().map(|name| self.behind_by_routes(name)));
                }
                self.union(zone.nets.iter().map(|net| self.of_prefix(net)))
            }
        }
    }

    /// Where packets arrive in a zone.
    pub(super) fn landing(&self, place: &Place) -> Vec<Spot> {
        let beyond = |interface: &str, addresses: AddressSet| Spot::Beyond {
            interface: Some(interface.to_owned()),
            addresses,
        };
        let local = || vec![Spot::Local(AddressSet::all(self.family))];
        let mut spots = match place {
            Place::Internet => {
                let internet = self.internet();
                self.uplinks().into_iter().map(|name| beyond(name, internet.clone())).collect()
            }
            Place::Lan(None) => {
                self.lans().map(|own| beyond(&own.name, self.hosts_on_link(own))).collect()
            }
            Place::Lan(Some(name)) => {
                self.named(name).map(|own| beyond(&own.name, self.hosts_on_link(own))).collect()
            }
            Place::Host => local(),
            Place::Network(name) => match self.host().inventory.network(name) {
                Some(network) => self.network_landing(network),
                None => Vec::new(),
            },
            Place::EveryNetwork => {
                self.bridged_networks().flat_map(|network| self.network_landing(network)).collect()
            }
            Place::Container(name) => match self.host().inventory.container(name) {
                Some(container) if container.host_network => local(),
                Some(container) if container.running => container
                    .endpoints
                    .iter()
                    .map(|endpoint| Spot::Beyond {
                        interface: self.bridge(endpoint).map(str::to_owned),
                        addresses: self.of_endpoint(endpoint),
                    })
                    .collect(),
                Some(_) | None => Vec::new(),
            },
            Place::Interface(name) => {
                let all = |own: &Interface| beyond(&own.name, AddressSet::all(self.family));
                self.named(name).map(all).collect()
            }
            Place::Net(net) => self.net_landing(&self.of_net(*net)),
            Place::Zone(name) => self.own_zone_landing(name),
        };
        spots.retain(|spot| !spot.addresses().is_empty());
        spots
    }

    /// The destinations that a sender beyond a router has no way to know: addresses of containers
    /// and, for an internet host, private ones, for which nobody out there has a route (CLI.md,
    /// "outcome"). A packet to one of them does not get here.
    pub(crate) fn unknown_to(&self, side: &Side) -> Vec<(AddressSet, AddressSet)> {
        let Where::Behind(interface) = &side.at else { return Vec::new() };
        let host = self.host();
        if host.is_container_bridge(interface) {
            return Vec::new();
        }
        let bridges = host.interfaces.iter().filter(|own| host.is_container_bridge(&own.name));
        let inside = self.union(bridges.map(|own| self.on_link(own)));
        let on_link = self.union(self.named(interface).map(|own| self.on_link(own)));
        let hidden = inside.difference(&on_link).difference(&self.own());
        // An internet host never learns a private prefix; that of the interface itself stands for
        // a router in front, which forwards ports.
        let internet = self.internet();
        let private = self.reserved().difference(&on_link);
        let beyond = side.sources.difference(&on_link);
        let mut sources = vec![
            (beyond.intersection(&internet), hidden.union(&private)),
            (beyond.difference(&internet), hidden),
        ];
        for zone in host.zones.values() {
            let here = zone.via.is_empty() || zone.via.iter().any(|name| name == interface);
            if !here || (zone.via.is_empty() && zone.nets.is_empty()) {
                continue;
            }
            let senders = if zone.nets.is_empty() {
                AddressSet::all(self.family)
            } else {
                self.union(zone.nets.iter().map(|net| self.of_prefix(net)))
            };
            let known = self.union(zone.routes.iter().map(|net| self.of_prefix(net)));
            let split = |(who, what): (AddressSet, AddressSet)| {
                let (in_zone, others) = (who.intersection(&senders), who.difference(&senders));
                let rest = what.difference(&known);
                [(in_zone, rest), (others, what)]
            };
            sources = sources.into_iter().flat_map(split).collect();
        }
        sources.retain(|(who, what)| !who.is_empty() && !what.is_empty());
        sources
    }

    /// The interfaces behind which a LAN is.
    pub(crate) fn lans(&self) -> impl Iterator<Item = &'s Interface> + use<'s> {
        let host = self.host();
        host.interfaces.iter().filter(|own| {
            own.up
                && own.kind != InterfaceKind::Loopback
                && own.port.is_none()
                && !host.is_container_bridge(&own.name)
        })
    }

    /// An interface that is up; a port of a bridge stands for the bridge (kernel-facts E2).
    fn named(&self, name: &str) -> impl Iterator<Item = &'s Interface> + use<'s> {
        let host = self.host();
        let own = host.interface(name);
        let port = own.and_then(|own| own.port.as_ref());
        let seen = port.map_or(own, |port| host.interface(&port.bridge));
        seen.filter(|own| own.up).into_iter()
    }

    fn is_up(&self, interface: &str) -> bool {
        self.host().interface(interface).is_none_or(|own| own.up)
    }

    fn on_link_side(&self, interface: &Interface) -> Side {
        self.behind(&interface.name, self.hosts_on_link(interface))
    }

    /// Packets with these sources that come in by an interface; what has a source of the host
    /// itself does not.
    fn behind(&self, interface: &str, sources: AddressSet) -> Side {
        let sources = match self.is_up(interface) {
            true => sources.difference(&self.own()),
            false => self.none(),
        };
        Side { at: Where::Behind(interface.to_owned()), sources, reaches: None }
    }

    fn host_senders(&self, breadth: Breadth) -> Vec<Side> {
        let mut sides = self.unbound();
        if breadth == Breadth::Possible {
            sides.push(Side { at: Where::Bound, sources: self.own(), reaches: None });
        }
        sides
    }

    /// The addresses by which the host is known where packets start: those of the interface by
    /// which they come in, else all that are no loopback addresses; for itself, all.
    fn host_addresses(&self, from: &Side) -> AddressSet {
        let global = |own: &Interface| {
            let addresses = own.addresses.iter().filter(|a| a.scope == Scope::Global);
            self.union(addresses.map(|address| self.of_address(address.local)))
        };
        let Where::Behind(name) = &from.at else { return self.own() };
        let here = self.union(self.named(name).map(global));
        if !here.is_empty() {
            return here;
        }
        let others =
            self.host().interfaces.iter().filter(|own| own.kind != InterfaceKind::Loopback);
        self.union(others.map(global))
    }

    /// Packets with sources of these addresses, from where routing expects them.
    fn net_senders(&self, addresses: &AddressSet) -> Vec<Side> {
        let mut sides: Vec<Side> = Vec::new();
        for region in self.regions() {
            let sources = region.addresses.intersection(addresses);
            match region.expected {
                _ if sources.is_empty() => {}
                Expected::Local => {
                    sides.push(Side { at: Where::Bound, sources, reaches: None });
                }
                Expected::Behind(interface) => {
                    let hosts = sources.difference(&self.whole_subnets());
                    sides.push(self.behind(interface, hosts));
                }
                Expected::Nowhere => {}
            }
        }
        sides
    }

    /// The host's own addresses among these are in the host, the others beyond any interface.
    fn net_landing(&self, addresses: &AddressSet) -> Vec<Spot> {
        let own = self.own();
        vec![
            Spot::Local(addresses.intersection(&own)),
            Spot::Beyond { interface: None, addresses: addresses.difference(&own) },
        ]
    }

    fn own_zone_senders(&self, name: &str, breadth: Breadth) -> Vec<Side> {
        let Some(zone) = self.host().zones.get(name) else { return Vec::new() };
        let nets = self.union(zone.nets.iter().map(|net| self.of_prefix(net)));
        if zone.via.is_empty() {
            return self.net_senders(&nets);
        }
        let interfaces = zone.via.iter().flat_map(|name| self.named(name));
        interfaces
            .map(|own| match (zone.nets.is_empty(), breadth) {
                (false, _) => self.behind(&own.name, nets.clone()),
                (true, Breadth::Possible) => self.behind(&own.name, AddressSet::all(self.family)),
                (true, Breadth::Meant) => self.behind(&own.name, self.behind_by_routes(&own.name)),
            })
            .collect()
    }

    fn own_zone_landing(&self, name: &str) -> Vec<Spot> {
        let Some(zone) = self.host().zones.get(name) else { return Vec::new() };
        let nets = match zone.nets.is_empty() {
            true => AddressSet::all(self.family),
            false => self.union(zone.nets.iter().map(|net| self.of_prefix(net))),
        };
        if zone.via.is_empty() {
            return if zone.nets.is_empty() { Vec::new() } else { self.net_landing(&nets) };
        }
        let interfaces = zone.via.iter().flat_map(|name| self.named(name));
        interfaces
            .map(|own| Spot::Beyond {
                interface: Some(own.name.clone()),
                addresses: nets.difference(&self.own()),
            })
            .collect()
    }
}
