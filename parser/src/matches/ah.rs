//! `-m ah`: the SPI of AH.
//!
//! | option | value |
//! |---|---|
//! | `[!] --ahspi` | `Range` |
//! | `[!] --ahlen` | `Number`; IPv6 only |
//! | `--ahres` | `Flag`; IPv6 only |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl};
use crate::protocols::AH;
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension =
    Extension::of_match("ah", OPTIONS).complete(check_protocol);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("ahspi", Argument::Range(u32::MAX as u64))
        .negatable()
        .hidden(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::new("ahlen", Argument::Number(u32::MAX as u64))
        .negatable()
        .omitted(&Value::Number(0))
        .family(Family::Ipv6),
    OptionDecl::flag("ahres").family(Family::Ipv6),
];

/// In IPv6 it is an extension header, and `-p` is what comes behind it.
fn check_protocol(completion: &mut Completion<'_, '_>) {
    if completion.family() == Family::Ipv4 && completion.positive_protocol() != Some(AH) {
        completion.refuse("missing-protocol", "`ah` needs `-p ah` in the rule", completion.span);
    }
}
