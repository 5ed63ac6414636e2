//! The check that the targets of prefix translation share (kernel-facts J7).

use crate::extension::Completion;
use crate::syntax::{AddressMask, Value};

/// No prefix, which is not printed.
pub(super) const NONE: &Value<'static> = &Value::Address(AddressMask::V6(0, 0));

/// The longest prefix that the kernel translates.
const LONGEST: u32 = 64;

/// The kernel refuses long prefixes, and addresses behind a prefix.
pub(super) fn check(completion: &mut Completion<'_, '_>) {
    for name in ["src-pfx", "dst-pfx"] {
        let Some(Value::Address(AddressMask::V6(address, mask))) = completion.value(name) else {
            continue;
        };
        let message = if mask.count_ones() > LONGEST {
            format!("`--{name}` must be at most {LONGEST} bits long")
        } else if address & !mask != 0 {
            format!("`--{name}` has bits behind its prefix")
        } else {
            continue;
        };
        let span = completion.span_of(name);
        completion.refuse("invalid-address", message, span);
    }
}
