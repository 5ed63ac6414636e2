//! `-j TTL`: changes the time to live.
//!
//! | option | value |
//! |---|---|
//! | `--ttl-set, --ttl-dec, --ttl-inc` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, TableName};

pub(super) static EXTENSION: Extension = Extension::of_target("TTL", OPTIONS)
    .family(Family::Ipv4)
    .tables(&[TableName::Mangle])
    .requires(&[
        Requirement::OneOf(&["ttl-set", "ttl-dec", "ttl-inc"]),
        Requirement::AtMostOneOf(&["ttl-set", "ttl-dec", "ttl-inc"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ttl-set", Argument::Number(255)),
    OptionDecl::new("ttl-dec", Argument::Between(1, 255)),
    OptionDecl::new("ttl-inc", Argument::Between(1, 255)),
];
