//! What a host is to all questions about it: found out once, and shared by their threads.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nattrace_model::System;
use nattrace_model::host::set::{Dimension, IpSet};
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule, Ruleset};
use nattrace_parser::syntax::Family;

use crate::cells::{self, AddressPlan, Alike, Division, PortCells, Protocols};
use crate::walk::Entry;
use crate::walk::context::{self, Traits};
use crate::walk::index::Index;

/// A host as questions of both families are asked about it.
#[derive(Default)]
pub(crate) struct World {
    ipv4: OnceLock<Arc<Landscape>>,
    ipv6: OnceLock<Arc<Landscape>>,
}

impl World {
    /// What the host is to questions of a family. It has to be the same host each time.
    pub(super) fn landscape(&self, system: &System, family: Family) -> Arc<Landscape> {
        let known = match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        };
        Arc::clone(known.get_or_init(|| Arc::new(Landscape::of(system, family))))
    }
}

/// A host as questions of one family are asked about it.
pub(crate) struct Landscape {
    family: Family,
    /// The ipsets.
    pub(crate) sets: BTreeMap<String, IpSet>,
    /// Addresses of containers, each with all that its container has.
    pub(crate) siblings: HashMap<IpAddr, Vec<IpAddr>>,
    /// How the host divides sources.
    pub(super) sources: Arc<AddressPlan>,
    /// How it divides destinations, by where packets begin.
    destinations: Mutex<HashMap<Entry, Arc<Destinations>>>,
    pub(super) ports: PortCells,
    pub(crate) routed_ports: Division,
    pub(crate) protocols: Protocols,
    pub(crate) icmp_types: HashMap<u8, Division>,
    pub(crate) routes_by_port: bool,
    pub(crate) sees_congestion: bool,
    /// Whether entries of ipsets hold hardware addresses.
    macs_in_sets: bool,
    /// Whether the hardware address of any sender is known.
    pub(crate) knows_macs: bool,
    /// The rules of each chain by what they ask for.
    indices: Vec<OnceLock<Arc<Index>>>,
    /// What the rules ask that each base chain leads to.
    traits: Vec<OnceLock<Traits>>,
    /// Whether the rules that each chain leads to may ask where a packet leaves.
    asks_out: Vec<OnceLock<bool>>,
}

/// How a host divides destinations, which is less finely than sources.
pub(super) struct Destinations {
    /// The addresses that are treated alike.
    pub(super) alike: BTreeMap<u128, Alike>,
    pub(super) plan: Arc<AddressPlan>,
}

impl Landscape {
    fn of(system: &System, family: Family) -> Self {
        let types = [protocol::ICMP, protocol::ICMPV6];
        let containers = &system.host.inventory.containers;
        let mut endpoints = containers.iter().flat_map(|container| &container.endpoints);
        let chains = system.rules.chains.len();
        Self {
            family,
            sets: system.host.sets.clone(),
            siblings: siblings(system, family),
            sources: Arc::new(AddressPlan::of(system, family, &BTreeMap::new())),
            destinations: Mutex::default(),
            ports: PortCells::of(system),
            routed_ports: cells::routed_ports(system, family),
            protocols: Protocols::of(system, family),
            icmp_types: types
                .into_iter()
                .map(|number| (number, cells::icmp_types(number)))
                .collect(),
            routes_by_port: cells::routes_by_port(system, family),
            sees_congestion: cells::sees_congestion(system, family),
            macs_in_sets: system.host.sets.values().any(|set| match set {
                IpSet::Entries { dimensions, .. } => dimensions.contains(&Dimension::Mac),
                IpSet::List(_) => false,
            }),
            knows_macs: endpoints.any(|endpoint| endpoint.mac.is_some()),
            indices: (0..chains).map(|_| OnceLock::new()).collect(),
            traits: (0..chains).map(|_| OnceLock::new()).collect(),
            asks_out: (0..chains).map(|_| OnceLock::new()).collect(),
        }
    }

    /// How the host divides the destinations of packets that begin somewhere.
    pub(super) fn destinations(&self, system: &System, entry: &Entry) -> Arc<Destinations> {
        let known = || self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(entry) {
            return Arc::clone(known);
        }
        let alike = cells::alike(system, self.family, entry);
        let plan = match alike.is_empty() {
            true => Arc::clone(&self.sources),
            false => Arc::new(AddressPlan::of(system, self.family, &alike)),
        };
        let found = Arc::new(Destinations { alike, plan });
        known().insert(entry.clone(), Arc::clone(&found));
        found
    }

    /// The rules of a chain by what they ask for.
    pub(crate) fn index(&self, chain: ChainId, rules: &[Rule]) -> Arc<Index> {
        let make = || Arc::new(Index::of(rules));
        let known = self.indices.get(chain.0 as usize);
        known.map_or_else(make, |known| Arc::clone(known.get_or_init(make)))
    }

    /// Whether the rules that a chain leads to may ask where a packet leaves.
    pub(super) fn asks_out(&self, rules: &Ruleset, chain: ChainId) -> bool {
        let known = self.asks_out.get(chain.0 as usize);
        known.is_none_or(|known| *known.get_or_init(|| context::asks_out(rules, chain)))
    }

    /// What the rules ask that a base chain leads to.
    pub(super) fn traits(&self, rules: &Ruleset, base: ChainId) -> Traits {
        let make = || Traits::of(rules, base, self.macs_in_sets);
        self.traits.get(base.0 as usize).map_or_else(make, |known| *known.get_or_init(make))
    }
}

/// The addresses of running containers, each with all that its container has of the family.
fn siblings(system: &System, family: Family) -> HashMap<IpAddr, Vec<IpAddr>> {
    let mut all = HashMap::new();
    for container in system.host.inventory.containers.iter().filter(|c| c.running) {
        let own = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let mut own: Vec<IpAddr> =
            own.map(|(own, _)| *own).filter(|own| Family::of(*own) == family).collect();
        own.sort();
        own.dedup();
        for address in own.clone() {
            all.entry(address).or_insert_with(Vec::new).extend(own.iter().copied());
        }
    }
    all
}
