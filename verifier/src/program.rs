//! The programs that commands for people begin with.

use nattrace_parser::syntax::{Backend, Family};

/// `iptables`, `ip6tables`, or the one of these that speaks to the older backend.
pub(crate) fn iptables(family: Family, backend: Backend) -> &'static str {
    match (family, backend) {
        (Family::Ipv4, Backend::Nft) => "iptables",
        (Family::Ipv6, Backend::Nft) => "ip6tables",
        (Family::Ipv4, Backend::Legacy) => "iptables-legacy",
        (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy",
    }
}

/// `ip`, which takes IPv4 to be meant.
pub(crate) fn ip(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip -6",
    }
}
