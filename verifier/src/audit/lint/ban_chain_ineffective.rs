//! A ban that stands in INPUT while the service is a container's, behind FORWARD.

use nattrace_model::answer::{Outcome, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::ChainId;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, protocol_name};
use nattrace_model::owner::Owner;

pub(super) const CODE: CodeOf = "ban-chain-ineffective";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, chain) in (0u32..).zip(&scene.system.rules.chains) {
        let id = ChainId(index);
        let bans = Owner::of_chain(&chain.name) == Some(Owner::Fail2ban)
            || chain.name.to_ascii_lowercase().starts_with("crowdsec");
        let reached = scene.graph.reaching_hooks(id);
        if !bans || !reached.contains(Hook::Input) || reached.contains(Hook::Forward) {
            continue;
        }
        let callers: Vec<ChainId> =
            scene.graph.callers(id).into_iter().map(|(_, caller)| caller).collect();
        let passes = |answer: &nattrace_model::answer::Answer| {
            let met = answer.steps.iter().any(|step| matches!(step, Step::Rule { rule, .. } if rule.chain == id || callers.contains(&rule.chain)));
            answer.outcome == Outcome::Connects && answer.verdict == Verdict::Forwarded && !met
        };
        let asked = scene
            .published()
            .into_iter()
            .filter(|port| names_port(scene, id, &callers, port.host_port));
        let witness = asked.into_iter().find_map(|port| {
            let flows = scene.to_published(&port, Family::Ipv4);
            flows
                .into_iter()
                .map(|flow| scene.why(&flow))
                .find(passes)
                .map(|answer| (port.host_port, answer))
        });
        let Some((port, answer)) = witness else { continue };
        let place = scene.filtering(Family::Ipv4);
        let command = place.insert(&format!(
            "-p {} -m conntrack --ctorigdstport {port} --ctdir ORIGINAL -j {}",
            protocol_name(answer.flow.protocol),
            chain.name
        ));
        let mut finding = Finding::new(
            CODE,
            Severity::Error,
            format!("{} bans nobody from published port {port}", chain.name),
        )
        .effect(format!("packets to port {port} are forwarded to a container and never meet INPUT"))
        .fixed_by(
            vec![command],
            "and `chain = DOCKER-USER` in fail2ban's jail or action, which makes its chains anew at each start",
        )
        .witness(answer);
        finding.owner = Some(Owner::Fail2ban);
        found.push(finding);
    }
    found
}

/// Whether the rules that call the ban chain are about a port.
fn names_port(scene: &Scene<'_>, chain: ChainId, callers: &[ChainId], port: u16) -> bool {
    use nattrace_model::condition::{Condition, PortSide, Sense};
    use nattrace_model::target::Target;
    let rules = callers
        .iter()
        .filter_map(|caller| scene.system.rules.chain(*caller))
        .flat_map(|caller| &caller.rules);
    let mut calling = rules.filter(|rule| matches!(rule.target, Target::Jump(called) | Target::Goto(called) if called == chain));
    calling.any(|rule| {
        let mut asked = false;
        let named = rule.conditions.iter().any(|condition| match condition {
            Condition::Port(Sense::Is, PortSide::Destination, from, to) => {
                asked = true;
                (*from..=*to).contains(&port)
            }
            Condition::Ports(Sense::Is, PortSide::Destination | PortSide::Either, ranges) => {
                asked = true;
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&port))
            }
            _ => false,
        });
        named || !asked
    })
}
