//! What routing expects of a packet that is not there yet: behind which interface its source is,
//! and which source the kernel would give it.

use std::net::IpAddr;

use crate::System;
use crate::simulate::question::is_local_source;
use crate::simulate::routing::{self, Lookup, LookupResult};
use crate::simulate::selection;

/// Where packets with some source come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'s> {
    /// From a process of the host.
    Local,
    /// In by this interface.
    Behind(&'s str),
    /// From nowhere that the routes lead to.
    Nowhere,
}

/// Where packets with this source are expected: as somebody is reached, so he is expected.
#[must_use]
pub fn expected(system: &System, source: IpAddr) -> Expected<'_> {
    if is_local_source(system, source) {
        return Expected::Local;
    }
    match routing::lookup(&system.host, &Lookup::to(source)) {
        LookupResult::Found(found) => match found.next_hops().next() {
            Some(hop) => Expected::Behind(&hop.interface),
            None => Expected::Nowhere,
        },
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => {
            Expected::Nowhere
        }
    }
}

/// The source that the kernel gives a local process's packet, where it has a route.
#[must_use]
pub fn kernel_source(system: &System, destination: IpAddr) -> Option<IpAddr> {
    match routing::lookup(&system.host, &Lookup::to(destination)) {
        LookupResult::Found(found) => selection::source_for(&system.host, &found, destination),
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
    }
}
