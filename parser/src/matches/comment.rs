//! `-m comment`: a comment; it always matches.
//!
//! | option | value |
//! |---|---|
//! | `--comment` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("comment", OPTIONS).requires(&[Requirement::OneOf(&["comment"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("comment", Argument::Text(255))];
