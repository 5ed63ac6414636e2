//! `-m limit`: a token bucket (kernel-facts G19).
//!
//! | option | value |
//! |---|---|
//! | `--limit` | `Rate`; always there |
//! | `--limit-burst` | `Number`; 5 if not there |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("limit", OPTIONS).complete(forget_zero);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("limit", Argument::Rate).filled(|_| Value::Rate { count: 3, seconds: 3_600 }),
    OptionDecl::new("limit-burst", Argument::Number(10_000)).omitted(&Value::Number(5)),
];

/// A burst of 0 is taken for the default.
fn forget_zero(completion: &mut Completion<'_, '_>) {
    completion.options.retain(|option| option.value != Value::Number(0));
}
