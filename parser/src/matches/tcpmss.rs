//! `-m tcpmss`: the maximum segment size in a SYN.
//!
//! | option | value |
//! |---|---|
//! | `[!] --mss` | `Range` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;

pub(super) static EXTENSION: Extension = Extension::of_match("tcpmss", OPTIONS)
    .protocols(&[protocols::TCP])
    .requires(&[Requirement::OneOf(&["mss"])])
    .complete(|completion| completion.refuse_reversed("mss"));

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("mss", Argument::Range(65_535)).negatable()];
