//! Which of its addresses the host sends from where nobody says.

use std::net::{IpAddr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::host::Host;
use crate::host::route::RouteKind;
use crate::simulate::routing::{Found, is_own_address};

/// The address that routing gives to a local packet without one: the route's preferred source,
/// else by the rules of the family.
pub(crate) fn source_for(host: &Host, found: &Found<'_>, destination: IpAddr) -> Option<IpAddr> {
    if let Some(source) = found.route.preferred_source {
        return Some(source);
    }
    if found.route.kind == RouteKind::Local {
        // IPv6 chooses among the host's addresses for a `local` route of more than one of them.
        let own = destination.is_ipv4() || is_own_address(host, destination);
        return if own { Some(destination) } else { select_source6(host, "lo", destination) };
    }
    let hop = found.next_hops().next()?;
    let family = Family::of(destination);
    if !host.knows_addresses_of(&hop.interface, family) {
        return host.stand_in(&hop.interface, family);
    }
    match destination {
        IpAddr::V4(_) => select_source4(host, &hop.interface, hop.gateway.unwrap_or(destination)),
        IpAddr::V6(_) => select_source6(host, &hop.interface, destination),
    }
}

/// `inet_select_addr` with scope universe (kernel-facts B1, B3): the first primary address of the
/// interface whose subnet holds the next hop, else its first primary address, else that of
/// another interface, `lo` first.
pub(crate) fn select_source4(host: &Host, interface: &str, next_hop: IpAddr) -> Option<IpAddr> {
    select_within4(host, interface, next_hop, crate::host::Scope::Global)
}

/// The same with addresses of narrower scopes too.
pub(crate) fn select_within4(
    host: &Host,
    interface: &str,
    next_hop: IpAddr,
    narrowest: crate::host::Scope,
) -> Option<IpAddr> {
    // kernel-facts B2: secondary addresses are never chosen, deprecated ones are.
    let eligible = |interface: &'_ crate::host::Interface| -> Vec<(IpAddr, bool)> {
        let fits = |a: &&crate::host::InterfaceAddress| {
            a.local.is_ipv4() && !a.secondary && a.scope <= narrowest
        };
        let own = interface.addresses.iter().filter(fits);
        own.map(|a| (a.local, a.subnet.contains(next_hop))).collect()
    };
    if let Some(own) = host.interface(interface).map(eligible) {
        let nearest = own.iter().find(|(_, holds_next_hop)| *holds_next_hop);
        if let Some((address, _)) = nearest.or_else(|| own.first()) {
            return Some(*address);
        }
    }
    // kernel-facts B3: no next-hop preference here, and interfaces that are down count.
    host.interfaces
        .iter()
        .filter(|other| other.name != interface)
        .find_map(|other| eligible(other).first().map(|(address, _)| *address))
}

/// RFC 6724 source selection for a destination over an interface (`ipv6_dev_get_saddr`,
/// kernel-facts J3): the addresses of all interfaces are candidates. Rule 1 prefers the destination
/// itself, rule 2 the scope, rule 3 what is not deprecated, rule 5 the interface, rule 6 the label,
/// rule 8 the longest prefix; a tie goes to the address that was added last, which is listed first.
pub(crate) fn select_source6(host: &Host, interface: &str, destination: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(to) = destination else { return None };
    // A group, a link-local address and `::1` are spoken to from their own link.
    let bound = to.is_multicast() || to.is_unicast_link_local() || to.is_loopback();
    let rank = |name: &str, a: &crate::host::InterfaceAddress| {
        let IpAddr::V6(own) = a.local else { return None };
        if own.is_loopback() && !to.is_loopback() {
            return None;
        }
        let common = (own.to_bits() ^ to.to_bits()).leading_zeros().min(a.subnet.length());
        Some((
            own == to,
            scope_rank6(own, to),
            !a.deprecated,
            name == interface,
            label6(own) == label6(to),
            common,
        ))
    };
    let mut best: Option<(_, IpAddr)> = None;
    for candidate in host.interfaces.iter().filter(|other| !bound || other.name == interface) {
        for address in &candidate.addresses {
            let Some(rank) = rank(&candidate.name, address) else { continue };
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, address.local));
            }
        }
    }
    best.map(|(_, address)| address)
}

/// How well the scope of a source fits a destination: the narrowest that reaches it is best, else
/// the widest (RFC 6724 rule 2).
fn scope_rank6(source: Ipv6Addr, destination: Ipv6Addr) -> i32 {
    let scope = |address: Ipv6Addr| match address.segments() {
        [first, ..] if address.is_multicast() => i32::from(first & 0xf),
        [first, ..] if first & 0xffc0 == 0xfec0 => 5,
        _ if address.is_unicast_link_local() || address.is_loopback() => 2,
        // Every scope reaches it (`__ipv6_addr_type`; measured with MASQUERADE).
        _ if address.is_unspecified() => 0,
        _ => 14,
    };
    let own = scope(source);
    if own >= scope(destination) { -own } else { own - 128 }
}

/// The label of an address in the default policy table (RFC 6724 section 2.1, as in
/// net/ipv6/addrlabel.c).
fn label6(address: Ipv6Addr) -> u8 {
    let bits = address.to_bits();
    let [first, second, ..] = address.segments();
    if bits == 1 {
        0
    } else if bits >> 32 == 0xffff {
        4
    } else if first == 0x2002 {
        2
    } else if (first, second) == (0x2001, 0) {
        6
    } else if (first, second >> 4) == (0x2001, 1) {
        7
    } else if first & 0xfe00 == 0xfc00 {
        5
    } else if first & 0xffc0 == 0xfec0 {
        11
    } else if first == 0x3ffe {
        12
    } else if bits >> 32 == 0 {
        3
    } else {
        1
    }
}
