//! ipsets, from `ipset save`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nattrace_parser::host::ipset as listed;
use nattrace_parser::syntax::{AddressMask, Family};

use crate::address::Prefix;
use crate::host::set::{Dimension, Element, Entry, IpSet};

/// The sets by name.
pub(super) fn sets(listed: &[listed::IpSet]) -> BTreeMap<String, IpSet> {
    listed.iter().map(|set| (set.name.clone(), of_listed(set))).collect()
}

fn of_listed(set: &listed::IpSet) -> IpSet {
    let listed_dimensions = set.dimensions.as_deref().unwrap_or(&[]);
    if listed_dimensions.contains(&listed::Dimension::Set) {
        let names =
            set.entries.iter().flat_map(|entry| &entry.elements).filter_map(
                |element| match element {
                    listed::Element::Set(name) => Some(name.clone()),
                    _ => None,
                },
            );
        return IpSet::List(names.collect());
    }
    IpSet::Entries {
        kind: set.kind.clone(),
        dimensions: listed_dimensions.iter().filter_map(|d| dimension(*d)).collect(),
        ipv6: set.family == Some(Family::Ipv6),
        mark_mask: set.mark_mask.unwrap_or(u32::MAX),
        entries: set.entries.iter().map(|entry| of_entry(entry, set.mask)).collect(),
    }
}

fn dimension(dimension: listed::Dimension) -> Option<Dimension> {
    Some(match dimension {
        listed::Dimension::Address => Dimension::Ip,
        listed::Dimension::Net => Dimension::Net,
        listed::Dimension::Port => Dimension::Port,
        listed::Dimension::Interface => Dimension::Interface,
        listed::Dimension::Mac => Dimension::Mac,
        listed::Dimension::Mark => Dimension::Mark,
        listed::Dimension::Set => return None,
    })
}

fn of_entry(entry: &listed::Entry, mask: Option<IpAddr>) -> Entry {
    Entry {
        elements: entry.elements.iter().filter_map(|element| of_element(element, mask)).collect(),
        nomatch: entry.no_match,
        timeout: entry.timeout.filter(|seconds| *seconds != 0).map(u64::from),
    }
}

fn of_element(element: &listed::Element, mask: Option<IpAddr>) -> Option<Element> {
    Some(match element {
        listed::Element::Net(net) => match mask {
            Some(mask) if net.prefix_len() == net.max_prefix_len() => {
                Element::Prefix(masked(net.addr(), mask))
            }
            _ => Element::Prefix((*net).into()),
        },
        listed::Element::AddressRange(first, last) => Element::Range(*first, *last),
        listed::Element::Port { protocol, low, high } => {
            Element::Port { protocol: protocol.unwrap_or(0), first: *low, last: *high }
        }
        listed::Element::Interface { name, wildcard, physical } => Element::Interface {
            name: if *wildcard { format!("{name}+") } else { name.clone() },
            physical: *physical,
        },
        listed::Element::Mac(mac) => Element::Mac(*mac),
        listed::Element::Mark(mark) => Element::Mark(*mark),
        listed::Element::Set(_) => return None,
    })
}

/// An address under the mask of its set (`netmask`, `bitmask`).
fn masked(address: IpAddr, mask: IpAddr) -> Prefix {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            AddressMask::V4(address.to_bits(), mask.to_bits()).into()
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            AddressMask::V6(address.to_bits(), mask.to_bits()).into()
        }
        (address, _) => Prefix::new(address, u8::MAX),
    }
}
