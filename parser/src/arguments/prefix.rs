//! The length of a prefix, which may be given as a mask.

use super::{Context, Custom, Fault, address, number};
use crate::syntax::{AddressMask, Family, Value};
use crate::words::Word;

/// `LENGTH` or `MASK`.
pub(crate) static PREFIX: Custom = Custom {
    words: 1,
    form: "LENGTH|MASK",
    samples: &["0", "8", "24", "32"],
    parse: prefix,
    print: |value, out| {
        if let Value::Number(length) = value {
            out.push(' ');
            number::print(*length, out);
        }
    },
};

/// A mask as its length; one that is no prefix counts as a whole address.
fn prefix<'a>(words: &[Word<'a>], context: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let host = if context.family == Some(Family::Ipv6) { "::" } else { "0.0.0.0" };
    let fault = |_| Fault::expected("invalid-mask", "the length of a prefix", text);
    let length = match address::guided(&format!("{host}/{text}"), context.family).map_err(fault)? {
        AddressMask::V4(_, mask) => mask.count_ones(),
        AddressMask::V6(_, mask) => mask.count_ones(),
    };
    Ok(Value::Number(u64::from(length)))
}
