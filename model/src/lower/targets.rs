//! What targets do, extension by extension (iptables-extensions(8)).
//!
//! Not modelled: `CLUSTERIP`, `HMARK`, `SYNPROXY`, what is no part of iptables, and
//! of targets that are modelled `SET --map-set` and the zones of `CT` that are for one direction only
//! or come from the mark.

mod nat;
mod rewrite;

use nattrace_parser::syntax::{ExtensionUse, Value};

use super::value::{number, text};
use crate::target::{RejectWith, Target};

/// What one `-j NAME …` does.
pub(super) fn lower_target(given: &ExtensionUse<'_>) -> Target {
    let name = given.extension.name;
    let lowered = match name {
        "REJECT" => reject(given),
        "LOG" | "NFLOG" | "ULOG" => Some(Target::Log),
        "MARK" => rewrite::mark(given),
        "CONNMARK" => rewrite::connmark(given),
        "TTL" | "HL" => rewrite::ttl(given),
        "TOS" => rewrite::tos(given),
        "DSCP" => rewrite::dscp(given),
        "CT" => conntrack(given),
        "NOTRACK" => Some(Target::Notrack),
        "SNAT" => nat::snat(given),
        "DNAT" => nat::dnat(given),
        "MASQUERADE" => nat::masquerade(given),
        "REDIRECT" => nat::redirect(given),
        "NETMAP" => nat::netmap(given),
        "SNPT" => nat::prefixes(given).map(Target::Snpt),
        "DNPT" => nat::prefixes(given).map(Target::Dnpt),
        "TPROXY" => nat::tproxy(given),
        "NFQUEUE" => Some(Target::Queue { bypass: given.option("queue-bypass").is_some() }),
        "QUEUE" => Some(Target::Queue { bypass: false }),
        "SET" => set(given),
        _ => continues(name).map(Target::Continue),
    };
    lowered.unwrap_or_else(|| Target::Unsupported(name.into()))
}

/// The targets after which a packet goes on as if nothing had happened, in lower case.
fn continues(name: &str) -> Option<&'static str> {
    Some(match name {
        "AUDIT" => "audit",
        "CHECKSUM" => "checksum",
        "CLASSIFY" => "classify",
        "CONNSECMARK" => "connsecmark",
        "ECN" => "ecn",
        "IDLETIMER" => "idletimer",
        "LED" => "led",
        "RATEEST" => "rateest",
        "SECMARK" => "secmark",
        "TCPMSS" => "tcpmss",
        "TCPOPTSTRIP" => "tcpoptstrip",
        "TEE" => "tee",
        "TRACE" => "trace",
        _ => return None,
    })
}

/// `REJECT` (kernel-facts G15, J10).
fn reject(given: &ExtensionUse<'_>) -> Option<Target> {
    let with = match given.option("reject-with") {
        Some(option) => text(&option.value)?,
        None => return None,
    };
    let (kind, code) = match with {
        "tcp-reset" | "tcp-rst" => return Some(Target::Reject(RejectWith::TcpReset)),
        "icmp-net-unreachable" | "net-unreach" => (3, 0),
        "icmp-host-unreachable" | "host-unreach" => (3, 1),
        "icmp-proto-unreachable" | "proto-unreach" => (3, 2),
        "icmp-port-unreachable" | "port-unreach" => (3, 3),
        "icmp-net-prohibited" | "net-prohib" => (3, 9),
        "icmp-host-prohibited" | "host-prohib" => (3, 10),
        "icmp-admin-prohibited" | "admin-prohib" => (3, 13),
        "icmp6-no-route" | "no-route" => (1, 0),
        "icmp6-adm-prohibited" | "adm-prohibited" => (1, 1),
        "icmp6-addr-unreachable" | "addr-unreach" => (1, 3),
        "icmp6-port-unreachable" => (1, 4),
        "icmp6-policy-fail" | "policy-fail" => (1, 5),
        "icmp6-reject-route" | "reject-route" => (1, 6),
        _ => return None,
    };
    Some(Target::Reject(RejectWith::Icmp { kind, code }))
}

/// `CT`. A helper, a timeout policy and events change nothing for the packet itself; a zone of
/// one direction is not modelled.
fn conntrack(given: &ExtensionUse<'_>) -> Option<Target> {
    if given.option("notrack").is_some() {
        return Some(Target::Notrack);
    }
    let mut zone = None;
    for option in &given.options {
        match option.option.name {
            "zone" => zone = Some(zone_number(&option.value)?),
            "helper" | "timeout" | "ctevents" | "expevents" => {}
            _ => return None,
        }
    }
    Some(zone.map_or(Target::ConntrackOptions, Target::Zone))
}

fn zone_number(value: &Value<'_>) -> Option<u16> {
    match value {
        Value::Text(text) => text.parse().ok(),
        _ => number(value),
    }
}

/// `SET`. An entry that is added or deleted concerns later packets; `--map-set` rewrites this one.
fn set(given: &ExtensionUse<'_>) -> Option<Target> {
    if given.option("map-set").is_some() {
        return None;
    }
    let option = given.option("add-set").or_else(|| given.option("del-set"))?;
    let Value::Set { name, directions } = &option.value else { return None };
    Some(Target::Set { name: name.as_ref().into(), directions: directions.as_slice().into() })
}
