//! What kinds of packets a run has compared: how many of each.

use std::net::IpAddr;

use nattrace_model::answer::{Answer, Effect, ReplyKind, RouteDecision, Step, Verdict};
use nattrace_model::flow::FlowState;
use nattrace_model::packet::{protocol, tcp_flag};

use super::trial::{Observation, Start, Trial};

/// The kinds that a compared packet is of.
pub(crate) fn kinds(trial: &Trial, answer: &Answer, observed: &Observation) -> Vec<&'static str> {
    let flow = &trial.flow;
    let reply = answer.reply.as_ref();
    let related = reply.is_some_and(|reply| reply.kind != ReplyKind::Answer);
    let untracked = |step: &Step| matches!(step, Step::Rule { effect: Effect::Notrack, .. });
    let out = answer.egress.as_ref().and_then(|egress| egress.out_interface.as_deref());
    let of = [
        (trial.start == Start::Local, "from a local process"),
        (flow.state == FlowState::Established, "established"),
        (flow.state == FlowState::Invalid, "invalid (wrong checksum)"),
        (is_in_the_middle(trial), "TCP of no known connection"),
        (answer.steps.iter().any(untracked), "untracked by a rule"),
        (related, "related (an error or reset of the host)"),
        (observed.back.is_some(), "answered from outside"),
        (trial.cut.is_some() && !trial.is_incomplete(), "in fragments"),
        (trial.is_incomplete(), "in fragments, one missing"),
        (flow.ttl == Some(1), "TTL 1"),
        (is_group(flow.destination), "broadcast and multicast"),
        (answer.verdict == Verdict::Martian, "martian"),
        (answer.steps.iter().any(is_reverse_path), "rp_filter"),
        (out.is_some() && out == flow.in_interface.as_deref(), "out by where it came in (hairpin)"),
        (answer.verdict == Verdict::Bridged, "bridged"),
        (flow.protocol == protocol::SCTP, "SCTP"),
        (flow.protocol == protocol::UDPLITE, "UDP-Lite"),
        (matches!(flow.protocol, 47 | 200), "GRE and unknown protocols"),
    ];
    of.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect()
}

/// Whether it is a segment that begins nothing, of a connection that tracking has not seen.
fn is_in_the_middle(trial: &Trial) -> bool {
    let flags = trial.flow.tcp_flags.unwrap_or(tcp_flag::SYN);
    let begins = flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN);
    trial.flow.protocol == protocol::TCP
        && trial.flow.state == FlowState::New
        && begins != tcp_flag::SYN
}

fn is_reverse_path(step: &Step) -> bool {
    matches!(step, Step::Route { decision: RouteDecision::ReversePath, .. })
}

fn is_group(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.is_multicast() || to.octets().last() == Some(&255),
        IpAddr::V6(to) => to.is_multicast(),
    }
}
