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

/// `MAJOR:MINOR`, both hexadecimal.
fn class<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let half = |text: &str| u64::from_str_radix(text, 16).ok().map(|half| half & 0xffff);
    text.split_once(':')
        .and_then(|(major, minor)| Some(Value::Number(half(major)? << 16 | half(minor)?)))
        .ok_or_else(|| Fault::expected("invalid-class", "a class `MAJOR:MINOR`", text))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Number(class) = value {
        let _ = write!(out, " {:04x}:{:04x}", class >> 16, class & 0xffff);
    }
}
