//! What iptables rules and a Linux host mean: the host, the chain graph, the packet, and the
//! simulator that says what the kernel would do.
//!
//! No I/O happens here, and nothing is serialized: the command line renders what this crate
//! answers.

pub mod address;
pub mod answer;
pub mod build;
pub mod condition;
pub mod coverage;
pub mod endpoint;
pub mod flow;
pub mod graph;
pub mod hook;
pub mod host;
pub mod infer;
pub mod lower;
pub mod owner;
pub mod packet;
pub mod ruleset;
pub mod simulate;
pub mod target;

use host::Host;
use ruleset::Ruleset;

/// A host with its rules: everything that an answer is computed from.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// What the kernel and the inventory know.
    pub host: Host,
    /// The rules of both families and both backends.
    pub rules: Ruleset,
}
