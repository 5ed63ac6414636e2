//! `-m connbytes`: how much a connection has carried.
//!
//! | option | value |
//! |---|---|
//! | `[!] --connbytes` | `Range`; an open end is `u64::MAX` |
//! | `--connbytes-mode` | `Text`: `packets`, `bytes` or `avgpkt` |
//! | `--connbytes-dir` | `Text`: `original`, `reply` or `both` |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("connbytes", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["connbytes"]),
        Requirement::OneOf(&["connbytes-mode"]),
        Requirement::OneOf(&["connbytes-dir"]),
    ])
    .complete(complete);

/// The kernel holds a reversed range for a negated one, so that one number has no opposite.
fn complete(completion: &mut Completion<'_, '_>) {
    completion.refuse_reversed("connbytes");
    for option in completion.options.iter_mut() {
        if let Value::Range(from, to) = option.value
            && from == to
        {
            option.negated = false;
        }
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("connbytes", Argument::Custom(&AMOUNT)).negatable(),
    OptionDecl::new(
        "connbytes-mode",
        Argument::ExactKeyword(&[&["packets"], &["bytes"], &["avgpkt"]]),
    ),
    OptionDecl::new(
        "connbytes-dir",
        Argument::ExactKeyword(&[&["original"], &["reply"], &["both"]]),
    ),
];

static AMOUNT: Custom = Custom {
    words: 1,
    form: "FROM[:TO]",
    samples: &["1000", "1000:", "0:5000", "7:7", "0:18446744073709551615"],
    parse: amount,
    print,
};

/// `FROM[:[TO]]`; without `TO` there is no end, colon or not (kernel-facts H6).
fn amount<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    match text.split_once(':') {
        None if text.is_empty() => Ok(Value::Range(0, u64::MAX)),
        None => number::number(text, u64::MAX).map(|from| Value::Range(from, u64::MAX)),
        Some(_) => number::range(text, ':', u64::MAX),
    }
}

fn print(value: &Value<'_>, out: &mut String) {
    let Value::Range(from, to) = value else { return };
    out.push(' ');
    number::print(*from, out);
    // iptables-save takes an end of 0 for none.
    if *to != u64::MAX && *to != 0 {
        out.push(':');
        number::print(*to, out);
    }
}
