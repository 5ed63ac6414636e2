//! `-j DSCP`: sets the differentiated services code point.
//!
//! | option | value |
//! |---|---|
//! | `--set-dscp, --set-dscp-class` | `Number` |

use crate::arguments::{Argument, dscp};
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("DSCP", OPTIONS)
    .tables(&[TableName::Mangle])
    .requires(&[Requirement::OneOf(&["set-dscp"])]);

const ALIASES: &[Alias] = &[Alias::reading("set-dscp-class", Argument::Custom(&dscp::CLASS))];

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("set-dscp", Argument::Custom(&dscp::NUMBER)).aliases(ALIASES)];
