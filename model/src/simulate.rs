//! The simulator: one readable walk through the kernel's path, and the way back.
//!
//! ingress → (bridge) → PREROUTING → routing → INPUT | FORWARD → POSTROUTING; OUTPUT for local
//! packets; the second pass for packets to oneself; connection tracking as a binding that yields
//! one transform for each direction; and then the answer. Each step is recorded as it happens: the
//! trace is the explanation. What the kernel does is cited as `kernel-facts`, the measurements that
//! this rests on (docs/semantics.md).
//!
//! What the simulator takes for granted: the packet is whole, well-formed and alone (no other
//! connection holds the ports that NAT would like), and its neighbours answer ARP.

mod address_type;
mod chain;
mod connection;
mod consequence;
mod decisions;
mod departure;
mod drawn;
mod error;
mod exchange;
mod expectation;
mod flood;
mod hidden;
mod matching;
mod membership;
mod merge;
mod nat;
mod native;
mod oracle;
mod order;
mod outside;
mod path;
mod question;
mod reply;
mod rewriting;
pub(crate) mod routing;
pub(crate) mod selection;
mod settings;
mod socket;
mod trip;
mod unseen;
mod values;
mod witness;

use crate::System;
use crate::answer::Answer;
use crate::flow::Flow;
pub use expectation::{Expected, expected, kernel_source};
pub use flood::MOST_COPIES;
pub use matching::View;
use oracle::Oracle;
pub use outside::lost_on_the_way;
pub use witness::{Foresight, Mapped, MappedEnd, Place, Stand, Witness};

/// How many combinations of decisions are looked at before the answer is undetermined.
const MOST_BRANCHES: usize = 64;

/// Says what happens to a packet, and to the answer to it.
///
/// Where chance, history or something unknown decides, every combination is looked at; the answer
/// has one branch for each, and its verdict and outcome are undetermined unless all agree.
#[must_use]
pub fn why(system: &System, flow: &Flow) -> Answer {
    every_way(system, flow, &mut Oracle::default())
}

/// The same as [`why`] while somebody watches, who is handed back; without what a refused packet
/// would have met, unless that is watched, too.
#[must_use]
pub fn witnessed(
    system: &System,
    flow: &Flow,
    witness: Box<dyn Witness>,
) -> (Answer, Option<Box<dyn Witness>>) {
    let mut oracle = Oracle::watched_by(witness);
    let answer = every_way(system, flow, &mut oracle);
    (answer, oracle.witness)
}

fn every_way(system: &System, flow: &Flow, oracle: &mut Oracle) -> Answer {
    let answer = exchange::answer(system, flow, oracle);
    let first = (oracle.decisions(), answer);
    let mut others = Vec::new();
    while oracle.cut || oracle.advance() {
        if oracle.cut || others.len() + 1 == MOST_BRANCHES {
            return merge::merge(first, others, merge::Coverage::Cut);
        }
        let answer = exchange::answer(system, flow, oracle);
        others.push((oracle.decisions(), answer));
    }
    merge::merge(first, others, merge::Coverage::Complete)
}
