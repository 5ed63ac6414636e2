//! What a rule does with a packet that it matches.

mod native;
mod prefix;

use std::net::IpAddr;

use nattrace_parser::syntax::{NatRange, SetDirection};

use crate::address::Prefix;
use crate::graph::LinkKind;
use crate::ruleset::ChainId;

pub use native::{Action, MapEntry, TargetMap};
pub use prefix::PrefixTranslation;

/// How `REJECT` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectWith {
    /// A TCP reset.
    TcpReset,
    /// An ICMP or ICMPv6 error of this type and code.
    Icmp {
        /// The type: 3 for ICMP, 1 for ICMPv6.
        kind: u8,
        /// The code.
        code: u8,
    },
}

/// What `CONNMARK` does (kernel-facts G14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnmarkAction {
    /// `--set-xmark`: ct = (ct & ~mask) ^ value.
    Set {
        /// The value.
        value: u32,
        /// The bits that are cleared first.
        mask: u32,
    },
    /// `--save-mark`: ct = (ct & ~ctmask) ^ (nf & nfmask).
    Save {
        /// The mask of the packet mark.
        nfmask: u32,
        /// The mask of the connection mark.
        ctmask: u32,
    },
    /// `--restore-mark`: nf = (nf & ~nfmask) ^ (ct & ctmask).
    Restore {
        /// The mask of the packet mark.
        nfmask: u32,
        /// The mask of the connection mark.
        ctmask: u32,
    },
}

/// How far `CONNMARK` moves the bits of a mark, those of the connection after `--set-xmark`
/// (`connmark_tg_shift`, kernel-facts G14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MarkShift {
    /// Not at all.
    #[default]
    None,
    /// `--left-shift-mark`, by less than 32 bits.
    Left(u32),
    /// `--right-shift-mark`, by less than 32 bits.
    Right(u32),
}

impl MarkShift {
    /// The mark afterwards.
    #[must_use]
    pub fn apply(self, mark: u32) -> u32 {
        match self {
            Self::None => mark,
            Self::Left(bits) => mark.checked_shl(bits).unwrap_or(0),
            Self::Right(bits) => mark.checked_shr(bits).unwrap_or(0),
        }
    }
}

/// How TTL or hop limit is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TtlAction {
    /// Set to a value.
    Set(u8),
    /// Raised by a value, at most to 255.
    Increase(u8),
    /// Lowered by a value, at least to 0.
    Decrease(u8),
}

/// How a NAT target picks ports and addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatOptions {
    /// `--random` or `--random-fully`: the source port is always picked anew (kernel-facts B12).
    pub random: bool,
    /// `--persistent`: the same client gets the same address of a range for every destination.
    pub persistent: bool,
}

/// What happens to a matching packet. Closed on purpose: a new target must be thought about
/// wherever targets are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// No target: counted, and on to the next rule.
    None,
    /// Accepted by this table at this hook.
    Accept,
    /// Dropped for good.
    Drop,
    /// Back to the calling chain, or to the policy.
    Return,
    /// On in a chain, and back behind this rule.
    Jump(ChainId),
    /// On in a chain, and back to where this chain's caller goes on (kernel-facts G2).
    Goto(ChainId),
    /// Dropped, with an answer to the sender.
    Reject(RejectWith),
    /// Written to a log (`LOG`, `NFLOG`, `ULOG`).
    Log,
    /// mark = (mark & ~mask) ^ value.
    Mark {
        /// The value.
        value: u32,
        /// The bits that are cleared first.
        mask: u32,
    },
    /// Connection mark and packet mark.
    Connmark(ConnmarkAction, MarkShift),
    /// `CT --notrack` and `NOTRACK`: the packet gets no connection.
    Notrack,
    /// `CT` with a zone; replies are looked up in their own zone (kernel-facts F13).
    Zone(u16),
    /// `CT` with options that change nothing for the traced packet (helper, timeout, events).
    ConntrackOptions,
    /// Source address and port are rewritten.
    Snat(Box<NatRange>, NatOptions),
    /// Destination address and port are rewritten.
    Dnat(Box<NatRange>, NatOptions),
    /// The source becomes an address of the outgoing interface.
    Masquerade(Option<(u16, u16)>, NatOptions),
    /// The destination becomes an address of the incoming interface, or loopback.
    Redirect(Option<(u16, u16)>, NatOptions),
    /// The network part of an address is exchanged.
    Netmap(Prefix),
    /// The prefix of the source is exchanged, connection or not.
    Snpt(Box<PrefixTranslation>),
    /// The prefix of the destination is exchanged, connection or not.
    Dnpt(Box<PrefixTranslation>),
    /// Handed to a local socket without a change of the destination.
    Tproxy {
        /// The port; 0 keeps the packet's own.
        port: u16,
        /// The address; absent or unspecified for the incoming interface's.
        address: Option<IpAddr>,
        /// The mark's value.
        value: u32,
        /// The bits of the mark that are cleared first.
        mask: u32,
    },
    /// Handed to a program, which decides.
    Queue {
        /// `--queue-bypass`: accepted where no program listens.
        bypass: bool,
    },
    /// Adds to or deletes from an ipset; goes on.
    Set {
        /// The set's name.
        name: Box<str>,
        /// One direction for each dimension.
        directions: Box<[SetDirection]>,
    },
    /// TTL or hop limit.
    Ttl(TtlAction),
    /// tos = (tos & ~mask) ^ value; DSCP too.
    Tos {
        /// The value.
        value: u8,
        /// The bits that are cleared first.
        mask: u8,
    },
    /// `tproxy` of native nft: handed to a local socket as with [`Target::Tproxy`], but the rule
    /// goes on, or has not matched where there is no socket.
    Socket {
        /// The port; 0 keeps the packet's own.
        port: u16,
        /// The address; absent for the incoming interface's.
        address: Option<IpAddr>,
    },
    /// `flow add`: packets of an established connection pass by the hooks from now on.
    Offload,
    /// Several statements of a native nft rule, one after the other.
    Sequence(Box<[Action]>),
    /// What a map gives for values of the packet (`vmap`, `dnat to … map`).
    Map(Box<TargetMap>),
    /// Goes on, and changes nothing that decides about a packet; with its name in lower case
    /// (`TCPMSS`, `CHECKSUM`, `CLASSIFY`, `TRACE`, `AUDIT`, `TEE`, …).
    Continue(&'static str),
    /// Not modelled: anything may happen to the packet.
    Unsupported(Box<str>),
}

impl Target {
    /// Whether it may give a connection another mark.
    #[must_use]
    pub fn moves_connection_mark(&self) -> bool {
        match self {
            Self::Connmark(ConnmarkAction::Set { .. } | ConnmarkAction::Save { .. }, _) => true,
            Self::Sequence(actions) => actions.iter().any(|action| match action {
                Action::If(_) => false,
                Action::Do(target) => target.moves_connection_mark(),
            }),
            Self::Map(map) => {
                let targets = map.entries.iter().map(|entry| &entry.target);
                targets.chain(&map.otherwise).any(Self::moves_connection_mark)
            }
            _ => false,
        }
    }

    /// Whether it is the last thing that its base chain does with a packet.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(
            self,
            Self::Accept
                | Self::Drop
                | Self::Reject(_)
                | Self::Queue { .. }
                | Self::Unsupported(_)
                | Self::Snat(..)
                | Self::Dnat(..)
                | Self::Masquerade(..)
                | Self::Redirect(..)
                | Self::Netmap(_)
        )
    }

    /// Whether nothing that can be asked about later comes of it.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        // A template (`ConntrackOptions`) is asked about: behind it, NOTRACK does nothing.
        matches!(self, Self::None | Self::Log | Self::Continue(_) | Self::Set { .. })
    }

    /// The chains that it may lead into, with whether it comes back from there.
    pub fn calls(&self, found: &mut impl FnMut(ChainId, LinkKind)) {
        match self {
            Self::Jump(chain) => found(*chain, LinkKind::Jump),
            Self::Goto(chain) => found(*chain, LinkKind::Goto),
            Self::Sequence(actions) => {
                for action in actions {
                    if let Action::Do(target) = action {
                        target.calls(found);
                    }
                }
            }
            Self::Map(map) => {
                let entries = map.entries.iter().map(|entry| &entry.target);
                for target in entries.chain(map.otherwise.as_ref()) {
                    target.calls(found);
                }
            }
            _ => {}
        }
    }
}
