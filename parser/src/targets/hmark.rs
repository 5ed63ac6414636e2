//! `-j HMARK`: sets the mark to a hash of the flow.
//!
//! | option | value |
//! |---|---|
//! | `--hmark-tuple` | `Text` `ct`; other fields become masks |
//! | `--hmark-src-prefix, --hmark-dst-prefix` | `Number` |
//! | `--hmark-mod, --hmark-offset, --hmark-rnd` | `Number` |

use crate::arguments::{Argument, prefix};
use crate::extension::{Completion, Extension, OptionDecl, Requirement, fixed};
use crate::span::Span;
use crate::syntax::{Family, Value};
use crate::words::clip;

pub(super) static EXTENSION: Extension = Extension::of_target("HMARK", OPTIONS)
    .requires(&[Requirement::OneOf(&["hmark-mod"]), Requirement::OneOf(&["hmark-rnd"])])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hmark-src-prefix", Argument::Custom(&prefix::PREFIX)),
    OptionDecl::new("hmark-dst-prefix", Argument::Custom(&prefix::PREFIX)),
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
        let message = "`HMARK` needs `--hmark-tuple` or a mask or prefix that it stands for";
        completion.refuse("missing-option", message, completion.span);
    }
    if let Some(Value::Text(tuple)) = completion.value("hmark-tuple").cloned() {
        let span = completion.span_of("hmark-tuple");
        completion.remove("hmark-tuple");
        for field in tuple.split(',') {
            expand(completion, field, span);
        }
    }
    for (spi, ports) in [
        ("hmark-spi-mask", ["hmark-sport-mask", "hmark-dport-mask"]),
        ("hmark-spi", ["hmark-sport", "hmark-dport"]),
    ] {
        let port = ports.into_iter().find(|name| completion.has(name));
        if let Some(port) = port.filter(|_| completion.has(spi)) {
            let message = format!("`--{spi}` and `--{port}` can't stand together");
            let span = completion.span_of(spi);
            completion.refuse("wrong-option", message, span);
        }
    }
}

/// One field of a tuple: it stands for a mask, which may be given before it only.
fn expand(completion: &mut Completion<'_, '_>, field: &str, span: Span) {
    let length = if completion.family() == Family::Ipv4 { 32 } else { 128 };
    let (name, value) = match field.to_ascii_lowercase().as_str() {
        "src" => ("hmark-src-prefix", Value::Number(length)),
        "dst" => ("hmark-dst-prefix", Value::Number(length)),
        "sport" => ("hmark-sport-mask", Value::Number(0xffff)),
        "dport" => ("hmark-dport-mask", Value::Number(0xffff)),
        "spi" => ("hmark-spi-mask", Value::Number(0xffff_ffff)),
        "proto" => ("hmark-proto-mask", Value::Number(0xffff)),
        "ct" => ("hmark-tuple", fixed("ct")),
        _ => {
            let message = format!("unknown field `{}` of a tuple", clip(field));
            return completion.refuse("unknown-value", message, span);
        }
    };
    if completion.has(name) && completion.span_of(name).start > span.start {
        let message = format!("`--{name}` is in the tuple already");
        let span = completion.span_of(name);
        return completion.refuse("duplicate-option", message, span);
    }
    completion.remove(name);
    completion.fill_at(name, value, span);
}
