//! Which packets a new rule is about: what the failing entry is about, in the words of a rule.

use std::net::IpAddr;

use nattrace_model::address::{Prefix, is_internet};
use nattrace_model::host::{InterfaceKind, Scope};
use nattrace_model::packet::protocol;
use nattrace_parser::policy::Protocol;

use super::evidence::{Evidence, Seen};
use super::wording::{Wording, is, is_not};
use crate::policy::{AddressSet, Demand, Service, Spot};

/// How many addresses a zone may have for one of them to get a rule of its own.
const FEW: u32 = 32;

/// A wording, and how much broader than the entry it may be.
pub(super) type Worded = (Wording, u32);

impl Evidence<'_> {
    /// The prefix that stands for the senders that the entry is about; `None` where they are many
    /// that no prefix tells apart, such as the internet.
    pub(super) fn senders(&self) -> Option<Prefix> {
        let sources = &self.case.question.from.sources;
        self.prefix_for(sources, self.answer.flow.source)
    }

    /// The prefix for those of some addresses that are like one of them.
    fn prefix_for(&self, addresses: &AddressSet, one: IpAddr) -> Option<Prefix> {
        if addresses.each(FEW).is_some() {
            return Some(single(one));
        }
        let within = |subnet: &Prefix| {
            subnet.contains(one)
                && subnet.length() > 0
                && addresses.difference(&AddressSet::prefix(subnet)).is_empty()
        };
        if let Some(subnet) = self.subnets().into_iter().filter(within).max_by_key(Prefix::length) {
            return Some(subnet);
        }
        // A zone of several subnets: the one of the packet.
        let subnet = self.subnets().into_iter().find(|subnet| subnet.contains(one));
        let known = subnet.filter(|_| addresses.each_range().count() <= FEW as usize);
        let part = addresses.prefixes().into_iter().find(|prefix| prefix.contains(one));
        match (known, part) {
            (Some(subnet), _) if !is_internet(one) => Some(subnet),
            (_, Some(part)) if !is_internet(one) && part.length() >= 8 => Some(part),
            (_, Some(part)) if addresses.each_range().count() == 1 && part.length() > 0 => {
                Some(part)
            }
            _ => None,
        }
    }

    /// The subnets that are known: on-link ones, and those of networks and zones.
    fn subnets(&self) -> Vec<Prefix> {
        let host = &self.system.host;
        let on_link = host.interfaces.iter().flat_map(|own| &own.addresses);
        let on_link = on_link.filter(|a| a.scope == Scope::Global).map(|a| a.subnet.clone());
        let networks = host.inventory.networks.iter().flat_map(|network| network.subnets.clone());
        let zones = host.zones.values().flat_map(|zone| zone.nets.clone());
        on_link.chain(networks).chain(zones).collect()
    }

    /// The prefix that stands for where the packets of the entry go, where one does.
    pub(super) fn receivers(&self, seen: &Seen) -> Option<Prefix> {
        let spots: Vec<&Spot> = match &self.case.question.demand {
            Demand::Leaves { landing, .. }
            | Demand::Arrives(landing)
            | Demand::NeverLands(landing) => landing.iter().flat_map(|l| &l.spots).collect(),
        };
        let here = spots
            .into_iter()
            .find(|spot| spot.has(seen.out_interface.as_deref(), seen.destination));
        match (here, &self.case.question.to) {
            (Some(spot), _) => self.prefix_for(spot.addresses(), seen.destination),
            (None, Some(to)) if !seen.redirected => self.prefix_for(to, seen.destination),
            (None, _) => Some(single(seen.destination)),
        }
    }

    /// The service that the entry is about, in words: protocol and ports.
    pub(super) fn service(&self, seen: &Seen) -> (Option<u8>, Option<(u16, u16)>) {
        let landing = match &self.case.question.demand {
            Demand::Leaves { landing, .. }
            | Demand::Arrives(landing)
            | Demand::NeverLands(landing) => landing,
        };
        let here = landing.iter().find(|landing| {
            landing.spots.iter().any(|s| s.has(seen.out_interface.as_deref(), seen.destination))
        });
        let asked = &self.case.question.service;
        let landed = here.map(|landing| &landing.service);
        let has_ports = |service: &Service| !service.ports.is_empty();
        let ports_of = |service: &Service| {
            let port = seen.port?;
            service.ports.iter().copied().find(|(first, last)| (*first..=*last).contains(&port))
        };
        let ports = match landed.filter(|s| has_ports(s)) {
            Some(service) => ports_of(service),
            None if has_ports(asked) && !seen.redirected => ports_of(asked),
            None if has_ports(asked) => seen.port.map(|port| (port, port)),
            None => None,
        };
        let named = |service: &Service| {
            let icmp = [protocol::ICMP, protocol::ICMPV6].contains(&seen.protocol);
            service.protocols.iter().any(|own| match own {
                Protocol::Icmp => icmp,
                Protocol::Number(number) => *number == seen.protocol,
            })
        };
        let told = named(asked) || landed.is_some_and(named) || ports.is_some();
        (told.then_some(seen.protocol), ports)
    }

    /// A bridge of containers by which the packet came in, where it did.
    pub(super) fn bridge_behind(&self) -> Option<&str> {
        let name = self.answer.flow.in_interface.as_deref()?;
        self.is_bridge(name).then_some(name)
    }

    /// Whether an interface is a bridge.
    pub(super) fn is_bridge(&self, name: &str) -> bool {
        let host = &self.system.host;
        let known = host.interfaces.iter().find(|own| own.name == name);
        known.is_some_and(|own| own.kind == InterfaceKind::Bridge)
            || host.inventory.networks.iter().any(|network| network.bridge == name)
    }

    /// The private network on-link at an interface: who is there is not the internet.
    pub(super) fn private_on_link(&self, interface: &str) -> Option<Prefix> {
        let own = self.system.host.interfaces.iter().find(|own| own.name == interface)?;
        let family = self.family();
        let subnets = own.addresses.iter().filter(|a| a.scope == Scope::Global).map(|a| &a.subnet);
        let mut private = subnets.filter(|subnet| {
            subnet.family() == family && !subnet.is_single() && !is_internet(subnet.network())
        });
        private.next().cloned()
    }

    /// Whether the packets of the entry go to the internet, or to everywhere.
    pub(super) fn goes_far(&self, seen: &Seen) -> bool {
        is_internet(seen.destination) && self.receivers(seen).is_none()
    }

    /// Wordings of a rule about packets that leave: what a translation of their source is about.
    pub(super) fn leaving(&self, seen: &Seen) -> Vec<Worded> {
        let Some(out) = seen.out_interface.clone() else { return Vec::new() };
        let (protocol, ports) = self.service(seen);
        let local = self.answer.flow.in_interface.is_none();
        let source = if local { Some(single(self.answer.flow.source)) } else { self.senders() };
        let base = Wording { source: source.and_then(is), protocol, ports, ..Wording::default() };
        let mut worded = Vec::new();
        let by = |base: &Wording| Wording { out_interface: is(out.clone()), ..base.clone() };
        match (self.goes_far(seen), self.bridge_behind()) {
            (true, Some(bridge)) if bridge != out => {
                let beyond = Wording { out_interface: is_not(bridge.to_owned()), ..base.clone() };
                worded.push((beyond, 0));
                worded.push((by(&base), 2));
            }
            (true, _) => worded.push((by(&base), 0)),
            (false, _) => {
                let to = self.receivers(seen).and_then(is);
                worded.push((Wording { destination: to, ..base.clone() }, 0));
                worded.push((by(&base), 6));
            }
        }
        if self.goes_far(seen)
            && let Some(lan) = self.private_on_link(&out)
        {
            worded.push((Wording { destination: is_not(lan), ..by(&base) }, 4));
        }
        if let Some((subnet, bridge)) = self.own_bridge().filter(|_| local) {
            // What containers of the bridge send has to leave the same way.
            let (destination, out_interface) = match self.goes_far(seen) {
                true => (None, is_not(bridge)),
                false => (self.receivers(seen).and_then(is), None),
            };
            let all = Wording { source: is(subnet), out_interface, destination, ..base.clone() };
            worded.push((all, 3));
        }
        if base.source.is_some() {
            // Every network at once.
            worded.push((Wording { source: None, ..by(&base) }, 60));
        }
        worded
    }

    /// The bridge whose own address a local process sends from, with its subnet.
    fn own_bridge(&self) -> Option<(Prefix, String)> {
        let source = self.answer.flow.source;
        let interfaces = self.system.host.interfaces.iter();
        let mut bridges = interfaces.filter(|own| self.is_bridge(&own.name));
        bridges.find_map(|own| {
            let address = own.addresses.iter().find(|address| address.local == source)?;
            Some((address.subnet.clone(), own.name.clone()))
        })
    }

    /// Wordings of a rule about packets that are forwarded: what filters them.
    pub(super) fn passing(&self, seen: &Seen) -> Vec<Worded> {
        let (protocol, ports) = self.service(seen);
        let base = Wording {
            in_interface: seen.in_interface.clone().and_then(is),
            out_interface: seen.out_interface.clone().and_then(is),
            protocol,
            ports,
            ..Wording::default()
        };
        let source = self.senders_of(seen);
        let destination = self.receivers(seen);
        let exact = Wording {
            source: source.clone().and_then(is),
            destination: destination.clone().and_then(is),
            ..base.clone()
        };
        let mut worded = vec![(exact, 0)];
        if destination.is_some() {
            let source = source.and_then(is);
            worded.push((Wording { source, ..base.clone() }, 12));
        }
        worded
    }

    /// The senders, where the interface does not say it all.
    fn senders_of(&self, seen: &Seen) -> Option<Prefix> {
        let senders = self.senders()?;
        let whole = seen.in_interface.as_deref().is_some_and(|name| {
            let own = self.system.host.interfaces.iter().find(|own| own.name == name);
            self.is_bridge(name)
                && own.is_some_and(|own| {
                    own.addresses.iter().any(|address| address.subnet == senders)
                })
        });
        (!whole).then_some(senders)
    }
}

/// The prefix of one address.
pub(super) fn single(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}
