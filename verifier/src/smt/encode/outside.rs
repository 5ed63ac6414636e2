//! What the hosts around do (CLI.md, "outcome"): who answers, and by which way the answer comes
//! back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nattrace_model::address::{Prefix, is_internet};
use nattrace_model::condition::{Condition, InterfacePattern, Sense, Undecided};
use nattrace_model::host::inventory::{Container, Endpoint, Network};
use nattrace_model::host::route::RouteKind;
use nattrace_model::host::{Interface, InterfaceKind, Part, Scope};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::state::{Maybe, Merge, Packet};
use super::{Encoder, Run};
use crate::smt::term::{B, Terms, V};

/// A packet as it comes in.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) interface: V,
    /// Whether its frame addresses another machine on the same bridge.
    pub(super) neighbour: B,
    /// The number of the container that sent it; 0 for none.
    pub(super) container: V,
}

impl Merge for Arrival {
    fn merge(terms: &Terms, condition: B, one: &Self, other: &Self) -> Self {
        Self {
            interface: Merge::merge(terms, condition, &one.interface, &other.interface),
            neighbour: Merge::merge(terms, condition, &one.neighbour, &other.neighbour),
            container: Merge::merge(terms, condition, &one.container, &other.container),
        }
    }
}

/// What becomes of an answer before it meets this host again; the conditions exclude one another.
pub(super) struct WayBack {
    pub(super) arrives: B,
    pub(super) arrival: Arrival,
    /// It reaches the address that the answerer saw without passing this host.
    pub(super) direct: B,
    /// Nobody has the address, or a router says that it can't be reached.
    pub(super) unreachable: B,
    /// The rules do not show whether it comes back.
    pub(super) unknown: B,
}

impl<'s> Encoder<'s> {
    /// The addresses of running containers.
    fn containers(&self) -> BTreeMap<IpAddr, (usize, &'s Container, &'s Endpoint)> {
        let mut known = BTreeMap::new();
        for (index, container) in self.host.inventory.containers.iter().enumerate() {
            for endpoint in container.endpoints.iter().filter(|_| container.running) {
                for (address, _) in &endpoint.addresses {
                    if Family::of(*address) == self.family() {
                        known.entry(*address).or_insert((index, container, endpoint));
                    }
                }
            }
        }
        known
    }

    fn container_number(&self, index: usize) -> V {
        self.t.number(16, index as u128 + 1)
    }

    /// The number of the running container that has an address.
    pub(super) fn container_of(&self, address: V) -> V {
        let none = self.t.number(16, 0u8);
        self.containers().iter().fold(none, |found, (own, (index, ..))| {
            self.t.choice(self.is_address(address, *own), self.container_number(*index), found)
        })
    }

    fn network(&self, name: &str) -> Option<&'s Network> {
        self.host.inventory.network(name)
    }

    /// The bridge of an attachment.
    fn bridge_of(&self, endpoint: &Endpoint) -> Option<&'s str> {
        self.network(&endpoint.network).map(|network| network.bridge.as_str())
    }

    /// Whether an address is on-link for an attachment.
    fn on_link_of(&self, endpoint: &Endpoint, address: V) -> B {
        let own = endpoint.addresses.iter();
        self.t.any(own.map(|(own, length)| self.contains(&Prefix::new(*own, *length), address)))
    }

    /// The hardware address of the container that sends a packet from its own bridge.
    pub(super) fn mac_of(&self, source: V, interface: V) -> Maybe {
        let mut mac = self.nothing(48);
        for (address, (_, _, endpoint)) in self.containers() {
            let (Some(own), Some(bridge)) = (endpoint.mac, self.bridge_of(endpoint)) else {
                continue;
            };
            let here = self.interface_named(interface, bridge);
            let when = self.t.and(self.is_address(source, address), here);
            let value = self.t.number(48, super::condition::mac_number(own));
            mac = Maybe::merge(&self.t, when, &Maybe { is: self.t.yes, value }, &mac);
        }
        mac
    }

    /// Whether a machine on a bridge sends to a neighbour and not to the host (kernel-facts E6).
    fn is_neighbour(&self, to: V, on_link: B) -> B {
        self.t.minus(on_link, self.t.or(self.is_own(to), self.is_group(to)))
    }

    /// How a packet that somebody outside sends comes in.
    pub(super) fn arrival(&self, packet: &Packet, interface: V) -> Arrival {
        let t = &self.t;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let mut on_link = self.is_on_link(to, interface);
        for (address, (_, _, endpoint)) in self.containers() {
            let own = self.on_link_of(endpoint, to);
            on_link = t.either(self.is_address(from, address), own, on_link);
        }
        let bridge = self.interface_is(interface, |name| self.is_bridge(name));
        Arrival {
            interface,
            neighbour: t.and(bridge, self.is_neighbour(to, on_link)),
            container: self.container_of(from),
        }
    }

    /// The packets that do not leave their container: those that have no route in it, and those
    /// whose gateway is no address of this host.
    pub(super) fn stays_inside(&self, packet: &Packet, arrival: &Arrival) -> (B, B) {
        let t = &self.t;
        let to = packet.tuple.destination;
        let known = self.interface_is(arrival.interface, |n| self.host.interface(n).is_some());
        let stays_on_link = match self.family() {
            Family::Ipv4 => t.or(self.is_multicast(to), self.is_limited_broadcast(to)),
            Family::Ipv6 => t.or(self.is_multicast(to), self.is_link_local6(to)),
        };
        let leaves = t.any([t.not(known), arrival.neighbour, stays_on_link]);
        let (mut unroutable, mut absent) = (t.no, t.no);
        for (address, (_, container, endpoint)) in self.containers() {
            let Some(network) = self.network(&endpoint.network) else { continue };
            let from = t.all([
                self.is_address(packet.tuple.source, address),
                self.interface_named(arrival.interface, &network.bridge),
                t.not(self.on_link_of(endpoint, to)),
            ]);
            let mut lost = t.no;
            if network.internal {
                let inventory = &self.host.inventory;
                if inventory.default_network(container, self.family()).is_none() {
                    let own = container.endpoints.iter().map(|own| self.on_link_of(own, to));
                    lost = t.minus(from, t.any(own));
                }
                unroutable = t.or(unroutable, lost);
            }
            let same = |gateway: &&IpAddr| Family::of(**gateway) == self.family();
            let gateway = endpoint.gateways.iter().find(same);
            if gateway.is_some_and(|gateway| self.host.owner(*gateway).is_none())
                && self.host.has(Part::Addresses)
            {
                absent = t.or(absent, t.minus(from, lost));
            }
        }
        let unlisted = self.stays_with_unlisted(packet, arrival);
        (t.minus(t.or(unroutable, unlisted), leaves), t.minus(absent, leaves))
    }

    /// The packets of senders on internal networks whom nobody lists, and who are taken to have no
    /// default route as the others there.
    fn stays_with_unlisted(&self, packet: &Packet, arrival: &Arrival) -> B {
        let t = &self.t;
        let inventory = &self.host.inventory;
        let inner = self.interface_is(arrival.interface, |name| {
            inventory.networks.iter().any(|own| {
                own.bridge == name && inventory.gives_no_default_route(own, self.family())
            })
        });
        t.all([
            inner,
            t.is_number(arrival.container, 0u8),
            self.is_on_link(packet.tuple.source, arrival.interface),
            t.not(self.is_on_link(packet.tuple.destination, arrival.interface)),
        ])
    }

    /// The packets that can't have come here: nobody beyond a router knows that the container is
    /// behind this host.
    pub(super) fn unknown_to_sender(&self, packet: &Packet, interface: V) -> B {
        let t = &self.t;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let bridges =
            self.host.interfaces.iter().filter(|own| self.host.is_container_bridge(&own.name));
        let behind = t.any(bridges.map(|own| self.is_on_link(to, self.interface(&own.name))));
        let near = t.any([
            self.is_container_bridge(interface),
            self.is_on_link(to, interface),
            self.is_on_link(from, interface),
            self.is_own(to),
            self.zone_sends_here(from, interface, to),
        ]);
        t.minus(behind, near)
    }

    /// Whether an address behind an interface is of a zone.
    fn in_zone(&self, zone: &nattrace_model::host::Zone, address: V, interface: V) -> B {
        let t = &self.t;
        if zone.via.is_empty() && zone.nets.is_empty() {
            return t.no;
        }
        let via = self.interface_is(interface, |name| {
            zone.via.is_empty() || zone.via.iter().any(|v| v == name)
        });
        let nets = zone.nets.iter().map(|net| self.contains(net, address));
        let net = if zone.nets.is_empty() { t.yes } else { t.any(nets) };
        t.and(via, net)
    }

    fn zone_sends_here(&self, who: V, interface: V, to: V) -> B {
        let t = &self.t;
        t.any(self.host.zones.values().map(|zone| {
            let routes = t.any(zone.routes.iter().map(|route| self.contains(route, to)));
            t.and(self.in_zone(zone, who, interface), routes)
        }))
    }

    /// Whether a container is attached to the bridge where an address is sought.
    fn attached(&self, address: V, bridge: V) -> B {
        let t = &self.t;
        t.any(self.containers().into_iter().map(|(own, (_, container, _))| {
            let here = self.interface_is(bridge, |name| {
                container.endpoints.iter().any(|e| self.bridge_of(e) == Some(name))
            });
            t.and(self.is_address(address, own), here)
        }))
    }

    /// Whether the inventory tells that nobody on a container bridge has an address; who asked is
    /// there.
    pub(super) fn nobody_has(&self, run: &Run, address: V, bridge: V) -> B {
        let t = &self.t;
        let inventory = &self.host.inventory;
        let known = self.interface_is(bridge, |name| {
            !inventory.containers.is_empty()
                && inventory.networks.iter().any(|network| network.bridge == name)
        });
        let known = t.and(known, self.is_on_link(address, bridge));
        let asks = t.and(t.equal(run.link, bridge), t.equal(run.asker, address));
        t.minus(known, t.or(asks, self.attached(address, bridge)))
    }

    /// How the answer to a packet that left by an interface comes back.
    pub(super) fn way_back(&self, run: &Run, packet: &Packet, interface: V) -> WayBack {
        let t = &self.t;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let mut way = self.remote_way_back(packet, interface);
        let on_bridge = self.is_container_bridge(interface);
        let own = t.equal(from, to);
        let nobody = t.minus(self.nobody_has(run, to, interface), own);
        let neighbour = self.is_neighbour(from, self.is_on_link(from, interface));
        let bridged = Arrival { interface, neighbour, container: t.number(16, 0u8) };
        let answers = t.not(t.or(nobody, own));
        way = self.merged(on_bridge, (answers, bridged, nobody), way);
        for (address, (index, container, _)) in self.containers() {
            let here = self.interface_is(interface, |name| {
                container.endpoints.iter().any(|e| self.bridge_of(e) == Some(name))
            });
            let when = t.and(here, self.is_address(to, address));
            if when == t.no {
                continue;
            }
            let (arrives, arrival) = self.container_way_back((index, container), from, interface);
            way = self.merged(when, (arrives, arrival, t.no), way);
        }
        way
    }

    /// One way under a condition, else another.
    fn merged(
        &self,
        when: B,
        (arrives, arrival, unreachable): (B, Arrival, B),
        other: WayBack,
    ) -> WayBack {
        let t = &self.t;
        WayBack {
            arrives: t.either(when, arrives, other.arrives),
            arrival: Arrival::merge(t, when, &arrival, &other.arrival),
            direct: t.minus(other.direct, when),
            unreachable: t.either(when, unreachable, other.unreachable),
            unknown: t.minus(other.unknown, when),
        }
    }

    /// A container sends to what is on-link at one of its networks, else to its default gateway.
    fn container_way_back(
        &self,
        (index, container): (usize, &Container),
        to: V,
        interface: V,
    ) -> (B, Arrival) {
        let t = &self.t;
        let number = self.container_number(index);
        let default = self.host.inventory.default_network(container, self.family());
        let default = default.filter(|network| !network.bridge.is_empty());
        let by_default = default.map(|network| network.bridge.as_str());
        let mut arrives = t.is(by_default.is_some());
        let mut arrival = Arrival {
            interface: self.interface(by_default.unwrap_or("")),
            neighbour: t.no,
            container: number,
        };
        let neighbour = self.is_neighbour(to, t.yes);
        let by_default = (arrives, arrival);
        // From the last to the first: those elsewhere, then those here.
        for here in [false, true] {
            for endpoint in container.endpoints.iter().rev() {
                let bridge = self.bridge_of(endpoint);
                let at = self.interface_is(interface, |name| bridge == Some(name));
                let at = if here { at } else { t.not(at) };
                let when = t.and(at, self.on_link_of(endpoint, to));
                let own = match bridge {
                    Some(bridge) => {
                        let interface = self.interface(bridge);
                        (t.yes, Arrival { interface, neighbour, container: number })
                    }
                    None => by_default,
                };
                arrives = t.either(when, own.0, arrives);
                arrival = Arrival::merge(t, when, &own.1, &arrival);
            }
        }
        // Its kernel takes a packet from itself for a martian (kernel-facts D7).
        let addresses = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let own = t.any(addresses.map(|(own, _)| self.is_address(to, *own)));
        (t.minus(arrives, own), arrival)
    }

    fn remote_way_back(&self, packet: &Packet, interface: V) -> WayBack {
        let t = &self.t;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let beyond = t.not(self.is_on_link(to, interface));
        let lost = self.lost_on_the_way(packet, interface);
        let hides = self.hides_uplinks();
        let unknown = if hides {
            let foreign = t.any(self.foreign_owners(packet, interface).map(|(when, _)| when));
            t.minus(foreign, lost)
        } else {
            t.no
        };
        let in_zone = t.any(self.host.zones.values().map(|zone| self.in_zone(zone, to, interface)));
        let mut rest = t.not(t.or(lost, unknown));
        let refused = t.all([
            rest,
            beyond,
            t.not(self.is_internet(to)),
            t.not(in_zone),
            self.is_public_uplink(interface),
        ]);
        rest = t.minus(rest, refused);
        let own = t.or(self.is_own(from), self.is_pod_link(packet, interface));
        let direct = t.all([rest, t.not(own), self.is_on_link(from, interface)]);
        let known = t.or(own, self.zone_sends_here(to, interface, from));
        let arrives = t.minus(t.and(rest, known), direct);
        let arrival = Arrival { interface, neighbour: t.no, container: t.number(16, 0u8) };
        WayBack { arrives, arrival, direct, unreachable: refused, unknown }
    }

    /// Whether the interface is the host's end of a link to one pod without a bridge.
    fn is_pod_link(&self, packet: &Packet, interface: V) -> B {
        let t = &self.t;
        let tables = self.host.routing.tables(self.family()).values();
        let hops: Vec<&str> = tables
            .flat_map(|table| table.routes())
            .flat_map(|route| &route.next_hops)
            .map(|hop| hop.interface.as_str())
            .collect();
        let veth = self.interface_is(interface, |name| {
            let own = self.host.interface(name);
            own.is_some_and(|own| own.kind == InterfaceKind::Veth) && hops.contains(&name)
        });
        if veth == t.no {
            return t.no;
        }
        let found = self.lookup(&self.key(packet, self.loopback()));
        let full = found.of_kind(|kind| kind == RouteKind::Unicast).filter(|(_, route)| {
            route.destination.length() == self.width()
                && super::route::usable(route).all(|hop| hop.gateway.is_none())
        });
        t.and(veth, t.any(full.map(|(when, _)| when)))
    }

    /// Whether an interface has an internet address and leads to a router.
    fn is_public_uplink(&self, interface: V) -> B {
        self.interface_is(interface, |name| {
            self.host.has(Part::Addresses)
                && self.host.interface(name).is_some_and(|own| {
                    let mut addresses = own.addresses.iter().filter(|a| {
                        Family::of(a.local) == self.family() && a.scope == Scope::Global
                    });
                    addresses.next().is_some_and(|address| is_internet(address.local))
                })
        })
    }

    /// The packets that a provider drops, since their source is of another uplink (BCP 38).
    pub(super) fn lost_on_the_way(&self, packet: &Packet, interface: V) -> B {
        let t = &self.t;
        let by_uplink = self.interface_is(interface, |name| self.is_uplink(name));
        let owners = self.foreign_owners(packet, interface);
        let lost = t.any(owners.filter(|(_, own)| self.is_uplink(&own.name)).map(|(w, _)| w));
        t.and(by_uplink, lost)
    }

    /// The interfaces whose source a packet has that leaves by another one, where it is a stranger.
    fn foreign_owners(
        &self,
        packet: &Packet,
        interface: V,
    ) -> impl Iterator<Item = (B, &'s Interface)> {
        let t = &self.t;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let near = t.or(self.is_on_link(to, interface), self.is_on_link(from, interface));
        self.own.iter().filter_map(move |(address, at)| {
            let owner = self.host.interface(at.first()?)?;
            let subnet_elsewhere = owner
                .addresses
                .iter()
                .any(|own| own.local == *address && own.subnet.length() < self.width());
            let foreign =
                owner.kind != InterfaceKind::Loopback && subnet_elsewhere && is_internet(*address);
            if !foreign {
                return None;
            }
            let elsewhere = t.not(self.interface_named(interface, &owner.name));
            let when = t.and(self.is_address(from, *address), t.minus(elsewhere, near));
            Some((when, owner))
        })
    }

    /// Whether an interface leads to the internet.
    pub(super) fn is_uplink(&self, interface: &str) -> bool {
        let mut tables = self.host.routing.tables(self.family()).values();
        let default = tables.any(|table| {
            table.routes().iter().any(|route| {
                route.destination.length() == 0
                    && route.next_hops.iter().any(|hop| hop.interface == interface)
            })
        });
        let names = |condition: &Condition| match condition {
            Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => {
                **name == *interface
            }
            _ => false,
        };
        default || self.source_rules().any(|conditions| conditions.iter().any(names))
    }

    /// The conditions of the rules that rewrite sources.
    fn source_rules(&self) -> impl Iterator<Item = &'s [Condition]> {
        let own = self.system.rules.chains.iter().filter(|chain| chain.family == self.family());
        let rules = own.flat_map(|chain| &chain.rules);
        let rewriting =
            rules.filter(|rule| matches!(rule.target, Target::Masquerade(..) | Target::Snat(..)));
        rewriting.map(|rule| rule.conditions.as_slice())
    }

    /// Whether a rule that rewrites sources does not show its interfaces.
    fn hides_uplinks(&self) -> bool {
        let hidden = Condition::Undecided(Undecided::InterfacesNotShown);
        self.source_rules().any(|conditions| conditions.contains(&hidden))
    }
}
