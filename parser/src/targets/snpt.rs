//! `-j SNPT`: rewrites the prefix of the source without state (kernel-facts J7).
//!
//! | option | value |
//! |---|---|
//! | `--src-pfx, --dst-pfx` | `Address` |

use super::npt;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, TableName};

pub(super) static EXTENSION: Extension = Extension::of_target("SNPT", OPTIONS)
    .family(Family::Ipv6)
    .tables(&[TableName::Mangle])
    .chains(&["INPUT", "POSTROUTING"])
    .requires(&[Requirement::OneOf(&["src-pfx"]), Requirement::OneOf(&["dst-pfx"])])
    .complete(npt::check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-pfx", Argument::Address).omitted(npt::NONE),
    OptionDecl::new("dst-pfx", Argument::Address).omitted(npt::NONE),
];
