//! `-m connlimit`: how many connections an address has.
//!
//! | option | value |
//! |---|---|
//! | `--connlimit-upto, --connlimit-above` | `Number`; one is there |
//! | `--connlimit-mask` | `Number`, a prefix length; always there |
//! | `--connlimit-saddr, --connlimit-daddr` | `Flag`; one is always there |

use crate::arguments::{Argument, prefix};
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("connlimit", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["connlimit-upto", "connlimit-above"]),
        Requirement::AtMostOneOf(&["connlimit-upto", "connlimit-above"]),
        Requirement::AtMostOneOf(&["connlimit-saddr", "connlimit-daddr"]),
    ])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("connlimit-upto", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("connlimit-above", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("connlimit-mask", Argument::Custom(&prefix::PREFIX)).filled(full_length),
    OptionDecl::flag("connlimit-saddr"),
    OptionDecl::flag("connlimit-daddr"),
];

fn full_length(family: Family) -> Value<'static> {
    Value::Number(match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    })
}

/// Turns `! --connlimit-above` into `--connlimit-upto` and the reverse, as iptables-save does.
fn complete(completion: &mut Completion<'_, '_>) {
    for option in completion.options.iter_mut().filter(|option| option.negated) {
        let other = match option.option.name {
            "connlimit-upto" => "connlimit-above",
            _ => "connlimit-upto",
        };
        if let Some(declared) = OPTIONS.iter().position(|option| option.name == other)
            && let Some(declared) = completion.extension.options.get(declared)
        {
            option.option = declared;
            option.negated = false;
        }
    }
    if !completion.has("connlimit-daddr") {
        completion.fill("connlimit-saddr", Value::Flag);
    }
}
