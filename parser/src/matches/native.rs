//! What iptables-nft makes of the ports of TCP and UDP, for which it has expressions of its own.

use crate::extension::{Completion, Extension};
use crate::syntax::{Backend, OptionUse, Value};

/// Every port.
const ALL: Value<'static> = Value::Range(0, u16::MAX as u64);

/// Whether these options become an expression of nftables rather than the match of the kernel:
/// all but `--tcp-option`, if any of them asks for something.
pub(crate) fn is_native(extension: &Extension, options: &[OptionUse<'_>]) -> bool {
    matches!(extension.name, "tcp" | "udp")
        && options.iter().any(asks)
        && !options.iter().any(|option| option.option.name == "tcp-option")
}

/// Whether an option asks for something, and is not the value that stands for none.
fn asks(option: &OptionUse<'_>) -> bool {
    option.negated || option.option.omitted.is_none_or(|value| *value != option.value)
}

/// iptables-nft turns `! --dport 0:5` into `--dport 6:65535` and forgets `! --dport 0:65535`;
/// iptables-legacy keeps the one and prints nothing for the other.
pub(super) fn complete(completion: &mut Completion<'_, '_>) {
    let native = is_native(completion.extension, completion.options)
        && completion.context.backend != Some(Backend::Legacy);
    if !native {
        return;
    }
    let mut forgotten = false;
    for name in ["sport", "dport"] {
        for option in completion.options.iter_mut().filter(|option| option.option.name == name) {
            match &mut option.value {
                Value::Range(0, high @ 1..=0xfffe) if option.negated => {
                    option.value = Value::Range(*high + 1, u64::from(u16::MAX));
                    option.negated = false;
                }
                value if option.negated && *value == ALL => forgotten = true,
                _ => {}
            }
        }
        if forgotten {
            completion.forget(name, &ALL);
        }
    }
    // A mask of no flags asks for nothing, whatever it is compared with.
    completion.options.retain(|option| {
        let empty = matches!(option.value, Value::TcpFlags { mask: 0, .. });
        forgotten |= empty;
        !empty
    });
    // Every port, which is no question either, stays with what else is asked only.
    *completion.vanishes |= forgotten && !completion.options.iter().any(asks);
}
