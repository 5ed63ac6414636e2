//! `-m rt`: the routing header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --rt-type` | `Number` |
//! | `[!] --rt-segsleft` | `Range` |
//! | `[!] --rt-len` | `Number` |
//! | `--rt-0-res, --rt-0-not-strict` | `Flag` |
//! | `--rt-0-addrs` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("rt", OPTIONS).family(Family::Ipv6);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("rt-type", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("rt-segsleft", Argument::Range(u32::MAX as u64))
        .negatable()
        .omitted(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::new("rt-len", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::flag("rt-0-res"),
    OptionDecl::new("rt-0-addrs", Argument::Bare(1_024)),
    OptionDecl::flag("rt-0-not-strict"),
];
