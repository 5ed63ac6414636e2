//! Interfaces, addresses, settings and sets of a rebuilt host.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nattrace_model::host::{Host, Interface, InterfaceAddress, InterfaceKind, Scope};

use super::SelftestError;
use super::around::{Around, mac_text};
use crate::lab::command::{output, run};
use crate::lab::topology::write_sysctl;

/// Creates bridges and TAP devices; whoever holds the devices must take them before they are up.
pub(super) fn create_interfaces(host: &Host, around: &Around) -> io::Result<()> {
    let mut batch = String::from("link set lo up\n");
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _infallible = writeln!(batch, "{text}");
    };
    // In the order of the host: where an interface has no address to masquerade with, the kernel
    // takes one of the first interface that has (`inet_select_addr`).
    for interface in &host.interfaces {
        match interface.kind {
            InterfaceKind::Loopback => {}
            InterfaceKind::Bridge => {
                let options = "type bridge stp_state 0 mcast_snooping 0 forward_delay 0";
                line(format_args!("link add {} {options}", interface.name));
            }
            InterfaceKind::Veth | InterfaceKind::Tunnel | InterfaceKind::Other => {
                line(format_args!("tuntap add dev {} mode tap", interface.name));
            }
        }
    }
    for wire in around.wires.iter().filter(|wire| host.interface(wire.name).is_none()) {
        line(format_args!("tuntap add dev {} mode tap", wire.name));
    }
    for (interface, mac) in &around.own_macs {
        line(format_args!("link set {interface} address {}", mac_text(*mac)));
    }
    // Addresses come from the snapshot alone. Whoever takes a TAP device brings it up.
    for name in around.wires.iter().map(|wire| wire.name).chain(bridges(host)) {
        line(format_args!("link set {name} addrgenmode none"));
    }
    for wire in &around.wires {
        // A bridge that the snapshot names and does not show is none.
        let bridge = wire.bridge.as_deref().filter(|bridge| host.interface(bridge).is_some());
        if let Some(bridge) = bridge {
            line(format_args!("link set {} master {bridge}", wire.name));
        }
    }
    ip(&batch)
}

fn ip(batch: &str) -> io::Result<()> {
    output("ip", &["-batch", "-"], batch).map(drop)
}

/// Settings under which the rebuilt host sends nothing that nobody asked for, and holds nothing
/// back; those of the snapshot are written over them.
const QUIET: [(&str, &str); 14] = [
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/tcp_synack_retries", "0"),
    ("net/ipv4/tcp_syn_retries", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/router_solicitations", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

/// Settings that belong to the rebuilt host's quiet, whatever the snapshot says: nothing that
/// the simulator tells depends on them.
const KEPT: [&str; 3] = ["send_redirects", "accept_dad", "accept_ra"];

/// Brings interfaces up, adds addresses, and writes settings.
pub(super) fn configure(
    host: &Host,
    around: &Around,
    not_rebuilt: &mut Vec<String>,
) -> Result<(), SelftestError> {
    for (path, value) in QUIET {
        // Some belong to the whole machine on some kernels; they are asked for, not needed.
        let _refused = write_sysctl(path, value);
    }
    let mut batch = String::new();
    for name in around.wires.iter().map(|wire| wire.name).chain(bridges(host)) {
        // A port that is there for a container is up.
        let up = host.interface(name).is_none_or(|interface| interface.up);
        let _infallible = writeln!(batch, "link set {name} {}", if up { "up" } else { "down" });
    }
    ip(&batch)?;
    write_settings(host, not_rebuilt);
    for interface in &host.interfaces {
        for address in &interface.addresses {
            add_address(interface, address, not_rebuilt)?;
        }
    }
    configure_ports(host, around, not_rebuilt)?;
    // Addresses may have come before a setting that their interfaces inherit.
    write_settings(host, &mut Vec::new());
    Ok(())
}

fn bridges(host: &Host) -> impl Iterator<Item = &str> {
    let bridges = host.interfaces.iter().filter(|i| i.kind == InterfaceKind::Bridge);
    bridges.map(|interface| interface.name.as_str())
}

fn add_address(
    interface: &Interface,
    address: &InterfaceAddress,
    not_rebuilt: &mut Vec<String>,
) -> io::Result<()> {
    let InterfaceAddress { local, subnet, peer, broadcast, scope, deprecated, .. } = address;
    // The kernel adds these itself.
    if interface.kind == InterfaceKind::Loopback && (local.is_loopback()) {
        return Ok(());
    }
    let length = subnet.length();
    let mut words = vec!["addr".to_owned(), "add".to_owned()];
    match peer {
        Some(peer) => {
            words.extend([local.to_string(), "peer".to_owned(), format!("{peer}/{length}")])
        }
        None => words.push(format!("{local}/{length}")),
    }
    if let Some(IpAddr::V4(broadcast)) = broadcast {
        words.extend(["broadcast".to_owned(), broadcast.to_string()]);
    }
    let scope = match scope {
        Scope::Global => "global",
        Scope::Site => "site",
        Scope::Link => "link",
        Scope::Host => "host",
    };
    words.extend(["scope".to_owned(), scope.to_owned(), "dev".to_owned(), interface.name.clone()]);
    if local.is_ipv6() {
        words.push("nodad".to_owned());
        if *deprecated {
            words.extend(["preferred_lft".to_owned(), "0".to_owned()]);
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = run("ip", &words, "")?;
    if !ran.succeeded {
        not_rebuilt.push(format!(
            "address {local} of {}: {}",
            interface.name,
            first_line(&ran.stderr)
        ));
    }
    Ok(())
}

/// Hairpin mode and isolation of ports, and who is behind each.
fn configure_ports(host: &Host, around: &Around, not_rebuilt: &mut Vec<String>) -> io::Result<()> {
    let mut batch = String::new();
    for interface in &host.interfaces {
        let Some(port) = &interface.port else { continue };
        let flag = |known: Option<bool>| if known == Some(true) { "on" } else { "off" };
        let (name, hairpin, isolated) = (&interface.name, flag(port.hairpin), flag(port.isolated));
        let _infallible =
            writeln!(batch, "link set dev {name} hairpin {hairpin} isolated {isolated}");
    }
    for wire in &around.wires {
        if let (Some(guest), Some(_)) = (&wire.guest, &wire.bridge) {
            let mac = mac_text(guest.mac);
            let _infallible = writeln!(batch, "fdb replace {mac} dev {} master static", wire.name);
        }
    }
    let ran = run("bridge", &["-batch", "-"], &batch)?;
    if !ran.succeeded {
        not_rebuilt.push(format!("ports of bridges: {}", first_line(&ran.stderr)));
    }
    Ok(())
}

/// Writes the settings that the snapshot tells: those of the whole host, those of all interfaces,
/// then those of each.
fn write_settings(host: &Host, not_rebuilt: &mut Vec<String>) {
    let mut settings: Vec<(&str, i64)> = host.sysctls.iter().collect();
    settings.sort_by_key(|(name, _)| {
        let per_interface = name.contains(".conf.");
        let for_all = name.contains(".conf.all.") || name.contains(".conf.default.");
        (per_interface, per_interface && !for_all)
    });
    for (name, value) in settings {
        if KEPT.iter().any(|kept| name.ends_with(kept)) {
            continue;
        }
        let path = Path::new("/proc/sys").join(setting_path(name));
        // What belongs to the whole machine is not there, and settings of interfaces that are
        // not there bear on nothing.
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value.to_string())
            && let Err(error) = fs::write(&path, value.to_string())
        {
            not_rebuilt.push(format!("{name} = {value}: {error}"));
        }
    }
}

/// The file of a setting: the name of an interface may hold dots, those of settings do not.
fn setting_path(name: &str) -> PathBuf {
    for prefix in ["net.ipv4.conf.", "net.ipv6.conf."] {
        if let Some((interface, setting)) =
            name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('.'))
        {
            return Path::new(&prefix.replace('.', "/")).join(interface).join(setting);
        }
    }
    PathBuf::from(name.replace('.', "/"))
}

/// Makes the sets, from what `ipset save` printed.
pub(super) fn create_sets(saved: &str) -> Result<(), SelftestError> {
    if saved.trim().is_empty() {
        return Ok(());
    }
    let ran = run("ipset", &["restore"], saved)?;
    if ran.succeeded {
        return Ok(());
    }
    let why = format!("ipset refuses the sets: {}", first_line(&ran.stderr));
    Err(SelftestError::NotRebuilt(why))
}

/// The first line of what a program complained of.
pub(super) fn first_line(stderr: &str) -> &str {
    stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_with_dots_is_one_folder() {
        let path = |name| setting_path(name).display().to_string();
        assert_eq!(path("net.ipv4.conf.eth0.100.rp_filter"), "net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
    }
}
