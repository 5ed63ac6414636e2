//! A packet under way, as terms: what the hooks see, and what became of it so far.

use crate::smt::term::{B, Terms, V};

/// Things of which one or the other may be so.
pub(crate) trait Merge: Sized {
    /// The first under a condition, else the second.
    fn merge(terms: &Terms, condition: B, one: &Self, other: &Self) -> Self;
}

impl Merge for B {
    fn merge(terms: &Terms, condition: B, one: &Self, other: &Self) -> Self {
        terms.either(condition, *one, *other)
    }
}

impl Merge for V {
    fn merge(terms: &Terms, condition: B, one: &Self, other: &Self) -> Self {
        terms.choice(condition, *one, *other)
    }
}

macro_rules! merged {
    ($($(#[$about:meta])* struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug)]
            pub(crate) struct $name {
                $($(#[$doc])* pub(crate) $field: $type,)*
            }

            impl Merge for $name {
                fn merge(terms: &Terms, condition: B, one: &Self, other: &Self) -> Self {
                    Self {
                        $($field: Merge::merge(terms, condition, &one.$field, &other.$field),)*
                    }
                }
            }
        )*
    };
}

merged! {
    /// What tells the packets of a connection and direction from others. The ports of ICMP are its
    /// identifier, and type and code together; what has no ports has zeros.
    struct Tuple {
        source: V,
        destination: V,
        protocol: V,
        from_port: V,
        to_port: V,
    }

    /// A packet.
    struct Packet {
        tuple: Tuple,
        flags: V,
        ttl: V,
        tos: V,
        mark: V,
    }

    /// Something that may be absent.
    struct Maybe {
        is: B,
        value: V,
    }

    /// A port that may be any of a range.
    struct Drawn {
        is: B,
        first: V,
        last: V,
    }

    /// A connection.
    struct Connection {
        begun: B,
        original: Tuple,
        reply: Tuple,
        source_translated: B,
        destination_translated: B,
        source_settled: B,
        destination_settled: B,
        seen_reply: B,
        confirmed: B,
        drawn_source: Drawn,
        drawn_destination: Drawn,
        /// The same of the packet that began it.
        begun_source: Drawn,
        begun_destination: Drawn,
        mark: V,
        zone: V,
        /// The interface by which MASQUERADE had its first packet leave; 0 for none.
        masqueraded_by: V,
    }

    /// What tracking made of a packet.
    struct Tracking {
        /// One of the numbers in [`tracking`].
        kind: V,
        /// One of the numbers in [`phase`].
        phase: V,
        /// Whether it travels in the direction of replies.
        reply: B,
        /// Whether its connection is the second one of the exchange.
        second: B,
    }

    /// An error of ICMP that may be sent.
    struct Error {
        is: B,
        kind: V,
        code: V,
    }

    /// Where routing sends a packet.
    struct OutRoute {
        interface: V,
        gateway: Maybe,
        local: B,
    }

    /// A packet under way, and how it ended.
    struct Trip {
        /// Whether it still travels.
        alive: B,
        /// Whether it came in by an interface, or comes from here.
        local: B,
        /// How it ended: one of the numbers in [`end`].
        end: V,
        /// The error that its end sets off.
        error: Error,
        /// Whether it ended where it was routed first.
        at_first: B,
        packet: Packet,
        /// The interface by which it came; 0 for none.
        in_interface: V,
        /// The interface by which an error of IPv6 about it takes it to have come; 0 for none.
        noted: V,
        /// Whether it came in, and nothing has routed it.
        unrouted: B,
        out_interface: V,
        route: OutRoute,
        physical_in: V,
        physical_out: V,
        bridged: B,
        tracking: Tracking,
        zone: V,
        /// One of the numbers in [`maker`].
        maker: V,
        /// One of the numbers in [`delivery`].
        delivery: V,
        /// One of the numbers in [`bound`].
        bound: V,
        bound_to: V,
        asked_interface: V,
        sourced: B,
        /// Whether it quotes a packet of the first connection.
        quotes: B,
        mac: Maybe,
        /// Whether a rule chose a socket for it.
        chosen: B,
        chosen_address: Maybe,
        chosen_port: V,
        source_unknown: B,
        drawn_source: Drawn,
        drawn_destination: Drawn,
        first: Connection,
        second: Connection,
    }
}

/// Numbers of [`Tracking::kind`].
pub(crate) mod tracking {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ATTACHED: u8 = 1;
    pub(crate) const TEMPLATE: u8 = 2;
    pub(crate) const TRACKED: u8 = 3;
    pub(crate) const INVALID: u8 = 4;
    pub(crate) const UNTRACKED: u8 = 5;
}

/// Numbers of [`Tracking::phase`].
pub(crate) mod phase {
    pub(crate) const NEW: u8 = 0;
    pub(crate) const RELATED: u8 = 1;
    pub(crate) const ESTABLISHED: u8 = 2;
}

/// Numbers of [`Trip::maker`].
pub(crate) mod maker {
    pub(crate) const SENDER: u8 = 0;
    pub(crate) const ICMP_ANSWER: u8 = 1;
    pub(crate) const ICMP_ERROR: u8 = 2;
    pub(crate) const TCP_RESET: u8 = 3;
    pub(crate) const REJECT_RESET: u8 = 4;
}

/// Numbers of [`Trip::delivery`].
pub(crate) mod delivery {
    pub(crate) const UNICAST: u8 = 0;
    pub(crate) const BROADCAST: u8 = 1;
    pub(crate) const MULTICAST: u8 = 2;
}

/// Numbers of [`Trip::bound`].
pub(crate) mod bound {
    pub(crate) const BY_PACKET: u8 = 0;
    pub(crate) const TO: u8 = 1;
    pub(crate) const FREE: u8 = 2;
}

/// Numbers of [`Trip::end`].
pub(crate) mod end {
    pub(crate) const UNDER_WAY: u8 = 0;
    pub(crate) const LEFT: u8 = 1;
    pub(crate) const BRIDGED: u8 = 2;
    pub(crate) const DELIVERED: u8 = 3;
    pub(crate) const DROPPED: u8 = 4;
    /// REJECT with a reset.
    pub(crate) const RESET: u8 = 5;
    /// REJECT with an ICMP error.
    pub(crate) const REJECTED: u8 = 6;
    pub(crate) const QUEUED: u8 = 7;
    pub(crate) const UNROUTABLE: u8 = 8;
    pub(crate) const MARTIAN: u8 = 9;
    pub(crate) const TTL_EXPIRED: u8 = 10;
    pub(crate) const UNKNOWN: u8 = 11;
}
