//! `sysctl net.ipv6.conf.all.disable_ipv6=0`.

use std::net::{IpAddr, Ipv6Addr};

use nattrace_model::address::Prefix;
use nattrace_model::host::route::{LOCAL, MAIN, NextHop, Route, RouteKind, TableId};
use nattrace_model::host::{Host, Interface, InterfaceAddress, InterfaceKind, Scope};

/// The metric of routes that the kernel makes (`IP6_RT_PRIO_ADDRCONF`).
const METRIC: u32 = 256;

/// Turns IPv6 on, on every interface, and makes what the kernel makes by itself where nothing is:
/// `::1`, and link-local addresses of interfaces with a hardware address (`addrconf_dev_config`).
/// What was configured is not known, and stays away.
pub(super) fn turn_on(host: &mut Host) {
    let names: Vec<String> = host.interfaces.iter().map(|own| own.name.clone()).collect();
    for name in names.iter().map(String::as_str).chain(["all", "default"]) {
        host.sysctls.insert(format!("net.ipv6.conf.{name}.disable_ipv6"), 0);
    }
    let mut routes = Vec::new();
    for own in &mut host.interfaces {
        let has_some = own.addresses.iter().any(|address| address.local.is_ipv6());
        let Some((local, length)) = address(own).filter(|_| own.up && !has_some) else { continue };
        let subnet = Prefix::new(local.into(), length);
        own.addresses.push(InterfaceAddress {
            local: local.into(),
            subnet: subnet.clone(),
            peer: None,
            broadcast: None,
            scope: if own.kind == InterfaceKind::Loopback { Scope::Host } else { Scope::Link },
            secondary: false,
            deprecated: false,
        });
        let whole = Prefix::new(local.into(), 128);
        routes.push((LOCAL, route(RouteKind::Local, whole, &own.name, 0)));
        if own.kind != InterfaceKind::Loopback {
            routes.push((MAIN, route(RouteKind::Unicast, subnet, &own.name, METRIC)));
            let multicast = Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8);
            routes.push((LOCAL, route(RouteKind::Multicast, multicast, &own.name, METRIC)));
        }
    }
    for (table, route) in routes {
        let table: TableId = table;
        host.routing.tables6.entry(table).or_default().insert(route);
    }
}

/// The address that the kernel gives an interface by itself, with the length of its subnet.
fn address(own: &Interface) -> Option<(Ipv6Addr, u8)> {
    if own.kind == InterfaceKind::Loopback {
        return Some((Ipv6Addr::LOCALHOST, 128));
    }
    let [a, b, c, d, e, f] = own.mac?;
    // EUI-64 (RFC 4291, appendix A).
    let words = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
    let [first, second, third, fourth] = words;
    Some((Ipv6Addr::new(0xfe80, 0, 0, 0, first, second, third, fourth), 64))
}

fn route(kind: RouteKind, destination: Prefix, interface: &str, metric: u32) -> Route {
    let what = match kind {
        RouteKind::Local => "local ",
        RouteKind::Multicast => "multicast ",
        _ => "",
    };
    let plain = match destination.length() {
        128 => destination.network().to_string(),
        _ => destination.to_string(),
    };
    let text = format!("{what}{plain} dev {interface} proto kernel metric {metric}");
    let interface = interface.to_owned();
    Route {
        kind,
        destination,
        next_hops: vec![NextHop { gateway: None::<IpAddr>, interface, weight: 1, dead: false }],
        preferred_source: None,
        metric,
        tos: 0,
        scope: Scope::Global,
        text,
    }
}
