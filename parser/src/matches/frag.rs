//! `-m frag`: the fragment header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --fragid` | `Range` |
//! | `--fraglen` | `Number` |
//! | `--fragres, --fragfirst, --fragmore, --fraglast` | `Flag` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("frag", OPTIONS)
    .family(Family::Ipv6)
    .requires(&[Requirement::AtMostOneOf(&["fragmore", "fraglast"])]);

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("fragid", Argument::Range(u32::MAX as u64))
        .negatable()
        .hidden(&Value::Range(0, u32::MAX as u64)),
    OptionDecl::new("fraglen", Argument::Number(u32::MAX as u64)).negatable(),
    OptionDecl::flag("fragres"),
    OptionDecl::flag("fragfirst"),
    OptionDecl::flag("fragmore"),
    OptionDecl::flag("fraglast"),
];
