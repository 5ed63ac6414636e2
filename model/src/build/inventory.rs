//! Containers and networks, from `docker network inspect` and `docker inspect`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use nattrace_parser::host::docker as listed;
use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::host::inventory::{
    Container, Endpoint, Inventory, Network, NetworkOptions, PublishedPort, ToldBy,
};
use crate::host::{Assumption, Interface, Part, SocketProtocol};

/// The names of interfaces that networks hang on.
pub(super) fn bridges(networks: Option<&[listed::Network]>) -> BTreeSet<String> {
    networks.unwrap_or(&[]).iter().filter_map(listed::Network::bridge).collect()
}

/// The inventory from what docker told: of networks, of containers, or of both.
pub(super) fn inventory(
    networks: Option<&[listed::Network]>,
    containers: Option<&[listed::Container]>,
    interfaces: &[Interface],
    assumptions: &mut Vec<Assumption>,
) -> Inventory {
    let listed_containers = containers.unwrap_or(&[]);
    let endpoints = networks.unwrap_or(&[]);
    let networks: Vec<Network> = match networks {
        Some(listed) => listed
            .iter()
            .map(|network| of_network(network, listed_containers, interfaces))
            .collect(),
        None => {
            let networks = of_attachments(listed_containers, interfaces);
            if !networks.is_empty() {
                assumptions.push(Assumption {
                    code: "networks-from-containers",
                    text: format!(
                        "networks are taken to be as the containers in them show: bridges that \
                         are not internal ({} settles it)",
                        Part::DockerNetworks.file_name()
                    ),
                });
            }
            networks
        }
    };
    Inventory { containers: of_containers(listed_containers, &networks, endpoints), networks }
}

/// A network, with the gateways that it or its containers or its bridge tell.
fn of_network(
    network: &listed::Network,
    containers: &[listed::Container],
    interfaces: &[Interface],
) -> Network {
    let bridge = network.bridge().unwrap_or_default();
    let subnets: Vec<Prefix> =
        network.subnets.iter().map(|subnet| subnet.subnet.trunc().into()).collect();
    let mut gateways: Vec<IpAddr> =
        network.subnets.iter().filter_map(|subnet| subnet.gateway).collect();
    for subnet in &subnets {
        if gateways.iter().any(|gateway| subnet.contains(*gateway)) {
            continue;
        }
        let attachments = containers.iter().filter_map(|c| c.attachment(&network.name));
        let used = attachments
            .flat_map(|attachment| [attachment.gateway, attachment.ipv6_gateway])
            .flatten()
            .find(|gateway| subnet.contains(*gateway));
        let on_bridge = || {
            let interface = interfaces.iter().find(|interface| interface.name == bridge)?;
            let own = interface.addresses.iter().map(|address| address.local);
            own.into_iter().find(|address| subnet.contains(*address))
        };
        gateways.extend(used.or_else(on_bridge));
    }
    Network {
        name: network.name.clone(),
        id: network.id.clone(),
        driver: network.driver.clone(),
        bridge,
        subnets,
        gateways,
        internal: network.internal,
        options: options(network),
    }
}

/// What of a network's options says which rules Docker makes.
fn options(network: &listed::Network) -> NetworkOptions {
    let families = [Family::Ipv4, Family::Ipv6];
    NetworkOptions {
        is_default: network.is_default(),
        masquerades: network.masquerades(),
        inter_container: network.allows_inter_container(),
        sources: families.into_iter().filter_map(|family| network.host_address(family)).collect(),
        gateway_modes: families.map(|family| network.gateway_mode(family)),
    }
}

/// The networks that containers are attached to.
fn of_attachments(containers: &[listed::Container], interfaces: &[Interface]) -> Vec<Network> {
    let mut networks: BTreeMap<String, Network> = BTreeMap::new();
    for attachment in containers.iter().flat_map(|container| &container.networks) {
        if ["host", "none"].contains(&attachment.network.as_str()) {
            continue;
        }
        let gateways = [attachment.gateway, attachment.ipv6_gateway];
        let network = networks.entry(attachment.network.clone()).or_insert_with(|| Network {
            name: attachment.network.clone(),
            id: attachment.network_id.clone(),
            driver: "bridge".to_owned(),
            bridge: bridge_of(attachment, interfaces),
            subnets: Vec::new(),
            gateways: Vec::new(),
            internal: false,
            options: NetworkOptions {
                is_default: attachment.network == "bridge",
                ..NetworkOptions::default()
            },
        });
        for subnet in [attachment.ipv4, attachment.ipv6].into_iter().flatten() {
            let subnet = Prefix::from(subnet.trunc());
            if !network.subnets.contains(&subnet) {
                network.subnets.push(subnet);
            }
        }
        for gateway in gateways.into_iter().flatten() {
            if !network.gateways.contains(&gateway) {
                network.gateways.push(gateway);
            }
        }
    }
    networks.into_values().collect()
}

/// The bridge of a network: the interface that has its gateway's address, or its subnet, else the
/// one that Docker would have named for it.
fn bridge_of(attachment: &listed::Attachment, interfaces: &[Interface]) -> String {
    let owner = attachment.gateway.or(attachment.ipv6_gateway).and_then(|gateway| {
        interfaces.iter().find(|i| i.addresses.iter().any(|address| address.local == gateway))
    });
    // An internal network may have no gateway; its bridge then still has its subnet.
    let on_link = || {
        let own = attachment.ipv4.or(attachment.ipv6)?.addr();
        interfaces.iter().find(|i| i.addresses.iter().any(|address| address.subnet.contains(own)))
    };
    match (owner.or_else(on_link), attachment.network.as_str(), attachment.network_id.get(..12)) {
        (Some(interface), ..) => interface.name.clone(),
        (None, "bridge", _) => "docker0".to_owned(),
        (None, _, Some(short)) => format!("br-{short}"),
        (None, _, None) => String::new(),
    }
}

fn of_containers(
    listed: &[listed::Container],
    networks: &[Network],
    endpoints: &[listed::Network],
) -> Vec<Container> {
    let mut containers: Vec<Container> =
        listed.iter().map(|container| of_container(container, listed, networks)).collect();
    // Those that only the networks know of.
    for network in endpoints {
        for endpoint in &network.endpoints {
            let attached = attachment(&network.name, endpoint, networks);
            if listed.iter().any(|container| container.id == endpoint.container) {
                continue;
            }
            match containers.iter_mut().find(|container| container.id == endpoint.container) {
                Some(container) => container.endpoints.push(attached),
                None => containers.push(Container {
                    name: endpoint.name.clone(),
                    id: endpoint.container.clone(),
                    hostname: String::new(),
                    running: true,
                    host_network: network.driver == "host",
                    endpoints: vec![attached],
                    default_network: None,
                    told_by: ToldBy::Network,
                    published: Vec::new(),
                }),
            }
        }
    }
    for container in &mut containers {
        container.endpoints.sort_by(|one, other| one.network.cmp(&other.network));
    }
    containers.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    containers
}

fn of_container(
    container: &listed::Container,
    all: &[listed::Container],
    networks: &[Network],
) -> Container {
    // `--network container:NAME`: the attachments are those of the other container.
    let shared = match &container.network_mode {
        listed::NetworkMode::Container(other) => all.iter().find(|candidate| {
            candidate.name == *other
                || (!other.is_empty() && candidate.id.starts_with(other.as_str()))
        }),
        _ => None,
    };
    let attachments = &shared.unwrap_or(container).networks;
    let endpoints: Vec<Endpoint> = attachments
        .iter()
        .filter(|_| container.running)
        .map(|attachment| Endpoint {
            network: attachment.network.clone(),
            addresses: addresses(attachment.ipv4, attachment.ipv6),
            assigned: attachment.assigned.clone(),
            gateways: [attachment.gateway, attachment.ipv6_gateway].into_iter().flatten().collect(),
            mac: attachment.mac,
        })
        .filter(|endpoint| !endpoint.addresses.is_empty())
        .collect();
    Container {
        name: container.name.clone(),
        id: container.id.clone(),
        hostname: container.hostname.clone(),
        running: container.running,
        host_network: container.network_mode == listed::NetworkMode::Host
            || shared.is_some_and(|other| other.network_mode == listed::NetworkMode::Host),
        default_network: default_network(attachments, networks),
        told_by: ToldBy::Inspection,
        endpoints,
        published: published(container),
    }
}

fn is_internal(networks: &[Network], name: &str) -> bool {
    networks.iter().any(|network| network.name == name && network.internal)
}

/// The network by which the default route goes (libnetwork's `Endpoint.Less`), of those that have a
/// gateway: the internal ones last, then by the highest priority, then the first by name.
fn default_network(attachments: &[listed::Attachment], networks: &[Network]) -> Option<String> {
    let has_gateway = |attachment: &&listed::Attachment| {
        attachment.gateway.is_some() || attachment.ipv6_gateway.is_some()
    };
    let best = attachments.iter().filter(has_gateway).min_by_key(|a| {
        let internal = is_internal(networks, &a.network);
        (internal, std::cmp::Reverse(a.gateway_priority), a.network.as_str())
    });
    best.map(|attachment| attachment.network.clone())
}

/// The attachment of a container that only the network knows of.
fn attachment(network: &str, endpoint: &listed::Endpoint, networks: &[Network]) -> Endpoint {
    let addresses = addresses(endpoint.ipv4, endpoint.ipv6);
    let known = networks.iter().find(|candidate| candidate.name == network);
    let gateways = match known {
        Some(network) if !network.internal => network
            .gateways
            .iter()
            .copied()
            .filter(|gateway| addresses.iter().any(|(own, _)| own.is_ipv4() == gateway.is_ipv4()))
            .collect(),
        _ => Vec::new(),
    };
    let network = network.to_owned();
    Endpoint { network, addresses, assigned: Vec::new(), gateways, mac: endpoint.mac }
}

fn addresses(ipv4: Option<IpNet>, ipv6: Option<IpNet>) -> Vec<(IpAddr, u8)> {
    [ipv4, ipv6].into_iter().flatten().map(|net| (net.addr(), net.prefix_len())).collect()
}

/// The ports that are published now, else those that were asked for by number.
fn published(container: &listed::Container) -> Vec<PublishedPort> {
    let now = container.ports.iter().filter_map(|port| {
        Some(PublishedPort {
            protocol: protocol(&port.protocol)?,
            host_address: port.host_address,
            host_port: port.host_port,
            container_port: port.container_port,
        })
    });
    let asked = container.bindings.iter().filter_map(|binding| {
        let (first, last) = binding.host_ports?;
        (first == last).then_some(PublishedPort {
            protocol: protocol(&binding.protocol)?,
            host_address: binding.host_address,
            host_port: first,
            container_port: binding.container_port,
        })
    });
    if container.ports.is_empty() && container.running { asked.collect() } else { now.collect() }
}

fn protocol(name: &str) -> Option<SocketProtocol> {
    match name {
        "tcp" => Some(SocketProtocol::Tcp),
        "udp" => Some(SocketProtocol::Udp),
        "sctp" => Some(SocketProtocol::Sctp),
        _ => None,
    }
}
