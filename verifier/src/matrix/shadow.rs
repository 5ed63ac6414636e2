//! The shadows that parts of cells cast: which addresses their packets have.
//!
//! A part is the packets of a set with some services. It is never made into a set of its own: at
//! each node it is known with which services packets get there, for a batch of lots of services at
//! once; and a shadow says of each address with which of them packets have it.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;

use super::diagram::{Diagram, Id, NOTHING, Services, WithPorts, split};
use crate::space::{Field, Space};

/// Lots of services, one bit each.
pub(super) type Bits = u128;

/// How many lots are looked at together.
pub(super) const BATCH: usize = Bits::BITS as usize;

/// Which lots of services have packets behind a node.
pub(super) struct Live<'a> {
    pub(super) diagram: &'a Diagram,
    services: &'a Services,
    /// The lot of each service; those of other batches have none.
    lots: Vec<Bits>,
    /// What is known of each node up to the protocol; `None` for what was not asked.
    known: Vec<Option<Bits>>,
    known_ports: HashMap<(Id, u8), Bits, RandomState>,
}

impl<'a> Live<'a> {
    /// Behind the nodes of some sets; `lots` says which one a service is of.
    pub(super) fn new(
        diagram: &'a Diagram,
        services: &'a Services,
        lots: Vec<Bits>,
        sets: impl Iterator<Item = Id>,
    ) -> Self {
        let known = vec![None; diagram.len()];
        let mut live = Self { diagram, services, lots, known, known_ports: HashMap::default() };
        for set in sets {
            live.look(set);
        }
        live
    }

    /// Behind a node of one of the sets.
    pub(super) fn behind(&self, node: Id) -> Bits {
        self.known.get(node as usize).copied().flatten().unwrap_or(0)
    }

    fn look(&mut self, node: Id) -> Bits {
        if node == NOTHING {
            return 0;
        }
        if let Some(known) = self.known.get(node as usize).copied().flatten() {
            return known;
        }
        let (level, one, zero) = self.diagram.at(node);
        let bits = match level < self.diagram.protocol {
            true => self.look(one) | self.look(zero),
            false => self.of_bottom(node),
        };
        if let Some(slot) = self.known.get_mut(node as usize) {
            *slot = Some(bits);
        }
        bits
    }

    /// Behind a node that asks for the protocol.
    fn of_bottom(&mut self, node: Id) -> Bits {
        let services = self.services;
        let mut bits = 0;
        for of in &services.with_ports {
            bits |= self.with_ports(self.diagram.of_protocol(node, of.number), of);
        }
        for (index, numbers) in &services.others {
            let has = |number: &u8| self.diagram.of_protocol(node, *number) != NOTHING;
            if numbers.iter().any(has) {
                bits |= self.of(*index..index + 1);
            }
        }
        bits
    }

    /// Behind a node that asks for ports, of a protocol.
    fn with_ports(&mut self, node: Id, of: &WithPorts) -> Bits {
        if node == NOTHING {
            return 0;
        }
        let WithPorts { number, index, ports } = of;
        if let Some(known) = self.known_ports.get(&(node, *number)) {
            return *known;
        }
        let (level, one, zero) = self.diagram.at(node);
        let mut bits = 0;
        if level >= self.diagram.destination_port {
            let mut spans = Vec::new();
            self.diagram.spans(node, 0, 0, &mut spans);
            for (low, high, _) in spans {
                let first = ports.partition_point(|(_, last)| *last < low);
                let end = ports.partition_point(|(first, _)| *first <= high);
                bits |= self.of(index + first..index + end);
            }
        } else {
            bits = self.with_ports(one, of) | self.with_ports(zero, of);
        }
        self.known_ports.insert((node, *number), bits);
        bits
    }

    fn of(&self, services: Range<usize>) -> Bits {
        self.lots.get(services).into_iter().flatten().fold(0, |all, lot| all | lot)
    }
}

/// With which lots of services packets have an address.
pub(super) struct Shadow {
    /// The level of each node, and what follows where its variable is one, and where it is zero.
    nodes: Vec<(u32, Id, Id)>,
    /// The lots that some address behind each node is of, and those that every one is of.
    some: Vec<Bits>,
    every: Vec<Bits>,
    root: Id,
    pub(super) levels: Range<u32>,
}

/// What a shadow is cast from.
struct Light<'a> {
    live: &'a Live<'a>,
    known: HashMap<Box<[Id]>, Id, RandomState>,
    nodes: HashMap<(u32, Id, Id), Id, RandomState>,
    ends: HashMap<Bits, Id, RandomState>,
}

impl Shadow {
    /// Of sets together.
    pub(super) fn cast(sets: &[Id], levels: Range<u32>, live: &Live<'_>) -> Self {
        let mut shadow =
            Self { nodes: Vec::new(), some: Vec::new(), every: Vec::new(), root: 0, levels };
        let mut light = Light {
            live,
            known: HashMap::default(),
            nodes: HashMap::default(),
            ends: HashMap::default(),
        };
        let first = live.diagram.below(sets.to_vec(), shadow.levels.start);
        shadow.root = shadow.below(first, &mut light);
        shadow
    }

    /// What several nodes say together.
    fn below(&mut self, mut from: Vec<Id>, light: &mut Light<'_>) -> Id {
        from.retain(|node| light.live.behind(*node) != 0);
        from.sort_unstable();
        from.dedup();
        if let Some(known) = light.known.get(from.as_slice()) {
            return *known;
        }
        let diagram = light.live.diagram;
        let level = from.iter().map(|node| diagram.at(*node).0).min().unwrap_or(u32::MAX);
        let made = if level >= self.levels.end {
            let bits = from.iter().fold(0, |all, node| all | light.live.behind(*node));
            let next = self.nodes.len();
            *light.ends.entry(bits).or_insert_with(|| self.add((u32::MAX, 0, 0), bits, bits, next))
        } else {
            let side = |one: bool| {
                let of = |node: &Id| match diagram.at(*node) {
                    (own, yes, no) if own == level => match one {
                        true => yes,
                        false => no,
                    },
                    _ => *node,
                };
                from.iter().map(of).collect::<Vec<Id>>()
            };
            let (one, zero) = (self.below(side(true), light), self.below(side(false), light));
            self.node((level, one, zero), light)
        };
        light.known.insert(from.into(), made);
        made
    }

    fn node(&mut self, node: (u32, Id, Id), light: &mut Light<'_>) -> Id {
        let (_, one, zero) = node;
        if one == zero {
            return one;
        }
        let some = self.some_of(one) | self.some_of(zero);
        let every = self.every_of(one) & self.every_of(zero);
        let next = self.nodes.len();
        *light.nodes.entry(node).or_insert_with(|| self.add(node, some, every, next))
    }

    fn add(&mut self, node: (u32, Id, Id), some: Bits, every: Bits, next: usize) -> Id {
        self.nodes.push(node);
        self.some.push(some);
        self.every.push(every);
        Id::try_from(next).unwrap_or(Id::MAX)
    }

    fn some_of(&self, node: Id) -> Bits {
        self.some.get(node as usize).copied().unwrap_or(0)
    }

    fn every_of(&self, node: Id) -> Bits {
        self.every.get(node as usize).copied().unwrap_or(0)
    }

    fn at(&self, node: Id) -> (u32, Id, Id) {
        self.nodes.get(node as usize).copied().unwrap_or((u32::MAX, node, node))
    }

    /// Whether it has, of a lot, all that another one has, of whose part it is.
    pub(super) fn is_all_of(&self, other: &Self, lot: Bits) -> bool {
        let mut open = vec![(self.root, other.root)];
        let mut seen: std::collections::HashSet<(Id, Id), RandomState> = Default::default();
        while let Some((one, whole)) = open.pop() {
            if self.every_of(one) & lot != 0 || other.some_of(whole) & lot == 0 {
                continue;
            }
            if self.some_of(one) & lot == 0 || other.every_of(whole) & lot != 0 {
                return false;
            }
            if seen.insert((one, whole)) {
                let (_, [a, c], [b, d]) = split((one, self.at(one)), (whole, other.at(whole)));
                open.extend([(a, c), (b, d)]);
            }
        }
        true
    }

    /// The first blocks of addresses with a lot: their first bits, and how many those are. One more
    /// than asked for, where there are more.
    pub(super) fn blocks(&self, lot: Bits, most: usize) -> Vec<(u128, u32)> {
        let mut found = Vec::new();
        self.gather(self.root, (0, 0), lot, most, &mut found);
        found
    }

    /// Adds the blocks of those addresses that begin with some bits, of which the node says the rest.
    fn gather(
        &self,
        node: Id,
        (bits, length): (u128, u32),
        lot: Bits,
        most: usize,
        found: &mut Vec<(u128, u32)>,
    ) {
        if found.len() > most || self.some_of(node) & lot == 0 {
            return;
        }
        if self.every_of(node) & lot != 0 {
            found.push((bits, length));
            return;
        }
        let (level, one, zero) = self.at(node);
        let (one, zero) =
            if level == self.levels.start + length { (one, zero) } else { (node, node) };
        self.gather(zero, (bits << 1, length + 1), lot, most, found);
        self.gather(one, (bits << 1 | 1, length + 1), lot, most, found);
    }
}

/// The levels of a field.
pub(super) fn levels(space: &Space, field: Field) -> Range<u32> {
    let first = field.first(space.family());
    first..first + field.width(space.family())
}
