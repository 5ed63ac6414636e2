//! `-m ah`: the SPI of AH.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ahspi` | `Range` |
//! | `[!] --ahlen` | `Number`; IPv6 only |
//! | `--ahres` | `Flag`; IPv6 only |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_match("ah", OPTIONS);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ahspi", Argument::Range(u32::MAX as u64))
        .negatable()
        .omitted(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::new("ahlen", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::flag("ahres"),
];
