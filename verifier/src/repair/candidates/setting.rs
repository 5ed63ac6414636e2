//! Settings of the kernel that no rule makes up for.

use nattrace_model::answer::RouteDecision;

use super::super::change::{Candidate, Change, Setting};
use super::super::evidence::{Decider, Evidence, decider};

/// The setting that stopped the packet, or its answer.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    if let Some((_, Decider::Route(decision, _))) = evidence.decider() {
        found.extend(of_decision(evidence, decision, evidence.answer.flow.in_interface.clone()));
    }
    if let Some(reply) = &evidence.answer.reply
        && let Some(index) = reply.decided_by
        && let Some((_, Decider::Route(decision, _))) = decider(&reply.steps, index)
    {
        let egress = evidence.answer.egress.as_ref();
        let by = egress.and_then(|egress| egress.out_interface.clone());
        found.extend(of_decision(evidence, decision, by));
    }
    found
}

fn of_decision(
    evidence: &Evidence<'_>,
    decision: RouteDecision,
    interface: Option<String>,
) -> Vec<Candidate> {
    let v4 = evidence.answer.flow.destination.is_ipv4();
    let settings: Vec<(String, i64, &str, u32)> = match decision {
        RouteDecision::ForwardingOff => {
            let all = if v4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
            let mut found = vec![(all.to_owned(), 1, "the kernel forwards nothing without it", 10)];
            if let Some(interface) = interface {
                let kind = if v4 { "ipv4" } else { "ipv6" };
                let one = format!("net.{kind}.conf.{interface}.forwarding");
                found.push((one, 1, "the kernel forwards nothing from there without it", 12));
            }
            found
        }
        RouteDecision::ReversePath => {
            let because = "the way back to the source is another one (rp_filter)";
            let all = "net.ipv4.conf.all.rp_filter".to_owned();
            let mut found = vec![(all, 2, because, 14)];
            if let Some(interface) = interface {
                let one = format!("net.ipv4.conf.{interface}.rp_filter");
                found.push((one, 2, because, 12));
            }
            found
        }
        RouteDecision::Martian | RouteDecision::Unusable if v4 => {
            let because = "127.0.0.0/8 is not routed without it (route_localnet)";
            let name = interface.unwrap_or_else(|| "all".to_owned());
            vec![(format!("net.ipv4.conf.{name}.route_localnet"), 1, because, 40)]
        }
        _ => Vec::new(),
    };
    settings
        .into_iter()
        .map(|(name, value, because, dislike)| Candidate {
            change: Change::Setting(Setting { name, value, because: because.to_owned() }),
            dislike,
        })
        .collect()
}
