//! The question: which packet, in which state.

use std::net::IpAddr;

/// The state that the packet's connection is taken to be in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlowState {
    /// The first packet of a connection.
    #[default]
    New,
    /// A later packet of a connection that has seen an answer, in the first packet's direction.
    Established,
    /// The first packet of a connection that belongs to another one.
    Related,
    /// A packet that connection tracking can't place.
    Invalid,
    /// A packet that is not tracked.
    Untracked,
}

/// A packet to be traced, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The protocol's number.
    pub protocol: u8,
    /// The source port; `None` picks one that nothing depends on, 40000.
    pub source_port: Option<u16>,
    /// The destination port; needed where the protocol has ports.
    pub destination_port: Option<u16>,
    /// The interface by which it comes in. `None`: a local process sends it if the source is one
    /// of the host's own addresses, else it comes in where routing expects the source.
    pub in_interface: Option<String>,
    /// The state of its connection.
    pub state: FlowState,
    /// The packet mark it starts with.
    pub mark: u32,
    /// The TCP flags; `None` for those that fit the state: SYN, or ACK.
    pub tcp_flags: Option<u8>,
    /// ICMP type and code; `None` for an echo request.
    pub icmp: Option<(u8, u8)>,
    /// TTL or hop limit; `None` for 64.
    pub ttl: Option<u8>,
    /// Whether the kernel picks the source address of a local process's packet: the source is
    /// then where the search starts, not a bound address.
    pub any_source: bool,
}
