//! `-j SNAT`: rewrites the source (kernel-facts B).
//!
//! | option | value |
//! |---|---|
//! | `--to-source` | `Nat` |
//! | `--random, --random-fully, --persistent` | `Flag` |

use super::nat_ports::check_protocol;
use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{NatRange, TableName, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("SNAT", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["POSTROUTING", "INPUT"])
    .requires(&[Requirement::OneOf(&["to-source"])])
    .complete(complete);

/// A base port is taken, and forgotten.
fn complete(completion: &mut Completion<'_, '_>) {
    check_protocol(completion);
    for option in completion.options.iter_mut() {
        if let Value::Nat(NatRange { base_port: Some(base), .. }) = &mut option.value {
            *base = 0;
        }
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("to-source", Argument::Nat),
    OptionDecl::flag("random"),
    OptionDecl::flag("random-fully"),
    OptionDecl::flag("persistent"),
];
