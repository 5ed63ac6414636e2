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
use crate::simulate::connection::Tuple;
use crate::simulate::matching::{Ternary, View, tuple_address, tuple_of};
use crate::simulate::membership;
use crate::simulate::values;
use crate::target::{NatOptions, TargetMap};

/// Somebody who watches a packet under way.
pub trait Witness: Debug {
    /// A rule's conditions were weighed.
    fn weighed(&mut self, view: &View<'_>, conditions: &[Condition]);

    /// A map was asked for a target.
    fn looked_up(&mut self, view: &View<'_>, map: &TargetMap);

    /// NAT picked an end of a connection anew.
    fn mapped(&mut self, mapped: &Mapped<'_>);

    /// A port was drawn in place of this one, of its class.
    fn drawn(&mut self, port: u16);

    /// A packet's port, or its header as a whole, chose who gets it here.
    fn received(&mut self, packet: &Packet);
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

impl View<'_> {
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
            TupleField::OriginalSource | TupleField::OriginalDestination => false,
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
