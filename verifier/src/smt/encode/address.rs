//! Addresses: what they are, whose they are, and where they are on-link.

use std::net::{IpAddr, Ipv6Addr};

use nattrace_model::address::Prefix;
use nattrace_model::condition::address_type as bits;
use nattrace_model::host::route::{LOCAL, RouteKind};
use nattrace_parser::syntax::Family;

use super::Encoder;
use crate::policy::AddressSet;
use crate::smt::term::{B, V};

/// An address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Encoder<'_> {
    /// The bits of an address.
    pub(crate) fn width(&self) -> u32 {
        if self.is_ipv4() { 32 } else { 128 }
    }

    /// A known address.
    pub(super) fn address(&self, address: IpAddr) -> V {
        self.t.number(self.width(), number(address))
    }

    /// `0.0.0.0` or `::`.
    pub(super) fn nowhere(&self) -> V {
        self.t.number(self.width(), 0u8)
    }

    pub(super) fn is_address(&self, own: V, other: IpAddr) -> B {
        if Family::of(other) != self.family() {
            return self.t.no;
        }
        self.t.equal(own, self.address(other))
    }

    /// Whether some bits at the top are these.
    fn begins(&self, address: V, value: u128, length: u32) -> B {
        if length == 0 {
            return self.t.yes;
        }
        let width = self.width();
        let top = self.t.extract(address, width - 1, width - length);
        self.t.is_number(top, value)
    }

    pub(super) fn contains(&self, prefix: &Prefix, address: V) -> B {
        if prefix.family() != self.family() {
            return self.t.no;
        }
        let (network, mask) = match prefix {
            Prefix::V4(network, mask) => (u128::from(*network), u128::from(*mask)),
            Prefix::V6(prefix) => (prefix.0, prefix.1),
        };
        let (width, length) = (self.width(), prefix.length());
        let left = mask.checked_shl(128 - width).unwrap_or(0);
        if left.leading_ones() == length {
            let value = network.checked_shr(width - length).unwrap_or(0);
            return self.begins(address, value, length);
        }
        self.t.is_number(self.t.masked(address, mask), network)
    }

    pub(super) fn in_range(&self, address: V, (first, last): (IpAddr, IpAddr)) -> B {
        if Family::of(first) != self.family() || Family::of(last) != self.family() {
            return self.t.no;
        }
        self.t.within(address, number(first), number(last))
    }

    pub(super) fn in_set(&self, set: &AddressSet, address: V) -> B {
        if set.family() != self.family() {
            return self.t.no;
        }
        let ranges = set.ranges().iter();
        self.t.any(ranges.map(|(first, last)| self.t.within(address, *first, *last)))
    }

    pub(super) fn is_unspecified(&self, address: V) -> B {
        self.t.is_number(address, 0u8)
    }

    pub(super) fn is_loopback(&self, address: V) -> B {
        if self.is_ipv4() { self.begins(address, 127, 8) } else { self.t.is_number(address, 1u8) }
    }

    pub(super) fn is_multicast(&self, address: V) -> B {
        if self.is_ipv4() { self.begins(address, 0xe, 4) } else { self.begins(address, 0xff, 8) }
    }

    /// 255.255.255.255
    pub(super) fn is_limited_broadcast(&self, address: V) -> B {
        if self.is_ipv4() { self.t.is_number(address, u32::MAX) } else { self.t.no }
    }

    /// 224.0.0.0/24
    pub(super) fn is_local_group(&self, address: V) -> B {
        if self.is_ipv4() { self.begins(address, 0xe0_0000, 24) } else { self.t.no }
    }

    /// A link-local address of IPv6.
    pub(super) fn is_link_local6(&self, address: V) -> B {
        if self.is_ipv4() { self.t.no } else { self.begins(address, 0x3fa, 10) }
    }

    /// The first 16 bits of an address of IPv6.
    pub(super) fn first_segment(&self, address: V) -> V {
        let width = self.width();
        self.t.extract(address, width - 1, width - 16)
    }

    /// CLI.md: no private, shared, link-local, loopback or multicast address.
    pub(super) fn is_internet(&self, address: V) -> B {
        let not: &[(u128, u32)] = match self.family() {
            Family::Ipv4 => &[
                (10, 8),
                (0xac1, 12),
                (0xc0a8, 16),
                (0x191, 10),
                (0xa9fe, 16),
                (127, 8),
                (0xe, 4),
                (0xffff_ffff, 32),
                (0, 32),
            ],
            Family::Ipv6 => &[(0x7e, 7), (0x3fa, 10), (1, 128), (0xff, 8), (0, 128)],
        };
        let ones = not.iter().map(|(value, length)| self.begins(address, *value, *length));
        self.t.not(self.t.any(ones))
    }

    /// Whether an address is one of the host's own.
    pub(super) fn is_own(&self, address: V) -> B {
        self.t.any(self.own.keys().map(|own| self.is_address(address, *own)))
    }

    /// Whether an address is one of the host's own, and of an interface.
    pub(super) fn is_own_at(&self, address: V, interface: V) -> B {
        let each = self.own.iter().map(|(own, at)| {
            let there = self.interface_is(interface, |name| at.contains(&name));
            self.t.and(self.is_address(address, *own), there)
        });
        self.t.any(each)
    }

    /// The number of the interface that has an address, as the kernel finds it first.
    pub(super) fn owner(&self, address: V) -> V {
        let mut found = self.no_interface();
        for (own, at) in &self.own {
            let Some(first) = at.first() else { continue };
            found = self.t.choice(self.is_address(address, *own), self.interface(first), found);
        }
        found
    }

    /// Whether an address is on-link at an interface.
    pub(super) fn is_on_link(&self, address: V, interface: V) -> B {
        let known = self.t.value(interface).and_then(|number| self.interface_name(number));
        let each = self.host.interfaces.iter().filter(|own| {
            (known.is_none() || known == Some(own.name.as_str())) && !own.addresses.is_empty()
        });
        self.t.any(each.map(|own| {
            let subnets = own.addresses.iter();
            let inside = self.t.any(subnets.map(|a| self.contains(&a.subnet, address)));
            self.t.and(self.interface_named(interface, &own.name), inside)
        }))
    }

    /// Whether an interface is a bridge of containers.
    pub(super) fn is_container_bridge(&self, interface: V) -> B {
        self.interface_is(interface, |name| self.host.is_container_bridge(name))
    }

    /// What table local says of an address, with no more than the address: each kind with its
    /// condition, and the interfaces of the route.
    fn local_kinds(&self, address: V) -> Vec<(B, RouteKind, Vec<&str>)> {
        let Some(table) = self.host.routing.tables(self.family()).get(&LOCAL) else {
            return Vec::new();
        };
        let mut rest = self.t.yes;
        let mut kinds = Vec::new();
        for route in table.routes() {
            let dead = !route.next_hops.is_empty() && route.next_hops.iter().all(|hop| hop.dead);
            if dead || route.tos != 0 {
                continue;
            }
            let inside = self.contains(&route.destination, address);
            let hops = route.next_hops.iter().map(|hop| hop.interface.as_str()).collect();
            kinds.push((self.t.and(rest, inside), route.kind, hops));
            rest = self.t.minus(rest, inside);
        }
        kinds
    }

    /// Whether an address of IPv4 is of one of some types (`inet_dev_addr_type`, kernel-facts C1
    /// to C3); `limit` is the interface whose routes count.
    pub(super) fn is_type4(&self, address: V, types: u16, limit: Option<V>) -> B {
        let t = &self.t;
        let all = t.or(self.is_unspecified(address), self.is_limited_broadcast(address));
        let group = t.minus(self.is_multicast(address), all);
        let mut rest = t.minus(t.not(all), group);
        let mut found = t.no;
        let mut add = |when: B, kind: u16| {
            if types & kind != 0 {
                found = t.or(found, when);
            }
        };
        add(all, bits::BROADCAST);
        add(group, bits::MULTICAST);
        let ordinary = rest;
        for (when, kind, hops) in self.local_kinds(address) {
            let here = t.and(ordinary, when);
            rest = t.minus(rest, when);
            let near = match limit {
                Some(limit) => self.interface_is(limit, |name| hops.contains(&name)),
                None => t.yes,
            };
            add(t.and(here, near), type_of(kind));
            add(t.minus(here, near), bits::UNICAST);
        }
        add(rest, bits::UNICAST);
        found
    }

    /// Whether table local knows an address as one of a kind.
    fn is_local_kind(&self, address: V, wanted: RouteKind) -> B {
        let kinds = self.local_kinds(address).into_iter();
        self.t.any(kinds.filter(|(_, kind, _)| *kind == wanted).map(|(when, ..)| when))
    }

    /// Whether an address is the broadcast address of a subnet at an interface, or the limited one.
    pub(super) fn is_broadcast_at(&self, address: V, interface: V) -> B {
        if !self.is_ipv4() {
            return self.t.no;
        }
        let broadcast = self.is_type4(address, bits::BROADCAST, Some(interface));
        self.t.minus(broadcast, self.is_unspecified(address))
    }

    /// Whether the routes know an address as the host's own.
    pub(super) fn is_local(&self, address: V) -> B {
        match self.family() {
            Family::Ipv4 => self.is_type4(address, bits::LOCAL, None),
            Family::Ipv6 => self.is_local_kind(address, RouteKind::Local),
        }
    }

    pub(super) fn is_group(&self, address: V) -> B {
        let group = self.is_multicast(address);
        match self.family() {
            Family::Ipv4 => self.t.or(group, self.is_type4(address, bits::BROADCAST, None)),
            Family::Ipv6 => group,
        }
    }

    pub(super) fn is_anycast(&self, address: V) -> B {
        self.is_local_kind(address, RouteKind::Anycast)
    }

    /// Whether an address is that of one host, as TCP wants it.
    pub(super) fn is_one_host(&self, address: V) -> B {
        self.t.not(self.t.or(self.is_group(address), self.is_anycast(address)))
    }

    /// Whether a group is of the scope of the interface alone, or narrower.
    pub(super) fn is_narrow_group6(&self, address: V) -> B {
        let scope = self.t.masked(self.first_segment(address), 0xfu8);
        self.t.and(self.is_multicast(address), self.t.within(scope, 0u8, 1u8))
    }

    /// `ff02::1:ff00:0/104` with the last bits of an address.
    pub(super) fn is_solicited(&self, group: V, own: Ipv6Addr) -> B {
        let last = own.to_bits() & 0xff_ffff;
        self.t.is_number(group, 0xff02_0000_0000_0000_0000_0001_ff00_0000 | last)
    }
}

/// The bit of a route's kind.
fn type_of(kind: RouteKind) -> u16 {
    match kind {
        RouteKind::Local => bits::LOCAL,
        RouteKind::Broadcast => bits::BROADCAST,
        RouteKind::Anycast => bits::ANYCAST,
        RouteKind::Multicast => bits::MULTICAST,
        RouteKind::Unicast => bits::UNICAST,
        RouteKind::Blackhole => bits::BLACKHOLE,
        RouteKind::Unreachable => bits::UNREACHABLE,
        RouteKind::Prohibit => bits::PROHIBIT,
        RouteKind::Throw => bits::THROW,
    }
}
