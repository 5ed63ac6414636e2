//! `-j TEE`: sends a copy to another host and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--gateway` | `Address` |
//! | `--oif` | `Text` |

use std::borrow::Cow;

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{AddressMask, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("TEE", OPTIONS)
    .requires(&[Requirement::OneOf(&["gateway"])])
    .complete(check);

fn check(completion: &mut Completion<'_, '_>) {
    let zero = [AddressMask::V4(0, u32::MAX), AddressMask::V6(0, u128::MAX)];
    if matches!(completion.value("gateway"), Some(Value::Address(address)) if zero.contains(address))
    {
        let span = completion.span_of("gateway");
        completion.refuse("invalid-address", "expected the address of a gateway", span);
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("gateway", Argument::Host),
    OptionDecl::new("oif", Argument::Cut(15)).omitted(&Value::Text(Cow::Borrowed(""))),
];
