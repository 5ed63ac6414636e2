//! `-j AUDIT`: writes an audit record and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--type` | `Text`: `accept`, `drop` or `reject` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_target("AUDIT", OPTIONS).requires(&[Requirement::OneOf(&["type"])]);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("type", Argument::Keyword(&[&["accept"], &["drop"], &["reject"]]))];
