//! `-m connlabel`: labels of the connection, by number.
//!
//! | option | value |
//! |---|---|
//! | `[!] --label` | `Number` |
//! | `--set` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("connlabel", OPTIONS).requires(&[Requirement::OneOf(&["label"])]);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("label", Argument::Number(127)).negatable(), OptionDecl::flag("set")];
