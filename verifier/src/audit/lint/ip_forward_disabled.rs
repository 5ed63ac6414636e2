//! Containers on a host that does not forward.

use nattrace_model::answer::{RouteDecision, Step};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene};
use nattrace_parser::syntax::Family;

pub(super) const CODE: CodeOf = "ip-forward-disabled";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let members = scene
            .networks()
            .filter(|network| !network.internal)
            .flat_map(|network| scene.members(network, family));
        let witness = members.filter(|member| member.container.is_some()).find_map(|member| {
            let answer = scene.why(&member.packet(Scene::outsider(family), 6, 443));
            let off = |steps: &[Step]| {
                steps.iter().any(|step| {
                    matches!(step, Step::Route { decision: RouteDecision::ForwardingOff, .. })
                })
            };
            if off(&answer.steps) {
                let by = answer.flow.in_interface.clone();
                return Some((member, by, answer));
            }
            // What comes back is forwarded as its own interface says.
            let back = answer.reply.as_ref().is_some_and(|reply| off(&reply.steps));
            let by = answer.egress.as_ref().and_then(|egress| egress.out_interface.clone());
            back.then_some((member, by, answer))
        });
        let Some((member, by, answer)) = witness else { continue };
        let (all, version) = match family {
            Family::Ipv4 => ("net.ipv4.ip_forward", "ipv4"),
            Family::Ipv6 => ("net.ipv6.conf.all.forwarding", "ipv6"),
        };
        // Where it is on, writing it again does not reach the interface that is off.
        let on = scene.host().sysctls.get(all) == Some(1);
        let key = match &by {
            Some(interface) if on => {
                format!("net.{version}.conf.{}.forwarding", interface.replace('.', "/"))
            }
            _ => all.to_owned(),
        };
        found.push(
            Finding::new(CODE, Severity::Error, format!("forwarding is off ({key} = 0)"))
                .effect(format!(
                    "{} reaches nobody beyond its own bridge, and nobody reaches it",
                    member.name()
                ))
                .fixed_by(
                    vec![format!("sysctl -w {key}=1")],
                    "the same line in /etc/sysctl.d/ keeps it",
                )
                .witness(answer),
        );
    }
    found
}
