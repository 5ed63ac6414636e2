//! Cells of addresses.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::Condition;
use nattrace_model::host::inventory::Container;
use nattrace_model::host::set::{Dimension, IpSet};
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;

use super::{Alike, special};
use crate::header::bits;
use crate::space::{Field, Space};

/// A range of addresses with what it means; equal meanings are one.
type Label = ((u128, u128), Meaning);

/// What an address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Meaning {
    /// Where it is: routes, subnets, whose own it is.
    Place(u32),
    /// Something that is asked of addresses wherever they are.
    Name(u32),
    /// It is one of those whose place does not matter.
    Anywhere(Alike),
}

/// The first address of each interval, with its cell.
type Starts = Vec<(u128, usize)>;
/// The intervals of each cell, both ends inclusive.
type Intervals = Vec<Vec<(u128, u128)>>;

/// The addresses of a family, divided as a host does.
pub(crate) struct AddressPlan {
    /// The first address of each interval, with its cell; the first of all is 0.
    starts: Starts,
    /// The intervals of each cell, both ends inclusive.
    cells: Intervals,
    /// The cells that hold addresses of containers, with those addresses: which container's.
    containers: BTreeMap<usize, Vec<(u128, usize)>>,
}

/// The same as sets of packets.
pub(crate) struct AddressCells {
    plan: Arc<AddressPlan>,
    functions: RefCell<HashMap<(Field, usize), BDDFunction>>,
    owners: RefCell<HashMap<(usize, usize), BDDFunction>>,
}

impl AddressPlan {
    /// As a host divides them; of those of `alike` it does not matter where they are.
    pub(crate) fn of(system: &System, family: Family, alike: &BTreeMap<u128, Alike>) -> Self {
        let most = match family {
            Family::Ipv4 => u128::from(u32::MAX),
            Family::Ipv6 => u128::MAX,
        };
        let (starts, cells) = divide(&labels(system, family), alike, most);
        let mut containers: BTreeMap<usize, Vec<(u128, usize)>> = BTreeMap::new();
        let mut divided = Self { starts, cells, containers: BTreeMap::new() };
        for (at, container) in running(system) {
            for own in addresses_of(container, family) {
                let cell = divided.cell(own);
                containers.entry(cell).or_default().push((bits(own), at));
            }
        }
        divided.containers = containers;
        divided
    }

    /// The cell of an address.
    fn cell(&self, address: IpAddr) -> usize {
        let value = bits(address);
        let next = self.starts.partition_point(|(start, _)| *start <= value);
        next.checked_sub(1).and_then(|at| self.starts.get(at)).map_or(0, |(_, cell)| *cell)
    }
}

impl AddressCells {
    /// The cells of a plan.
    pub(crate) fn of(plan: &Arc<AddressPlan>) -> Self {
        Self { plan: Arc::clone(plan), functions: RefCell::default(), owners: RefCell::default() }
    }

    /// The cell of an address.
    pub(crate) fn cell(&self, address: IpAddr) -> usize {
        self.plan.cell(address)
    }

    /// Whether a cell is one address.
    pub(crate) fn is_single(&self, cell: usize) -> bool {
        matches!(self.intervals(cell), [(first, last)] if first == last)
    }

    /// The intervals of a cell.
    pub(crate) fn intervals(&self, cell: usize) -> &[(u128, u128)] {
        self.plan.cells.get(cell).map_or(&[], Vec::as_slice)
    }

    /// The packets with an address of the cell.
    pub(crate) fn function(&self, space: &Space, field: Field, cell: usize) -> BDDFunction {
        if let Some(known) = self.functions.borrow().get(&(field, cell)) {
            return known.clone();
        }
        let intervals = self.intervals(cell);
        let each = intervals.iter().map(|(first, last)| space.range(field, *first, *last));
        let function = space.union(each.collect());
        self.functions.borrow_mut().insert((field, cell), function.clone());
        function
    }

    /// Whether two cells hold addresses of the same container, perhaps.
    pub(crate) fn may_share_container(&self, source: usize, destination: usize) -> bool {
        self.plan.containers.contains_key(&source)
            && self.plan.containers.contains_key(&destination)
    }

    /// The packets from a container to itself, from an address of one cell to one of another.
    pub(crate) fn same_container(
        &self,
        space: &Space,
        source: usize,
        destination: usize,
    ) -> BDDFunction {
        if let Some(known) = self.owners.borrow().get(&(source, destination)) {
            return known.clone();
        }
        let mut to: BTreeMap<usize, Vec<u128>> = BTreeMap::new();
        for (own, container) in self.plan.containers.get(&destination).into_iter().flatten() {
            to.entry(*container).or_default().push(*own);
        }
        let mut pairs = Vec::new();
        for (from, container) in self.plan.containers.get(&source).into_iter().flatten() {
            let from = space.equals(Field::Source, *from);
            for own in to.get(container).into_iter().flatten() {
                pairs.push(space.and(&from, &space.equals(Field::Destination, *own)));
            }
        }
        let function = space.union(pairs);
        self.owners.borrow_mut().insert((source, destination), function.clone());
        function
    }
}

fn running(system: &System) -> impl Iterator<Item = (usize, &Container)> {
    let all = system.host.inventory.containers.iter().enumerate();
    all.filter(|(_, container)| container.running)
}

fn addresses_of(container: &Container, family: Family) -> impl Iterator<Item = IpAddr> {
    let all = container.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    all.map(|(own, _)| *own).filter(move |own| Family::of(*own) == family)
}

/// The range of a prefix.
fn range(prefix: &Prefix, family: Family) -> Option<(u128, u128)> {
    if prefix.family() != family {
        return None;
    }
    let first = bits(prefix.network());
    let free = match prefix {
        Prefix::V4(_, mask) => u128::from(!mask),
        Prefix::V6(prefix) => !prefix.1,
    };
    Some((first, first | free))
}

/// Everything that divides the addresses of a family.
fn labels(system: &System, family: Family) -> Vec<Label> {
    let host = &system.host;
    let mut labels: Vec<Label> = Vec::new();
    let mut next = 1_000_000u32;
    let mut places: BTreeSet<(u128, u128)> = BTreeSet::new();
    let mut named: BTreeSet<(u128, u128)> = BTreeSet::new();
    {
        let mut add = |prefix: &Prefix| places.extend(range(prefix, family));
        for table in host.routing.tables(family).values() {
            table.routes().iter().for_each(|route| add(&route.destination));
        }
        for own in host.interfaces.iter().flat_map(|interface| &interface.addresses) {
            add(&Prefix::new(own.local, 128));
            add(&own.subnet);
        }
        for container in &host.inventory.containers {
            for (own, length) in container.endpoints.iter().flat_map(|e| &e.addresses) {
                add(&Prefix::new(*own, *length));
            }
        }
        let mut add = |prefix: &Prefix| named.extend(range(prefix, family));
        for rule in host.routing.rules(family) {
            rule.source.iter().chain(&rule.destination).for_each(&mut add);
        }
        for zone in host.zones.values() {
            zone.nets.iter().chain(&zone.routes).for_each(&mut add);
        }
        for bound in host.listeners.iter().flatten().filter_map(|listener| listener.address) {
            add(&Prefix::new(bound, 128));
        }
        let published = host.inventory.containers.iter().flat_map(|c| &c.published);
        for bound in published.filter_map(|published| published.host_address) {
            add(&Prefix::new(bound, 128));
        }
    }
    labels.extend(places.into_iter().zip(0u32..).map(|(range, at)| (range, Meaning::Place(at))));
    for range in named {
        labels.push((range, Meaning::Name(next)));
        next += 1;
    }
    let special = special::ranges(host, family);
    labels.extend(
        special.iter().filter_map(|(p, name)| Some((range(p, family)?, Meaning::Name(*name)))),
    );
    // Containers that are attached alike are treated alike.
    let mut profiles: BTreeMap<String, u32> = BTreeMap::new();
    let with_mac = asks_mac(system);
    let mut known: BTreeSet<u128> = BTreeSet::new();
    for (_, container) in running(system) {
        for own in addresses_of(container, family) {
            if !known.insert(bits(own)) {
                continue;
            }
            let profile = profile(container, own, with_mac);
            let name = *profiles.entry(profile).or_insert_with(|| {
                next += 1;
                next
            });
            labels.push(((bits(own), bits(own)), Meaning::Name(name)));
        }
    }
    labels
}

/// How a container is attached, and by which of its addresses it is met.
fn profile(container: &Container, own: IpAddr, with_mac: bool) -> String {
    let mut text = format!("{:?}", container.default_network);
    for endpoint in &container.endpoints {
        let prefixes: Vec<(String, bool)> = endpoint
            .addresses
            .iter()
            .map(|(a, length)| (Prefix::new(*a, *length).to_string(), *a == own))
            .collect();
        text += &format!(" {} {prefixes:?} {:?}", endpoint.network, endpoint.gateways);
        if with_mac {
            text += &format!(" {:?}", endpoint.mac);
        }
    }
    text
}

/// Whether any rule asks for hardware addresses.
fn asks_mac(system: &System) -> bool {
    let rules = system.rules.chains.iter().flat_map(|chain| &chain.rules);
    let in_rules = rules
        .flat_map(|rule| &rule.conditions)
        .any(|condition| matches!(condition, Condition::Mac(..)));
    in_rules
        || system.host.sets.values().any(|set| match set {
            IpSet::Entries { dimensions, .. } => dimensions.contains(&Dimension::Mac),
            IpSet::List(_) => false,
        })
}

/// Divides the numbers up to `most` by ranges; intervals that are covered by the same meanings are
/// one cell. Of those that are `alike` the place does not count.
fn divide(labels: &[Label], alike: &BTreeMap<u128, Alike>, most: u128) -> (Starts, Intervals) {
    let mut events: BTreeMap<u128, (Vec<Meaning>, Vec<Meaning>)> = BTreeMap::new();
    events.entry(0).or_default();
    for ((first, last), name) in labels {
        events.entry(*first).or_default().0.push(*name);
        if *last < most {
            events.entry(last + 1).or_default().1.push(*name);
        }
    }
    let mut active: BTreeMap<Meaning, usize> = BTreeMap::new();
    let mut known: HashMap<Vec<Meaning>, usize> = HashMap::new();
    let (mut starts, mut cells): (Starts, Intervals) = (Vec::new(), Vec::new());
    let ends: Vec<u128> = events.keys().skip(1).map(|next| next - 1).chain([most]).collect();
    for ((start, (begins, stops)), end) in events.into_iter().zip(ends) {
        for name in stops {
            if let Some(count) = active.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    active.remove(&name);
                }
            }
        }
        for name in begins {
            *active.entry(name).or_default() += 1;
        }
        let key: Vec<Meaning> = match alike.get(&start).filter(|_| start == end) {
            Some(kind) => {
                let named = active.keys().filter(|meaning| !matches!(meaning, Meaning::Place(_)));
                named.copied().chain([Meaning::Anywhere(*kind)]).collect()
            }
            None => active.keys().copied().collect(),
        };
        let cell = *known.entry(key).or_insert_with(|| {
            cells.push(Vec::new());
            cells.len() - 1
        });
        if let Some(intervals) = cells.get_mut(cell) {
            match intervals.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(start) => last.1 = end,
                _ => intervals.push((start, end)),
            }
        }
        starts.push((start, cell));
    }
    (starts, cells)
}
