//! One row of a matrix: the packets of one zone, divided by what becomes of them, by destination
//! and by service.

use std::collections::{BTreeSet, HashMap};

use nattrace_model::System;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::host::Assumption;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;

use super::diagram::{Diagram, Met, Services};
use super::fate::{Fate, proxied_sources};
use super::part::{Cubes, Piece, Which};
use super::service::{self, Service, merged};
use super::{Breadth, Cell, Part, Reach, Zone};
use crate::check::{Disagreement, flow_of, packets};
use crate::header::Header;
use crate::packets::PacketSet;
use crate::policy::{self, AddressSet, Demand, Side, Where, Zones};
use crate::space::{Field, Space};
use crate::walk::{self, walk};

/// A row that is asked for.
pub(super) struct Row<'a> {
    pub(super) system: &'a System,
    pub(super) family: Family,
    pub(super) index: usize,
    pub(super) from: &'a [Zone],
    pub(super) to: &'a [Zone],
    pub(super) services: &'a [Service],
    pub(super) most: Option<usize>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Made {
    pub(super) cells: Vec<Cell>,
    pub(super) assumptions: BTreeSet<Assumption>,
    pub(super) asked: usize,
}

/// The packets that start in one place.
struct Start {
    at: Where,
    question: walk::Question,
    /// What makes one of them telling.
    telling: Vec<PacketSet>,
    /// Those to each column.
    columns: Vec<PacketSet>,
}

/// The packets to a column that start in one place and fare alike.
struct Found {
    start: usize,
    fate: usize,
    /// All of them.
    set: PacketSet,
    /// The classes that they come from, with when each was met.
    classes: Vec<(usize, PacketSet)>,
}

impl Found {
    /// Adds the packets of a class to those that fare like them.
    fn add(found: &mut Vec<Self>, start: usize, fate: usize, class: (usize, PacketSet)) {
        match found.iter_mut().find(|known| (known.start, known.fate) == (start, fate)) {
            Some(known) => {
                known.set = known.set.union(&class.1);
                known.classes.push(class);
            }
            None => found.push(Self { start, fate, set: class.1.clone(), classes: vec![class] }),
        }
    }
}

/// The fates that were met, each with what is to blame for it.
#[derive(Default)]
struct Fates {
    known: Vec<(Fate, Option<String>)>,
    indices: HashMap<(Fate, Option<String>), usize>,
}

impl Fates {
    /// The index of a fate; one that the classes leave open has a reason.
    fn index(&mut self, fate: Fate, open: Option<String>) -> usize {
        let key = (fate, open);
        if let Some(known) = self.indices.get(&key) {
            return *known;
        }
        let index = self.known.len();
        self.known.push(key.clone());
        self.indices.insert(key, index);
        index
    }
}

impl Row<'_> {
    /// The cells of some columns.
    pub(super) fn cells(&self, columns: &[usize]) -> Result<Made, Disagreement> {
        let space = Space::new(self.family);
        if self.services.is_empty() {
            return Ok(Made::default());
        }
        let all = service::packets_of_any(&space, self.services, self.services);
        let starts = self.starts(&space, &all, columns);
        let mut made = Made::default();
        let mut fates = Fates::default();
        let mut found: Vec<Vec<Found>> = columns.iter().map(|_| Vec::new()).collect();
        let mut met = 0;
        for (index, start) in starts.iter().enumerate() {
            let classes = walk(self.system, &start.question);
            made.asked += classes.asked;
            for class in &classes.classes {
                let fate = fates.index(Fate::of(class, &start.at), class.undetermined.clone());
                for (column, found) in start.columns.iter().zip(&mut found) {
                    let set = class.set.intersection(column);
                    if !set.is_nothing() {
                        Found::add(found, index, fate, (met, set));
                    }
                }
                met += 1;
            }
        }
        let usual = space.set(space.ports(Field::SourcePort, 40_000, 40_000));
        let usual = usual.union(&space.source_ports(0, u16::MAX).complement());
        let services = service::told_apart(self.services, self.family);
        let mut diagram = Diagram::new(&space);
        let cubes = Cubes::default();
        for (here, (to, found)) in columns.iter().zip(&found).enumerate() {
            let column = Column {
                row: self,
                space: &space,
                starts: &starts,
                fates: &fates,
                cubes: &cubes,
                usual: &usual,
                here,
                to: *to,
                found,
            };
            let lots = column.lots(&mut diagram, &services);
            column.cells(&lots, &mut made)?;
        }
        if space.is_exhausted() {
            return self.in_pieces(columns);
        }
        Ok(made)
    }

    /// The same where the sets grew too large: column by column, and what is still too large is
    /// left open.
    fn in_pieces(&self, columns: &[usize]) -> Result<Made, Disagreement> {
        let mut all = Made::default();
        if let [only] = columns {
            all.cells.extend(self.too_large(*only));
            return Ok(all);
        }
        for column in columns {
            let made = self.cells(&[*column])?;
            all.asked += made.asked;
            all.cells.extend(made.cells);
            all.assumptions.extend(made.assumptions);
        }
        Ok(all)
    }

    fn too_large(&self, column: usize) -> Option<Cell> {
        let space = Space::new(self.family);
        let all = service::packets_of_any(&space, self.services, self.services);
        let starts = self.starts(&space, &all, &[column]);
        let start = starts.first()?;
        let header = start.question.packets.sample(&[])?;
        let part = Part {
            outcome: Outcome::Undetermined,
            verdict: Verdict::Undetermined,
            sources: Vec::new(),
            landings: Vec::new(),
            because: Some("the sets of packets grew too large to be looked at".to_owned()),
            which: None,
            witness: flow_of(&start.question, &header),
            packets: Vec::new(),
        };
        Some(Cell {
            family: self.family,
            from: self.index,
            to: column,
            services: merged(self.services.iter().copied()),
            breadth: Breadth::Everything,
            reach: Reach::Undetermined,
            parts: vec![part],
        })
    }

    /// The places where packets of the row start, with those to each column.
    fn starts(&self, space: &Space, services: &PacketSet, columns: &[usize]) -> Vec<Start> {
        let zones = Zones::new(self.system, self.family);
        let Some(zone) = self.from.get(self.index) else { return Vec::new() };
        let sides = zones.senders(&zone.place, policy::Breadth::Meant);
        let start = |side: Side| {
            let addressed = |column: &usize| match self.to.get(*column) {
                Some(zone) => {
                    let all = zones.addressed(&zone.place, &side);
                    side.reaches
                        .as_ref()
                        .map_or_else(|| all.clone(), |known| all.intersection(known))
                }
                None => AddressSet::none(self.family),
            };
            let asked = policy::Question {
                from: side.clone(),
                to: None,
                service: policy::Service::default(),
                without: Vec::new(),
                except: Vec::new(),
                demand: Demand::Arrives(Vec::new()),
            };
            let base = packets::of(&asked, space).intersection(services);
            let to = |addresses: AddressSet| match addresses.is_empty() {
                true => space.none(),
                false => base.intersection(&packets::destinations(space, &addresses)),
            };
            let columns: Vec<PacketSet> = columns.iter().map(addressed).map(to).collect();
            let all = space.union(columns.iter().map(|set| set.function().clone()).collect());
            let mut question = walk::Question::new(space.set(all), packets::entry(&asked));
            question.most = self.most.unwrap_or(question.most);
            let telling = packets::telling(&asked, self.system, space);
            Start { at: side.at, question, telling, columns }
        };
        let mut starts: Vec<Start> = Vec::new();
        for start in sides.into_iter().map(start).filter(|start| !start.question.packets.is_empty())
        {
            match starts.iter_mut().find(|known| known.at == start.at) {
                Some(known) => known.join(&start),
                None => starts.push(start),
            }
        }
        starts
    }
}

impl Start {
    /// Takes the packets of another one that start in the same place.
    fn join(&mut self, other: &Self) {
        self.question.packets = self.question.packets.union(&other.question.packets);
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            *own = own.union(other);
        }
    }
}

/// A column of a row.
struct Column<'a> {
    row: &'a Row<'a>,
    space: &'a Space,
    starts: &'a [Start],
    fates: &'a Fates,
    cubes: &'a Cubes,
    /// The packets with the source port of an example, and those without ports.
    usual: &'a PacketSet,
    /// Its place among the columns that are asked about, and among all.
    here: usize,
    to: usize,
    found: &'a [Found],
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

impl Column<'_> {
    fn cells(&self, lots: &[Lot], made: &mut Made) -> Result<(), Disagreement> {
        let meant: Vec<(&Lot, PacketSet)> =
            lots.iter().map(|lot| (lot, self.of(&lot.services))).collect();
        let sets: Vec<PacketSet> = self.found.iter().map(|found| found.set.clone()).collect();
        let mut cells = Vec::new();
        self.divide(&meant, &sets, &mut cells, made)?;
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

    /// Makes the cells of some lots: by halves, so that the sets are small where there are many.
    fn divide(
        &self,
        lots: &[(&Lot, PacketSet)],
        sets: &[PacketSet],
        cells: &mut Vec<Cell>,
        made: &mut Made,
    ) -> Result<(), Disagreement> {
        let within = |meant: &PacketSet| {
            sets.iter().map(|set| set.intersection(meant)).collect::<Vec<PacketSet>>()
        };
        match lots {
            [] => Ok(()),
            [(lot, meant)] => {
                cells.extend(self.cell(lot, meant, &within(meant), made)?);
                Ok(())
            }
            several => {
                let (left, right) = several.split_at(several.len() / 2);
                for half in [left, right] {
                    let each = half.iter().map(|(_, meant)| meant.function().clone()).collect();
                    let meant = self.space.set(self.space.union(each));
                    self.divide(half, &within(&meant), cells, made)?;
                }
                Ok(())
            }
        }
    }

    /// The services by what becomes of their packets.
    fn lots(&self, diagram: &mut Diagram, services: &Services) -> Vec<Lot> {
        let mut of = |set: &PacketSet| {
            let set = diagram.add(self.space, set.function());
            diagram.met(set, services)
        };
        let all: Vec<Met> = self.found.iter().map(|found| of(&found.set)).collect();
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
        lot: &Lot,
        meant: &PacketSet,
        sets: &[PacketSet],
        made: &mut Made,
    ) -> Result<Option<Cell>, Disagreement> {
        let services = &lot.services;
        // By fate, in the order in which they were met: their packets by where they start.
        let here = self.found.iter().zip(sets).zip(&lot.met);
        let mut here: Vec<(usize, &Found, &PacketSet)> =
            here.filter_map(|((found, set), met)| Some(((*met)?, found, set))).collect();
        here.sort_by_key(|(met, ..)| *met);
        let mut fates: Vec<(usize, Vec<Option<PacketSet>>)> = Vec::new();
        for (_, found, set) in here {
            let at = fates.iter().position(|(fate, _)| *fate == found.fate).unwrap_or_else(|| {
                fates.push((found.fate, vec![None; self.starts.len()]));
                fates.len() - 1
            });
            if let Some(slot) = fates.get_mut(at).and_then(|(_, sets)| sets.get_mut(found.start)) {
                *slot = Some(set.clone()).filter(|set| !set.is_empty());
            }
        }
        fates.retain(|(_, sets)| sets.iter().any(Option::is_some));
        let wholes: Vec<Option<PacketSet>> = self
            .starts
            .iter()
            .map(|start| Some(start.columns.get(self.here)?.intersection(meant)))
            .map(|set| set.filter(|set| !set.is_nothing()))
            .collect();
        let mut parts = Vec::new();
        for (fate, sets) in &fates {
            let which = (fates.len() > 1).then(|| self.which(sets, &wholes));
            parts.extend(self.part(*fate, sets, which, services, made)?);
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

    /// A packet that a person would take as an example.
    fn example(&self, set: &PacketSet, telling: &[PacketSet]) -> Option<Header> {
        // A packet to its own address is found without what is preferred, so that comes first.
        let usual = set.intersection(self.usual);
        usual.sample(telling).or_else(|| set.sample(telling))
    }

    fn which(&self, sets: &[Option<PacketSet>], wholes: &[Option<PacketSet>]) -> Which {
        let pieces =
            self.starts.iter().zip(sets).zip(wholes).filter_map(|((start, part), whole)| {
                Some(Piece { at: &start.at, part: part.as_ref(), whole: whole.as_ref()? })
            });
        Which::of(&pieces.collect::<Vec<_>>(), self.space, self.cubes)
    }

    fn part(
        &self,
        fate: usize,
        sets: &[Option<PacketSet>],
        which: Option<Which>,
        services: &[usize],
        made: &mut Made,
    ) -> Result<Option<Part>, Disagreement> {
        let Some((fate, open)) = self.fates.known.get(fate) else { return Ok(None) };
        let first =
            self.starts.iter().zip(sets).find_map(|(start, set)| Some((start, set.as_ref()?)));
        let Some((start, set)) = first else { return Ok(None) };
        let Some(header) = self.example(set, &start.telling) else { return Ok(None) };
        let asked = flow_of(&start.question, &header);
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
                    "{:?}, {:?}, not {:?}, {:?}",
                    answer.verdict, answer.outcome, fate.verdict, fate.outcome
                ),
            });
        }
        made.assumptions.extend(answer.assumptions.iter().cloned());
        let mut sources = fate.sources.clone();
        for source in proxied_sources(&answer) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let packets = self
            .starts
            .iter()
            .zip(sets)
            .filter_map(|(start, set)| Some((start.question.entry.clone(), set.clone()?)));
        Ok(Some(Part {
            outcome: fate.outcome,
            verdict: fate.verdict,
            sources,
            landings: fate.landings.clone(),
            because: open.clone().or_else(|| crate::check::undetermined(&answer)),
            which: which.filter(|which| !which.is_empty()),
            packets: packets.collect(),
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
