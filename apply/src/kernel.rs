//! What the kernel shows as files: its settings.

use std::fs;
use std::path::{Path, PathBuf};

/// The settings that decide about packets, below `/proc/sys`; `*` stands for every name of a
/// folder. The script of [`crate::SCRIPT`] reads the same list.
pub const SYSCTLS: [&str; 45] = [
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
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_fwmark_accept",
    "net/ipv6/bindv6only",
    "net/ipv6/conf/*/disable_ipv6",
    "net/ipv6/conf/*/forwarding",
    "net/ipv6/conf/*/hop_limit",
    "net/ipv6/conf/*/mc_forwarding",
    "net/ipv6/conf/*/proxy_ndp",
    "net/ipv6/conf/*/rpl_seg_enabled",
    "net/ipv6/conf/*/seg6_enabled",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/icmp/echo_ignore_all",
    "net/ipv6/icmp/echo_ignore_anycast",
    "net/ipv6/icmp/echo_ignore_multicast",
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

    /// The settings that the simulator's sources name: as a whole, or for an interface.
    fn read_by_the_simulator(text: &str) -> Vec<String> {
        let text = text.split("#[cfg(test)]").next().unwrap_or("");
        let mut words = text.split('"').skip(1).step_by(2);
        let mut found = Vec::new();
        let whole = words.by_ref().filter(|word| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            word.starts_with("net.") && word.chars().all(plain)
        });
        found.extend(whole.map(|word| word.replace('.', "/")));
        for family in ["Ipv4", "Ipv6"] {
            let asks = format!("(Family::{family}, ");
            for call in text.split("sysctls").flat_map(|rest| rest.split(&asks).nth(1)) {
                let setting = call.split(')').next().and_then(|call| call.split('"').nth(1));
                let folder = format!("net/{}/conf/*", family.to_lowercase());
                found.extend(setting.map(|setting| format!("{folder}/{setting}")));
            }
        }
        let flags = text.split("flag(\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(flags.map(|setting| format!("net/ipv4/conf/*/{setting}")));
        found
    }

    #[test]
    fn what_the_simulator_reads_is_collected() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/src/simulate");
        let mut read = Vec::new();
        for entry in fs::read_dir(&folder).expect("the simulator is there") {
            let text = fs::read_to_string(entry.expect("an entry").path()).expect("a source");
            read.extend(read_by_the_simulator(&text));
        }
        let misses: Vec<&String> =
            read.iter().filter(|setting| !SYSCTLS.contains(&setting.as_str())).collect();
        assert!(misses.is_empty(), "no snapshot collects {misses:?}");
        for known in ["net/ipv4/conf/*/src_valid_mark", "net/ipv6/conf/*/disable_ipv6"] {
            assert!(read.iter().any(|setting| setting == known), "{read:?}");
        }
        assert!(read.len() > 15, "{read:?}");
    }
}
