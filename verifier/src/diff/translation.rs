//! What NAT may make of the ends of packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::target::{NatOptions, Target};
use nattrace_parser::syntax::{Family, NatRange};
use oxidd::bdd::BDDFunction;

use crate::header::Header;
use crate::space::{Field, Space};

/// What a translation makes of an end of a packet.
pub(super) struct Given {
    /// The addresses, both ends inclusive; `None` for any.
    addresses: Option<(IpAddr, IpAddr)>,
    pub(super) ports: Known,
}

/// What is known of a port after a translation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is what it was.
    Same,
    /// One of these, both ends inclusive.
    Range(u16, u16),
    /// Nothing.
    Nothing,
}

impl Given {
    /// Whether one of its addresses is a value that a function of a field allows.
    pub(super) fn may_be_in(&self, space: &Space, values: &BDDFunction, field: Field) -> bool {
        let Some((first, last)) = self.addresses else { return true };
        if first != last || Family::of(first) != space.family() {
            return Family::of(first) == space.family();
        }
        let header = Header {
            source: first,
            destination: first,
            protocol: 0,
            source_port: 0,
            destination_port: 0,
            icmp: (0, 0),
            tcp_flags: 0,
        };
        debug_assert!(matches!(field, Field::Source | Field::Destination));
        space.set(values.clone()).contains(&header)
    }

    pub(super) fn function(&self, space: &Space, field: Field, port: Field) -> BDDFunction {
        let addresses = match self.addresses {
            Some((first, last)) => space.addresses(field, first, last),
            None => space.anything(),
        };
        match self.ports {
            Known::Range(first, last) => {
                space.and(&addresses, &space.range(port, first.into(), last.into()))
            }
            Known::Same | Known::Nothing => addresses,
        }
    }
}

/// What a target may make of the source, or the destination.
pub(super) fn given(system: &System, target: &Target, field: Field) -> Vec<Given> {
    let ranged = |range: &NatRange, options: &NatOptions| {
        let ports = match (range.ports, range.base_port) {
            (_, Some(_)) => Known::Nothing,
            (Some((first, last)), None) => Known::Range(first, last),
            (None, None) if options.random => Known::Nothing,
            (None, None) => Known::Same,
        };
        let ports =
            if field == Field::Source && ports != Known::Same { Known::Nothing } else { ports };
        match range.addresses {
            Some(addresses) => vec![Given { addresses: Some(addresses), ports }],
            // The address stays, or nobody can say.
            None => vec![Given { addresses: None, ports }],
        }
    };
    let own = |ports: Option<(u16, u16)>, options: &NatOptions| {
        let ports = match ports {
            Some((first, last)) if field == Field::Destination => Known::Range(first, last),
            Some(_) => Known::Nothing,
            None if options.random => Known::Nothing,
            None => Known::Same,
        };
        let addresses = system.host.interfaces.iter().flat_map(|own| &own.addresses);
        // What nobody knows has a placeholder.
        let others: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::LOCALHOST.into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let addresses = addresses.map(|own| own.local).chain(others);
        addresses.map(|own| Given { addresses: Some((own, own)), ports }).collect()
    };
    let anything = || vec![Given { addresses: None, ports: Known::Nothing }];
    match (target, field) {
        (Target::Snat(range, options), Field::Source)
        | (Target::Dnat(range, options), Field::Destination) => ranged(range, options),
        (Target::Masquerade(ports, options), Field::Source)
        | (Target::Redirect(ports, options), Field::Destination) => own(*ports, options),
        (Target::Netmap(_) | Target::Unsupported(_) | Target::Map(_) | Target::Sequence(_), _) => {
            anything()
        }
        _ => Vec::new(),
    }
}
