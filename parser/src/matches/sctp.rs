//! `-m sctp`: ports and chunks of SCTP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |
//! | `[!] --chunk-types` | `Text`: `all`, `any` or `only`, a blank, and the chunks as printed |

use std::collections::BTreeMap;

use crate::arguments::{Argument, Context, Custom, Fault, names};
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;
use crate::words::{Word, clip};

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
    samples: &[
        "any DATA,INIT",
        "all ALL",
        "only NONE",
        "any DATA:Be",
        "all SHUTDOWN,ERROR",
        "any I_DATA,pad,ABORT:T",
    ],
    parse: chunks,
    print,
};

/// A kind of chunk: its name, its number, and the letters of its flags from the highest bit.
struct Kind(&'static str, u8, &'static str);

/// The kinds of chunks in the order of iptables 1.8.9, which tells flags by the place in it.
const KINDS: &[Kind] = &[
    Kind("DATA", 0, "----IUBE"),
    Kind("INIT", 1, NO_FLAGS),
    Kind("INIT_ACK", 2, NO_FLAGS),
    Kind("SACK", 3, NO_FLAGS),
    Kind("HEARTBEAT", 4, NO_FLAGS),
    Kind("HEARTBEAT_ACK", 5, NO_FLAGS),
    Kind("ABORT", 6, "-------T"),
    Kind("SHUTDOWN", 7, NO_FLAGS),
    Kind("SHUTDOWN_ACK", 8, NO_FLAGS),
    Kind("ERROR", 9, NO_FLAGS),
    Kind("COOKIE_ECHO", 10, NO_FLAGS),
    Kind("COOKIE_ACK", 11, NO_FLAGS),
    Kind("ECN_ECNE", 12, NO_FLAGS),
    Kind("ECN_CWR", 13, NO_FLAGS),
    Kind("SHUTDOWN_COMPLETE", 14, "-------T"),
    Kind("I_DATA", 64, "----IUBE"),
    Kind("RE_CONFIG", 130, NO_FLAGS),
    Kind("PAD", 132, NO_FLAGS),
    Kind("ASCONF", 193, NO_FLAGS),
    Kind("ASCONF_ACK", 128, NO_FLAGS),
    Kind("FORWARD_TSN", 192, NO_FLAGS),
    Kind("I_FORWARD_TSN", 194, NO_FLAGS),
];

const NO_FLAGS: &str = "--------";

/// For how many kinds flags may be given (xt_sctp.h, `XT_NUM_SCTP_FLAGS`).
const MOST_WITH_FLAGS: usize = 4;

/// The flags of a kind that are asked for: bits that matter, and those of them that are set.
#[derive(Clone, Copy, Default)]
struct Flags {
    mask: u8,
    set: u8,
}

fn chunks<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let [scope, list] = words else {
        let message = "expected `all`, `any` or `only` and chunk types";
        return Err(Fault::new("missing-argument", message));
    };
    let known = ["all", "any", "only"].into_iter();
    let Some(scope) = known.clone().find(|known| known.eq_ignore_ascii_case(&scope.text)) else {
        return Err(Fault::expected("unknown-value", "`all`, `any` or `only`", &scope.text));
    };
    let list = match list.text.as_ref() {
        all if all.eq_ignore_ascii_case("ALL") => "ALL".to_owned(),
        none if none.eq_ignore_ascii_case("NONE") => "NONE".to_owned(),
        list => normal_form(list)?,
    };
    Ok(Value::Text(format!("{scope} {list}").into()))
}

/// A list of chunks as it is printed: by number, each once with all of its flags.
fn normal_form(list: &str) -> Result<String, Fault> {
    let mut found: BTreeMap<u8, (&Kind, Flags)> = BTreeMap::new();
    for item in list.split(',').filter(|item| !item.is_empty()) {
        let (name, flags) = item.split_once(':').unwrap_or((item, ""));
        let kind = KINDS.iter().find(|kind| kind.0.eq_ignore_ascii_case(name));
        let kind = kind.ok_or_else(|| names::unknown(name, KINDS.iter().map(|kind| kind.0)))?;
        let (_, asked) = found.entry(kind.1).or_insert((kind, Flags::default()));
        for flag in flags.chars() {
            let place = kind.2.chars().position(|known| known == flag.to_ascii_uppercase());
            let bit = place.map(|place| 0x80_u8 >> place).ok_or_else(|| {
                let message = format!("`{}` is no flag of the chunk `{}`", clip(flags), kind.0);
                Fault::new("unknown-value", message)
            })?;
            asked.mask |= bit;
            asked.set |= if flag.is_ascii_uppercase() { bit } else { 0 };
        }
    }
    if found.values().filter(|(_, flags)| flags.mask != 0).count() > MOST_WITH_FLAGS {
        let message = format!("flags of more than {MOST_WITH_FLAGS} kinds of chunks");
        return Err(Fault::new("too-long", message));
    }
    if found.is_empty() {
        return Ok("NONE".to_owned());
    }
    let items: Vec<String> = found.values().map(|(kind, flags)| printed(kind, *flags)).collect();
    Ok(items.join(","))
}

/// A chunk with its flags; iptables-save shows none of kinds whose number is not their place.
fn printed(kind: &Kind, flags: Flags) -> String {
    let mut out = kind.0.to_owned();
    let shown = KINDS.iter().position(|one| one.1 == kind.1) == Some(usize::from(kind.1));
    if flags.mask == 0 || !shown {
        return out;
    }
    out.push(':');
    for (place, letter) in kind.2.chars().enumerate() {
        let bit = 0x80 >> place;
        if flags.mask & bit != 0 {
            out.push(if flags.set & bit != 0 { letter } else { letter.to_ascii_lowercase() });
        }
    }
    out
}

fn print(value: &Value<'_>, out: &mut String) {
    if let Value::Text(text) = value {
        out.push(' ');
        out.push_str(text);
    }
}
