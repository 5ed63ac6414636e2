//! `-m nfacct`: an accounting object; it always matches.
//!
//! | option | value |
//! |---|---|
//! | `--nfacct-name` | `Text` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("nfacct", OPTIONS).requires(&[Requirement::OneOf(&["nfacct-name"])]);

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("nfacct-name", Argument::Bare(31)).not_empty().one_line()];
