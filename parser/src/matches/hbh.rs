//! `-m hbh`: the hop-by-hop options header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --hbh-len` | `Number` |
//! | `--hbh-opts` | `Text` |

use crate::arguments::{Argument, header_options};
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("hbh", OPTIONS).family(Family::Ipv6);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hbh-len", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("hbh-opts", Argument::Custom(&header_options::LIST)),
];
