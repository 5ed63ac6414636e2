//! One row of a matrix: the packets of one zone, divided by what becomes of them and by
//! destination.

use std::collections::{BTreeSet, HashMap};

use nattrace_model::System;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::host::Assumption;
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use super::column::Column;
use super::doubles::Doubles;
use super::fate::Fate;
use super::service::{self, Service, merged};
use super::{Breadth, Cell, Kept, Part, Reach, Zone};
use crate::check::{Disagreement, flow_of, packets};
use crate::packets::PacketSet;
use crate::policy::{self, AddressSet, Demand, Side, Where, Zones};
use crate::space::{Field, Space};
use crate::walk::{self, World, walk_in};

/// A row that is asked for.
pub(super) struct Row<'a> {
    pub(super) system: &'a System,
    pub(super) world: &'a World,
    pub(super) family: Family,
    pub(super) index: usize,
    pub(super) from: &'a [Zone],
    pub(super) to: &'a [Zone],
    pub(super) services: &'a [Service],
    pub(super) most: Option<usize>,
    pub(super) kept: Kept,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Made {
    pub(super) cells: Vec<Cell>,
    pub(super) assumptions: BTreeSet<Assumption>,
    pub(super) asked: usize,
    /// Where nattrace contradicts itself.
    pub(super) faults: Vec<Disagreement>,
}

impl Made {
    /// Takes what came of more.
    pub(super) fn take(&mut self, other: Self) {
        self.cells.extend(other.cells);
        self.assumptions.extend(other.assumptions);
        self.asked += other.asked;
        self.faults.extend(other.faults);
    }
}

/// The packets that start in one place.
pub(super) struct Start {
    pub(super) at: Where,
    pub(super) question: walk::Question,
    /// What makes one of them telling.
    pub(super) telling: Vec<PacketSet>,
    /// Those to each column.
    pub(super) columns: Vec<PacketSet>,
}

/// The packets to a column that start in one place and fare alike.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) fate: usize,
    /// All of them.
    pub(super) set: PacketSet,
    /// The classes that they come from, with when each was met.
    pub(super) classes: Vec<(usize, PacketSet)>,
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
pub(super) struct Fates {
    pub(super) known: Vec<(Fate, Option<String>)>,
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
    pub(super) fn cells(&self, columns: &[usize]) -> Made {
        let space = Space::new(self.family);
        if self.services.is_empty() {
            return Made::default();
        }
        let all = service::packets_of_any(&space, self.services, self.services);
        let (starts, doubles) = self.starts(&space, &all, columns);
        let mut made = Made::default();
        let mut fates = Fates::default();
        let mut found: Vec<Vec<Found>> = columns.iter().map(|_| Vec::new()).collect();
        let mut met = 0;
        for (index, start) in starts.iter().enumerate() {
            let classes = walk_in(self.system, self.world, &start.question);
            made.asked += classes.asked;
            let apart = start.tells_columns_apart(&space);
            let mut last = 0;
            for class in &classes.classes {
                let fate = fates.index(Fate::of(class, &start.at), class.undetermined.clone());
                // Most classes are of one column, and neighbours of the same.
                for at in (last..columns.len()).chain(0..last) {
                    let Some(column) = start.columns.get(at) else { continue };
                    let set = class.set.intersection(column);
                    if set.is_nothing() {
                        continue;
                    }
                    let whole = set == class.set;
                    if let Some(found) = found.get_mut(at) {
                        Found::add(found, index, fate, (met, set));
                    }
                    last = at;
                    if apart && whole {
                        break;
                    }
                }
                met += 1;
            }
        }
        let usual = space.set(space.ports(Field::SourcePort, 40_000, 40_000));
        let usual = usual.union(&space.source_ports(0, u16::MAX).complement());
        let services = service::told_apart(self.services, self.family);
        let each: Vec<(usize, usize, &Vec<Found>)> =
            columns.iter().zip(&found).enumerate().map(|(here, (to, f))| (here, *to, f)).collect();
        let cells: Vec<Made> = each
            .into_par_iter()
            .map(|(here, to, found)| {
                let column = Column {
                    row: self,
                    space: &space,
                    starts: &starts,
                    doubles: &doubles,
                    fates: &fates,
                    usual: &usual,
                    here,
                    to,
                    found,
                };
                column.cells(&services)
            })
            .collect();
        if space.is_exhausted() {
            return self.in_pieces(columns);
        }
        for cells in cells {
            made.take(cells);
        }
        made
    }

    /// The same where the sets grew too large: column by column, and what is still too large is
    /// left open.
    fn in_pieces(&self, columns: &[usize]) -> Made {
        let mut all = Made::default();
        if let [only] = columns {
            all.cells.extend(self.too_large(*only));
            return all;
        }
        for column in columns {
            all.take(self.cells(&[*column]));
        }
        all
    }

    fn too_large(&self, column: usize) -> Option<Cell> {
        let space = Space::new(self.family);
        let all = service::packets_of_any(&space, self.services, self.services);
        let (starts, _) = self.starts(&space, &all, &[column]);
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
            sets: Vec::new(),
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
    fn starts(
        &self,
        space: &Space,
        services: &PacketSet,
        columns: &[usize],
    ) -> (Vec<Start>, Doubles) {
        let zones = Zones::new(self.system, self.family);
        let Some(zone) = self.from.get(self.index) else { return Default::default() };
        let mut sides = zones.senders(&zone.place, policy::Breadth::Meant);
        let mut doubles = Doubles::default();
        let unbound = sides.iter().find(|side| side.at == Where::Unbound).cloned();
        if let (Some(any), Kept::Witness) = (unbound, self.kept) {
            let to = columns.iter().filter_map(|column| self.to.get(*column));
            let to: Vec<AddressSet> = to.map(|zone| zones.addressed(&zone.place, &any)).collect();
            doubles = Doubles::take(self.system, self.family, &mut sides, &to);
        }
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
        (starts, doubles)
    }
}

impl Start {
    /// Whether no packet is of two columns.
    fn tells_columns_apart(&self, space: &Space) -> bool {
        let mut all = space.none();
        self.columns.iter().all(|column| {
            let apart = !space.meet(all.function(), column.function());
            all = all.union(column);
            apart
        })
    }

    /// Takes the packets of another one that start in the same place.
    fn join(&mut self, other: &Self) {
        self.question.packets = self.question.packets.union(&other.question.packets);
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            *own = own.union(other);
        }
    }
}
