//! `-j SECMARK`: sets the security mark of the packet.
//!
//! | option | value |
//! |---|---|
//! | `--selctx` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("SECMARK", OPTIONS)
    .tables(&[TableName::Mangle, TableName::Security])
    .requires(&[Requirement::OneOf(&["selctx"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("selctx", Argument::Bare(255))];
