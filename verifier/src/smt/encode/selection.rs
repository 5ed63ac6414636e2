//! Which source address the kernel picks.

use std::net::{IpAddr, Ipv6Addr};

use nattrace_model::host::route::{Route, RouteKind};
use nattrace_model::host::{Interface, InterfaceAddress, Scope};
use nattrace_parser::syntax::Family;

use super::Encoder;
use super::route::{Found, usable};
use super::state::{Maybe, Merge};
use crate::smt::term::{B, V};

/// The width of a rank among the addresses of IPv6.
const RANK: u32 = 20;

impl Encoder<'_> {
    /// The source that routing gives to a packet without one.
    pub(super) fn source_for(&self, found: &Found<'_>, destination: V) -> Maybe {
        let mut source = self.nothing(self.width());
        let mut known: Vec<(&Route, Maybe)> = Vec::new();
        for (when, route) in &found.routes {
            let alike = |(other, _): &&(&Route, Maybe)| {
                other.preferred_source == route.preferred_source
                    && other.kind == route.kind
                    && other.next_hops == route.next_hops
            };
            let own = match known.iter().find(alike) {
                Some((_, own)) => *own,
                None => {
                    let own = self.source_of_route(route, destination);
                    known.push((route, own));
                    own
                }
            };
            source = Maybe::merge(&self.t, *when, &own, &source);
        }
        source
    }

    /// The source of packets that take a route.
    pub(super) fn source_of_route(&self, route: &Route, destination: V) -> Maybe {
        let yes = self.t.yes;
        if let Some(preferred) = route.preferred_source {
            return Maybe { is: yes, value: self.address(preferred) };
        }
        if route.kind == RouteKind::Local {
            let own = Maybe { is: yes, value: destination };
            if self.is_ipv4() {
                return own;
            }
            let other = self.select6("lo", destination);
            return Maybe::merge(&self.t, self.is_own(destination), &own, &other);
        }
        let Some(hop) = usable(route).next() else { return self.nothing(self.width()) };
        if !self.host.knows_addresses_of(&hop.interface, self.family()) {
            return match self.host.stand_in(&hop.interface, self.family()) {
                Some(own) => Maybe { is: yes, value: self.address(own) },
                None => self.nothing(self.width()),
            };
        }
        match self.family() {
            Family::Ipv4 => {
                let next = match hop.gateway {
                    Some(gateway) if gateway.is_ipv4() => self.address(gateway),
                    // No subnet of IPv4 holds a gateway of IPv6.
                    Some(_) => {
                        return self.select4_by(&hop.interface, Scope::Global, |_| self.t.no);
                    }
                    None => destination,
                };
                self.select4(&hop.interface, next)
            }
            Family::Ipv6 => self.select6(&hop.interface, destination),
        }
    }

    /// `inet_select_addr` (kernel-facts B1, B3).
    pub(super) fn select4(&self, interface: &str, next_hop: V) -> Maybe {
        self.select_within4(interface, next_hop, Scope::Global)
    }

    /// The same with addresses of narrower scopes too.
    pub(super) fn select_within4(&self, interface: &str, next_hop: V, narrowest: Scope) -> Maybe {
        self.select4_by(interface, narrowest, |own| self.contains(&own.subnet, next_hop))
    }

    fn select4_by(
        &self,
        interface: &str,
        narrowest: Scope,
        holds: impl Fn(&InterfaceAddress) -> B,
    ) -> Maybe {
        let eligible = |own| eligible4(own, narrowest);
        let own = self.host.interface(interface).map(eligible).unwrap_or_default();
        if let Some(first) = own.first() {
            // The first one that holds the next hop, else the first one.
            let mut value = self.address(first.local);
            for candidate in own.iter().rev() {
                value = self.t.choice(holds(candidate), self.address(candidate.local), value);
            }
            return Maybe { is: self.t.yes, value };
        }
        let others = self.host.interfaces.iter().filter(|other| other.name != interface);
        let first = others.flat_map(|other| eligible(other).into_iter().take(1)).next();
        match first {
            Some(first) => Maybe { is: self.t.yes, value: self.address(first.local) },
            None => self.nothing(32),
        }
    }

    /// `ipv6_dev_get_saddr` (RFC 6724, kernel-facts J3): each candidate has a rank, and the first
    /// one of the highest rank is taken.
    pub(super) fn select6(&self, interface: &str, destination: V) -> Maybe {
        let t = &self.t;
        let bound = t.any([
            self.is_multicast(destination),
            self.is_link_local6(destination),
            self.is_loopback(destination),
        ]);
        let scope = self.scope6(destination);
        let label = self.label6(destination);
        let mut best = self.nothing(128);
        let mut best_rank = t.number(RANK, 0u8);
        for candidate in &self.host.interfaces {
            let here = candidate.name == interface;
            for address in &candidate.addresses {
                let IpAddr::V6(own) = address.local else { continue };
                let mut eligible = if here { t.yes } else { t.not(bound) };
                if own.is_loopback() {
                    eligible = t.and(eligible, self.is_loopback(destination));
                }
                let ranks = [
                    self.bit(self.is_address(destination, own.into())),
                    self.scope_rank6(scope_of(own), scope),
                    self.bit(t.is(!address.deprecated)),
                    self.bit(t.is(here)),
                    self.bit(t.is_number(label, label_of(own))),
                    self.common6(own, destination, address.subnet.length()),
                ];
                let [first, rest @ ..] = ranks;
                let rank = rest.into_iter().fold(first, |all, part| t.concat(all, part));
                let higher = t.not(t.at_most(rank, best_rank));
                let better = t.and(eligible, t.or(t.not(best.is), higher));
                let own = Maybe { is: t.yes, value: self.address(own.into()) };
                best = Maybe::merge(t, better, &own, &best);
                best_rank = t.choice(better, rank, best_rank);
            }
        }
        best
    }

    /// A truth value as a bit.
    fn bit(&self, is: B) -> V {
        self.t.choice(is, self.t.number(1, 1u8), self.t.number(1, 0u8))
    }

    /// The scope of an address, of a group the one that it names.
    fn scope6(&self, address: V) -> V {
        let t = &self.t;
        let first = self.first_segment(address);
        let of_group = t.extract(first, 3, 0);
        let site = t.is_number(t.masked(first, 0xffc0u16), 0xfec0u16);
        let link = t.or(self.is_link_local6(address), self.is_loopback(address));
        let other = t.choice(link, t.number(4, 2u8), t.number(4, 14u8));
        let other = t.choice(site, t.number(4, 5u8), other);
        t.choice(self.is_multicast(address), of_group, other)
    }

    /// The narrowest scope that reaches the destination is best, else the widest.
    fn scope_rank6(&self, own: u8, wanted: V) -> V {
        let reaches = self.t.at_most(wanted, self.t.number(4, own));
        self.t.choice(reaches, self.t.number(8, 128 - own), self.t.number(8, own))
    }

    /// The label of an address (RFC 6724 section 2.1, net/ipv6/addrlabel.c).
    fn label6(&self, address: V) -> V {
        let t = &self.t;
        let first = self.first_segment(address);
        let second = t.extract(address, 111, 96);
        let upper = t.extract(address, 127, 32);
        let first_is = |value: u16| t.is_number(first, value);
        let cases = [
            (self.is_loopback(address), 0u8),
            (t.is_number(upper, 0xffffu16), 4),
            (first_is(0x2002), 2),
            (t.and(first_is(0x2001), t.is_number(second, 0u8)), 6),
            (t.and(first_is(0x2001), t.is_number(t.shifted_right(second, 4), 1u8)), 7),
            (t.is_number(t.masked(first, 0xfe00u16), 0xfc00u16), 5),
            (t.is_number(t.masked(first, 0xffc0u16), 0xfec0u16), 11),
            (first_is(0x3ffe), 12),
            (t.is_number(upper, 0u8), 3),
        ];
        cases
            .into_iter()
            .rev()
            .fold(t.number(4, 1u8), |label, (when, own)| t.choice(when, t.number(4, own), label))
    }

    /// How many bits at the top two addresses have in common, up to a prefix length.
    fn common6(&self, own: Ipv6Addr, other: V, most: u32) -> V {
        let mut common = self.t.number(8, 0u8);
        for length in 1..=most.min(128) {
            let top = self.t.extract(other, 127, 128 - length);
            let alike = self.t.is_number(top, own.to_bits() >> (128 - length));
            common = self.t.choice(alike, self.t.number(8, length), common);
        }
        common
    }
}

/// The addresses that may be chosen (kernel-facts B2).
fn eligible4(interface: &Interface, narrowest: Scope) -> Vec<&InterfaceAddress> {
    let fits = |a: &&InterfaceAddress| a.local.is_ipv4() && !a.secondary && a.scope <= narrowest;
    interface.addresses.iter().filter(fits).collect()
}

fn scope_of(address: Ipv6Addr) -> u8 {
    let [first, ..] = address.segments();
    if address.is_multicast() {
        u8::try_from(first & 0xf).unwrap_or(0)
    } else if first & 0xffc0 == 0xfec0 {
        5
    } else if address.is_unicast_link_local() || address.is_loopback() {
        2
    } else {
        14
    }
}

fn label_of(address: Ipv6Addr) -> u8 {
    let bits = address.to_bits();
    let [first, second, ..] = address.segments();
    match (first, second) {
        _ if bits == 1 => 0,
        _ if bits >> 32 == 0xffff => 4,
        (0x2002, _) => 2,
        (0x2001, 0) => 6,
        (0x2001, 0x10..=0x1f) => 7,
        (0xfc00..=0xfdff, _) => 5,
        (0xfec0..=0xfeff, _) => 11,
        (0x3ffe, _) => 12,
        _ if bits >> 32 == 0 => 3,
        _ => 1,
    }
}
