//! Matches that chance, rates, counters, clocks or earlier packets decide.
//!
//! What is said of the first packet after the rules were loaded was measured (kernel-facts G19) for
//! a packet that no other rule of the ruleset has entered into the same list.

use nattrace_parser::syntax::{ExtensionUse, Value};

use crate::condition::{Condition, ConnectionCondition, Sense, connection_state};
use crate::lower::conditions::Conditions;
use crate::lower::value::{number, range, text};

/// The largest packet; a quota of as many bytes lets the first one through.
const LARGEST_PACKET: u64 = 65_535;

/// The smallest packet, a bare IPv4 header.
const SMALLEST_PACKET: u64 = 20;

/// A probability of 1, in units of 2^-31.
const CERTAIN: u32 = 1 << 31;

/// `limit`: the bucket starts full.
pub(super) fn limit(_given: &ExtensionUse<'_>, out: &mut Conditions) {
    out.chance(Some(true));
}

/// `hashlimit`: every bucket starts full. Buckets of bytes may be smaller than a packet.
pub(super) fn hashlimit(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let rate = given.options.iter().find_map(|option| match option.option.name {
        "hashlimit-upto" | "hashlimit" => Some((option, true)),
        "hashlimit-above" => Some((option, false)),
        _ => None,
    });
    out.chance(rate.and_then(|(option, at_first)| match option.value {
        Value::Rate { .. } => Some(at_first != option.negated),
        _ => None,
    }));
}

/// `recent`: `--set` always matches. The others look for earlier packets of the address; a rule
/// before may have entered this very packet, which `--hitcount 2` and more tells apart.
pub(super) fn recent(given: &ExtensionUse<'_>, out: &mut Conditions) {
    if let Some(set) = given.option("set") {
        return out.push(Condition::Constant(!set.negated));
    }
    let asks = ["rcheck", "update", "remove"].iter().find_map(|name| given.option(name));
    let Some(asks) = asks else { return out.unsupported() };
    let hits: u32 = given.option("hitcount").and_then(|hits| number(&hits.value)).unwrap_or(0);
    out.chance((hits > 1).then_some(asks.negated));
}

/// `statistic`. Each rule counts for itself; its first packet has the number 0.
pub(super) fn statistic(given: &ExtensionUse<'_>, out: &mut Conditions) {
    if let Some(option) = given.option("probability") {
        let &Value::Probability(probability) = &option.value else { return out.unsupported() };
        return match probability {
            0 => out.push(Condition::Constant(option.negated)),
            CERTAIN.. => out.push(Condition::Constant(!option.negated)),
            _ => out.chance(None),
        };
    }
    let Some(option) = given.option("every") else { return out.unsupported() };
    let Some(every) = number::<u32>(&option.value) else { return out.unsupported() };
    let packet = given.option("packet").map_or(Some(0), |packet| number::<u32>(&packet.value));
    match (every, packet) {
        (_, None) => out.unsupported(),
        (0 | 1, Some(_)) => out.push(Condition::Constant(!option.negated)),
        (_, Some(packet)) => out.chance(Some((packet == 0) != option.negated)),
    }
}

/// `quota`: matches as long as the packet fits into what is left.
pub(super) fn quota(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let Some(option) = given.option("quota") else { return out.unsupported() };
    match number::<u64>(&option.value) {
        None => out.unsupported(),
        Some(..SMALLEST_PACKET) => out.push(Condition::Constant(option.negated)),
        Some(SMALLEST_PACKET..LARGEST_PACKET) => out.chance(None),
        Some(LARGEST_PACKET..) => out.chance(Some(!option.negated)),
    }
}

/// `connlimit`: the first connection counts itself.
pub(super) fn connlimit(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let at_first = given.options.iter().find_map(|option| {
        let limit: u32 = number(&option.value)?;
        match option.option.name {
            "connlimit-upto" => Some((limit >= 1) != option.negated),
            "connlimit-above" => Some((limit == 0) != option.negated),
            _ => None,
        }
    });
    out.count(at_first);
}

/// `connbytes`: a packet without a connection never matches, negated or not (measured). The first
/// packet of a connection counts itself.
pub(super) fn connbytes(given: &ExtensionUse<'_>, out: &mut Conditions) {
    use connection_state::{ESTABLISHED, NEW, RELATED};
    let tracked = ConnectionCondition::State(NEW | RELATED | ESTABLISHED);
    out.push(Condition::Connection(Sense::Is, Box::new(tracked)));
    let Some(option) = given.option("connbytes") else { return out.unsupported() };
    let word = |name| given.option(name).and_then(|option| text(&option.value));
    let (least, most) = match (word("connbytes-mode"), word("connbytes-dir")) {
        (Some(_), Some("reply")) => (0, 0),
        (Some("packets"), Some(_)) => (1, 1),
        (Some(_), Some(_)) => (SMALLEST_PACKET, LARGEST_PACKET),
        (_, None) | (None, _) => return out.unsupported(),
    };
    let holds = match range::<u64>(&option.value) {
        Some((low, high)) if low <= least && most <= high => Some(true),
        Some((low, high)) if most < low || high < least => Some(false),
        Some(_) | None => None,
    };
    out.chance(holds.map(|holds| holds != option.negated));
}

/// `time`: without any bound it always matches. iptables-save prints the end of time as a bound
/// (kernel-facts H6).
pub(super) fn time(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let bounded = given.options.iter().any(|option| match option.option.name {
        "kerneltz" | "contiguous" | "utc" | "localtz" => false,
        "datestop" => text(&option.value) != Some("2038-01-19T03:14:07"),
        _ => true,
    });
    if bounded {
        out.chance(None);
    }
}
