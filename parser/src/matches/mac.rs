//! `-m mac`: the source hardware address.
//!
//! | option | value |
//! |---|---|
//! | `[!] --mac-source` | `Mac` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_match("mac", OPTIONS)
    .chains(&["PREROUTING", "INPUT", "FORWARD"])
    .requires(&[Requirement::OneOf(&["mac-source"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("mac-source", Argument::Mac).negatable()];
