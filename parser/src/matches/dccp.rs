//! `-m dccp`: ports, packet types and options of DCCP.
//!
//! | option | value |
//! |---|---|
//! | `[!] --sport` | `Range` |
//! | `[!] --dport` | `Range` |
//! | `[!] --dccp-types` | `Bits` by type number |
//! | `[!] --dccp-option` | `Number` |

use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl};
use crate::protocols;

pub(super) static EXTENSION: Extension =
    Extension::of_match("dccp", OPTIONS).protocols(&[protocols::DCCP]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sport", Argument::DecimalPortRange)
        .negatable()
        .aliases(&[Alias::new("source-port")]),
    OptionDecl::new("dport", Argument::DecimalPortRange)
        .negatable()
        .aliases(&[Alias::new("destination-port")]),
    OptionDecl::new("dccp-types", Argument::Bits(TYPES)).negatable(),
    OptionDecl::new("dccp-option", Argument::Between(1, 255)).negatable(),
];

/// The types of packets; a bit each.
const TYPES: &[(&str, u32)] = &[
    ("REQUEST", 1),
    ("RESPONSE", 1 << 1),
    ("DATA", 1 << 2),
    ("ACK", 1 << 3),
    ("DATAACK", 1 << 4),
    ("CLOSEREQ", 1 << 5),
    ("CLOSE", 1 << 6),
    ("RESET", 1 << 7),
    ("SYNC", 1 << 8),
    ("SYNCACK", 1 << 9),
    ("INVALID", 1 << 10),
];
