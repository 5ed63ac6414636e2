//! What the kernel shows as files: its settings.

use std::fs;
use std::path::{Path, PathBuf};

/// The settings that decide about packets, below `/proc/sys`; `*` stands for every name of a
/// folder. The script of [`crate::SCRIPT`] reads the same list.
pub const SYSCTLS: [&str; 41] = [
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-filter-vlan-tagged",
    "net/bridge/bridge-nf-pass-vlan-input-dev",
    "net/ipv4/conf/*/accept_local",
    "net/ipv4/conf/*/arp_filter",
    "net/ipv4/conf/*/arp_ignore",
    "net/ipv4/conf/*/drop_gratuitous_arp",
    "net/ipv4/conf/*/drop_unicast_in_l2_multicast",
    "net/ipv4/conf/*/forwarding",
    "net/ipv4/conf/*/mc_forwarding",
    "net/ipv4/conf/*/proxy_arp",
    "net/ipv4/conf/*/proxy_arp_pvlan",
    "net/ipv4/conf/*/route_localnet",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/send_redirects",
    "net/ipv4/conf/*/src_valid_mark",
    "net/ipv4/fib_multipath_hash_policy",
    "net/ipv4/fwmark_reflect",
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/icmp_echo_ignore_broadcasts",
    "net/ipv4/icmp_errors_use_inbound_ifaddr",
    "net/ipv4/ip_default_ttl",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv4/tcp_fwmark_accept",
    "net/ipv6/bindv6only",
    "net/ipv6/conf/*/disable_ipv6",
    "net/ipv6/conf/*/forwarding",
    "net/ipv6/conf/*/hop_limit",
    "net/ipv6/conf/*/proxy_ndp",
    "net/ipv6/conf/*/rpl_seg_enabled",
    "net/ipv6/conf/*/seg6_enabled",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/icmp/echo_ignore_all",
    "net/ipv6/ip_nonlocal_bind",
    "net/netfilter/nf_conntrack_checksum",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_loose",
];

/// Whether this process may read rules and sockets of the whole host.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The settings as `sysctl -a` prints them, sorted by name.
pub(crate) fn sysctls() -> String {
    sysctls_below(Path::new("/proc/sys"))
}

fn sysctls_below(root: &Path) -> String {
    let mut lines: Vec<String> = SYSCTLS
        .iter()
        .flat_map(|pattern| files(root, pattern))
        .filter_map(|(name, file)| {
            // Some settings are write-only or need a capability: they are then not known.
            let value = fs::read_to_string(file).ok()?;
            Some(format!("{} = {}\n", dotted(&name), value.trim_end()))
        })
        .collect();
    lines.sort_unstable();
    lines.concat()
}

/// The files that a pattern names, with their names below the root.
fn files(root: &Path, pattern: &str) -> Vec<(String, PathBuf)> {
    let Some((before, after)) = pattern.split_once("/*/") else {
        return vec![(pattern.to_owned(), root.join(pattern))];
    };
    let Ok(folder) = fs::read_dir(root.join(before)) else { return Vec::new() };
    folder
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            Some((format!("{before}/{name}/{after}"), entry.path().join(after)))
        })
        .collect()
}

/// A path below `/proc/sys` as sysctl(8) writes it: dots for slashes, and slashes for the dots of
/// an interface's name.
fn dotted(path: &str) -> String {
    let swap = |letter| match letter {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    path.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_an_interface_name_becomes_a_slash() {
        assert_eq!(dotted("net/ipv4/conf/eth0.100/rp_filter"), "net.ipv4.conf.eth0/100.rp_filter");
    }

    #[test]
    fn this_host_tells_its_settings_sorted() {
        let text = sysctls();
        let names: Vec<&str> =
            text.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
        assert!(names.contains(&"net.ipv4.ip_forward"), "{text}");
        assert!(names.contains(&"net.ipv4.conf.lo.rp_filter"), "{text}");
        assert!(names.is_sorted());
    }
}
