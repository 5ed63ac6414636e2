//! `-j CT`: how the connection will be tracked (kernel-facts F7, F13).
//!
//! | option | value |
//! |---|---|
//! | `--notrack` | `Flag` |
//! | `--helper, --timeout` | `Text` |
//! | `--ctevents, --expevents` | `Bits` |
//! | `--zone, --zone-orig, --zone-reply` | `Number`, or `Text` `mark` |

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Extension, OptionDecl, Requirement, fixed};
use crate::syntax::{TableName, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_target("CT", OPTIONS)
    .tables(&[TableName::Raw])
    .requires(&[Requirement::AtMostOneOf(&["zone-orig", "zone-reply", "zone"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("notrack"),
    OptionDecl::new("helper", Argument::Bare(15)),
    OptionDecl::new("timeout", Argument::Bare(31)),
    OptionDecl::new("ctevents", Argument::Bits(EVENTS)),
    OptionDecl::new("expevents", Argument::Bits(EXPECTATION_EVENTS)),
    OptionDecl::new("zone-orig", Argument::Custom(&ZONE)),
    OptionDecl::new("zone-reply", Argument::Custom(&ZONE)),
    OptionDecl::new("zone", Argument::Custom(&ZONE)),
];

/// The events; bit n is the kernel's event n (nf_conntrack_common.h, `IPCT_*`).
const EVENTS: &[(&str, u32)] = &[
    ("new", 1),
    ("related", 1 << 1),
    ("destroy", 1 << 2),
    ("reply", 1 << 3),
    ("assured", 1 << 4),
    ("protoinfo", 1 << 5),
    ("helper", 1 << 6),
    ("mark", 1 << 7),
    ("natseqinfo", 1 << 8),
    ("secmark", 1 << 9),
];

const EXPECTATION_EVENTS: &[(&str, u32)] = &[("new", 1)];

static ZONE: Custom = Custom { words: 1, parse: zone, print };

fn zone<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    match words.first().map_or("", |word| word.text.as_ref()) {
        "mark" => Ok(fixed("mark")),
        text => number::number(text, 65_535).map(Value::Number),
    }
}

fn print(value: &Value<'_>, out: &mut String) {
    out.push(' ');
    match value {
        Value::Number(zone) => number::print(*zone, out),
        _ => out.push_str("mark"),
    }
}
