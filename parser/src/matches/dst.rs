//! `-m dst`: the destination options header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --dst-len` | `Number` |
//! | `--dst-opts` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("dst", OPTIONS).family(Family::Ipv6);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("dst-len", Argument::Number(65_535)).negatable(),
    OptionDecl::new("dst-opts", Argument::Bare(255)),
];
