//! `-m cgroup`: the control group of the sending socket.
//!
//! | option | value |
//! |---|---|
//! | `[!] --cgroup` | `Number` |
//! | `[!] --path` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("cgroup", OPTIONS).chains(&["INPUT", "OUTPUT", "POSTROUTING"]).requires(&[
        Requirement::OneOf(&["path", "cgroup"]),
        Requirement::AtMostOneOf(&["path", "cgroup"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("path", Argument::Text(4_095)).negatable(),
    OptionDecl::new("cgroup", Argument::Number(u32::MAX as u64)).negatable(),
];
