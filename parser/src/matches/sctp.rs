//! `-m sctp`: ports and chunks of SCTP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |
//! | `[!] --chunk-types` | `Text`: `all`, `any` or `only`, a blank, and the chunks as written |

use crate::arguments::{Argument, Context, Custom, Fault};
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_match("sctp", OPTIONS).protocols(&[protocols::SCTP]);

/// Every port, which iptables-save leaves out (kernel-facts H5).
const ANY_PORT: &Value<'static> = &Value::Range(0, 65_535);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sport", Argument::PortRange)
        .negatable()
        .aliases(&[Alias::new("source-port")])
        .omitted(ANY_PORT),
    OptionDecl::new("dport", Argument::PortRange)
        .negatable()
        .aliases(&[Alias::new("destination-port")])
        .omitted(ANY_PORT),
    OptionDecl::new("chunk-types", Argument::Custom(&CHUNKS)).negatable(),
];

static CHUNKS: Custom = Custom { words: 2, parse: chunks, print };

fn chunks<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let [scope, list] = words else {
        return Err(Fault::new(
            "missing-argument",
            "expected `all`, `any` or `only` and chunk types",
        ));
    };
    if !["all", "any", "only"].contains(&scope.text.as_ref()) {
        return Err(Fault::expected("unknown-value", "`all`, `any` or `only`", &scope.text));
    }
    Ok(Value::Text(format!("{} {}", scope.text, list.text).into()))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}
