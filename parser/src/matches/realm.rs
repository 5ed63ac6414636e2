//! `-m realm`: the realm of the route.
//!
//! | option | value |
//! |---|---|
//! | `[!] --realm` | `Masked` |

use crate::arguments::{Argument, Custom, mark};
use crate::extension::{Extension, OptionDecl, Requirement};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("realm", OPTIONS)
    .family(Family::Ipv4)
    .chains(&["INPUT", "FORWARD", "OUTPUT", "POSTROUTING"])
    .requires(&[Requirement::OneOf(&["realm"])]);

/// The name that rt_realms of iproute2 gives to the realm 0, everywhere.
const UNSPECIFIED: &str = "cosmos";

static REALM: Custom = Custom {
    words: 1,
    form: "VALUE[/MASK]",
    samples: &["0", "1", "0x10/0xff", "cosmos", "7/0xffffffff"],
    parse: |words, _| mark::named(words, UNSPECIFIED),
    print: |value, out| mark::print_named(value, UNSPECIFIED, out),
};

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("realm", Argument::Custom(&REALM)).negatable()];
