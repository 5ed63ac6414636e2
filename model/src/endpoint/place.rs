//! Who an endpoint is: an address, a place with many addresses, or what the inventory calls so.

use std::net::IpAddr;

use nattrace_parser::diagnostic::nearest;

use super::error::{Advised, Argument, EndpointError, Problem, within};
use super::name::{Place, Written};
use crate::address::Prefix;
use crate::host::Host;
use crate::host::inventory::{Container, Network};

/// The words that stand for places.
const KEYWORDS: [&str; 3] = ["host", "internet", "lan"];

/// What an endpoint may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This address, behind this interface where it is said.
    Address(IpAddr, Option<String>),
    /// The host itself.
    Host,
    /// Some host of the internet.
    Internet,
    /// Some host on-link, at an interface where one is named.
    Lan(Option<String>),
    /// One of these addresses, the likeliest first.
    Members(Vec<Member>),
}

/// An address of a container, or of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: IpAddr,
    /// The network.
    pub(super) network: String,
    /// Its on-link prefixes.
    pub(super) subnets: Vec<Prefix>,
    /// The interface of the host that it is behind, where there is one.
    pub(super) bridge: Option<String>,
}

/// Finds out who an endpoint is.
pub(super) fn find(
    host: &Host,
    written: &Written,
    argument: Argument,
) -> Result<Found, EndpointError> {
    let found = match &written.place {
        Place::Address(address, zone) => match zone {
            Some(zone) => super::ingress::known(host, zone)
                .map(|interface| Found::Address(*address, Some(interface))),
            None => Ok(Found::Address(*address, None)),
        },
        Place::Host => Ok(Found::Host),
        Place::Internet => Ok(Found::Internet),
        Place::Lan(None) => Ok(Found::Lan(None)),
        Place::Lan(Some(interface)) => {
            super::ingress::known(host, interface).map(|interface| Found::Lan(Some(interface)))
        }
        Place::Container(name) => match host.inventory.container(name) {
            Some(container) => of_container(host, container),
            None => Err(unknown(host, name, Problem::UnknownContainer(name.clone()))),
        },
        Place::Network(name) => match host.inventory.network(name) {
            Some(network) => of_network(host, network),
            None => Err(unknown(host, name, Problem::UnknownNetwork(name.clone()))),
        },
        Place::Name(name) => match (host.inventory.container(name), host.inventory.network(name)) {
            (Some(container), _) => of_container(host, container),
            (None, Some(network)) => of_network(host, network),
            (None, None) => Err(unknown(host, name, Problem::UnknownName(name.clone()))),
        },
    };
    found.map_err(|problem| within(argument, written.span, problem))
}

/// What is near a name that is not known.
fn unknown(host: &Host, name: &str, problem: Problem) -> Advised {
    let containers = host.inventory.containers.iter().map(|container| container.name.as_str());
    let networks = host.inventory.networks.iter().map(|network| network.name.as_str());
    let nothing = host.inventory.containers.is_empty() && host.inventory.networks.is_empty();
    let help = match nearest(name, containers.chain(networks).chain(KEYWORDS)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if nothing => "names need `docker-inspect.json` or `docker-network-inspect.json` in \
                            the snapshot; give the address instead"
            .to_owned(),
        None => {
            let mut known: Vec<&str> =
                host.inventory.containers.iter().map(|container| container.name.as_str()).collect();
            known.sort_unstable();
            known.truncate(8);
            format!("known are {}", known.join(", "))
        }
    };
    problem.help(help)
}

fn of_container(host: &Host, container: &Container) -> Result<Found, Advised> {
    if container.host_network {
        return Ok(Found::Host);
    }
    let mut members: Vec<Member> = Vec::new();
    let default = |network: &str| container.default_network.as_deref() == Some(network);
    let first = container.endpoints.iter().filter(|endpoint| default(&endpoint.network));
    let others = container.endpoints.iter().filter(|endpoint| !default(&endpoint.network));
    for endpoint in first.chain(others) {
        let network = host.inventory.network(&endpoint.network);
        let subnets: Vec<Prefix> = endpoint
            .addresses
            .iter()
            .map(|(address, length)| Prefix::new(*address, *length))
            .collect();
        members.extend(endpoint.addresses.iter().map(|(address, _)| Member {
            address: *address,
            network: endpoint.network.clone(),
            subnets: subnets.clone(),
            bridge: network.and_then(bridge),
        }));
    }
    if members.is_empty() {
        let name = container.name.clone();
        return Err(if container.running {
            Problem::NoAddress(name).into()
        } else {
            Problem::NotRunning(name).help("start it, or give the address")
        });
    }
    Ok(Found::Members(members))
}

fn bridge(network: &Network) -> Option<String> {
    Some(network.bridge.clone()).filter(|bridge| !bridge.is_empty())
}

/// The running containers of a network by address, else the first free address of each subnet.
fn of_network(host: &Host, network: &Network) -> Result<Found, Advised> {
    if network.driver == "host" {
        return Ok(Found::Host);
    }
    let member = |address: IpAddr| Member {
        address,
        network: network.name.clone(),
        subnets: network.subnets.clone(),
        bridge: bridge(network),
    };
    let running = host.inventory.containers.iter().filter(|container| container.running);
    let mut addresses: Vec<IpAddr> = running
        .flat_map(|container| &container.endpoints)
        .filter(|endpoint| endpoint.network == network.name)
        .flat_map(|endpoint| endpoint.addresses.iter().map(|(address, _)| *address))
        .collect();
    addresses.sort_unstable();
    for subnet in &network.subnets {
        if !addresses.iter().any(|address| subnet.contains(*address)) {
            let taken = |address: IpAddr| {
                network.gateways.contains(&address) || host.owner(address).is_some()
            };
            addresses.extend(first_free(subnet, taken));
        }
    }
    if addresses.is_empty() {
        return Err(Problem::NoSubnet(network.name.clone()).into());
    }
    Ok(Found::Members(addresses.into_iter().map(member).collect()))
}

/// The lowest address of a subnet that a host can have and that nobody has yet.
pub(super) fn first_free(subnet: &Prefix, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    // Each taken address is one of the few that a snapshot names: looking further finds nothing.
    const FARTHEST: u32 = 4096;
    let free = |address: &IpAddr| subnet.contains(*address) && !taken(*address);
    match *subnet {
        Prefix::V4(network, mask) => {
            let hosts = !mask;
            let (first, last) = match hosts {
                0 => (0, 0),
                1 => (0, 1),
                _ => (1, hosts - 1),
            };
            (first..=last.min(FARTHEST)).map(|host| IpAddr::V4((network | host).into())).find(free)
        }
        Prefix::V6(ref prefix) => {
            let hosts = !prefix.1;
            let first = u128::from(hosts > 1);
            (first..=hosts.min(u128::from(FARTHEST)))
                .map(|host| IpAddr::V6((prefix.0 | host).into()))
                .find(free)
        }
    }
}
