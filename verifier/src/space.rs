//! The space that sets of packets live in: which bit of a header is which variable.
//!
//! Addresses come first, then protocol and ports: measured, plain filter chains stay small so. Two
//! more variables stand before them for what bits in this order can't say in little space: whether
//! source and destination are the same address, and whether both ports are the same.

mod field;
mod point;
mod sources;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nattrace_model::address::Prefix;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;
use oxidd::bdd::{self, BDDFunction, BDDManagerRef};
use oxidd::util::{AllocResult, Ref};
use oxidd::{
    BooleanFunction, BooleanFunctionQuant, Function, HasLevel, InnerNode, Manager, ManagerRef, Node,
};

use crate::header::{Header, bits};
use crate::packets::PacketSet;

use field::FLAGS;
pub(crate) use field::{Field, Relation, Tier};
pub(crate) use point::Point;

/// How many nodes all sets of a space may have together.
const MOST_NODES: usize = 1 << 24;
/// How many results of operations are remembered.
const REMEMBERED: usize = 1 << 18;

/// Where sets of packets of one family live. Sets of different spaces don't mix.
#[derive(Clone)]
pub struct Space {
    inner: Arc<Inner>,
}

/// A function that is asked for often.
#[derive(PartialEq, Eq, Hash)]
enum Known {
    Range(Field, u128, u128),
    Masked(Field, u128, u128),
    /// The variables of some fields, a bit for each of them.
    Fields(u8),
    /// The same with what stands before all fields.
    Others(u8),
    WithPorts,
}

struct Inner {
    family: Family,
    /// The variable, and its negation.
    literals: Vec<(BDDFunction, BDDFunction)>,
    all: BDDFunction,
    none: BDDFunction,
    whole: BDDFunction,
    exhausted: AtomicBool,
    /// Functions that are asked for often.
    known: Mutex<HashMap<Known, BDDFunction>>,
    /// Kept alive as long as its functions.
    _manager: BDDManagerRef,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("family", &self.inner.family).finish_non_exhaustive()
    }
}

impl PartialEq for Space {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Space {
    /// A space for packets of a family.
    #[must_use]
    pub fn new(family: Family) -> Self {
        let manager = bdd::new_manager(MOST_NODES, REMEMBERED, 1);
        let variables = FLAGS + Field::ALL.iter().map(|field| field.width(family)).sum::<u32>();
        let made = manager.with_manager_exclusive(|manager| {
            let literals = manager.add_vars(variables).map(|variable| {
                let literal = BDDFunction::var(manager, variable)?;
                Ok((literal, BDDFunction::not_var(manager, variable)?))
            });
            let literals: AllocResult<Vec<_>> = literals.collect();
            (literals, BDDFunction::t(manager), BDDFunction::f(manager))
        });
        let (literals, whole, none) = made;
        let failed = literals.is_err();
        let inner = Inner {
            family,
            literals: literals.unwrap_or_default(),
            all: whole.clone(),
            none,
            whole,
            exhausted: AtomicBool::new(failed),
            known: Mutex::default(),
            _manager: manager,
        };
        let mut space = Self { inner: Arc::new(inner) };
        let all = space.well_formed();
        if let Some(inner) = Arc::get_mut(&mut space.inner) {
            inner.all = all;
        }
        space
    }

    /// What a protocol does not have is zero.
    fn well_formed(&self) -> BDDFunction {
        let is = |numbers: &[u8]| {
            let each = numbers.iter().map(|number| self.equals(Field::Protocol, (*number).into()));
            each.fold(self.nothing(), |all, one| self.or(&all, &one))
        };
        let zero = |fields: &[Field]| {
            fields
                .iter()
                .fold(self.anything(), |all, field| self.and(&all, &self.equals(*field, 0)))
        };
        let ports =
            is(&[protocol::TCP, protocol::UDP, protocol::SCTP, protocol::DCCP, protocol::UDPLITE]);
        let icmp = is(&[protocol::ICMP, protocol::ICMPV6]);
        let tcp = is(&[protocol::TCP]);
        let ports = self.or(&ports, &zero(&[Field::SourcePort, Field::DestinationPort]));
        let icmp = self.or(&icmp, &zero(&[Field::IcmpType, Field::IcmpCode]));
        let tcp = self.or(&tcp, &zero(&[Field::TcpFlags]));
        self.and(&ports, &self.and(&icmp, &tcp))
    }

    /// The family of the packets.
    #[must_use]
    pub fn family(&self) -> Family {
        self.inner.family
    }

    /// Whether sets grew too large for the space. Then no set of it can be trusted.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.inner.exhausted.load(Ordering::Relaxed)
    }

    /// Every packet.
    #[must_use]
    pub fn all(&self) -> PacketSet {
        self.set(self.inner.all.clone())
    }

    /// No packet.
    #[must_use]
    pub fn none(&self) -> PacketSet {
        self.set(self.nothing())
    }

    /// The packets from a prefix.
    #[must_use]
    pub fn source(&self, prefix: &Prefix) -> PacketSet {
        self.whole(self.prefix(Field::Source, prefix))
    }

    /// The packets to a prefix.
    #[must_use]
    pub fn destination(&self, prefix: &Prefix) -> PacketSet {
        self.whole(self.prefix(Field::Destination, prefix))
    }

    /// The packets from a range of addresses, both ends inclusive.
    #[must_use]
    pub fn source_range(&self, first: IpAddr, last: IpAddr) -> PacketSet {
        self.whole(self.addresses(Field::Source, first, last))
    }

    /// The packets to a range of addresses, both ends inclusive.
    #[must_use]
    pub fn destination_range(&self, first: IpAddr, last: IpAddr) -> PacketSet {
        self.whole(self.addresses(Field::Destination, first, last))
    }

    /// The packets of a protocol.
    #[must_use]
    pub fn protocol(&self, number: u8) -> PacketSet {
        self.whole(self.equals(Field::Protocol, number.into()))
    }

    /// The packets from a port of a range, both ends inclusive, of whichever protocol has ports.
    #[must_use]
    pub fn source_ports(&self, first: u16, last: u16) -> PacketSet {
        self.whole(self.and(&self.with_ports(), &self.ports(Field::SourcePort, first, last)))
    }

    /// The packets to a port of a range, both ends inclusive, of whichever protocol has ports.
    #[must_use]
    pub fn destination_ports(&self, first: u16, last: u16) -> PacketSet {
        self.whole(self.and(&self.with_ports(), &self.ports(Field::DestinationPort, first, last)))
    }

    /// The TCP packets that have, of the flags under a mask, just these.
    #[must_use]
    pub fn tcp_flags(&self, mask: u8, flags: u8) -> PacketSet {
        let tcp = self.equals(Field::Protocol, protocol::TCP.into());
        self.whole(self.and(&tcp, &self.masked(Field::TcpFlags, flags.into(), mask.into())))
    }

    /// The ICMP or ICMPv6 packets of a type, with a code of a range, both ends inclusive.
    #[must_use]
    pub fn icmp(&self, kind: u8, first: u8, last: u8) -> PacketSet {
        let number = match self.family() {
            Family::Ipv4 => protocol::ICMP,
            Family::Ipv6 => protocol::ICMPV6,
        };
        let of_type = self.and(
            &self.equals(Field::Protocol, number.into()),
            &self.equals(Field::IcmpType, kind.into()),
        );
        self.whole(self.and(&of_type, &self.range(Field::IcmpCode, first.into(), last.into())))
    }

    /// Just one packet; none where it is of the other family.
    #[must_use]
    pub fn only(&self, header: &Header) -> PacketSet {
        if header.family() != self.family() {
            return self.none();
        }
        let header = header.normal();
        let fields = Field::ALL.iter().map(|field| self.equals(*field, field.of(&header)));
        self.whole(fields.fold(self.anything(), |all, one| self.and(&all, &one)))
    }

    /// What a first packet of a connection looks like: TCP with SYN alone, an echo request, and
    /// every packet of other protocols.
    #[must_use]
    pub fn first_packets(&self) -> PacketSet {
        let echo = match self.family() {
            Family::Ipv4 => (protocol::ICMP, 8),
            Family::Ipv6 => (protocol::ICMPV6, 128),
        };
        let tcp = self.protocol(protocol::TCP);
        let icmp = self.protocol(protocol::ICMP).union(&self.protocol(protocol::ICMPV6));
        let syn = self.tcp_flags(0xff, nattrace_model::packet::tcp_flag::SYN);
        let query = self.protocol(echo.0).intersection(&self.icmp(echo.1, 0, 0));
        self.all().difference(&tcp).difference(&icmp).union(&syn).union(&query)
    }

    /// The packets of protocols that have ports.
    pub(crate) fn with_ports(&self) -> BDDFunction {
        self.remembered(Known::WithPorts, || {
            let numbers =
                [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::DCCP, protocol::UDPLITE];
            let each = numbers.iter().map(|number| self.equals(Field::Protocol, (*number).into()));
            each.fold(self.nothing(), |all, one| self.or(&all, &one))
        })
    }

    fn whole(&self, function: BDDFunction) -> PacketSet {
        self.set(self.and(&function, &self.inner.all))
    }

    pub(crate) fn set(&self, function: BDDFunction) -> PacketSet {
        PacketSet::new(self.clone(), function)
    }
}

/// Functions, for whoever restricts sets that are well-formed already.
impl Space {
    pub(crate) fn anything(&self) -> BDDFunction {
        self.inner.whole.clone()
    }

    pub(crate) fn nothing(&self) -> BDDFunction {
        self.inner.none.clone()
    }

    /// A result, or nothing where the space is full.
    fn kept(&self, result: AllocResult<BDDFunction>) -> BDDFunction {
        result.unwrap_or_else(|_| {
            self.inner.exhausted.store(true, Ordering::Relaxed);
            self.nothing()
        })
    }

    pub(crate) fn and(&self, one: &BDDFunction, other: &BDDFunction) -> BDDFunction {
        self.kept(one.and(other))
    }

    pub(crate) fn or(&self, one: &BDDFunction, other: &BDDFunction) -> BDDFunction {
        self.kept(one.or(other))
    }

    pub(crate) fn not(&self, function: &BDDFunction) -> BDDFunction {
        self.kept(function.not())
    }

    /// One without the other.
    pub(crate) fn minus(&self, one: &BDDFunction, other: &BDDFunction) -> BDDFunction {
        self.kept(other.imp_strict(one))
    }

    /// The function itself, or its negation.
    pub(crate) fn when(&self, holds: bool, function: &BDDFunction) -> BDDFunction {
        if holds { function.clone() } else { self.not(function) }
    }

    /// The union of many, by pairs.
    pub(crate) fn union(&self, mut all: Vec<BDDFunction>) -> BDDFunction {
        while all.len() > 1 {
            let pairs = all.chunks(2).map(|pair| match pair {
                [one, other] => self.or(one, other),
                [one] => one.clone(),
                _ => self.nothing(),
            });
            all = pairs.collect();
        }
        all.pop().unwrap_or_else(|| self.nothing())
    }

    /// Where the first thing stands that a function asks: it has nothing to do with what stands
    /// before.
    pub(crate) fn tier(&self, function: &BDDFunction) -> Tier {
        let level = function.with_manager_shared(|manager, edge| match manager.get_node(edge) {
            Node::Inner(node) => Some(node.level()),
            Node::Terminal(_) => None,
        });
        let Some(level) = level else { return Tier::Rest };
        if level < Field::Destination.first(self.family()) {
            Tier::Source
        } else if level < Field::Protocol.first(self.family()) {
            Tier::Destination
        } else {
            Tier::Rest
        }
    }

    /// A function of these fields alone: it holds where others can be chosen so that the whole
    /// one does.
    pub(crate) fn only_of(&self, function: &BDDFunction, fields: &BTreeSet<Field>) -> BDDFunction {
        let others: Vec<Field> =
            Field::ALL.into_iter().filter(|field| !fields.contains(field)).collect();
        self.without(function, &self.forgotten(&others))
    }

    /// A function without what it says of some variables.
    pub(crate) fn without(&self, function: &BDDFunction, variables: &BDDFunction) -> BDDFunction {
        self.kept(function.exists(variables))
    }

    /// The variables of some fields, and what stands before them all, to be forgotten.
    pub(crate) fn forgotten(&self, others: &[Field]) -> BDDFunction {
        let bit = |field: &Field| Field::ALL.iter().position(|own| own == field);
        let key = others.iter().filter_map(bit).fold(0, |all, at| all | 1 << at);
        self.remembered(Known::Others(key), || {
            let of = |variable| others.iter().any(|field| self.is_of(*field, variable));
            self.cube(|variable| variable < FLAGS || of(variable))
        })
    }

    /// Whether a function of one field alone holds of a value whose first bits, so many of them, are
    /// those of this one.
    pub(crate) fn holds_within(
        &self,
        function: &BDDFunction,
        field: Field,
        value: u128,
        length: u32,
    ) -> bool {
        let (first, width) = (field.first(self.family()), field.width(self.family()));
        function.with_manager_shared(|manager, root| {
            let nothing = self.inner.none.as_edge(manager);
            let mut edge = root;
            while edge != nothing {
                let Node::Inner(node) = manager.get_node(edge) else { return true };
                let bit = node.level().saturating_sub(first);
                if bit >= length {
                    return true;
                }
                let one = value >> (width - 1 - bit) & 1 == 1;
                edge = node.child(usize::from(!one));
            }
            false
        })
    }

    /// The point of a packet; none where it is of the other family.
    pub(crate) fn point(&self, header: &Header) -> Option<Point> {
        let header = header.normal();
        let same = [
            (Relation::SameAddress, header.source == header.destination),
            (Relation::SamePort, header.source_port == header.destination_port),
        ];
        (header.family() == self.family()).then(|| Point::of(self.family(), &header, same))
    }

    /// Whether a function holds at a point.
    pub(crate) fn holds_at(&self, function: &BDDFunction, point: &Point) -> bool {
        function.with_manager_shared(|manager, root| {
            let nothing = self.inner.none.as_edge(manager);
            let mut edge = root;
            while let Node::Inner(node) = manager.get_node(edge) {
                edge = node.child(usize::from(!point.has(node.level())));
            }
            edge != nothing
        })
    }

    /// Whether two functions hold of anything together.
    pub(crate) fn meet(&self, one: &BDDFunction, other: &BDDFunction) -> bool {
        one.with_manager_shared(|manager, edge| {
            let nothing = self.inner.none.as_edge(manager);
            let mut apart = HashSet::new();
            meet(manager, nothing, edge, other.as_edge(manager), &mut apart)
        })
    }

    fn literal(&self, variable: u32, holds: bool) -> BDDFunction {
        let literal = self.inner.literals.get(variable as usize);
        let chosen = literal.map(|(yes, no)| if holds { yes } else { no });
        chosen.cloned().unwrap_or_else(|| self.nothing())
    }

    pub(crate) fn relation(&self, relation: Relation, holds: bool) -> BDDFunction {
        self.literal(relation.variable(), holds)
    }

    /// A function that was made before, or now is.
    fn remembered(&self, key: Known, make: impl FnOnce() -> BDDFunction) -> BDDFunction {
        let known = || self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = known().get(&key) {
            return function.clone();
        }
        let function = make();
        known().insert(key, function.clone());
        function
    }

    pub(crate) fn equals(&self, field: Field, value: u128) -> BDDFunction {
        self.masked(field, value, u128::MAX)
    }

    /// The bits of a field under a mask are those of a value.
    pub(crate) fn masked(&self, field: Field, value: u128, mask: u128) -> BDDFunction {
        let (first, width) = (field.first(self.family()), field.width(self.family()));
        let mut cube = self.anything();
        for bit in 0..width {
            if mask >> bit & 1 == 1 {
                let literal = self.literal(first + width - 1 - bit, value >> bit & 1 == 1);
                cube = self.and(&literal, &cube);
            }
        }
        cube
    }

    /// A field lies in a range, both ends inclusive.
    pub(crate) fn range(&self, field: Field, low: u128, high: u128) -> BDDFunction {
        if low > high {
            return self.nothing();
        }
        self.remembered(Known::Range(field, low, high), || match low == high {
            true => self.equals(field, low),
            false => self.low_range(field, low, high, field.width(self.family())),
        })
    }

    /// The last bits of a field, so many of them, lie in a range, both ends inclusive.
    pub(crate) fn low_range(&self, field: Field, low: u128, high: u128, many: u32) -> BDDFunction {
        let (first, width) = (field.first(self.family()), field.width(self.family()));
        // From the least significant bit up: the rest is at least low, or at most high.
        let (mut above, mut below) = (self.anything(), self.anything());
        for bit in 0..many.min(width) {
            let variable = first + width - 1 - bit;
            let (one, zero) = (self.literal(variable, true), self.literal(variable, false));
            above =
                if low >> bit & 1 == 1 { self.and(&one, &above) } else { self.or(&one, &above) };
            below =
                if high >> bit & 1 == 1 { self.or(&zero, &below) } else { self.and(&zero, &below) };
        }
        self.and(&above, &below)
    }

    /// The variables of some fields, to be forgotten.
    pub(crate) fn fields(&self, fields: &[Field]) -> BDDFunction {
        let bit = |field: &Field| Field::ALL.iter().position(|own| own == field);
        let key = fields.iter().filter_map(bit).fold(0, |all, at| all | 1 << at);
        self.remembered(Known::Fields(key), || {
            self.cube(|variable| fields.iter().any(|field| self.is_of(*field, variable)))
        })
    }

    fn is_of(&self, field: Field, variable: u32) -> bool {
        let first = field.first(self.family());
        (first..first + field.width(self.family())).contains(&variable)
    }

    fn cube(&self, wanted: impl Fn(u32) -> bool) -> BDDFunction {
        let variables =
            (0u32..).zip(&self.inner.literals).filter(|(variable, _)| wanted(*variable));
        let literals: Vec<&BDDFunction> = variables.map(|(_, (literal, _))| literal).collect();
        let each = literals.into_iter().rev();
        each.fold(self.anything(), |cube, literal| self.and(literal, &cube))
    }

    pub(crate) fn ports(&self, field: Field, first: u16, last: u16) -> BDDFunction {
        self.range(field, first.into(), last.into())
    }

    pub(crate) fn addresses(&self, field: Field, first: IpAddr, last: IpAddr) -> BDDFunction {
        let own = |address: IpAddr| Family::of(address) == self.family();
        if own(first) && own(last) {
            self.range(field, bits(first), bits(last))
        } else {
            self.nothing()
        }
    }

    pub(crate) fn prefix(&self, field: Field, prefix: &Prefix) -> BDDFunction {
        if prefix.family() != self.family() {
            return self.nothing();
        }
        let (network, mask) = match prefix {
            Prefix::V4(network, mask) => ((*network).into(), (*mask).into()),
            Prefix::V6(prefix) => **prefix,
        };
        self.remembered(Known::Masked(field, network, mask), || self.masked(field, network, mask))
    }
}

/// Whether two nodes hold of anything together; `apart` are pairs that don't.
fn meet<'a, M: Manager<InnerNode: HasLevel>>(
    manager: &'a M,
    nothing: Ref<'a, M::Edge>,
    one: Ref<'a, M::Edge>,
    other: Ref<'a, M::Edge>,
    apart: &mut HashSet<(M::Edge, M::Edge)>,
) -> bool {
    if one == nothing || other == nothing {
        return false;
    }
    let (Node::Inner(own), Node::Inner(theirs)) = (manager.get_node(one), manager.get_node(other))
    else {
        // One of them is everything, and the other one something.
        return true;
    };
    if one == other {
        return true;
    }
    if apart.contains(&(one.raw(), other.raw())) {
        return false;
    }
    let (level, their_level) = (own.level(), theirs.level());
    let met = (0..2).any(|side| {
        let one = if level <= their_level { own.child(side) } else { one };
        let other = if their_level <= level { theirs.child(side) } else { other };
        meet(manager, nothing, one, other, apart)
    });
    if !met {
        apart.insert((one.raw(), other.raw()));
    }
    met
}
