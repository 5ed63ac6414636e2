//! `-m multiport`: lists of ports (kernel-facts G11).
//!
//! | option | value |
//! |---|---|
//! | `[!] --sports` | `Ranges` |
//! | `[!] --dports` | `Ranges` |
//! | `[!] --ports` | `Ranges`, either side |

use crate::arguments::Argument;
use crate::extension::{Alias, Extension, OptionDecl, Requirement};
use crate::protocols;

pub(super) static EXTENSION: Extension =
    Extension::of_match("multiport", OPTIONS).protocols(PROTOCOLS).requires(&[
        Requirement::OneOf(&["sports", "dports", "ports"]),
        Requirement::AtMostOneOf(&["sports", "dports", "ports"]),
    ]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("sports", Argument::PortList)
        .negatable()
        .aliases(&[Alias::new("source-ports")]),
    OptionDecl::new("dports", Argument::PortList)
        .negatable()
        .aliases(&[Alias::new("destination-ports")]),
    OptionDecl::new("ports", Argument::PortList).negatable(),
];

const PROTOCOLS: &[u8] =
    &[protocols::TCP, protocols::UDP, protocols::UDPLITE, protocols::SCTP, protocols::DCCP];
