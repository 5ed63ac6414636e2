//! `-m realm`: the realm of the route.
//!
//! | option | value |
//! |---|---|
//! | `[!] --realm` | `Masked` |

use crate::arguments::{Argument, Context, Custom, Fault, mark};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("realm", OPTIONS)
    .family(Family::Ipv4)
    .chains(&["INPUT", "FORWARD", "OUTPUT", "POSTROUTING"])
    .requires(&[Requirement::OneOf(&["realm"])]);

/// The name that rt_realms of iproute2 gives to the realm 0, everywhere.
const UNSPECIFIED: &str = "cosmos";

static REALM: Custom = Custom {
    words: 1,
    form: "VALUE[/MASK]",
    samples: &["0", "1", "0x10/0xff", "cosmos", "7/0xffffffff"],
    parse,
    print,
};

fn parse<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    match words.first().map_or("", |word| word.text.as_ref()) {
        UNSPECIFIED => Ok(Value::Masked(0, u64::from(u32::MAX))),
        text => mark::mark(text),
    }
}

fn print(value: &Value<'_>, out: &mut String) {
    let Value::Masked(value, mask) = value else { return };
    out.push(' ');
    match (*value, *mask) {
        (0, 0xffff_ffff) => out.push_str(UNSPECIFIED),
        (value, mask) => mark::print(value, mask, out),
    }
}

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("realm", Argument::Custom(&REALM)).negatable()];
