//! `-j TEE`: sends a copy to another host and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--gateway` | `Address` |
//! | `--oif` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_target("TEE", OPTIONS).requires(&[Requirement::OneOf(&["gateway"])]);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("gateway", Argument::Host), OptionDecl::new("oif", Argument::Bare(15))];
