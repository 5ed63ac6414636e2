//! `-m devgroup`: the group of an interface.
//!
//! | option | value |
//! |---|---|
//! | `[!] --src-group, --dst-group` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("devgroup", OPTIONS).requires(&[Requirement::AnyOption]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-group", Argument::Mark).negatable(),
    OptionDecl::new("dst-group", Argument::Mark).negatable(),
];
