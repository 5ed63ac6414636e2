//! `-j ECN`: removes explicit congestion notification.
//!
//! | option | value |
//! |---|---|
//! | `--ecn-tcp-remove` | `Flag` |

use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::{Family, TableName};

pub(super) static EXTENSION: Extension = Extension::of_target("ECN", OPTIONS)
    .family(Family::Ipv4)
    .tables(&[TableName::Mangle])
    .protocols(&[protocols::TCP])
    .requires(&[Requirement::OneOf(&["ecn-tcp-remove"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::flag("ecn-tcp-remove")];
