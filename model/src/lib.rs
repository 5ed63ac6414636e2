//! What iptables rules and a Linux host mean: the host, the chain graph, the packet, and the
//! simulator that says what the kernel would do.
//!
//! No I/O happens here, and nothing is serialized: the command line renders what this crate
//! answers.

pub mod address;
pub mod condition;
pub mod hook;
pub mod packet;
pub mod ruleset;
pub mod target;
