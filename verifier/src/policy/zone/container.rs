//! Zones that the inventory knows: networks and containers.

use nattrace_model::address::Prefix;
use nattrace_model::host::inventory::{Container, Endpoint, Network};

use super::{Breadth, Zones};
use crate::policy::addresses::AddressSet;
use crate::policy::side::{Side, Spot, Where};

impl<'s> Zones<'s> {
    pub(crate) fn bridged_networks(&self) -> impl Iterator<Item = &'s Network> + use<'s> {
        let networks = self.host().inventory.networks.iter();
        networks.filter(|network| !["host", "null", "none"].contains(&network.driver.as_str()))
    }

    pub(super) fn bridge(&self, endpoint: &Endpoint) -> Option<&'s str> {
        let network = self.host().inventory.network(&endpoint.network)?;
        Some(network.bridge.as_str()).filter(|bridge| !bridge.is_empty())
    }

    pub(super) fn network_senders(&self, network: &Network, breadth: Breadth) -> Vec<Side> {
        if network.driver == "host" {
            return self.host_senders(breadth);
        }
        let hosts = self.union(network.subnets.iter().map(|subnet| self.hosts_of(subnet)));
        match network.bridge.as_str() {
            "" => self.net_senders(&hosts),
            bridge => vec![self.behind(bridge, hosts)],
        }
    }

    pub(super) fn network_landing(&self, network: &Network) -> Vec<Spot> {
        if network.driver == "host" {
            return vec![Spot::Local(AddressSet::all(self.family))];
        }
        let addresses = self.union(network.subnets.iter().map(|subnet| self.of_prefix(subnet)));
        let interface = Some(network.bridge.clone()).filter(|bridge| !bridge.is_empty());
        vec![Spot::Beyond { interface, addresses: addresses.difference(&self.own()) }]
    }

    /// The running containers of a network, where the inventory knows any container; else whoever
    /// may be there.
    pub(super) fn members(&self, network: &Network, from: &Side) -> AddressSet {
        let inventory = &self.host().inventory;
        if network.driver == "host" {
            return self.host_addresses(from);
        }
        if inventory.containers.is_empty() {
            let hosts = self.union(network.subnets.iter().map(|subnet| self.hosts_of(subnet)));
            return hosts.difference(&self.own());
        }
        let running = inventory.containers.iter().filter(|container| container.running);
        let attached = running
            .flat_map(|container| &container.endpoints)
            .filter(|endpoint| endpoint.network == network.name);
        self.union(attached.map(|endpoint| self.of_endpoint(endpoint)))
    }

    pub(super) fn container_senders(&self, container: &Container, breadth: Breadth) -> Vec<Side> {
        if container.host_network {
            return self.host_senders(breadth);
        }
        let mut sides = Vec::new();
        for endpoint in container.endpoints.iter().filter(|_| container.running) {
            let sources = self.of_endpoint(endpoint);
            let mut here = match self.bridge(endpoint) {
                Some(bridge) => vec![self.behind(bridge, sources)],
                None => self.net_senders(&sources),
            };
            if breadth == Breadth::Meant {
                for side in &mut here {
                    side.reaches = self.reach(container, endpoint);
                }
            }
            sides.append(&mut here);
        }
        sides
    }

    /// The destinations that a container sends to by one of several attachments: what is on-link
    /// there; by that of its default route, everything that is on-link at no other one.
    pub(super) fn reach(&self, container: &Container, endpoint: &Endpoint) -> Option<AddressSet> {
        let on_link = |endpoint: &Endpoint| {
            let nets = endpoint.addresses.iter().map(|(own, length)| Prefix::new(*own, *length));
            self.union(nets.map(|net| self.of_prefix(&net)))
        };
        let network = |endpoint: &Endpoint| self.host().inventory.network(&endpoint.network);
        let leads_out = |other: &&Endpoint| network(other).is_none_or(|network| !network.internal);
        let default = container
            .default_network
            .as_ref()
            .or_else(|| container.endpoints.iter().find(leads_out).map(|other| &other.network));
        if default != Some(&endpoint.network) {
            return Some(on_link(endpoint));
        }
        let others = container.endpoints.iter().filter(|other| other.network != endpoint.network);
        let elsewhere = self.union(others.map(on_link));
        let here = on_link(endpoint);
        (!elsewhere.is_empty()).then(|| elsewhere.difference(&here).complement())
    }

    /// A container's addresses, on the networks that it shares with the sender where it does.
    pub(super) fn container_addresses(&self, container: &Container, from: &Side) -> AddressSet {
        let running = || container.endpoints.iter().filter(|_| container.running);
        let shared = |endpoint: &&Endpoint| match &from.at {
            Where::Behind(interface) => self.bridge(endpoint) == Some(interface),
            Where::Unbound | Where::Bound => false,
        };
        let near = self.union(running().filter(shared).map(|endpoint| self.of_endpoint(endpoint)));
        match near.is_empty() {
            true => self.union(running().map(|endpoint| self.of_endpoint(endpoint))),
            false => near,
        }
    }
}
