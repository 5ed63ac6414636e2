//! `-m icmp`: types and codes of ICMP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --icmp-type` | `Icmp`; `kind` is `None` for `any` |

use crate::arguments::Argument;
use crate::arguments::icmp::Name;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("icmp", OPTIONS)
    .family(Family::Ipv4)
    .protocols(&[protocols::ICMP])
    .requires(&[Requirement::OneOf(&["icmp-type"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("icmp-type", Argument::Icmp(TYPES)).negatable()];

/// The names that iptables 1.8 takes.
const TYPES: &[Name] = &[
    Name { name: "any", kind: None, codes: (0, 255) },
    Name::of_type("echo-reply", 0),
    Name::of_type("pong", 0),
    Name::of_type("destination-unreachable", 3),
    Name::of_code("network-unreachable", 3, 0),
    Name::of_code("host-unreachable", 3, 1),
    Name::of_code("protocol-unreachable", 3, 2),
    Name::of_code("port-unreachable", 3, 3),
    Name::of_code("fragmentation-needed", 3, 4),
    Name::of_code("source-route-failed", 3, 5),
    Name::of_code("network-unknown", 3, 6),
    Name::of_code("host-unknown", 3, 7),
    Name::of_code("network-prohibited", 3, 9),
    Name::of_code("host-prohibited", 3, 10),
    Name::of_code("TOS-network-unreachable", 3, 11),
    Name::of_code("TOS-host-unreachable", 3, 12),
    Name::of_code("communication-prohibited", 3, 13),
    Name::of_code("host-precedence-violation", 3, 14),
    Name::of_code("precedence-cutoff", 3, 15),
    Name::of_type("source-quench", 4),
    Name::of_type("redirect", 5),
    Name::of_code("network-redirect", 5, 0),
    Name::of_code("host-redirect", 5, 1),
    Name::of_code("TOS-network-redirect", 5, 2),
    Name::of_code("TOS-host-redirect", 5, 3),
    Name::of_type("echo-request", 8),
    Name::of_type("ping", 8),
    Name::of_type("router-advertisement", 9),
    Name::of_type("router-solicitation", 10),
    Name::of_type("time-exceeded", 11),
    Name::of_type("ttl-exceeded", 11),
    Name::of_code("ttl-zero-during-transit", 11, 0),
    Name::of_code("ttl-zero-during-reassembly", 11, 1),
    Name::of_type("parameter-problem", 12),
    Name::of_code("ip-header-bad", 12, 0),
    Name::of_code("required-option-missing", 12, 1),
    Name::of_type("timestamp-request", 13),
    Name::of_type("timestamp-reply", 14),
    Name::of_type("address-mask-request", 17),
    Name::of_type("address-mask-reply", 18),
];
