//! A host that keeps its processes from the cloud's metadata service, and not its containers.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::answer::Verdict;
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::packet::protocol;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "metadata-reachable";

/// Where clouds hand out credentials.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let service = IpAddr::from(METADATA);
    // Every cloud's host can get there; only where somebody cares is it a mistake.
    let guard = scene.rules().find(|(_, _, rule)| {
        let stops = matches!(rule.target, Target::Drop | Target::Reject(_));
        stops
            && rule.conditions.iter().any(|condition| {
                matches!(condition, Condition::Destination(Sense::Is, prefix)
                    if prefix.length() >= 16 && prefix.contains(service))
            })
    });
    let Some((id, ..)) = guard else { return Vec::new() };
    let networks = scene.networks().filter(|network| !network.internal);
    let witness = networks.into_iter().find_map(|network| {
        let member = scene.members(network, Family::Ipv4).into_iter().next()?;
        let answer = scene.why(&member.packet(service, protocol::TCP, 80));
        (answer.verdict == Verdict::Forwarded).then_some((network, member, answer))
    });
    let Some((network, member, answer)) = witness else { return Vec::new() };
    let place = scene.filtering(Family::Ipv4);
    let finding = Finding::new(
        CODE,
        Severity::Warning,
        format!("{} stops nothing that `{}` sends to {METADATA}", scene.name(id), network.name),
    )
    .at(id, scene.owner(id))
    .effect(format!(
        "{} gets at the cloud's metadata service, credentials included: its packets are forwarded",
        member.name()
    ))
    .fixed_by(vec![place.insert(&format!("-d {METADATA}/32 -j REJECT"))], place.keeper())
    .witness(answer);
    vec![finding]
}
