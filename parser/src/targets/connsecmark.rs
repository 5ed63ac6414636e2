//! `-j CONNSECMARK`: copies the security mark of the connection.
//!
//! | option | value |
//! |---|---|
//! | `--save, --restore` | `Flag` |

use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("CONNSECMARK", OPTIONS)
    .tables(&[TableName::Mangle, TableName::Security])
    .requires(&[
        Requirement::OneOf(&["save", "restore"]),
        Requirement::AtMostOneOf(&["save", "restore"]),
    ]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::flag("save"), OptionDecl::flag("restore")];
