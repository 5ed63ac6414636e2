//! Containers whose way out is a tunnel, and that go round it when it is down.

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::host::InterfaceKind;
use nattrace_model::simulate;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene};
use crate::audit::variant;

pub(super) const CODE: CodeOf = "killswitch-leak";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let Some(member) = scene.members(network, family).into_iter().next() else { continue };
            let flow = member.packet(Scene::outsider(family), 6, 443);
            let up = scene.why(&flow);
            let tunnel = up.egress.as_ref().and_then(|egress| egress.out_interface.as_deref());
            let tunnel = tunnel.and_then(|name| scene.host().interface(name));
            let Some(tunnel) = tunnel.filter(|own| own.kind == InterfaceKind::Tunnel) else {
                continue;
            };
            let down = variant::without_interface(scene.system, &tunnel.name);
            let answer = simulate::why(&down, &flow);
            if answer.verdict != Verdict::Forwarded || answer.outcome != Outcome::Connects {
                continue;
            }
            let place = scene.filtering(family);
            let out = answer
                .egress
                .as_ref()
                .and_then(|egress| egress.out_interface.clone())
                .unwrap_or_default();
            found.push(
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!(
                        "without {} the containers of `{}` leave by {out}",
                        tunnel.name, network.name
                    ),
                )
                .effect(format!(
                    "when the tunnel is down, {} shows itself to the internet",
                    member.name()
                ))
                .fixed_by(
                    vec![
                        place.insert(&format!(
                            "-i {} ! -o {} -m conntrack --ctstate NEW -j DROP",
                            network.bridge, tunnel.name
                        )),
                        place.insert(&format!(
                            "-i {0} -o {0} -j {1}",
                            network.bridge,
                            place.pass()
                        )),
                    ],
                    &format!("whatever the routes are; {}", place.keeper()),
                )
                .witness(up),
            );
        }
    }
    found
}
