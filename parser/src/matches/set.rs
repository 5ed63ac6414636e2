//! `-m set`: membership in an ipset (kernel-facts G18).
//!
//! | option | value |
//! |---|---|
//! | `[!] --match-set` | `Set` |
//! | `--return-nomatch` | `Flag` |
//! | `[!] --update-counters` | `Flag` |
//! | `[!] --update-subcounters` | `Flag` |
//! | `[!] --packets-eq, --packets-lt, --packets-gt` | `Number`; `!` with `eq` only |
//! | `[!] --bytes-eq, --bytes-lt, --bytes-gt` | `Number`; `!` with `eq` only |

use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::syntax::OptionUse;

pub(super) static EXTENSION: Extension = Extension::of_match("set", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["match-set"]),
        Requirement::AtMostOneOf(&["packets-eq", "packets-lt", "packets-gt"]),
        Requirement::AtMostOneOf(&["bytes-eq", "bytes-lt", "bytes-gt"]),
    ])
    .complete(|completion| {
        // To update them is what the kernel does anyway.
        let updates = ["update-counters", "update-subcounters"];
        let said = |one: &OptionUse<'_>| one.negated || !updates.contains(&one.option.name);
        completion.options.retain(said);
    });

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("match-set", Argument::Set).negatable().aliases(&[Alias::new("set")]),
    OptionDecl::flag("return-nomatch").again(),
    OptionDecl::flag("update-counters").negatable().again(),
    OptionDecl::flag("update-subcounters").negatable().again(),
    OptionDecl::new("packets-eq", Argument::Number(u64::MAX)).negatable(),
    OptionDecl::new("packets-lt", Argument::Number(u64::MAX)),
    OptionDecl::new("packets-gt", Argument::Number(u64::MAX)),
    OptionDecl::new("bytes-eq", Argument::Number(u64::MAX)).negatable(),
    OptionDecl::new("bytes-lt", Argument::Number(u64::MAX)),
    OptionDecl::new("bytes-gt", Argument::Number(u64::MAX)),
];
