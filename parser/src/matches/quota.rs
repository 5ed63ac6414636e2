//! `-m quota`: until so many bytes have passed.
//!
//! | option | value |
//! |---|---|
//! | `[!] --quota` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("quota", OPTIONS).requires(&[Requirement::OneOf(&["quota"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("quota", Argument::Number(u64::MAX)).negatable()];
