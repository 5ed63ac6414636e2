//! ipsets and membership in them (ipset(8), kernel-facts G18).

use std::net::IpAddr;

use crate::address::Prefix;

/// What one dimension of a set's type looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of ipset(8)")]
pub enum Dimension {
    Ip,
    Net,
    Port,
    Interface,
    Mac,
    Mark,
}

/// One dimension of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// An address or a network.
    Prefix(Prefix),
    /// A range of addresses, both ends inclusive.
    Range(IpAddr, IpAddr),
    /// A protocol (0: any, for bitmap:port) with ports, both ends inclusive; ICMP entries hold
    /// type and code as `type << 8 | code`.
    Port {
        /// The protocol's number.
        protocol: u8,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// An interface name.
    Interface {
        /// The name.
        name: String,
        /// `physdev:`: a port of a bridge.
        physical: bool,
    },
    /// A hardware address.
    Mac([u8; 6]),
    /// A packet mark.
    Mark(u32),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// One element for each dimension.
    pub elements: Vec<Element>,
    /// `nomatch`: an exception inside a wider entry.
    pub nomatch: bool,
    /// Seconds until it is gone; the entry is taken to be there.
    pub timeout: Option<u64>,
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpSet {
    /// A set of entries.
    Entries {
        /// The type as ipset(8) names it, such as `hash:net,port`.
        kind: String,
        /// Its dimensions; empty where the type is not known, and membership then undecided.
        dimensions: Vec<Dimension>,
        /// The family of its addresses.
        ipv6: bool,
        /// `markmask` of hash:ip,mark.
        mark_mask: u32,
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// A list of other sets, by name.
    List(Vec<String>),
}
