//! Two hosts compared: which packets does the later one treat differently?
//!
//! Every place where packets may start is asked about on both hosts, and classes are held against
//! one another: what becomes of their packets, with which addresses, and what the sender
//! experiences. Differing packets are told in the names of zones, each change with a packet that
//! the simulator was asked about on both hosts.

mod change;
mod decisions;
mod edits;
mod extent;
mod fate;
mod found;
mod identity;
mod meets;
mod places;
mod search;
mod touched;
mod translation;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::flow::FlowState;
use nattrace_model::host::InterfaceKind;
use nattrace_parser::policy::Families;
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use change::Hosts;
pub use change::{
    Aspect, Being, Change, Disagreement, Part, Rarity, Rewritten, Side, Status, Witness,
};
use edits::Edits;
use fate::{Fate, difference};
use found::{Draft, Pieces, Teller, together, usual};
use identity::Identities;
use places::Places;
use search::Map;
use touched::{Touched, touched};

use crate::packets::PacketSet;
use crate::space::Space;
use crate::walk::{Entry, Question, divide};

/// Which packets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Those of these families.
    pub families: Families,
    /// How far beyond those that people send.
    pub depth: Depth,
    /// How many ways are looked at of the packets that start in one place in one state, and are
    /// usual; of others it is a part of that.
    pub ways: usize,
}

/// How far a comparison goes beyond the packets that people send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Odd packets are compared where the usual ones show no change.
    Needed,
    /// Odd packets are compared in any case.
    Everything,
}

impl Default for Scope {
    fn default() -> Self {
        Self { families: Families::Both, depth: Depth::Needed, ways: MOST_WAYS }
    }
}

/// What came of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The packets that fare differently, as a person would tell them: what is sure and usual
    /// first.
    pub changes: Vec<Change>,
    /// In what the hosts differ besides their rules.
    pub hosts: Vec<&'static str>,
    /// Interfaces that only one of the hosts has: what comes in there is not compared.
    pub lone_interfaces: Vec<(Side, String)>,
    /// Packets that were not compared: odd ones where usual ones tell enough, or where there are too
    /// many ways that they may go.
    pub left: Vec<Part>,
}

/// The states that packets may be in.
const STATES: [FlowState; 5] = [
    FlowState::New,
    FlowState::Established,
    FlowState::Related,
    FlowState::Invalid,
    FlowState::Untracked,
];

/// Compares two hosts, or the same host with other rules.
///
/// # Errors
///
/// The classes and the simulator disagree about a packet.
pub fn compare(before: &System, after: &System, scope: Scope) -> Result<Comparison, Disagreement> {
    let (entries, lone_interfaces) = entries(before, after);
    let families = match scope.families {
        Families::One(family) => vec![family],
        Families::Both => vec![Family::Ipv4, Family::Ipv6],
    };
    let tasks: Vec<(Family, &Entry)> = families
        .iter()
        .flat_map(|family| entries.iter().map(move |entry| (*family, entry)))
        .collect();
    let hosts = Hosts { before, after };
    let identities = (Identities::before(before), Identities::after(after, before));
    let edits = Edits::between(before, after, &identities);
    if edits.is_empty() {
        return Ok(Comparison { hosts: host_differences(before, after), ..Comparison::default() });
    }
    let maps = (Map::new(before), Map::new(after));
    let named = edits.named(before, after);
    let starts: Vec<Start<'_>> = tasks
        .par_iter()
        .filter_map(|(family, entry)| {
            let space = Space::new(*family);
            let touched = touched(&hosts, &identities, &edits, &maps, &space, entry);
            let none = touched.any.is_empty() && touched.untracked.is_empty();
            (!none).then(|| Start::new(&hosts, entry, touched, &named))
        })
        .collect();
    let round = |rarity: Rarity| -> Result<Found, Disagreement> {
        let each: Result<Vec<Found>, Disagreement> = starts
            .par_iter()
            .map(|start| start.compare(&hosts, &identities, (rarity, scope.ways)))
            .collect();
        let mut all = Found::default();
        for found in each? {
            all.drafts.extend(found.drafts);
            all.left.extend(found.left);
        }
        Ok(all)
    };
    let mut found = round(Rarity::Usual)?;
    let enough = scope.depth == Depth::Needed && found.drafts.iter().any(Draft::is_sure);
    if enough {
        found.left.extend(starts.iter().flat_map(Start::odd_parts));
    } else {
        let odd = round(Rarity::Odd)?;
        found.drafts.extend(odd.drafts);
        found.left.extend(odd.left);
    }
    let hosts = host_differences(before, after);
    Ok(Comparison { changes: together(found.drafts), hosts, lone_interfaces, left: found.left })
}

/// In what two hosts differ besides their rules.
fn host_differences(before: &System, after: &System) -> Vec<&'static str> {
    let (one, other) = (&before.host, &after.host);
    let all = [
        (one.interfaces == other.interfaces, "interfaces and addresses"),
        (one.routing == other.routing, "routes"),
        (one.sysctls == other.sysctls, "kernel settings"),
        (one.sets == other.sets, "ipsets"),
        (one.listeners == other.listeners, "listening sockets"),
        (one.inventory == other.inventory, "containers"),
        (one.zones == other.zones, "zones"),
        (one.foreign_chains == other.foreign_chains, "chains of nftables beside iptables"),
    ];
    all.into_iter().filter(|(same, _)| !same).map(|(_, what)| what).collect()
}

/// Where packets may start on both hosts, and the interfaces that only one of them has.
fn entries(before: &System, after: &System) -> (Vec<Entry>, Vec<(Side, String)>) {
    let usable = |system: &System| -> Vec<String> {
        let interfaces = system
            .host
            .interfaces
            .iter()
            .filter(|own| own.up && own.kind != InterfaceKind::Loopback && own.port.is_none());
        interfaces.map(|own| own.name.clone()).collect()
    };
    let (old, new) = (usable(before), usable(after));
    let lone = |side: Side, own: &[String], other: &[String]| {
        let names = own.iter().filter(|name| !other.contains(name)).cloned();
        names.map(|name| (side, name)).collect::<Vec<_>>()
    };
    let alone = [lone(Side::Before, &old, &new), lone(Side::After, &new, &old)].concat();
    let shared = new.into_iter().filter(|name| old.contains(name)).map(Entry::Interface);
    (shared.chain([Entry::LocalAnySource, Entry::Local]).collect(), alone)
}

/// What came of the packets that start in one place.
#[derive(Default)]
struct Found {
    drafts: Vec<Draft>,
    left: Vec<Part>,
}

/// How many ways of usual packets are looked at for each place and state that they start in.
const MOST_WAYS: usize = 5_000;
/// For so many ways of usual packets, one of odd ones is looked at.
const USUAL_FOR_ODD: usize = 50;

/// Packets that start in one place, and may fare differently.
struct Start<'a> {
    entry: &'a Entry,
    places: Places<'a>,
    touched: Touched,
    /// Whether TCP connections are tracked from any packet on (`nf_conntrack_tcp_loose`).
    loose: bool,
}

impl<'a> Start<'a> {
    fn new(hosts: &Hosts<'a>, entry: &'a Entry, mut touched: Touched, named: &[IpAddr]) -> Self {
        let space = touched.any.space().clone();
        let places = Places::new(hosts.after, space.family(), entry, named);
        if *entry == Entry::Local {
            // Of other sources are packets that do not start here.
            let home = places.home(&space);
            touched.any = touched.any.intersection(&home);
            touched.untracked = touched.untracked.intersection(&home);
        }
        let loose = |system: &System| {
            system.host.sysctls.get("net.netfilter.nf_conntrack_tcp_loose") != Some(0)
        };
        let loose = loose(hosts.before) && loose(hosts.after);
        Self { entry, places, touched, loose }
    }

    /// Those in a state. What people send is tracked; of other packets that begin connections
    /// nobody can be sure (`nf_conntrack_in`).
    fn packets(&self, state: FlowState, rarity: Rarity) -> PacketSet {
        match (state, rarity) {
            (FlowState::New, Rarity::Usual) | (FlowState::Related, _) => self.touched.any.clone(),
            (FlowState::Established, Rarity::Usual) if self.loose => self.touched.any.clone(),
            _ => self.touched.any.union(&self.touched.untracked),
        }
    }

    /// The packets in a state that people send from here.
    fn usual(&self, state: FlowState) -> PacketSet {
        let space = self.touched.any.space();
        // Few processes are bound to an address.
        if *self.entry == Entry::Local {
            return space.none();
        }
        let here = self.packets(state, Rarity::Usual).intersection(&self.places.home(space));
        usual(space, &self.places, state).intersection(&here)
    }

    /// Those that are not.
    fn odd_parts(&self) -> Vec<Part> {
        let part = |state| {
            let packets = self.packets(state, Rarity::Odd).difference(&self.usual(state));
            Part { entry: self.entry.clone(), state, packets }
        };
        STATES.into_iter().map(part).filter(|part| !part.packets.is_empty()).collect()
    }

    fn compare(
        &self,
        hosts: &Hosts<'_>,
        identities: &(Identities<'_>, Identities<'_>),
        (rarity, ways): (Rarity, usize),
    ) -> Result<Found, Disagreement> {
        let space = self.touched.any.space();
        let mut found = Found::default();
        for state in STATES {
            let usual = self.usual(state);
            let packets = match rarity {
                Rarity::Usual => usual,
                Rarity::Odd => self.packets(state, Rarity::Odd).difference(&usual),
            };
            if packets.is_empty() {
                continue;
            }
            let mut question = Question { state, ..Question::new(packets, self.entry.clone()) };
            question.most = match rarity {
                Rarity::Usual => ways,
                Rarity::Odd => ways / USUAL_FOR_ODD,
            };
            let (pieces, left) = differing(hosts, identities, &question);
            let usual = rarity == Rarity::Usual && state == FlowState::New;
            let places = &self.places;
            let teller = Teller { hosts, places, question: &question, space, usual };
            found.drafts.extend(teller.tell(pieces)?);
            let part = |packets| Part { entry: self.entry.clone(), state, packets };
            found.left.extend(left.map(part));
        }
        Ok(found)
    }
}

/// The packets of a question that fare differently, and those that were not looked at.
fn differing(
    hosts: &Hosts<'_>,
    identities: &(Identities<'_>, Identities<'_>),
    question: &Question,
) -> (Pieces, Option<PacketSet>) {
    let (before, unseen) = classes(hosts.before, &identities.0, question);
    let (after, unseen_after) = classes(hosts.after, &identities.1, question);
    let left = match (unseen, unseen_after) {
        (Some(one), Some(other)) => Some(one.union(&other)),
        (one, other) => one.or(other),
    };
    let known: HashMap<&Fate, &PacketSet> = after.iter().map(|(set, fate)| (fate, set)).collect();
    let mut pieces = Pieces::default();
    for (set, fate) in &before {
        let mut rest = set.clone();
        if let Some(same) = known.get(fate) {
            if fate.is_open() {
                let fates = Arc::new((fate.clone(), fate.clone()));
                pieces.add(rest.intersection(same), &fates, Status::Undetermined);
            }
            rest = rest.difference(same);
        }
        for (other, other_fate) in &after {
            if !rest.function_is_possible() {
                break;
            }
            if other_fate == fate {
                continue;
            }
            let both = rest.intersection(other);
            if !both.function_is_possible() {
                continue;
            }
            rest = rest.difference(other);
            let found = difference(&both, fate, other_fate);
            let fates = Arc::new((fate.clone(), other_fate.clone()));
            let open = fate.is_open() && other_fate.is_open();
            let surely = if open { Status::Undetermined } else { Status::Changed };
            pieces.add(found.surely, &fates, surely);
            pieces.add(found.perhaps, &fates, Status::Undetermined);
        }
    }
    (pieces, left)
}

/// The classes of a question's packets on one host, and those that were not looked at.
fn classes(
    system: &System,
    identities: &Identities<'_>,
    question: &Question,
) -> (Vec<(PacketSet, Fate)>, Option<PacketSet>) {
    let divided = divide(system, question, |region, answer| Fate::of(region, answer, identities));
    (divided.classes, divided.left.map(|(set, _)| set))
}
