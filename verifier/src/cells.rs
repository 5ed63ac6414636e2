//! Cells of addresses, ports and protocols: values that the host treats alike.
//!
//! Routes, own addresses, subnets, containers, sockets, zones and the kernel's own special ranges
//! divide the addresses. Two addresses of one cell are in the same ones of all of them, and two
//! containers of one cell are attached in the same way; so no decision that does not ask rules can
//! tell them apart, except by comparing them with one another.

mod address;
mod gateway;
mod port;
mod special;

pub(crate) use address::{AddressCells, AddressPlan};
pub(crate) use gateway::{Alike, alike, is_first, local_first, tells_interfaces_apart};
pub(crate) use port::{PortCell, PortCells};
pub(crate) use special::ranges as special_ranges;

use std::collections::BTreeSet;

use nattrace_model::System;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;
use oxidd::bdd::BDDFunction;

use crate::header::is_icmp;
use crate::space::Space;

/// Where a value of a sorted division begins a new cell.
#[derive(Debug)]
pub(crate) struct Division {
    /// The first value of each cell; the first of all is 0.
    starts: Vec<u32>,
}

impl Division {
    fn of(starts: BTreeSet<u32>) -> Self {
        let starts = std::iter::once(0).chain(starts).collect::<BTreeSet<u32>>();
        Self { starts: starts.into_iter().collect() }
    }

    /// The cell of a value, both ends inclusive; the last one ends at `most`.
    pub(crate) fn cell(&self, value: u32, most: u32) -> (u32, u32) {
        let next = self.starts.partition_point(|start| *start <= value);
        let first = next.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let last = self.starts.get(next).map_or(most, |start| start - 1);
        (first, last)
    }
}

fn cut(starts: &mut BTreeSet<u32>, first: u32, last: u32) {
    starts.insert(first);
    starts.insert(last + 1);
}

/// The ports that policy rules tell apart.
pub(crate) fn routed_ports(system: &System, family: Family) -> Division {
    let mut starts = BTreeSet::new();
    for rule in system.host.routing.rules(family) {
        for (first, last) in rule.source_port.into_iter().chain(rule.destination_port) {
            cut(&mut starts, first.into(), last.into());
        }
    }
    Division::of(starts)
}

/// Whether policy rules ask for ports.
pub(crate) fn routes_by_port(system: &System, family: Family) -> bool {
    let rules = system.host.routing.rules(family);
    rules.iter().any(|rule| rule.source_port.is_some() || rule.destination_port.is_some())
}

/// Whether rules may tell that TCP agrees to be told of congestion: iptables never looks at these
/// flags.
pub(crate) fn sees_congestion(system: &System, family: Family) -> bool {
    let mut chains = system.rules.chains.iter().filter(|chain| chain.family == family);
    chains.any(|chain| chain.table.of_iptables().is_none())
}

/// The protocols that the kernel or policy rules tell apart.
#[derive(Debug)]
pub(crate) struct Protocols {
    /// Each of these is treated in a way of its own.
    own: BTreeSet<u8>,
}

/// Protocols without ports whose checksum REJECT verifies, or knows not to.
const VERIFIED: [u8; 6] = [2, 47, 50, 51, 89, 112];

impl Protocols {
    pub(crate) fn of(system: &System, family: Family) -> Self {
        let known = [
            protocol::ICMP,
            protocol::TCP,
            protocol::UDP,
            protocol::DCCP,
            protocol::ICMPV6,
            protocol::SCTP,
            protocol::UDPLITE,
        ];
        let asked = system.host.routing.rules(family).iter().filter_map(|rule| rule.protocol);
        Self { own: known.into_iter().chain(asked).collect() }
    }

    /// The packets whose protocol is treated like this one.
    pub(crate) fn alike(
        &self,
        number: u8,
        only: impl Fn(u8) -> BDDFunction,
        space: &Space,
    ) -> BDDFunction {
        if self.own.contains(&number) {
            return only(number);
        }
        let verified = VERIFIED.into_iter().filter(|other| !self.own.contains(other));
        let verified = space.union(verified.map(&only).collect());
        if VERIFIED.contains(&number) {
            return verified;
        }
        let own = space.union(self.own.iter().copied().map(&only).collect());
        space.not(&space.or(&verified, &own))
    }
}

/// The ICMP types that the kernel tells apart.
pub(crate) fn icmp_types(number: u8) -> Division {
    let mut starts = BTreeSet::new();
    if is_icmp(number) {
        let told_apart = if number == protocol::ICMP { 0..=18 } else { 128..=143 };
        for kind in told_apart {
            cut(&mut starts, kind, kind);
        }
    }
    Division::of(starts)
}
