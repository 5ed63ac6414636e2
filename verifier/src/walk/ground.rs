//! What all regions of a question share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::host::set::{Dimension, IpSet};
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule};
use nattrace_model::simulate::kernel_source;
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;

use crate::cells::{self, AddressCells, Alike, Division, PortCell, PortCells, Protocols};
use crate::header::{Header, bits};
use crate::space::{Field, Space};
use crate::walk::context::{Context, Traits};
use crate::walk::fold::Folded;
use crate::walk::index::Index;
use crate::walk::{Entry, Question};

/// The port of a packet, a protocol, and what waits there.
type Waiting = (Field, u8, Option<usize>);

/// What all regions of a question share.
pub(crate) struct Ground {
    /// The ipsets.
    pub(crate) sets: BTreeMap<String, IpSet>,
    /// Addresses of containers, each with all that its container has.
    pub(crate) siblings: HashMap<IpAddr, Vec<IpAddr>>,
    pub(crate) space: Space,
    /// How the host divides sources.
    pub(crate) sources: AddressCells,
    /// How it divides destinations, which is less finely.
    pub(crate) destinations: AddressCells,
    /// The addresses that are treated alike as destinations.
    alike: BTreeMap<u128, Alike>,
    ports: PortCells,
    pub(crate) routed_ports: Division,
    pub(crate) protocols: Protocols,
    pub(crate) icmp_types: HashMap<u8, Division>,
    pub(crate) routes_by_port: bool,
    pub(crate) sees_congestion: bool,
    /// Whether the source of the set means something.
    pub(crate) sourced: bool,
    /// Whether entries of ipsets hold hardware addresses.
    pub(crate) macs_in_sets: bool,
    /// How many packets were followed whose address a hash picked.
    hashed: Cell<usize>,
    /// Whether the hardware address of any sender is known.
    pub(crate) knows_macs: bool,
    /// The packets that are asked about.
    pub(crate) asked: BDDFunction,
    /// The base chains that were folded.
    pub(crate) folds: RefCell<HashMap<Context, Folded>>,
    indices: RefCell<HashMap<ChainId, Rc<Index>>>,
    pub(crate) traits: RefCell<HashMap<ChainId, Traits>>,
    known_waiting: RefCell<HashMap<Waiting, BDDFunction>>,
    /// What is asked about, by the fields that are left of it.
    asked_of: RefCell<HashMap<BTreeSet<Field>, BDDFunction>>,
}

/// So many pairs of addresses are looked at where a hash of both picks another one.
const MOST_HASHED: usize = 64;

impl Ground {
    pub(crate) fn new(system: &System, space: &Space, question: &Question) -> Self {
        let family = space.family();
        let types = [protocol::ICMP, protocol::ICMPV6];
        let alike = cells::alike(system, family, &question.entry);
        Self {
            sets: system.host.sets.clone(),
            siblings: siblings(system, family),
            space: space.clone(),
            sources: AddressCells::of(system, family, &BTreeMap::new()),
            destinations: AddressCells::of(system, family, &alike),
            alike,
            ports: PortCells::of(system),
            routed_ports: cells::routed_ports(system, family),
            protocols: Protocols::of(system, family),
            icmp_types: types
                .into_iter()
                .map(|number| (number, cells::icmp_types(number)))
                .collect(),
            routes_by_port: cells::routes_by_port(system, family),
            sees_congestion: cells::sees_congestion(system, family),
            sourced: question.entry != Entry::LocalAnySource,
            macs_in_sets: system.host.sets.values().any(|set| match set {
                IpSet::Entries { dimensions, .. } => dimensions.contains(&Dimension::Mac),
                IpSet::List(_) => false,
            }),
            hashed: Cell::new(0),
            knows_macs: {
                let containers = &system.host.inventory.containers;
                let endpoints = containers.iter().flat_map(|container| &container.endpoints);
                endpoints.into_iter().any(|endpoint| endpoint.mac.is_some())
            },
            asked: question.packets.function().clone(),
            folds: RefCell::default(),
            indices: RefCell::default(),
            traits: RefCell::default(),
            known_waiting: RefCell::default(),
            asked_of: RefCell::default(),
        }
    }

    /// Whether one more pair of addresses is looked at by itself, because a hash of both decides.
    pub(crate) fn follows_hash(&self) -> bool {
        self.hashed.replace(self.hashed.get() + 1) < MOST_HASHED
    }

    /// The own address that routing chooses for packets to where one came from, where the one that
    /// it is for is treated like others.
    pub(crate) fn answering(&self, system: &System, header: &Header) -> Option<IpAddr> {
        let alike = self.alike.contains_key(&bits(header.destination));
        alike.then(|| kernel_source(system, header.source)).flatten()
    }

    /// The rules of a chain by what they ask for.
    pub(crate) fn index(&self, chain: ChainId, rules: &[Rule]) -> Rc<Index> {
        let mut known = self.indices.borrow_mut();
        Rc::clone(known.entry(chain).or_insert_with(|| Rc::new(Index::of(rules))))
    }

    /// The packets that are asked about, as far as some fields tell.
    pub(crate) fn asked_of(&self, fields: &BTreeSet<Field>) -> BDDFunction {
        if let Some(known) = self.asked_of.borrow().get(fields) {
            return known.clone();
        }
        let function = self.space.only_of(&self.asked, fields);
        self.asked_of.borrow_mut().insert(fields.clone(), function.clone());
        function
    }

    pub(crate) fn range(&self, field: Field, low: u128, high: u128) -> BDDFunction {
        self.space.range(field, low, high)
    }

    /// The packets of whose port a field, the same waits as for this one.
    pub(crate) fn waiting(&self, field: Field, number: u8, port: u16) -> BDDFunction {
        let key = (field, number, self.ports.name(number, port));
        if let Some(known) = self.known_waiting.borrow().get(&key) {
            return known.clone();
        }
        let each = |ports: &[u16]| {
            let each = ports.iter().map(|port| self.range(field, (*port).into(), (*port).into()));
            self.space.union(each.collect())
        };
        let function = match self.ports.cell(number, port) {
            PortCell::All => self.space.anything(),
            PortCell::These(ports) => each(ports),
            PortCell::NoneOf(ports) => self.space.not(&each(&ports)),
        };
        self.known_waiting.borrow_mut().insert(key, function.clone());
        function
    }

    pub(crate) fn prefix(&self, field: Field, prefix: &Prefix) -> BDDFunction {
        self.space.prefix(field, prefix)
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
