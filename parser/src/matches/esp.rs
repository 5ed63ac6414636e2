//! `-m esp`: the SPI of ESP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --espspi` | `Range` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("esp", OPTIONS).protocols(&[protocols::ESP]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("espspi", Argument::Range(u32::MAX as u64))
    .negatable()
    .hidden(&Value::Range(0, u32::MAX as u64))];
