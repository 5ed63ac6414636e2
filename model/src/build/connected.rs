//! The routes that the kernel makes by itself from the addresses of its interfaces: table `local`
//! and the connected prefixes (kernel-facts C1, C2, J9).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::host::route::{LOCAL, MAIN, NextHop, Route, RouteKind, Routing};
use crate::host::sysctl::Sysctls;
use crate::host::{Interface, InterfaceAddress, InterfaceKind, Scope};

/// The metric that the kernel gives its own routes of IPv6.
const KERNEL_METRIC6: u32 = 256;

/// Adds table `local` of a family as the addresses make it.
pub(crate) fn add_local(
    routing: &mut Routing,
    family: Family,
    interfaces: &[Interface],
    sysctls: &Sysctls,
) {
    for (interface, address) in of_family(interfaces, family) {
        match address.local {
            IpAddr::V4(local) => add_local4(routing, interface, address, local),
            IpAddr::V6(local) => add_local6(routing, interface, address, local, sysctls),
        }
    }
    if family == Family::Ipv6 {
        for interface in interfaces.iter().filter(|interface| has_address6(interface)) {
            let all = Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
            if interface.kind != InterfaceKind::Loopback {
                let route = kernel_route(RouteKind::Multicast, all, interface, KERNEL_METRIC6);
                insert(routing, family, LOCAL, route);
            }
        }
    }
}

/// Adds the prefixes of the addresses of a family to table `main`.
pub(crate) fn add_connected(routing: &mut Routing, family: Family, interfaces: &[Interface]) {
    for (interface, address) in of_family(interfaces, family) {
        let width = if family == Family::Ipv4 { 32 } else { 128 };
        let own_only = address.subnet.length() == width && address.subnet.contains(address.local);
        let loopback = interface.kind == InterfaceKind::Loopback;
        if !interface.up || address.secondary || own_only || loopback {
            continue;
        }
        let metric = if family == Family::Ipv4 { 0 } else { KERNEL_METRIC6 };
        let mut route = kernel_route(RouteKind::Unicast, address.subnet.clone(), interface, metric);
        if family == Family::Ipv4 {
            route.preferred_source = Some(address.local);
            route.scope = Scope::Link;
        }
        insert(routing, family, MAIN, finish(route));
    }
}

/// A host route or prefix route that somebody set by hand, or that an inference stands for.
pub(crate) fn device_route(destination: Prefix, gateway: Option<IpAddr>, interface: &str) -> Route {
    let next_hop = NextHop { gateway, interface: interface.to_owned(), weight: 1, dead: false };
    let scope = if gateway.is_none() { Scope::Link } else { Scope::Global };
    finish(Route {
        kind: RouteKind::Unicast,
        destination,
        next_hops: vec![next_hop],
        preferred_source: None,
        metric: 0,
        tos: 0,
        scope,
        text: String::new(),
    })
}

/// Puts a route into a table.
pub(crate) fn insert(routing: &mut Routing, family: Family, table: u32, route: Route) {
    let tables = match family {
        Family::Ipv4 => &mut routing.tables4,
        Family::Ipv6 => &mut routing.tables6,
    };
    let table = tables.entry(table).or_default();
    let same = |known: &Route| Route { text: known.text.clone(), ..route.clone() } == *known;
    if !table.routes().iter().any(same) {
        table.insert(route);
    }
}

/// The routes for one IPv4 address: itself, whatever the state of its interface; its broadcast
/// addresses and, on loopback, its prefix, if the interface is up (`fib_add_ifaddr`).
fn add_local4(
    routing: &mut Routing,
    interface: &Interface,
    address: &InterfaceAddress,
    local: Ipv4Addr,
) {
    let mut add = |kind: RouteKind, destination: Prefix, scope: Scope| {
        let mut route = kernel_route(kind, destination, interface, 0);
        route.preferred_source = Some(local.into());
        route.scope = scope;
        insert(routing, Family::Ipv4, LOCAL, finish(route));
    };
    add(RouteKind::Local, Prefix::new(local.into(), 32), Scope::Host);
    if !interface.up {
        return;
    }
    if let Some(broadcast) = address.broadcast.filter(|b| *b != Ipv4Addr::BROADCAST) {
        add(RouteKind::Broadcast, Prefix::new(broadcast, 32), Scope::Link);
    }
    let Prefix::V4(network, mask) = address.subnet else { return };
    if address.secondary || network == 0 || mask == u32::MAX {
        return;
    }
    if interface.kind == InterfaceKind::Loopback {
        add(RouteKind::Local, address.subnet.clone(), Scope::Host);
    }
    if mask.count_ones() < 31 {
        let last = Ipv4Addr::from_bits(network | !mask);
        add(RouteKind::Broadcast, Prefix::new(last.into(), 32), Scope::Link);
    }
}

/// The routes for one IPv6 address: itself, and where the interface forwards the anycast address
/// of the routers of its subnet. An interface that is down has no IPv6 addresses in use.
fn add_local6(
    routing: &mut Routing,
    interface: &Interface,
    address: &InterfaceAddress,
    local: Ipv6Addr,
    sysctls: &Sysctls,
) {
    if !interface.up {
        return;
    }
    let own = kernel_route(RouteKind::Local, Prefix::new(local.into(), 128), interface, 0);
    insert(routing, Family::Ipv6, LOCAL, own);
    let forwards = sysctls.interface(Family::Ipv6, &interface.name, "forwarding");
    let is_router = forwards.is_some_and(|forwarding| forwarding != 0);
    if is_router && interface.kind != InterfaceKind::Loopback && address.subnet.length() < 127 {
        let subnet = Prefix::new(address.subnet.network(), 128);
        let route = kernel_route(RouteKind::Anycast, subnet, interface, 0);
        insert(routing, Family::Ipv6, LOCAL, route);
    }
}

fn of_family(
    interfaces: &[Interface],
    family: Family,
) -> impl Iterator<Item = (&Interface, &InterfaceAddress)> {
    interfaces.iter().flat_map(move |interface| {
        let addresses = interface.addresses.iter();
        addresses
            .filter(move |address| Family::of(address.local) == family)
            .map(move |address| (interface, address))
    })
}

fn has_address6(interface: &Interface) -> bool {
    interface.up && interface.addresses.iter().any(|address| address.local.is_ipv6())
}

fn kernel_route(kind: RouteKind, destination: Prefix, interface: &Interface, metric: u32) -> Route {
    finish(Route {
        kind,
        destination,
        next_hops: vec![NextHop {
            gateway: None,
            interface: interface.name.clone(),
            weight: 1,
            dead: false,
        }],
        preferred_source: None,
        metric,
        tos: 0,
        scope: Scope::Global,
        text: String::new(),
    })
}

/// Writes the text that `ip route` would print for a route of one next hop.
fn finish(mut route: Route) -> Route {
    let kind = match route.kind {
        RouteKind::Local => "local ",
        RouteKind::Broadcast => "broadcast ",
        RouteKind::Anycast => "anycast ",
        RouteKind::Multicast => "multicast ",
        _ => "",
    };
    let width = if route.destination.family() == Family::Ipv4 { 32 } else { 128 };
    let destination = match route.destination.length() {
        0 => "default".to_owned(),
        length if length == width => route.destination.network().to_string(),
        _ => route.destination.to_string(),
    };
    let mut text = format!("{kind}{destination}");
    let mut add = |word: &str, value: &dyn std::fmt::Display| {
        // Writing into a string can't fail.
        let _ = write!(text, " {word} {value}");
    };
    if let Some(hop) = route.next_hops.first() {
        if let Some(gateway) = hop.gateway {
            add("via", &gateway);
        }
        add("dev", &hop.interface);
    }
    match route.scope {
        Scope::Global => {}
        Scope::Site => add("scope", &"site"),
        Scope::Link => add("scope", &"link"),
        Scope::Host => add("scope", &"host"),
    }
    if let Some(source) = route.preferred_source {
        add("src", &source);
    }
    if route.metric != 0 {
        add("metric", &route.metric);
    }
    route.text = text;
    route
}
