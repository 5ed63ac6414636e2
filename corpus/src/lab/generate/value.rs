//! The values that rules and packets draw from: few, so that they meet.

use nattrace_parser::syntax::Family;

/// Values of a family.
pub(super) struct Values {
    pub(super) prefixes: &'static [&'static str],
    pub(super) ranges: &'static [&'static str],
    /// Where DNAT leads; ports are added.
    pub(super) destinations: &'static [&'static str],
    /// Ranges of destinations.
    pub(super) destination_ranges: &'static [&'static str],
    pub(super) sources: &'static [&'static str],
    pub(super) source_ranges: &'static [&'static str],
    pub(super) networks: &'static [&'static str],
    /// Far away, by the default route or not at all.
    pub(super) remote: &'static [&'static str],
    /// Where routes say no, or lead somewhere special.
    pub(super) special: &'static [&'static str],
    /// Behind the interface `lan`.
    pub(super) lan: &'static [&'static str],
    /// On-link at the uplinks.
    pub(super) near: &'static [&'static str],
    /// Sources that can't be, or come in by the wrong interface.
    pub(super) odd_sources: &'static [&'static str],
    /// Destinations that nobody can be reached at, or everybody.
    pub(super) odd_destinations: &'static [&'static str],
    pub(super) sets: &'static [(&'static str, u8)],
}

const FOUR: Values = Values {
    prefixes: &[
        "10.0.1.0/24",
        "10.0.1.2/32",
        "10.0.0.0/8",
        "172.17.0.0/16",
        "172.17.0.2/32",
        "172.18.0.2/32",
        "8.8.8.0/24",
        "203.0.113.2/32",
        "203.0.113.0/24",
        "192.0.2.0/24",
        "127.0.0.0/8",
        "0.0.0.2/0.0.0.255",
        "10.0.0.1/255.0.0.1",
        "172.16.0.0/12",
    ],
    ranges: &["10.0.1.1-10.0.1.9", "172.17.0.2-172.17.0.3", "8.0.0.0-9.0.0.0", "9.9.9.9-1.1.1.1"],
    destinations: &[
        "172.17.0.2",
        "172.17.0.3",
        "172.18.0.2",
        "10.0.1.9",
        "10.0.1.1",
        "203.0.113.2",
        "127.0.0.1",
        "8.8.4.4",
        "10.50.0.7",
        "198.18.2.2",
        "172.17.0.1",
    ],
    destination_ranges: &["10.0.1.64-10.0.1.95", "8.8.8.1-8.8.8.200", "172.17.0.2-172.17.0.4"],
    sources: &[
        "203.0.113.2",
        "203.0.113.99",
        "10.0.1.1",
        "192.0.2.2",
        "172.17.0.1",
        "1.2.3.4",
        "10.0.1.2",
    ],
    source_ranges: &["203.0.113.64-203.0.113.95", "10.0.1.1-10.0.1.4", "198.51.100.2-198.51.100.3"],
    networks: &["10.0.1.64/27", "203.0.113.64/26", "172.17.0.2/32", "8.8.0.0/16"],
    remote: &["8.8.8.8", "1.1.1.1", "8.8.4.4", "9.9.9.9", "240.0.0.1", "169.254.3.4", "0.1.2.3"],
    special: &[
        "198.18.1.1",
        "198.18.2.2",
        "198.18.3.3",
        "198.18.4.4",
        "198.18.5.5",
        "10.50.3.4",
        "10.60.1.1",
    ],
    lan: &["10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.2.5", "10.0.2.9", "10.50.3.4"],
    near: &["203.0.113.77", "198.51.100.9", "198.51.100.40", "192.0.2.77"],
    odd_sources: &[
        "10.0.1.1",
        "203.0.113.2",
        "127.0.0.1",
        "127.9.9.9",
        "127.0.0.7",
        "224.0.0.5",
        "255.255.255.255",
        "0.0.0.0",
        "10.0.1.255",
        "10.0.1.2",
        "8.8.8.8",
        "240.0.0.9",
        "198.18.2.2",
        "198.18.1.1",
        "198.18.4.4",
    ],
    odd_destinations: &[
        "10.0.1.255",
        "203.0.113.255",
        "172.17.255.255",
        "255.255.255.255",
        "224.0.0.1",
        "239.1.2.3",
        "0.0.0.0",
        "127.0.0.1",
        "127.0.0.9",
        "10.0.1.0",
        "127.255.255.255",
    ],
    sets: &[
        ("clients", 1),
        ("nets", 1),
        ("services", 2),
        ("ports", 1),
        ("pairs", 2),
        ("either", 2),
        ("either", 1),
        ("triples", 3),
        ("netports", 2),
        ("bits", 1),
        ("portnets", 3),
    ],
};

const SIX: Values = Values {
    prefixes: &[
        "fd01::/64",
        "fd01::2/128",
        "fd00::/8",
        "fd17::/64",
        "fd17::2/128",
        "fd18::2/128",
        "2001:4860::/32",
        "2001:db8:1::2/128",
        "2001:db8:1::/64",
        "2001:db8::/32",
        "::1/128",
        "::2/::ff",
    ],
    ranges: &["fd01::1-fd01::9", "fd17::2-fd17::3", "2001::-2002::", "fd02::-fd01::"],
    destinations: &[
        "fd17::2",
        "fd17::3",
        "fd18::2",
        "fd01::9",
        "fd01::1",
        "2001:db8:1::2",
        "::1",
        "2001:4860::44",
        "fd50::7",
        "2001:db8:a2::2",
    ],
    destination_ranges: &["fd01::40-fd01::5f", "2001:4860::1-2001:4860::ff", "fd17::2-fd17::4"],
    sources: &[
        "2001:db8:1::2",
        "2001:db8:1::99",
        "fd01::1",
        "2001:db8:5::2",
        "fd17::1",
        "2001:4860::1:2:3",
        "fd01::2",
    ],
    source_ranges: &["2001:db8:1::40-2001:db8:1::5f", "fd01::1-fd01::4"],
    networks: &["fd01::40/123", "2001:db8:1::40/123", "fd17::2/128", "2001:4860::/32"],
    remote: &["2001:4860::88", "2606:4700::11", "2001:4860::44", "fec0::1"],
    special: &[
        "2001:db8:a1::1",
        "2001:db8:a2::2",
        "2001:db8:a3::3",
        "2001:db8:a4::4",
        "2001:db8:a5::5",
        "fd50::3:4",
    ],
    lan: &["fd01::2", "fd01::3", "fd01::4", "fd01::77", "fd02::5", "fd50::3:4"],
    near: &["2001:db8:1::77", "2001:db8:2::9", "2001:db8:5::77"],
    odd_sources: &["fd01::1", "2001:db8:1::2", "::1", "ff02::5", "::", "2001:4860::88", "fe80::5"],
    odd_destinations: &["ff02::1", "ff0e::1:2:3", "::1", "fd01::", "ff05::2", "ff01::1"],
    sets: &[
        ("clients6", 1),
        ("nets6", 1),
        ("services6", 2),
        ("ports", 1),
        ("either", 2),
        ("triples6", 3),
        ("netports6", 2),
    ],
};

/// The values of a family.
pub(super) fn values(family: Family) -> &'static Values {
    match family {
        Family::Ipv4 => &FOUR,
        Family::Ipv6 => &SIX,
    }
}

/// Ports that packets have and rules ask for.
pub(super) const PORTS: [u16; 8] = [80, 53, 443, 8080, 22, 5353, 600, 40001];

/// Source ports of packets.
pub(super) const SOURCE_PORTS: [u16; 6] = [40000, 40001, 1024, 53, 600, 5001];
