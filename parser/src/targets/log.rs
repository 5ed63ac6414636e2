//! `-j LOG`: logs and goes on.
//!
//! | option | value |
//! |---|---|
//! | `--log-prefix` | `Text` |
//! | `--log-level` | `Number`; 4 if not there |
//! | `--log-tcp-sequence, --log-tcp-options, --log-ip-options, --log-uid, --log-macdecode` | `Flag` |

use crate::arguments::{Argument, Context, Custom, Fault, names, number};
use crate::extension::{Extension, OptionDecl};
use crate::syntax::Value;
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_target("LOG", OPTIONS);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("log-prefix", Argument::Text(29)).not_empty().one_line(),
    OptionDecl::new("log-level", Argument::Custom(&LEVEL)).omitted(&Value::Number(4)),
    OptionDecl::flag("log-tcp-sequence"),
    OptionDecl::flag("log-tcp-options"),
    OptionDecl::flag("log-ip-options"),
    OptionDecl::flag("log-uid"),
    OptionDecl::flag("log-macdecode"),
];

/// The levels of syslog(3) by the names that iptables knows, in exactly this case.
const LEVELS: &[(&str, u64)] = &[
    ("emerg", 0),
    ("panic", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

static LEVEL: Custom = Custom {
    words: 1,
    form: "0-7|NAME",
    samples: &["0", "4", "7", "debug", "warning", "error", "info"],
    parse: level,
    print,
};

fn level<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    if let Some(number) = number::parse(text).filter(|&number| number < 8) {
        return Ok(Value::Number(number));
    }
    LEVELS
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, level)| Value::Number(*level))
        .ok_or_else(|| names::unknown(text, LEVELS.iter().map(|(name, _)| *name)))
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Number(level) = value {
        out.push(' ');
        number::print(*level, out);
    }
}
