//! Containers whose packets may be larger than the way out takes, with nobody to say so.

use nattrace_model::answer::{Answer, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene};

pub(super) const CODE: CodeOf = "mtu-mismatch-no-mss-clamp";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        // The headers of IP and TCP, without options.
        let headers = if family == Family::Ipv4 { 40 } else { 60 };
        for network in scene.networks() {
            let mtu = |name: &str| scene.host().interface(name)?.mtu;
            let Some(member) = scene.members(network, family).into_iter().next() else { continue };
            let answer = scene.why(&member.packet(Scene::outsider(family), 6, 443));
            let egress = answer.egress.as_ref().filter(|_| answer.verdict == Verdict::Forwarded);
            let Some(out) = egress.and_then(|egress| egress.out_interface.clone()) else {
                continue;
            };
            let (Some(own), Some(narrow)) = (mtu(&network.bridge), mtu(&out)) else { continue };
            if narrow >= own || is_clamped(scene, &answer) {
                continue;
            }
            let program = scene.program_at(family, Hook::Forward);
            let clamp = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu";
            found.push(
                Finding::new(
                    CODE,
                    Severity::Warning,
                    format!(
                        "`{}` sends packets of {own} bytes, and leaves by {out}, which takes {narrow}",
                        network.name
                    ),
                )
                .effect(format!(
                    "{} offers segments of {} bytes where {} pass: connections open, and hang at the first \
                     large answer wherever ICMP is lost on the way",
                    member.name(),
                    own.saturating_sub(headers),
                    narrow.saturating_sub(headers),
                ))
                .fixed_by(
                    ["-o", "-i"]
                        .map(|side| format!("{program} -t mangle -A FORWARD {side} {out} {clamp}"))
                        .to_vec(),
                    &format!(
                        "or make the network with -o com.docker.network.driver.mtu={narrow}; Docker leaves mangle alone",
                    ),
                )
                .witness(answer),
            );
        }
    }
    found
}

/// Whether a rule on the way makes the segments smaller that are offered.
fn is_clamped(scene: &Scene<'_>, answer: &Answer) -> bool {
    answer.steps.iter().any(|step| {
        let Step::Rule { rule, .. } = step else { return false };
        scene.system.rules.rule(*rule).is_some_and(|own| own.target == Target::Continue("tcpmss"))
    })
}
