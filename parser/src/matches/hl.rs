//! `-m hl`: the hop limit.
//!
//! | option | value |
//! |---|---|
//! | `[!] --hl-eq` | `Number` |
//! | `--hl-lt, --hl-gt` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension =
    Extension::of_match("hl", OPTIONS).family(Family::Ipv6).requires(&[
        Requirement::OneOf(&["hl-eq", "hl-lt", "hl-gt"]),
        Requirement::AtMostOneOf(&["hl-eq", "hl-lt", "hl-gt"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hl-eq", Argument::Number(255)).negatable().aliases(&[Alias::new("hl")]),
    OptionDecl::new("hl-lt", Argument::Number(255)),
    OptionDecl::new("hl-gt", Argument::Number(255)),
];
