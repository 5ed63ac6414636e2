//! `-m ipcomp`: the SPI of IPComp.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ipcompspi` | `Range` |
//! | `--compres` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("ipcomp", OPTIONS).protocols(&[protocols::IPCOMP]).complete(complete);

/// Without `--ipcompspi` it is the SPI 0.
fn complete(completion: &mut Completion<'_, '_>) {
    completion.fill("ipcompspi", Value::Range(0, 0));
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ipcompspi", Argument::Range(u32::MAX as u64))
        .negatable()
        .hidden(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::flag("compres"),
];
