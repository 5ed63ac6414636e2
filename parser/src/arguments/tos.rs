//! The type of service.

use std::fmt::Write as _;

use super::{Context, Custom, Fault, number};
use crate::syntax::Value;
use crate::words::Word;

/// The names, which stand for a value under the mask 0x3f.
const NAMES: &[(&str, u64)] = &[
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];

/// `--tos VALUE[/MASK]`.
pub(crate) static MATCH: Custom = Custom {
    words: 1,
    form: "VALUE[/MASK]|NAME",
    samples: &["0x10/0xff", "16", "0", "255/0x3f", "Minimize-Delay", "normal-service"],
    parse: tos,
    print,
};
/// `--set-tos VALUE[/MASK]`.
pub(crate) static SET: Custom = Custom {
    words: 1,
    form: "VALUE[/MASK]|NAME",
    samples: &["0x10/0xff", "16", "0", "255/0x3f", "Minimize-Delay", "normal-service"],
    parse: tos,
    print,
};
/// `--and-tos BITS`.
pub(crate) static AND: Custom =
    Custom { words: 1, form: "BITS", samples: &["0x3f", "7", "0", "255"], parse: and, print };
/// `--or-tos BITS`.
pub(crate) static OR: Custom =
    Custom { words: 1, form: "BITS", samples: &["0x3f", "7", "0", "255"], parse: or, print };
/// `--xor-tos BITS`.
pub(crate) static XOR: Custom =
    Custom { words: 1, form: "BITS", samples: &["0x3f", "7", "0", "255"], parse: xor, print };

fn text<'w>(words: &'w [Word<'_>]) -> &'w str {
    words.first().map_or("", |word| word.text.as_ref())
}

fn tos<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = text(words);
    if let Some((_, value)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(Value::Masked(*value, 0x3f));
    }
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xff"));
    match (number::number(value, 255), number::number(mask, 255)) {
        (Ok(value), Ok(mask)) => Ok(Value::Masked(value, mask)),
        _ => {
            Err(Fault::expected("invalid-tos", "a value `VALUE[/MASK]` of 8 bits or a name", text))
        }
    }
}

fn and<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    number::number(text(words), 255).map(|bits| Value::Masked(0, !bits & 0xff))
}

fn or<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    number::number(text(words), 255).map(|bits| Value::Masked(bits, bits))
}

fn xor<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    number::number(text(words), 255).map(|bits| Value::Masked(bits, 0))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Masked(value, mask) = value {
        let _ = write!(out, " {value:#04x}/{mask:#04x}");
    }
}
