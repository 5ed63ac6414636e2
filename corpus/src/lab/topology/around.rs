//! The neighbours, routers and containers around the host under test.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::address::Prefix;

use super::{WIRES, bridge_of, container_at, container_of, interface_of, is_own, mac_of, own_mac};
use crate::lab::frame::Mac;
use crate::lab::surroundings::{Surroundings, WireName};

/// Who is around the host under test.
pub(crate) struct Around;

impl Surroundings for Around {
    fn wires(&self) -> &[WireName] {
        &WIRES
    }

    fn interface_of(&self, wire: WireName) -> &str {
        interface_of(wire)
    }

    fn mac_of(&self, address: IpAddr) -> Mac {
        mac_of(address)
    }

    /// A container's own, a neighbour's, or the router's.
    fn sender_mac(&self, wire: WireName, source: IpAddr) -> Mac {
        container_at(wire).map_or_else(|| mac_of(source), |container| container.mac)
    }

    fn next_mac(&self, wire: WireName, to: IpAddr) -> Mac {
        let Some(container) = container_at(wire) else { return own_mac(wire) };
        let (own, length) = match to {
            IpAddr::V4(_) => (container.address4, 16),
            IpAddr::V6(_) => (container.address6, 64),
        };
        if Prefix::new(own, length).contains(to) && !is_own(to) {
            mac_of(to)
        } else {
            own_mac(container.bridge)
        }
    }

    /// On a port of a bridge only the container that is plugged in there answers.
    fn answers(&self, wire: WireName, asked: Ipv4Addr) -> bool {
        match bridge_of(wire) {
            Some(_) => container_at(wire).is_some_and(|c| c.address4 == IpAddr::V4(asked)),
            None => true,
        }
    }

    fn sees(&self, interface: &str, hop: Option<IpAddr>) -> bool {
        let bridge = matches!(interface, "br0" | "br1");
        !bridge || hop.is_some_and(|hop| container_of(hop).is_some())
    }
}
