//! Zones that fare alike, for people who would not read a table of fifty networks.

use std::collections::{BTreeMap, BTreeSet};

use nattrace_parser::policy::Place;
use nattrace_parser::syntax::Family;

use super::{Cell, Matrix, Reach, Service, Zone};

/// The zones of a matrix, each in one group.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The groups of the sending zones.
    pub from: Vec<Group>,
    /// The groups of the addressed zones.
    pub to: Vec<Group>,
}

/// Zones that fare alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their indices, at least one.
    pub members: Vec<usize>,
}

impl Group {
    /// The first of its zones.
    #[must_use]
    pub fn first(&self) -> usize {
        self.members.first().copied().unwrap_or(0)
    }
}

/// What is said of a pair of zones, but for addresses: which services connect.
type Summary = Vec<(Reach, Vec<Service>)>;

/// The fewest zones that still say what a matrix says of a family.
///
/// Networks (and only they) are put together where every other zone fares alike with each of
/// them, and they do with one another.
#[must_use]
pub fn grouping(matrix: &Matrix, family: Family) -> Grouping {
    let mut summaries: BTreeMap<(usize, usize), Summary> = BTreeMap::new();
    for cell in matrix.cells.iter().filter(|cell| cell.family == family) {
        let own = summaries.entry((cell.from, cell.to)).or_default();
        own.push((cell.reach, cell.services.clone()));
    }
    let mut numbers: BTreeMap<Summary, usize> = BTreeMap::new();
    let mut numbered: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (pair, mut summary) in summaries {
        summary.sort();
        let next = numbers.len() + 1;
        numbered.insert(pair, *numbers.entry(summary).or_insert(next));
    }
    // Rows and columns are the same zones, or each is its own group.
    if matrix.from != matrix.to {
        let each =
            |zones: &[Zone]| (0..zones.len()).map(|at| Group { members: vec![at] }).collect();
        return Grouping { from: each(&matrix.from), to: each(&matrix.to) };
    }
    let groups = refined(&matrix.from, |from, to| numbered.get(&(from, to)).copied().unwrap_or(0));
    Grouping { from: groups.clone(), to: groups }
}

/// Divides the zones until those of a group fare alike.
fn refined(zones: &[Zone], said: impl Fn(usize, usize) -> usize) -> Vec<Group> {
    let count = zones.len();
    let mut colors: Vec<usize> = zones
        .iter()
        .enumerate()
        .map(|(at, zone)| if matches!(zone.place, Place::Network(_)) { count } else { at })
        .collect();
    loop {
        let likeness = |at: usize, own: usize| {
            let others = colors.iter().enumerate().filter(|(other, _)| *other != at);
            let mut others: Vec<(usize, usize, usize)> =
                others.map(|(other, color)| (*color, said(at, other), said(other, at))).collect();
            others.sort_unstable();
            (own, said(at, at), others)
        };
        let all: Vec<_> = colors.iter().enumerate().map(|(at, own)| likeness(at, *own)).collect();
        let kinds: Vec<_> = all.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let next: Vec<usize> =
            all.iter().map(|own| kinds.iter().position(|kind| *kind == own).unwrap_or(0)).collect();
        let number = |colors: &[usize]| colors.iter().collect::<BTreeSet<_>>().len();
        let settled = number(&next) == number(&colors);
        colors = next;
        if settled {
            break;
        }
    }
    let mut groups: Vec<(usize, Group)> = Vec::new();
    for (at, color) in colors.iter().enumerate() {
        match groups.iter_mut().find(|(known, _)| known == color) {
            Some((_, group)) => group.members.push(at),
            None => groups.push((*color, Group { members: vec![at] })),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

impl Matrix {
    /// The cells of a pair of zones.
    pub fn between(&self, family: Family, from: usize, to: usize) -> impl Iterator<Item = &Cell> {
        let key = (family, from, to);
        let first = self.cells.partition_point(|cell| (cell.family, cell.from, cell.to) < key);
        let rest = self.cells.get(first..).unwrap_or_default();
        rest.iter().take_while(move |cell| (cell.family, cell.from, cell.to) == key)
    }
}
