//! What all regions of a question share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::simulate::kernel_source;
use oxidd::bdd::BDDFunction;

use crate::cells::{AddressCells, PortCell};
use crate::header::{Header, bits};
use crate::space::{Field, Space};
use crate::walk::context::Context;
use crate::walk::fold::{Called, Folded};
use crate::walk::world::{Destinations, Landscape, World};
use crate::walk::{Entry, Question};

/// The port of a packet, a protocol, and what waits there.
type Waiting = (Field, u8, Option<usize>);

/// What all regions of a question share.
pub(crate) struct Ground {
    /// What the host is to every question.
    pub(crate) land: Arc<Landscape>,
    pub(crate) space: Space,
    /// How the host divides sources.
    pub(crate) sources: AddressCells,
    /// How it divides destinations, which is less finely.
    pub(crate) destinations: AddressCells,
    divided: Arc<Destinations>,
    /// Whether the source of the set means something.
    pub(crate) sourced: bool,
    /// How many packets were followed whose address a hash picked.
    hashed: Cell<usize>,
    /// The packets that are asked about.
    pub(crate) asked: BDDFunction,
    /// The base chains that were folded.
    pub(crate) folds: RefCell<HashMap<Context, Folded>>,
    /// The chains that others call, which were folded for any way out.
    pub(super) called: RefCell<Called>,
    known_waiting: RefCell<HashMap<Waiting, BDDFunction>>,
    known_protocols: RefCell<HashMap<u8, BDDFunction>>,
    /// What is asked about, by the fields that are left of it.
    asked_of: RefCell<HashMap<BTreeSet<Field>, BDDFunction>>,
}

/// So many pairs of addresses are looked at where a hash of both picks another one.
const MOST_HASHED: usize = 64;

impl Ground {
    pub(crate) fn new(system: &System, world: &World, space: &Space, question: &Question) -> Self {
        let land = world.landscape(system, space.family());
        let divided = land.destinations(system, &question.entry);
        Self {
            space: space.clone(),
            sources: AddressCells::of(&land.sources),
            destinations: AddressCells::of(&divided.plan),
            divided,
            sourced: question.entry != Entry::LocalAnySource,
            hashed: Cell::new(0),
            asked: question.packets.function().clone(),
            folds: RefCell::default(),
            called: RefCell::default(),
            known_waiting: RefCell::default(),
            known_protocols: RefCell::default(),
            asked_of: RefCell::default(),
            land,
        }
    }

    /// Whether one more pair of addresses is looked at by itself, because a hash of both decides.
    pub(crate) fn follows_hash(&self) -> bool {
        self.hashed.replace(self.hashed.get() + 1) < MOST_HASHED
    }

    /// The own address that routing chooses for packets to where one came from, where the one that
    /// it is for is treated like others.
    pub(crate) fn answering(&self, system: &System, header: &Header) -> Option<IpAddr> {
        let alike = self.divided.alike.contains_key(&bits(header.destination));
        alike.then(|| kernel_source(system, header.source)).flatten()
    }

    /// The packets whose protocol is treated like this one.
    pub(crate) fn alike_protocols(&self, number: u8) -> BDDFunction {
        if let Some(known) = self.known_protocols.borrow().get(&number) {
            return known.clone();
        }
        let only = |number: u8| self.range(Field::Protocol, number.into(), number.into());
        let function = self.land.protocols.alike(number, only, &self.space);
        self.known_protocols.borrow_mut().insert(number, function.clone());
        function
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
        let key = (field, number, self.land.ports.name(number, port));
        if let Some(known) = self.known_waiting.borrow().get(&key) {
            return known.clone();
        }
        let each = |ports: &[u16]| {
            let each = ports.iter().map(|port| self.range(field, (*port).into(), (*port).into()));
            self.space.union(each.collect())
        };
        let function = match self.land.ports.cell(number, port) {
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
