//! What describes a host around its rules: the output of ip(8), bridge(8), sysctl(8), ss(8),
//! ipset(8), conntrack(8) and docker, and the zones file.
//!
//! Each module reads one part of a snapshot: text in, typed entries and diagnostics out. JSON and
//! listings for people are told apart by their look. Every entry keeps its place. An entry that is
//! not understood is reported as a warning at least, and the other ones are read on; only text
//! that is no listing at all (broken JSON, something else) is an error.

pub mod address;
pub(crate) mod beside;
pub mod bridge;
pub mod conntrack;
pub mod docker;
pub mod ipset;
pub mod json;
pub mod listener;
pub mod nftables;
pub mod route;
pub mod rule;
pub mod scope;
pub mod snapshot;
pub mod sysctl;
pub mod transcript;
pub mod zones;

mod line;

use crate::diagnostic::{Diagnostic, Severity};

/// What a reader made of a text, with everything it has to say about it.
pub type Read<T> = (T, Vec<Diagnostic>);

/// Whether everything that a text holds was read: nothing about it is worse than a note.
///
/// Where this is false, an entry may be missing from what was read, so nothing may be concluded
/// from the absence of one.
#[must_use]
pub fn is_complete(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Note)
}
