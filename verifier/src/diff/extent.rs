//! Which values a field takes in a set of packets.

use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;
use oxidd::util::AllocResult;
use oxidd::{BooleanFunction, BooleanFunctionQuant};

use crate::packets::PacketSet;
use crate::policy::AddressSet;
use crate::space::{Field, Relation, Space};

/// How many ranges of a field are told apart.
const MOST_RANGES: usize = 64;

/// The protocols that are named; others are told together.
const NAMED: [u8; 4] = [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::SCTP];

/// The values that a field takes, as ranges with both ends inclusive; `None` where there are too
/// many of them.
fn values(set: &PacketSet, field: Field) -> Option<Vec<(u128, u128)>> {
    let space = set.space();
    let own = without_others(space, set.function(), field)?;
    let mut ranges = Vec::new();
    let search = Search { space, field, width: field.width(space.family()) };
    search.descend(&own, 0, 0, &mut ranges)?;
    Some(ranges)
}

/// A function of the field alone: of the values that it takes whatever the others are.
fn without_others(space: &Space, function: &BDDFunction, field: Field) -> Option<BDDFunction> {
    let others = Field::ALL.into_iter().filter(|other| *other != field);
    let mut bits = space.anything();
    for other in others {
        bits = space.and(&space.equals(other, u128::MAX), &bits);
    }
    for relation in [Relation::SameAddress, Relation::SamePort] {
        bits = space.and(&space.relation(relation, true), &bits);
    }
    let own: AllocResult<BDDFunction> = function.exists(&bits);
    own.ok()
}

struct Search<'s> {
    space: &'s Space,
    field: Field,
    width: u32,
}

impl Search<'_> {
    /// Adds the values whose first bits are those of a prefix of this length.
    fn descend(
        &self,
        own: &BDDFunction,
        prefix: u128,
        length: u32,
        ranges: &mut Vec<(u128, u128)>,
    ) -> Option<()> {
        let free = self.width - length;
        let hosts = 1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
        let block = self.space.masked(self.field, prefix, !hosts);
        let here = self.space.and(own, &block);
        if !here.satisfiable() {
            return Some(());
        }
        if here == block {
            let many = ranges.len();
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(prefix) => *last = prefix | hosts,
                _ if many == MOST_RANGES => return None,
                _ => ranges.push((prefix, prefix | hosts)),
            }
            return Some(());
        }
        self.descend(&here, prefix, length + 1, ranges)?;
        self.descend(&here, prefix | 1 << (free - 1), length + 1, ranges)
    }
}

/// The sources or destinations of a set; `None` where they are too many ranges.
pub(super) fn addresses(set: &PacketSet, field: Field) -> Option<AddressSet> {
    let ranges = values(set, field)?;
    Some(AddressSet::of_ranges(set.space().family(), ranges))
}

/// Which packets are meant of those to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Services {
    /// All of them.
    All,
    /// Those of these protocols, with these ports where they are not all; protocol `None` is any
    /// that has no name here.
    Some(Vec<(Option<u8>, Ports)>),
}

/// Destination ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// All of them, or the protocol has none.
    All,
    /// These, both ends inclusive.
    These(Vec<(u16, u16)>),
    /// Some that are too many ranges to be told.
    Many,
}

/// Which packets a set means, by protocol and destination port.
pub(super) fn services(set: &PacketSet) -> Services {
    let space = set.space();
    let mut found = Vec::new();
    let mut rest = set.clone();
    for number in NAMED {
        let number = match (number, space.family()) {
            (protocol::ICMP, Family::Ipv6) => protocol::ICMPV6,
            _ => number,
        };
        let own = set.intersection(&space.protocol(number));
        rest = rest.difference(&space.protocol(number));
        if own.function().satisfiable() {
            found.push((Some(number), ports(&own, number)));
        }
    }
    let others = rest.function().satisfiable();
    if others {
        found.push((None, Ports::All));
    }
    // Of others there may be none, where just what people send is looked at.
    let usual = [protocol::TCP, protocol::UDP];
    let has = |number: &u8| found.iter().any(|(own, _)| *own == Some(*number));
    let echo = has(&protocol::ICMP) || has(&protocol::ICMPV6);
    let whole =
        usual.iter().all(has) && echo && found.iter().all(|(_, ports)| *ports == Ports::All);
    if whole { Services::All } else { Services::Some(found) }
}

fn ports(own: &PacketSet, number: u8) -> Ports {
    if !crate::header::has_ports(number) {
        return Ports::All;
    }
    let Some(ranges) = values(own, Field::DestinationPort) else { return Ports::Many };
    // Port 0 is nobody's.
    if [[(0, u16::MAX.into())], [(1, u16::MAX.into())]].iter().any(|all| ranges == all) {
        return Ports::All;
    }
    let port = |value: u128| u16::try_from(value).unwrap_or(u16::MAX);
    Ports::These(ranges.into_iter().map(|(first, last)| (port(first), port(last))).collect())
}

impl Services {
    /// As they stand behind the name of a place: `:443`, `:53/udp`, `/icmp`, ` (22, 53/udp)`;
    /// nothing for all.
    pub(super) fn words(&self) -> String {
        let all = match self {
            Self::All => return String::new(),
            Self::Some(all) => all,
        };
        let each: Vec<String> = all.iter().map(|(number, ports)| one(*number, ports)).collect();
        match (all.as_slice(), each.as_slice()) {
            ([(_, Ports::All)], [only]) => format!("/{only}"),
            ([(_, Ports::These(ports))], [only]) if ports.len() == 1 => format!(":{only}"),
            _ => format!(" ({})", each.join(", ")),
        }
    }
}

/// What a protocol is called.
pub(super) fn protocol_name(number: Option<u8>) -> &'static str {
    match number {
        Some(protocol::TCP) => "tcp",
        Some(protocol::UDP) => "udp",
        Some(protocol::ICMP | protocol::ICMPV6) => "icmp",
        Some(protocol::SCTP) => "sctp",
        _ => "others",
    }
}

fn one(number: Option<u8>, ports: &Ports) -> String {
    let name = protocol_name(number);
    // As in the endpoints of `why`, a port is one of TCP where nothing else is said.
    let behind = if name == "tcp" { String::new() } else { format!("/{name}") };
    match ports {
        Ports::All => name.to_owned(),
        Ports::Many => format!("some ports/{name}"),
        Ports::These(ranges) => {
            let range = |(first, last): &(u16, u16)| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            };
            let shown: Vec<String> = ranges.iter().take(4).map(range).collect();
            let more = if ranges.len() > 4 { ",…" } else { "" };
            format!("{}{more}{behind}", shown.join(","))
        }
    }
}
