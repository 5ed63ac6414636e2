//! `-j CLASSIFY`: sets the traffic class.
//!
//! | option | value |
//! |---|---|
//! | `--set-class` | `Number`: the major number in the upper 16 of 32 bits |

use std::fmt::Write as _;

use crate::arguments::{Argument, Context, Custom, Fault};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_target("CLASSIFY", OPTIONS)
    .chains(&["FORWARD", "OUTPUT", "POSTROUTING"])
    .requires(&[Requirement::OneOf(&["set-class"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("set-class", Argument::Custom(&CLASS))];

static CLASS: Custom = Custom {
    words: 1,
    form: "MAJOR:MINOR",
    samples: &["1:10", "ffff:0", "0:0", "0001:0010"],
    parse: class,
    print,
};

/// `MAJOR:MINOR`, both hexadecimal and cut to 16 bits, as sscanf(3) reads them.
fn class<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    half(text)
        .and_then(|(major, rest)| Some((major, half(rest.strip_prefix(':')?)?.0)))
        .map(|(major, minor)| Value::Number(major << 16 | minor))
        .ok_or_else(|| Fault::expected("invalid-class", "a class `MAJOR:MINOR`", text))
}

fn half(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hex, text) = match text.strip_prefix("0x") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = match digits {
        "" if hex => 0,
        digits => u64::from_str_radix(digits, 16).ok()?,
    };
    Some((if negative { number.wrapping_neg() } else { number } & 0xffff, rest))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Number(class) = value {
        let _ = write!(out, " {:04x}:{:04x}", class >> 16, class & 0xffff);
    }
}
