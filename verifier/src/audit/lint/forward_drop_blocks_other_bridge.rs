//! Guests behind a bridge that is not Docker's, cut off by the policy that Docker set.

use nattrace_model::answer::{Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::InterfaceKind;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet_by};
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "forward-drop-blocks-other-bridge";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let docker = scene.networks().next().is_some();
    let others = scene.host().interfaces.iter().filter(|own| {
        let guests = matches!(own.kind, InterfaceKind::Bridge | InterfaceKind::Tunnel);
        guests && own.up && !scene.networks().any(|network| network.bridge == own.name)
    });
    for interface in others.filter(|_| docker) {
        for family in FAMILIES {
            let Some(guest) = scene.neighbour(interface, family) else { continue };
            let uplinks = scene.uplinks(family);
            if uplinks.is_empty() || uplinks.iter().any(|uplink| uplink.name == interface.name) {
                continue;
            }
            let flow = packet_by(&interface.name, guest, Scene::outsider(family), 6, 443);
            let answer = scene.why(&flow);
            let by_policy = answer
                .decided_by
                .and_then(|at| answer.steps.get(at))
                .is_some_and(|step| matches!(step, Step::Policy { hook: Hook::Forward, .. }));
            if answer.verdict != Verdict::Dropped || !by_policy {
                continue;
            }
            let program = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            let mut finding = Finding::new(
                CODE,
                Severity::Error,
                format!("what is behind {} has no way out: the policy of FORWARD drops it", interface.name),
            )
            .effect(format!("{guest} and its neighbours reach nobody through this host"))
            .help(format!(
                "{program} -I DOCKER-USER -i {0} -j ACCEPT; {program} -I DOCKER-USER -o {0} -m conntrack --ctstate \
                 RELATED,ESTABLISHED -j ACCEPT (Docker set the policy, and keeps DOCKER-USER)",
                interface.name
            ))
            .witness(answer);
            finding.owner = Some(Owner::Docker);
            found.push(finding);
        }
    }
    found
}
