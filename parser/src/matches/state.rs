//! `-m state`: the state of the connection, the old way.
//!
//! | option | value |
//! |---|---|
//! | `[!] --state` | `Bits` of [`super::conntrack::state`] |

use super::conntrack::state;
use crate::arguments::Argument;
use crate::extension::{Extension, OptionDecl, Requirement};

pub(super) static EXTENSION: Extension =
    Extension::of_match("state", OPTIONS).requires(&[Requirement::OneOf(&["state"])]);

const OPTIONS: &[OptionDecl] = &[OptionDecl::new("state", Argument::ShortBits(STATES)).negatable()];

const STATES: &[(&str, u32)] = &[
    ("INVALID", state::INVALID),
    ("NEW", state::NEW),
    ("RELATED", state::RELATED),
    ("ESTABLISHED", state::ESTABLISHED),
    ("UNTRACKED", state::UNTRACKED),
];
