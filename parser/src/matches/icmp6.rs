//! `-m icmp6`: types and codes of ICMPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --icmpv6-type` | `Icmp`; `kind` is never `None` |

use crate::arguments::Argument;
use crate::arguments::icmp::Name;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("icmp6", OPTIONS)
    .family(Family::Ipv6)
    .protocols(&[protocols::ICMPV6])
    .requires(&[Requirement::OneOf(&["icmpv6-type"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("icmpv6-type", Argument::Icmp(TYPES)).negatable()];

/// The names that ip6tables 1.8 takes; there is no `any` (kernel-facts J8).
const TYPES: &[Name] = &[
    Name::of_type("destination-unreachable", 1),
    Name::of_code("no-route", 1, 0),
    Name::of_code("communication-prohibited", 1, 1),
    Name::of_code("beyond-scope", 1, 2),
    Name::of_code("address-unreachable", 1, 3),
    Name::of_code("port-unreachable", 1, 4),
    Name::of_code("failed-policy", 1, 5),
    Name::of_code("reject-route", 1, 6),
    Name::of_type("packet-too-big", 2),
    Name::of_type("time-exceeded", 3),
    Name::of_type("ttl-exceeded", 3),
    Name::of_code("ttl-zero-during-transit", 3, 0),
    Name::of_code("ttl-zero-during-reassembly", 3, 1),
    Name::of_type("parameter-problem", 4),
    Name::of_code("bad-header", 4, 0),
    Name::of_code("unknown-header-type", 4, 1),
    Name::of_code("unknown-option", 4, 2),
    Name::of_type("echo-request", 128),
    Name::of_type("ping", 128),
    Name::of_type("echo-reply", 129),
    Name::of_type("pong", 129),
    Name::of_type("router-solicitation", 133),
    Name::of_type("router-advertisement", 134),
    Name::of_type("neighbour-solicitation", 135),
    Name::of_type("neighbor-solicitation", 135),
    Name::of_type("neighbour-advertisement", 136),
    Name::of_type("neighbor-advertisement", 136),
    Name::of_type("redirect", 137),
];
