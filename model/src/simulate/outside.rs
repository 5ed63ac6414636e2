//! What the hosts around do: who answers, and by which way the answer comes back.
//!
//! None of this is the kernel's doing. The rules are those of CLI.md ("outcome"): a remote host or
//! a container answers on every port; its answer comes back if the source it saw is one of this
//! host's own addresses or on-link where the packet left, and else only if a zone's `routes` says
//! so. A container knows its networks and its default route.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::System;
use crate::address::{Prefix, is_internet};
use crate::host::inventory::{Container, Endpoint};
use crate::host::route::RouteKind;
use crate::host::{Host, Interface, InterfaceKind, Part};
use crate::packet::Packet;
use crate::simulate::address_type;
use crate::simulate::hidden::is_hidden;
use crate::simulate::path::{Arrival, LinkTarget};
use crate::simulate::routing::{self, Lookup, LookupResult};
use crate::simulate::trip::Run;
use crate::target::Target;

/// What becomes of an answer before it meets this host again.
pub(crate) enum WayBack<'s> {
    /// It comes in here.
    Arrives(Arrival<'s>),
    /// It reaches the address that the answerer saw without passing this host.
    Direct,
    /// It is lost, or never sent.
    Lost(String),
    /// Nobody has the address that the packet was sent to.
    Nobody(String),
    /// A router answers that the address can't be reached.
    Refused(String),
    /// The rules do not show whether it comes back.
    Unknown(String),
}

/// How the answer to a packet that left by an interface comes back.
pub(crate) fn way_back<'s>(run: &Run<'s, '_>, packet: &Packet, interface: &'s str) -> WayBack<'s> {
    let system = run.system;
    let host = &system.host;
    if let Some(container) = attached(host, packet.destination, interface) {
        return container_way_back(host, container, packet.source, interface);
    }
    if host.is_container_bridge(interface) {
        return bridge_way_back(run, packet, interface);
    }
    remote_way_back(system, packet, interface)
}

/// Whom a frame from a machine on a bridge addresses: the host for its own addresses and for what
/// the machine sends to its router, else a neighbour.
fn link_target(host: &Host, to: IpAddr, on_link: bool) -> LinkTarget {
    // kernel-facts E6: what is sent to all is for the host too.
    if on_link && !routing::is_own_address(host, to) && !address_type::is_group(host, to) {
        LinkTarget::Neighbour
    } else {
        LinkTarget::Host
    }
}

/// A container sends to what is on-link at one of its networks, else to its default gateway.
fn container_way_back<'s>(
    host: &'s Host,
    container: &'s Container,
    to: IpAddr,
    interface: &'s str,
) -> WayBack<'s> {
    let own = |endpoint: &Endpoint| endpoint.addresses.iter().any(|(address, _)| *address == to);
    if container.endpoints.iter().any(own) {
        // Its kernel takes such a packet for a martian (kernel-facts D7).
        return WayBack::Lost(format!(
            "the container `{}` sees its own address {to} as the source, and drops the packet",
            container.name
        ));
    }
    let network_of = |name: &str| host.inventory.network(name);
    let arrives = |bridge: &'s str, link| {
        WayBack::Arrives(Arrival { interface: bridge, link, container: Some(&container.id) })
    };
    let on_link = |endpoint: &&Endpoint| {
        endpoint.addresses.iter().any(|(own, length)| Prefix::new(*own, *length).contains(to))
    };
    // The network that the packet came by first, then the others.
    let bridge_of =
        |endpoint: &Endpoint| network_of(&endpoint.network).map(|network| network.bridge.as_str());
    let here = container.endpoints.iter().filter(|e| bridge_of(e) == Some(interface));
    let elsewhere = container.endpoints.iter().filter(|e| bridge_of(e) != Some(interface));
    if let Some(endpoint) = here.chain(elsewhere).find(on_link)
        && let Some(bridge) = bridge_of(endpoint)
    {
        return arrives(bridge, link_target(host, to, true));
    }
    let default = host.inventory.default_network(container, Family::of(to));
    match default.filter(|network| !network.bridge.is_empty()) {
        Some(network) => arrives(&network.bridge, LinkTarget::Host),
        None => WayBack::Lost(format!(
            "the container `{}` has no default route (its network is internal), so it can't answer {to}",
            container.name
        )),
    }
}

impl Run<'_, '_> {
    /// Whether the inventory tells that nobody on a container bridge has an address; who sent the
    /// packet that is asked about is there, listed or not.
    pub(crate) fn nobody_has(&self, address: IpAddr, bridge: &str) -> bool {
        let host = &self.system.host;
        let inventory = &host.inventory;
        let known = inventory.networks.iter().any(|network| network.bridge == bridge)
            && !inventory.containers.is_empty();
        let asks = self.asker == Some(address) && self.link == Some(bridge);
        known
            && !asks
            && host.is_on_link(address, bridge)
            && attached(host, address, bridge).is_none()
    }
}

/// The running container that has an address, where it is attached to a bridge.
fn attached<'s>(host: &'s Host, address: IpAddr, bridge: &str) -> Option<&'s Container> {
    let inventory = &host.inventory;
    let (container, _) = inventory.owner(address)?;
    let here = |endpoint: &Endpoint| {
        inventory.network(&endpoint.network).is_some_and(|network| network.bridge == bridge)
    };
    container.endpoints.iter().any(here).then_some(container)
}

/// A machine on a container bridge that no inventory knows.
fn bridge_way_back<'s>(run: &Run<'s, '_>, packet: &Packet, interface: &'s str) -> WayBack<'s> {
    let host = &run.system.host;
    if packet.source == packet.destination {
        // As in a container (kernel-facts D7).
        return WayBack::Lost(format!(
            "{0} sees its own address {0} as the source, and drops the packet",
            packet.destination
        ));
    }
    if run.nobody_has(packet.destination, interface) {
        return WayBack::Nobody(format!(
            "no running container has {}: nobody answers for it on `{interface}`",
            packet.destination
        ));
    }
    let link = link_target(host, packet.source, host.is_on_link(packet.source, interface));
    WayBack::Arrives(Arrival { interface, link, container: None })
}

fn remote_way_back<'s>(system: &'s System, packet: &Packet, interface: &'s str) -> WayBack<'s> {
    let host = &system.host;
    let (source, destination) = (packet.source, packet.destination);
    let beyond = !host.is_on_link(destination, interface);
    if let Some(why) = lost_on_the_way(system, packet, interface) {
        return WayBack::Lost(why);
    }
    if let Some(why) = hidden_loss(system, packet, interface) {
        return WayBack::Unknown(why);
    }
    let zone_has = host.zones.values().any(|zone| zone.contains(destination, interface));
    if beyond && !is_internet(destination) && !zone_has && is_public_uplink(host, interface, packet)
    {
        return WayBack::Refused(format!(
            "`{interface}` leads to the internet, where nobody routes the private address {destination}"
        ));
    }
    let arrives = WayBack::Arrives(Arrival { interface, link: LinkTarget::Host, container: None });
    if routing::is_own_address(host, source) || is_pod_link(host, packet, interface) {
        return arrives;
    }
    if host.is_on_link(source, interface) {
        return WayBack::Direct;
    }
    if zone_sends_here(host, destination, interface, source) {
        return arrives;
    }
    WayBack::Lost(format!(
        "{destination} sees the source {source}, to which it has no way back through this host"
    ))
}

/// Whether a zone says that an address sends packets for another one to this host.
pub(crate) fn zone_sends_here(host: &Host, who: IpAddr, interface: &str, to: IpAddr) -> bool {
    host.zones.values().any(|zone| {
        zone.contains(who, interface) && zone.routes.iter().any(|route| route.contains(to))
    })
}

/// Whether the interface is the host's end of a link to one pod or container without a bridge
/// (a route of full length without a gateway over a veth, as Calico sets them): what sits there
/// has the host as its only way out.
fn is_pod_link(host: &Host, packet: &Packet, interface: &str) -> bool {
    let veth = host.interface(interface).is_some_and(|own| own.kind == InterfaceKind::Veth);
    let full = if packet.destination.is_ipv4() { 32 } else { 128 };
    veth && match routing::lookup(host, &Lookup::of(packet, "lo")) {
        LookupResult::Found(found) => {
            found.route.destination.length() == full
                && found.route.kind == RouteKind::Unicast
                && found.next_hops().all(|hop| hop.gateway.is_none())
        }
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => false,
    }
}

/// Whether an interface has an internet address and its packets for elsewhere go to a router.
fn is_public_uplink(host: &Host, interface: &str, packet: &Packet) -> bool {
    let family = packet.family();
    // An address that stands in for an unknown one says nothing.
    host.has(Part::Addresses)
        && host.interface(interface).is_some_and(|own| {
            let mut addresses = own
                .addresses
                .iter()
                .filter(|a| Family::of(a.local) == family && a.scope == crate::host::Scope::Global);
            addresses.next().is_some_and(|address| is_internet(address.local))
        })
}

/// Tells why a provider drops a packet on its way out of an interface, if it does: a provider takes
/// only packets with sources of its own customers (BCP 38). It matters where the source belongs to
/// another uplink of this host.
#[must_use]
pub fn lost_on_the_way(system: &System, packet: &Packet, interface: &str) -> Option<String> {
    let owner = foreign_owner(&system.host, packet, interface)?;
    let uplinks = is_uplink(system, &owner.name, packet.family())
        && is_uplink(system, interface, packet.family());
    uplinks.then(|| {
        format!(
            "it leaves by `{interface}` with the source {} of the other uplink `{}`; providers drop such packets (BCP 38)",
            packet.source, owner.name
        )
    })
}

/// Why it can't be said whether a provider drops a packet: a NAT rule whose interfaces are not
/// shown may be that of an uplink.
fn hidden_loss(system: &System, packet: &Packet, interface: &str) -> Option<String> {
    let family = packet.family();
    let owner = foreign_owner(&system.host, packet, interface)?;
    let hidden = system.rules.chains.iter().filter(|chain| chain.family == family).any(|chain| {
        chain.rules.iter().any(|rule| {
            matches!(rule.target, Target::Masquerade(..) | Target::Snat(..))
                && is_hidden(&rule.conditions)
        })
    });
    hidden.then(|| {
        format!(
            "it leaves by `{interface}` with the source {} of `{}`, which a provider drops if that is another uplink; the rules that would show it hide their interfaces",
            packet.source, owner.name
        )
    })
}

/// The interface that a packet's source belongs to, where it leaves by another one and its source
/// would be a stranger there.
fn foreign_owner<'h>(host: &'h Host, packet: &Packet, interface: &str) -> Option<&'h Interface> {
    if host.is_on_link(packet.destination, interface) || host.is_on_link(packet.source, interface) {
        return None;
    }
    let owner = host.owner(packet.source)?;
    let subnet_elsewhere = owner.addresses.iter().any(|address| {
        address.local == packet.source
            && address.subnet.length() < if packet.source.is_ipv4() { 32 } else { 128 }
    });
    let foreign = owner.name != interface
        && owner.kind != InterfaceKind::Loopback
        && subnet_elsewhere
        && is_internet(packet.source);
    foreign.then_some(owner)
}

/// Whether an interface leads to the internet: some default route uses it, or a NAT rule rewrites
/// sources for it by name.
pub(crate) fn is_uplink(system: &System, interface: &str, family: Family) -> bool {
    use crate::condition::{Condition, InterfacePattern, Sense};
    let default = system.host.routing.tables(family).values().any(|table| {
        table.routes().iter().any(|route| {
            route.destination.length() == 0
                && route.next_hops.iter().any(|hop| hop.interface == interface)
        })
    });
    let names = |condition: &Condition| matches!(condition, Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) if **name == *interface);
    default
        || system.rules.chains.iter().filter(|chain| chain.family == family).any(|chain| {
            chain.rules.iter().any(|rule| {
                matches!(rule.target, Target::Masquerade(..) | Target::Snat(..))
                    && rule.conditions.iter().any(names)
            })
        })
}

/// How a packet that somebody outside sends comes in by an interface: addressed to the host, or on
/// a bridge to a neighbour.
pub(crate) fn arrival<'s>(host: &'s Host, packet: &Packet, interface: &'s str) -> Arrival<'s> {
    let sender = host.inventory.owner(packet.source);
    let bridge = host.interface(interface).is_some_and(|own| own.kind == InterfaceKind::Bridge);
    let on_link = match sender {
        Some((_, endpoint)) => endpoint
            .addresses
            .iter()
            .any(|(own, length)| Prefix::new(*own, *length).contains(packet.destination)),
        None => host.is_on_link(packet.destination, interface),
    };
    let link =
        if bridge { link_target(host, packet.destination, on_link) } else { LinkTarget::Host };
    Arrival { interface, link, container: sender.map(|(container, _)| container.id.as_str()) }
}

/// How the answer to a packet that left by an interface comes in by it.
pub(crate) fn answer_arrival<'s>(
    host: &'s Host,
    packet: &Packet,
    interface: &'s str,
) -> Arrival<'s> {
    let back = Packet { source: packet.destination, destination: packet.source, ..packet.clone() };
    arrival(host, &back, interface)
}

/// Why a packet can't have come here: it is addressed to a container, and its sender, beyond a
/// router, has no way to know that the container is behind this host. A neighbour on the wire is
/// taken to have a route: that it sends here is what the question says.
pub(crate) fn unknown_to_sender(host: &Host, packet: &Packet, interface: &str) -> Option<String> {
    let to = packet.destination;
    let behind_bridge = host
        .interfaces
        .iter()
        .any(|own| host.is_container_bridge(&own.name) && host.is_on_link(to, &own.name));
    let outside = !host.is_container_bridge(interface)
        && !host.is_on_link(to, interface)
        && !host.is_on_link(packet.source, interface)
        && !routing::is_own_address(host, to);
    let known = zone_sends_here(host, packet.source, interface, to);
    (behind_bridge && outside && !known).then(|| {
        format!(
            "{} has no route to {to} by this host that any part names (zones.toml: `routes`), so the packet does not get here",
            packet.source
        )
    })
}
