//! `-j SNAT`: rewrites the source (kernel-facts B).
//!
//! | option | value |
//! |---|---|
//! | `--to-source` | `Nat` |
//! | `--random, --random-fully, --persistent` | `Flag` |

use super::nat_ports::check_protocol;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("SNAT", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["POSTROUTING", "INPUT"])
    .requires(&[Requirement::OneOf(&["to-source"])])
    .complete(check_protocol);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("to-source", Argument::Nat),
    OptionDecl::flag("random"),
    OptionDecl::flag("random-fully"),
    OptionDecl::flag("persistent"),
];
