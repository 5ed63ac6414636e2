//! What a rule asks of a packet.

pub mod value;

use std::net::IpAddr;

use nattrace_parser::syntax::SetDirection;

use crate::address::Prefix;

/// Whether a condition or its negation is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sense {
    /// The condition holds.
    Is,
    /// The condition does not hold (`!`).
    IsNot,
}

impl Sense {
    /// The sense of a `!` that is there or not.
    #[must_use]
    pub fn of_negation(negated: bool) -> Self {
        if negated { Self::IsNot } else { Self::Is }
    }

    /// Applies the sense to a plain answer.
    #[must_use]
    pub fn apply(self, answer: bool) -> bool {
        match self {
            Self::Is => answer,
            Self::IsNot => !answer,
        }
    }
}

/// An interface name, or the beginning of one (`eth+`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InterfacePattern {
    /// This name.
    Name(Box<str>),
    /// Every name that starts so; empty for `+`, which matches every name.
    Beginning(Box<str>),
}

impl InterfacePattern {
    /// The pattern that iptables reads from an argument of `-i`, `-o` or `--physdev-in`.
    #[must_use]
    pub fn parse(argument: &str) -> Self {
        match argument.strip_suffix('+') {
            Some(beginning) => Self::Beginning(beginning.into()),
            None => Self::Name(argument.into()),
        }
    }

    /// Whether a name matches. A packet without an interface has the empty name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => **own == *name,
            Self::Beginning(beginning) => name.starts_with(&**beginning),
        }
    }
}

/// Which port of a packet is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortSide {
    /// The source port.
    Source,
    /// The destination port.
    Destination,
    /// Either of them (multiport `--ports`).
    Either,
}

/// Types of addresses as bits (`RTN_*` of linux/rtnetlink.h; addrtype).
pub mod address_type {
    #![expect(missing_docs, reason = "the names are the kernel's own")]
    pub const UNSPEC: u16 = 1 << 0;
    pub const UNICAST: u16 = 1 << 1;
    pub const LOCAL: u16 = 1 << 2;
    pub const BROADCAST: u16 = 1 << 3;
    pub const ANYCAST: u16 = 1 << 4;
    pub const MULTICAST: u16 = 1 << 5;
    pub const BLACKHOLE: u16 = 1 << 6;
    pub const UNREACHABLE: u16 = 1 << 7;
    pub const PROHIBIT: u16 = 1 << 8;
    pub const THROW: u16 = 1 << 9;
    pub const NAT: u16 = 1 << 10;
    pub const XRESOLVE: u16 = 1 << 11;
}

/// Which interface the local addresses are limited to (addrtype; kernel-facts C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TypeLimit {
    /// Addresses of every interface.
    None,
    /// Addresses of the interface by which the packet came.
    InInterface,
    /// Addresses of the interface by which the packet leaves.
    OutInterface,
}

/// States of a connection as bits, as `--ctstate` names them.
pub mod connection_state {
    #![expect(missing_docs, reason = "the names are conntrack's own")]
    pub const INVALID: u16 = 1 << 0;
    pub const NEW: u16 = 1 << 1;
    pub const RELATED: u16 = 1 << 2;
    pub const ESTABLISHED: u16 = 1 << 3;
    pub const UNTRACKED: u16 = 1 << 4;
    pub const SNAT: u16 = 1 << 5;
    pub const DNAT: u16 = 1 << 6;
}

/// Status of a connection as bits, as `--ctstatus` names them (`enum ip_conntrack_status`).
pub mod connection_status {
    #![expect(missing_docs, reason = "the names are conntrack's own")]
    pub const EXPECTED: u16 = 1 << 0;
    pub const SEEN_REPLY: u16 = 1 << 1;
    pub const ASSURED: u16 = 1 << 2;
    pub const CONFIRMED: u16 = 1 << 3;
}

/// The direction of a packet in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// As the first packet went.
    Original,
    /// The way back.
    Reply,
}

/// Which address or port of a connection's two tuples is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the conntrack match")]
pub enum TupleField {
    OriginalSource,
    OriginalDestination,
    ReplySource,
    ReplyDestination,
}

/// What is asked of a packet's connection (conntrack and state; kernel-facts F8, F9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionCondition {
    /// `--ctstate`: one of the bits of [`connection_state`].
    State(u16),
    /// `--ctstatus`: one of the bits of [`connection_status`].
    Status(u16),
    /// `--ctdir`.
    Direction(Direction),
    /// `--ctproto`.
    Protocol(u8),
    /// `--ctorigsrc` and its kin.
    Address(TupleField, Prefix),
    /// `--ctorigsrcport` and its kin, both ends inclusive.
    Port(TupleField, u16, u16),
    /// `--ctexpire` in seconds, both ends inclusive: history decides.
    Expire(u32, u32),
    /// Holds for a packet without a connection, and else where the inner condition does: so the
    /// other options count of a match whose `--ctstate` such a packet satisfies. Measured: `--ctstate
    /// UNTRACKED --ctproto 6` matches an untracked UDP packet (`conntrack_mt`, no `ct`).
    OrUntracked(Sense, Box<ConnectionCondition>),
}

/// How TTL or hop limit is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    Less,
    Greater,
}

/// How a packet was addressed on the link (`skb->pkt_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LinkDelivery {
    Unicast,
    Broadcast,
    Multicast,
}

/// What the physdev match asks (kernel-facts E4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PhysdevCondition {
    /// `--physdev-in`.
    In(InterfacePattern),
    /// `--physdev-out`.
    Out(InterfacePattern),
    /// `--physdev-is-in`.
    IsIn,
    /// `--physdev-is-out`.
    IsOut,
    /// `--physdev-is-bridged`.
    IsBridged,
}

/// What the owner match asks of the socket that sent a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnerCondition {
    /// `--uid-owner`, both ends inclusive.
    User(u32, u32),
    /// `--gid-owner`, both ends inclusive.
    Group(u32, u32),
    /// `--socket-exists`.
    SocketExists,
}

/// Why nobody can say from rules and packet alone whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecided {
    /// Rate, chance, counters or history of other packets decide (limit, statistic, recent, …).
    Chance {
        /// Whether it matches for the first packet after the rules were loaded, where known: a
        /// token bucket starts full (kernel-facts G19).
        at_first: Option<bool>,
    },
    /// How many connections there are decides (connlimit). Where the connection of the packet has
    /// begun before, the rule may drop it whatever follows (kernel-facts K14).
    Count {
        /// Whether it matches for the first connection.
        at_first: Option<bool>,
    },
    /// The extension, or an option of it, is not modelled.
    Unsupported,
    /// The listing did not show the interface columns.
    InterfacesNotShown,
}

/// One thing that a rule asks of a packet. A rule matches if all its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `-s`.
    Source(Sense, Prefix),
    /// `-d`.
    Destination(Sense, Prefix),
    /// `-i`.
    InInterface(Sense, InterfacePattern),
    /// `-o`.
    OutInterface(Sense, InterfacePattern),
    /// `-p`.
    Protocol(Sense, u8),
    /// `-f`: second and further fragments.
    Fragment(Sense),
    /// A port in a range, both ends inclusive (tcp, udp, sctp, …).
    Port(Sense, PortSide, u16, u16),
    /// A port in one of several ranges (multiport).
    Ports(Sense, PortSide, Box<[(u16, u16)]>),
    /// TCP flags: of those under the mask, exactly these are set.
    TcpFlags {
        /// Plain or negated.
        sense: Sense,
        /// The flags that are looked at.
        mask: u8,
        /// Those of them that must be set.
        compare: u8,
    },
    /// An ICMP or ICMPv6 type (`None`: any) with codes, both ends inclusive.
    Icmp {
        /// Plain or negated.
        sense: Sense,
        /// The type.
        kind: Option<u8>,
        /// The codes.
        codes: (u8, u8),
    },
    /// The source address is in a range, both ends inclusive (iprange).
    SourceRange(Sense, Box<(IpAddr, IpAddr)>),
    /// The destination address is in a range, both ends inclusive (iprange).
    DestinationRange(Sense, Box<(IpAddr, IpAddr)>),
    /// The source address is of one of these types, bits of [`address_type`].
    SourceType(Sense, u16, TypeLimit),
    /// The destination address is of one of these types, bits of [`address_type`].
    DestinationType(Sense, u16, TypeLimit),
    /// Something about the packet's connection.
    Connection(Sense, Box<ConnectionCondition>),
    /// The packet mark under a mask.
    Mark {
        /// Plain or negated.
        sense: Sense,
        /// The value to be found.
        value: u32,
        /// The bits that are looked at.
        mask: u32,
    },
    /// The connection mark under a mask; a packet without a connection never matches.
    ConnectionMark {
        /// Plain or negated.
        sense: Sense,
        /// The value to be found.
        value: u32,
        /// The bits that are looked at.
        mask: u32,
    },
    /// Membership in an ipset.
    Set(Sense, Box<SetCondition>),
    /// Ports of a bridge.
    Physdev(Sense, Box<PhysdevCondition>),
    /// The source hardware address.
    Mac(Sense, [u8; 6]),
    /// The length in bytes, both ends inclusive.
    Length(Sense, u16, u16),
    /// TTL or hop limit.
    Ttl(Sense, Comparison, u8),
    /// Type of service under a mask.
    Tos {
        /// Plain or negated.
        sense: Sense,
        /// The value to be found.
        value: u8,
        /// The bits that are looked at.
        mask: u8,
    },
    /// How the packet was addressed on the link.
    LinkDelivery(Sense, LinkDelivery),
    /// The socket that sent the packet.
    Owner(Sense, Box<OwnerCondition>),
    /// The source address would be routed back to the interface by which it came (rpfilter).
    ReversePath {
        /// Plain or inverted (`--invert`).
        sense: Sense,
        /// `--loose`: any interface will do.
        loose: bool,
        /// `--validmark`: the lookup uses the packet mark.
        valid_mark: bool,
        /// `--accept-local`: own addresses are fine.
        accept_local: bool,
    },
    /// Values of the packet are in a set; a value that can't be read (a port of a packet without
    /// ports, the mark of a connection that there is not) makes neither it nor its negation hold.
    Value(Sense, Box<value::ValueCondition>),
    /// Always, or never (for example a `statistic` probability of 1 or 0, an IPv6 extension
    /// header that the traced packet does not carry).
    Constant(bool),
    /// Not decided by rules and packet.
    Undecided(Undecided),
}

/// `--match-set`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetCondition {
    /// The set's name.
    pub name: Box<str>,
    /// One direction for each dimension.
    pub directions: Box<[SetDirection]>,
    /// `--return-nomatch`.
    pub return_nomatch: bool,
    /// Options that ask for counters of the entry (`--packets-eq` and kin): history decides.
    pub asks_counters: bool,
}
