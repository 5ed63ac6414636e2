//! Which address and port a NAT target picks (net/netfilter/nf_nat_core.c, kernel-facts B).
//!
//! Of other connections those count that the question itself has set off; beside them the host is
//! taken to be idle, where ports are kept if they can be (kernel-facts B8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Prefix;
use crate::hook::Hook;
use crate::host::{Host, InterfaceAddress};
use crate::packet::{Transport, protocol};
use crate::simulate::connection::{Manip, Tuple};
use crate::simulate::drawn::{PortRange, class_of};
use crate::simulate::matching::in_range;
use crate::simulate::selection;
use crate::target::NatOptions;

/// What a NAT target maps an end of a connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) address: IpAddr,
    /// `None`: as it is.
    pub(crate) port: Option<u16>,
    /// The ports that the kernel draws from by chance; `port` is then one of them.
    pub(crate) drawn: Option<PortRange>,
}

/// The ports of a NAT target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PortSpec {
    pub(crate) range: Option<(u16, u16)>,
    pub(crate) base: Option<u16>,
}

/// What a NAT target lets the kernel choose from (`struct nf_nat_range2`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    /// Both ends inclusive; `None` where the address stays.
    pub(crate) addresses: Option<(IpAddr, IpAddr)>,
    pub(crate) ports: PortSpec,
    pub(crate) options: NatOptions,
}

/// Tuples of other connections: no answer may look like them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(pub(crate) Vec<Tuple>);

impl Claims {
    /// Whether the answer to such a packet would be taken for one of another connection
    /// (`nf_nat_used_tuple`).
    pub(crate) fn take(&self, tuple: &Tuple) -> bool {
        !self.0.is_empty() && self.0.contains(&tuple.inverted())
    }

    /// The ports of an end that are taken beside a tuple's addresses and other port.
    pub(crate) fn ports_beside(&self, manip: Manip, tuple: &Tuple) -> Vec<u16> {
        let taken = self.0.iter().map(Tuple::inverted);
        let ports = taken.filter_map(|taken| {
            let port = end_port(manip, &taken)?;
            (tuple.with_port(manip, port) == taken).then_some(port)
        });
        ports.collect()
    }
}

/// Picks address and port (`get_unique_tuple`): `current` is the tuple so far.
pub(crate) fn choose(
    manip: Manip,
    current: &Tuple,
    choice: Choice,
    zone: u16,
    claims: &Claims,
) -> Mapping {
    let Choice { addresses, ports, options } = choice;
    let own = match manip {
        Manip::Source => current.source,
        Manip::Destination => current.destination,
    };
    // A source that is already inside the range stays (`nf_in_range`, kernel-facts B13), unless its
    // answers would be taken for others.
    let stays = |range: (IpAddr, IpAddr)| {
        let port_fits = match (ports.range, current.transport) {
            (Some((first, last)), Transport::Ports { source, .. }) => {
                (first..=last).contains(&source)
            }
            _ => true,
        };
        manip == Manip::Source
            && !options.random
            && port_fits
            && in_range(own, &range)
            && !claims.take(current)
    };
    let address = match addresses {
        None => own,
        Some(range) if stays(range) => own,
        Some(range) => pick(manip, range, current, options, zone),
    };
    let (port, drawn) =
        choose_port(manip, &current.with_address(manip, address), (ports, options), claims);
    Mapping { address, port, drawn }
}

/// The port of an end that may be given another one.
fn end_port(manip: Manip, tuple: &Tuple) -> Option<u16> {
    let has_ports = matches!(
        tuple.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    );
    match tuple.transport {
        Transport::Ports { source, destination } if has_ports => Some(match manip {
            Manip::Source => source,
            Manip::Destination => destination,
        }),
        Transport::Ports { .. } | Transport::Icmp { .. } | Transport::Opaque => None,
    }
}

/// Picks a port to go with the address (`nf_nat_l4proto_unique_tuple`, kernel-facts B8, B11, B12,
/// B19). Where none is free, the one that was tried last stays, and the packet is dropped when its
/// connection is to be confirmed (kernel-facts K19).
fn choose_port(
    manip: Manip,
    tuple: &Tuple,
    (ports, options): (PortSpec, NatOptions),
    claims: &Claims,
) -> (Option<u16>, Option<PortRange>) {
    if let Transport::Icmp { .. } = tuple.transport {
        // The identifier of a query is drawn (measured by ctstate).
        let drawn = options.random || claims.take(tuple);
        return (None, drawn.then_some((0, u16::MAX)));
    }
    let Some(own) = end_port(manip, tuple) else { return (None, None) };
    let used = |port: u16| claims.take(&tuple.with_port(manip, port));
    let Some((first, last)) = ports.range else {
        if manip == Manip::Destination || !(options.random || used(own)) {
            return (None, None);
        }
        let (low, high) = class_of(own);
        let mut others = (own.saturating_add(1)..=high).chain(low..=high);
        let free = if used(own) { others.find(|port| !used(*port)) } else { Some(own) };
        return (free, Some((low, high)));
    };
    let inside = (first..=last).contains(&own);
    if !options.random && ports.base.is_none() && inside && (first == last || !used(own)) {
        return (Some(own), None);
    }
    // Where the search begins: at the lowest for a destination, anywhere for a source.
    let size = u32::from(last.saturating_sub(first)) + 1;
    let offset = match ports.base {
        Some(base) => u32::from(own.wrapping_sub(base)) % size,
        None if options.random || manip == Manip::Source => {
            let low = (first..last).find(|port| !used(*port)).unwrap_or(last);
            let high = (low..=last).rev().find(|port| !used(*port)).unwrap_or(low);
            return (Some(low), (low < high).then_some((low, high)));
        }
        None => 0,
    };
    let tried = (0..size).map(|step| u32::from(first) + (offset + step) % size);
    let mut tried = tried.filter_map(|port| u16::try_from(port).ok()).peekable();
    let exhausted = (offset + size - 1) % size;
    let free = tried.find(|port| !used(*port));
    let last_tried = u16::try_from(u32::from(first) + exhausted).ok();
    (free.or(last_tried), None)
}

/// Picks an address of a range by the kernel's unseeded hash (`find_best_ips_proto`,
/// kernel-facts B13).
fn pick(
    manip: Manip,
    range: (IpAddr, IpAddr),
    current: &Tuple,
    options: NatOptions,
    zone: u16,
) -> IpAddr {
    let hash = jhash2(words(current.source), initial(current, options, zone));
    match range {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            let count = last.wrapping_sub(first).wrapping_add(1);
            IpAddr::V4(Ipv4Addr::from_bits(first.wrapping_add(scale(hash, count))))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            IpAddr::V6(pick6(manip, (hash, options), first, last, current))
        }
        (first, _) => first,
    }
}

/// What the hash starts with: the last word of the destination and the zone, or nothing where
/// every destination shall get the same address (`--persistent`).
fn initial(current: &Tuple, options: NatOptions, zone: u16) -> u32 {
    if options.persistent {
        return 0;
    }
    let [first, .., last] = words(current.destination);
    let word = if current.destination.is_ipv4() { first } else { last };
    word ^ u32::from(zone)
}

/// The address's four words as the kernel reads them: network byte order in memory, read as
/// little-endian numbers; IPv4 stands in the first.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [u32::from_le_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            let mut result = [0; 4];
            for (word, chunk) in result.iter_mut().zip(words) {
                *word = u32::from_le_bytes(*chunk);
            }
            result
        }
    }
}

/// `hash * count >> 32`: a number below `count` (`reciprocal_scale`).
fn scale(hash: u32, count: u32) -> u32 {
    let product = u64::from(hash) * u64::from(count);
    u32::try_from(product >> 32).unwrap_or(u32::MAX)
}

/// The IPv6 half of `find_best_ips_proto`: word by word; once a word is below the last address's,
/// the following ones are free. The words of the destination stir the hash; where it is the
/// destination that is picked, they are overwritten by then, and the new ones do (measured).
fn pick6(
    manip: Manip,
    (mut hash, options): (u32, NatOptions),
    first: Ipv6Addr,
    last: Ipv6Addr,
    current: &Tuple,
) -> Ipv6Addr {
    let word = |address: Ipv6Addr, at: u32| {
        u32::try_from(address.to_bits() >> (96 - 32 * at) & 0xffff_ffff).unwrap_or(0)
    };
    let mut bits: u128 = 0;
    let mut free = false;
    for (at, destination) in (0..4).zip(words(current.destination)) {
        let (low, high) = (word(first, at), word(last, at));
        let chosen = if free {
            scale(hash, u32::MAX)
        } else {
            low.wrapping_add(scale(hash, high.wrapping_sub(low).wrapping_add(1)))
        };
        free |= chosen != high;
        if !options.persistent {
            hash ^= match manip {
                Manip::Source => destination,
                Manip::Destination => chosen.swap_bytes(),
            };
        }
        bits = bits << 32 | u128::from(chosen);
    }
    Ipv6Addr::from_bits(bits)
}

/// Jenkins' hash of four words (`jhash2` of linux/jhash.h).
fn jhash2(words: [u32; 4], initial: u32) -> u32 {
    let [first, second, third, fourth] = words;
    let start = 0xdead_beef_u32.wrapping_add(4 << 2).wrapping_add(initial);
    let (mut a, mut b, mut c) =
        (start.wrapping_add(first), start.wrapping_add(second), start.wrapping_add(third));
    // __jhash_mix
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    a = a.wrapping_add(fourth);
    // __jhash_final
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// What MASQUERADE rewrites a source to: `inet_select_addr` towards the next hop for IPv4
/// (kernel-facts B1 to B5), source selection for the destination for IPv6 (kernel-facts J3).
pub(crate) fn masquerade_address(
    host: &Host,
    out_interface: &str,
    gateway: Option<IpAddr>,
    destination: IpAddr,
) -> Option<IpAddr> {
    match destination {
        // A gateway of the other family (`via inet6`) leaves the destination as next hop.
        IpAddr::V4(_) => {
            let next_hop = gateway.filter(IpAddr::is_ipv4).unwrap_or(destination);
            selection::select_source4(host, out_interface, next_hop)
        }
        IpAddr::V6(_) => selection::select_source6(host, out_interface, destination),
    }
}

/// What REDIRECT rewrites a destination to: loopback for local packets (kernel-facts B17), else
/// the first primary address of the interface by which the packet came (kernel-facts B16).
pub(crate) fn redirect_address(
    host: &Host,
    hook: Hook,
    in_interface: &str,
    destination: IpAddr,
) -> Option<IpAddr> {
    if hook == Hook::Output {
        return Some(match destination {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    // Of IPv6 the address must be of the scope that was asked for, if that is no global one
    // (`nf_nat_redirect_ipv6`).
    let fits = |address: &&InterfaceAddress| match (address.local, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => !address.secondary,
        (IpAddr::V6(own), IpAddr::V6(asked)) => {
            let [first, ..] = asked.segments();
            match (asked.is_multicast(), first & 0xf) {
                (true, 1 | 5) => false,
                (true, 2) => own.is_unicast_link_local(),
                (true, _) => true,
                (false, _) => {
                    let site_local = |address: Ipv6Addr| {
                        address.segments().first().is_some_and(|first| first & 0xffc0 == 0xfec0)
                    };
                    (!asked.is_unicast_link_local() || own.is_unicast_link_local())
                        && (!asked.is_loopback() || own.is_loopback())
                        && (!site_local(asked) || site_local(own))
                }
            }
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    host.interface(in_interface)?.addresses.iter().find(fits).map(|address| address.local)
}

/// Exchanges the network part of an address (NETMAP, kernel-facts B15).
pub(crate) fn netmap(address: IpAddr, to: &Prefix) -> IpAddr {
    match (address, to) {
        (IpAddr::V4(address), Prefix::V4(network, mask)) => {
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !mask | network))
        }
        (IpAddr::V6(address), Prefix::V6(prefix)) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !prefix.1 | prefix.0))
        }
        (address, _) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: protocol::TCP,
            transport: Transport::Ports { source: ports.0, destination: ports.1 },
        }
    }

    // kernel-facts B19
    #[test]
    fn a_destination_port_is_kept_in_its_range_and_else_the_lowest() {
        let port = |dport, first, last, base| {
            let current = tuple("10.0.1.2", "203.0.113.2", (40000, dport));
            let ports = PortSpec { range: Some((first, last)), base };
            let choice = Choice { ports, ..Choice::default() };
            choose(Manip::Destination, &current, choice, 0, &Claims::default()).port
        };
        assert_eq!(port(203, 200, 205, None), Some(203));
        assert_eq!(port(100, 200, 205, None), Some(200));
        assert_eq!(port(8083, 80, 90, Some(8080)), Some(83));
        assert_eq!(port(8090, 80, 90, Some(8080)), Some(90));
    }

    // kernel-facts B11, B12
    #[test]
    fn a_source_port_is_kept_where_it_can_be() {
        let port = |sport, range, random| {
            let current = tuple("10.0.1.2", "203.0.113.2", (sport, 80));
            let options = NatOptions { random, persistent: false };
            let choice = Choice { addresses: None, ports: PortSpec { range, base: None }, options };
            let mapping = choose(Manip::Source, &current, choice, 0, &Claims::default());
            (mapping.port, mapping.drawn.is_some())
        };
        assert_eq!(port(1000, None, false), (None, false));
        assert_eq!(port(5001, Some((5000, 5002)), false), (Some(5001), false));
        assert!(port(1000, Some((5000, 5002)), false).1);
        assert!(port(1000, None, true).1);
        assert_eq!(port(1000, Some((7000, 7000)), false), (Some(7000), false));
    }

    // kernel-facts B11, B19, K19
    #[test]
    fn a_port_that_another_connection_has_is_not_picked_where_there_is_another() {
        let port = |manip, own: u16, range, taken: &[u16]| {
            let ends = match manip {
                Manip::Source => (own, 80),
                Manip::Destination => (40000, own),
            };
            let current = tuple("10.0.1.2", "203.0.113.2", ends);
            let claimed = taken.iter().map(|port| current.with_port(manip, *port).inverted());
            let claims = Claims(claimed.collect());
            let ports = PortSpec { range, base: None };
            let choice = Choice { ports, ..Choice::default() };
            let mapping = choose(manip, &current, choice, 0, &claims);
            (mapping.port, mapping.drawn)
        };
        let (source, destination) = (Manip::Source, Manip::Destination);
        assert_eq!(port(source, 1000, None, &[]), (None, None));
        assert_eq!(port(source, 1000, None, &[1000]), (Some(1001), Some((600, 1023))));
        assert_eq!(port(source, 1000, Some((2000, 2000)), &[2000]), (Some(2000), None));
        assert_eq!(port(source, 1000, Some((2000, 2001)), &[2000]), (Some(2001), None));
        let three = Some((5000, 5002));
        assert_eq!(port(source, 5001, three, &[5001]), (Some(5000), three));
        assert_eq!(port(source, 1000, three, &[5000]), (Some(5001), Some((5001, 5002))));
        assert_eq!(port(source, 1000, three, &[5002]), (Some(5000), Some((5000, 5001))));
        assert_eq!(port(source, 1000, three, &[5000, 5001, 5002]), (Some(5002), None));
        assert_eq!(port(destination, 80, three, &[5000]), (Some(5001), None));
        assert_eq!(port(destination, 5001, three, &[5001]), (Some(5000), None));
        assert_eq!(port(destination, 80, None, &[80]), (None, None));
    }

    // kernel-facts B13; expected values from the measured reference, kernel-lab/B2b_hash.py.
    #[test]
    fn an_address_of_a_range_is_chosen_by_the_kernels_hash() {
        let address = |source: &str, destination: &str, range: (&str, &str), persistent| {
            let range = (range.0.parse().unwrap(), range.1.parse().unwrap());
            let options = NatOptions { random: false, persistent };
            let current = tuple(source, destination, (40000, 80));
            let choice = Choice { addresses: Some(range), ports: PortSpec::default(), options };
            let picked = choose(Manip::Source, &current, choice, 0, &Claims::default());
            picked.address.to_string()
        };
        assert_eq!(
            address("10.0.1.2", "8.8.8.8", ("203.0.113.10", "203.0.113.17"), false),
            "203.0.113.14"
        );
        assert_eq!(
            address("10.0.1.3", "8.8.8.8", ("203.0.113.10", "203.0.113.17"), false),
            "203.0.113.16"
        );
        assert_eq!(
            address("10.0.1.3", "1.1.1.1", ("203.0.113.10", "203.0.113.17"), false),
            "203.0.113.15"
        );
        assert_eq!(
            address("10.0.1.3", "1.1.1.1", ("198.18.0.0", "198.19.255.255"), false),
            "198.19.102.87"
        );
        assert_eq!(
            address("10.0.1.3", "1.1.1.1", ("203.0.113.10", "203.0.113.17"), true),
            "203.0.113.15"
        );
        assert_eq!(
            address("10.0.1.77", "1.1.1.1", ("203.0.113.10", "203.0.113.17"), true),
            "203.0.113.10"
        );
        assert_eq!(
            address("fd00:1::2", "2001:db8:9::9", ("2001:db8:1::10", "2001:db8:1::1f"), false),
            "2001:db8:1::16"
        );
        assert_eq!(
            address("fd00:1::77", "2001:db8:9::8", ("2001:db8:1::", "2001:db8:2::ffff"), false),
            "2001:db8:1:58d3:58d3:5a1d:58d3:5a1d"
        );
        assert_eq!(
            address("fd00:1::77", "2001:db8:9::8", ("2001:db8:1::", "2001:db8:2::ffff"), true),
            "2001:db8:1:b352:b352:5b4:b352:5b4"
        );
        // A source inside the range stays.
        assert_eq!(address("10.0.1.11", "9.9.9.9", ("10.0.1.10", "10.0.1.12"), false), "10.0.1.11");
    }

    // Measured beside kernel-facts B13: an IPv6 destination stirs its own hash.
    #[test]
    fn an_ipv6_destination_of_a_range_is_chosen_by_its_own_words() {
        let range = ("2001:4860::1".parse().unwrap(), "2001:4860::ff".parse().unwrap());
        for (source, destination, expected, kept) in [
            ("fd01::3", "2001:db8:2::2", "2001:4860::d6", "2001:4860::70"),
            ("fd01::4", "2001:db8:9::9", "2001:4860::6d", "2001:4860::59"),
        ] {
            let current = tuple(source, destination, (5001, 80));
            let choice = |persistent| {
                let options = NatOptions { random: false, persistent };
                let ports = PortSpec::default();
                let choice = Choice { addresses: Some(range), ports, options };
                let picked = choose(Manip::Destination, &current, choice, 0, &Claims::default());
                picked.address.to_string()
            };
            assert_eq!(choice(false), expected, "{source} > {destination}");
            assert_eq!(choice(true), kept, "{source} > {destination} --persistent");
        }
    }

    // kernel-facts B15
    #[test]
    fn netmap_keeps_the_host_bits_of_its_own_mask() {
        let to = |text: &str, length| Prefix::new(text.parse().unwrap(), length);
        let address: IpAddr = "198.51.100.20".parse().unwrap();
        assert_eq!(netmap(address, &to("10.0.1.0", 24)).to_string(), "10.0.1.20");
        assert_eq!(netmap(address, &to("10.0.1.5", 32)).to_string(), "10.0.1.5");
    }
}
