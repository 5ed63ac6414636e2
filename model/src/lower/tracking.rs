//! What makes the kernel track connections.
//!
//! Without any of these the hooks of conntrack are not even registered, and the chains of nat see
//! no packet (kernel-facts A4; J1: each family for itself). Measured for each extension: `CT
//! --notrack` and `NOTRACK` are no such users, nor are TPROXY, `socket`, NFQUEUE and HMARK.

use nattrace_parser::syntax::ExtensionUse;

/// Whether a match needs the connection of a packet.
pub(super) fn match_needs_connections(name: &str) -> bool {
    matches!(
        name,
        "conntrack"
            | "state"
            | "connmark"
            | "connbytes"
            | "connlimit"
            | "connlabel"
            | "helper"
            | "cluster"
    )
}

/// Whether a target needs the connection of a packet.
pub(super) fn target_needs_connections(target: &ExtensionUse<'_>) -> bool {
    match target.extension.name {
        "SNAT" | "DNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" | "CONNMARK" | "CONNSECMARK"
        | "SYNPROXY" | "SAME" => true,
        "CT" => target.option("notrack").is_none(),
        _ => false,
    }
}
