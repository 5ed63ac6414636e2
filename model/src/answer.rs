//! The answer: what happened to the packet, step by step, and what its sender experiences.
//!
//! Steps name rules, chains and routes by identity; a renderer turns them into text with the
//! [`crate::System`] they came from.

use std::net::IpAddr;

use nattrace_parser::syntax::Policy;

use crate::flow::Flow;
use crate::hook::Hook;
use crate::host::Assumption;
use crate::host::route::TableId;
use crate::packet::Packet;
use crate::ruleset::{ChainId, RuleId};

/// What becomes of a packet in this host. Exact conditions: docs/verdicts.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It leaves by an interface.
    Forwarded,
    /// A local process gets it.
    Delivered,
    /// docker-proxy gets it and opens a connection of its own.
    Proxied,
    /// A bridge hands it from port to port.
    Bridged,
    /// It vanishes silently.
    Dropped,
    /// It is refused with an answer.
    Rejected,
    /// No route, or one that says no.
    Unroutable,
    /// Source or destination can't be.
    Martian,
    /// Its time to live ran out.
    TtlExpired,
    /// A program decides (NFQUEUE).
    Queued,
    /// Something that is not known decides.
    Undetermined,
}

/// What the sender experiences, the way back included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An answer arrives.
    Connects,
    /// A TCP reset or an ICMP port-unreachable arrives.
    Refused,
    /// Another ICMP error arrives, or the socket call fails at once.
    Unreachable,
    /// Nothing arrives.
    Timeout,
    /// Something that is not known decides.
    Undetermined,
}

/// A header field that was rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rewrite {
    /// The source address.
    Source(IpAddr, IpAddr),
    /// The destination address.
    Destination(IpAddr, IpAddr),
    /// The source port.
    SourcePort(u16, u16),
    /// The destination port.
    DestinationPort(u16, u16),
    /// The packet mark.
    Mark(u32, u32),
    /// The connection mark.
    ConnectionMark(u32, u32),
    /// TTL or hop limit.
    Ttl(u8, u8),
    /// Type of service.
    Tos(u8, u8),
}

/// What a matching rule did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that decides; on to the next rule.
    Continue,
    /// Into a chain.
    Jump,
    /// Into a chain, for good.
    Goto,
    /// Back to the caller, or to the policy.
    Return,
    /// Accepted by this table.
    Accept,
    /// Dropped.
    Drop,
    /// Refused with an answer.
    Reject,
    /// The destination is rewritten.
    Dnat,
    /// The source is rewritten.
    Snat,
    /// The source becomes the outgoing interface's.
    Masquerade,
    /// The destination becomes this host.
    Redirect,
    /// The network part is exchanged.
    Netmap,
    /// The packet mark is set.
    Mark,
    /// Connection mark or packet mark is set.
    Connmark,
    /// The packet gets no connection.
    Notrack,
    /// A program decides.
    Queue,
    /// Logged.
    Log,
    /// Any other target, by its name in lower case.
    Other(Box<str>),
}

/// What routing, or the checks around it, made of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteDecision {
    /// To a local process.
    Local,
    /// Out by an interface.
    Forward,
    /// From a local process, out by an interface.
    Output,
    /// A bridge hands it on without routing.
    Bridge,
    /// A source or destination that can't be (martian).
    Martian,
    /// The way back to the source is not where it came from (rp_filter).
    ReversePath,
    /// Forwarding is off for the interface by which it came.
    ForwardingOff,
    /// No route.
    NoRoute,
    /// A blackhole route or rule.
    Blackhole,
    /// An unreachable route or rule.
    Unreachable,
    /// A prohibit route or rule.
    Prohibit,
    /// Its time to live ran out.
    TtlExpired,
    /// A bridge port that may not send back what it received (hairpin off), or isolated ports.
    BridgePort,
    /// Rewritten to an address that can't be used: no source address to masquerade with, a local
    /// packet rewritten from loopback without route_localnet, …
    Unusable,
    /// Nobody has that address: the neighbour does not answer.
    NoNeighbour,
    /// Not known: the part of the snapshot is missing, or something is not modelled.
    Unknown,
}

/// One thing that happened, in the order in which the kernel does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A rule matched.
    Rule {
        /// The hook.
        hook: Hook,
        /// The rule.
        rule: RuleId,
        /// What it did.
        effect: Effect,
        /// What it rewrote.
        rewrites: Vec<Rewrite>,
    },
    /// The end of a user chain: back to the caller.
    Return {
        /// The hook.
        hook: Hook,
        /// The chain that ended.
        chain: ChainId,
    },
    /// The end of a built-in chain, or a RETURN in it.
    Policy {
        /// The hook.
        hook: Hook,
        /// The chain.
        chain: ChainId,
        /// Its policy.
        policy: Policy,
    },
    /// Connection tracking translated a packet of a known connection.
    Conntrack {
        /// The hook.
        hook: Hook,
        /// What it rewrote.
        rewrites: Vec<Rewrite>,
    },
    /// Routing decided.
    Route {
        /// What it decided.
        decision: RouteDecision,
        /// The table and the index of the route in it, where one was found.
        route: Option<(TableId, u32)>,
        /// The interface by which the packet goes on.
        out_interface: Option<String>,
        /// The next hop, where it is not the destination itself.
        gateway: Option<IpAddr>,
        /// Why, in a few words, where the decision alone does not say it (the sysctl, the policy
        /// rule, the missing part).
        because: Option<String>,
    },
    /// A local socket got the packet, or none did.
    Socket {
        /// Whether one listens.
        listening: bool,
        /// The processes that hold it.
        processes: Vec<String>,
    },
}

/// The packet as it leaves the host, or as its receiver gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The packet.
    pub packet: Packet,
    /// The interface it leaves by; `None` for local delivery.
    pub out_interface: Option<String>,
    /// Whether the source address is not known: a NAT rule picks it from addresses that the
    /// snapshot lacks.
    pub source_unknown: bool,
    /// Whether the source port is some other port than the packet's: `--random`, or a collision.
    pub source_port_random: bool,
}

/// What travels back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyKind {
    /// The receiver's answer: a SYN/ACK, a datagram, an echo reply.
    Answer,
    /// A TCP reset.
    Reset,
    /// An ICMP or ICMPv6 error of this type and code.
    Error {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
}

/// The way back, as far as it leads through this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What travels.
    pub kind: ReplyKind,
    /// What became of it.
    pub verdict: Verdict,
    /// The packet as it leaves the host again.
    pub egress: Option<Egress>,
    /// What happened on the way.
    pub steps: Vec<Step>,
    /// The step that decided.
    pub decided_by: Option<usize>,
}

/// One way that things may go where chance or something unknown decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What is taken to be so: one entry a decision, such as `filter/INPUT/3 matches`.
    pub when: Vec<(String, bool)>,
    /// The whole answer then.
    pub answer: Answer,
}

/// The whole answer for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question, with what was filled in.
    pub flow: Flow,
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// What the sender experiences.
    pub outcome: Outcome,
    /// The packet as it leaves, where it does.
    pub egress: Option<Egress>,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The step that decided.
    pub decided_by: Option<usize>,
    /// Why the outcome is not what the verdict lets expect: one line for a person, such as
    /// "the answer is sent to 172.17.0.2 directly and is not translated back".
    pub because: Option<String>,
    /// What the packet would have met had the deciding step let it pass.
    pub next: Vec<Step>,
    /// The way back.
    pub reply: Option<Reply>,
    /// The connection that docker-proxy opens.
    pub proxy: Option<Box<Answer>>,
    /// The ways things may go, where they fork.
    pub branches: Vec<Branch>,
    /// What the answer rests on.
    pub assumptions: Vec<Assumption>,
}
