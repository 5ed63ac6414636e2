//! `-m ttl`: the time to live.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ttl-eq` | `Number` |
//! | `--ttl-lt, --ttl-gt` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension =
    Extension::of_match("ttl", OPTIONS).family(Family::Ipv4).requires(&[
        Requirement::OneOf(&["ttl-eq", "ttl-lt", "ttl-gt"]),
        Requirement::AtMostOneOf(&["ttl-eq", "ttl-lt", "ttl-gt"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ttl-eq", Argument::Number(255)).negatable().aliases(&[Alias::new("ttl")]),
    OptionDecl::new("ttl-lt", Argument::Number(255)),
    OptionDecl::new("ttl-gt", Argument::Number(255)),
];
