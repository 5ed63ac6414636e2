//! `-m socket`: whether a local socket wants the packet.
//!
//! | option | value |
//! |---|---|
//! | `--transparent, --nowildcard, --restore-skmark` | `Flag` |

use crate::extension::{Extension, OptionDecl};

pub(super) static EXTENSION: Extension =
    Extension::of_match("socket", OPTIONS).chains(&["PREROUTING", "INPUT"]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("transparent"),
    OptionDecl::flag("nowildcard"),
    OptionDecl::flag("restore-skmark"),
];
