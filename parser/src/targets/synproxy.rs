//! `-j SYNPROXY`: answers handshakes before the server sees them.
//!
//! | option | value |
//! |---|---|
//! | `--sack-perm, --timestamp, --ecn` | `Flag` |
//! | `--wscale, --mss` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::protocols;

pub(super) static EXTENSION: Extension = Extension::of_target("SYNPROXY", OPTIONS)
    .chains(&["INPUT", "FORWARD"])
    .protocols(&[protocols::TCP]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("sack-perm"),
    OptionDecl::flag("timestamp"),
    OptionDecl::new("wscale", Argument::Number(u8::MAX as u64)),
    OptionDecl::new("mss", Argument::Number(65_535)),
    OptionDecl::flag("ecn"),
];
