//! `-m ecn`: explicit congestion notification.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ecn-tcp-ece, --ecn-tcp-cwr` | `Flag` |
//! | `[!] --ecn-ip-ect` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("ecn", OPTIONS).requires(&[Requirement::AnyOption]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("ecn-tcp-ece").negatable(),
    OptionDecl::flag("ecn-tcp-cwr").negatable(),
    OptionDecl::new("ecn-ip-ect", Argument::Number(3)).negatable(),
];
