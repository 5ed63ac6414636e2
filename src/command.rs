//! One file a command.

pub(crate) mod apply;
pub(crate) mod audit;
mod baseline;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod fix;
pub(crate) mod fmt;
pub(crate) mod graph;
pub(crate) mod man;
pub(crate) mod matrix;
pub(crate) mod redact;
pub(crate) mod selftest;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod why;
