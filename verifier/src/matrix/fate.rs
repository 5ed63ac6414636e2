//! What becomes of a class, without which packets it is.

use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::answer::{Answer, Outcome, Verdict};

use crate::check::arrives;
use crate::class::{AddressAfter, Class, EgressAfter, PortAfter, Way};
use crate::policy::Where;

/// The source address that packets wear where they arrive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The one that they were sent with.
    Unchanged,
    /// This one.
    Address(IpAddr),
    /// One of this network, host by host.
    Network(Prefix),
    /// One that nobody knows.
    Unknown,
}

/// Where packets arrive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Landing {
    /// The interface that they leave by; `None` for a process of the host.
    pub interface: Option<String>,
    /// The address.
    pub address: Target,
    /// The port, where it is not the one that they are addressed to.
    pub port: Option<u16>,
    /// Whether docker-proxy takes them there.
    pub proxied: bool,
}

/// The address where packets arrive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one that they are addressed to.
    AsAddressed,
    /// This one.
    Address(IpAddr),
    /// One of this network, host by host.
    Network(Prefix),
}

/// What becomes of packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fate {
    pub(super) outcome: Outcome,
    pub(super) verdict: Verdict,
    pub(super) sources: Vec<Source>,
    pub(super) landings: Vec<Landing>,
}

impl Fate {
    pub(super) fn of(class: &Class, at: &Where) -> Self {
        let (mut sources, mut landings) = (Vec::new(), Vec::new());
        for way in class.ways.iter().filter(|way| arrives(way.verdict)) {
            let Some(egress) = &way.egress else { continue };
            let (source, landing) = (source(egress, at), landing(way, egress));
            // docker-proxy's own source is told by the simulator.
            if way.proxied_to.is_none() && !sources.contains(&source) {
                sources.push(source);
            }
            if !landings.contains(&landing) {
                landings.push(landing);
            }
        }
        Self { outcome: class.outcome(), verdict: class.verdict(), sources, landings }
    }

    /// Whether an answer of the simulator is the same.
    pub(super) fn is(&self, answer: &Answer) -> bool {
        (answer.outcome, answer.verdict) == (self.outcome, self.verdict)
    }
}

fn source(egress: &EgressAfter, at: &Where) -> Source {
    match &egress.source {
        _ if egress.source_unknown => Source::Unknown,
        // What the kernel picks for a packet from here to here is no news.
        _ if *at == Where::Unbound && egress.out_interface.is_none() => Source::Unchanged,
        AddressAfter::Source => Source::Unchanged,
        AddressAfter::Rewritten(address) => Source::Address(*address),
        AddressAfter::SourceMapped(network) | AddressAfter::DestinationMapped(network) => {
            Source::Network(network.clone())
        }
        // A packet never takes its destination for its source but through its own connection.
        AddressAfter::Destination => Source::Unknown,
    }
}

fn landing(way: &Way, egress: &EgressAfter) -> Landing {
    if let Some((address, port)) = way.proxied_to {
        let address = Target::Address(address);
        return Landing { interface: None, address, port: Some(port), proxied: true };
    }
    let address = match &egress.destination {
        AddressAfter::Destination | AddressAfter::Source => Target::AsAddressed,
        AddressAfter::Rewritten(address) => Target::Address(*address),
        AddressAfter::DestinationMapped(network) | AddressAfter::SourceMapped(network) => {
            Target::Network(network.clone())
        }
    };
    let port = match egress.destination_port {
        PortAfter::Sent => None,
        PortAfter::Rewritten(port) => Some(port),
    };
    Landing { interface: egress.out_interface.clone(), address, port, proxied: false }
}

/// The sources that docker-proxy's connections wear.
pub(super) fn proxied_sources(answer: &Answer) -> Vec<Source> {
    let branches = answer.branches.iter().map(|branch| &branch.answer);
    let mut sources = Vec::new();
    for one in branches.chain(answer.branches.is_empty().then_some(answer)) {
        let proxy = one.proxy.as_ref().filter(|_| one.verdict == Verdict::Proxied);
        if let Some(egress) = proxy.and_then(|proxy| proxy.egress.as_ref()) {
            let source = match egress.source_unknown {
                true => Source::Unknown,
                false => Source::Address(egress.packet.source),
            };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    sources
}
