//! Interfaces, from `ip addr` and `bridge link`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nattrace_parser::host::address as listed;
use nattrace_parser::host::bridge as ports;
use nattrace_parser::host::scope::Scope as ListedScope;

use crate::address::Prefix;
use crate::host::{
    Assumption, BridgeFilter, BridgePort, Interface, InterfaceAddress, InterfaceKind, Part, Scope,
};

/// Kinds of links that carry bare IP packets between two ends (`ip -d link`).
const TUNNEL_KINDS: [&str; 14] = [
    "wireguard",
    "tun",
    "ipip",
    "ip6tnl",
    "sit",
    "gre",
    "ip6gre",
    "vti",
    "vti6",
    "xfrm",
    "ppp",
    "ovpn",
    "ipvti",
    "amt",
];

/// The words behind `link/` of such links, for listings without `-d`.
const TUNNEL_LINK_TYPES: [&str; 8] =
    ["none", "ppp", "ipip", "tunnel6", "sit", "gre", "gre6", "rawip"];

/// The interfaces in the order of their numbers.
pub(super) fn interfaces(
    listing: &[listed::Interface],
    bridge_ports: Option<&[ports::BridgePort]>,
    network_bridges: &BTreeSet<String>,
    assumptions: &mut Vec<Assumption>,
) -> Vec<Interface> {
    let bridge_ports = bridge_ports.unwrap_or(&[]);
    let bridges = bridge_names(listing, bridge_ports, network_bridges);
    let mut next_index = listing.iter().filter_map(|interface| interface.index).max().unwrap_or(0);
    let mut state_unknown = Vec::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    for interface in listing {
        let up = interface.is_up();
        if up.is_none() {
            state_unknown.push(interface.name.as_str());
        }
        let port = port(interface, bridge_ports, &bridges);
        interfaces.push(Interface {
            name: interface.name.clone(),
            index: interface.index.unwrap_or_else(|| {
                next_index = next_index.saturating_add(1);
                next_index
            }),
            up: up.unwrap_or(true),
            kind: kind(interface, &bridges, port.is_some()),
            mac: interface.mac,
            mtu: interface.mtu,
            addresses: addresses(interface),
            port,
            bridge_filter: interface.bridge.map_or_else(BridgeFilter::default, |bridge| {
                BridgeFilter { ipv4: bridge.nf_call_iptables, ipv6: bridge.nf_call_ip6tables }
            }),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    if !state_unknown.is_empty() {
        assumptions.push(Assumption {
            code: "interface-up",
            text: format!(
                "{} taken to be up: the listing of addresses shows no flags ({} settles it)",
                is_list(&state_unknown),
                Part::Addresses.file_name()
            ),
        });
    }
    interfaces
}

/// `eth0 is`, or `eth0, eth1 are`.
fn is_list(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

/// The interfaces that are bridges: they say so, something is their port, or docker says so.
fn bridge_names(
    listing: &[listed::Interface],
    bridge_ports: &[ports::BridgePort],
    network_bridges: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = network_bridges.clone();
    names.extend(bridge_ports.iter().filter_map(|port| port.master.clone()));
    for interface in listing {
        let is_bridge_port = interface.port_kind.as_deref().is_none_or(|kind| kind == "bridge");
        if let Some(master) = interface.master.as_ref().filter(|_| is_bridge_port) {
            names.insert(master.clone());
        }
        if interface.kind.as_deref() == Some("bridge") || is_bridge_name(&interface.name) {
            names.insert(interface.name.clone());
        }
    }
    // Bonds, teams and VRFs have ports too; without `-d` their flag tells them from bridges.
    for interface in listing {
        let other_kind = interface.kind.as_deref().is_some_and(|kind| kind != "bridge");
        let other_master = interface.flags.iter().flatten().any(|flag| flag == "MASTER");
        if other_kind || other_master {
            names.remove(&interface.name);
        }
    }
    names
}

/// Whether a name is one that only bridges are given by the programs that make them.
pub(crate) fn is_bridge_name(name: &str) -> bool {
    let numbered = |beginning: &str| {
        name.strip_prefix(beginning)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name.starts_with("br-")
        || ["docker_gwbridge", "kube-bridge"].contains(&name)
        || [
            "docker",
            "br",
            "virbr",
            "lxdbr",
            "lxcbr",
            "incusbr",
            "cni",
            "cni-podman",
            "podman",
            "vmbr",
            "cbr",
            "nerdctl",
        ]
        .iter()
        .any(|beginning| numbered(beginning))
}

fn kind(interface: &listed::Interface, bridges: &BTreeSet<String>, is_port: bool) -> InterfaceKind {
    let has_flag = |wanted: &str| interface.flags.iter().flatten().any(|flag| flag == wanted);
    let kind = interface.kind.as_deref();
    let tunnel_link =
        interface.link_type.as_deref().is_some_and(|link| TUNNEL_LINK_TYPES.contains(&link));
    let elsewhere = matches!(interface.link, Some(listed::Link::Elsewhere(_)));
    if interface.is_loopback() {
        InterfaceKind::Loopback
    } else if bridges.contains(&interface.name) {
        InterfaceKind::Bridge
    } else if kind == Some("veth")
        || (kind.is_none() && (interface.name.starts_with("veth") || (is_port && elsewhere)))
    {
        InterfaceKind::Veth
    } else if has_flag("POINTOPOINT")
        || tunnel_link
        || kind.is_some_and(|kind| TUNNEL_KINDS.contains(&kind) && interface.mac.is_none())
    {
        InterfaceKind::Tunnel
    } else {
        InterfaceKind::Other
    }
}

/// How the interface is set up as a port of a bridge.
fn port(
    interface: &listed::Interface,
    bridge_ports: &[ports::BridgePort],
    bridges: &BTreeSet<String>,
) -> Option<BridgePort> {
    let listed = bridge_ports.iter().find(|port| port.name == interface.name);
    let master = listed.and_then(|port| port.master.as_ref()).or(interface.master.as_ref())?;
    bridges.contains(master).then(|| BridgePort {
        bridge: master.clone(),
        hairpin: listed.and_then(|port| port.hairpin),
        isolated: listed.and_then(|port| port.isolated),
    })
}

/// The addresses that are in use, in the order of the kernel.
fn addresses(interface: &listed::Interface) -> Vec<InterfaceAddress> {
    let usable = |address: &&listed::Address| {
        let flags = address.flags;
        // An IPv6 address is none before the check for duplicates has passed.
        !flags.dad_failed && (!flags.tentative || flags.optimistic)
    };
    interface
        .addresses
        .iter()
        .filter(usable)
        .map(|address| InterfaceAddress {
            local: address.local,
            subnet: Prefix::new(address.peer.unwrap_or(address.local), address.prefix_len),
            peer: address.peer,
            broadcast: address.broadcast.map(Into::into),
            scope: address.scope.map_or_else(|| default_scope(address.local), scope),
            // IPv6 has the word too, for temporary addresses, with another meaning.
            secondary: address.flags.secondary && address.local.is_ipv4(),
            deprecated: address.flags.deprecated,
        })
        .collect()
}

/// The scope that the kernel gives an address for which none is printed (`ip -br`).
fn default_scope(address: IpAddr) -> Scope {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if address.is_loopback() {
        Scope::Host
    } else if link_local {
        Scope::Link
    } else {
        Scope::Global
    }
}

/// The scope by its number: the four that matter, each with those just wider than it.
pub(super) fn scope(listed: ListedScope) -> Scope {
    match listed.number() {
        0 => Scope::Global,
        1..=200 => Scope::Site,
        201..=253 => Scope::Link,
        254.. => Scope::Host,
    }
}
