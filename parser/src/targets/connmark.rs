//! `-j CONNMARK`: changes the mark of the connection, or copies it (kernel-facts G14).
//!
//! | option | value |
//! |---|---|
//! | `--set-xmark, --set-mark, --and-mark, --or-mark, --xor-mark` | `Masked`: clear the mask, then xor the value |
//! | `--save-mark, --restore-mark` | `Flag` |
//! | `--nfmask, --ctmask` | `Number`; both always there with the flags |
//! | `--left-shift-mark, --right-shift-mark` | `Number`; at most one is there, and none of zero bits |

use crate::arguments::Argument;
use crate::arguments::mark::Operation;
use crate::extension::{Alias, Completion, Extension, OptionDecl, Requirement};
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_target("CONNMARK", OPTIONS)
    .requires(&[
        Requirement::OneOf(&["set-xmark", "save-mark", "restore-mark"]),
        Requirement::AtMostOneOf(&["set-xmark", "save-mark", "restore-mark"]),
        Requirement::AtMostOneOf(&["mask", "nfmask"]),
        Requirement::AtMostOneOf(&["mask", "ctmask"]),
    ])
    .complete(fill_masks);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("set-xmark", Argument::MaskedMark).aliases(&[
        Alias::reading("set-mark", Argument::MarkOperand(Operation::Set)),
        Alias::reading("and-mark", Argument::MarkOperand(Operation::And)),
        Alias::reading("or-mark", Argument::MarkOperand(Operation::Or)),
        Alias::reading("xor-mark", Argument::MarkOperand(Operation::Xor)),
    ]),
    OptionDecl::flag("save-mark"),
    OptionDecl::flag("restore-mark"),
    OptionDecl::new("nfmask", Argument::Hex(u32::MAX as u64)),
    OptionDecl::new("ctmask", Argument::Hex(u32::MAX as u64)),
    OptionDecl::new("mask", Argument::Hex(u32::MAX as u64)),
    OptionDecl::new("left-shift-mark", Argument::Number(32)),
    OptionDecl::new("right-shift-mark", Argument::Number(32)),
];

/// Keeps the shift that is given last, as iptables 1.8.9 does, and none by zero bits.
fn keep_one_shift(completion: &mut Completion<'_, '_>) {
    let shifts = ["left-shift-mark", "right-shift-mark"];
    let last = shifts
        .into_iter()
        .filter(|name| completion.has(name))
        .max_by_key(|name| completion.span_of(name).start);
    completion.options.retain(|option| {
        let name = option.option.name;
        !shifts.contains(&name) || last == Some(name) && option.value != Value::Number(0)
    });
}

/// `--mask` stands for both masks, and both are printed.
fn fill_masks(completion: &mut Completion<'_, '_>) {
    keep_one_shift(completion);
    for name in ["left-shift-mark", "right-shift-mark"] {
        if completion.value(name) == Some(&Value::Number(32)) {
            let span = completion.span_of(name);
            completion.refuse("invalid-number", "a mark has 32 bits to shift by 0 to 31", span);
        }
    }
    let mask = |name: &str| match completion.value(name) {
        Some(Value::Number(mask)) => Some((*mask, completion.span_of(name).start)),
        _ => None,
    };
    let given = if completion.has("set-xmark") {
        // The mask that is given last counts.
        mask("mask").or_else(|| mask("ctmask"))
    } else {
        mask("mask")
    };
    completion.options.retain(|option| option.option.name != "mask");
    if completion.has("set-xmark") {
        let masks = ["nfmask", "ctmask"];
        completion.options.retain(|option| !masks.contains(&option.option.name));
        for option in completion.options.iter_mut() {
            let start = option.span.start;
            if let (Value::Masked(_, mask), Some((given, at))) = (&mut option.value, given)
                && at > start
            {
                *mask = given;
            }
        }
        return;
    }
    let both = given.map_or(u64::from(u32::MAX), |(mask, _)| mask);
    completion.fill("nfmask", Value::Number(both));
    completion.fill("ctmask", Value::Number(both));
}
