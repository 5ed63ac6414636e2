//! A published port that INPUT's rules seem to close: its packets are forwarded, not delivered.

use nattrace_model::answer::{Outcome, Step, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::simulate;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, protocol_name};
use crate::audit::variant;

pub(super) const CODE: CodeOf = "published-port-bypasses-input";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let families = FAMILIES
        .into_iter()
        .filter(|family| variant::filters(&scene.system.rules, Hook::Input, *family));
    let families: Vec<_> = families.collect();
    if families.is_empty() {
        return found;
    }
    let undone = variant::without_dnat(scene.system);
    let (mut names, mut commands, mut witness) = (Vec::new(), Vec::new(), None);
    for port in scene.published() {
        let flows = families.iter().flat_map(|family| scene.to_published(&port, *family));
        let answers = flows.into_iter().filter_map(|flow| {
            let answer = scene.why(&flow);
            let gets_in =
                answer.outcome == Outcome::Connects && answer.verdict == Verdict::Forwarded;
            (gets_in && stopped_by_input(&simulate::why(&undone, &flow))).then_some(answer)
        });
        let mut answers = answers.peekable();
        if answers.peek().is_some() {
            for answer in answers.by_ref() {
                let command = scene.stopping(&answer);
                if !commands.contains(&command) {
                    commands.push(command);
                }
                witness.get_or_insert((port.clone(), answer));
            }
            let name = format!("{}/{}", port.host_port, protocol_name(port.protocol));
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let Some((port, witness)) = witness else { return found };
    found.push(
        Finding::new(
            CODE,
            Severity::Error,
            format!("the rules of INPUT do not protect published port {}", names.join(", ")),
        )
        .effect(format!(
            "anybody reaches container `{}` by port {}, although INPUT drops packets to it: DNAT \
             sends them through FORWARD",
            port.container.name, port.host_port
        ))
        .fixed_by(
            commands,
            &format!(
                "or publish it on one address: -p 127.0.0.1:{}:{}; {}",
                port.host_port,
                port.container_port,
                scene.filtering(Family::of(witness.flow.source)).keeper()
            ),
        )
        .witness(witness),
    );
    found
}

/// Whether a rule or the policy of INPUT stopped the packet.
pub(super) fn stopped_by_input(answer: &nattrace_model::answer::Answer) -> bool {
    let stopped = matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected);
    let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
    stopped
        && decided.is_some_and(|step| match step {
            Step::Rule { hook, .. } | Step::Policy { hook, .. } => *hook == Hook::Input,
            _ => false,
        })
}
