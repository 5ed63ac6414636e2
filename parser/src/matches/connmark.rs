//! `-m connmark`: the mark of the connection.
//!
//! | option | value |
//! |---|---|
//! | `[!] --mark` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("connmark", OPTIONS).requires(&[Requirement::OneOf(&["mark"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("mark", Argument::Mark).negatable()];
