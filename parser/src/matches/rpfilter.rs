//! `-m rpfilter`: whether the route back leads out where the packet came in.
//!
//! | option | value |
//! |---|---|
//! | `--loose, --validmark, --accept-local, --invert` | `Flag` |

use crate::extension::{Extension, OptionDecl};
use crate::syntax::TableName;

pub(super) static EXTENSION: Extension = Extension::of_match("rpfilter", OPTIONS)
    .tables(&[TableName::Raw, TableName::Mangle])
    .chains(&["PREROUTING"]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("loose"),
    OptionDecl::flag("validmark"),
    OptionDecl::flag("accept-local"),
    OptionDecl::flag("invert"),
];
