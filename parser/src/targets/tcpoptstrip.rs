//! `-j TCPOPTSTRIP`: blanks options of TCP.
//!
//! | option | value |
//! |---|---|
//! | `--strip-options` | `Text`: the numbers in order, with commas |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Extension, OptionDecl};
use crate::protocols;
use crate::syntax::{TableName, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_target("TCPOPTSTRIP", OPTIONS)
    .tables(&[TableName::Mangle])
    .protocols(&[protocols::TCP]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("strip-options", Argument::Custom(&STRIPPED))];

static STRIPPED: Custom = Custom {
    words: 1,
    form: "OPTION,...",
    samples: &["mss", "wscale,sack", "19,8", "timestamp", "2", "255"],
    parse,
    print,
};

/// The options by name.
const NAMES: &[(&str, u64)] =
    &[("mss", 2), ("wscale", 3), ("sack-permitted", 4), ("sack", 5), ("timestamp", 8), ("md5", 19)];

fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    let mut stripped = Vec::new();
    for item in text.split(',') {
        let named = NAMES.iter().find(|(name, _)| *name == item).map(|(_, option)| *option);
        let option = named.map_or_else(|| number::between(item, 2, 255), Ok)?;
        if stripped.contains(&option) {
            let message = format!("option `{}` is given more than once", crate::words::clip(item));
            return Err(Fault::new("duplicate-option", message));
        }
        stripped.push(option);
    }
    stripped.sort_unstable();
    let stripped: Vec<String> = stripped.iter().map(u64::to_string).collect();
    Ok(Value::Text(stripped.join(",").into()))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}
