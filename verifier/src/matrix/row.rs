//! One row of a matrix: the packets of one zone, divided by what becomes of them, by destination
//! and by service.

use std::collections::{BTreeSet, HashMap};

use nattrace_model::System;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::host::Assumption;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use super::fate::{Fate, proxied_sources};
use super::part::{Cubes, Piece, Which};
use super::service::{Service, Tree, merged};
use super::{Breadth, Cell, Part, Reach, Zone};
use crate::check::{Disagreement, flow_of, packets};
use crate::header::Header;
use crate::packets::PacketSet;
use crate::policy::{self, AddressSet, Demand, Side, Where, Zones};
use crate::space::Space;
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

/// A class, or the half of one, whose fate all packets of some services to a column share or some.
struct Found {
    services: (usize, usize),
    start: usize,
    fate: usize,
    set: PacketSet,
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
        let cubes = Cubes::default();
        let Some(tree) = Tree::new(&space, self.services, &cubes) else {
            return Ok(Made::default());
        };
        let starts = self.starts(&space, &tree, columns);
        let mut made = Made::default();
        let mut fates = Fates::default();
        let mut found: Vec<Vec<Found>> = columns.iter().map(|_| Vec::new()).collect();
        for (index, start) in starts.iter().enumerate() {
            let classes = walk(self.system, &start.question);
            made.asked += classes.asked;
            for class in &classes.classes {
                let fate = fates.index(Fate::of(class, &start.at), class.undetermined.clone());
                for (column, found) in start.columns.iter().zip(&mut found) {
                    let set = class.set.intersection(column);
                    let divider = Divider { space: &space, cubes: &cubes, column };
                    divider.divide(&set, &tree, &mut |services, set| {
                        found.push(Found { services, start: index, fate, set });
                    });
                }
            }
        }
        for (column, found) in columns.iter().zip(&found) {
            let here = columns.iter().position(|known| known == column).unwrap_or(0);
            let column = Column {
                row: self,
                space: &space,
                tree: &tree,
                starts: &starts,
                fates: &fates,
                cubes: &cubes,
                here,
                to: *column,
            };
            column.cells(found, &mut made)?;
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
        let tree = Tree::new(&space, self.services, &Cubes::default())?;
        let starts = self.starts(&space, &tree, &[column]);
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
    fn starts(&self, space: &Space, tree: &Tree, columns: &[usize]) -> Vec<Start> {
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
            let base = packets::of(&asked, space).intersection(&tree.set);
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

/// Divides the packets of classes by service.
struct Divider<'a> {
    space: &'a Space,
    cubes: &'a Cubes,
    column: &'a PacketSet,
}

impl Divider<'_> {
    /// Says of which services the packets of a set are: as many at once as it holds all packets of.
    fn divide(
        &self,
        set: &PacketSet,
        tree: &Tree,
        tell: &mut impl FnMut((usize, usize), PacketSet),
    ) {
        if set.is_nothing() {
            return;
        }
        // Most classes are of few services; which ones, their protocols and ports alone tell.
        let asked = self.cubes.service(self.space);
        self.descend(set, &self.space.forget(set.function(), asked), tree, tell);
    }

    fn descend(
        &self,
        set: &PacketSet,
        ports: &BDDFunction,
        tree: &Tree,
        tell: &mut impl FnMut((usize, usize), PacketSet),
    ) {
        let here = self.space.and(ports, &tree.ports);
        if !here.satisfiable() {
            return;
        }
        let inside = || match here == *ports {
            true => set.clone(),
            false => set.intersection(&tree.set),
        };
        let Some(halves) = &tree.halves else { return tell(tree.range, inside()) };
        if here == tree.ports {
            let own = inside();
            if self.column.intersection(&tree.set).difference(&own).is_nothing() {
                return tell(tree.range, own);
            }
        }
        self.descend(set, &here, &halves.0, tell);
        self.descend(set, &here, &halves.1, tell);
    }
}

/// A column of a row.
struct Column<'a> {
    row: &'a Row<'a>,
    space: &'a Space,
    tree: &'a Tree,
    starts: &'a [Start],
    fates: &'a Fates,
    cubes: &'a Cubes,
    /// Its place among the columns that are asked about, and among all.
    here: usize,
    to: usize,
}

/// What services that fare alike have in common: the fates, and which packets have which.
#[derive(PartialEq, Eq, Hash)]
struct Likeness(Vec<(usize, usize, Option<BDDFunction>)>);

impl Column<'_> {
    fn cells(&self, found: &[Found], made: &mut Made) -> Result<(), Disagreement> {
        let mut cells = Vec::new();
        for services in self.alike(found) {
            let cell = self.cell(&services, found, made)?;
            cells.extend(cell);
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

    /// The services by what becomes of their packets.
    #[expect(
        clippy::mutable_key_type,
        reason = "a function is compared by its edge, which never changes"
    )]
    fn alike(&self, found: &[Found]) -> Vec<Vec<usize>> {
        let count = self.row.services.len();
        if found.iter().all(|found| found.services == self.tree.range) {
            return if found.is_empty() { Vec::new() } else { vec![(0..count).collect()] };
        }
        let mut of_service: Vec<Vec<&Found>> = (0..count).map(|_| Vec::new()).collect();
        for found in found {
            let (first, last) = found.services;
            for own in of_service.iter_mut().take(last + 1).skip(first) {
                own.push(found);
            }
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<Likeness, usize> = HashMap::new();
        for (service, found) in of_service.iter().enumerate() {
            if found.is_empty() {
                continue;
            }
            let likeness = self.likeness(service, found);
            match known.get(&likeness).and_then(|at| groups.get_mut(*at)) {
                Some(group) => group.push(service),
                None => {
                    known.insert(likeness, groups.len());
                    groups.push(vec![service]);
                }
            }
        }
        groups
    }

    fn likeness(&self, service: usize, found: &[&Found]) -> Likeness {
        let alone =
            found.iter().all(|other| found.first().is_some_and(|one| one.fate == other.fate));
        let mut fates: Vec<(usize, usize, Option<BDDFunction>)> = Vec::new();
        for one in found {
            let key = if alone { (one.fate, 0) } else { (one.fate, one.start) };
            let part = (!alone).then(|| {
                let own = one.set.intersection(&self.of(&[service]));
                self.space.forget(own.function(), self.cubes.ports(self.space))
            });
            match fates.iter_mut().find(|(fate, start, _)| (*fate, *start) == key) {
                Some((_, _, Some(all))) => {
                    *all = part.map_or_else(|| all.clone(), |part| self.space.or(all, &part));
                }
                Some(_) => {}
                None => fates.push((key.0, key.1, part)),
            }
        }
        fates.sort_by_key(|(fate, start, _)| (*fate, *start));
        Likeness(fates)
    }

    /// The packets of some services.
    fn of(&self, services: &[usize]) -> PacketSet {
        if services.len() == self.row.services.len() {
            return self.tree.set.clone();
        }
        let each = services.iter().filter_map(|at| self.tree.leaf(*at));
        self.space.set(self.space.union(each.map(|set| set.function().clone()).collect()))
    }

    fn cell(
        &self,
        services: &[usize],
        found: &[Found],
        made: &mut Made,
    ) -> Result<Option<Cell>, Disagreement> {
        let meant = self.of(services);
        let touches = |found: &&Found| {
            let first = services.partition_point(|service| *service < found.services.0);
            services.get(first).is_some_and(|service| *service <= found.services.1)
        };
        // By fate, in the order in which they were met: their packets by where they start.
        let mut fates: Vec<(usize, Vec<Option<PacketSet>>)> = Vec::new();
        for found in found.iter().filter(touches) {
            let at = fates.iter().position(|(fate, _)| *fate == found.fate).unwrap_or_else(|| {
                fates.push((found.fate, vec![None; self.starts.len()]));
                fates.len() - 1
            });
            let own = found.set.intersection(&meant);
            if let Some(slot) = fates.get_mut(at).and_then(|(_, sets)| sets.get_mut(found.start)) {
                *slot = Some(slot.take().map_or_else(|| own.clone(), |known| known.union(&own)));
            }
        }
        for set in fates.iter_mut().flat_map(|(_, sets)| sets) {
            *set = set.take().filter(|set| !set.is_empty());
        }
        fates.retain(|(_, sets)| sets.iter().any(Option::is_some));
        let wholes: Vec<Option<PacketSet>> = self
            .starts
            .iter()
            .map(|start| Some(start.columns.get(self.here)?.intersection(&meant)))
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
        let with_ports = self.space.source_ports(0, u16::MAX);
        let usual = set.intersection(&self.space.source_ports(40_000, 40_000));
        let usual = usual.union(&set.difference(&with_ports));
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
