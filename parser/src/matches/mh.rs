//! `-m mh`: the mobility header of IPv6.
//!
//! | option | value |
//! |---|---|
//! | `[!] --mh-type` | `Range` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl};
use crate::protocols;
use crate::syntax::{Family, Value};

pub(super) static EXTENSION: Extension = Extension::of_match("mh", OPTIONS)
    .family(Family::Ipv6)
    .protocols(&[protocols::MOBILITY])
    .complete(|completion| completion.refuse_reversed("mh-type"));

const OPTIONS: &[OptionDecl] =
    &[OptionDecl::new("mh-type", Argument::Range(255)).negatable().hidden(&Value::Range(0, 255))];
