//! Containers that have a way out, but leave with an address that nobody can answer.

use nattrace_model::address::is_internet;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::hook::Hook;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Member, Scene, packet};

pub(super) const CODE: CodeOf = "masquerade-missing";

/// How many containers of a network are asked about.
const MOST_ASKED: usize = 32;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks().filter(|network| !network.internal) {
            let members = scene.members(network, family);
            let asked = members.len().min(MOST_ASKED);
            let lost = members.into_iter().take(asked).filter_map(|member| {
                let answer = lost(scene, &member)?;
                Some((member, answer))
            });
            let lost: Vec<(Member<'_>, Answer)> = lost.collect();
            // What some of them need was given to the others on purpose.
            let sources: Vec<String> = match lost.len() == asked {
                true => network
                    .subnets
                    .iter()
                    .filter(|own| own.family() == family)
                    .map(ToString::to_string)
                    .collect(),
                false => lost.iter().map(|(member, _)| member.address.to_string()).collect(),
            };
            let Some((member, answer)) = lost.into_iter().next() else { continue };
            let out = answer.egress.as_ref().and_then(|egress| egress.out_interface.clone());
            let commands = sources.iter().map(|source| {
                format!(
                    "{} -t nat -A POSTROUTING -s {source} ! -o {} -j MASQUERADE",
                    scene.program_at(family, Hook::Postrouting),
                    network.bridge,
                )
            });
            let commands = commands.collect();
            found.push(
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!(
                        "`{}` leaves {} with its private addresses",
                        network.name,
                        out.unwrap_or_default()
                    ),
                )
                .effect(format!(
                    "{} has no internet: nobody out there can answer {}",
                    member.name(),
                    member.address
                ))
                .fixed_by(
                    commands,
                    "Docker adds it itself unless it runs with --iptables=false or the rules were flushed: then restart it",
                )
                .witness(answer),
            );
        }
    }
    found
}

/// The answer to a container that leaves with its own address, to which none comes back.
fn lost(scene: &Scene<'_>, member: &Member<'_>) -> Option<Answer> {
    let family = Family::of(member.address);
    let answer = scene.why(&packet(member.address, Scene::outsider(family), 6, 443));
    let own = answer.egress.as_ref().is_some_and(|egress| egress.packet.source == member.address);
    let is_lost = own
        && answer.verdict == Verdict::Forwarded
        && answer.outcome == Outcome::Timeout
        && !is_internet(member.address);
    is_lost.then_some(answer)
}
