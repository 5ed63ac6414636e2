//! `-m udp`: ports of UDP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |

use super::native;
use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("udp", OPTIONS).protocols(&[protocols::UDP]).complete(native::complete);

/// Every port, which iptables-save leaves out (kernel-facts H5).
const ANY_PORT: &Value<'static> = &Value::Range(0, 65_535);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sport", Argument::DecimalPortRange)
        .negatable()
        .aliases(&[Alias::new("source-port")])
        .hidden(ANY_PORT),
    OptionDecl::new("dport", Argument::DecimalPortRange)
        .negatable()
        .aliases(&[Alias::new("destination-port")])
        .hidden(ANY_PORT),
];
