//! Containers and their networks, as `docker inspect` tells. A way to refer to addresses and to
//! know who answers behind them; never a source of meaning for rules.

use std::net::{IpAddr, SocketAddr};

use nattrace_parser::host::docker::GatewayMode;
use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::host::SocketProtocol;

/// How many characters of an identifier are enough to mean a container.
const SHORTEST_ID: usize = 6;

/// A container network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: String,
    /// The driver (`bridge`, `host`, `macvlan`, …).
    pub driver: String,
    /// The interface of the host that it hangs on; empty where there is none.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<Prefix>,
    /// The gateways that its containers use.
    pub gateways: Vec<IpAddr>,
    /// Whether its containers have no way out (`--internal`): Docker drops what they send
    /// elsewhere, and since 25.0 it gives them no default route.
    pub internal: bool,
    /// Which rules Docker makes for it.
    pub options: NetworkOptions,
}

/// Which rules Docker makes for a network, as far as its options tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Whether it is the network that containers are in by default, which is made anew whenever
    /// dockerd starts.
    pub is_default: bool,
    /// Whether what leaves it is masqueraded (`enable_ip_masquerade`).
    pub masquerades: bool,
    /// Whether its containers may talk to each other (`enable_icc`).
    pub inter_container: bool,
    /// The sources that leaving packets get instead of a masqueraded one (`host_ipv4`, …).
    pub sources: Vec<IpAddr>,
    /// How packets reach its containers from outside, for IPv4 and IPv6; `None` for a mode that is
    /// not known.
    pub gateway_modes: [Option<GatewayMode>; 2],
}

impl Default for NetworkOptions {
    /// What Docker does where nobody says otherwise.
    fn default() -> Self {
        Self {
            is_default: false,
            masquerades: true,
            inter_container: true,
            sources: Vec::new(),
            gateway_modes: [Some(GatewayMode::Nat); 2],
        }
    }
}

/// A container's attachment to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// The addresses with the lengths of their on-link prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Those of them that somebody asked for, and that stay.
    pub assigned: Vec<IpAddr>,
    /// The default gateways it hands out, one a family at most; of an internal network those that
    /// the container is known to have got.
    pub gateways: Vec<IpAddr>,
    /// The hardware address.
    pub mac: Option<[u8; 6]>,
}

/// A port that docker publishes for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: SocketProtocol,
    /// The address of the host; `None` for every address of either family.
    pub host_address: Option<IpAddr>,
    /// The port of the host.
    pub host_port: u16,
    /// The port of the container.
    pub container_port: u16,
}

/// Who tells of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldBy {
    /// Its own inspection.
    Inspection,
    /// A network that it is in, which does not say which gateway it has.
    Network,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name, without the leading slash.
    pub name: String,
    /// Its identifier.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether it shares the network of the host.
    pub host_network: bool,
    /// Its attachments, sorted by network name.
    pub endpoints: Vec<Endpoint>,
    /// The network by which its default route goes, where it is known; see
    /// [`Inventory::default_network`].
    pub default_network: Option<String>,
    /// Who tells of it.
    pub told_by: ToldBy,
    /// Its published ports.
    pub published: Vec<PublishedPort>,
}

/// Every container and network that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The networks.
    pub networks: Vec<Network>,
    /// The containers.
    pub containers: Vec<Container>,
}

impl Inventory {
    /// A network by its name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// A container by its name, else by its host name or the beginning of its identifier where only
    /// one has it.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        let all = &self.containers;
        let mut named: Vec<&Container> = all.iter().filter(|c| c.name == name).collect();
        if named.is_empty() {
            named = all.iter().filter(|c| c.hostname == name).collect();
        }
        if named.is_empty() && name.len() >= SHORTEST_ID {
            named = all.iter().filter(|c| c.id.starts_with(name)).collect();
        }
        match named.as_slice() {
            [only] => Some(only),
            // A name is unique among containers, but a snapshot may be pieced together.
            several => several.iter().find(|c| c.running && c.name == name).copied(),
        }
    }

    /// The network by which a container's default route of a family goes: the one that is known,
    /// else that of the first attachment that is not internal. By an internal one it goes only where
    /// the container has a gateway there, as before Docker 25.0 (measured with 20.10).
    #[must_use]
    pub fn default_network(&self, container: &Container, family: Family) -> Option<&Network> {
        let endpoints = &container.endpoints;
        let of = |endpoint: &Endpoint| self.network(&endpoint.network);
        let named = container.default_network.as_deref().and_then(|name| self.network(name));
        let network =
            named.or_else(|| endpoints.iter().filter_map(of).find(|own| !own.internal))?;
        let has_gateway = || {
            let own = endpoints.iter().filter(|endpoint| endpoint.network == network.name);
            let mut gateways = own.flat_map(|endpoint| &endpoint.gateways);
            gateways.any(|gateway| Family::of(*gateway) == family)
        };
        (!network.internal || has_gateway()).then_some(network)
    }

    /// Whether a network gives its containers no default route of a family, as those that are known
    /// show: it is internal, and none of those that run in it has one.
    #[must_use]
    pub fn gives_no_default_route(&self, network: &Network, family: Family) -> bool {
        let is_in = |container: &&Container| {
            let mut own = container.endpoints.iter().filter(|own| own.network == network.name);
            container.running
                && own.any(|own| own.addresses.iter().any(|(own, _)| Family::of(*own) == family))
        };
        let mut inside = self.containers.iter().filter(is_in).peekable();
        network.internal
            && inside.peek().is_some()
            && inside.all(|own| {
                let way_out = self.default_network(own, family);
                way_out.is_none_or(|way_out| way_out.name != network.name)
            })
    }

    /// The running container that has an address, and by which attachment.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<(&Container, &Endpoint)> {
        self.containers.iter().filter(|container| container.running).find_map(|container| {
            let has = |endpoint: &&Endpoint| endpoint.addresses.iter().any(|(a, _)| *a == address);
            container.endpoints.iter().find(has).map(|endpoint| (container, endpoint))
        })
    }

    /// The container socket behind a published port of the host, for the family that the proxy
    /// connects to: the container's IPv4 address where it has one.
    #[must_use]
    pub fn published(
        &self,
        protocol: SocketProtocol,
        address: IpAddr,
        port: u16,
    ) -> Option<(&Container, SocketAddr)> {
        self.containers.iter().filter(|container| container.running).find_map(|container| {
            let published = container.published.iter().find(|published| {
                published.protocol == protocol
                    && published.host_port == port
                    && published.host_address.is_none_or(|bound| {
                        bound == address
                            || (bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4())
                    })
            })?;
            // docker-proxy is started with the address of the family it listens on, or with the
            // IPv4 address where the container has no IPv6 one.
            let addresses = || container.endpoints.iter().flat_map(|e| e.addresses.iter());
            let same_family = addresses().find(|(a, _)| a.is_ipv4() == address.is_ipv4());
            let (target, _) = same_family.or_else(|| addresses().next())?;
            Some((container, SocketAddr::new(*target, published.container_port)))
        })
    }
}
