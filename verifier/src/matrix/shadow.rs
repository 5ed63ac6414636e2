//! The shadows that parts of cells cast: which values of one field their packets have.
//!
//! A part is the packets of a set with some services. It is never made into a set of its own: at
//! each node behind the addresses it is known with which services packets get there.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::diagram::{ANYTHING, Diagram, Id, NOTHING, Services, WithPorts};
use crate::space::{Field, Space};

/// Lots of services, one bit each.
type Bits = Rc<[u64]>;

/// Which lots of services have packets behind a node.
pub(super) struct Live<'a> {
    services: &'a Services,
    /// The lot of each service.
    lots: Vec<Option<usize>>,
    words: usize,
    known: HashMap<Id, Bits>,
    known_ports: HashMap<(Id, u8), Bits>,
    /// The nodes of each set that ask for the protocol.
    bottoms: HashMap<Id, Rc<[Id]>>,
}

impl<'a> Live<'a> {
    /// For so many lots; `lots` says which one a service is of.
    pub(super) fn new(services: &'a Services, lots: Vec<Option<usize>>, many: usize) -> Self {
        let words = many.div_ceil(64);
        Self {
            services,
            lots,
            words,
            known: HashMap::new(),
            known_ports: HashMap::new(),
            bottoms: HashMap::new(),
        }
    }

    fn bottoms(&mut self, diagram: &Diagram, set: Id) -> Rc<[Id]> {
        let made = || diagram.below(vec![set], diagram.protocol).into();
        Rc::clone(self.bottoms.entry(set).or_insert_with(made))
    }

    fn has(&mut self, diagram: &Diagram, node: Id, lot: usize) -> bool {
        let bits = match self.known.get(&node) {
            Some(bits) => bits,
            None => {
                let bits = self.behind(diagram, node);
                self.known.entry(node).or_insert(bits)
            }
        };
        bits.get(lot / 64).is_some_and(|word| word >> (lot % 64) & 1 == 1)
    }

    /// Behind a node that asks for the protocol.
    fn behind(&mut self, diagram: &Diagram, node: Id) -> Bits {
        let services = self.services;
        let mut bits = vec![0; self.words];
        for of in &services.with_ports {
            let of_protocol = diagram.of_protocol(node, of.number);
            let own = self.behind_ports(diagram, of_protocol, of);
            bits.iter_mut().zip(own.iter()).for_each(|(all, own)| *all |= own);
        }
        for (index, numbers) in &services.others {
            if numbers.iter().any(|number| diagram.of_protocol(node, *number) != NOTHING) {
                self.add(&mut bits, *index..index + 1);
            }
        }
        bits.into()
    }

    /// Behind a node that asks for ports, of a protocol.
    fn behind_ports(&mut self, diagram: &Diagram, node: Id, of: &WithPorts) -> Bits {
        let WithPorts { number, index, ports } = of;
        if let Some(known) = self.known_ports.get(&(node, *number)) {
            return Rc::clone(known);
        }
        let (level, one, zero) = diagram.at(node);
        let mut bits = vec![0; self.words];
        if level >= diagram.destination_port {
            let mut spans = Vec::new();
            diagram.spans(node, 0, 0, &mut spans);
            for (low, high, _) in spans {
                let first = ports.partition_point(|(_, last)| *last < low);
                let end = ports.partition_point(|(first, _)| *first <= high);
                self.add(&mut bits, index + first..index + end);
            }
        } else {
            for side in [one, zero] {
                let own = self.behind_ports(diagram, side, of);
                bits.iter_mut().zip(own.iter()).for_each(|(all, own)| *all |= own);
            }
        }
        let bits: Bits = bits.into();
        self.known_ports.insert((node, *number), Rc::clone(&bits));
        bits
    }

    fn add(&self, bits: &mut [u64], services: Range<usize>) {
        for lot in self.lots.get(services).into_iter().flatten().flatten() {
            if let Some(word) = bits.get_mut(lot / 64) {
                *word |= 1 << (lot % 64);
            }
        }
    }
}

/// A lot of services: its number, and its packets as a node.
#[derive(Clone, Copy)]
pub(super) struct Chosen {
    pub(super) lot: usize,
    pub(super) meant: Id,
}

/// Not looked at yet.
const UNKNOWN: Id = Id::MAX;

impl Diagram {
    /// The addresses that packets of sets have with the services of a lot.
    pub(super) fn addresses(
        &mut self,
        sets: &[Id],
        levels: &Range<u32>,
        lot: usize,
        live: &mut Live<'_>,
    ) -> Id {
        let mut known = vec![UNKNOWN; self.len()];
        let mut all = NOTHING;
        for set in sets {
            let own = self.cast(*set, levels, lot, live, &mut known);
            all = self.or(all, own);
        }
        all
    }

    fn cast(
        &mut self,
        node: Id,
        levels: &Range<u32>,
        lot: usize,
        live: &mut Live<'_>,
        known: &mut [Id],
    ) -> Id {
        if node == NOTHING {
            return NOTHING;
        }
        let (level, one, zero) = self.at(node);
        if level >= self.protocol {
            return if live.has(self, node, lot) { ANYTHING } else { NOTHING };
        }
        if let Some(made) = known.get(node as usize).filter(|made| **made != UNKNOWN) {
            return *made;
        }
        let one = self.cast(one, levels, lot, live, known);
        let made = if levels.contains(&level) {
            let zero = self.cast(zero, levels, lot, live, known);
            self.node(level, one, zero)
        } else if one == ANYTHING {
            ANYTHING
        } else {
            let zero = self.cast(zero, levels, lot, live, known);
            self.or(one, zero)
        };
        if let Some(slot) = known.get_mut(node as usize) {
            *slot = made;
        }
        made
    }

    /// The ports that packets of sets have with the services of a lot; no more than `most` is
    /// looked for.
    pub(super) fn ports(
        &mut self,
        sets: &[Id],
        levels: &Range<u32>,
        chosen: Chosen,
        most: Id,
        live: &mut Live<'_>,
    ) -> Id {
        let mut known = HashMap::new();
        let mut all = NOTHING;
        for set in sets {
            for node in live.bottoms(self, *set).iter() {
                if !live.has(self, *node, chosen.lot) {
                    continue;
                }
                let own = self.both(*node, chosen.meant, levels, &mut known);
                all = self.or(all, own);
                if all == most {
                    return all;
                }
            }
        }
        all
    }

    /// The values of a field of what two nodes hold of together.
    pub(super) fn both(
        &mut self,
        node: Id,
        other: Id,
        levels: &Range<u32>,
        known: &mut HashMap<(Id, Id), Id>,
    ) -> Id {
        if node == NOTHING || other == NOTHING {
            return NOTHING;
        }
        let (own, theirs) = (self.at(node), self.at(other));
        let level = own.0.min(theirs.0);
        if level == u32::MAX {
            return ANYTHING;
        }
        if let Some(made) = known.get(&(node, other)) {
            return *made;
        }
        let halves = |id: Id, node: (u32, Id, Id)| match node.0 == level {
            true => (node.1, node.2),
            false => (id, id),
        };
        let ((a, b), (c, d)) = (halves(node, own), halves(other, theirs));
        let one = self.both(a, c, levels, known);
        let made = if levels.contains(&level) {
            let zero = self.both(b, d, levels, known);
            self.node(level, one, zero)
        } else if one == ANYTHING {
            ANYTHING
        } else {
            let zero = self.both(b, d, levels, known);
            self.or(one, zero)
        };
        known.insert((node, other), made);
        made
    }
}

/// The levels of a field.
pub(super) fn levels(space: &Space, field: Field) -> Range<u32> {
    let first = field.first(space.family());
    first..first + field.width(space.family())
}
