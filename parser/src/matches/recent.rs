//! `-m recent`: a list of addresses that were seen (kernel-facts G19).
//!
//! | option | value |
//! |---|---|
//! | `[!] --set, --rcheck, --update, --remove` | `Flag` |
//! | `--seconds, --hitcount` | `Number` |
//! | `--reap, --rttl` | `Flag` |
//! | `--name` | `Text`; always there |
//! | `--mask` | `Address`; always there |
//! | `--rsource, --rdest` | `Flag`; one is always there |

use crate::arguments::{Argument, Custom, number};
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::syntax::{AddressMask, Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("recent", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["set", "rcheck", "update", "remove"]),
        Requirement::AtMostOneOf(&["set", "rcheck", "update", "remove"]),
        Requirement::Needs("reap", "seconds"),
    ])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("set").negatable(),
    OptionDecl::flag("rcheck").negatable(),
    OptionDecl::flag("update").negatable(),
    OptionDecl::flag("remove").negatable(),
    OptionDecl::new("seconds", Argument::Custom(&SECONDS)),
    OptionDecl::flag("reap"),
    OptionDecl::new("hitcount", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::flag("rttl"),
    OptionDecl::new("name", Argument::Cut(199)).filled(|_| fixed("DEFAULT")),
    OptionDecl::new("mask", Argument::Host).filled(full_mask),
    OptionDecl::flag("rsource"),
    OptionDecl::flag("rdest"),
];

static SECONDS: Custom = Custom {
    words: 1,
    form: "SECONDS",
    samples: &["1", "60", "3600", "4294967295"],
    parse: |words, _| {
        let text = words.first().map_or("", |word| word.text.as_ref());
        number::between(text, 1, u64::from(u32::MAX)).map(Value::Number)
    },
    // iptables prints it as a signed number.
    print: |value, out| {
        if let Value::Number(seconds) = value {
            out.push_str(if *seconds > 0x7fff_ffff { " -" } else { " " });
            let negative = (1 << 32) - *seconds;
            number::print(if *seconds > 0x7fff_ffff { negative } else { *seconds }, out);
        }
    },
};

fn full_mask(family: Family) -> Value<'static> {
    Value::Address(match family {
        Family::Ipv4 => AddressMask::V4(u32::MAX, u32::MAX),
        Family::Ipv6 => AddressMask::V6(u128::MAX, u128::MAX),
    })
}

fn complete(completion: &mut Completion<'_, '_>) {
    completion.refuse_file_name("name");
    // The side that is given last counts.
    if completion.has("rsource") && completion.has("rdest") {
        let dest = completion.span_of("rdest").start;
        match completion.span_of("rsource").start < dest {
            true => completion.remove("rsource"),
            false => completion.remove("rdest"),
        }
    }
    if !completion.has("rdest") {
        completion.fill("rsource", Value::Flag);
    }
    let looks = completion.has("rcheck") || completion.has("update");
    completion.forget("hitcount", &Value::Number(0));
    for name in ["seconds", "hitcount", "rttl"] {
        if completion.has(name) && !looks {
            let message = format!("`--{name}` needs `--rcheck` or `--update`");
            let span = completion.span_of(name);
            completion.refuse("missing-option", message, span);
        }
    }
}
