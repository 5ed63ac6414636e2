//! MASQUERADE by an interface with several addresses: which one is worn is the kernel's choice.

use nattrace_model::answer::{Effect, Step};
use nattrace_model::hook::Hook;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene};

pub(super) const CODE: CodeOf = "egress-source-ambiguous";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let Some(member) = scene.members(network, family).into_iter().next() else { continue };
            let answer = scene.why(&member.packet(Scene::outsider(family), 6, 443));
            let rule = answer.steps.iter().find_map(|step| match step {
                Step::Rule {
                    hook: Hook::Postrouting, rule, effect: Effect::Masquerade, ..
                } => Some(*rule),
                _ => None,
            });
            let (Some(rule), Some(egress)) = (rule, &answer.egress) else { continue };
            let Some(out) =
                egress.out_interface.as_deref().and_then(|name| scene.host().interface(name))
            else {
                continue;
            };
            let addresses: Vec<String> =
                Scene::addresses(out, family).map(|address| address.to_string()).collect();
            if addresses.len() < 2 || egress.source_unknown {
                continue;
            }
            let source = egress.packet.source;
            found.push(
                Finding::new(
                    CODE,
                    Severity::Info,
                    format!("{} has {} addresses; `{}` leaves as {source}", out.name, addresses.len(), network.name),
                )
                .at(rule, scene.owner(rule))
                .effect(format!(
                    "the containers of `{}` wear the first address of {}, whatever they are published on ({})",
                    network.name,
                    out.name,
                    addresses.join(", "),
                ))
                .fixed_by(
                    vec![format!(
                        "{} -t nat -I POSTROUTING -s {} ! -o {} -j SNAT --to-source {source}",
                        scene.program_at(family, Hook::Postrouting),
                        network.subnets.iter().find(|s| s.family() == family).map(ToString::to_string).unwrap_or_default(),
                        network.bridge,
                    )],
                    &format!(
                        "or another of them; what outlasts a restart of Docker: docker network create -o \
                         com.docker.network.host_{}={source} …",
                        if family == Family::Ipv4 { "ipv4" } else { "ipv6" },
                    ),
                )
                .witness(answer),
            );
        }
    }
    found
}
