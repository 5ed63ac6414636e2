//! One column of a row: the packets of one zone to another, divided by service.

use std::collections::HashMap;

use nattrace_model::answer::Outcome;
use nattrace_model::simulate::why;

use super::diagram::{Diagram, Id, Met, NOTHING, Services};
use super::fate::proxied_sources;
use super::part::{Piece, Which};
use super::row::{Fates, Found, Made, Row, Start};
use super::service::{self, Service, merged};
use super::shadow::{Chosen, Live};
use super::{Breadth, Cell, Kept, Part, Reach, Zone};
use crate::check::{Disagreement, flow_of};
use crate::header::Header;
use crate::packets::PacketSet;
use crate::space::Space;

/// A column of a row.
pub(super) struct Column<'a> {
    pub(super) row: &'a Row<'a>,
    pub(super) space: &'a Space,
    pub(super) starts: &'a [Start],
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
struct Lot {
    /// Their indices.
    services: Vec<usize>,
    /// When packets of theirs that were found were met first; `None` for those that are none.
    met: Vec<Option<usize>>,
}

impl Lot {
    fn each(&self) -> impl Iterator<Item = usize> {
        self.services.iter().copied()
    }
}

/// What the parts of a column are read off.
struct Reading<'a> {
    diagram: &'a mut Diagram,
    live: Live<'a>,
    /// What was found.
    sets: &'a [Id],
    /// All packets to the column, by where they start.
    wholes: Vec<Id>,
}

/// The packets of a part that start in one place.
struct Share<'a> {
    start: &'a Start,
    /// Which place that is.
    at: usize,
    /// They are among these, which are a node of the diagram, too.
    packets: &'a PacketSet,
    set: Id,
    /// One of them.
    header: Header,
}

impl Column<'_> {
    /// Makes its cells.
    pub(super) fn cells(
        &self,
        diagram: &mut Diagram,
        services: &Services,
        made: &mut Made,
    ) -> Result<(), Disagreement> {
        let sets: Vec<Id> =
            self.found.iter().map(|found| diagram.add(self.space, found.set.function())).collect();
        let lots = self.lots(diagram, &sets, services);
        let mut of_service = vec![None; self.row.services.len()];
        for (at, service) in (0..).zip(&lots).flat_map(|(at, lot)| lot.each().map(move |s| (at, s)))
        {
            if let Some(own) = of_service.get_mut(service) {
                *own = Some(at);
            }
        }
        let mut reading = Reading {
            live: Live::new(services, of_service, lots.len()),
            wholes: self.wholes(diagram),
            diagram,
            sets: &sets,
        };
        let mut cells = Vec::new();
        for (at, lot) in lots.iter().enumerate() {
            let before = reading.diagram.mark();
            cells.extend(self.cell(at, lot, &mut reading, made)?);
            reading.diagram.back_to(before);
        }
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
            for cell in &mut cells {
                cell.breadth = Breadth::Everything;
            }
        }
        made.cells.append(&mut cells);
        Ok(())
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
    fn of(&self, services: &[usize]) -> PacketSet {
        let named = services.iter().filter_map(|at| self.row.services.get(*at)).copied();
        let named: Vec<Service> = named.collect();
        service::packets_of_any(self.space, &named, self.row.services)
    }

    fn cell(
        &self,
        at: usize,
        lot: &Lot,
        reading: &mut Reading<'_>,
        made: &mut Made,
    ) -> Result<Option<Cell>, Disagreement> {
        let services = &lot.services;
        let meant = self.of(services);
        // By fate, in the order in which they were met: an example from each place where they start.
        let here = self.found.iter().zip(reading.sets).zip(&lot.met);
        let mut here: Vec<(usize, &Found, Id)> =
            here.filter_map(|((found, set), met)| Some(((*met)?, found, *set))).collect();
        here.sort_by_key(|(met, ..)| *met);
        let mut fates: Vec<(usize, Vec<Share<'_>>)> = Vec::new();
        for (_, found, set) in here {
            let Some(start) = self.starts.get(found.start) else { continue };
            let Some(header) = self.example(&found.set, &meant, &start.telling) else { continue };
            let share = Share { start, at: found.start, packets: &found.set, set, header };
            match fates.iter_mut().find(|(fate, _)| *fate == found.fate) {
                Some((_, shares)) => shares.push(share),
                None => fates.push((found.fate, vec![share])),
            }
        }
        let chosen = Chosen { lot: at, meant: reading.diagram.add(self.space, meant.function()) };
        let mut parts = Vec::new();
        let several = fates.len() > 1;
        for (fate, shares) in &mut fates {
            shares.sort_by_key(|share| share.at);
            let which = several.then(|| self.which(shares, &meant, chosen, reading));
            parts.extend(self.part(*fate, shares, &meant, which, services, made)?);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        parts.sort_by_key(|part| rank(part.outcome));
        let names = services.iter().filter_map(|at| self.row.services.get(*at)).copied();
        Ok(Some(Cell {
            family: self.row.family,
            from: self.row.index,
            to: self.to,
            services: merged(names),
            breadth: Breadth::Some,
            reach: Reach::of(&parts),
            parts,
        }))
    }

    /// A packet that a person would take as an example, of a set and with some services.
    fn example(&self, set: &PacketSet, meant: &PacketSet, telling: &[PacketSet]) -> Option<Header> {
        // A packet to its own address is found without what is preferred, so that comes first.
        let usual = meant.intersection(self.usual);
        set.sample_with(&usual, telling).or_else(|| set.sample_with(meant, telling))
    }

    fn which(
        &self,
        shares: &[Share<'_>],
        meant: &PacketSet,
        chosen: Chosen,
        reading: &mut Reading<'_>,
    ) -> Which {
        let mut pieces = Vec::new();
        for (at, (start, whole)) in self.starts.iter().zip(&reading.wholes).enumerate() {
            let all = start.columns.get(self.here);
            if all.is_some_and(|all| self.space.meet(all.function(), meant.function())) {
                let part = shares.iter().find(|share| share.at == at).map(|share| share.set);
                pieces.push(Piece { at: &start.at, part, whole: *whole });
            }
        }
        Which::of(&pieces, chosen, self.space, reading.diagram, &mut reading.live)
    }

    fn part(
        &self,
        fate: usize,
        shares: &[Share<'_>],
        meant: &PacketSet,
        which: Option<Which>,
        services: &[usize],
        made: &mut Made,
    ) -> Result<Option<Part>, Disagreement> {
        let Some((fate, open)) = self.fates.known.get(fate) else { return Ok(None) };
        let Some(first) = shares.first() else { return Ok(None) };
        let asked = flow_of(&first.start.question, &first.header);
        let answer = why(self.row.system, &asked);
        if open.is_none() && !fate.is(&answer) {
            let name =
                |zones: &[Zone], at: usize| zones.get(at).map_or("", |zone| &zone.name).to_owned();
            let service = services.first().and_then(|at| self.row.services.get(*at));
            let service = service.map(ToString::to_string).unwrap_or_default();
            return Err(Disagreement {
                name: format!(
                    "{} -> {} {service}",
                    name(self.row.from, self.row.index),
                    name(self.row.to, self.to)
                ),
                flow: Some(Box::new(asked)),
                between: crate::check::Between::ClassesAndSimulator,
                one: "it fares in another way".to_owned(),
                other: format!(
                    "it is {:?}, {:?}, not {:?}, {:?}",
                    answer.verdict, answer.outcome, fate.verdict, fate.outcome
                ),
                shown: None,
            });
        }
        made.assumptions.extend(answer.assumptions.iter().cloned());
        let mut sources = fate.sources.clone();
        for source in proxied_sources(&answer) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let kept = shares.iter().filter(|_| self.row.kept == Kept::Packets);
        let sets = kept.map(|share| {
            (share.start.question.entry.clone(), share.packets.clone(), meant.clone())
        });
        Ok(Some(Part {
            outcome: fate.outcome,
            verdict: fate.verdict,
            sources,
            landings: fate.landings.clone(),
            because: open.clone().or_else(|| crate::check::undetermined(&answer)),
            which: which.filter(|which| !which.is_empty()),
            sets: sets.collect(),
            witness: answer.flow,
        }))
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

/// What connects comes first, and what nobody knows before what does not.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Connects => 0,
        Outcome::Undetermined => 1,
        Outcome::Refused => 2,
        Outcome::Unreachable => 3,
        Outcome::Timeout => 4,
    }
}
