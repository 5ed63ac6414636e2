//! `-m length`: the length of the packet, header included.
//!
//! | option | value |
//! |---|---|
//! | `[!] --length` | `Range` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("length", OPTIONS).requires(&[Requirement::OneOf(&["length"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("length", Argument::Range(65_535)).negatable()];
