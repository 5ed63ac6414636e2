//! `-j HMARK`: sets the mark to a hash of the flow.
//!
//! | option | value |
//! |---|---|
//! | `--hmark-tuple` | `Text` `ct`; other fields become masks |
//! | `--hmark-src-prefix, --hmark-dst-prefix` | `Number` |
//! | `--hmark-mod, --hmark-offset, --hmark-rnd` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::syntax::{Family, Value};
use crate::words::clip;

pub(super) static EXTENSION: Extension = Extension::of_target("HMARK", OPTIONS)
    .requires(&[Requirement::OneOf(&["hmark-mod"]), Requirement::OneOf(&["hmark-rnd"])])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hmark-src-prefix", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hmark-dst-prefix", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hmark-sport-mask", Argument::WideHex(0xffff, 4)),
    OptionDecl::new("hmark-dport-mask", Argument::WideHex(0xffff, 4)),
    OptionDecl::new("hmark-spi-mask", Argument::WideHex(0xffff_ffff, 8)),
    OptionDecl::new("hmark-sport", Argument::WideHex(0xffff, 4)),
    OptionDecl::new("hmark-dport", Argument::WideHex(0xffff, 4)),
    OptionDecl::new("hmark-spi", Argument::WideHex(0xffff_ffff, 8)),
    OptionDecl::new("hmark-proto-mask", Argument::WideHex(0xffff, 2)),
    OptionDecl::new("hmark-rnd", Argument::WideHex(0xffff_ffff, 8)),
    OptionDecl::new("hmark-mod", Argument::Between(1, u32::MAX as u64)),
    OptionDecl::new("hmark-offset", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hmark-tuple", Argument::Bare(255)),
];

/// `--hmark-tuple` is printed as the masks that it stands for, but for `ct`.
fn complete(completion: &mut Completion<'_, '_>) {
    let general = ["hmark-rnd", "hmark-mod", "hmark-offset"];
    if completion.options.iter().all(|option| general.contains(&option.option.name)) {
        let message = "`HMARK` needs `--hmark-tuple` or what it is made of";
        completion.refuse("missing-option", message, completion.span);
    }
    let length = if completion.family() == Family::Ipv4 { 32 } else { 128 };
    for option in completion.options.iter_mut().filter(|one| one.option.name.ends_with("prefix")) {
        if let Value::Number(given) = &mut option.value {
            *given = (*given).min(length);
        }
    }
    let Some(Value::Text(tuple)) = completion.value("hmark-tuple").cloned() else { return };
    completion.options.retain(|option| option.option.name != "hmark-tuple");
    for field in tuple.split(',') {
        match field.to_ascii_lowercase().as_str() {
            "src" => completion.fill("hmark-src-prefix", Value::Number(length)),
            "dst" => completion.fill("hmark-dst-prefix", Value::Number(length)),
            "sport" => completion.fill("hmark-sport-mask", Value::Number(0xffff)),
            "dport" => completion.fill("hmark-dport-mask", Value::Number(0xffff)),
            "spi" => completion.fill("hmark-spi-mask", Value::Number(0xffff_ffff)),
            "proto" => completion.fill("hmark-proto-mask", Value::Number(0xff)),
            "ct" => completion.fill("hmark-tuple", fixed("ct")),
            _ => {
                let message = format!("unknown field `{}` of a tuple", clip(field));
                completion.refuse("unknown-value", message, completion.span);
            }
        }
    }
}
