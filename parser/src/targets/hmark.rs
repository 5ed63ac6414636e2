//! `-j HMARK`: sets the mark to a hash of the flow.
//!
//! | option | value |
//! |---|---|
//! | `--hmark-tuple` | `Text` |
//! | `--hmark-src-prefix, --hmark-dst-prefix` | `Number` |
//! | `--hmark-mod, --hmark-offset, --hmark-rnd` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("HMARK", OPTIONS)
    .requires(&[Requirement::OneOf(&["hmark-mod"])])
    .complete(complete);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("hmark-src-prefix", Argument::Number(128)),
    OptionDecl::new("hmark-dst-prefix", Argument::Number(128)),
    OptionDecl::new("hmark-tuple", Argument::Bare(255)),
    OptionDecl::new("hmark-sport-mask", Argument::Hex(0xffff)),
    OptionDecl::new("hmark-dport-mask", Argument::Hex(0xffff)),
    OptionDecl::new("hmark-spi-mask", Argument::WideHex),
    OptionDecl::new("hmark-sport", Argument::Hex(0xffff)),
    OptionDecl::new("hmark-dport", Argument::Hex(0xffff)),
    OptionDecl::new("hmark-spi", Argument::WideHex),
    OptionDecl::new("hmark-proto-mask", Argument::Hex(0xff)),
    OptionDecl::new("hmark-rnd", Argument::WideHex),
    OptionDecl::new("hmark-mod", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("hmark-offset", Argument::Number(u32::MAX as u64)),
];

/// `--hmark-tuple src,dst` is printed as prefixes.
fn complete(completion: &mut Completion<'_, '_>) {
    let only_addresses =
        matches!(completion.value("hmark-tuple"), Some(Value::Text(text)) if text == "src,dst");
    if only_addresses {
        completion.options.retain(|option| option.option.name != "hmark-tuple");
        let length = if completion.family() == Family::Ipv4 { 32 } else { 128 };
        completion.fill("hmark-src-prefix", Value::Number(length));
        completion.fill("hmark-dst-prefix", Value::Number(length));
    }
}
