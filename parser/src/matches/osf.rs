//! `-m osf`: the operating system that a SYN looks like.
//!
//! | option | value |
//! |---|---|
//! | `[!] --genre` | `Text` |
//! | `--ttl, --log` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("osf", OPTIONS)
    .family(Family::Ipv4)
    .protocols(&[protocols::TCP])
    .chains(&["PREROUTING", "INPUT", "FORWARD"])
    .requires(&[Requirement::OneOf(&["genre"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("genre", Argument::Bare(32)).negatable(),
    OptionDecl::new("ttl", Argument::Number(2)),
    OptionDecl::new("log", Argument::Number(2)),
];
