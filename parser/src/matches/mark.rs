//! `-m mark`: the mark of the packet (kernel-facts G14).
//!
//! | option | value |
//! |---|---|
//! | `[!] --mark` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("mark", OPTIONS).requires(&[Requirement::OneOf(&["mark"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("mark", Argument::Mark).negatable()];
