//! `fix`: the smallest change of rules after which a policy holds.
//!
//! Candidates come from packets that break the policy: the simulator says which rule decided about
//! each, and `candidates` says what could be done about that. `search` puts candidates together,
//! the fewest and least drastic first. A set that mends the packets known so far is proved with
//! [`check`](mod@crate::check), which either confirms it or comes back with another packet. What is
//! found is minimal: no part of it is enough.

mod anchor;
mod candidates;
mod case;
mod change;
mod edited;
mod evidence;
mod framing;
mod frontier;
mod minimal;
mod owner;
mod probes;
mod scope;
mod search;
mod uplink;
pub(crate) mod wording;

use std::sync::Arc;
use std::time::Instant;

use nattrace_model::System;
use nattrace_parser::policy::{Given, Policy};

use crate::check::Finding;

pub use change::{Edit, Holder, OWN_CHAIN, OWN_PRIORITY, OWN_TABLE, Op, Place, Setting};
pub use framing::side_effects;

/// Where edits go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Where they last: forwarded filtering into `DOCKER-USER` where that is called, else into the
    /// built-in chains.
    #[default]
    Lasting,
    /// The same, and filtering of forwarded packets nowhere else than in `DOCKER-USER`.
    DockerUser,
    /// Into the built-in chains of iptables.
    Iptables,
    /// Egress into a table of nftables of our own, which runs before those of iptables.
    Nft,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What must hold.
    pub policy: &'a Policy,
    /// The host as it is.
    pub system: &'a System,
    /// What is taken to be so on it.
    pub given: &'a Given,
    /// Where edits go.
    pub placement: Placement,
    /// How many edits may be made at most.
    pub most_edits: usize,
    /// When the search ends, whatever is left to be tried: it is looked at between proofs.
    pub until: Option<Instant>,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Repair {
    /// Nothing fails.
    Holds(Vec<Finding>),
    /// A change after which everything holds.
    Found(Box<Fix>),
    /// None of that size.
    NotFound(Box<Miss>),
}

/// A change after which a policy holds.
#[derive(Clone, Debug)]
pub struct Fix {
    /// The edits of rules, in the order in which they are to be made.
    pub edits: Vec<Edit>,
    /// What has to change beside the rules.
    pub settings: Vec<Setting>,
    /// What fails today and holds then.
    pub repairs: Vec<String>,
    /// What was found about the policy today.
    pub before: Vec<Finding>,
    /// What was found about it with the change.
    pub after: Vec<Finding>,
    /// The host as it is, with the zones of the policy.
    pub today: Arc<System>,
    /// The same with the change.
    pub system: Arc<System>,
    /// What is known to go wrong with the change all the same, which no entry speaks of.
    pub warnings: Vec<String>,
    /// How many sets of edits were looked at.
    pub tried: usize,
}

/// What ended a search that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was nothing else to be tried.
    Exhausted,
    /// More edits would have been needed than are allowed.
    MostEdits,
    /// As many sets of edits were tried as ever are.
    MostTried,
    /// The time was up.
    MostTime,
}

/// The nearest that could be had.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The edits that mend the most.
    pub edits: Vec<Edit>,
    /// What has to change beside the rules.
    pub settings: Vec<Setting>,
    /// What was found about the policy today.
    pub before: Vec<Finding>,
    /// What is found with these edits.
    pub after: Vec<Finding>,
    /// What stands in the way of more, where it is known.
    pub obstacles: Vec<String>,
    /// How many edits were allowed.
    pub most_edits: usize,
    /// Why the search went no further.
    pub end: End,
    /// How many sets of edits were looked at.
    pub tried: usize,
}

/// Searches for the smallest change.
///
/// An entry about which nattrace contradicts itself is unknown, with the fault in its finding, and
/// a change after which it does so proves nothing.
#[must_use]
pub fn repair(request: &Request<'_>) -> Repair {
    search::run(request)
}
