//! `-m devgroup`: the group of an interface.
//!
//! | option | value |
//! |---|---|
//! | `[!] --src-group, --dst-group` | `Masked` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_match("devgroup", OPTIONS)
    .requires(&[Requirement::AnyOption])
    .complete(|completion| {
        completion.refuse_in("src-group", &["OUTPUT", "POSTROUTING"]);
        completion.refuse_in("dst-group", &["PREROUTING", "INPUT"]);
    });

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-group", Argument::Mark).negatable(),
    OptionDecl::new("dst-group", Argument::Mark).negatable(),
];
