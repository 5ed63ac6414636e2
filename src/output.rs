//! Answers for people and for programs.

pub(crate) mod chains;
pub(crate) mod check;
pub(crate) mod concise;
pub(crate) mod context;
pub(crate) mod diagnostic;
pub(crate) mod diff;
pub(crate) mod document;
pub(crate) mod finding;
pub(crate) mod fix;
pub(crate) mod json;
pub(crate) mod matrix;
pub(crate) mod names;
pub(crate) mod pretty;
pub(crate) mod report;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod screen;
pub(crate) mod transaction;
pub(crate) mod words;
