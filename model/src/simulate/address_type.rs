//! Types of addresses, as the addrtype match asks for them (kernel-facts C, J9).

use std::net::{IpAddr, Ipv4Addr};

use crate::condition::{TypeLimit, Undecided, address_type};
use crate::host::Host;
use crate::host::route::{self, Route, RouteKind};
use crate::simulate::matching::{Ternary, View};
use crate::simulate::routing::{self, Bound, Lookup, LookupResult, User};

/// Whether an address is of one of the types.
pub(crate) fn holds(view: &View<'_>, address: IpAddr, types: u16, limit: TypeLimit) -> Ternary {
    let interface = match limit {
        TypeLimit::None => None,
        TypeLimit::InInterface => Some(view.in_interface),
        TypeLimit::OutInterface => Some(view.out_interface),
    };
    match address {
        IpAddr::V4(address) => of_ipv4(view.host, address, interface) & types != 0,
        IpAddr::V6(_) => {
            // Each form that is asked for must hold, and one of the types that a route tells
            // (`match_type6`; measured with `UNICAST,LOCAL`).
            let (own, maybe) = of_ipv6(view, address, interface);
            let forms = address_type::UNSPEC | address_type::UNICAST | address_type::MULTICAST;
            let routed = types & !forms;
            let formed = types & forms & !own == 0;
            if formed && routed & own == 0 && routed & maybe != 0 {
                return Ternary::May(Undecided::Unsupported);
            }
            formed && (routed == 0 || own & routed != 0)
        }
    }
    .into()
}

/// Whether an address is a broadcast address.
pub(crate) fn is_broadcast(host: &Host, address: Ipv4Addr) -> bool {
    of_ipv4(host, address, None) == address_type::BROADCAST
}

/// Whether an address is the broadcast address of a subnet at an interface, or the limited one.
pub(crate) fn is_broadcast_at(host: &Host, address: Ipv4Addr, interface: &str) -> bool {
    !address.is_unspecified() && of_ipv4(host, address, Some(interface)) == address_type::BROADCAST
}

/// Whether an address is this host's own as routes see it: of an interface, or by a `local` route.
pub(crate) fn is_local(host: &Host, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => of_ipv4(host, address, None) == address_type::LOCAL,
        IpAddr::V6(_) => local_kind(host, address) == Some(RouteKind::Local),
    }
}

/// Whether an address is that of a group: multicast, or broadcast.
pub(crate) fn is_group(host: &Host, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || is_broadcast(host, address),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// Whether an address is that of one host, as TCP wants it: no group, and no anycast address
/// (`ipv6_unicast_destination`; measured with the address of the subnet's routers).
pub(crate) fn is_one_host(host: &Host, address: IpAddr) -> bool {
    !is_group(host, address) && !is_anycast(host, address)
}

/// Whether an address is an anycast address of this host, such as that of a subnet's routers.
pub(crate) fn is_anycast(host: &Host, address: IpAddr) -> bool {
    local_kind(host, address) == Some(RouteKind::Anycast)
}

/// What table local says about an address.
fn local_kind(host: &Host, address: IpAddr) -> Option<RouteKind> {
    local_route(host, address).map(|route| route.kind)
}

/// The interface that table local has an address of this host at.
pub(crate) fn interface_of_own(host: &Host, address: IpAddr) -> Option<&str> {
    local_route(host, address)?.next_hops.first().map(|hop| hop.interface.as_str())
}

fn local_route(host: &Host, address: IpAddr) -> Option<&Route> {
    let key = Lookup::to(address);
    routing::table_lookup(host, route::LOCAL, &key).map(|found| found.route)
}

/// `inet_dev_addr_type`: a lookup in table local alone (kernel-facts C1, C2), which a limit
/// restricts to the routes of one interface (kernel-facts C3).
fn of_ipv4(host: &Host, address: Ipv4Addr, interface: Option<&str>) -> u16 {
    if address.is_unspecified() || address.is_broadcast() {
        return address_type::BROADCAST;
    }
    if address.is_multicast() {
        return address_type::MULTICAST;
    }
    let key = Lookup::to(address.into());
    let Some(found) = routing::table_lookup(host, route::LOCAL, &key) else {
        return address_type::UNICAST;
    };
    let elsewhere = interface
        .is_some_and(|name| !found.route.next_hops.iter().any(|hop| hop.interface == name));
    if elsewhere {
        return address_type::UNICAST;
    }
    match found.route.kind {
        RouteKind::Local => address_type::LOCAL,
        RouteKind::Broadcast => address_type::BROADCAST,
        RouteKind::Anycast => address_type::ANYCAST,
        RouteKind::Multicast => address_type::MULTICAST,
        RouteKind::Unicast => address_type::UNICAST,
        RouteKind::Blackhole => address_type::BLACKHOLE,
        RouteKind::Unreachable => address_type::UNREACHABLE,
        RouteKind::Prohibit => address_type::PROHIBIT,
        RouteKind::Throw => address_type::THROW,
    }
}

/// `match_lookup_rt6` of xt_addrtype: a real route lookup; UNICAST and MULTICAST are tests of the
/// address's form alone (kernel-facts J9), so an address may have several types. Beside them stand
/// those that it may have, where a policy rule that is not modelled would decide.
fn of_ipv6(view: &View<'_>, address: IpAddr, interface: Option<&str>) -> (u16, u16) {
    let IpAddr::V6(bits) = address else { return (0, 0) };
    let mut types = 0;
    if bits.is_multicast() {
        types |= address_type::MULTICAST;
    } else if bits.is_unspecified() {
        types |= address_type::UNSPEC;
    } else {
        types |= address_type::UNICAST;
    }
    let own_limit = |name: &str| interface.is_none_or(|interface| interface == name);
    let own = view.host.interfaces.iter().any(|candidate| {
        own_limit(&candidate.name) && candidate.addresses.iter().any(|a| a.local == address)
    });
    // A limit restricts the lookup to the routes of that interface, and the local addresses to
    // its own.
    if interface.is_some() && own {
        types |= address_type::LOCAL;
    }
    let key = Lookup { out_interface: interface, user: User::Root, ..Lookup::to(address) };
    let bound = interface.map_or(Bound::ByPacket, Bound::To);
    match routing::lookup_bound(view.host, &key, bound) {
        LookupResult::Found(found) => match found.route.kind {
            RouteKind::Local => {
                if interface.is_none() {
                    types |= address_type::LOCAL;
                }
            }
            RouteKind::Anycast => types |= address_type::ANYCAST,
            RouteKind::Blackhole
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Throw => types |= address_type::UNREACHABLE,
            RouteKind::Unicast | RouteKind::Broadcast | RouteKind::Multicast => {}
        },
        LookupResult::None | LookupResult::Refused(_) => types |= address_type::UNREACHABLE,
        LookupResult::Unknown(_) => {
            let by_route = address_type::ANYCAST | address_type::UNREACHABLE;
            let local = if interface.is_none() { address_type::LOCAL } else { 0 };
            return (types, by_route | local);
        }
    }
    (types, 0)
}
