//! DOCKER-USER would stop a packet, but FORWARD decides about it before it gets there.

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::flow::Flow;
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{ChainId, RuleId};
use nattrace_model::simulate;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;
use crate::audit::variant;
use crate::program;

pub(super) const CODE: CodeOf = "docker-user-not-hooked";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (chain_index, chain) in (0u32..).zip(&scene.system.rules.chains) {
        let stops = |target: &Target| matches!(target, Target::Drop | Target::Reject(_));
        let own = chain.rules.iter().position(|rule| stops(&rule.target));
        let (true, Some(first)) = (*chain.name == *"DOCKER-USER", own) else { continue };
        if chain.table != TableName::Filter {
            continue;
        }
        let user = ChainId(chain_index);
        let rule = RuleId { chain: user, index: u32::try_from(first).unwrap_or_default() };
        let Some((passed, answer)) = passed_by(scene, user, chain.family) else { continue };
        let message = match passed {
            None => "FORWARD never calls DOCKER-USER for packets that it would stop".to_owned(),
            Some(id) => format!("{} accepts packets before DOCKER-USER sees them", scene.name(id)),
        };
        let program = program::iptables(chain.family, chain.backend);
        let mut commands: Vec<String> =
            calls(scene, user).map(|id| format!("{program} -D FORWARD {}", id.number())).collect();
        commands.push(format!("{program} -I FORWARD -j DOCKER-USER"));
        if stops_answers(scene, user, chain.family) {
            commands.push(format!(
                "{program} -I DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            ));
        }
        found.push(
            Finding::new(CODE, Severity::Error, message)
                .at(rule, scene.owner(rule))
                .effect("packets get to containers past the rules of DOCKER-USER")
                .fixed_by(commands, "Docker puts it first whenever it starts")
                .witness(answer),
        );
    }
    found
}

/// The rules of FORWARD that call it, the last one first.
fn calls(scene: &Scene<'_>, user: ChainId) -> impl Iterator<Item = RuleId> {
    let calling = scene.rules().filter(move |(_, chain, rule)| {
        chain.base.is_some_and(|base| base.hook == Hook::Forward)
            && rule.target == Target::Jump(user)
    });
    calling.map(|(id, ..)| id).collect::<Vec<_>>().into_iter().rev()
}

/// Whether DOCKER-USER, called first, stops answers to what containers send out.
fn stops_answers(scene: &Scene<'_>, user: ChainId, family: Family) -> bool {
    let hooked = variant::calling_first(scene.system, user, Hook::Forward);
    outward(scene, family).any(|flow| {
        let answer = simulate::why(&hooked, &flow);
        let lost = answer.verdict == Verdict::Forwarded && answer.outcome == Outcome::Timeout;
        lost && scene.why(&flow).outcome == Outcome::Connects
    })
}

/// What containers send to the internet.
fn outward(scene: &Scene<'_>, family: Family) -> impl Iterator<Item = Flow> {
    scene.networks().filter_map(move |network| {
        let member = scene.members(network, family).into_iter().next()?;
        Some(member.packet(Scene::outsider(family), 6, 443))
    })
}

/// A packet that DOCKER-USER would stop were it called first, and the rule that accepts it.
fn passed_by(scene: &Scene<'_>, user: ChainId, family: Family) -> Option<(Option<RuleId>, Answer)> {
    let hooked = variant::calling_first(scene.system, user, Hook::Forward);
    let published = scene.published();
    let inward = published.iter().flat_map(|port| scene.to_published(port, family));
    inward.chain(outward(scene, family)).find_map(|flow| {
        let answer = scene.why(&flow);
        let lost = matches!(
            simulate::why(&hooked, &flow).outcome,
            Outcome::Timeout | Outcome::Refused | Outcome::Unreachable
        );
        if answer.outcome != Outcome::Connects || !lost {
            return None;
        }
        let accepting = answer.steps.iter().find_map(|step| match step {
            Step::Rule { hook: Hook::Forward, rule, .. } => Some(*rule),
            _ => None,
        });
        Some((accepting, answer))
    })
}
