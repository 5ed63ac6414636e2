//! Answers that leave by another way than the requests came.

use nattrace_model::answer::{Outcome, RouteDecision, Step};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, protocol_name};

pub(super) const CODE: CodeOf = "asymmetric-reply-route";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for family in FAMILIES {
        let mut told: Vec<String> = Vec::new();
        for port in scene.published() {
            for flow in scene.to_published(&port, family) {
                let Some(by) = flow.in_interface.clone().filter(|by| !told.contains(by)) else {
                    continue;
                };
                let answer = scene.why(&flow);
                let filtered = answer.steps.iter().any(|step| {
                    matches!(step, Step::Route { decision: RouteDecision::ReversePath, .. })
                });
                let back = answer
                    .reply
                    .as_ref()
                    .and_then(|reply| reply.egress.as_ref())
                    .and_then(|egress| egress.out_interface.clone());
                let elsewhere = back.filter(|back| *back != by);
                let what = match (&elsewhere, filtered) {
                    (_, true) => format!("packets that come by {by} are dropped by rp_filter"),
                    (Some(back), _) if answer.outcome != Outcome::Refused => {
                        format!("answers to packets that come by {by} leave by {back}")
                    }
                    _ => continue,
                };
                told.push(by.clone());
                found.push(
                    Finding::new(CODE, Severity::Warning, what)
                        .effect(format!(
                            "port {}/{} works by one uplink only: the client or its provider drops what comes from elsewhere",
                            port.host_port, protocol_name(port.protocol)
                        ))
                        .help(format!(
                            "mark connections where they come in and route by the mark: iptables -t mangle -A PREROUTING -i {by} -m \
                             conntrack --ctstate NEW -j CONNMARK --set-mark 2; -A PREROUTING -i BRIDGE -j CONNMARK --restore-mark; ip \
                             rule add fwmark 2 table …; and rp_filter=2"
                        ))
                        .witness(answer),
                );
            }
        }
    }
    found
}
