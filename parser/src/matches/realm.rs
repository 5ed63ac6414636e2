//! `-m realm`: the realm of the route.
//!
//! | option | value |
//! |---|---|
//! | `[!] --realm` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("realm", OPTIONS).requires(&[Requirement::OneOf(&["realm"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("realm", Argument::Mark).negatable()];
