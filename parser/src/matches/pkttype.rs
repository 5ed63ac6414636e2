//! `-m pkttype`: how the frame was addressed.
//!
//! | option | value |
//! |---|---|
//! | `[!] --pkt-type` | `Text`: `unicast`, `broadcast`, `multicast` or `otherhost` |

use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("pkttype", OPTIONS).requires(&[Requirement::OneOf(&["pkt-type"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("pkt-type", Argument::Keyword(TYPES)).negatable()];

const TYPES: &[&[&str]] =
    &[&["unicast", "host"], &["broadcast", "bcast"], &["multicast", "mcast"], &["otherhost"]];
