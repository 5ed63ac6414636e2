//! Containers that have a way out, but leave with an address that nobody can answer.

use nattrace_model::address::is_internet;
use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::hook::Hook;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet};

pub(super) const CODE: CodeOf = "masquerade-missing";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks().filter(|network| !network.internal) {
            let Some(member) = scene.members(network, family).into_iter().next() else { continue };
            let answer = scene.why(&packet(member.address, Scene::outsider(family), 6, 443));
            let Some(egress) = &answer.egress else { continue };
            let leaves =
                answer.verdict == Verdict::Forwarded && egress.packet.source == member.address;
            if !leaves || is_internet(member.address) || answer.outcome != Outcome::Timeout {
                continue;
            }
            let subnet = network.subnets.iter().find(|subnet| subnet.family() == family);
            let out = egress.out_interface.clone().unwrap_or_default();
            found.push(
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!("`{}` leaves {out} with its private addresses", network.name),
                )
                .effect(format!(
                    "{} has no internet: nobody out there can answer {}",
                    member.name(),
                    member.address
                ))
                .fixed_by(
                    vec![format!(
                        "{} -t nat -A POSTROUTING -s {} ! -o {} -j MASQUERADE",
                        scene.program_at(family, Hook::Postrouting),
                        subnet.map(ToString::to_string).unwrap_or_default(),
                        network.bridge,
                    )],
                    "Docker adds it itself unless it runs with --iptables=false or the rules were flushed: then restart it",
                )
                .witness(answer),
            );
        }
    }
    found
}
