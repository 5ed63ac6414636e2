//! The words of the contract for what the model has as types (CLI.md, "Output").

use std::fmt;
use std::net::IpAddr;

use nattrace_model::answer::{Effect, Outcome, Rewrite, RouteDecision, Verdict};
use nattrace_model::flow::FlowState;
use nattrace_model::host::route::{self, Routing, TableId};
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::syntax::{Family, Policy};

/// The name of a verdict.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Forwarded => "forwarded",
        Verdict::Delivered => "delivered",
        Verdict::Proxied => "proxied",
        Verdict::Bridged => "bridged",
        Verdict::Dropped => "dropped",
        Verdict::Rejected => "rejected",
        Verdict::Unroutable => "unroutable",
        Verdict::Martian => "martian",
        Verdict::TtlExpired => "ttl-expired",
        Verdict::Queued => "queued",
        Verdict::Undetermined => "undetermined",
    }
}

/// The name of an outcome.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connects => "connects",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::Timeout => "timeout",
        Outcome::Undetermined => "undetermined",
    }
}

/// The name of an effect.
pub(crate) fn effect(effect: &Effect) -> &str {
    match effect {
        Effect::Continue => "continue",
        Effect::Jump => "jump",
        Effect::Goto => "goto",
        Effect::Return => "return",
        Effect::Accept => "accept",
        Effect::Drop => "drop",
        Effect::Reject => "reject",
        Effect::Dnat => "dnat",
        Effect::Snat => "snat",
        Effect::Masquerade => "masquerade",
        Effect::Redirect => "redirect",
        Effect::Netmap => "netmap",
        Effect::Mark => "mark",
        Effect::Connmark => "connmark",
        Effect::Notrack => "notrack",
        Effect::Queue => "queue",
        Effect::Log => "log",
        Effect::Other(name) => name,
    }
}

/// The name of what routing decided.
pub(crate) fn route_decision(decision: RouteDecision) -> &'static str {
    match decision {
        RouteDecision::Local => "local",
        RouteDecision::Forward => "forward",
        RouteDecision::Output => "output",
        RouteDecision::Bridge => "bridge",
        RouteDecision::Martian => "martian",
        RouteDecision::ReversePath => "rp-filter",
        RouteDecision::ForwardingOff => "forwarding-off",
        RouteDecision::NoRoute => "no-route",
        RouteDecision::Blackhole => "blackhole",
        RouteDecision::Unreachable => "unreachable",
        RouteDecision::Prohibit => "prohibit",
        RouteDecision::TtlExpired => "ttl-expired",
        RouteDecision::BridgePort => "bridge-port",
        RouteDecision::Unusable => "unusable",
        RouteDecision::NoNeighbour => "no-neighbour",
        RouteDecision::Unknown => "unknown",
    }
}

/// The name of a connection's state.
pub(crate) fn state(state: FlowState) -> &'static str {
    match state {
        FlowState::New => "new",
        FlowState::Established => "established",
        FlowState::Related => "related",
        FlowState::Invalid => "invalid",
        FlowState::Untracked => "untracked",
    }
}

/// The name of a policy, as iptables writes it.
pub(crate) fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Accept => "ACCEPT",
        Policy::Drop => "DROP",
    }
}

/// A protocol by its name where the contract has one, else by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// The number.
    pub(crate) number: u8,
    /// The family: each has an ICMP of its own, and both are called `icmp`.
    pub(crate) family: Family,
}

impl Protocol {
    /// The protocol of packets between such addresses.
    pub(crate) fn new(number: u8, address: IpAddr) -> Self {
        Self { number, family: Family::of(address) }
    }

    /// The name, where there is one.
    pub(crate) fn name(self) -> Option<&'static str> {
        match (self.number, self.family) {
            (protocol::TCP, _) => Some("tcp"),
            (protocol::UDP, _) => Some("udp"),
            (protocol::SCTP, _) => Some("sctp"),
            (protocol::ICMP, Family::Ipv4) | (protocol::ICMPV6, Family::Ipv6) => Some("icmp"),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.number.fmt(f),
        }
    }
}

/// A routing table by its name or number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableName<'a>(pub(crate) &'a Routing, pub(crate) TableId);

impl fmt::Display for TableName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, self.0.names.get(&self.1)) {
            (route::LOCAL, _) => f.write_str("local"),
            (route::MAIN, _) => f.write_str("main"),
            (route::DEFAULT, _) => f.write_str("default"),
            (_, Some(name)) => f.write_str(name),
            (number, None) => number.fmt(f),
        }
    }
}

/// The bits of the TCP header by their names, in the order of iptables.
const TCP_FLAGS: [(u8, &str); 8] = [
    (tcp_flag::FIN, "FIN"),
    (tcp_flag::SYN, "SYN"),
    (tcp_flag::RST, "RST"),
    (tcp_flag::PSH, "PSH"),
    (tcp_flag::ACK, "ACK"),
    (tcp_flag::URG, "URG"),
    (tcp_flag::ECE, "ECE"),
    (tcp_flag::CWR, "CWR"),
];

/// TCP flags as iptables writes them: `SYN,ACK`, or `NONE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpFlags(pub(crate) u8);

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = TCP_FLAGS.iter().filter(|(bit, _)| self.0 & bit != 0);
        let Some((_, first)) = set.next() else { return f.write_str("NONE") };
        f.write_str(first)?;
        set.try_for_each(|(_, name)| write!(f, ",{name}"))
    }
}

/// An address after a rewrite, unless it is the placeholder for one that no part of the snapshot
/// names (a packet with a real source of `0.0.0.0` or `::` is never translated).
pub(crate) fn known_address(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified()).then_some(address)
}

/// The name of the field that was rewritten.
pub(crate) fn rewritten_field(rewrite: Rewrite) -> &'static str {
    match rewrite {
        Rewrite::Source(..) => "src",
        Rewrite::Destination(..) => "dst",
        Rewrite::SourcePort(..) => "sport",
        Rewrite::DestinationPort(..) => "dport",
        Rewrite::Mark(..) => "mark",
        Rewrite::ConnectionMark(..) => "connmark",
        Rewrite::Ttl(..) => "ttl",
        Rewrite::Tos(..) => "tos",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_echoes_are_called_icmp_and_the_rest_by_number() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fd00::1".parse().unwrap();
        let name = |number, address| Protocol::new(number, address).to_string();
        assert_eq!(name(protocol::ICMP, v4), "icmp");
        assert_eq!(name(protocol::ICMPV6, v6), "icmp");
        assert_eq!(name(protocol::ICMP, v6), "1");
        assert_eq!(name(47, v4), "47");
    }

    #[test]
    fn flags_are_written_as_iptables_does() {
        assert_eq!(TcpFlags(0x12).to_string(), "SYN,ACK");
        assert_eq!(TcpFlags(0).to_string(), "NONE");
    }
}
