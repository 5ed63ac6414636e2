//! `-m cpu`: the CPU that handles the packet.
//!
//! | option | value |
//! |---|---|
//! | `[!] --cpu` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("cpu", OPTIONS).requires(&[Requirement::OneOf(&["cpu"])]);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("cpu", Argument::Number(u32::MAX as u64)).negatable()];
