//! `-j TOS`: sets the type of service.
//!
//! | option | value |
//! |---|---|
//! | `--set-tos, --and-tos, --or-tos, --xor-tos` | `Masked`: clear the mask, then xor the value |

use crate::arguments::{Argument, tos};
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_target("TOS", OPTIONS)
    .tables(&[TableName::Mangle])
    .requires(&[Requirement::OneOf(&["set-tos"])]);

const ALIASES: &[Alias] = &[
    Alias::reading("and-tos", Argument::Custom(&tos::AND)),
    Alias::reading("or-tos", Argument::Custom(&tos::OR)),
    Alias::reading("xor-tos", Argument::Custom(&tos::XOR)),
];

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("set-tos", Argument::Custom(&tos::SET)).aliases(ALIASES)];
