//! `-m policy`: the IPsec policy. `--next` begins the next element.
//!
//! | option | value |
//! |---|---|
//! | `--dir` | `Text`: `in` or `out` |
//! | `--pol` | `Text`: `none` or `ipsec` |
//! | `--strict, --next` | `Flag` |
//! | `[!] --reqid, --spi` | `Number` |
//! | `[!] --proto` | `Text`: `ah`, `esp` or `ipcomp` |
//! | `[!] --mode` | `Text`: `transport` or `tunnel` |
//! | `[!] --tunnel-dst, --tunnel-src` | `Address` |

use crate::arguments::{Argument, Context, Custom, Fault, names, number};
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::syntax::{OptionUse, Value};
use crate::words::Word;

pub(super) static EXTENSION: Extension = Extension::of_match("policy", OPTIONS)
    .repeats()
    .requires(&[Requirement::OneOf(&["dir"]), Requirement::Needs("next", "strict")])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("dir", Argument::ExactKeyword(&[&["in"], &["out"]])),
    OptionDecl::new("pol", Argument::ExactKeyword(&[&["none"], &["ipsec"]])),
    OptionDecl::flag("strict"),
    OptionDecl::new("reqid", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::new("spi", Argument::Hex(u32::MAX as u64)).negatable(),
    OptionDecl::new("proto", Argument::Custom(&PROTOCOL)).negatable(),
    OptionDecl::new("mode", Argument::ExactKeyword(&[&["transport"], &["tunnel"]])).negatable(),
    OptionDecl::new("tunnel-dst", Argument::Address).negatable(),
    OptionDecl::new("tunnel-src", Argument::Address).negatable(),
    OptionDecl::flag("next"),
];

static PROTOCOL: Custom = Custom {
    words: 1,
    form: "ah|esp|ipcomp",
    samples: &["ah", "esp", "ipcomp", "50", "IPCOMP"],
    parse: protocol,
    print: |value, out| {
        if let Value::Text(name) = value {
            out.push(' ');
            out.push_str(name);
        }
    },
};

/// The protocols of IPsec: name, number, and the other name in protocols(5). Unlike `-p`, case
/// counts.
const PROTOCOLS: &[(&str, u64, &str)] =
    &[("ah", 51, "IPSEC-AH"), ("esp", 50, "IPSEC-ESP"), ("ipcomp", 108, "IPCOMP")];

fn protocol<'a>(words: &[Word<'a>], _: &Context) -> Result<Value<'a>, Fault> {
    let text = words.first().map_or("", |word| word.text.as_ref());
    PROTOCOLS
        .iter()
        .find(|(name, known, other)| {
            *name == text || *other == text || number::parse(text) == Some(*known)
        })
        .map(|(name, ..)| fixed(name))
        .ok_or_else(|| names::unknown(text, PROTOCOLS.iter().map(|(name, ..)| *name)))
}

/// The most elements (xt_policy.h, `XT_POLICY_MAX_ELEM`).
const MOST: usize = 4;

/// Puts the options of each element in the order that they are printed in, and checks them.
fn complete(completion: &mut Completion<'_, '_>) {
    check_direction(completion);
    let none = completion.value("pol") == Some(&fixed("none"));
    if none {
        for name in ["strict", "next"] {
            if completion.has(name) {
                let message = format!("`--{name}` can't stand with `--pol none`");
                let span = completion.span_of(name);
                completion.refuse("wrong-option", message, span);
            }
        }
    } else {
        completion.fill("pol", fixed("ipsec"));
    }
    let place = |name: &str| OPTIONS.iter().position(|option| option.name == name);
    let mut element = 0_usize;
    let mut keyed: Vec<Keyed<'_>> = Vec::with_capacity(completion.options.len());
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
    if let Some((name, span)) = double {
        let message = format!("`--{name}` is given more than once for one element");
        completion.refuse("duplicate-option", message, span);
    }
    if none {
        // What an element would say is read, and then forgotten.
        keyed.retain(|(.., option)| matches!(option.option.name, "dir" | "pol"));
    } else {
        check_elements(completion, element, &keyed);
    }
    completion.options.extend(keyed.into_iter().map(|(_, _, option)| option));
}

/// The kernel knows the policy of what comes in before it is routed, and of what goes out after.
fn check_direction(completion: &mut Completion<'_, '_>) {
    let (input, output) = (fixed("in"), fixed("out"));
    let wrong = match completion.chain {
        "PREROUTING" | "INPUT" => completion.value("dir") == Some(&output),
        "OUTPUT" | "POSTROUTING" => completion.value("dir") == Some(&input),
        _ => false,
    };
    if wrong {
        let message = format!("this `--dir` can't be used in {}", completion.chain);
        let span = completion.span_of("dir");
        completion.refuse("wrong-chain", message, span);
    }
}

/// An option, behind the number of its element and its place among the options.
type Keyed<'a> = (usize, Option<usize>, OptionUse<'a>);

/// The elements, of which `last` is the last: not too many, and each by itself.
fn check_elements(completion: &mut Completion<'_, '_>, last: usize, keyed: &[Keyed<'_>]) {
    if last >= MOST {
        let message = format!("more than {MOST} elements");
        completion.refuse("too-long", message, completion.span);
    }
    let strict = keyed.iter().any(|(.., option)| option.option.name == "strict");
    for number in 1..=last + 1 {
        let options: Vec<&OptionUse<'_>> =
            keyed.iter().filter(|(of, ..)| *of == number).map(|(.., option)| option).collect();
        check_element(completion, strict, &options);
    }
}

/// One element: not empty under `--strict`, and with addresses in tunnel mode only.
fn check_element(completion: &mut Completion<'_, '_>, strict: bool, options: &[&OptionUse<'_>]) {
    if strict && options.iter().all(|option| option.option.name == "next") {
        let message = "`--strict` needs an element such as `--proto esp`, and none that is empty";
        completion.refuse("missing-option", message, completion.span);
    }
    let (tunnel, transport) = (fixed("tunnel"), fixed("transport"));
    let tunnelled = options.iter().any(|option| {
        option.option.name == "mode"
            && (option.value == tunnel && !option.negated
                || option.value == transport && option.negated)
    });
    let address =
        options.iter().find(|option| matches!(option.option.name, "tunnel-src" | "tunnel-dst"));
    if let Some(option) = address.filter(|_| !tunnelled) {
        let message = format!("`--{}` needs `--mode tunnel`", option.option.name);
        completion.refuse("missing-option", message, option.span);
    }
}
