//! `-m string`: a text in the packet.
//!
//! | option | value |
//! |---|---|
//! | `[!] --string, --hex-string` | `Text` |
//! | `--algo` | `Text`: `bm` or `kmp` |
//! | `--from, --to` | `Number` |
//! | `--icase` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_match("string", OPTIONS).requires(&[
    Requirement::OneOf(&["string", "hex-string"]),
    Requirement::AtMostOneOf(&["string", "hex-string"]),
    Requirement::OneOf(&["algo"]),
]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("string", Argument::Text(128)).negatable(),
    OptionDecl::new("hex-string", Argument::Text(128)).negatable(),
    OptionDecl::new("algo", Argument::Bare(15)),
    OptionDecl::new("from", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::new("to", Argument::Number(65_535)).omitted(&Value::Number(65_535)),
    OptionDecl::flag("icase"),
];
