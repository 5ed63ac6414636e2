//! `-j HL`: changes the hop limit.
//!
//! | option | value |
//! |---|---|
//! | `--hl-set, --hl-dec, --hl-inc` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, TableName};

pub(super) static EXTENSION: Extension = Extension::of_target("HL", OPTIONS)
    .family(Family::Ipv6)
    .tables(&[TableName::Mangle])
    .requires(&[
        Requirement::OneOf(&["hl-set", "hl-dec", "hl-inc"]),
        Requirement::AtMostOneOf(&["hl-set", "hl-dec", "hl-inc"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hl-set", Argument::Number(255)),
    OptionDecl::new("hl-dec", Argument::Between(1, 255)),
    OptionDecl::new("hl-inc", Argument::Between(1, 255)),
];
