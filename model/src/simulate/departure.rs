//! How a container sends what is said to come from it: whether it leaves the container at all, and by
//! which of its networks.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::host::inventory::{Container, Endpoint, Network, ToldBy};
use crate::host::{Host, Part};
use crate::packet::Packet;
use crate::simulate::path::{Arrival, LinkTarget};
use crate::simulate::routing;

/// The container that a packet comes from by the bridge of one of its networks.
pub(crate) struct Departure<'s> {
    host: &'s Host,
    pub(crate) container: &'s Container,
    endpoint: &'s Endpoint,
    pub(crate) network: &'s Network,
}

/// Why a container's packet does not even leave it.
pub(crate) enum Kept {
    /// The container has no route for it: its socket call fails.
    NoRoute {
        why: String,
        /// That it has none is what Docker does today, and told by nobody.
        assumed: bool,
    },
    /// The gateway that it uses is no address of this host (docker's `inhibit_ipv4`), so nobody
    /// answers when it asks for the hardware address.
    NoNeighbour(String),
}

impl<'s> Departure<'s> {
    /// What comes in elsewhere with a container's address is not from the container.
    pub(crate) fn of(host: &'s Host, packet: &Packet, arrival: Arrival<'_>) -> Option<Self> {
        arrival.container?;
        let (container, endpoint) = host.inventory.owner(packet.source)?;
        let network = host.inventory.network(&endpoint.network)?;
        (network.bridge == arrival.interface).then_some(Self { host, container, endpoint, network })
    }

    /// Whether an address is the container's own.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        let mut own = self.container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        own.any(|(own, _)| *own == address)
    }

    /// The attachment of the container at which an address is on-link.
    fn attachment_to(&self, address: IpAddr) -> Option<&'s Endpoint> {
        self.container.endpoints.iter().find(|endpoint| is_on_link(endpoint, address))
    }

    /// Whether what is sent to an address goes out here in any case.
    fn goes_out(&self, to: IpAddr) -> bool {
        stays_on_link(to) || is_on_link(self.endpoint, to)
    }

    /// The network by which the container sends to an address, where it is another one.
    pub(crate) fn elsewhere(&self, to: IpAddr) -> Option<&'s Network> {
        if self.goes_out(to) {
            return None;
        }
        let inventory = &self.host.inventory;
        let by = match self.attachment_to(to) {
            Some(near) => inventory.network(&near.network),
            None => inventory.default_network(self.container, Family::of(to)),
        };
        by.filter(|by| by.name != self.network.name && !by.bridge.is_empty())
    }

    /// Whether a packet stays in the container, and why.
    pub(crate) fn kept(&self, to: IpAddr, arrival: Arrival<'_>) -> Option<Kept> {
        let known = self.host.interface(arrival.interface).is_some();
        if arrival.link == LinkTarget::Neighbour || !known || self.goes_out(to) {
            return None;
        }
        let (name, family) = (&self.container.name, Family::of(to));
        let has_route = || {
            self.attachment_to(to).is_some()
                || self.host.inventory.default_network(self.container, family).is_some()
        };
        if self.network.internal && !has_route() {
            let why = format!(
                "the container `{name}` has no route to {to}: its network `{}` is internal, and it has no default route",
                self.network.name
            );
            let assumed = self.container.told_by == ToldBy::Network;
            return Some(Kept::NoRoute { why, assumed });
        }
        let mut gateways = self.endpoint.gateways.iter();
        let gateway = gateways.find(|gateway| Family::of(**gateway) == family)?;
        let absent =
            !routing::is_own_address(self.host, *gateway) && self.host.has(Part::Addresses);
        absent.then(|| {
            Kept::NoNeighbour(format!(
                "the gateway {gateway} of the container `{name}` is no address of this host: nobody answers for it, and the packet does not leave the container"
            ))
        })
    }
}

/// Whether a packet that nobody listed sends by the bridge of an internal network stays inside: its
/// sender is taken to have what the listed containers there have.
pub(crate) fn kept_of_unlisted(host: &Host, packet: &Packet, arrival: Arrival<'_>) -> Option<Kept> {
    let (from, to, family) = (packet.source, packet.destination, packet.family());
    let bridge = arrival.interface;
    let inventory = &host.inventory;
    let mut networks = inventory.networks.iter().filter(|own| own.internal && own.bridge == bridge);
    let network = networks.find(|own| inventory.gives_no_default_route(own, family))?;
    let goes_out = arrival.container.is_some()
        || host.is_on_link(to, bridge)
        || stays_on_link(to)
        || !host.is_on_link(from, bridge);
    if goes_out {
        return None;
    }
    let why = format!(
        "{from} has no route to {to}: its network `{}` is internal, and gives no default route",
        network.name
    );
    Some(Kept::NoRoute { why, assumed: true })
}

/// Whether an address is on-link at an attachment.
fn is_on_link(endpoint: &Endpoint, address: IpAddr) -> bool {
    let mut own = endpoint.addresses.iter();
    own.any(|(own, length)| Prefix::new(*own, *length).contains(address))
}

/// Whether what is sent to an address goes out by a link as it is, to no gateway.
fn stays_on_link(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast(),
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}
