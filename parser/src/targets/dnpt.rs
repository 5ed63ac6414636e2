//! `-j DNPT`: rewrites the prefix of the destination without state (kernel-facts J7).
//!
//! | option | value |
//! |---|---|
//! | `--src-pfx, --dst-pfx` | `Address` |

use super::npt;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, TableName};

pub(super) static EXTENSION: Extension = Extension::of_target("DNPT", OPTIONS)
    .family(Family::Ipv6)
    .tables(&[TableName::Mangle])
    .chains(&["PREROUTING", "OUTPUT"])
    .requires(&[Requirement::OneOf(&["src-pfx"]), Requirement::OneOf(&["dst-pfx"])])
    .complete(npt::check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-pfx", Argument::Address).omitted(npt::NONE),
    OptionDecl::new("dst-pfx", Argument::Address).omitted(npt::NONE),
];
