//! `-m tcp`: ports, flags and options of TCP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |
//! | `[!] --tcp-option` | `Number` |
//! | `[!] --tcp-flags, --syn` | `TcpFlags` |

use super::native;
use crate::arguments::{Argument, Custom, flags};
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;
use crate::syntax::Value;

pub(super) static EXTENSION: Extension =
    Extension::of_match("tcp", OPTIONS).protocols(&[protocols::TCP]).complete(native::complete);

/// Every port, which iptables-save leaves out (kernel-facts H5).
const ANY_PORT: &Value<'static> = &Value::Range(0, 65_535);

const ALIASES: &[Alias] = &[Alias::reading("syn", Argument::Custom(&SYN))];

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sport", Argument::PortRange)
        .negatable()
        .aliases(&[Alias::new("source-port")])
        .hidden(ANY_PORT),
    OptionDecl::new("dport", Argument::PortRange)
        .negatable()
        .aliases(&[Alias::new("destination-port")])
        .hidden(ANY_PORT),
    OptionDecl::new("tcp-option", Argument::Between(1, 255)).negatable(),
    // kernel-facts G12.
    OptionDecl::new("tcp-flags", Argument::TcpFlags)
        .negatable()
        .aliases(ALIASES)
        .omitted(&Value::TcpFlags { mask: 0, compare: 0 }),
];

static SYN: Custom =
    Custom { words: 0, form: "", samples: &[""], parse: |_, _| Ok(flags::SYN), print: |_, _| {} };
