//! What came of an entry.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome};
use nattrace_model::flow::Flow;
use nattrace_model::host::Assumption;
use nattrace_parser::policy::{Entry, Families, Kind};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::Family;

use super::disagreement::Disagreement;
use crate::policy;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// For every packet.
    Holds,
    /// Something that is not known decides.
    Unknown,
    /// Not for every packet.
    Fails,
}

/// What came of one entry of a policy, in the families that fare alike.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The name of the entry.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its header in the policy.
    pub span: Span,
    /// Whether it holds.
    pub status: Status,
    /// The families that this is about.
    pub families: Families,
    /// Why, where it does not hold.
    pub reason: Option<Reason>,
    /// Packets that show it.
    pub counterexamples: Vec<Counterexample>,
    /// What the result rests on.
    pub assumptions: Vec<Assumption>,
    /// How many packets the simulator was asked about.
    pub asked: usize,
    /// The engines that say so.
    pub proved_by: Vec<String>,
    /// The fault of nattrace for which nobody says so, where there is one.
    pub fault: Option<Box<Disagreement>>,
}

/// Why an entry does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The packet leaves by an interface with a source that it must not have.
    LeavesAs {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The source.
        source: IpAddr,
    },
    /// The packet, or its answer, does not get through.
    Experiences(Outcome),
    /// It arrives, but elsewhere.
    ArrivesAt {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The address.
        destination: IpAddr,
        /// The port, where it has one.
        port: Option<u16>,
    },
    /// It arrives where it must not.
    Lands {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The address.
        destination: IpAddr,
        /// The port, where it has one.
        port: Option<u16>,
    },
    /// docker-proxy takes the packet, and connects where it must not arrive.
    Proxied {
        /// Where docker-proxy connects to.
        destination: IpAddr,
        /// The port.
        port: u16,
    },
    /// No packet is concerned.
    Vacuous(Nothing),
    /// Something that is not known decides.
    Undetermined(String),
}

/// Why no packet is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Nobody sends such packets, or nobody could get them.
    Sent,
    /// Packets are sent, and none gets there.
    GetsThere,
}

/// A packet that breaks an entry, and what the simulator says of it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The host that it is about: with what the entry takes to be given.
    pub system: Arc<System>,
    /// The packet.
    pub flow: Flow,
    /// What becomes of it.
    pub answer: Answer,
    /// How it breaks the entry.
    pub reason: Reason,
}

impl Finding {
    /// What is left to say of an entry where nattrace contradicts itself: that it fails, where the
    /// simulator shows so, or that nobody knows.
    pub(super) fn of_fault(entry: &Entry, family: Family, fault: Disagreement) -> Self {
        let mut finding = Self {
            name: policy::title(entry),
            kind: entry.claim.kind(),
            span: entry.span,
            status: Status::Unknown,
            families: Families::One(family),
            reason: Some(Reason::Undetermined(format!("nattrace contradicts itself: {fault}"))),
            counterexamples: Vec::new(),
            assumptions: Vec::new(),
            asked: 1,
            proved_by: Vec::new(),
            fault: None,
        };
        if let Some(shown) = &fault.shown {
            finding.status = Status::Fails;
            finding.reason = Some(shown.reason.clone());
            finding.assumptions.clone_from(&shown.answer.assumptions);
            finding.counterexamples.push((**shown).clone());
        }
        finding.fault = Some(Box::new(fault));
        finding
    }

    /// Takes what was found about the other family.
    pub(super) fn join(&mut self, other: Self) {
        self.families = Families::Both;
        self.reason = self.reason.take().or(other.reason);
        self.counterexamples.extend(other.counterexamples);
        self.asked += other.asked;
        self.fault = self.fault.take().or(other.fault);
        self.proved_by.retain(|engine| other.proved_by.contains(engine));
        let all: BTreeSet<Assumption> =
            self.assumptions.drain(..).chain(other.assumptions).collect();
        self.assumptions = all.into_iter().collect();
    }
}
