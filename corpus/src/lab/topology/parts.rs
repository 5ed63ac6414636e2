//! The host under test as a snapshot tells it.

use std::fmt::Write as _;
use std::fs;
use std::io;

use serde_json::{Value, json};

use super::{CONTAINERS, Container, Text, WIRES, text};
use crate::lab::command::output;

/// A part of a snapshot, and the program that prints it.
type Asked = (&'static str, &'static str, &'static [&'static str]);

/// The parts of a snapshot that a [`Variation`] does not touch.
pub(crate) fn fixed_parts() -> io::Result<Vec<Text>> {
    let mut texts = ask(&[("ipset-save", "ipset", &["save"]), ("listeners", "ss", &["-Hlntup"])])?;
    let (networks, containers) = docker();
    texts.push(("docker-network-inspect.json".to_owned(), networks.to_string()));
    texts.push(("docker-inspect.json".to_owned(), containers.to_string()));
    texts.push(("zones.toml".to_owned(), zones()));
    Ok(texts)
}

/// The parts of a snapshot that a [`Variation`] touches.
pub(crate) fn varying_parts() -> io::Result<Vec<Text>> {
    let mut texts = ask(&[
        ("ip-addr.json", "ip", &["-j", "-d", "addr"]),
        // Of all tables both families are listed.
        ("ip-route.json", "ip", &["-j", "route", "show", "table", "all"]),
        ("ip6-route.json", "ip", &["-j", "-6", "route", "show", "table", "all"]),
        ("ip-rule.json", "ip", &["-j", "rule"]),
        ("ip6-rule.json", "ip", &["-j", "-6", "rule"]),
        ("bridge-link.json", "bridge", &["-j", "-d", "link"]),
    ])?;
    texts.push(("sysctl".to_owned(), sysctl()?));
    Ok(texts)
}

fn ask(parts: &[Asked]) -> io::Result<Vec<Text>> {
    let text = |(name, program, arguments): &Asked| {
        Ok(((*name).to_owned(), output(program, arguments, "")?))
    };
    parts.iter().map(text).collect()
}

/// Settings of every interface that decide about packets.
const INTERFACE_SYSCTLS: [&str; 6] = [
    "accept_local",
    "forwarding",
    "route_localnet",
    "rp_filter",
    "send_redirects",
    "src_valid_mark",
];

/// Settings of what the host itself sends (kernel-facts K21 to K24).
pub(crate) const OWN_SYSCTLS: [&str; 10] = [
    "net/ipv4/fwmark_reflect",
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/icmp_echo_ignore_broadcasts",
    "net/ipv4/icmp_errors_use_inbound_ifaddr",
    "net/ipv4/ip_default_ttl",
    "net/ipv4/tcp_fwmark_accept",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/icmp/echo_ignore_all",
    "net/ipv6/icmp/echo_ignore_anycast",
    "net/ipv6/icmp/echo_ignore_multicast",
];

fn sysctl() -> io::Result<String> {
    let mut paths: Vec<String> = [
        "net/ipv4/ip_forward",
        "net/bridge/bridge-nf-call-iptables",
        "net/bridge/bridge-nf-call-ip6tables",
        "net/netfilter/nf_conntrack_tcp_loose",
        "net/netfilter/nf_conntrack_checksum",
    ]
    .into_iter()
    .chain(OWN_SYSCTLS)
    .map(str::to_owned)
    .collect();
    let interfaces = WIRES.into_iter().chain(["br0", "br1", "lo", "all", "default"]);
    for interface in interfaces {
        for setting in INTERFACE_SYSCTLS {
            paths.push(format!("net/ipv4/conf/{interface}/{setting}"));
        }
        for setting in ["disable_ipv6", "forwarding", "hop_limit"] {
            paths.push(format!("net/ipv6/conf/{interface}/{setting}"));
        }
    }
    let mut listing = String::new();
    for path in paths {
        // Some are not there: bridge settings without br_netfilter.
        if let Ok(value) = fs::read_to_string(format!("/proc/sys/{path}")) {
            let _infallible = writeln!(listing, "{} = {}", path.replace('/', "."), value.trim());
        }
    }
    Ok(listing)
}

/// The containers as `docker network inspect` and `docker inspect` would tell.
fn docker() -> (Value, Value) {
    let network = |name: &str, four: &str, six: &str| {
        json!({
            "Name": format!("net-{name}"),
            "Id": format!("{name}{}", "0".repeat(61)),
            "Driver": "bridge",
            "EnableIPv6": true,
            "Internal": false,
            "IPAM": {"Config": [
                {"Subnet": format!("{four}.0.0/16"), "Gateway": format!("{four}.0.1")},
                {"Subnet": format!("{six}::/64"), "Gateway": format!("{six}::1")},
            ]},
            "Options": {"com.docker.network.bridge.name": name},
        })
    };
    let container = |container: &Container| {
        let net = format!("net-{}", container.bridge);
        let four = if container.bridge == "br0" { "172.17" } else { "172.18" };
        let six = if container.bridge == "br0" { "fd17" } else { "fd18" };
        json!({
            "Id": format!("{}{}", container.name, "0".repeat(62)),
            "Name": format!("/{}", container.name),
            "Config": {"Hostname": container.name},
            "State": {"Running": true},
            "HostConfig": {"NetworkMode": net, "PortBindings": {}},
            "NetworkSettings": {"Ports": {}, "Networks": {net: {
                "NetworkID": format!("{}{}", container.bridge, "0".repeat(61)),
                "MacAddress": text(container.mac),
                "Gateway": format!("{four}.0.1"),
                "IPAddress": container.address4.to_string(),
                "IPPrefixLen": 16,
                "IPv6Gateway": format!("{six}::1"),
                "GlobalIPv6Address": container.address6.to_string(),
                "GlobalIPv6PrefixLen": 64,
            }}},
        })
    };
    let networks = json!([network("br0", "172.17", "fd17"), network("br1", "172.18", "fd18")]);
    let containers: Vec<Value> = CONTAINERS.iter().map(container).collect();
    (networks, Value::Array(containers))
}

/// Everybody behind the uplinks and the LAN sends everything to this host.
fn zones() -> String {
    let mut zones = String::new();
    for wire in ["w0", "w1", "lan"] {
        let _infallible = writeln!(
            zones,
            "[zones.behind-{wire}]\nvia = [\"{wire}\"]\nnets = [\"0.0.0.0/0\", \"::/0\"]\nroutes = [\"0.0.0.0/0\", \"::/0\"]"
        );
    }
    zones
}
