//! What all lints look at: who is around a host, and what becomes of their packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::address::{Prefix, is_internet};
use nattrace_model::answer::{Answer, Effect, Step};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::graph::ChainGraph;
use nattrace_model::hook::Hook;
use nattrace_model::host::inventory::{Container, Network};
use nattrace_model::host::route::{NextHop, RouteKind};
use nattrace_model::host::{Host, Interface, InterfaceKind, Scope, SocketProtocol};
use nattrace_model::owner::Owner;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Chain, ChainId, Rule, RuleId};
use nattrace_parser::syntax::{Family, TableName};

use super::{Owners, owner};
use crate::walk::{self, World};

/// A host, with what several lints need of it.
pub(super) struct Scene<'s> {
    pub(super) system: &'s System,
    /// The host without what its rules show of containers, where nothing else does.
    given: Option<&'s System>,
    pub(super) graph: ChainGraph,
    owners: Owners,
    world: World,
}

/// A container's address in one of its networks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'s> {
    pub(super) network: &'s Network,
    pub(super) container: Option<&'s Container>,
    pub(super) address: IpAddr,
}

impl Member<'_> {
    /// What it sends, by its bridge: routing may expect its address elsewhere.
    pub(super) fn packet(&self, destination: IpAddr, protocol: u8, port: u16) -> Flow {
        packet_by(&self.network.bridge, self.address, destination, protocol, port)
    }

    /// How a person would call it.
    pub(super) fn name(&self) -> String {
        match self.container {
            Some(container) => format!("container `{}` ({})", container.name, self.address),
            None => format!("a container of `{}` ({})", self.network.name, self.address),
        }
    }
}

/// A port of the host behind which a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published<'s> {
    pub(super) container: &'s Container,
    pub(super) protocol: u8,
    /// `None`: every address of the host.
    pub(super) host_address: Option<IpAddr>,
    pub(super) host_port: u16,
    pub(super) container_port: u16,
}

impl<'s> Scene<'s> {
    pub(super) fn new(system: &'s System, owners: Owners) -> Self {
        Self {
            system,
            given: None,
            graph: ChainGraph::new(&system.rules.chains),
            owners,
            world: World::default(),
        }
    }

    /// Remembers the host as it was before its rules told of containers.
    pub(super) fn inferred_from(self, given: &'s System) -> Self {
        Self { given: Some(given), ..self }
    }

    /// What becomes of a packet to a container that no rule names; none where all are listed.
    pub(super) fn why_unnamed(&self, flow: &Flow) -> Option<Answer> {
        self.given.map(|given| walk::why(given, &self.world, flow))
    }

    pub(super) fn host(&self) -> &'s Host {
        &self.system.host
    }

    /// What becomes of a packet.
    pub(super) fn why(&self, flow: &Flow) -> Answer {
        walk::why(self.system, &self.world, flow)
    }

    /// Somebody on the internet.
    pub(super) fn outsider(family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => Ipv4Addr::new(1, 1, 1, 1).into(),
            Family::Ipv6 => Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111).into(),
        }
    }

    /// The rule of nat that lets a packet leave untranslated.
    pub(super) fn accepted_by_nat(&self, answer: &Answer) -> Option<RuleId> {
        answer.steps.iter().find_map(|step| match step {
            Step::Rule { hook: Hook::Postrouting, effect: Effect::Accept, rule, .. } => {
                let chain = self.system.rules.chain(rule.chain)?;
                (chain.table == TableName::Nat).then_some(*rule)
            }
            _ => None,
        })
    }

    /// The interfaces with a default route.
    pub(super) fn uplinks(&self, family: Family) -> Vec<&'s Interface> {
        let tables = self.host().routing.tables(family).values();
        let defaults = tables
            .flat_map(|table| table.routes())
            .filter(|route| route.kind == RouteKind::Unicast && route.destination.length() == 0);
        let mut names: Vec<&str> = defaults
            .flat_map(|route| &route.next_hops)
            .filter(|hop| !hop.dead)
            .map(|hop| hop.interface.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.host().interface(name)).collect()
    }

    /// The global addresses of an interface.
    pub(super) fn addresses(interface: &Interface, family: Family) -> impl Iterator<Item = IpAddr> {
        let global = interface.addresses.iter().filter(|own| own.scope == Scope::Global);
        global.map(|own| own.local).filter(move |address| Family::of(*address) == family)
    }

    /// The networks that hang on a bridge of the host.
    pub(super) fn networks(&self) -> impl Iterator<Item = &'s Network> {
        self.host().inventory.networks.iter().filter(|network| !network.bridge.is_empty())
    }

    /// The running containers of a network, or where none runs one that could.
    pub(super) fn members(&self, network: &'s Network, family: Family) -> Vec<Member<'s>> {
        let containers = self.host().inventory.containers.iter().filter(|c| c.running);
        let mut members: Vec<Member<'s>> = containers
            .flat_map(|container| {
                let own = container.endpoints.iter().filter(|e| e.network == network.name);
                own.flat_map(move |endpoint| {
                    endpoint.addresses.iter().map(move |(address, _)| Member {
                        network,
                        container: Some(container),
                        address: *address,
                    })
                })
            })
            .filter(|member| Family::of(member.address) == family)
            .collect();
        if members.is_empty() {
            let subnets = network.subnets.iter().filter(|subnet| subnet.family() == family);
            members.extend(subnets.filter_map(|subnet| {
                let address = self.free_address(subnet)?;
                Some(Member { network, container: None, address })
            }));
        }
        members
    }

    /// An address of a subnet that neither the host nor a running container has.
    pub(super) fn free_address(&self, subnet: &Prefix) -> Option<IpAddr> {
        (2..=250u8).find_map(|last| {
            let address = offset(subnet.network(), last);
            let taken = self.host().owner(address).is_some()
                || self.host().inventory.owner(address).is_some();
            (subnet.contains(address) && !taken).then_some(address)
        })
    }

    /// The ports that Docker publishes for running containers.
    pub(super) fn published(&self) -> Vec<Published<'s>> {
        let running = self.host().inventory.containers.iter().filter(|c| c.running);
        let mut published: Vec<Published<'s>> = running
            .flat_map(|container| {
                container.published.iter().map(move |port| Published {
                    container,
                    protocol: number(port.protocol),
                    host_address: port.host_address.filter(|address| !address.is_unspecified()),
                    host_port: port.host_port,
                    container_port: port.container_port,
                })
            })
            .collect();
        published.dedup();
        published
    }

    /// The packet of somebody outside to a published port, for each address that it can have.
    pub(super) fn to_published(&self, port: &Published<'_>, family: Family) -> Vec<Flow> {
        let mut flows = Vec::new();
        for uplink in self.uplinks(family) {
            let destination = match port.host_address {
                None => Self::addresses(uplink, family).next(),
                Some(bound) => {
                    (Family::of(bound) == family && !bound.is_loopback()).then_some(bound)
                }
            };
            if let Some(destination) = destination {
                let mut flow =
                    packet(Self::outsider(family), destination, port.protocol, port.host_port);
                flow.in_interface = Some(uplink.name.clone());
                flows.push(flow);
            }
        }
        flows
    }

    /// Somebody on the link of an interface who is neither the host nor a container; behind a
    /// tunnel without a subnet of its own, somebody to whom a route leads.
    pub(super) fn neighbour(&self, interface: &Interface, family: Family) -> Option<IpAddr> {
        let own = interface.addresses.iter().find(|own| {
            Family::of(own.local) == family && own.scope == Scope::Global && own.peer.is_none()
        })?;
        if own.subnet.is_single() {
            return self.behind(interface, family);
        }
        let gateways: Vec<IpAddr> = self
            .host()
            .routing
            .tables(family)
            .values()
            .flat_map(|table| table.routes())
            .flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway))
            .collect();
        (2..=250u8).map(|last| offset(own.subnet.network(), last)).find(|address| {
            own.subnet.contains(*address)
                && self.host().owner(*address).is_none()
                && own.broadcast != Some(*address)
                && !gateways.contains(address)
        })
    }

    /// Somebody in a network that a route says to be behind an interface.
    fn behind(&self, interface: &Interface, family: Family) -> Option<IpAddr> {
        let tables = self.host().routing.tables(family).values();
        let mut routes = tables.flat_map(|table| table.routes()).filter(|route| {
            let here = |hop: &NextHop| hop.interface == interface.name;
            route.kind == RouteKind::Unicast && route.next_hops.iter().any(here)
        });
        routes.find_map(|route| {
            let network = &route.destination;
            let somebody = match network.is_single() {
                true => Some(network.network()),
                false => self.free_address(network),
            };
            somebody.filter(|address| !is_internet(*address) && network.length() > 1)
        })
    }

    /// The interfaces behind which people or the internet are: neither loopback nor a bridge of
    /// containers nor one of its ports.
    pub(super) fn outside(&self) -> impl Iterator<Item = &'s Interface> {
        self.host().interfaces.iter().filter(|interface| {
            interface.kind != InterfaceKind::Loopback
                && interface.port.is_none()
                && !self.host().is_container_bridge(&interface.name)
                && !interface.addresses.is_empty()
        })
    }

    /// Every rule of a family's chains that some hook reaches.
    pub(super) fn rules(&self) -> impl Iterator<Item = (RuleId, &'s Chain, &'s Rule)> {
        (0u32..).zip(&self.system.rules.chains).flat_map(|(chain_index, chain)| {
            (0u32..).zip(&chain.rules).map(move |(index, rule)| {
                (RuleId { chain: ChainId(chain_index), index }, chain, rule)
            })
        })
    }

    /// The rules that are looked at on their own: those that people wrote, or all.
    pub(super) fn own_rules(&self) -> impl Iterator<Item = (RuleId, &'s Chain, &'s Rule)> {
        self.rules().filter(|(id, ..)| self.owners == Owners::All || self.owner(*id) == Owner::Hand)
    }

    /// The same rule in the other family, where an nft table of both has it.
    pub(super) fn twin(&self, id: RuleId) -> Option<RuleId> {
        let rules = &self.system.rules;
        let own = rules.chain(id.chain)?;
        own.table.of_iptables().is_none().then_some(())?;
        let mut chains = (0u32..).zip(&rules.chains);
        let (chain, _) = chains.find(|(_, chain)| {
            chain.family != own.family && chain.table == own.table && chain.name == own.name
        })?;
        Some(RuleId { chain: ChainId(chain), index: id.index })
    }

    pub(super) fn owner(&self, id: RuleId) -> Owner {
        owner::of_rule(&self.system.rules, self.host(), id)
    }

    /// `nat/POSTROUTING/2`.
    pub(super) fn name(&self, id: RuleId) -> String {
        match self.system.rules.chain(id.chain) {
            Some(chain) => format!("{}/{}/{}", chain.table.as_str(), chain.name, id.number()),
            None => String::new(),
        }
    }

    pub(super) fn is_reached_from(&self, chain: ChainId, hook: Hook) -> bool {
        self.graph.reaching_hooks(chain).contains(hook)
    }
}

/// The first packet of a connection, or an echo request.
pub(super) fn packet(source: IpAddr, destination: IpAddr, protocol: u8, port: u16) -> Flow {
    let has_ports = !matches!(protocol, protocol::ICMP | protocol::ICMPV6);
    Flow {
        source,
        destination,
        protocol,
        source_port: has_ports.then_some(40000),
        destination_port: has_ports.then_some(port),
        in_interface: None,
        state: FlowState::New,
        mark: 0,
        tcp_flags: None,
        icmp: None,
        ttl: None,
        any_source: false,
    }
}

/// The same, coming in by an interface.
pub(super) fn packet_by(
    interface: &str,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    port: u16,
) -> Flow {
    let flow = packet(source, destination, protocol, port);
    Flow { in_interface: Some(interface.to_owned()), ..flow }
}

pub(super) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn number(of: SocketProtocol) -> u8 {
    match of {
        SocketProtocol::Tcp => protocol::TCP,
        SocketProtocol::Udp => protocol::UDP,
        SocketProtocol::Sctp => protocol::SCTP,
    }
}

fn offset(network: IpAddr, by: u8) -> IpAddr {
    match network {
        IpAddr::V4(network) => {
            Ipv4Addr::from_bits(network.to_bits().wrapping_add(by.into())).into()
        }
        IpAddr::V6(network) => {
            Ipv6Addr::from_bits(network.to_bits().wrapping_add(by.into())).into()
        }
    }
}

/// `tcp`, `udp`, …
pub(super) fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::SCTP => "sctp",
        protocol::ICMP | protocol::ICMPV6 => "icmp",
        _ => "ip",
    }
}
