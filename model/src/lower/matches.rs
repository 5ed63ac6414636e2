//! What matches ask, extension by extension (iptables-extensions(8)).
//!
//! Not modelled, hence undecided: `bpf`, `cgroup`, `cluster`, `connlabel`, `devgroup`, `eui64`,
//! `helper`, `ipvs`, `nfacct`, `osf`, `policy`, `realm`, `socket`, `string`, `tcpmss`, `u32`, and of
//! matches that are modelled `--tcp-option`, `--chunk-types`, `--dccp-types`, `--dccp-option`,
//! `--ahspi`, `--espspi`, `--ipcompspi`, `--mh-type` and `--suppl-groups`.

mod chance;
mod connection;
mod extension_header;
mod header;
mod host;

use nattrace_parser::syntax::{ExtensionUse, OptionUse};

use super::conditions::Conditions;
use crate::condition::Condition;

/// Adds what one `-m NAME …` asks.
pub(super) fn lower_match(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let each: fn(&OptionUse<'_>) -> Option<Condition> = match given.extension.name {
        "comment" => return,
        "tcp" => header::tcp,
        "udp" | "udplite" | "sctp" | "dccp" => header::ports,
        "multiport" => header::multiport,
        "icmp" => header::icmp,
        "icmp6" => header::icmpv6,
        "iprange" => header::address_range,
        "mac" => header::mac,
        "length" => header::length,
        "ttl" | "hl" => header::ttl,
        "tos" => header::tos,
        "dscp" => header::dscp,
        "ecn" => header::ecn,
        "pkttype" => header::link_delivery,
        "mark" => header::mark,
        "connmark" => connection::mark,
        "state" => connection::state,
        "physdev" => host::physdev,
        "conntrack" => return connection::conntrack(given, out),
        "addrtype" => return host::address_type(given, out),
        "owner" => return host::owner(given, out),
        "rpfilter" => return host::reverse_path(given, out),
        "set" => return host::set(given, out),
        "limit" => return chance::limit(given, out),
        "hashlimit" => return chance::hashlimit(given, out),
        "recent" => return chance::recent(given, out),
        "statistic" => return chance::statistic(given, out),
        "quota" => return chance::quota(given, out),
        "connlimit" => return chance::connlimit(given, out),
        "connbytes" => return chance::connbytes(given, out),
        "time" => return chance::time(given, out),
        // Another processor, another answer; the traffic of the group so far, another answer.
        "cpu" | "rateest" => return out.chance(None),
        "rt" | "frag" | "hbh" | "dst" | "srh" => return out.push(Condition::Constant(false)),
        "ah" => return extension_header::ah(given, out),
        "esp" | "ipcomp" | "mh" => extension_header::by_protocol,
        "ipv6header" => return extension_header::headers(given, out),
        _ => return out.unsupported(),
    };
    for option in &given.options {
        out.push_or_unsupported(each(option));
    }
}
