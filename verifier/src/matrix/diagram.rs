//! Sets of packets as nodes that are read many times: which services a set tells apart is found in
//! one pass over them, whatever the number of services.
//!
//! A set asks for addresses first, then for the protocol, the source port and the destination port.
//! So two services of a protocol are treated alike by a set just where every node that stands behind
//! the source port, and that the set leads to, says the same of both.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use oxidd::bdd::BDDFunction;
use oxidd::util::Ref;
use oxidd::{Edge, Function, HasLevel, InnerNode, Manager};

use super::service::Service;
use crate::space::{Field, Space};

/// A node of a diagram; its children come before it.
pub(super) type Id = u32;

pub(super) const NOTHING: Id = 0;
pub(super) const ANYTHING: Id = 1;
/// The level of what asks nothing.
const END: u32 = u32::MAX;

/// Nodes of sets of one space.
pub(super) struct Diagram {
    /// The level of each, and what follows where its variable is one, and where it is zero.
    nodes: Vec<Node>,
    known: HashMap<(u32, Id, Id), Id, RandomState>,
    copied: HashMap<usize, Id, RandomState>,
    /// The names in the order in which they were copied.
    names: Vec<usize>,
    either: HashMap<(Id, Id), Id, RandomState>,
    both: HashMap<(Id, Id), Id, RandomState>,
    /// As long as these are kept, the nodes that were copied keep their names.
    kept: Vec<BDDFunction>,
    pub(super) protocol: u32,
    source_port: u32,
    pub(super) destination_port: u32,
    icmp_type: u32,
}

/// What is found of pairs of nodes.
pub(super) type OfPairs<T> = HashMap<(Id, Id), T, RandomState>;

/// How much a diagram held at some time.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    nodes: usize,
    names: usize,
    kept: usize,
}

/// What services meet in a set: one entry for each service.
pub(super) struct Met {
    /// Whether the set holds packets of it.
    present: Vec<bool>,
    /// What the set says of its packets: the same for two services of a protocol with ports where
    /// the same packets of both are in the set, but for their ports.
    pub(super) says: Vec<u128>,
}

impl Met {
    /// Whether the set holds packets of a service.
    pub(super) fn has(&self, service: usize) -> bool {
        self.present.get(service).copied().unwrap_or(false)
    }
}

/// The services of a protocol with ports.
pub(super) struct WithPorts {
    pub(super) number: u8,
    /// The index of the first of them.
    pub(super) index: usize,
    /// Their ports, in order.
    pub(super) ports: Vec<(u32, u32)>,
}

/// The services of a matrix, in their order.
pub(super) struct Services {
    /// The services of each protocol with ports.
    pub(super) with_ports: Vec<WithPorts>,
    /// The others, with their protocols.
    pub(super) others: Vec<(usize, Vec<u8>)>,
    count: usize,
}

impl Services {
    /// Of a family; `others` are the protocols of [`Service::OtherProtocols`].
    pub(super) fn new(services: &[Service], icmp: u8, others: &[u8]) -> Self {
        let mut all = Self { with_ports: Vec::new(), others: Vec::new(), count: services.len() };
        for (index, service) in services.iter().enumerate() {
            match *service {
                Service::Ports(number, first, last) => {
                    let ports = (u32::from(first), u32::from(last));
                    match all.with_ports.last_mut().filter(|own| own.number == number) {
                        Some(own) => own.ports.push(ports),
                        None => {
                            all.with_ports.push(WithPorts { number, index, ports: vec![ports] });
                        }
                    }
                }
                Service::Icmp => all.others.push((index, vec![icmp])),
                Service::Protocol(number) => all.others.push((index, vec![number])),
                Service::OtherProtocols => all.others.push((index, others.to_vec())),
            }
        }
        all
    }
}

/// A running total that is the same for a range of services.
struct Total {
    says: Vec<u128>,
    many: Vec<i64>,
}

impl Total {
    fn add(&mut self, first: usize, last: usize, mark: u128) {
        let mut at = |index: usize, mark: u128, many: i64| {
            if let Some(own) = self.says.get_mut(index) {
                *own = own.wrapping_add(mark);
            }
            if let Some(own) = self.many.get_mut(index) {
                *own += many;
            }
        };
        at(first, mark, 1);
        at(last + 1, mark.wrapping_neg(), -1);
    }
}

impl Diagram {
    pub(super) fn new(space: &Space) -> Self {
        let first = |field: Field| field.first(space.family());
        Self {
            nodes: vec![(END, NOTHING, NOTHING), (END, ANYTHING, ANYTHING)],
            known: HashMap::default(),
            copied: HashMap::default(),
            names: Vec::new(),
            either: HashMap::default(),
            both: HashMap::default(),
            kept: Vec::new(),
            protocol: first(Field::Protocol),
            source_port: first(Field::SourcePort),
            destination_port: first(Field::DestinationPort),
            icmp_type: first(Field::IcmpType),
        }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How much it holds now.
    pub(super) fn mark(&self) -> Mark {
        Mark { nodes: self.nodes.len(), names: self.names.len(), kept: self.kept.len() }
    }

    /// Forgets what came since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        for node in self.nodes.drain(mark.nodes..) {
            self.known.remove(&node);
        }
        for name in self.names.drain(mark.names..) {
            self.copied.remove(&name);
        }
        self.kept.truncate(mark.kept);
        self.either.clear();
        self.both.clear();
    }

    /// Takes the nodes of a function.
    pub(super) fn add(&mut self, space: &Space, function: &BDDFunction) -> Id {
        self.kept.push(function.clone());
        let nothing = space.nothing();
        function.with_manager_shared(|manager, edge| {
            let nothing = nothing.as_edge(manager).raw().node_id();
            self.copied.insert(nothing, NOTHING);
            self.copy(manager, edge)
        })
    }

    fn copy<'a, M: Manager<InnerNode: HasLevel>>(
        &mut self,
        manager: &'a M,
        edge: Ref<'a, M::Edge>,
    ) -> Id {
        let name = edge.raw().node_id();
        if let Some(known) = self.copied.get(&name) {
            return *known;
        }
        let made = match manager.get_node(edge) {
            oxidd::Node::Terminal(_) => ANYTHING,
            oxidd::Node::Inner(node) => {
                let one = self.copy(manager, node.child(0));
                let zero = self.copy(manager, node.child(1));
                self.node(node.level(), one, zero)
            }
        };
        self.copied.insert(name, made);
        self.names.push(name);
        made
    }

    /// The node of a level; none where both sides say the same.
    pub(super) fn node(&mut self, level: u32, one: Id, zero: Id) -> Id {
        if one == zero {
            return one;
        }
        *self.known.entry((level, one, zero)).or_insert_with(|| {
            self.nodes.push((level, one, zero));
            Id::try_from(self.nodes.len() - 1).unwrap_or(ANYTHING)
        })
    }

    /// The level of a node, and what follows where its variable is one, and where it is zero.
    pub(super) fn at(&self, id: Id) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or((END, id, id))
    }

    /// Where one or the other holds.
    pub(super) fn or(&mut self, one: Id, other: Id) -> Id {
        if one == other || other == NOTHING {
            return one;
        }
        if one == NOTHING || other == ANYTHING {
            return other;
        }
        if one == ANYTHING {
            return one;
        }
        let key = (one.min(other), one.max(other));
        if let Some(known) = self.either.get(&key) {
            return *known;
        }
        let (level, [a, c], [b, d]) = split((one, self.at(one)), (other, self.at(other)));
        let (yes, no) = (self.or(a, c), self.or(b, d));
        let made = self.node(level, yes, no);
        self.either.insert(key, made);
        made
    }

    /// Where both hold.
    pub(super) fn and(&mut self, one: Id, other: Id) -> Id {
        if one == other || other == ANYTHING || one == NOTHING {
            return one;
        }
        if one == ANYTHING || other == NOTHING {
            return other;
        }
        let key = (one.min(other), one.max(other));
        if let Some(known) = self.both.get(&key) {
            return *known;
        }
        let (level, [a, c], [b, d]) = split((one, self.at(one)), (other, self.at(other)));
        let (yes, no) = (self.and(a, c), self.and(b, d));
        let made = self.node(level, yes, no);
        self.both.insert(key, made);
        made
    }

    /// What a node of another diagram and one of this hold of together; but for `levels`, it is
    /// only said whether there is a value.
    pub(super) fn values(
        &mut self,
        theirs: (&Diagram, Id),
        own: Id,
        levels: &Range<u32>,
        known: &mut OfPairs<Id>,
    ) -> Id {
        let (diagram, node) = theirs;
        if node == NOTHING || own == NOTHING {
            return NOTHING;
        }
        if node == ANYTHING && own == ANYTHING {
            return ANYTHING;
        }
        if let Some(made) = known.get(&(node, own)) {
            return *made;
        }
        let (level, [a, c], [b, d]) = split((node, diagram.at(node)), (own, self.at(own)));
        let one = self.values((diagram, a), c, levels, known);
        let made = if levels.contains(&level) {
            let zero = self.values((diagram, b), d, levels, known);
            self.node(level, one, zero)
        } else if one == ANYTHING {
            ANYTHING
        } else {
            let zero = self.values((diagram, b), d, levels, known);
            self.or(one, zero)
        };
        known.insert((node, own), made);
        made
    }

    /// What services meet in a set.
    pub(super) fn met(&mut self, set: Id, services: &Services) -> Met {
        let mut total =
            Total { says: vec![0; services.count + 1], many: vec![0; services.count + 1] };
        let bottoms = self.below(vec![set], self.protocol);
        for WithPorts { number, index, ports } in &services.with_ports {
            let of_protocol = bottoms.iter().map(|node| self.of_protocol(*node, *number)).collect();
            for node in self.below(of_protocol, self.destination_port) {
                self.count(node, *index, ports, &mut total);
            }
        }
        for (index, numbers) in &services.others {
            let holds = |node: &Id| {
                numbers.iter().any(|number| self.of_protocol(*node, *number) != NOTHING)
            };
            if bottoms.iter().any(holds) {
                total.add(*index, *index, 0);
            }
        }
        let (mut says, mut many) = (0u128, 0i64);
        let mut met = Met { present: Vec::new(), says: Vec::new() };
        for (mark, more) in total.says.iter().zip(&total.many).take(services.count) {
            (says, many) = (says.wrapping_add(*mark), many + more);
            met.present.push(many > 0);
            met.says.push(says);
        }
        met
    }

    /// The nodes from a level on that others lead to.
    pub(super) fn below(&self, mut open: Vec<Id>, level: u32) -> Vec<Id> {
        let mut seen = vec![false; self.nodes.len()];
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            let Some(seen) = seen.get_mut(id as usize).filter(|seen| !**seen) else { continue };
            *seen = true;
            let (own, one, zero) = self.at(id);
            if own >= level {
                if id != NOTHING {
                    found.push(id);
                }
            } else {
                open.extend([one, zero]);
            }
        }
        found
    }

    /// What a node says of packets of a protocol.
    pub(super) fn of_protocol(&self, mut id: Id, number: u8) -> Id {
        loop {
            let (level, one, zero) = self.at(id);
            if level >= self.source_port {
                return id;
            }
            let bit = level.saturating_sub(self.protocol).min(7);
            id = if number >> (7 - bit) & 1 == 1 { one } else { zero };
        }
    }

    /// Adds what a node says of the services of a protocol.
    fn count(&mut self, node: Id, index: usize, services: &[(u32, u32)], total: &mut Total) {
        let mut spans = Vec::new();
        self.spans(node, 0, 0, &mut spans);
        // Of services that are more than a span, and what is said of those ports of theirs.
        let mut partly: Vec<(usize, Id)> = Vec::new();
        for (low, high, rest) in spans {
            let mut first = services.partition_point(|(_, last)| *last < low);
            let mut end = services.partition_point(|(first, _)| *first <= high);
            if services.get(first).is_some_and(|(own, _)| *own < low) && first < end {
                partly.push((first, rest));
                first += 1;
            }
            let last = end.checked_sub(1).and_then(|at| services.get(at));
            if last.is_some_and(|(_, own)| *own > high) && first < end {
                end -= 1;
                partly.push((end, rest));
            }
            if first < end {
                total.add(index + first, index + end - 1, mark(node, rest));
            }
        }
        let mut partly = partly.into_iter().peekable();
        while let Some((service, mut rest)) = partly.next() {
            while let Some((_, more)) = partly.next_if(|(other, _)| *other == service) {
                rest = self.or(rest, more);
            }
            total.add(index + service, index + service, mark(node, rest));
        }
    }

    /// The ports of which a node says the same, with what that is.
    pub(super) fn spans(&self, id: Id, bits: u32, length: u32, spans: &mut Vec<(u32, u32, Id)>) {
        if id == NOTHING {
            return;
        }
        let (level, one, zero) = self.at(id);
        if level >= self.icmp_type {
            let low = bits << (16 - length);
            let high = low + ((1 << (16 - length)) - 1);
            match spans.last_mut() {
                Some((_, end, rest)) if *rest == id && *end + 1 == low => *end = high,
                _ => spans.push((low, high, id)),
            }
            return;
        }
        let asks = level == self.destination_port + length;
        let (zero, one) = if asks { (zero, one) } else { (id, id) };
        self.spans(zero, bits << 1, length + 1, spans);
        self.spans(one, bits << 1 | 1, length + 1, spans);
    }
}

/// A node: its level, and what follows where its variable is one, and where it is zero.
pub(super) type Node = (u32, Id, Id);

/// The first level of two nodes, with what follows of both where its variable is one, and where it
/// is zero.
pub(super) fn split(one: (Id, Node), other: (Id, Node)) -> (u32, [Id; 2], [Id; 2]) {
    let level = one.1.0.min(other.1.0);
    let halves = |(id, node): (Id, Node)| match node.0 == level {
        true => (node.1, node.2),
        false => (id, id),
    };
    let ((a, b), (c, d)) = (halves(one), halves(other));
    (level, [a, c], [b, d])
}

/// A number that stands for what a node says; that two sums of such numbers are the same by chance
/// is out of the question.
fn mark(node: Id, says: Id) -> u128 {
    let mixed = |seed: u64| {
        let mut value = (u64::from(node) << 32 | u64::from(says)).wrapping_add(seed);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let high = mixed(0x9e37_79b9_7f4a_7c15);
    let low = mixed(high ^ 0xd1b5_4a32_d192_ed03);
    u128::from(high) << 64 | u128::from(low)
}
