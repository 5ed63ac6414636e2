//! What a zone comes to on a host: where its packets come in, and where packets arrive in it.

use std::net::IpAddr;

use nattrace_parser::policy::Protocol;

use super::AddressSet;

/// Packets of a zone that start at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Where they start.
    pub at: Where,
    /// Their source addresses.
    pub sources: AddressSet,
    /// The destinations that they may have; `None` for any.
    pub reaches: Option<AddressSet>,
}

/// Where a packet starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Where {
    /// In a process of the host that leaves the choice of its source to the kernel.
    Unbound,
    /// In a process of the host that is bound to one of its addresses.
    Bound,
    /// Outside, coming in by this interface.
    Behind(String),
}

/// Where packets may arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// At a process of the host, by one of these addresses.
    Local(AddressSet),
    /// Beyond an interface (any, where none is named), at one of these addresses.
    Beyond {
        /// The interface.
        interface: Option<String>,
        /// The addresses.
        addresses: AddressSet,
    },
}

impl Spot {
    /// Whether a packet that leaves by an interface, or is delivered where there is none, arrives
    /// here.
    #[must_use]
    pub fn has(&self, out_interface: Option<&str>, destination: IpAddr) -> bool {
        match (self, out_interface) {
            (Self::Local(addresses), None) => addresses.contains(destination),
            (Self::Beyond { interface, addresses }, Some(out)) => {
                interface.as_deref().is_none_or(|name| name == out)
                    && addresses.contains(destination)
            }
            (Self::Local(_), Some(_)) | (Self::Beyond { .. }, None) => false,
        }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &AddressSet {
        match self {
            Self::Local(addresses) | Self::Beyond { addresses, .. } => addresses,
        }
    }
}

/// Which packets of those that go to some addresses are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Their protocols; none stands for any.
    pub protocols: Vec<Protocol>,
    /// Their destination ports, both ends inclusive; none stands for any.
    pub ports: Vec<(u16, u16)>,
}

impl Service {
    /// Whether a packet of this protocol with this destination port is meant.
    #[must_use]
    pub fn has(&self, protocol: u8, port: Option<u16>) -> bool {
        let icmp = [1, 58].contains(&protocol);
        let is = |wanted: &Protocol| match wanted {
            Protocol::Icmp => icmp,
            Protocol::Number(number) => *number == protocol,
        };
        let in_range =
            |port: u16| self.ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
        (self.protocols.is_empty() || self.protocols.iter().any(is))
            && (self.ports.is_empty() || port.is_some_and(in_range))
    }
}

/// Where packets arrive, and which of them are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Where.
    pub spots: Vec<Spot>,
    /// Which.
    pub service: Service,
}

impl Landing {
    /// Whether a packet that leaves by an interface, or is delivered where there is none, arrives
    /// here.
    #[must_use]
    pub fn has(
        &self,
        out_interface: Option<&str>,
        destination: IpAddr,
        protocol: u8,
        port: Option<u16>,
    ) -> bool {
        self.service.has(protocol, port)
            && self.spots.iter().any(|spot| spot.has(out_interface, destination))
    }
}
