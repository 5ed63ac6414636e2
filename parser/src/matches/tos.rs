//! `-m tos`: the type of service.
//!
//! | option | value |
//! |---|---|
//! | `[!] --tos` | `Masked`; a name has the mask 0x3f |

use crate::arguments::{Argument, tos};
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("tos", OPTIONS).requires(&[Requirement::OneOf(&["tos"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("tos", Argument::Custom(&tos::MATCH)).negatable()];
