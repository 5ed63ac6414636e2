//! The check that NAT targets share: ports need a protocol that has ports.

use crate::extension::Completion;
use crate::protocols::{DCCP, ICMP, SCTP, TCP, UDP};
use crate::syntax::Value;

/// Refuses ports without `-p` (kernel-facts B11; neither ICMP nor `!` is refused there).
pub(super) fn check_protocol(completion: &mut Completion<'_, '_>) {
    let ports = |value: &Value<'_>| matches!(value, Value::Nat(range) if range.ports.is_some());
    let Some(option) = completion.options.iter().find(|option| ports(&option.value)) else {
        return;
    };
    let span = option.span;
    if !matches!(
        completion.protocol.map(|protocol| protocol.value),
        Some(TCP | UDP | SCTP | DCCP | ICMP)
    ) {
        let message = "ports need `-p tcp`, `-p udp`, `-p sctp` or `-p dccp` in the rule";
        completion.refuse("missing-protocol", message, span);
    }
}
