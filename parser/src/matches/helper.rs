//! `-m helper`: the conntrack helper of the connection (kernel-facts F13).
//!
//! | option | value |
//! |---|---|
//! | `[!] --helper` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("helper", OPTIONS).requires(&[Requirement::OneOf(&["helper"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("helper", Argument::Text(29)).negatable()];
