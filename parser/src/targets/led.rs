//! `-j LED`: blinks.
//!
//! | option | value |
//! |---|---|
//! | `--led-trigger-id` | `Text` |
//! | `--led-delay` | `Text` |
//! | `--led-always-blink` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_target("LED", OPTIONS).requires(&[Requirement::OneOf(&["led-trigger-id"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("led-trigger-id", Argument::Bare(26)),
    OptionDecl::new("led-delay", Argument::Bare(15)),
    OptionDecl::flag("led-always-blink"),
];
