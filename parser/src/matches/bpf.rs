//! `-m bpf`: a BPF program, which is not looked into.
//!
//! | option | value |
//! |---|---|
//! | `--bytecode, --object-pinned` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_match("bpf", OPTIONS).requires(&[
    Requirement::OneOf(&["bytecode", "object-pinned"]),
    Requirement::AtMostOneOf(&["bytecode", "object-pinned"]),
]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("bytecode", Argument::Text(4_095)),
    OptionDecl::new("object-pinned", Argument::Text(511)),
];
