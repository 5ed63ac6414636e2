//! Settings of the kernel that no rule makes up for.

use nattrace_model::answer::RouteDecision;
use nattrace_parser::syntax::Family;

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
    let family = evidence.family();
    let v4 = family == Family::Ipv4;
    let of = |interface: &str, name: &str| Setting::of_interface(family, interface, name);
    let settings: Vec<(String, i64, &str, u32)> = match decision {
        RouteDecision::ForwardingOff => {
            let all = if v4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
            let mut found = Vec::new();
            // Written once more, it does not reach the interfaces.
            if evidence.system.host.sysctls.get(all) != Some(1) {
                found.push((all.to_owned(), 1, "the kernel forwards nothing without it", 10));
            }
            // That of an interface of IPv6 only says whether it is that of a router.
            if let Some(interface) = interface.filter(|_| v4) {
                let because = "the kernel forwards nothing from there without it";
                found.push((of(&interface, "forwarding"), 1, because, 12));
            }
            found
        }
        RouteDecision::ReversePath => {
            let because = "the way back to the source is another one (rp_filter)";
            let mut found = vec![(of("all", "rp_filter"), 2, because, 14)];
            if let Some(interface) = interface {
                found.push((of(&interface, "rp_filter"), 2, because, 12));
            }
            found
        }
        RouteDecision::Martian | RouteDecision::Unusable if v4 => {
            let because = "127.0.0.0/8 is not routed without it (route_localnet)";
            let name = interface.unwrap_or_else(|| "all".to_owned());
            vec![(of(&name, "route_localnet"), 1, because, 40)]
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
