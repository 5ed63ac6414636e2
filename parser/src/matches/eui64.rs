//! `-m eui64`: whether the IPv6 source was made of the hardware address.

use crate::extension::{Extension, OptionDecl};
use crate::syntax::Family;

pub(super) static EXTENSION: Extension = Extension::of_match("eui64", OPTIONS)
    .family(Family::Ipv6)
    .chains(&["PREROUTING", "INPUT", "FORWARD"]);

const OPTIONS: &[OptionDecl] = &[];
