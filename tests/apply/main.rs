//! `apply` and what belongs to it, in network namespaces with real iptables.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "../host/mod.rs"]
mod host;

mod lifecycle;
mod persistence;
mod refusals;
mod words;
