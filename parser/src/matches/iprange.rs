//! `-m iprange`: ranges of addresses. A reversed range never matches (kernel-facts G10).
//!
//! | option | value |
//! |---|---|
//! | `[!] --src-range` | `AddressRange` |
//! | `[!] --dst-range` | `AddressRange` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_match("iprange", OPTIONS)
    .requires(&[Requirement::OneOf(&["src-range", "dst-range"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-range", Argument::AddressRange).negatable(),
    OptionDecl::new("dst-range", Argument::AddressRange).negatable(),
];
