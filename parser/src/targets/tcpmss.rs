//! `-j TCPMSS`: sets the maximum segment size of a SYN.
//!
//! | option | value |
//! |---|---|
//! | `--set-mss` | `Number` |
//! | `--clamp-mss-to-pmtu` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Completion, Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::{Backend, Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("TCPMSS", OPTIONS)
    .protocols(&[protocols::TCP])
    .requires(&[Requirement::OneOf(&["set-mss", "clamp-mss-to-pmtu"])])
    .complete(check);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("set-mss", Argument::Number(u16::MAX as u64)),
    OptionDecl::flag("clamp-mss-to-pmtu"),
];

/// The kernel's demands (kernel-facts G17).
fn check(completion: &mut Completion<'_, '_>) {
    // What is left behind the header of IP.
    let most = match completion.family() {
        Family::Ipv4 => u64::from(u16::MAX) - 20,
        Family::Ipv6 => u64::from(u16::MAX) - 40,
    };
    if matches!(completion.value("set-mss"), Some(Value::Number(size)) if *size > most) {
        let message = format!("expected a size from 0 to {most}");
        let span = completion.span_of("set-mss");
        completion.refuse("invalid-number", message, span);
    }
    // What is given last counts.
    if completion.has("set-mss") && completion.has("clamp-mss-to-pmtu") {
        let clamped = completion.span_of("clamp-mss-to-pmtu").start;
        match completion.span_of("set-mss").start < clamped {
            true => completion.remove("set-mss"),
            false => completion.remove("clamp-mss-to-pmtu"),
        }
    }
    let clamps = completion.has("clamp-mss-to-pmtu");
    if clamps && matches!(completion.chain, "PREROUTING" | "INPUT") {
        let message = "`--clamp-mss-to-pmtu` can't be used in PREROUTING and INPUT";
        completion.refuse("wrong-chain", message, completion.span);
    }
    let syn =
        |value: &Value<'_>| matches!(value, Value::TcpFlags { compare, .. } if compare & 2 != 0);
    let on_syn = completion.matches.iter().flat_map(|one| &one.options).any(|one| syn(&one.value));
    if completion.context.backend == Some(Backend::Legacy) && !on_syn {
        let message = "target `TCPMSS` needs `--tcp-flags SYN,RST SYN` in iptables-legacy";
        completion.refuse("missing-option", message, completion.span);
    }
}
