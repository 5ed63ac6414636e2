//! `-j SYNPROXY`: answers handshakes before the server sees them.
//!
//! | option | value |
//! |---|---|
//! | `--sack-perm, --timestamp, --ecn` | `Flag` |
//! | `--wscale, --mss` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;

pub(super) static EXTENSION: Extension = Extension::of_target("SYNPROXY", OPTIONS)
    .chains(&["INPUT", "FORWARD"])
    .protocols(&[protocols::TCP])
    .complete(cut);

/// iptables keeps the lower bits only.
fn cut(completion: &mut Completion<'_, '_>) {
    for option in completion.options.iter_mut() {
        if let Value::Number(number) = &mut option.value {
            *number &= if option.option.name == "mss" { 0xffff } else { 0xff };
        }
    }
}

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::flag("sack-perm"),
    OptionDecl::flag("timestamp"),
    OptionDecl::new("wscale", Argument::Number(u32::MAX as u64)),
    OptionDecl::new("mss", Argument::Number(u32::MAX as u64)),
    OptionDecl::flag("ecn"),
];
