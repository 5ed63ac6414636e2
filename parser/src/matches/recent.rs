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

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::syntax::{AddressMask, Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("recent", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["set", "rcheck", "update", "remove"]),
        Requirement::AtMostOneOf(&["set", "rcheck", "update", "remove"]),
        Requirement::AtMostOneOf(&["rsource", "rdest"]),
        Requirement::Needs("reap", "seconds"),
    ])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("set").negatable(),
    OptionDecl::flag("rcheck").negatable(),
    OptionDecl::flag("update").negatable(),
    OptionDecl::flag("remove").negatable(),
    OptionDecl::new("seconds", Argument::Between(1, u32::MAX as u64)),
    OptionDecl::flag("reap"),
    OptionDecl::new("hitcount", Argument::Number(65_535)).omitted(&Value::Number(0)),
    OptionDecl::flag("rttl"),
    OptionDecl::new("name", Argument::Cut(199)).filled(|_| fixed("DEFAULT")),
    OptionDecl::new("mask", Argument::Host).filled(full_mask),
    OptionDecl::flag("rsource"),
    OptionDecl::flag("rdest"),
];

fn full_mask(family: Family) -> Value<'static> {
    Value::Address(match family {
        Family::Ipv4 => AddressMask::V4(u32::MAX, u32::MAX),
        Family::Ipv6 => AddressMask::V6(u128::MAX, u128::MAX),
    })
}

fn complete(completion: &mut Completion<'_, '_>) {
    completion.refuse_file_name("name");
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
