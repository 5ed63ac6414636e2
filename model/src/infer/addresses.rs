//! The host's own addresses, as routes or rules show them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use super::clues::Clues;
use super::devices::Devices;
use crate::address::Prefix;
use crate::host::route::{LOCAL, RouteKind};
use crate::host::{
    Assumption, BridgeFilter, Host, Interface, InterfaceAddress, InterfaceKind, Part, Scope,
    Subject,
};

/// Takes interfaces and addresses from the routes that the kernel makes of them.
pub(super) fn from_routes(host: &mut Host) {
    let mut found: Vec<(String, InterfaceAddress)> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let tables = host.routing.tables(family);
        let all = || tables.values().flat_map(|table| table.routes());
        let local = tables.get(&LOCAL).into_iter().flat_map(|table| table.routes());
        for route in local.filter(|route| route.kind == RouteKind::Local) {
            let Some(address) = super::clues::single(&route.destination) else { continue };
            let Some(hop) = route.next_hops.first() else { continue };
            found.push((hop.interface.clone(), of_routes(address, &hop.interface, all())));
        }
        // A listing without table `local` shows the addresses as preferred sources.
        for route in all().filter(|route| route.kind == RouteKind::Unicast) {
            let (Some(address), Some(hop)) = (route.preferred_source, route.next_hops.first())
            else {
                continue;
            };
            if !found.iter().any(|(_, known)| known.local == address) {
                found.push((hop.interface.clone(), of_routes(address, &hop.interface, all())));
            }
        }
    }
    let mut names: Vec<String> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let routes = host.routing.tables(family).values().flat_map(|table| table.routes());
        for hop in routes.flat_map(|route| &route.next_hops) {
            if !hop.interface.is_empty() && !names.contains(&hop.interface) {
                names.push(hop.interface.clone());
            }
        }
    }
    names.sort_by_key(|name| (name != "lo", name.clone()));
    for (index, name) in (1..).zip(names) {
        if host.interface(&name).is_none() {
            host.interfaces.push(Interface {
                index,
                up: true,
                kind: kind(&name),
                mac: None,
                mtu: None,
                addresses: Vec::new(),
                port: None,
                bridge_filter: BridgeFilter::default(),
                name,
            });
        }
    }
    for (name, address) in found {
        let Some(interface) = host.interfaces.iter_mut().find(|i| i.name == name) else { continue };
        // Primary addresses come first, in an order that routes do not keep.
        let at = interface.addresses.partition_point(|known| known.secondary <= address.secondary);
        interface.addresses.insert(at, address);
    }
    host.assumptions.push(Assumption {
        code: "addresses-from-routes",
        text: format!(
            "interfaces and their addresses are taken from the routes; which address of several \
             comes first is not known ({} settles it)",
            Part::Addresses.file_name()
        ),
    });
}

/// An address with the prefix that the kernel made a route of.
fn of_routes<'r>(
    address: IpAddr,
    interface: &str,
    routes: impl Iterator<Item = &'r crate::host::route::Route>,
) -> InterfaceAddress {
    let (mut subnet, mut secondary) = (None, false);
    for route in routes {
        let connected = route.kind == RouteKind::Unicast
            && route
                .next_hops
                .iter()
                .all(|hop| hop.gateway.is_none() && hop.interface == interface)
            && route.destination.contains(address);
        if connected && route.destination.length() > 0 {
            let own = route.preferred_source.is_none_or(|source| source == address);
            secondary = !own && subnet.is_none();
            subnet.get_or_insert_with(|| route.destination.clone());
        }
    }
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let width = if address.is_ipv4() { 32 } else { 128 };
    let loopback = match address {
        IpAddr::V4(_) => Prefix::new(address, 8),
        IpAddr::V6(_) => Prefix::new(address, 128),
    };
    InterfaceAddress {
        local: address,
        subnet: match subnet {
            Some(subnet) => subnet,
            None if address.is_loopback() => loopback,
            None => Prefix::new(address, width),
        },
        peer: None,
        broadcast: None,
        scope: match (address.is_loopback(), link_local) {
            (true, _) => Scope::Host,
            (_, true) => Scope::Link,
            _ => Scope::Global,
        },
        secondary,
        deprecated: false,
    }
}

fn kind(name: &str) -> InterfaceKind {
    if name == "lo" {
        InterfaceKind::Loopback
    } else if crate::build::interfaces::is_bridge_name(name) {
        InterfaceKind::Bridge
    } else if name.starts_with("veth") {
        InterfaceKind::Veth
    } else if super::clues::is_tunnel_name(name) {
        InterfaceKind::Tunnel
    } else {
        InterfaceKind::Other
    }
}

/// Adds the addresses that rules show to be the host's own, and where none is shown a placeholder
/// for the one that it surely has.
///
/// They count as secondary: rules do not tell which address comes first, so none of them may be
/// taken for the one that MASQUERADE picks (kernel-facts B2).
pub(super) fn add_own(host: &mut Host, clues: &Clues, devices: &Devices) {
    let settled = Part::Addresses.file_name();
    for (address, (interface, place)) in &clues.own {
        if host.owner(*address).is_some() || devices.is_inside(*address) {
            continue;
        }
        let named = interface.as_deref().or(devices.uplink.as_deref());
        let name = named.filter(|name| host.interface(name).is_some()).unwrap_or("lo").to_owned();
        if add(host, &name, *address) {
            let text = format!(
                "{address} is taken to be the host's own, from the rule at {place} ({settled} \
                 settles it)"
            );
            let assumption = Assumption { code: "inferred-address", text };
            host.assume_about(Subject::Address(*address), assumption);
        }
    }
    let Some(uplink) = devices.uplink.clone() else { return };
    for family in &clues.families {
        let known = host.interface(&uplink).is_some_and(|interface| {
            interface.addresses.iter().any(|address| Family::of(address.local) == *family)
        });
        let Some(address) = placeholder(host, clues, *family).filter(|_| !known) else { continue };
        if add(host, &uplink, address) {
            let text = format!(
                "no rule shows an address of {uplink}; {address} stands for it ({settled} settles \
                 it)"
            );
            let assumption = Assumption { code: "placeholder-address", text };
            host.assume_about(Subject::Address(address), assumption);
        }
    }
}

/// Adds an address to an interface; false where there is no such interface.
pub(super) fn add(host: &mut Host, name: &str, address: IpAddr) -> bool {
    let Some(interface) = host.interfaces.iter_mut().find(|i| i.name == name) else { return false };
    interface.addresses.push(InterfaceAddress {
        local: address,
        subnet: Prefix::new(address, if address.is_ipv4() { 32 } else { 128 }),
        peer: None,
        broadcast: None,
        scope: Scope::Global,
        secondary: true,
        deprecated: false,
    });
    true
}

/// An address of a documentation prefix that nothing in the rules comes near.
fn placeholder(host: &Host, clues: &Clues, family: Family) -> Option<IpAddr> {
    let choices: [IpAddr; 3] = match family {
        Family::Ipv4 => [
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv4Addr::new(198, 51, 100, 1).into(),
            Ipv4Addr::new(203, 0, 113, 1).into(),
        ],
        Family::Ipv6 => [
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1).into(),
        ],
    };
    choices.into_iter().find(|address| {
        let length = if address.is_ipv4() { 24 } else { 48 };
        let near = Prefix::new(*address, length);
        let mut known = host
            .interfaces
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(|own| own.local))
            .chain(clues.behind.iter().map(|(behind, ..)| *behind))
            .chain(clues.own.keys().copied())
            .chain(clues.subnets.iter().map(|clue| clue.subnet.network()));
        !known.any(|other| near.contains(other))
    })
}
