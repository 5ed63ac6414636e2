//! Two hosts compared: which packets does the later one treat differently?
//!
//! Every place where packets may start is asked about on both hosts, and classes are held against
//! one another: what becomes of their packets, with which addresses, and what the sender
//! experiences. Differing packets are told in the names of zones, each change with a packet that
//! the simulator was asked about on both hosts.

mod change;
mod decisions;
mod edits;
mod ends;
mod extent;
mod fate;
mod found;
mod identity;
mod meets;
mod opened;
mod passed;
mod places;
mod renamed;
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
use opened::Opened;
use passed::Passed;
use places::Places;
use search::Map;
use touched::{Touched, touched};

use crate::packets::PacketSet;
use crate::space::Space;
use crate::walk::{Entry, Question, World, cut, divide};

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
    /// Packets about which nattrace contradicts itself: their changes are undetermined.
    pub faults: Vec<Disagreement>,
}

/// The states that packets may be in.
const STATES: [FlowState; 5] = [
    FlowState::New,
    FlowState::Established,
    FlowState::Related,
    FlowState::Invalid,
    FlowState::Untracked,
];

/// One of the hosts, with what is found out about it once.
struct Known<'h> {
    system: &'h System,
    world: World,
    identities: &'h Identities<'h>,
}

impl<'h> Known<'h> {
    fn of(system: &'h System, identities: &'h Identities<'h>) -> Self {
        Self { system, world: World::default(), identities }
    }
}

/// Compares two hosts, or the same host with other rules.
///
/// # Errors
///
/// The classes and the simulator disagree about a packet.
pub fn compare(before: &System, after: &System, scope: Scope) -> Result<Comparison, Disagreement> {
    let mut comparison = compare_each(before, after, scope);
    match comparison.faults.is_empty() {
        true => Ok(comparison),
        false => Err(comparison.faults.swap_remove(0)),
    }
}

/// The same where a fault of nattrace about some packets is no reason to say nothing of others.
#[must_use]
pub fn compare_each(before: &System, after: &System, scope: Scope) -> Comparison {
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
        return Comparison { hosts: host_differences(before, after), ..Comparison::default() };
    }
    let known = (Known::of(before, &identities.0), Known::of(after, &identities.1));
    let maps = (Map::new(before), Map::new(after));
    let named = edits.named(before, after);
    let opened = Opened::between(&hosts, &edits, &maps);
    let passed = Passed::of(&hosts, &edits, &maps);
    let starts = |packets: &(dyn Fn(&Space, &Entry, Option<&PacketSet>) -> Touched + Sync)| {
        let each = tasks.par_iter().filter_map(|(family, entry)| {
            let space = Space::new(*family);
            let opened = opened.as_ref().map(|own| own.packets(before, &space, entry));
            let touched = packets(&space, entry, opened.as_ref());
            let none = touched.any.is_empty() && touched.untracked.is_empty();
            (!none).then(|| Start::new(&hosts, entry, (touched, opened), &named))
        });
        each.collect::<Vec<Start<'_>>>()
    };
    let round = |starts: &[Start<'_>], rarity: Rarity| -> Found {
        let each: Vec<Found> = starts
            .par_iter()
            .map(|start| start.compare(&hosts, &known, passed.as_ref(), (rarity, scope.ways)))
            .collect();
        let mut all = Found::default();
        for found in each {
            all.drafts.extend(found.drafts);
            all.left.extend(found.left);
        }
        all
    };
    let is_enough =
        |found: &Found| scope.depth == Depth::Needed && found.drafts.iter().any(Draft::is_sure);
    let told = |mut found: Found, starts: &[Start<'_>]| {
        found.left.extend(starts.iter().flat_map(Start::odd_parts));
        let hosts = host_differences(before, after);
        let faults = found.drafts.iter_mut().filter_map(|draft| draft.fault.take()).collect();
        let (changes, left) = (together(found.drafts), found.left);
        Comparison { changes, hosts, lone_interfaces, left, faults }
    };
    if opened.is_some() {
        // Which usual packets are concerned is known at once, and often they tell enough.
        let starts = starts(&|space, _, opened| {
            let any = opened.map_or_else(|| space.none(), |own| space.all().intersection(own));
            Touched { any, untracked: space.none() }
        });
        let found = round(&starts, Rarity::Usual);
        if is_enough(&found) {
            return told(found, &starts);
        }
    }
    let starts =
        starts(&|space, entry, _| touched(&hosts, &identities, &edits, &maps, space, entry));
    let mut found = round(&starts, Rarity::Usual);
    if is_enough(&found) {
        return told(found, &starts);
    }
    let odd = round(&starts, Rarity::Odd);
    found.drafts.extend(odd.drafts);
    found.left.extend(odd.left);
    told(found, &[])
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
    /// Other usual ones fare alike.
    opened: Option<PacketSet>,
    /// Whether TCP connections are tracked from any packet on (`nf_conntrack_tcp_loose`).
    loose: bool,
}

impl<'a> Start<'a> {
    fn new(
        hosts: &Hosts<'a>,
        entry: &'a Entry,
        (mut touched, opened): (Touched, Option<PacketSet>),
        named: &[IpAddr],
    ) -> Self {
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
        Self { entry, places, touched, opened, loose }
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
        // Few processes are bound to an address. And where nothing differs but how sources are
        // translated, open connections wear what they were opened with, which is told of those.
        let told = state == FlowState::Established && self.opened.is_some();
        if *self.entry == Entry::Local || told {
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
        known: &(Known<'_>, Known<'_>),
        passed: Option<&Passed>,
        (rarity, ways): (Rarity, usize),
    ) -> Found {
        let space = self.touched.any.space();
        let mut found = Found::default();
        for state in STATES {
            let usual = self.usual(state);
            let packets = match rarity {
                Rarity::Usual => match &self.opened {
                    Some(opened) => usual.intersection(opened),
                    None => usual,
                },
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
            let (pieces, left) = differing(known, &question, passed);
            let usual = rarity == Rarity::Usual && state == FlowState::New;
            let places = &self.places;
            let teller = Teller { hosts, places, question: &question, space, usual };
            found.drafts.extend(teller.tell(pieces));
            let part = |packets| Part { entry: self.entry.clone(), state, packets };
            found.left.extend(left.map(part));
        }
        found
    }
}

/// The packets of a question that fare differently, and those that were not looked at.
fn differing(
    known: &(Known<'_>, Known<'_>),
    question: &Question,
    passed: Option<&Passed>,
) -> (Pieces, Option<PacketSet>) {
    let (before, alike, unseen) = known_alike(&known.0, question, passed);
    let rest = question.packets.difference(&alike);
    let (after, unseen_after) = match rest.is_empty() {
        true => (Vec::new(), None),
        false => {
            let question = Question { packets: rest, ..question.clone() };
            classes(&known.1, &question)
        }
    };
    let mut near = 0;
    let left = match (unseen, unseen_after) {
        (Some(one), Some(other)) => Some(one.union(&other)),
        (one, other) => one.or(other),
    };
    let fates: HashMap<&Fate, &PacketSet> = after.iter().map(|(set, fate)| (fate, set)).collect();
    let mut pieces = Pieces::default();
    for (set, fate) in &before {
        let mut rest = set.clone();
        if let Some(same) = fates.get(fate) {
            if fate.is_open() {
                let fates = Arc::new((fate.clone(), fate.clone()));
                pieces.add(rest.intersection(same), &fates, Status::Undetermined);
            }
            rest = rest.difference(same);
        }
        for (both, other_fate) in shared(rest, &after, &mut near) {
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

/// The parts of a set by the classes that they are in, in the order of the classes. Classes that
/// are found one after the other are mostly near one another, so that is where the search begins.
fn shared<'c>(
    mut rest: PacketSet,
    classes: &'c [(PacketSet, Fate)],
    near: &mut usize,
) -> Vec<(PacketSet, &'c Fate)> {
    let mut found: Vec<(usize, PacketSet, &Fate)> = Vec::new();
    let part = |rest: &mut PacketSet, (at, (set, fate)): (usize, &'c (PacketSet, Fate))| {
        let both = rest.intersection(set);
        *rest = rest.difference(set);
        (at, both, fate)
    };
    while let Some(header) = rest.next() {
        let count = classes.len().max(1);
        let each = (0..count).map(|step| (*near + step) % count);
        let mut each = each.filter_map(|at| Some((at, classes.get(at)?)));
        if let Some(class) = each.find(|(_, (set, _))| set.contains(&header)) {
            *near = class.0;
            found.push(part(&mut rest, class));
            continue;
        }
        // It is one of those that were not looked at there, and others may be among them.
        let all = classes.iter().enumerate().map(|class| part(&mut rest, class));
        found.extend(all.filter(|(_, both, _)| both.function_is_possible()));
        break;
    }
    found.sort_by_key(|(at, ..)| *at);
    found.into_iter().map(|(_, both, fate)| (both, fate)).collect()
}

/// The classes of a question's packets on the earlier host; those that pass no chain that differs,
/// and so fare alike, only as a set; and those that were not looked at.
fn known_alike(
    host: &Known<'_>,
    question: &Question,
    passed: Option<&Passed>,
) -> (Vec<(PacketSet, Fate)>, PacketSet, Option<PacketSet>) {
    let divided = divide(host.system, &host.world, question, |region, answer| {
        // How a connection was opened before is not told.
        let passed = passed.filter(|_| question.state == FlowState::New);
        let alike = passed.is_some_and(|passed| !passed.may_meet(answer));
        (alike && cut(answer).is_none() && region.unfollowed.is_none())
            .then_some(())
            .ok_or_else(|| Fate::of(region, answer, host.identities))
    });
    let mut alike = question.packets.space().none();
    let mut classes = Vec::new();
    for (set, fate) in divided.classes {
        match fate {
            Ok(()) => alike = alike.union(&set),
            Err(fate) => classes.push((set, fate)),
        }
    }
    (classes, alike, divided.left.map(|(set, _)| set))
}

/// The classes of a question's packets on one host, and those that were not looked at.
fn classes(host: &Known<'_>, question: &Question) -> (Vec<(PacketSet, Fate)>, Option<PacketSet>) {
    let divided = divide(host.system, &host.world, question, |region, answer| {
        Fate::of(region, answer, host.identities)
    });
    (divided.classes, divided.left.map(|(set, _)| set))
}
