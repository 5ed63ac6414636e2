//! `-j CHECKSUM`: computes the checksum of the packet.
//!
//! | option | value |
//! |---|---|
//! | `--checksum-fill` | `Flag` |

use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("CHECKSUM", OPTIONS)
    .tables(&[TableName::Mangle])
    .requires(&[Requirement::OneOf(&["checksum-fill"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::flag("checksum-fill")];
