//! One column of a row: the packets of one zone to another, divided by service.

use std::collections::HashMap;

use rayon::prelude::*;

use super::batch::Batch;
use super::diagram::{Diagram, Id, Met, NOTHING, Services};
use super::doubles::Doubles;
use super::row::{Fates, Found, Made, Row, Start};
use super::service::{self, Service};
use super::shadow::BATCH;
use super::{Breadth, Cell};
use crate::packets::PacketSet;
use crate::space::Space;

/// A column of a row.
pub(super) struct Column<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) space: &'a Space,
    pub(super) starts: &'a [Start],
    /// Own addresses that are looked at for others.
    pub(super) doubles: &'a Doubles,
    pub(super) fates: &'a Fates,
    /// The packets with the source port of an example, and those without ports.
    pub(super) usual: &'a PacketSet,
    /// Its place among the columns that are asked about, and among all.
    pub(super) here: usize,
    pub(super) to: usize,
    pub(super) found: &'a [Found],
}

/// What services that fare alike have in common.
#[derive(PartialEq, Eq, Hash)]
enum Likeness {
    /// One fate.
    Fate(usize),
    /// Several, and which packets of a protocol have which.
    Fates(u8, Vec<(usize, usize, u128)>),
    /// Of a service without ports that has several.
    Own(usize),
}

/// Services that fare alike.
pub(super) struct Lot {
    /// Their indices.
    pub(super) services: Vec<usize>,
    /// When packets of theirs that were found were met first; `None` for those that are none.
    pub(super) met: Vec<Option<usize>>,
}

/// The nodes that a column is read off.
pub(super) struct Nodes<'a> {
    pub(super) diagram: &'a Diagram,
    pub(super) services: &'a Services,
    /// Of what was found.
    pub(super) sets: &'a [Id],
    /// Of all packets to the column, by where they start.
    pub(super) wholes: &'a [Id],
}

impl Column<'_> {
    /// Makes its cells.
    pub(super) fn cells(&self, services: &Services) -> Made {
        let mut diagram = Diagram::new(self.space);
        let sets: Vec<Id> =
            self.found.iter().map(|found| diagram.add(self.space, found.set.function())).collect();
        let wholes = self.wholes(&mut diagram);
        let lots = self.lots(&mut diagram, &sets, services);
        let nodes = Nodes { diagram: &diagram, services, sets: &sets, wholes: &wholes };
        let batches: Vec<Made> =
            lots.par_chunks(BATCH).map(|lots| Batch::new(self, &nodes, lots).cells()).collect();
        let mut made = Made::default();
        for batch in batches {
            made.take(batch);
        }
        let cells = &mut made.cells;
        // What is left when the others are named is the most.
        let most = cells.iter().enumerate().max_by_key(|(index, cell): &(usize, &Cell)| {
            (width(&cell.services), std::cmp::Reverse(*index))
        });
        if let Some(most) = most.map(|(index, _)| index)
            && cells.len() > 1
            && let Some(cell) = cells.get_mut(most)
        {
            cell.breadth = Breadth::Rest;
        } else {
            for cell in cells {
                cell.breadth = Breadth::Everything;
            }
        }
        made
    }

    /// All packets to the column, by where they start.
    fn wholes(&self, diagram: &mut Diagram) -> Vec<Id> {
        let own = |start: &Start| start.columns.get(self.here).cloned();
        let each = self.starts.iter().map(own);
        each.map(|set| set.map_or(NOTHING, |set| diagram.add(self.space, set.function()))).collect()
    }

    /// The services by what becomes of their packets.
    fn lots(&self, diagram: &mut Diagram, sets: &[Id], services: &Services) -> Vec<Lot> {
        let all: Vec<Met> = sets.iter().map(|set| diagram.met(*set, services)).collect();
        let mut of = |set: &PacketSet| {
            let set = diagram.add(self.space, set.function());
            diagram.met(set, services)
        };
        let classes: Vec<(usize, usize, Option<Met>)> = (0..)
            .zip(self.found)
            .flat_map(|(at, found)| {
                let alone = found.classes.len() == 1;
                let each = found.classes.iter();
                each.map(move |(met, set)| (at, *met, (!alone).then_some(set)))
            })
            .map(|(at, met, set)| (at, met, set.map(&mut of)))
            .collect();
        let count = self.row.services.len();
        let mut lots: Vec<Lot> = Vec::new();
        if self.is_one(&all) {
            let services = (0..count).collect();
            lots.push(Lot { services, met: vec![None; self.found.len()] });
        } else {
            let mut known: HashMap<Likeness, usize> = HashMap::new();
            for service in 0..count {
                let Some(likeness) = self.likeness(service, &all) else { continue };
                let at = *known.entry(likeness).or_insert(lots.len());
                match lots.get_mut(at) {
                    Some(lot) => lot.services.push(service),
                    None => {
                        let met = vec![None; self.found.len()];
                        lots.push(Lot { services: vec![service], met });
                    }
                }
            }
        }
        for lot in &mut lots {
            for (at, met, class) in &classes {
                let Some(own) = class.as_ref().or_else(|| all.get(*at)) else { continue };
                let is_there = lot.services.iter().any(|service| own.has(*service));
                if let Some(first) = lot.met.get_mut(*at).filter(|_| is_there) {
                    *first = Some(first.map_or(*met, |known| known.min(*met)));
                }
            }
        }
        lots
    }

    /// Whether all packets that start in one place fare alike, whatever the service.
    fn is_one(&self, all: &[Met]) -> bool {
        let count = self.row.services.len();
        !self.found.is_empty()
            && self.found.iter().zip(all).all(|(found, met)| {
                let start = self.starts.get(found.start);
                let whole = start.and_then(|start| start.columns.get(self.here));
                (0..count).all(|service| met.has(service)) && whole == Some(&found.set)
            })
    }

    fn likeness(&self, service: usize, all: &[Met]) -> Option<Likeness> {
        let here = || self.found.iter().zip(all).filter(|(_, met)| met.has(service));
        let (first, _) = here().next()?;
        if here().all(|(found, _)| found.fate == first.fate) {
            return Some(Likeness::Fate(first.fate));
        }
        let Some(Service::Ports(number, ..)) = self.row.services.get(service) else {
            return Some(Likeness::Own(service));
        };
        let says = |met: &Met| met.says.get(service).copied().unwrap_or(0);
        let mut fates: Vec<(usize, usize, u128)> =
            here().map(|(found, met)| (found.fate, found.start, says(met))).collect();
        fates.sort_unstable();
        Some(Likeness::Fates(*number, fates))
    }

    /// The packets of some services.
    pub(super) fn of(&self, services: &[usize]) -> PacketSet {
        let named = services.iter().filter_map(|at| self.row.services.get(*at)).copied();
        let named: Vec<Service> = named.collect();
        service::packets_of_any(self.space, &named, self.row.services)
    }
}

/// How many ports and protocols services are.
fn width(services: &[Service]) -> u32 {
    let each = services.iter().map(|service| match service {
        Service::Ports(_, first, last) => u32::from(last - first) + 1,
        Service::Icmp | Service::Protocol(_) | Service::OtherProtocols => 1,
    });
    each.sum()
}
