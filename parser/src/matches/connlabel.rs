//! `-m connlabel`: labels of the connection, by number.
//!
//! | option | value |
//! |---|---|
//! | `[!] --label` | `Number` |
//! | `--set` | `Flag` |

use crate::arguments::{Argument, Custom, Fault, number};
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
        // iptables keeps 16 bits of it before it looks.
        let label =
            number::parse(text.strip_prefix('-').filter(|zero| *zero == "0").unwrap_or(text))
                .map(|label| label & 0xffff)
                .filter(|label| *label < 128);
        let expected = || Fault::expected("invalid-number", "a number from 0 to 127", text);
        label.map(Value::Number).ok_or_else(expected)
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
