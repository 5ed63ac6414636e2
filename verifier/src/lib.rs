//! Answers for every packet at once.
//!
//! No I/O happens here.

pub mod policy;
