//! `-j RATEEST`: feeds a rate estimator and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--rateest-name, --rateest-interval, --rateest-ewmalog` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_target("RATEEST", OPTIONS).requires(&[
    Requirement::OneOf(&["rateest-name"]),
    Requirement::OneOf(&["rateest-interval"]),
    Requirement::OneOf(&["rateest-ewmalog"]),
]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("rateest-name", Argument::Bare(15)),
    OptionDecl::new("rateest-interval", Argument::Bare(15)),
    OptionDecl::new("rateest-ewmalog", Argument::Bare(15)),
];
