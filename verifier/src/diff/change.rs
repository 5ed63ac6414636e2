//! What is told of packets that fare differently.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_parser::policy::Families;

use crate::class::{AddressAfter, PortAfter, Way};
use crate::header::Header;
use crate::packets::PacketSet;
use crate::walk::Entry;

/// What it is about packets that changed, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// What the sender experiences, because of what becomes of the packet.
    Outcome,
    /// What the sender experiences, because of what becomes of the answer.
    Answer,
    /// What becomes of the packet.
    Verdict,
    /// Where it arrives.
    Destination,
    /// The source that it wears.
    Source,
    /// The interface by which it leaves.
    Interface,
    /// The mark that it leaves with.
    Mark,
    /// Its time to live, or its type of service.
    Header,
}

impl Aspect {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Answer => "answer",
            Self::Verdict => "verdict",
            Self::Destination => "destination",
            Self::Source => "source",
            Self::Interface => "interface",
            Self::Mark => "mark",
            Self::Header => "header",
        }
    }
}

/// What an aspect of packets comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Being {
    /// What the sender experiences.
    Outcome(Outcome),
    /// What becomes of the packet.
    Verdict(Verdict),
    /// An end of the packet.
    End {
        /// The address, where it was rewritten.
        address: Option<Rewritten>,
        /// The port, where it was rewritten.
        port: Option<u16>,
    },
    /// The source's port is drawn by chance.
    RandomPort,
    /// The source is one that nobody knows.
    UnknownSource,
    /// An interface; `None` for the host itself.
    Interface(Option<String>),
    /// A mark.
    Mark(u32),
    /// Time to live and type of service.
    Header(u8, u8),
    /// The packet does not leave.
    Nowhere,
}

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rewritten {
    /// It is this one.
    To(IpAddr),
    /// Its network part is that of this prefix.
    Into(String),
    /// It is the other end's.
    Exchanged,
}

impl Being {
    /// An aspect of a way.
    pub(super) fn of(way: &Way, aspect: Aspect) -> Self {
        match (aspect, &way.egress) {
            (Aspect::Outcome | Aspect::Answer, _) => Self::Outcome(way.outcome),
            (Aspect::Verdict, _) => Self::Verdict(way.verdict),
            (_, None) => Self::Nowhere,
            (Aspect::Destination, Some(egress)) => match way.proxied_to {
                Some((address, port)) => {
                    Self::End { address: Some(Rewritten::To(address)), port: Some(port) }
                }
                None => Self::End {
                    address: match &egress.destination {
                        AddressAfter::Destination => None,
                        AddressAfter::Source => Some(Rewritten::Exchanged),
                        other => rewritten(other),
                    },
                    port: port(egress.destination_port),
                },
            },
            (Aspect::Source, Some(egress)) if egress.source_unknown => Self::UnknownSource,
            (Aspect::Source, Some(egress)) if egress.source_port_random => Self::RandomPort,
            (Aspect::Source, Some(egress)) => Self::End {
                address: match &egress.source {
                    AddressAfter::Source => None,
                    AddressAfter::Destination => Some(Rewritten::Exchanged),
                    other => rewritten(other),
                },
                port: port(egress.source_port),
            },
            (Aspect::Interface, Some(egress)) => Self::Interface(egress.out_interface.clone()),
            (Aspect::Mark, Some(egress)) => Self::Mark(egress.mark),
            (Aspect::Header, Some(egress)) => Self::Header(egress.ttl, egress.tos),
        }
    }
}

fn rewritten(after: &AddressAfter) -> Option<Rewritten> {
    match after {
        AddressAfter::Source | AddressAfter::Destination => None,
        AddressAfter::Rewritten(address) => Some(Rewritten::To(*address)),
        AddressAfter::SourceMapped(prefix) | AddressAfter::DestinationMapped(prefix) => {
            Some(Rewritten::Into(prefix.to_string()))
        }
    }
}

fn port(after: PortAfter) -> Option<u16> {
    match after {
        PortAfter::Sent => None,
        PortAfter::Rewritten(port) => Some(port),
    }
}

/// Whether a change is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The packets fare differently.
    Changed,
    /// Something that is not known decides whether they do.
    Undetermined,
}

/// Whether packets are such as people send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rarity {
    /// They begin connections, from where their sources are at home, to where their senders can
    /// know.
    Usual,
    /// They belong to no connection that is new, have a source that is out of place, or a
    /// destination that nobody there can know.
    Odd,
}

/// Packets that start in one place.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where they start.
    pub entry: Entry,
    /// The state of their connections.
    pub state: FlowState,
    /// The packets.
    pub packets: PacketSet,
}

impl Part {
    /// Whether a packet is one of these.
    #[must_use]
    pub fn covers(&self, header: &Header, entry: &Entry, state: FlowState) -> bool {
        self.entry == *entry && self.state == state && self.packets.contains(header)
    }
}

/// Packets that fare differently on two hosts, as a person would tell them.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who sends them.
    pub from: String,
    /// Where they are addressed, or where they land: with ports, where it is not about all.
    pub to: String,
    /// What changed first of all.
    pub aspect: Aspect,
    /// What that was; several where chance or something unknown decides.
    pub before: Vec<Being>,
    /// What it is now.
    pub after: Vec<Being>,
    /// Whether it is sure.
    pub status: Status,
    /// Whether such packets are usual.
    pub rarity: Rarity,
    /// The state of their connections, or of the most usual of them.
    pub state: FlowState,
    /// The families that this is about.
    pub families: Families,
    /// The packets.
    pub parts: Vec<Part>,
    /// One of them.
    pub witness: Witness,
}

/// One packet on both hosts.
#[derive(Clone, Debug)]
pub struct Witness {
    /// What became of it.
    pub before: Answer,
    /// What becomes of it now.
    pub after: Answer,
}

impl Change {
    /// Whether a packet is one of these.
    #[must_use]
    pub fn covers(&self, header: &Header, entry: &Entry, state: FlowState) -> bool {
        self.parts.iter().any(|part| part.covers(header, entry, state))
    }
}

/// The classes and the simulator say different things of a packet: a fault of nattrace.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The packet.
    pub flow: Box<Flow>,
    /// Whether it is about the earlier host.
    pub host: Side,
    /// What the classes say of it.
    pub classes: String,
    /// What the simulator says of it.
    pub simulator: String,
}

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The earlier one.
    Before,
    /// The later one.
    After,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = match self.host {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(
            f,
            "{host} the change, the classes say of {:?}: {}; and the simulator: {}",
            self.flow, self.classes, self.simulator
        )
    }
}

impl std::error::Error for Disagreement {}

/// Two hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts<'s> {
    pub(super) before: &'s System,
    pub(super) after: &'s System,
}
