//! Matches that look for the extension headers of IPv6, and for the security headers of IPsec.
//!
//! A traced packet carries no extension header: what stands behind its IP header is its protocol.
//! `rt`, `frag`, `hbh`, `dst` and `srh` ask for a header that is not there, and then the kernel says
//! no whatever else they ask, negated or not (`rt_mt6`, `frag_mt6`, `hbh_mt6`, `srh_mt6`).

use nattrace_parser::syntax::{ExtensionUse, OptionUse, Value};

use crate::condition::{Condition, Sense};
use crate::lower::conditions::Conditions;

/// The protocol of the encapsulating security payload.
const ESP: u8 = 50;
/// The protocol of the authentication header.
const AH: u8 = 51;
/// The protocol that stands for nothing behind the headers.
const NONE: u8 = 59;

/// `ah`: a plain packet has no such header; of one that has, nothing more is known.
pub(super) fn ah(given: &ExtensionUse<'_>, out: &mut Conditions) {
    out.push(Condition::Protocol(Sense::Is, AH));
    for option in &given.options {
        // Neither the index nor the length of the header is traced.
        if !is_full_range(option) {
            out.unsupported();
        }
    }
}

/// `esp` and `mh`, which only a rule with that protocol may have: what they ask beyond it is not
/// traced.
pub(super) fn by_protocol(option: &OptionUse<'_>) -> Option<Condition> {
    is_full_range(option).then_some(Condition::Constant(true))
}

fn is_full_range(option: &OptionUse<'_>) -> bool {
    !option.negated && option.value == Value::Range(0, u64::from(u32::MAX))
}

/// `ipv6header`, as far as it can be told for a packet without extension headers.
///
/// Without `--soft` the headers must be exactly those listed, so at most one name can be right:
/// `prot` for a packet of any upper-layer protocol, `esp` and `none` for those of that number
/// (`ipv6header_mt6`).
pub(super) fn headers(given: &ExtensionUse<'_>, out: &mut Conditions) {
    let Some(option) = given.option("header") else { return out.unsupported() };
    let Some(names) = header_names(&option.value) else { return out.unsupported() };
    let soft = given.option("soft").is_some();
    let sense = Sense::of_negation(option.negated);
    let protocols: Vec<Option<u8>> = names.iter().map(|name| protocol_of(name)).collect();
    match (protocols.as_slice(), soft, option.negated) {
        // Exactly one header is there, so this is the plain question, soft or not.
        ([only], _, _) => match only {
            Some(number) => out.push(Condition::Protocol(sense, *number)),
            None if names == ["prot"] && !option.negated => {
                for other in [ESP, NONE] {
                    out.push(Condition::Protocol(Sense::IsNot, other));
                }
            }
            None if names == ["prot"] => out.unsupported(),
            None => out.push(Condition::Constant(sense.apply(false))),
        },
        // Two headers at once are never there.
        (_, false, _) | (_, true, false) => out.push(Condition::Constant(sense.apply(false))),
        // Softly negated: none of them.
        (_, true, true) if names.contains(&"prot") => out.unsupported(),
        (several, true, true) => {
            for number in several.iter().flatten() {
                out.push(Condition::Protocol(Sense::IsNot, *number));
            }
        }
    }
}

/// The protocol number that a packet without extension headers shows for a header of this name.
fn protocol_of(name: &str) -> Option<u8> {
    match name {
        "esp" => Some(ESP),
        "none" => Some(NONE),
        _ => None,
    }
}

/// The names in a list of headers, in the kernel's words.
fn header_names<'a>(value: &'a Value<'_>) -> Option<Vec<&'a str>> {
    /// The bits of `linux/netfilter_ipv6/ip6t_ipv6header.h`.
    const BITS: [(u32, &str); 8] = [
        (128, "hop"),
        (64, "dst"),
        (32, "route"),
        (16, "frag"),
        (8, "auth"),
        (4, "esp"),
        (2, "none"),
        (1, "prot"),
    ];
    match value {
        Value::Bits(bits) => {
            Some(BITS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect())
        }
        Value::Text(list) => {
            let names = list.split(',').map(|name| match name {
                "hop-by-hop" => "hop",
                "ipv6-opts" => "dst",
                "ipv6-route" => "route",
                "ipv6-frag" => "frag",
                "ah" => "auth",
                "ipv6-nonxt" => "none",
                "proto" | "protocol" => "prot",
                other => other,
            });
            Some(names.collect())
        }
        _ => None,
    }
}
