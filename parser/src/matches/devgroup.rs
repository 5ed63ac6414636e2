//! `-m devgroup`: the group of an interface.
//!
//! | option | value |
//! |---|---|
//! | `[!] --src-group, --dst-group` | `Masked` |

use crate::arguments::{Argument, Custom, mark};
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension = Extension::of_match("devgroup", OPTIONS)
    .requires(&[Requirement::AnyOption])
    .complete(|completion| {
        completion.refuse_in("src-group", &["OUTPUT", "POSTROUTING"]);
        completion.refuse_in("dst-group", &["PREROUTING", "INPUT"]);
    });

/// The name that the table of groups of iproute2 gives to the group 0, everywhere.
const UNSPECIFIED: &str = "default";

static GROUP: Custom = Custom {
    words: 1,
    form: "VALUE[/MASK]",
    samples: &["0", "1", "0x10/0xff", "default", "7/0xffffffff"],
    parse: |words, _| mark::named(words, UNSPECIFIED),
    print: |value, out| mark::print_named(value, UNSPECIFIED, out),
};

const OPTIONS: &[OptionDecl] = &[
    OptionDecl::new("src-group", Argument::Custom(&GROUP)).negatable(),
    OptionDecl::new("dst-group", Argument::Custom(&GROUP)).negatable(),
];
