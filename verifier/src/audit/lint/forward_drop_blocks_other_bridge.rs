//! Guests behind a bridge that is not Docker's, cut off by the policy that Docker set.

use nattrace_model::address::Prefix;
use nattrace_model::answer::{Answer, RouteDecision, Step, Verdict};
use nattrace_model::condition::{Condition, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::{Interface, InterfaceKind, Scope};
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;

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
        (guests || is_translated(scene, own))
            && own.up
            && !scene.networks().any(|network| network.bridge == own.name)
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
            let Some((decided, what)) = stopped(&answer) else { continue };
            let (rule, by) = match decided {
                Step::Policy { .. } => (None, "the policy of FORWARD".to_owned()),
                Step::Rule { rule, .. } if takes_all(scene, *rule) => {
                    (Some(*rule), scene.name(*rule))
                }
                _ => continue,
            };
            // What has the way out behind it is no guest.
            let out = answer.steps.iter().find_map(|step| match step {
                Step::Route { decision: RouteDecision::Forward, out_interface, .. } => {
                    out_interface.clone()
                }
                _ => None,
            });
            let out = out.filter(|out| *out != interface.name);
            let Some(out) = out else { continue };
            let place = scene.filtering_beside(family, Some(decided));
            let own = &interface.name;
            let answers = "-m conntrack --ctstate RELATED,ESTABLISHED";
            let commands = vec![
                place.insert(&format!("-i {own} -o {out} -j ACCEPT")),
                place.insert(&format!("-i {out} -o {own} {answers} -j ACCEPT")),
            ];
            let mut finding = Finding::new(
                CODE,
                Severity::Error,
                format!("what is behind {} has no way out: {by} drops {what}", interface.name),
            )
            .effect(format!("{guest} and its neighbours reach nobody through this host"))
            .fixed_by(
                commands,
                &format!(
                    "not -P FORWARD ACCEPT, which opens every container too; {}",
                    place.keeper()
                ),
            )
            .witness(answer.clone());
            match rule {
                Some(rule) => finding = finding.at(rule, scene.owner(rule)),
                None => finding.owner = Some(Owner::Docker),
            }
            found.push(finding);
        }
    }
    found
}

/// What stopped a packet in FORWARD, or the answer to it.
fn stopped(answer: &Answer) -> Option<(&Step, &'static str)> {
    let lost = |verdict| matches!(verdict, Verdict::Dropped | Verdict::Rejected);
    let (decided, what) = match &answer.reply {
        _ if lost(answer.verdict) => (answer.steps.get(answer.decided_by?)?, "it"),
        Some(reply) if answer.verdict == Verdict::Forwarded && lost(reply.verdict) => {
            (reply.steps.get(reply.decided_by?)?, "the answers")
        }
        _ => return None,
    };
    let here = matches!(
        decided,
        Step::Rule { hook: Hook::Forward, .. } | Step::Policy { hook: Hook::Forward, .. }
    );
    here.then_some((decided, what))
}

/// Whether a rule asks for nothing: it is a policy by another name.
fn takes_all(scene: &Scene<'_>, rule: RuleId) -> bool {
    scene.system.rules.rule(rule).is_some_and(|own| own.conditions.is_empty())
}

/// Whether rules translate what the network behind an interface sends: then the host is its router.
fn is_translated(scene: &Scene<'_>, interface: &Interface) -> bool {
    let ours = |prefix: &Prefix| {
        interface.port.is_none()
            && interface.addresses.iter().any(|own| {
                own.scope == Scope::Global
                    && !own.subnet.is_single()
                    && own.subnet.network() == prefix.network()
            })
    };
    scene.rules().any(|(id, _, rule)| {
        matches!(rule.target, Target::Masquerade(..) | Target::Snat(..))
            && scene.is_reached_from(id.chain, Hook::Postrouting)
            && rule
                .conditions
                .iter()
                .any(|asked| matches!(asked, Condition::Source(Sense::Is, prefix) if ours(prefix)))
    })
}
