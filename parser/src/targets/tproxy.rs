//! `-j TPROXY`: hands the packet to a local socket as it is (kernel-facts G16).
//!
//! | option | value |
//! |---|---|
//! | `--on-port` | `Number` |
//! | `--on-ip` | `Address`; always there |
//! | `--tproxy-mark` | `Masked`; always there |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::protocols;
use crate::syntax::{AddressMask, Family, TableName, Value};

pub(super) static EXTENSION: Extension = Extension::of_target("TPROXY", OPTIONS)
    .tables(&[TableName::Mangle])
    .chains(&["PREROUTING"])
    .protocols(&[protocols::TCP, protocols::UDP])
    .requires(&[Requirement::OneOf(&["on-port"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("on-port", Argument::DecimalPort),
    OptionDecl::new("on-ip", Argument::Host).filled(any_address),
    OptionDecl::new("tproxy-mark", Argument::MaskedMark).filled(|_| Value::Masked(0, 0)),
];

/// The address of the incoming interface.
fn any_address(family: Family) -> Value<'static> {
    Value::Address(match family {
        Family::Ipv4 => AddressMask::V4(0, u32::MAX),
        Family::Ipv6 => AddressMask::V6(0, u128::MAX),
    })
}
