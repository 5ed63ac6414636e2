//! `-m sctp`: ports and chunks of SCTP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |
//! | `[!] --chunk-types` | `Text`: `all`, `any` or `only`, a blank, and the chunks as written |

use crate::arguments::{Argument, Context, Custom, Fault, names};
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_match("sctp", OPTIONS).protocols(&[protocols::SCTP]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sport", Argument::PortRange).negatable().aliases(&[Alias::new("source-port")]),
    OptionDecl::new("dport", Argument::PortRange)
        .negatable()
        .aliases(&[Alias::new("destination-port")]),
    OptionDecl::new("chunk-types", Argument::Custom(&CHUNKS)).negatable(),
];

static CHUNKS: Custom = Custom {
    words: 2,
    form: "all|any|only CHUNK[:FLAGS],...",
    samples: &["any DATA,INIT", "all ALL", "only NONE", "any DATA:Be", "all SHUTDOWN,ERROR"],
    parse: chunks,
    print,
};

/// The chunks in the order in which they are printed.
const TYPES: &[&str] = &[
    "DATA",
    "INIT",
    "INIT_ACK",
    "SACK",
    "HEARTBEAT",
    "HEARTBEAT_ACK",
    "ABORT",
    "SHUTDOWN",
    "SHUTDOWN_ACK",
    "ERROR",
    "COOKIE_ECHO",
    "COOKIE_ACK",
    "ECN_ECNE",
    "ECN_CWR",
    "SHUTDOWN_COMPLETE",
    "ASCONF_ACK",
    "FORWARD_TSN",
    "ASCONF",
];

fn chunks<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let [scope, list] = words else {
        let message = "expected `all`, `any` or `only` and chunk types";
        return Err(Fault::new("missing-argument", message));
    };
    if !["all", "any", "only"].contains(&scope.text.as_ref()) {
        return Err(Fault::expected("unknown-value", "`all`, `any` or `only`", &scope.text));
    }
    if ["ALL", "NONE"].contains(&list.text.as_ref()) {
        return Ok(Value::Text(format!("{} {}", scope.text, list.text).into()));
    }
    let mut found = Vec::new();
    for item in list.text.split(',') {
        let name = item.split(':').next().unwrap_or(item);
        let place = TYPES.iter().position(|known| known.eq_ignore_ascii_case(name));
        let place = place.ok_or_else(|| names::unknown(name, TYPES.iter().copied()))?;
        found.push((place, item));
    }
    found.sort_unstable();
    let list: Vec<&str> = found.into_iter().map(|(_, item)| item).collect();
    Ok(Value::Text(format!("{} {}", scope.text, list.join(",")).into()))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}
