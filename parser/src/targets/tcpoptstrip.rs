//! `-j TCPOPTSTRIP`: blanks options of TCP.
//!
//! | option | value |
//! |---|---|
//! | `--strip-options` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::protocols;
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("TCPOPTSTRIP", OPTIONS)
    .tables(&[TableName::Mangle])
    .protocols(&[protocols::TCP]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("strip-options", Argument::Bare(1_024))];
