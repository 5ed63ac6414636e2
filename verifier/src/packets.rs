//! Sets of packets.

use std::fmt;
use std::net::IpAddr;

use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;
use oxidd::util::OptBool;
use oxidd::{BooleanFunction, Function};

use crate::header::{Header, address, bits, has_ports, is_icmp};
use crate::space::{Field, Relation, Space};

/// How many points of a set are looked at before it is taken to hold none that can be.
const MOST_TRIES: usize = 64;

/// A set of packets, by their headers.
#[derive(Clone)]
pub struct PacketSet {
    space: Space,
    function: BDDFunction,
}

impl fmt::Debug for PacketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketSet").field("sample", &self.sample(&[])).finish_non_exhaustive()
    }
}

impl PartialEq for PacketSet {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for PacketSet {}

impl PacketSet {
    pub(crate) fn new(space: Space, function: BDDFunction) -> Self {
        Self { space, function }
    }

    /// The space that the set lives in.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn function(&self) -> &BDDFunction {
        &self.function
    }

    /// The packets of both sets together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.space.set(self.space.or(&self.function, &other.function))
    }

    /// The packets that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.space.set(self.space.and(&self.function, &other.function))
    }

    /// The packets of this set that are not in the other one.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.space.set(self.space.minus(&self.function, &other.function))
    }

    /// The packets that are not in this set.
    #[must_use]
    pub fn complement(&self) -> Self {
        self.space.all().difference(self)
    }

    /// Whether the set may hold a packet: it does, unless what it says of its addresses and ports
    /// contradicts itself.
    pub(crate) fn function_is_possible(&self) -> bool {
        self.function.satisfiable()
    }

    /// Whether no packet is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.function.satisfiable() || self.sample(&[]).is_none()
    }

    /// Whether nothing at all is in the set, not even a packet that can't be: quicker to tell.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.function.satisfiable()
    }

    /// Whether every packet of this set is in the other one.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// Whether a packet is in the set.
    #[must_use]
    pub fn contains(&self, header: &Header) -> bool {
        self.space.point(header).is_some_and(|point| self.space.holds_at(&self.function, &point))
    }

    /// The number of nodes that the set takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.function.node_count()
    }

    /// A packet of the set; of each of the preferred sets, too, in whose turn there still is one.
    #[must_use]
    pub fn sample(&self, preferred: &[Self]) -> Option<Header> {
        if preferred.is_empty()
            && let Some(header) = self.certain(&self.function)
        {
            return Some(header.normal());
        }
        let different = self.space.relation(Relation::SameAddress, false);
        let usual = self.space.and(&self.function, &different);
        let kept = self.narrow(&usual, self.space.anything(), preferred);
        self.point(self.space.and(&usual, &kept))
            .or_else(|| self.point(usual))
            .or_else(|| self.same_address())
            .map(Header::normal)
    }

    /// A packet of two sets, as a sample of their intersection: where much is preferred, that is
    /// never built.
    pub(crate) fn sample_with(&self, other: &Self, preferred: &[Self]) -> Option<Header> {
        let different = self.space.relation(Relation::SameAddress, false);
        let usual = self.space.and(&other.function, &different);
        if !self.space.meet(&self.function, &usual) {
            return self.intersection(other).sample(preferred);
        }
        let kept = self.narrow(&self.function, usual, preferred);
        let narrowed = self.space.set(self.space.and(&self.function, &kept));
        narrowed
            .point(narrowed.function.clone())
            .map(Header::normal)
            .or_else(|| self.intersection(other).sample(preferred))
    }

    /// A packet of the set. What was found not to be a packet at all, because it says of its
    /// addresses what is not so, is left out from then on.
    pub(crate) fn next(&mut self) -> Option<Header> {
        for _ in 0..MOST_TRIES {
            let (header, same_address, _) = self.pick(&self.function)?;
            if self.contains(&header) {
                return Some(told_apart(header, |other| self.contains(other)).normal());
            }
            if same_address != Some(false) || header.source != header.destination {
                break;
            }
            let different = self.space.relation(Relation::SameAddress, false);
            let impossible = self.space.and(&different, &self.both_addresses(header.source));
            self.function = self.space.minus(&self.function, &impossible);
        }
        self.sample(&[])
    }

    /// A packet of the set that a person would take as an example: plain addresses and ports.
    #[must_use]
    pub fn example(&self) -> Option<Header> {
        self.sample(&plain(&self.space))
    }

    /// What is preferred of a function together with what is kept of it: as much as it allows.
    fn narrow(
        &self,
        within: &BDDFunction,
        mut kept: BDDFunction,
        preferred: &[Self],
    ) -> BDDFunction {
        // What is preferred is little; of the set no part is built before all of that is known.
        for preference in preferred {
            let both = self.space.and(&kept, &preference.function);
            if self.space.meet(within, &both) {
                kept = both;
            }
        }
        kept
    }

    /// A point of the function that can be: of whose addresses and ports is so what it says.
    fn point(&self, mut within: BDDFunction) -> Option<Header> {
        let space = &self.space;
        for _ in 0..MOST_TRIES {
            let (header, same_address, same_port) = self.pick(&within)?;
            let (from, to) = (header.source_port, header.destination_port);
            let wrong = |said: Option<bool>, is: bool| said.filter(|said| *said != is);
            let impossible = if let Some(said) =
                wrong(same_address, header.source == header.destination)
            {
                let relation = space.relation(Relation::SameAddress, said);
                let source = space.equals(Field::Source, bits(header.source));
                let to = space.equals(Field::Destination, bits(header.destination));
                space.and(&relation, &space.and(&source, &to))
            } else if let Some(said) = wrong(same_port, from == to) {
                if said {
                    let both = |port| space.and(&within, &self.both_ports(port));
                    let same = [from, to].into_iter().find_map(|port| self.certain(&both(port)));
                    if same.is_some() {
                        return same;
                    }
                }
                let relation = space.relation(Relation::SamePort, said);
                let ports = space.and(
                    &space.equals(Field::SourcePort, from.into()),
                    &space.equals(Field::DestinationPort, to.into()),
                );
                space.and(&relation, &ports)
            } else {
                return Some(header);
            };
            within = space.minus(&within, &impossible);
        }
        None
    }

    /// The first point of the function, if it can be.
    fn certain(&self, within: &BDDFunction) -> Option<Header> {
        self.pick(within).map(|(header, ..)| header).filter(|header| self.contains(header))
    }

    fn both_addresses(&self, own: IpAddr) -> BDDFunction {
        let source = self.space.equals(Field::Source, bits(own));
        self.space.and(&source, &self.space.equals(Field::Destination, bits(own)))
    }

    fn both_ports(&self, port: u16) -> BDDFunction {
        let source = self.space.equals(Field::SourcePort, port.into());
        self.space.and(&source, &self.space.equals(Field::DestinationPort, port.into()))
    }

    /// A point whose addresses are the same.
    fn same_address(&self) -> Option<Header> {
        let space = &self.space;
        let mut within = space.and(&self.function, &space.relation(Relation::SameAddress, true));
        for _ in 0..MOST_TRIES {
            let (candidate, ..) = self.pick(&within)?;
            for own in [candidate.source, candidate.destination] {
                let both = self.both_addresses(own);
                if let Some(header) = self.point(space.and(&within, &both)) {
                    return Some(header);
                }
                within = space.minus(&within, &both);
            }
        }
        None
    }

    /// A point of the function, where bits are free those of a plain packet; with what the
    /// function says of its addresses and ports, whether or not that can be.
    fn pick(&self, within: &BDDFunction) -> Option<(Header, Option<bool>, Option<bool>)> {
        let cube = within.pick_cube(|_, _, _| false)?;
        Some(point_of(self.space.family(), |variable| match cube.get(variable as usize) {
            Some(OptBool::True) => Some(true),
            Some(OptBool::False) => Some(false),
            _ => None,
        }))
    }
}

/// The packet with ports that differ, where a set has such a one: of what rules say of one of them
/// is then known which of them they mean.
pub(crate) fn told_apart(header: Header, contains: impl Fn(&Header) -> bool) -> Header {
    if !has_ports(header.protocol) || header.source_port != header.destination_port {
        return header;
    }
    let from = |source_port| Header { source_port, ..header };
    let to = |destination_port| Header { destination_port, ..header };
    let others = [40_000, 40_001, 1024, 80, 1, u16::MAX].into_iter();
    let mut others =
        others.flat_map(|port| [from(port), to(port)]).filter(|other| *other != header);
    others.find(|other| contains(other)).unwrap_or(header)
}

/// A point of two functions, of which the first is about sources and what stands before them, and
/// the other about everything else.
pub(crate) fn point_of_both(
    space: &Space,
    sources: &BDDFunction,
    others: &BDDFunction,
) -> Option<Header> {
    let family = space.family();
    let cubes = [sources, others].map(|function| function.pick_cube(|_, _, _| false));
    let [Some(sources), Some(others)] = cubes else { return None };
    let behind = Field::Source.first(family) + Field::Source.width(family);
    let (header, ..) = point_of(family, |variable| {
        let cube = if variable < behind { &sources } else { &others };
        match cube.get(variable as usize) {
            Some(OptBool::True) => Some(true),
            Some(OptBool::False) => Some(false),
            _ => None,
        }
    });
    Some(header)
}

/// The point whose variables are these, and where bits are free those of a plain packet; with what
/// is said of its addresses and ports.
pub(crate) fn point_of(
    family: Family,
    said: impl Fn(u32) -> Option<bool>,
) -> (Header, Option<bool>, Option<bool>) {
    let value = |field: Field, free: u128| {
        let (first, width) = (field.first(family), field.width(family));
        (0..width).fold(0u128, |value, bit| {
            let one = said(first + bit).unwrap_or(free >> (width - 1 - bit) & 1 == 1);
            value << 1 | u128::from(one)
        })
    };
    let small = |value: u128| u8::try_from(value).unwrap_or(0);
    let port = |value: u128| u16::try_from(value).unwrap_or(0);
    let protocol = small(value(Field::Protocol, protocol::TCP.into()));
    // Free bits must not make both addresses the same.
    let source = value(Field::Source, 0);
    let mut destination = value(Field::Destination, 1);
    if destination == source {
        destination = value(Field::Destination, 0);
    }
    let (mut source_port, mut destination_port) = (0, 0);
    if has_ports(protocol) {
        source_port = port(value(Field::SourcePort, 40000));
        destination_port = port(value(Field::DestinationPort, 80));
    }
    let icmp = if is_icmp(protocol) {
        (small(value(Field::IcmpType, 8)), small(value(Field::IcmpCode, 0)))
    } else {
        (0, 0)
    };
    let header = Header {
        source: address(family, source),
        destination: address(family, destination),
        protocol,
        source_port,
        destination_port,
        icmp,
        tcp_flags: small(value(Field::TcpFlags, tcp_flag::SYN.into())),
    };
    let says = |relation: Relation| said(relation.variable());
    (header, says(Relation::SameAddress), says(Relation::SamePort))
}

/// What makes a packet plain, the most telling first.
#[must_use]
pub fn plain(space: &Space) -> Vec<PacketSet> {
    use nattrace_model::address::Prefix;
    let prefix = |text: &str, length| text.parse().ok().map(|a| Prefix::new(a, length));
    let nets: [&[(&str, u8)]; 2] = match space.family() {
        Family::Ipv4 => [
            &[("198.51.100.7", 32), ("203.0.113.7", 32), ("8.8.8.8", 32), ("8.0.0.0", 8)],
            &[("8.8.8.8", 32), ("1.1.1.1", 32), ("203.0.113.9", 32), ("8.0.0.0", 8)],
        ],
        Family::Ipv6 => [
            &[("2001:db8:ffff::7", 128), ("2001:4860:4860::8888", 128), ("2000::", 3)],
            &[("2001:4860:4860::8888", 128), ("2606:4700:4700::1111", 128), ("2000::", 3)],
        ],
    };
    let [sources, destinations] = nets;
    let mut all = vec![space.protocol(protocol::TCP), space.protocol(protocol::UDP)];
    all.push(space.first_packets());
    for port in [80, 443, 22, 53, 8080, 5432] {
        all.push(space.destination_ports(port, port));
    }
    all.push(space.source_ports(40000, 40000));
    all.push(space.source_ports(1024, u16::MAX));
    all.extend(sources.iter().filter_map(|(a, l)| Some(space.source(&prefix(a, *l)?))));
    all.extend(destinations.iter().filter_map(|(a, l)| Some(space.destination(&prefix(a, *l)?))));
    all
}

#[cfg(test)]
mod tests {
    use nattrace_model::address::Prefix;

    use super::*;

    fn net(text: &str, length: u8) -> Prefix {
        Prefix::new(text.parse().unwrap(), length)
    }

    #[test]
    fn sets_hold_what_they_are_made_of() {
        let space = Space::new(Family::Ipv4);
        let web = space.source(&net("10.0.0.0", 8)).intersection(&space.destination_ports(80, 90));
        let packet = |source: &str, port| Header {
            source: source.parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            protocol: protocol::TCP,
            source_port: 40000,
            destination_port: port,
            icmp: (0, 0),
            tcp_flags: tcp_flag::SYN,
        };
        for (source, port, inside) in [
            ("10.1.2.3", 80, true),
            ("10.1.2.3", 90, true),
            ("10.1.2.3", 91, false),
            ("11.0.0.1", 80, false),
        ] {
            assert_eq!(web.contains(&packet(source, port)), inside, "{source} {port}");
            assert_eq!(
                web.complement().contains(&packet(source, port)),
                !inside,
                "{source} {port}"
            );
        }
        assert!(web.intersection(&space.protocol(protocol::ICMP)).is_empty());
        assert!(web.is_subset(&space.source(&net("10.0.0.0", 7))));
        assert!(!space.all().is_subset(&web));
        assert!(space.source(&net("fd00::", 8)).is_empty());
    }

    #[test]
    fn an_example_is_plain_where_it_can_be() {
        let space = Space::new(Family::Ipv4);
        let any = space.all().example().unwrap();
        assert_eq!((any.protocol, any.destination_port, any.source_port), (6, 80, 40000));
        assert_eq!(any.tcp_flags, tcp_flag::SYN);
        let odd = space.destination_ports(4711, 4712).intersection(&space.protocol(protocol::UDP));
        assert_eq!(odd.example().unwrap().destination_port, 4711);
    }

    // What bits can't say in little space stands in variables of its own: no sample contradicts
    // itself.
    #[test]
    fn a_packet_to_its_own_address_is_found_and_left_out() {
        let space = Space::new(Family::Ipv4);
        let pair = space
            .source(&net("192.0.2.7", 32))
            .intersection(&space.destination(&net("192.0.2.6", 31)));
        let same = space.set(space.relation(Relation::SameAddress, true)).intersection(&pair);
        let found = same.sample(&[]).unwrap();
        assert_eq!(found.source, found.destination);
        let other = pair.difference(&same).sample(&[]).unwrap();
        assert_ne!(other.source, other.destination);
        let never = same.intersection(&space.destination(&net("192.0.2.6", 32)));
        assert!(never.is_empty());
        let ports = space.source_ports(7, 7).intersection(&space.destination_ports(7, 8));
        let same = space.set(space.relation(Relation::SamePort, true)).intersection(&ports);
        assert_eq!(same.sample(&[]).unwrap().destination_port, 7);
    }
}
