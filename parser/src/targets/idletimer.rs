//! `-j IDLETIMER`: tells when an interface is idle, and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--timeout` | `Number` |
//! | `--label` | `Text` |
//! | `--alarm` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_target("IDLETIMER", OPTIONS)
    .requires(&[Requirement::OneOf(&["timeout"]), Requirement::OneOf(&["label"])])
    .complete(|completion| completion.refuse_file_name("label"));

/// The longest time that the kernel takes.
const MOST: u64 = i32::MAX as u64 / 1_000 - 1;

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("timeout", Argument::Between(1, MOST)),
    OptionDecl::new("label", Argument::Bare(27)),
    OptionDecl::flag("alarm"),
];
