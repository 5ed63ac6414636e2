//! The host under test: interfaces, addresses, routes and sets, and who is around it.
//!
//! ```text
//! w0   uplink, 203.0.113.2/24 (and a secondary) and 198.51.100.2/24, default via 203.0.113.1
//! w1   second uplink, 192.0.2.2/24, table 100: default via 192.0.2.1
//! lan  10.0.1.1/24 and 10.0.2.1/24, 10.50.0.0/16 via 10.0.1.254
//! br0  172.17.0.1/16, ports c1 c2 c3: a container each
//! br1  172.18.0.1/16 and 172.20.0.1/24, port d1: a container
//! lo   127.0.0.1/8 and 10.255.0.1/32
//! ```

mod around;
mod parts;
mod variation;

use std::fs;
use std::io;
use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_parser::syntax::Family;
use serde::{Deserialize, Serialize};

use super::command::output;
use super::frame::Mac;
use super::surroundings::WireName;

pub(crate) use around::Around;
pub(crate) use parts::{OWN_SYSCTLS, fixed_parts, varying_parts};

/// Every TAP device.
pub(crate) const WIRES: [WireName; 7] = ["w0", "w1", "lan", "c1", "c2", "c3", "d1"];

/// A container: a port of a bridge with somebody behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    pub(crate) name: &'static str,
    pub(crate) wire: WireName,
    pub(crate) bridge: &'static str,
    pub(crate) address4: IpAddr,
    pub(crate) address6: IpAddr,
    pub(crate) mac: Mac,
}

const fn container(name: &'static str, bridge: &'static str, network: u8, number: u8) -> Container {
    let address4 = IpAddr::V4(std::net::Ipv4Addr::new(172, network, 0, number));
    let sixth = 0xfd00 | if network == 17 { 0x17 } else { 0x18 };
    let address6 = std::net::Ipv6Addr::new(sixth, 0, 0, 0, 0, 0, 0, number as u16);
    Container {
        name,
        wire: name,
        bridge,
        address4,
        address6: IpAddr::V6(address6),
        mac: [0x02, 0x42, 0xac, network, 0, number],
    }
}

/// Every container.
pub(crate) const CONTAINERS: [Container; 4] = [
    container("c1", "br0", 17, 2),
    container("c2", "br0", 17, 3),
    container("c3", "br0", 17, 4),
    container("d1", "br1", 18, 2),
];

impl Container {
    /// Its address of a family.
    pub(crate) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => self.address4,
            Family::Ipv6 => self.address6,
        }
    }
}

/// The container at a wire.
pub(crate) fn container_at(wire: &str) -> Option<&'static Container> {
    CONTAINERS.iter().find(|container| container.wire == wire)
}

/// The container that has an address.
pub(crate) fn container_of(address: IpAddr) -> Option<&'static Container> {
    CONTAINERS.iter().find(|c| c.address4 == address || c.address6 == address)
}

/// The bridge that a wire is a port of.
pub(crate) fn bridge_of(wire: &str) -> Option<&'static str> {
    container_at(wire).map(|container| container.bridge)
}

/// The interface that rules see a wire's packets come in by.
pub(crate) fn interface_of(wire: WireName) -> &'static str {
    bridge_of(wire).unwrap_or(wire)
}

/// The hardware address of whoever has an address.
pub(crate) fn mac_of(address: IpAddr) -> Mac {
    if let Some(container) = container_of(address) {
        return container.mac;
    }
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0x02, 0x04, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let folded = bits ^ bits >> 32 ^ bits >> 64 ^ bits >> 96;
            let [a, b, c, d] = u32::try_from(folded & 0xffff_ffff).unwrap_or(0).to_be_bytes();
            [0x02, 0x06, a, b, c, d]
        }
    }
}

/// The hardware address of one of the host's own interfaces.
pub(crate) fn own_mac(interface: &str) -> Mac {
    let number = match interface {
        "br0" => 0x10,
        "br1" => 0x11,
        other => {
            let at = WIRES.iter().position(|wire| *wire == other).unwrap_or(0);
            u8::try_from(at).unwrap_or(0) + 1
        }
    };
    [0x02, 0xff, 0, 0, 0, number]
}

/// The addresses of the host with their interfaces, in the order in which they are added.
const ADDRESSES: [(&str, &str); 20] = [
    ("lo", "127.0.0.1/8"),
    ("lo", "10.255.0.1/32"),
    ("w0", "203.0.113.2/24"),
    ("w0", "203.0.113.3/24"),
    ("w0", "198.51.100.2/24"),
    ("w1", "192.0.2.2/24"),
    ("lan", "10.0.1.1/24"),
    ("lan", "10.0.2.1/24"),
    ("br0", "172.17.0.1/16"),
    ("br1", "172.18.0.1/16"),
    ("br1", "172.20.0.1/24"),
    ("lo", "fdff::1/128"),
    ("w0", "2001:db8:1::2/64"),
    ("w0", "2001:db8:1::3/64"),
    ("w0", "2001:db8:2::2/64"),
    ("w1", "2001:db8:5::2/64"),
    ("lan", "fd01::1/64"),
    ("lan", "fd02::1/64"),
    ("br0", "fd17::1/64"),
    ("br1", "fd18::1/64"),
];

/// Routes beside those that the addresses bring along.
const ROUTES: [&str; 17] = [
    "default via 203.0.113.1 dev w0",
    "10.50.0.0/16 via 10.0.1.254 dev lan",
    "blackhole 198.18.1.0/24",
    "unreachable 198.18.2.0/24",
    "prohibit 198.18.3.0/24",
    "throw 198.18.4.0/24",
    "local 198.18.5.0/24 dev lo",
    "default via 192.0.2.1 dev w1 table 100",
    "10.60.0.0/16 via 192.0.2.1 dev w1 src 192.0.2.2",
    "default via 2001:db8:1::1 dev w0",
    "fd50::/16 via fd01::fe dev lan",
    "blackhole 2001:db8:a1::/48",
    "unreachable 2001:db8:a2::/48",
    "prohibit 2001:db8:a3::/48",
    "throw 2001:db8:a4::/48",
    "local 2001:db8:a5::/64 dev lo",
    "default via 2001:db8:5::1 dev w1 table 100",
];

/// Neighbours whose hardware addresses are set, so that the kernel asks nobody: asking passes the
/// hooks in IPv6, and would count.
const NEIGHBOURS6: [(&str, &str, u16); 9] = [
    ("w0", "2001:db8:1::", 0x40),
    ("w0", "2001:db8:2::", 0x40),
    ("w1", "2001:db8:5::", 0x40),
    ("lan", "fd01::", 0x40),
    ("lan", "fd02::", 0x40),
    ("lan", "fd01::", 0x100),
    ("br0", "fd17::", 0x40),
    ("br1", "fd18::", 0x40),
    ("w0", "2001:db8:1::", 0x100),
];

/// Sets that rules may ask for, of both families.
const SETS: &str = "\
create clients hash:ip family inet
add clients 10.0.1.2
add clients 172.17.0.2
add clients 192.0.2.77
create nets hash:net family inet
add nets 10.0.0.0/8
add nets 10.0.1.0/28 nomatch
add nets 172.16.0.0/12
add nets 8.8.8.0/24
create services hash:ip,port family inet
add services 172.17.0.2,tcp:80
add services 203.0.113.2,udp:53
add services 8.8.8.8,tcp:443
create ports bitmap:port range 0-1024
add ports 22
add ports 53-80
create pairs hash:net,iface family inet
add pairs 10.0.0.0/8,lan
add pairs 172.17.0.0/16,br0
create clients6 hash:ip family inet6
add clients6 fd01::2
add clients6 fd17::2
create nets6 hash:net family inet6
add nets6 fd00::/8
add nets6 fd01::/124 nomatch
add nets6 2001:db8::/32
create services6 hash:ip,port family inet6
add services6 fd17::2,tcp:80
add services6 2001:db8:1::2,udp:53
create triples hash:ip,port,ip family inet
add triples 10.0.1.2,tcp:80,172.17.0.2
add triples 8.8.8.8,udp:53,203.0.113.2
add triples 10.0.1.3,icmp:echo-request,10.0.1.1
create netports hash:net,port family inet
add netports 10.0.0.0/8,tcp:80
add netports 10.0.1.2,tcp:80 nomatch
add netports 8.8.0.0/16,udp:1-1024
create bits bitmap:ip range 10.0.1.0/24
add bits 10.0.1.0/28
create portnets hash:ip,port,net family inet
add portnets 10.0.1.2,tcp:80,172.16.0.0/12
add portnets 172.17.0.2,udp:53,8.8.0.0/16
create triples6 hash:ip,port,ip family inet6
add triples6 fd01::2,tcp:80,fd17::2
add triples6 fd01::3,icmpv6:echo-request,fd01::1
create netports6 hash:net,port family inet6
add netports6 fd00::/8,tcp:80
add netports6 fd01::2,tcp:80 nomatch
create added hash:ip family inet
create added6 hash:ip family inet6
create either list:set
add either clients
add either services
";

/// What varies between rulesets beside the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variation {
    /// Settings as path below /proc/sys and value.
    pub(crate) sysctls: Vec<(String, String)>,
    /// hairpin_mode of every port.
    pub(crate) hairpin: bool,
    /// Whether the ports of br0 are isolated from one another.
    pub(crate) isolated: bool,
    /// Policy rules beside the usual three, of the family under test.
    pub(crate) policy_rules: Vec<String>,
    /// The bridges whose own `nf_call_iptables` and `nf_call_ip6tables` are on (kernel-facts K26).
    #[serde(default)]
    pub(crate) filtering: Vec<String>,
    /// The interface on which IPv6 is off, which takes its addresses along (kernel-facts K25).
    #[serde(default)]
    pub(crate) without6: Option<String>,
}

/// The name of a part and its text.
pub(crate) type Text = (String, String);

/// Brings up the interfaces; addresses and routes come once the TAP devices are held.
pub(crate) fn create_interfaces() -> io::Result<()> {
    let mut batch = String::from("link set lo up\n");
    for wire in WIRES {
        line(&mut batch, &format!("tuntap add dev {wire} mode tap"));
        line(&mut batch, &format!("link set {wire} address {}", text(own_mac(wire))));
    }
    for bridge in ["br0", "br1"] {
        let options = "type bridge stp_state 0 mcast_snooping 0 forward_delay 0";
        line(&mut batch, &format!("link add {bridge} {options}"));
        line(&mut batch, &format!("link set {bridge} address {}", text(own_mac(bridge))));
    }
    for container in CONTAINERS {
        line(&mut batch, &format!("link set {} master {}", container.wire, container.bridge));
    }
    ip(&batch)
}

/// Whether there are `local` routes beside those of the addresses: where there ever was one, the
/// kernel checks sources differently for good (kernel-facts K4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalRoutes {
    OfAddresses,
    Others,
}

/// Adds addresses, routes, neighbours, sets and settings.
pub(crate) fn configure(local: LocalRoutes) -> io::Result<()> {
    for (path, value) in FIXED {
        write_sysctl(path, value)?;
    }
    let mut batch = String::new();
    for interface in WIRES.into_iter().chain(["br0", "br1"]) {
        line(&mut batch, &format!("link set {interface} addrgenmode none"));
        line(&mut batch, &format!("link set {interface} up"));
    }
    for (interface, address) in ADDRESSES {
        let options = if address.contains(':') { " nodad" } else { "" };
        let brd = if address.contains(':') || interface == "lo" { "" } else { " brd +" };
        if address != "127.0.0.1/8" {
            line(&mut batch, &format!("addr add {address}{brd} dev {interface}{options}"));
        }
    }
    let left_out = |route: &&str| local == LocalRoutes::OfAddresses && route.starts_with("local ");
    for route in ROUTES.into_iter().filter(|route| !left_out(route)) {
        let kind = if route.contains("::") { "-6 route" } else { "route" };
        line(&mut batch, &format!("{kind} add {route}"));
    }
    let batch6: Vec<&str> = batch.lines().filter(|line| line.starts_with("-6")).collect();
    let batch4: Vec<&str> = batch.lines().filter(|line| !line.starts_with("-6")).collect();
    ip(&batch4.join("\n"))?;
    let batch6: String =
        batch6.iter().map(|line| format!("{}\n", &line.trim_start_matches("-6 "))).collect();
    output("ip", &["-6", "-batch", "-"], &batch6)?;
    ip(&neighbours())?;
    for container in CONTAINERS {
        let mac = text(container.mac);
        let arguments = ["fdb", "replace", &mac, "dev", container.wire, "master", "static"];
        output("bridge", &arguments, "")?;
    }
    output("ipset", &["restore"], SETS)?;
    Ok(())
}

fn neighbours() -> String {
    let mut batch = String::new();
    for (interface, prefix, from) in NEIGHBOURS6 {
        neighbour(&mut batch, interface, "fe80::5");
        for number in from..from + 0x20 {
            neighbour(&mut batch, interface, &format!("{prefix}{number:x}"));
        }
        if from == 0x40 {
            for number in (1..0x20).chain([0x77, 0x99, 0xfe]) {
                neighbour(&mut batch, interface, &format!("{prefix}{number:x}"));
            }
        }
    }
    batch
}

fn neighbour(batch: &mut String, interface: &str, address: &str) {
    let own = ADDRESSES.iter().any(|(_, own)| own.split('/').next() == Some(address));
    if let (false, Ok(parsed)) = (own, address.parse::<IpAddr>()) {
        let mac = text(mac_of(parsed));
        line(batch, &format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent"));
    }
}

fn line(batch: &mut String, command: &str) {
    batch.push_str(command);
    batch.push('\n');
}

fn ip(batch: &str) -> io::Result<()> {
    output("ip", &["-batch", "-"], batch).map(drop)
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Settings that every run has: no noise, no rate limits.
const FIXED: [(&str, &str); 21] = [
    ("net/ipv4/ip_forward", "1"),
    // Neighbours are asked for in the name of an address that they can answer to, whatever the
    // source of the packet is.
    ("net/ipv4/conf/all/arp_announce", "2"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/tcp_synack_retries", "0"),
    ("net/ipv4/tcp_syn_retries", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // Nothing is said of fragments that never come.
    ("net/ipv4/ipfrag_time", "86400"),
    ("net/ipv6/ip6frag_time", "86400"),
    ("net/netfilter/nf_conntrack_frag6_timeout", "86400"),
];

/// Sets one setting of the namespace.
pub(crate) fn write_sysctl(path: &str, value: &str) -> io::Result<()> {
    let file = format!("/proc/sys/{path}");
    fs::write(&file, value)
        .map_err(|error| io::Error::other(format!("can't write {value} to {file}: {error}")))
}

/// Whether an address is one of the host's own.
pub(crate) fn is_own(address: IpAddr) -> bool {
    ADDRESSES.iter().any(|(_, own)| {
        own.split('/').next().and_then(|own| own.parse::<IpAddr>().ok()) == Some(address)
    })
}

/// Whether an address is one of an interface of the host.
pub(crate) fn is_own_of(interface: &str, address: IpAddr) -> bool {
    ADDRESSES.iter().any(|(name, own)| {
        let parsed = own.split('/').next().and_then(|own| own.parse::<IpAddr>().ok());
        *name == interface && parsed == Some(address)
    })
}

/// The host's own addresses of a family.
pub(crate) fn own_addresses(family: Family) -> Vec<IpAddr> {
    let addresses = ADDRESSES.iter().filter_map(|(_, own)| own.split('/').next()?.parse().ok());
    addresses.filter(|address| Family::of(*address) == family).collect()
}

/// The prefix that is on-link at an interface and holds an address.
pub(crate) fn on_link(interface: &str, address: IpAddr) -> bool {
    ADDRESSES.iter().filter(|(name, _)| *name == interface).any(|(_, own)| {
        own.split_once('/').is_some_and(|(own, length)| {
            match (own.parse::<IpAddr>(), length.parse::<u8>()) {
                (Ok(own), Ok(length)) => Prefix::new(own, length).contains(address),
                _ => false,
            }
        })
    })
}
