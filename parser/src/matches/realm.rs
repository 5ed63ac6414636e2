//! `-m realm`: the realm of the route.
//!
//! | option | value |
//! |---|---|
//! | `[!] --realm` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("realm", OPTIONS)
    .family(Family::Ipv4)
    .requires(&[Requirement::OneOf(&["realm"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("realm", Argument::Mark).negatable()];
