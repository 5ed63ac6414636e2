//! `-j MASQUERADE`: rewrites the source to an address of the outgoing interface (kernel-facts B1).
//!
//! | option | value |
//! |---|---|
//! | `--to-ports` | `Nat` with ports only |
//! | `--random, --random-fully` | `Flag` |

use super::nat_ports::check_protocol;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("MASQUERADE", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["POSTROUTING"])
    .complete(check_protocol);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("to-ports", Argument::NatPorts),
    OptionDecl::flag("random"),
    OptionDecl::flag("random-fully"),
];
