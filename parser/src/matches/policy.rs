//! `-m policy`: the IPsec policy. `--next` begins the next element.
//!
//! | option | value |
//! |---|---|
//! | `--dir` | `Text`: `in` or `out` |
//! | `--pol` | `Text`: `none` or `ipsec` |
//! | `--strict, --next` | `Flag` |
//! | `[!] --reqid, --spi` | `Number` |
//! | `[!] --proto` | `Text`: a name or number of a protocol |
//! | `[!] --mode` | `Text`: `transport` or `tunnel` |
//! | `[!] --tunnel-dst, --tunnel-src` | `Address` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};

pub(super) static EXTENSION: Extension = Extension::of_match("policy", OPTIONS)
    .repeats()
    .requires(&[Requirement::OneOf(&["dir"])])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("dir", Argument::Keyword(&[&["in"], &["out"]])),
    OptionDecl::new("pol", Argument::Keyword(&[&["none"], &["ipsec"]])),
    OptionDecl::flag("strict"),
    OptionDecl::new("reqid", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("spi", Argument::Hex(u32::MAX as u64)).negatable(),
    OptionDecl::new("proto", Argument::Keyword(PROTOCOLS)).negatable(),
    OptionDecl::new("mode", Argument::Keyword(&[&["transport"], &["tunnel"]])).negatable(),
    OptionDecl::new("tunnel-dst", Argument::Address).negatable(),
    OptionDecl::new("tunnel-src", Argument::Address).negatable(),
    OptionDecl::flag("next"),
];

const PROTOCOLS: &[&[&str]] = &[&["ah", "51"], &["esp", "50"], &["ipcomp", "108"]];

/// Puts the options of each element in the order that they are printed in, and checks them.
fn complete(completion: &mut Completion<'_, '_>) {
    if completion.value("pol") == Some(&fixed("none")) {
        let kept = ["dir", "pol", "strict"];
        completion.options.retain(|option| kept.contains(&option.option.name));
    }
    let place = |name: &str| OPTIONS.iter().position(|option| option.name == name);
    let mut element = 0_usize;
    let mut keyed: Vec<(usize, Option<usize>, _)> = Vec::with_capacity(completion.options.len());
    for option in completion.options.drain(..) {
        let name = option.option.name;
        let general = matches!(name, "dir" | "pol" | "strict");
        keyed.push((if general { 0 } else { element + 1 }, place(name), option));
        element += usize::from(name == "next");
    }
    keyed.sort_by_key(|(element, place, _)| (*element, *place));
    let double = keyed.windows(2).find_map(|pair| match pair {
        [one, other] if one.0 == other.0 && one.1 == other.1 => {
            Some((other.2.option.name, other.2.span))
        }
        _ => None,
    });
    let elements = keyed.iter().any(|(element, ..)| *element > 0);
    completion.options.extend(keyed.into_iter().map(|(_, _, option)| option));
    if let Some((name, span)) = double {
        let message = format!("`--{name}` is given more than once for one element");
        completion.refuse("duplicate-option", message, span);
    }
    if completion.has("strict") && !elements {
        let message = "`--strict` needs an element such as `--proto esp`";
        completion.refuse("missing-option", message, completion.span);
    }
}
