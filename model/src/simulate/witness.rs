//! Who watches a packet under way, and so learns what the answer has depended on.
//!
//! An answer is one packet's. A witness hears of each place where another packet might have gone
//! another way because of its header: a rule that was weighed, an address or port that NAT picked,
//! a port that chose a socket. Where a packet is routed, and by what addresses it is recognised,
//! is not told: that depends on the host alone, which the witness knows as well.

use std::fmt::Debug;
use std::net::IpAddr;

use nattrace_parser::syntax::SetDirection;

use crate::condition::value::{Interval, Operand};
use crate::condition::{Condition, PortSide, TupleField};
use crate::host::set::Element;
use crate::packet::Packet;
use crate::ruleset::{ChainId, RuleId, Ruleset};
use crate::simulate::connection::{Assured, Tracking, Tuple};
use crate::simulate::drawn::PortRange;
use crate::simulate::matching::{PhysicalPort, Ternary, View, tuple_address, tuple_of};
use crate::simulate::membership;
use crate::simulate::values;
use crate::target::{NatOptions, TargetMap};

/// What a witness knows of a base chain before a packet walks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foresight {
    /// Nothing: it wants to hear of every rule.
    None,
    /// How the chain ends: by a rule, or by the policy.
    Ends(Option<RuleId>),
    /// Where the first rule stands that may do something: it wants to hear of that one and all
    /// that come.
    From(Stand),
    /// Where the first rule stands that may do something, if nobody can say whether that matches,
    /// and what comes where it does not: it wants to hear of neither.
    Perhaps(Stand, Box<Self>),
}

/// A place among the rules of a base chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stand {
    /// The chains that were left for others, each with the rule that comes on the way back.
    pub callers: Vec<(ChainId, u32)>,
    /// The rule that comes.
    pub next: RuleId,
}

/// Somebody who watches a packet under way.
pub trait Witness: Debug {
    /// A packet is about to walk a base chain from some place on: its first rule, and where it has
    /// walked for a while, the rule that comes.
    fn foresee(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        base: ChainId,
        from: &Stand,
    ) -> Foresight;

    /// A rule's conditions were weighed.
    fn weighed(&mut self, view: &View<'_>, conditions: &[Condition]);

    /// A map was asked for a target.
    fn looked_up(&mut self, view: &View<'_>, map: &TargetMap);

    /// NAT picked an end of a connection anew.
    fn mapped(&mut self, mapped: &Mapped<'_>);

    /// A port was drawn in place of this one, of its class.
    fn drawn(&mut self, port: u16);

    /// NAT looked whether another connection has a port already, among those that it may give out.
    fn claimed(&mut self, port: u16, range: Option<(u16, u16)>);

    /// What becomes of the packet from here on holds for this very packet only.
    fn unfollowed(&mut self, why: &'static str);

    /// A packet's port, or its header as a whole, chose who gets it here.
    fn received(&mut self, packet: &Packet);

    /// After how many rules it is asked again what it knows of those that come.
    fn pace(&self) -> usize {
        16
    }

    /// Whether it watches what a refused packet would have met, too; else nobody asks for that.
    fn watches_refused(&self) -> bool {
        false
    }
}

/// Which end of a connection NAT picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappedEnd {
    /// Its source.
    Source,
    /// Its destination.
    Destination,
}

/// An end of a connection that NAT picked anew, and what it picked from.
#[derive(Clone, Debug)]
pub struct Mapped<'a> {
    /// The end.
    pub end: MappedEnd,
    /// The addresses of the packet before, source and destination.
    pub before: (IpAddr, IpAddr),
    /// The ports of the packet before, where it has some.
    pub ports_before: Option<(u16, u16)>,
    /// The address that was picked.
    pub address: IpAddr,
    /// The port that was picked; `None` where it stays.
    pub port: Option<u16>,
    /// The addresses to pick from, both ends inclusive.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports to pick from, both ends inclusive.
    pub ports: Option<(u16, u16)>,
    /// The port that the first of `ports` stands for, where ports are shifted.
    pub base_port: Option<u16>,
    /// The prefix that replaces the network part of an address (NETMAP).
    pub prefix: Option<&'a crate::address::Prefix>,
    /// How it is picked.
    pub options: NatOptions,
}

impl<'a> Mapped<'a> {
    /// What becomes of a tuple.
    pub(crate) fn of(end: MappedEnd, tuple: &Tuple, address: IpAddr, port: Option<u16>) -> Self {
        Self {
            end,
            before: (tuple.source, tuple.destination),
            ports_before: match tuple.transport {
                crate::packet::Transport::Ports { source, destination } => {
                    Some((source, destination))
                }
                _ => None,
            },
            address,
            port,
            addresses: None,
            ports: None,
            base_port: None,
            prefix: None,
            options: NatOptions::default(),
        }
    }
}

/// All that rules may ask about besides a packet's header, its hardware address and the tuples of
/// its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    interfaces: (Box<str>, Box<str>),
    ports: (Option<Box<str>>, Option<Box<str>>),
    /// What is not told apart by a number of its own, bit by bit.
    bits: u64,
    drawn: (Option<PortRange>, Option<PortRange>),
    marks: (u32, Option<u32>),
    zone: Option<u16>,
    header: (u8, u8, Option<u16>),
}

impl Place {
    /// The same for rules that never ask where the packet leaves.
    #[must_use]
    pub fn wherever_it_leaves(&self) -> Self {
        let mut place = self.clone();
        place.interfaces.1 = "".into();
        place.ports.1 = None;
        place
    }
}

impl View<'_> {
    /// All that rules may ask about besides the header.
    #[must_use]
    pub fn place(&self) -> Place {
        let port = |port: PhysicalPort<'_>| match port {
            PhysicalPort::None => None,
            PhysicalPort::Of(bridge) => Some(bridge.into()),
        };
        let connection = self.connection;
        let direction = match self.tracking {
            Tracking::Tracked { direction, .. } => 1 + direction as u64,
            Tracking::None => 0,
            Tracking::Attached => 3,
            Tracking::Invalid => 4,
            Tracking::Untracked => 5,
            Tracking::Template => 6,
        };
        let translated = connection.map_or(0, |c| {
            1 + u64::from(c.source_translated) * 2 + u64::from(c.destination_translated) * 4
        });
        let assured = connection.map_or(0, |c| match c.assured {
            Assured::No => 1,
            Assured::Yes => 2,
            Assured::Unknown => 3,
        });
        let status = connection.map_or(0, |c| u64::from(c.status()));
        let fields = [
            (u64::from(self.bridged), 1),
            (u64::from(self.local), 1),
            (self.maker as u64, 4),
            (self.delivery as u64, 2),
            (direction, 4),
            (translated, 4),
            (assured, 2),
            (status, 16),
            (u64::from(self.tracking.state()), 16),
        ];
        Place {
            interfaces: (self.in_interface.into(), self.out_interface.into()),
            ports: (port(self.physical_in), port(self.physical_out)),
            bits: fields.into_iter().fold(0, |bits, (value, width)| bits << width | value),
            drawn: (self.drawn.source, self.drawn.destination),
            marks: (self.packet.mark, connection.map(|c| c.mark)),
            zone: connection.map(|c| c.zone),
            header: (self.packet.ttl, self.packet.tos, self.packet.length),
        }
    }

    /// The packet that a rule sees.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        self.packet
    }

    /// Whether a condition holds; `None` where nobody can say.
    #[must_use]
    pub fn says(&self, condition: &Condition) -> Option<bool> {
        match self.all(std::slice::from_ref(condition)) {
            Ternary::Yes => Some(true),
            Ternary::No => Some(false),
            Ternary::May(_) => None,
        }
    }

    /// The interface by which the packet leaves, as rules see it; empty where there is none.
    #[must_use]
    pub fn out_interface(&self) -> &str {
        self.out_interface
    }

    /// An address of the packet's connection.
    #[must_use]
    pub fn connection_address(&self, field: TupleField) -> Option<IpAddr> {
        self.connection.map(|connection| tuple_address(connection, field))
    }

    /// The ports of one of the connection's tuples, as source and destination; `None` where its
    /// protocol has none.
    #[must_use]
    pub fn connection_ports(&self, field: TupleField) -> Option<(u16, u16)> {
        match tuple_of(self.connection?, field).0.transport {
            crate::packet::Transport::Ports { source, destination } => Some((source, destination)),
            _ => None,
        }
    }

    /// The number of the protocol of the packet's connection.
    #[must_use]
    pub fn connection_protocol(&self) -> Option<u8> {
        self.connection.map(|connection| connection.original.protocol)
    }

    /// Whether a port of the packet was drawn by chance.
    #[must_use]
    pub fn is_drawn(&self, side: PortSide) -> bool {
        let (source, destination) = (self.drawn.source.is_some(), self.drawn.destination.is_some());
        match side {
            PortSide::Source => source,
            PortSide::Destination => destination,
            PortSide::Either => source || destination,
        }
    }

    /// Whether a port of the packet's connection was drawn by chance.
    #[must_use]
    pub fn is_drawn_for(&self, field: TupleField) -> bool {
        self.connection.is_some_and(|connection| match field {
            TupleField::ReplySource => connection.drawn.destination.is_some(),
            TupleField::ReplyDestination => connection.drawn.source.is_some(),
            TupleField::OriginalSource => connection.begun_with.source.is_some(),
            TupleField::OriginalDestination => connection.begun_with.destination.is_some(),
        })
    }

    /// Whether all of these values can be read from the packet.
    #[must_use]
    pub fn can_read(&self, operands: &[Operand]) -> bool {
        values::read(self, operands).is_some()
    }

    /// Whether a value of the packet lies in an interval; `None` where nobody can say.
    #[must_use]
    pub fn lies_in(&self, operand: &Operand, interval: &Interval) -> Option<bool> {
        let values = values::read(self, std::slice::from_ref(operand))?;
        match values::fits(&values, std::slice::from_ref(interval)) {
            Ternary::Yes => Some(true),
            Ternary::No => Some(false),
            Ternary::May(_) => None,
        }
    }

    /// Whether one dimension of an ipset's entry covers the packet; `None` where nobody can say.
    #[must_use]
    pub fn covers(
        &self,
        element: &Element,
        direction: SetDirection,
        kind: &str,
        mark_mask: u32,
    ) -> Option<bool> {
        match membership::covers_element(self, element, direction, kind, mark_mask) {
            Ternary::Yes => Some(true),
            Ternary::No => Some(false),
            Ternary::May(_) => None,
        }
    }
}
