//! `-m connlabel`: labels of the connection, by number.
//!
//! | option | value |
//! |---|---|
//! | `[!] --label` | `Number` |
//! | `--set` | `Flag` |

use crate::arguments::{Argument, Custom, number};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("connlabel", OPTIONS).requires(&[Requirement::OneOf(&["label"])]);

static LABEL: Custom = Custom {
    words: 1,
    form: "0-127",
    samples: &["0", "7", "127", "0x10"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        number::number(text, 127).map(Value::Number)
    },
    // It is taken for a name, and names are always quoted.
    print: |value, out| {
        if let Value::Number(label) = value {
            out.push_str(" \"");
            number::print(*label, out);
            out.push('"');
        }
    },
};

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("label", Argument::Custom(&LABEL)).negatable(), OptionDecl::flag("set")];
