//! Values of a packet compared with sets of values: what native nft rules ask, as far as it is not
//! one of iptables' own questions.

use std::sync::Arc;

use super::{InterfacePattern, TupleField, TypeLimit, Undecided};

/// Something that can be read from a packet. Numbers are as people write them, addresses as
/// integers of 32 or 128 bits, flags as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The upper-layer protocol (`meta l4proto`).
    Protocol,
    /// The source port.
    SourcePort,
    /// The destination port.
    DestinationPort,
    /// The TCP flags.
    TcpFlags,
    /// The ICMP or ICMPv6 type.
    IcmpType,
    /// The ICMP or ICMPv6 code.
    IcmpCode,
    /// Type of service, or traffic class, as a whole byte.
    TypeOfService,
    /// Time to live, or hop limit.
    Ttl,
    /// The length of the packet.
    Length,
    /// The packet mark.
    Mark,
    /// The connection mark; without a connection the rule ends.
    ConnectionMark,
    /// The state, one bit of `enum nft_ct_state`: invalid 1, established 2, related 4, new 8,
    /// untracked 64.
    ConnectionState,
    /// The bits of `enum ip_conntrack_status`; without a connection the rule ends.
    ConnectionStatus,
    /// 0 for the original direction, 1 for replies; without a connection the rule ends.
    ConnectionDirection,
    /// The protocol of the connection.
    ConnectionProtocol,
    /// The zone of the connection.
    ConnectionZone,
    /// An address of a connection's tuples.
    TupleAddress(TupleField),
    /// A port of a connection's tuples.
    TuplePort(TupleField),
    /// The name of the interface by which the packet came; empty where there is none.
    InInterface,
    /// The name of the interface by which it leaves; empty where there is none.
    OutInterface,
    /// How it was addressed on the link: 0 to this host, 1 broadcast, 2 multicast.
    LinkDelivery,
    /// The user or group of the sending socket, which no snapshot tells; without a socket the rule
    /// ends.
    SocketOwner,
    /// The type of the source address, as routes see it: `RTN_UNICAST`, … (`fib saddr type`).
    SourceType(TypeLimit),
    /// The type of the destination address.
    DestinationType(TypeLimit),
    /// 1 where the routes lead back to the source (`fib saddr oif`, IPv6), 0 where they do not.
    WayBack {
        /// Any interface will do (without `iif`).
        loose: bool,
        /// The lookup uses the packet mark.
        valid_mark: bool,
    },
    /// A number that is known beforehand.
    Constant(u64),
    /// Not modelled, or decided by chance.
    Unknown(Undecided),
}

/// An operation on the bits of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitOperation {
    /// `(value & mask) ^ xor`, which is what every `&`, `|` and `^` comes to.
    Mask {
        /// The bits that are kept.
        mask: u128,
        /// The bits that are turned then.
        xor: u128,
    },
    /// `<<`, in a register of 32 bits.
    Left(u8),
    /// `>>`.
    Right(u8),
}

impl BitOperation {
    /// Carries it out.
    #[must_use]
    pub fn apply(self, value: u128) -> u128 {
        match self {
            Self::Mask { mask, xor } => (value & mask) ^ xor,
            Self::Left(by) => value.checked_shl(by.into()).unwrap_or(0) & u128::from(u32::MAX),
            Self::Right(by) => value.checked_shr(by.into()).unwrap_or(0),
        }
    }
}

/// A value read from the packet, and what is done to its bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// What is read.
    pub selector: Selector,
    /// What is done to it, in order.
    pub operations: Box<[BitOperation]>,
}

impl Operand {
    /// A value as it is.
    #[must_use]
    pub fn plain(selector: Selector) -> Self {
        Self { selector, operations: Box::new([]) }
    }
}

/// Values of one operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// Numbers, both ends inclusive.
    Numbers(u128, u128),
    /// Names of interfaces.
    Interface(InterfacePattern),
}

impl Interval {
    /// Every number.
    pub const ALL: Self = Self::Numbers(0, u128::MAX);
}

/// The elements of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueSet {
    /// The elements: one interval for each operand.
    pub elements: Vec<Box<[Interval]>>,
    /// Whether rules add elements: then what is not in it may be in it by now.
    pub grows: bool,
    /// Whether rules delete elements: then what is in it may be gone by now.
    pub shrinks: bool,
}

/// Values of a packet that shall be in a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueCondition {
    /// What is looked up; several are a concatenation.
    pub operands: Box<[Operand]>,
    /// Where.
    pub set: Arc<ValueSet>,
}
