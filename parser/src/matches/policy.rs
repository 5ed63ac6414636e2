//! `-m policy`: the IPsec policy. `--next` begins the next element, so options keep their order.
//!
//! | option | value |
//! |---|---|
//! | `--dir` | `Text`: `in` or `out` |
//! | `--pol` | `Text`: `none` or `ipsec` |
//! | `--strict, --next` | `Flag` |
//! | `[!] --reqid, --spi, --proto` | `Number` |
//! | `[!] --mode` | `Text`: `transport` or `tunnel` |
//! | `[!] --tunnel-src, --tunnel-dst` | `Address` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("policy", OPTIONS).repeats().requires(&[Requirement::OneOf(&["dir"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("dir", Argument::Keyword(&[&["in"], &["out"]])),
    OptionDecl::new("pol", Argument::Keyword(&[&["none"], &["ipsec"]])),
    OptionDecl::flag("strict"),
    OptionDecl::new("reqid", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("spi", Argument::Hex(u32::MAX as u64)).negatable(),
    OptionDecl::new("proto", Argument::Keyword(&[&["ah"], &["esp"], &["ipcomp"]])).negatable(),
    OptionDecl::new("mode", Argument::Keyword(&[&["transport"], &["tunnel"]])).negatable(),
    OptionDecl::new("tunnel-src", Argument::Network).negatable(),
    OptionDecl::new("tunnel-dst", Argument::Network).negatable(),
    OptionDecl::flag("next"),
];
