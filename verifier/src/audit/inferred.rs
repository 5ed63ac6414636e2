//! Networks and published ports as the rules show them, where no inventory tells.

use std::borrow::Cow;
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::graph::ChainGraph;
use nattrace_model::hook::Hook;
use nattrace_model::host::inventory::{
    Container, Endpoint, Network, NetworkOptions, PublishedPort, ToldBy,
};
use nattrace_model::host::{
    Host, Interface, InterfaceAddress, InterfaceKind, Part, Scope, SocketProtocol,
};
use nattrace_model::owner::Owner;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::Target;

use super::owner;

/// The system with what its rules show of containers, unless an inventory lists them.
pub(super) fn supplemented(system: &System) -> Cow<'_, System> {
    let host = &system.host;
    if host.has(Part::DockerNetworks) || host.has(Part::DockerContainers) {
        return Cow::Borrowed(system);
    }
    let networks = networks(host);
    if networks.is_empty() {
        return Cow::Borrowed(system);
    }
    let containers = containers(system, &networks);
    let mut system = system.clone();
    system.host.inventory.networks = networks;
    system.host.inventory.containers = containers;
    Cow::Owned(system)
}

/// Every bridge of containers, under its own name.
fn networks(host: &Host) -> Vec<Network> {
    let bridges = host.interfaces.iter().filter(|own| {
        own.kind == InterfaceKind::Bridge
            && host.is_container_bridge(&own.name)
            && !own.addresses.is_empty()
            && !own.name.starts_with("virbr")
            && !own.name.starts_with("lxd")
            && !own.name.starts_with("incus")
    });
    // Those of the link are the same on every link.
    let addresses = |own: &Interface| -> Vec<InterfaceAddress> {
        own.addresses.iter().filter(|address| address.scope != Scope::Link).cloned().collect()
    };
    let network = |own: &Interface| Network {
        name: own.name.clone(),
        id: String::new(),
        driver: "bridge".to_owned(),
        bridge: own.name.clone(),
        subnets: addresses(own).into_iter().map(|address| address.subnet).collect(),
        gateways: addresses(own).into_iter().map(|address| address.local).collect(),
        internal: false,
        options: NetworkOptions::default(),
    };
    bridges.map(network).collect()
}

/// The targets of DNAT in those networks, each with the ports that lead to it.
fn containers(system: &System, networks: &[Network]) -> Vec<Container> {
    let graph = ChainGraph::new(&system.rules.chains);
    let mut containers: Vec<Container> = Vec::new();
    for (index, chain) in (0u32..).zip(&system.rules.chains) {
        if !graph.reaching_hooks(ChainId(index)).contains(Hook::Prerouting) {
            continue;
        }
        // What people forward by hand they do on purpose, and to whomever.
        let kept = (0u32..).zip(&chain.rules).filter(|(rule, _)| {
            let rule = RuleId { chain: ChainId(index), index: *rule };
            owner::of_rule(&system.rules, &system.host, rule) != Owner::Hand
        });
        for (address, port) in kept.filter_map(|(_, rule)| published(rule)) {
            let network = networks
                .iter()
                .find(|network| network.subnets.iter().any(|subnet| subnet.contains(address)));
            let Some(network) = network else { continue };
            let known =
                containers.iter_mut().find(|container| container.name == address.to_string());
            match known {
                Some(container) => container.published.push(port),
                None => containers.push(container(address, network, port)),
            }
        }
    }
    containers
}

fn container(address: IpAddr, network: &Network, port: PublishedPort) -> Container {
    let endpoint = Endpoint {
        network: network.name.clone(),
        addresses: vec![(address, if address.is_ipv4() { 24 } else { 64 })],
        assigned: Vec::new(),
        gateways: network.gateways.clone(),
        mac: None,
    };
    Container {
        name: address.to_string(),
        id: String::new(),
        hostname: String::new(),
        running: true,
        host_network: false,
        endpoints: vec![endpoint],
        default_network: Some(network.name.clone()),
        told_by: ToldBy::Network,
        published: vec![port],
    }
}

/// The port that a DNAT rule publishes, and where it leads.
fn published(rule: &Rule) -> Option<(IpAddr, PublishedPort)> {
    let Target::Dnat(range, _) = &rule.target else { return None };
    let (address, _) = range.addresses.filter(|(first, last)| first == last)?;
    let mut port = PublishedPort {
        protocol: SocketProtocol::Tcp,
        host_address: None,
        host_port: 0,
        container_port: 0,
    };
    for condition in &rule.conditions {
        match condition {
            Condition::Protocol(Sense::Is, protocol::UDP) => port.protocol = SocketProtocol::Udp,
            Condition::Protocol(Sense::Is, protocol::SCTP) => port.protocol = SocketProtocol::Sctp,
            Condition::Port(Sense::Is, PortSide::Destination, from, _) => port.host_port = *from,
            Condition::Destination(Sense::Is, prefix) if prefix.is_single() => {
                port.host_address = Some(prefix.network());
            }
            _ => {}
        }
    }
    port.container_port = range.ports.map_or(port.host_port, |(first, _)| first);
    (port.host_port != 0).then_some((address, port))
}
