//! `-j NETMAP`: rewrites the network and keeps the host (kernel-facts B15).
//!
//! | option | value |
//! |---|---|
//! | `--to` | `Address` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("NETMAP", OPTIONS)
    .tables(&[TableName::Nat])
    .chains(&["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"])
    .requires(&[Requirement::OneOf(&["to"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("to", Argument::Network)];
