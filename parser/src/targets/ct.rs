//! `-j CT`: how the connection will be tracked (kernel-facts F7, F13).
//!
//! | option | value |
//! |---|---|
//! | `--notrack` | `Flag` |
//! | `--helper, --timeout` | `Text` |
//! | `--ctevents, --expevents` | `Bits` |
//! | `--zone, --zone-orig, --zone-reply` | `Number`, or `Text` `mark` |

use std::borrow::Cow;

use crate::arguments::{Argument, Context, Custom, Fault, number};
use crate::extension::{Completion, Extension, OptionDecl, fixed};
use crate::syntax::{TableName, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension =
    Extension::of_target("CT", OPTIONS).tables(&[TableName::Raw]).complete(keep_one_zone);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("notrack"),
    OptionDecl::new("helper", Argument::Cut(15)).omitted(&Value::Text(Cow::Borrowed(""))),
    OptionDecl::new("timeout", Argument::Cut(31)).omitted(&Value::Text(Cow::Borrowed(""))),
    OptionDecl::new("ctevents", Argument::ExactBits(EVENTS)),
    OptionDecl::new("expevents", Argument::ExactBits(EXPECTATION_EVENTS)),
    OptionDecl::new("zone-orig", Argument::Custom(&ZONE)),
    OptionDecl::new("zone-reply", Argument::Custom(&ZONE)),
    OptionDecl::new("zone", Argument::Custom(&ZONE)),
];

/// The kernel has one zone and one direction: the zone that is given last, and both directions
/// unless only one was named. Zone 0 is no zone.
fn keep_one_zone(completion: &mut Completion<'_, '_>) {
    let zones = ["zone-orig", "zone-reply", "zone"];
    let last = zones
        .into_iter()
        .filter(|name| completion.has(name))
        .max_by_key(|name| completion.span_of(name).start);
    let Some(last) = last else { return };
    let marked = zones.iter().any(|name| completion.value(name) == Some(&fixed("mark")));
    let value = match completion.value(last) {
        _ if marked => fixed("mark"),
        Some(Value::Number(zone)) => Value::Number(*zone),
        _ => return,
    };
    let name = match (completion.has("zone-orig"), completion.has("zone-reply")) {
        (true, false) => "zone-orig",
        (false, true) => "zone-reply",
        _ => "zone",
    };
    let span = completion.span_of(last);
    for zone in zones {
        completion.remove(zone);
    }
    if value != Value::Number(0) {
        completion.fill_at(name, value, span);
    }
}

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

static ZONE: Custom = Custom {
    words: 1,
    form: "0-65535|mark",
    samples: &["0", "7", "65535", "mark"],
    parse: zone,
    print,
};

fn zone<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    match words.first().map_or("", |word| word.text.as_ref()) {
        text if text.eq_ignore_ascii_case("mark") => Ok(fixed("mark")),
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
