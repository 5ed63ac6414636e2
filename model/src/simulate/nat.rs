//! Which address and port a NAT target picks (net/netfilter/nf_nat_core.c, kernel-facts B).
//!
//! The traced packet is taken to be alone: no other connection holds the tuple that it would get,
//! so ports are kept where the kernel would keep them on an idle host (kernel-facts B8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::Prefix;
use crate::hook::Hook;
use crate::host::{Host, InterfaceAddress};
use crate::packet::{Transport, protocol};
use crate::simulate::connection::{Manip, Tuple};
use crate::simulate::drawn::{PortRange, class_of};
use crate::simulate::matching::in_range;
use crate::simulate::routing;
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

/// Picks address and port (`get_unique_tuple`): `current` is the tuple so far, `addresses` the
/// range to choose from, both ends inclusive.
pub(crate) fn choose(
    manip: Manip,
    current: &Tuple,
    addresses: Option<(IpAddr, IpAddr)>,
    ports: PortSpec,
    options: NatOptions,
    zone: u16,
) -> Mapping {
    let own = match manip {
        Manip::Source => current.source,
        Manip::Destination => current.destination,
    };
    // A source that is already inside the range stays (`nf_in_range`, kernel-facts B13).
    let stays = |range: (IpAddr, IpAddr)| {
        let port_fits = match (ports.range, current.transport) {
            (Some((first, last)), Transport::Ports { source, .. }) => {
                (first..=last).contains(&source)
            }
            _ => true,
        };
        manip == Manip::Source && !options.random && port_fits && in_range(own, &range)
    };
    let address = match addresses {
        None => own,
        Some(range) if stays(range) => own,
        Some(range) => pick(manip, range, current, options, zone),
    };
    let (port, drawn) = choose_port(manip, current, ports, options);
    Mapping { address, port, drawn }
}

/// Picks a port (`nf_nat_l4proto_unique_tuple`, kernel-facts B8, B11, B12, B19).
fn choose_port(
    manip: Manip,
    current: &Tuple,
    ports: PortSpec,
    options: NatOptions,
) -> (Option<u16>, Option<PortRange>) {
    let (source, destination) = match current.transport {
        Transport::Ports { source, destination } => (source, destination),
        // The identifier of a query is drawn (`nf_nat_l4proto_unique_tuple`; measured by ctstate).
        Transport::Icmp { .. } if options.random => return (None, Some((0, u16::MAX))),
        Transport::Icmp { .. } | Transport::Opaque => return (None, None),
    };
    let has_ports = matches!(
        current.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    );
    if !has_ports {
        return (None, None);
    }
    let own = match manip {
        Manip::Source => source,
        Manip::Destination => destination,
    };
    let Some((first, last)) = ports.range else {
        let drawn = options.random && manip == Manip::Source;
        return (drawn.then_some(own), drawn.then(|| class_of(own)));
    };
    if let Some(base) = ports.base {
        let size = u32::from(last.saturating_sub(first)) + 1;
        let offset = u32::from(own.wrapping_sub(base)) % size;
        let port = u32::from(first) + offset;
        return (u16::try_from(port).ok(), None);
    }
    if first == last {
        return (Some(first), None);
    }
    if options.random {
        return (Some(first), Some((first, last)));
    }
    if (first..=last).contains(&own) {
        return (Some(own), None);
    }
    // A destination gets the lowest free port, a source starts anywhere.
    (Some(first), (manip == Manip::Source).then_some((first, last)))
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
            routing::select_source4(host, out_interface, next_hop)
        }
        IpAddr::V6(_) => routing::select_source6(host, out_interface, destination),
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
            choose(Manip::Destination, &current, None, ports, NatOptions::default(), 0).port
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
            let mapping =
                choose(Manip::Source, &current, None, PortSpec { range, base: None }, options, 0);
            (mapping.port, mapping.drawn.is_some())
        };
        assert_eq!(port(1000, None, false), (None, false));
        assert_eq!(port(5001, Some((5000, 5002)), false), (Some(5001), false));
        assert!(port(1000, Some((5000, 5002)), false).1);
        assert!(port(1000, None, true).1);
        assert_eq!(port(1000, Some((7000, 7000)), false), (Some(7000), false));
    }

    // kernel-facts B13; expected values from the measured reference, kernel-lab/B2b_hash.py.
    #[test]
    fn an_address_of_a_range_is_chosen_by_the_kernels_hash() {
        let address = |source: &str, destination: &str, range: (&str, &str), persistent| {
            let range = (range.0.parse().unwrap(), range.1.parse().unwrap());
            let options = NatOptions { random: false, persistent };
            let current = tuple(source, destination, (40000, 80));
            choose(Manip::Source, &current, Some(range), PortSpec::default(), options, 0)
                .address
                .to_string()
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
                let picked = choose(Manip::Destination, &current, Some(range), ports, options, 0);
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
