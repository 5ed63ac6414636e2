//! Guests behind a bridge that is not Docker's, cut off by the policy that Docker set.

use nattrace_model::answer::{RouteDecision, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::InterfaceKind;

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
            // What has the way out behind it is no guest.
            let out = answer.steps.iter().find_map(|step| match step {
                Step::Route { decision: RouteDecision::Forward, out_interface, .. } => {
                    out_interface.clone()
                }
                _ => None,
            });
            let out = out.filter(|out| *out != interface.name);
            let (Verdict::Dropped, true, Some(out)) = (answer.verdict, by_policy, out) else {
                continue;
            };
            let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
            let place = scene.filtering_beside(family, decided);
            let own = &interface.name;
            let answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
            let commands = vec![
                place.insert(&format!("-i {own} -o {out} -j ACCEPT")),
                place.insert(&format!("-i {out} -o {own} {answers} -j ACCEPT")),
            ];
            let mut finding = Finding::new(
                CODE,
                Severity::Error,
                format!(
                    "what is behind {} has no way out: the policy of FORWARD drops it",
                    interface.name
                ),
            )
            .effect(format!("{guest} and its neighbours reach nobody through this host"))
            .fixed_by(
                commands,
                &format!(
                    "not -P FORWARD ACCEPT, which opens every container too; {}",
                    place.keeper()
                ),
            )
            .witness(answer);
            finding.owner = Some(Owner::Docker);
            found.push(finding);
        }
    }
    found
}
