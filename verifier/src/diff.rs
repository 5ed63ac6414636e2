//! Two hosts compared: which packets does the later one treat differently?
//!
//! Every place where packets may start is asked about on both hosts, and classes are held against
//! one another: what becomes of their packets, with which addresses, and what the sender
//! experiences. Differing packets are told in the names of zones, each change with a packet that
//! the simulator was asked about on both hosts.

mod change;
mod edits;
mod extent;
mod fate;
mod found;
mod identity;
mod places;
mod touched;

use std::collections::HashMap;
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
use touched::{Map, touched};

use crate::packets::PacketSet;
use crate::space::Space;
use crate::walk::{Entry, Question, divide};

/// Which packets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Those of these families.
    pub families: Families,
}

impl Default for Scope {
    fn default() -> Self {
        Self { families: Families::Both }
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
    /// Odd packets that were not compared, because there are too many ways that they may go.
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
    let each: Result<Vec<Found>, Disagreement> = tasks
        .par_iter()
        .map(|(family, entry)| {
            let space = Space::new(*family);
            let packets = touched(&hosts, &edits, &maps, &space, entry);
            if packets.is_empty() {
                return Ok(Found::default());
            }
            compare_entry(&hosts, &identities, &packets, entry)
        })
        .collect();
    let (mut drafts, mut left) = (Vec::new(), Vec::new());
    for found in each? {
        drafts.extend(found.drafts);
        left.extend(found.left);
    }
    let hosts = host_differences(before, after);
    Ok(Comparison { changes: together(drafts), hosts, lone_interfaces, left })
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

/// How many ways of odd packets are looked at for each place where they may start.
const MOST_ODD_WAYS: usize = 400;

/// Compares what starts in one place.
fn compare_entry(
    hosts: &Hosts<'_>,
    identities: &(Identities<'_>, Identities<'_>),
    touched: &PacketSet,
    entry: &Entry,
) -> Result<Found, Disagreement> {
    let space = touched.space();
    let places = Places::new(hosts.after, space.family(), entry);
    let home = places.home(space);
    let mut packets = touched.clone();
    if *entry == Entry::Local {
        // Of other sources are packets that do not start here.
        packets = packets.intersection(&home);
    }
    let mut found = Found::default();
    for state in STATES {
        let usual = usual(space, &places, state).intersection(&home).intersection(&packets);
        let odd = packets.difference(&usual);
        for (packets, most) in [(usual, None), (odd, Some(MOST_ODD_WAYS))] {
            if packets.is_empty() {
                continue;
            }
            let mut question = Question { state, ..Question::new(packets, entry.clone()) };
            question.most = most.unwrap_or(question.most);
            let (pieces, left) = differing(hosts, identities, &question);
            // Few processes are bound to an address.
            let usual = most.is_none() && state == FlowState::New && *entry != Entry::Local;
            let teller = Teller { hosts, places: &places, question: &question, space, usual };
            found.drafts.extend(teller.tell(pieces)?);
            let part = |packets| Part { entry: entry.clone(), state, packets };
            found.left.extend(left.map(part));
        }
    }
    Ok(found)
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
