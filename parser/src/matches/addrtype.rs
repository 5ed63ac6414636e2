//! `-m addrtype`: the type of an address (kernel-facts C1 to C4).
//!
//! | option | value |
//! |---|---|
//! | `[!] --src-type` | `Bits` of [`TYPES`] |
//! | `[!] --dst-type` | `Bits` of [`TYPES`] |
//! | `--limit-iface-in` | `Flag` |
//! | `--limit-iface-out` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("addrtype", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["src-type", "dst-type"]),
        Requirement::AtMostOneOf(&["limit-iface-in", "limit-iface-out"]),
    ])
    .complete(check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-type", Argument::ShortBits(TYPES)).negatable(),
    OptionDecl::new("dst-type", Argument::ShortBits(TYPES)).negatable(),
    OptionDecl::flag("limit-iface-in"),
    OptionDecl::flag("limit-iface-out"),
];

/// The types; bit n is the kernel's route type n (rtnetlink.h, `RTN_*`).
pub const TYPES: &[(&str, u32)] = &[
    ("UNSPEC", UNSPEC),
    ("UNICAST", UNICAST),
    ("LOCAL", LOCAL),
    ("BROADCAST", BROADCAST),
    ("ANYCAST", ANYCAST),
    ("MULTICAST", MULTICAST),
    ("BLACKHOLE", BLACKHOLE),
    ("UNREACHABLE", UNREACHABLE),
    ("PROHIBIT", PROHIBIT),
    ("THROW", THROW),
    ("NAT", NAT),
    ("XRESOLVE", XRESOLVE),
];

/// `UNSPEC`.
pub const UNSPEC: u32 = 1;
/// `UNICAST`.
pub const UNICAST: u32 = 1 << 1;
/// `LOCAL`.
pub const LOCAL: u32 = 1 << 2;
/// `BROADCAST`.
pub const BROADCAST: u32 = 1 << 3;
/// `ANYCAST`.
pub const ANYCAST: u32 = 1 << 4;
/// `MULTICAST`.
pub const MULTICAST: u32 = 1 << 5;
/// `BLACKHOLE`.
pub const BLACKHOLE: u32 = 1 << 6;
/// `UNREACHABLE`.
pub const UNREACHABLE: u32 = 1 << 7;
/// `PROHIBIT`.
pub const PROHIBIT: u32 = 1 << 8;
/// `THROW`.
pub const THROW: u32 = 1 << 9;
/// `NAT`.
pub const NAT: u32 = 1 << 10;
/// `XRESOLVE`.
pub const XRESOLVE: u32 = 1 << 11;

/// The types that IPv6 has (kernel-facts J9), and `UNSPEC`, which matches nothing.
const IN_IPV6: u32 = UNSPEC | UNICAST | LOCAL | ANYCAST | MULTICAST | UNREACHABLE;

/// No incoming interface is known on the way out, and the other way round (kernel-facts C3).
fn check(completion: &mut Completion<'_, '_>) {
    let foreign = completion
        .options
        .iter()
        .find(|option| matches!(option.value, Value::Bits(types) if types & !IN_IPV6 != 0));
    if completion.family() == Family::Ipv6
        && let Some(span) = foreign.map(|option| option.span)
    {
        let message = "IPv6 has the types UNICAST, LOCAL, ANYCAST, MULTICAST and UNREACHABLE only";
        completion.refuse("wrong-family", message, span);
    }
    let refused = match completion.chain {
        "OUTPUT" | "POSTROUTING" => "limit-iface-in",
        "INPUT" | "PREROUTING" => "limit-iface-out",
        _ => return,
    };
    if completion.has(refused) {
        let message = format!("`--{refused}` can't be used in {}", completion.chain);
        let span = completion.span_of(refused);
        completion.refuse("interface-in-chain", message, span);
    }
}
