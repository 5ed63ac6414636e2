//! Routing rules, as `ip rule` prints them.

mod json;
mod text;

use std::net::IpAddr;

use ipnet::IpNet;

use super::route::Table;
use super::{Read, json as values};
use crate::diagnostic::Diagnostic;
use crate::protocols;
use crate::span::Span;
use crate::syntax::Family;

/// One routing rule. A packet takes its action if all selectors match (or, with `not`, if not all
/// do).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRule {
    /// Its place: the lowest comes first.
    pub priority: u32,
    /// Whether `not` stands before the selectors.
    pub negated: bool,
    /// The family, where an address tells it. Other rules look alike in both families, so the
    /// part that they stand in has to tell.
    pub family: Option<Family>,
    /// The prefix of the source (`from`); absent for `all`.
    pub source: Option<IpNet>,
    /// The prefix of the destination (`to`).
    pub destination: Option<IpNet>,
    /// The mark and its mask (`fwmark`).
    pub mark: Option<(u32, u32)>,
    /// The interface a packet came in by (`iif`); `lo` stands for local packets.
    pub in_interface: Option<String>,
    /// The interface that a local socket is bound to (`oif`).
    pub out_interface: Option<String>,
    /// The TOS.
    pub tos: u8,
    /// The protocol number (`ipproto`).
    pub protocol: Option<u8>,
    /// The source ports, both ends inclusive.
    pub source_ports: Option<(u16, u16)>,
    /// The destination ports, both ends inclusive.
    pub destination_ports: Option<(u16, u16)>,
    /// The users of local sockets, both ends inclusive (`uidrange`).
    pub users: Option<(u32, u32)>,
    /// A found route of this prefix length or a shorter one does not count
    /// (`suppress_prefixlength`).
    pub suppress_prefix_length: Option<u32>,
    /// A found route by an interface of this group does not count (`suppress_ifgroup`).
    pub suppress_group: Option<String>,
    /// What it does.
    pub action: RuleAction,
    /// What was not understood; nothing may rely on whether such a rule matches. Each is a
    /// warning too.
    pub unsupported: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// What a routing rule does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RuleAction {
    /// Looks for a route in a table.
    Lookup(Table),
    /// Looks for a route in the table of the VRF of the packet's interface (`l3mdev`).
    LookupVrf,
    /// Goes on at the rule of this priority. Where there is none, the rule does nothing.
    Goto(u32),
    /// Nothing: a place to go to.
    #[default]
    Nop,
    /// Drops the packet.
    Blackhole,
    /// Answers that the network is unreachable.
    Unreachable,
    /// Answers that it is prohibited.
    Prohibit,
}

impl RoutingRule {
    /// A rule of which only the place is known.
    fn unsupported(priority: u32, text: &str, span: Span) -> Self {
        Self { priority, unsupported: vec![text.to_owned()], span, ..Self::default() }
    }
}

/// Reads what `ip rule` printed: JSON (`-j`) or text.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<RoutingRule>> {
    let mut diagnostics = Vec::new();
    let mut rules = match values::start(text) {
        Some(start) => json::rules(text, start, &mut diagnostics),
        None => text::rules(text, &mut diagnostics),
    };
    for rule in &mut rules {
        rule.family = rule.source.or(rule.destination).map(|net| Family::of(net.addr()));
    }
    if text.trim().is_empty() {
        let message = "expected routing rules, as `ip rule` prints, found none";
        diagnostics.push(Diagnostic::warning("empty-part", message, Span::default()));
    }
    (rules, diagnostics)
}

/// Reads a number that ip(8) prints in decimal or, with `0x`, in hexadecimal.
fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads a prefix; `Ok(None)` is `all`.
fn parse_prefix(address: &str, length: Option<u8>) -> Option<Option<IpNet>> {
    if matches!(address, "all" | "any" | "default") {
        return Some(None);
    }
    if let Ok(net) = address.parse::<IpNet>() {
        return Some(Some(net));
    }
    let address: IpAddr = address.parse().ok()?;
    match length {
        Some(length) => IpNet::new(address, length).ok().map(Some),
        None => Some(Some(IpNet::from(address))),
    }
}

/// Reads a protocol by the name or number that ip(8) prints.
fn parse_protocol(text: &str) -> Option<u8> {
    let number = || text.strip_prefix("ipproto-").unwrap_or(text).parse().ok();
    protocols::number(text).or_else(number)
}

/// Reads a range, or a number alone.
fn parse_range<T: std::str::FromStr + Copy + PartialOrd>(text: &str) -> Option<(T, T)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests;
