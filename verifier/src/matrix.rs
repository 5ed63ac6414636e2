//! `matrix`: who connects to whom, service by service, and with which source address.
//!
//! Every source zone is walked once for each place where its packets start; the classes of the
//! walk are then divided by destination and by service. A cell is about all packets that one zone
//! addresses to another with some services, and what it says of them is what `why` says of each:
//! a witness of every part is asked for, and has to agree.

mod batch;
mod column;
mod diagram;
mod doubles;
mod example;
mod fate;
mod group;
mod part;
mod row;
mod service;
mod shadow;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::BTreeSet;

use nattrace_model::System;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::flow::Flow;
use nattrace_model::host::Assumption;
use nattrace_parser::policy::{Expression, Place};
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use crate::check::Disagreement;
use crate::packets::PacketSet;
use crate::walk::{Entry, World};

pub use fate::{Landing, Source, Target};
pub use group::{Group, Grouping, grouping};
pub use part::{Share, Which};
pub use service::Service;

/// Which cells are asked for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The zones that send; none for those of the host.
    pub from: Vec<Expression>,
    /// The zones that are addressed; none for those of the host.
    pub to: Vec<Expression>,
    /// The services; none for all.
    pub services: Vec<Service>,
    /// The only family; `None` for both.
    pub family: Option<Family>,
    /// How many different ways of the packets of a zone are looked at; what is left is
    /// undetermined. `None` for as many as for any walk.
    pub most: Option<usize>,
    /// What is kept of the packets of each part.
    pub kept: Kept,
}

/// What is kept of the packets of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// One of them, and in which words they are told from others.
    #[default]
    Witness,
    /// All of them ([`Part::packets`]), which takes memory.
    Packets,
}

/// Who connects to whom.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The zones that send, each of which is a row.
    pub from: Vec<Zone>,
    /// The zones that are addressed, each of which is a column.
    pub to: Vec<Zone>,
    /// The cells, by family, row, column, and then the first of their services. A row and a column
    /// between which no packet can be sent have none.
    pub cells: Vec<Cell>,
    /// What the cells rest on and nobody measured.
    pub assumptions: Vec<Assumption>,
    /// How many packets the simulator was asked about.
    pub asked: usize,
    /// Packets about which nattrace contradicts itself: their parts are undetermined.
    pub faults: Vec<Disagreement>,
}

/// A zone of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, as in a policy.
    pub name: String,
    /// What it is.
    pub place: Place,
}

/// What becomes of the packets that one zone addresses to another with services that fare alike.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The family.
    pub family: Family,
    /// The sending zone: an index into [`Matrix::from`].
    pub from: usize,
    /// The addressed zone: an index into [`Matrix::to`].
    pub to: usize,
    /// The services, without gaps where they need none.
    pub services: Vec<Service>,
    /// Whether they are all services that were asked for, or all that no other cell of the same
    /// zones names.
    pub breadth: Breadth,
    /// Whether they connect.
    pub reach: Reach,
    /// The ways in which the packets fare, the ones that connect first.
    pub parts: Vec<Part>,
}

/// How much the services of a cell are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// They are all that were asked for.
    Everything,
    /// They are most of what the cell's zones have: everything that other cells do not name.
    Rest,
    /// They are some.
    Some,
}

/// Whether packets connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// All of them do.
    Always,
    /// Some do, others do not or nobody knows.
    Sometimes,
    /// Nobody knows, and none surely does.
    Undetermined,
    /// None does.
    Never,
}

impl Reach {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Undetermined => "undetermined",
            Self::Never => "never",
        }
    }

    fn of(parts: &[Part]) -> Self {
        let has = |outcome: Outcome| parts.iter().any(|part| part.outcome == outcome);
        if has(Outcome::Connects) {
            let only = parts.iter().all(|part| part.outcome == Outcome::Connects);
            return if only { Self::Always } else { Self::Sometimes };
        }
        if has(Outcome::Undetermined) { Self::Undetermined } else { Self::Never }
    }
}

/// Packets of a cell that fare alike.
#[derive(Clone, Debug)]
pub struct Part {
    /// What their sender experiences.
    pub outcome: Outcome,
    /// What becomes of them.
    pub verdict: Verdict,
    /// The sources that they wear where they arrive; several where chance or something unknown
    /// decides.
    pub sources: Vec<Source>,
    /// Where they arrive, where they do.
    pub landings: Vec<Landing>,
    /// What is to blame where the outcome is not what the verdict lets expect, or nobody knows it.
    pub because: Option<String>,
    /// Which packets of the cell these are; `None` for all.
    pub which: Option<Which>,
    /// One of them.
    pub witness: Flow,
    /// By where they start, two sets that have them all, and nothing else, in common: those that
    /// fare so with whichever service, and those of the services.
    sets: Vec<(Entry, PacketSet, PacketSet)>,
}

impl Part {
    /// All of the packets, by where they start; none unless [`Scope::kept`] asks for them.
    #[must_use]
    pub fn packets(&self) -> Vec<(Entry, PacketSet)> {
        let both = |(entry, one, other): &(Entry, PacketSet, PacketSet)| {
            (entry.clone(), one.intersection(other))
        };
        self.sets.iter().map(both).collect()
    }
}

/// Says who connects to whom.
///
/// The names of the scope have to be known on the host ([`unknown_names`]).
///
/// # Errors
///
/// The classes and the simulator disagree about a packet.
pub fn matrix(system: &System, scope: &Scope) -> Result<Matrix, Disagreement> {
    let mut matrix = matrix_each(system, scope);
    if matrix.faults.is_empty() { Ok(matrix) } else { Err(matrix.faults.swap_remove(0)) }
}

/// The same where a fault of nattrace about some packets is no reason to say nothing of others.
#[must_use]
pub fn matrix_each(system: &System, scope: &Scope) -> Matrix {
    let zones = |asked: &[Expression]| match asked {
        [] => zones::of_host(system),
        asked => zones::named(asked),
    };
    let (from, to) = (zones(&scope.from), zones(&scope.to));
    let families = match scope.family {
        Some(family) => vec![family],
        None => vec![Family::Ipv4, Family::Ipv6],
    };
    let rows: Vec<(Family, usize)> = families
        .iter()
        .flat_map(|family| (0..from.len()).map(move |index| (*family, index)))
        .collect();
    let services = service::all(system, &scope.services);
    let world = World::default();
    let made: Vec<row::Made> = rows
        .par_iter()
        .map(|(family, index)| {
            let whole = scope.from.is_empty() && scope.to.is_empty();
            let columns = (0..to.len())
                .filter(|at| {
                    !whole
                        || at != index
                        || to.get(*at).is_some_and(|zone| zones::meets_itself(system, zone))
                })
                .collect::<Vec<usize>>();
            let row = row::Row {
                system,
                world: &world,
                family: *family,
                index: *index,
                from: &from,
                to: &to,
                services: &services,
                most: scope.most,
                kept: scope.kept,
            };
            row.cells(&columns)
        })
        .collect();
    let (mut cells, mut assumptions, mut asked) = (Vec::new(), BTreeSet::new(), 0);
    let mut faults = Vec::new();
    for made in made {
        asked += made.asked;
        cells.extend(made.cells);
        assumptions.extend(made.assumptions);
        faults.extend(made.faults);
    }
    let assumptions = assumptions.into_iter().collect();
    Matrix { from, to, cells, assumptions, asked, faults }
}

pub use zones::unknown_names;
