//! Membership of a packet in an ipset (ipset(8), kernel-facts G18).

use std::net::IpAddr;

use nattrace_parser::syntax::{Family, SetDirection};

use crate::condition::{SetCondition, Undecided};
use crate::host::set::{Dimension, Element, Entry, IpSet};
use crate::packet::{Transport, protocol};
use crate::simulate::drawn::within;
use crate::simulate::matching::{PhysicalPort, Ternary, View};

/// Whether the packet is in the set.
pub(crate) fn holds(view: &View<'_>, asked: &SetCondition) -> Ternary {
    if asked.asks_counters {
        return Ternary::May(Undecided::Chance { at_first: None });
    }
    test(view, &asked.name, asked)
}

const UNKNOWN: Ternary = Ternary::May(Undecided::Unsupported);

/// Whether the test of one set succeeds (`ip_set_test`). `--return-nomatch` turns the answer
/// around for an entry of a type that knows exceptions, and means nothing for other types.
fn test(view: &View<'_>, name: &str, asked: &SetCondition) -> Ternary {
    match view.host.sets.get(name) {
        None => UNKNOWN,
        Some(IpSet::List(members)) => test_list(view, members, asked),
        Some(set @ IpSet::Entries { kind, .. }) => match lookup(view, set, &asked.directions) {
            Found::Entry { nomatch } => {
                let inverted = asked.return_nomatch && knows_exceptions(kind);
                (nomatch == inverted).into()
            }
            Found::None => Ternary::No,
            Found::Unknown => UNKNOWN,
        },
    }
}

/// Whether entries of a type may be exceptions (`IPSET_TYPE_NOMATCH`): the types with networks.
fn knows_exceptions(kind: &str) -> bool {
    kind.starts_with("hash:") && kind.split([':', ',']).any(|dimension| dimension == "net")
}

enum Found {
    Entry { nomatch: bool },
    None,
    Unknown,
}

fn lookup(view: &View<'_>, set: &IpSet, directions: &[SetDirection]) -> Found {
    let (kind, dimensions, ipv6, mark_mask, entries) = match set {
        IpSet::List(_) => return Found::None,
        IpSet::Entries { kind, dimensions, ipv6, mark_mask, entries } => {
            (kind, dimensions, *ipv6, *mark_mask, entries)
        }
    };
    if dimensions.is_empty() {
        return Found::Unknown;
    }
    // kernel-facts G18: fewer directions than dimensions find nothing; a set of the other family
    // neither, unless its type has no addresses.
    let has_address = dimensions.iter().any(|d| matches!(d, Dimension::Ip | Dimension::Net));
    let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
    if directions.len() < dimensions.len() || (has_address && family != view.family()) {
        return Found::None;
    }
    let mut best: Option<(u32, bool)> = None;
    let mut unknown = false;
    for entry in entries {
        match covers(view, entry, kind, directions, mark_mask) {
            Ternary::Yes => {
                // The most specific network wins, and may be an exception (`nomatch`).
                let specific = specificity(entry);
                if best.is_none_or(|(other, _)| specific > other) {
                    best = Some((specific, entry.nomatch));
                }
            }
            Ternary::No => {}
            Ternary::May(_) => unknown = true,
        }
    }
    match best {
        _ if unknown => Found::Unknown,
        Some((_, nomatch)) => Found::Entry { nomatch },
        None => Found::None,
    }
}

/// A list matches if the test of any member succeeds.
fn test_list(view: &View<'_>, members: &[String], asked: &SetCondition) -> Ternary {
    let mut unknown = false;
    for member in members {
        // A list can't hold lists (ipset(8)), so this ends.
        if matches!(view.host.sets.get(member), Some(IpSet::List(_))) {
            continue;
        }
        match test(view, member, asked) {
            Ternary::Yes => return Ternary::Yes,
            Ternary::No => {}
            Ternary::May(_) => unknown = true,
        }
    }
    if unknown { UNKNOWN } else { Ternary::No }
}

fn specificity(entry: &Entry) -> u32 {
    entry
        .elements
        .iter()
        .map(|element| match element {
            Element::Prefix(prefix) => prefix.length(),
            Element::Range(..)
            | Element::Port { .. }
            | Element::Interface { .. }
            | Element::Mac(_)
            | Element::Mark(_) => 0,
        })
        .sum()
}

fn covers(
    view: &View<'_>,
    entry: &Entry,
    kind: &str,
    directions: &[SetDirection],
    mark_mask: u32,
) -> Ternary {
    let mut result = Ternary::Yes;
    for (element, direction) in entry.elements.iter().zip(directions) {
        match covers_element(view, element, *direction, kind, mark_mask) {
            Ternary::Yes => {}
            Ternary::No => return Ternary::No,
            may @ Ternary::May(_) => result = may,
        }
    }
    result
}

pub(crate) fn covers_element(
    view: &View<'_>,
    element: &Element,
    direction: SetDirection,
    kind: &str,
    mark_mask: u32,
) -> Ternary {
    let packet = view.packet;
    let address: IpAddr = match direction {
        SetDirection::Source => packet.source,
        SetDirection::Destination => packet.destination,
    };
    match element {
        Element::Prefix(prefix) => prefix.contains(address).into(),
        Element::Range(first, last) => {
            crate::simulate::matching::in_range(address, &(*first, *last)).into()
        }
        Element::Port { protocol: asked, first, last } => {
            let (port, drawn) = match (packet.transport, direction) {
                (Transport::Ports { source, .. }, SetDirection::Source) => {
                    (source, view.drawn.source)
                }
                (Transport::Ports { destination, .. }, SetDirection::Destination) => {
                    (destination, view.drawn.destination)
                }
                (Transport::Icmp { kind, code, .. }, _) => (u16::from_be_bytes([kind, code]), None),
                (Transport::Opaque, _) => (0, None),
            };
            // A bitmap of ports holds no protocol, and only takes TCP and UDP (ip_set_getport).
            let fits = if kind == "bitmap:port" {
                matches!(packet.protocol, protocol::TCP | protocol::UDP)
            } else {
                packet.protocol == *asked
            };
            if fits { within(port, drawn, &[(*first, *last)]) } else { Ternary::No }
        }
        Element::Interface { name, physical } => interface(view, name, *physical, direction),
        Element::Mac(mac) => match view.mac {
            // ip_set_hash_mac looks at the source address, for `dst` at the destination's.
            Some(own) if direction == SetDirection::Source => (own == *mac).into(),
            _ => Ternary::May(Undecided::Unsupported),
        },
        Element::Mark(mark) => (packet.mark & mark_mask == *mark).into(),
    }
}

fn interface(view: &View<'_>, name: &str, physical: bool, direction: SetDirection) -> Ternary {
    let (logical, port) = match direction {
        SetDirection::Source => (view.in_interface, view.physical_in),
        SetDirection::Destination => (view.out_interface, view.physical_out),
    };
    // A name may end in `+` like those of rules.
    let pattern = crate::condition::InterfacePattern::parse(name);
    match (physical, port) {
        (false, _) => pattern.matches(logical).into(),
        (true, PhysicalPort::None) => Ternary::No,
        (true, PhysicalPort::Of(_)) => Ternary::May(Undecided::Unsupported),
    }
}
