//! `-j DNAT`: rewrites the destination (kernel-facts B).
//!
//! | option | value |
//! |---|---|
//! | `--to-destination` | `Nat` |
//! | `--random, --persistent` | `Flag` |

use super::nat_ports::check_protocol;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("DNAT", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["PREROUTING", "OUTPUT"])
    .requires(&[Requirement::OneOf(&["to-destination"])])
    .complete(check_protocol);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("to-destination", Argument::Nat),
    OptionDecl::flag("random"),
    OptionDecl::flag("persistent"),
];
