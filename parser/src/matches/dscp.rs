//! `-m dscp`: the differentiated services code point.
//!
//! | option | value |
//! |---|---|
//! | `[!] --dscp, --dscp-class` | `Number` |

use crate::arguments::{Argument, dscp};
use crate::extension::{Alias, Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("dscp", OPTIONS).requires(&[Requirement::OneOf(&["dscp"])]);

const ALIASES: &[Alias] = &[Alias::reading("dscp-class", Argument::Custom(&dscp::CLASS))];

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("dscp", Argument::Custom(&dscp::NUMBER)).negatable().aliases(ALIASES)];
