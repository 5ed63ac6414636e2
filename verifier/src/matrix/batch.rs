//! A batch of a column's cells: lots of services that are read off the same nodes in one pass.

use std::collections::{BTreeSet, HashMap};

use nattrace_model::answer::{Answer, Outcome, Verdict};

use super::column::{Column, Lot, Nodes};
use super::diagram::Id;
use super::example::{Among, Search};
use super::fate::proxied_sources;
use super::part::{MOST_NAMED, Which, addresses, ports, prefixes};
use super::row::{Found, Made, Start};
use super::service::{Service, merged};
use super::shadow::{Bits, Live, Shadow, levels};
use super::{Breadth, Cell, Kept, Part, Reach, Zone};
use crate::check::{Between, Disagreement, flow_of, undetermined};
use crate::header::Header;
use crate::packets::PacketSet;
use crate::policy::Where;
use crate::space::Field;
use crate::walk;

/// Some lots of a column.
pub(super) struct Batch<'a> {
    column: &'a Column<'a>,
    nodes: &'a Nodes<'a>,
    lots: &'a [Lot],
    live: Live<'a>,
    search: Search<'a>,
    /// The addresses of sets together.
    shadows: HashMap<(Field, Vec<Id>), Shadow>,
    /// The nodes of each set that ask for the protocol.
    bottoms: HashMap<Id, Vec<Id>>,
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

/// A lot of services, and its packets.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    lot: &'a Lot,
    bit: Bits,
    meant: &'a PacketSet,
}

impl<'a> Batch<'a> {
    pub(super) fn new(column: &'a Column<'a>, nodes: &'a Nodes<'a>, lots: &'a [Lot]) -> Self {
        let mut of_service: Vec<Bits> = vec![0; column.row.services.len()];
        for (at, lot) in lots.iter().enumerate() {
            for service in &lot.services {
                if let Some(bits) = of_service.get_mut(*service) {
                    *bits = 1 << at;
                }
            }
        }
        let sets = nodes.sets.iter().chain(nodes.wholes).copied();
        Self {
            column,
            nodes,
            lots,
            live: Live::new(nodes.diagram, nodes.services, of_service, sets),
            search: Search::new(column.space, column.starts, column.usual),
            shadows: HashMap::new(),
            bottoms: HashMap::new(),
        }
    }

    /// Makes its cells.
    pub(super) fn cells(mut self) -> Made {
        let mut made = Made::default();
        for (at, lot) in self.lots.iter().enumerate() {
            let meant = self.column.of(&lot.services);
            self.search.begin(&meant);
            let chosen = Chosen { lot, bit: 1 << at, meant: &meant };
            let cell = self.cell(&chosen, &mut made);
            made.cells.extend(cell);
        }
        made
    }

    fn cell(&mut self, chosen: &Chosen<'_>, made: &mut Made) -> Option<Cell> {
        let mut parts = Vec::new();
        let fates = self.fates(chosen);
        let several = fates.len() > 1;
        for (fate, shares) in &fates {
            let which = several.then(|| self.which(shares, chosen.bit));
            parts.extend(self.part(*fate, shares, chosen, which, made));
        }
        if parts.is_empty() {
            return None;
        }
        parts.sort_by_key(|part| rank(part.outcome));
        let row = self.column.row;
        let names = chosen.lot.services.iter().filter_map(|at| row.services.get(*at)).copied();
        Some(Cell {
            family: row.family,
            from: row.index,
            to: self.column.to,
            services: merged(names),
            breadth: Breadth::Some,
            reach: Reach::of(&parts),
            parts,
        })
    }

    /// The packets of a lot by fate, in the order in which they were met, with an example from each
    /// place where they start.
    fn fates(&mut self, chosen: &Chosen<'_>) -> Vec<(usize, Vec<Share<'a>>)> {
        let column = self.column;
        let here = column.found.iter().zip(self.nodes.sets).zip(&chosen.lot.met);
        let mut here: Vec<(usize, &Found, Id)> =
            here.filter_map(|((found, set), met)| Some(((*met)?, found, *set))).collect();
        here.sort_by_key(|(met, ..)| *met);
        let mut fates: Vec<(usize, Vec<Share<'_>>)> = Vec::new();
        for (_, found, set) in here {
            let (at, packets) = (found.start, &found.set);
            let Some(start) = column.starts.get(at) else { continue };
            let among = Among {
                live: &self.live,
                lot: chosen.bit,
                set,
                packets,
                meant: chosen.meant,
                start: at,
            };
            let Some(header) = self.search.example(&among, &start.telling) else { continue };
            let share = Share { start, at, packets, set, header };
            match fates.iter_mut().find(|(fate, _)| *fate == found.fate) {
                Some((_, shares)) => shares.push(share),
                None => fates.push((found.fate, vec![share])),
            }
        }
        fates.iter_mut().for_each(|(_, shares)| shares.sort_by_key(|share| share.at));
        fates
    }

    /// What tells the packets of a part from others of its cell.
    fn which(&mut self, shares: &[Share<'_>], lot: Bits) -> Which {
        let starts = self.column.starts.iter().zip(self.nodes.wholes);
        let wholes: Vec<(&Where, Id)> = starts
            .filter(|(_, whole)| self.live.behind(**whole) & lot != 0)
            .map(|(start, whole)| (&start.at, *whole))
            .collect();
        let parts: Vec<(&Where, Id)> =
            shares.iter().map(|share| (&share.start.at, share.set)).collect();
        let distinct = |some: &[(&Where, Id)]| {
            some.iter().map(|(at, _)| (*at).clone()).collect::<BTreeSet<Where>>()
        };
        let here = distinct(&parts);
        let starts = (here != distinct(&wholes)).then(|| here.into_iter().collect());
        let ids = |some: &[(&Where, Id)]| some.iter().map(|(_, set)| *set).collect::<Vec<Id>>();
        // The source of a packet whose source the kernel picks is nobody's choice.
        let picked = |some: &[(&Where, Id)]| {
            let own = some.iter().filter(|(at, _)| **at != Where::Unbound);
            own.map(|(_, set)| *set).collect::<Vec<Id>>()
        };
        Which {
            starts,
            sources: self.addresses(Field::Source, picked(&parts), picked(&wholes), lot),
            destinations: self.addresses(Field::Destination, ids(&parts), ids(&wholes), lot),
            source_ports: self.ports(Field::SourcePort, &ids(&parts), &ids(&wholes), lot),
            ports: self.ports(Field::DestinationPort, &ids(&parts), &ids(&wholes), lot),
        }
    }

    /// The addresses of a part, where they tell.
    fn addresses(
        &mut self,
        field: Field,
        part: Vec<Id>,
        whole: Vec<Id>,
        lot: Bits,
    ) -> Option<super::part::Share<nattrace_model::address::Prefix>> {
        let space = self.column.space;
        let keys = [(field, part), (field, whole)];
        for key in &keys {
            if !self.shadows.contains_key(key) {
                let shadow = Shadow::cast(&key.1, levels(space, field), &self.live);
                self.shadows.insert(key.clone(), shadow);
            }
        }
        let [part, whole] = keys.map(|key| self.shadows.get(&key));
        let (part, whole) = (part?, whole?);
        if part.is_all_of(whole, lot) {
            return None;
        }
        let doubles = self.column.doubles;
        if doubles.is_empty() || field == Field::Source {
            return Some(prefixes(space.family(), part.blocks(lot, MOST_NAMED)));
        }
        let all = addresses(space.family(), part.blocks(lot, usize::MAX));
        let mut named = doubles.with(&all).prefixes();
        let more = named.len() > MOST_NAMED;
        named.truncate(MOST_NAMED);
        Some(super::part::Share { named, more })
    }

    /// The ports of a part, where they tell.
    fn ports(
        &mut self,
        field: Field,
        part: &[Id],
        whole: &[Id],
        lot: Bits,
    ) -> Option<super::part::Share<(u16, u16)>> {
        for set in part.iter().chain(whole) {
            let diagram = self.nodes.diagram;
            let below = || diagram.below(vec![*set], diagram.protocol);
            self.bottoms.entry(*set).or_insert_with(below);
        }
        let levels = levels(self.column.space, field);
        let bottoms = |sets: &[Id]| {
            let each = sets.iter().filter_map(|set| self.bottoms.get(set));
            each.flatten().copied().collect::<Vec<Id>>()
        };
        let (part, whole) = (bottoms(part), bottoms(whole));
        let whole = self.search.values(&self.live, whole.into_iter(), &levels, lot, None);
        let part = self.search.values(&self.live, part.into_iter(), &levels, lot, Some(whole));
        (part != whole).then(|| ports(self.search.diagram(), levels.start, part))
    }

    fn part(
        &self,
        fate: usize,
        shares: &[Share<'_>],
        chosen: &Chosen<'_>,
        which: Option<Which>,
        made: &mut Made,
    ) -> Option<Part> {
        let column = self.column;
        let (fate, open) = column.fates.known.get(fate)?;
        let first = shares.first()?;
        let asked = flow_of(&first.start.question, &first.header);
        let answer = walk::why(column.row.system, column.row.world, &asked);
        if open.is_none() && !fate.is(&answer) {
            let told = (answer.verdict, answer.outcome, fate.verdict, fate.outcome);
            let (verdict, outcome, wrong_verdict, wrong_outcome) = told;
            made.faults.push(Disagreement {
                name: self.name(chosen.lot),
                flow: Some(Box::new(asked)),
                between: Between::ClassesAndSimulator,
                one: "it fares in another way".to_owned(),
                other: format!(
                    "it is {verdict:?}, {outcome:?}, not {wrong_verdict:?}, {wrong_outcome:?}"
                ),
                shown: None,
            });
            return Some(unknown(answer, which));
        }
        made.assumptions.extend(answer.assumptions.iter().cloned());
        let mut sources = fate.sources.clone();
        for source in proxied_sources(&answer) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let kept = shares.iter().filter(|_| column.row.kept == Kept::Packets);
        let sets = kept.map(|share| {
            (share.start.question.entry.clone(), share.packets.clone(), chosen.meant.clone())
        });
        Some(Part {
            outcome: fate.outcome,
            verdict: fate.verdict,
            sources,
            landings: fate.landings.clone(),
            because: open.clone().or_else(|| undetermined(&answer)),
            which: which.filter(|which| !which.is_empty()),
            sets: sets.collect(),
            witness: answer.flow,
        })
    }

    /// What a lot is about.
    fn name(&self, lot: &Lot) -> String {
        let name =
            |zones: &[Zone], at: usize| zones.get(at).map_or("", |zone| &zone.name).to_owned();
        let row = self.column.row;
        let service = lot.services.first().and_then(|at| row.services.get(*at));
        let service = service.map(Service::to_string).unwrap_or_default();
        format!("{} -> {} {service}", name(row.from, row.index), name(row.to, self.column.to))
    }
}

/// Packets about which nattrace contradicts itself: nothing is said of them.
fn unknown(answer: Answer, which: Option<Which>) -> Part {
    Part {
        outcome: Outcome::Undetermined,
        verdict: Verdict::Undetermined,
        sources: Vec::new(),
        landings: Vec::new(),
        because: Some("nattrace contradicts itself about these packets".to_owned()),
        which: which.filter(|which| !which.is_empty()),
        sets: Vec::new(),
        witness: answer.flow,
    }
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
