//! `-m ipv6header`: which extension headers there are.
//!
//! | option | value |
//! |---|---|
//! | `[!] --header` | `Bits` of [`HEADERS`] |
//! | `--soft` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("ipv6header", OPTIONS)
    .family(Family::Ipv6)
    .requires(&[Requirement::OneOf(&["header"])])
    .complete(refuse_none);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("header", Argument::LooseBits(HEADERS)).negatable(),
    OptionDecl::flag("soft"),
];

fn refuse_none(completion: &mut Completion<'_, '_>) {
    if completion.value("header") == Some(&Value::Bits(0)) {
        let span = completion.span_of("header");
        completion.refuse("invalid-text", "`--header` names no header", span);
    }
}

/// The headers; the bits are those of the kernel (ip6t_ipv6header.h).
pub const HEADERS: &[(&str, u32)] = &[
    ("hop-by-hop", 128),
    ("ipv6-opts", 64),
    ("ipv6-route", 32),
    ("ipv6-frag", 16),
    ("ah", 8),
    ("esp", 4),
    ("ipv6-nonxt", 2),
    ("protocol", 1),
    ("hop", 128),
    ("ip", 128),
    ("IP", 128),
    ("hopopt", 128),
    ("HOPOPT", 128),
    ("dst", 64),
    ("route", 32),
    ("frag", 16),
    ("auth", 8),
    ("none", 2),
    ("prot", 1),
];
