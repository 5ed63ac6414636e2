//! `-j REDIRECT`: rewrites the destination to this host (kernel-facts B16, B17).
//!
//! | option | value |
//! |---|---|
//! | `--to-ports` | `Nat` with ports only |
//! | `--random` | `Flag` |

use super::nat_ports::check_protocol;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("REDIRECT", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["PREROUTING", "OUTPUT"])
    .complete(check_protocol);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("to-ports", Argument::NatPorts), OptionDecl::flag("random")];
