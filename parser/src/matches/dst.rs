//! `-m dst`: the destination options header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --dst-len` | `Number` |
//! | `--dst-opts` | `Text` |

use crate::arguments::{Argument, header_options};
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("dst", OPTIONS).family(Family::Ipv6);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("dst-len", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("dst-opts", Argument::Custom(&header_options::LIST)),
];
