//! A rule of the forward path that names a port of the host: DNAT has put the container's in its
//! place before.

use nattrace_model::answer::{Answer, Outcome, Step};
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;
use nattrace_parser::syntax::TableName;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Published, Scene};

pub(super) const CODE: CodeOf = "docker-user-host-port-after-dnat";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let published = scene.published();
    for (id, chain, rule) in scene.own_rules() {
        let stops = matches!(rule.target, Target::Drop | Target::Reject(_));
        if chain.table != TableName::Filter
            || !stops
            || !scene.is_reached_from(id.chain, Hook::Forward)
        {
            continue;
        }
        let meant = published.iter().find_map(|port| {
            let names_host_port = rule.conditions.iter().any(|c| names(c, port.host_port));
            let names_other = rule.conditions.iter().any(|c| names(c, port.container_port));
            if !names_host_port || names_other || port.host_port == port.container_port {
                return None;
            }
            let answer = passes(scene, port, chain.family, id)?;
            Some((port, answer))
        });
        if let Some((port, answer)) = meant {
            found.push(finding(scene, id, port, answer));
        }
    }
    found
}

fn names(condition: &Condition, port: u16) -> bool {
    match condition {
        Condition::Port(Sense::Is, PortSide::Destination, from, to) => {
            (*from..=*to).contains(&port)
        }
        Condition::Ports(Sense::Is, PortSide::Destination | PortSide::Either, ranges) => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&port))
        }
        _ => false,
    }
}

/// The packet that gets in all the same.
fn passes(
    scene: &Scene<'_>,
    port: &Published<'_>,
    family: nattrace_parser::syntax::Family,
    id: RuleId,
) -> Option<Answer> {
    let answers = scene.to_published(port, family).into_iter().map(|flow| scene.why(&flow));
    let mut passing = answers.filter(|answer| {
        let met =
            answer.steps.iter().any(|step| matches!(step, Step::Rule { rule, .. } if *rule == id));
        answer.outcome == Outcome::Connects && !met
    });
    passing.next()
}

fn finding(scene: &Scene<'_>, id: RuleId, port: &Published<'_>, answer: Answer) -> Finding {
    let by = answer.flow.in_interface.clone().unwrap_or_default();
    let asked = format!("-m conntrack --ctorigdstport {} --ctdir ORIGINAL", port.host_port);
    let own = format!("--dport {}", port.host_port);
    let instead =
        scene.words(id).filter(|words| words.contains(&format!("{own} "))).and_then(|words| {
            let name = crate::audit::scene::protocol_name(port.protocol);
            let words = words.replace(&format!("-m {name} {own}"), &asked);
            scene.reword(id, &words)
        });
    let ready = instead.is_some();
    Finding::new(
        CODE,
        Severity::Error,
        format!("this rule can't stop packets to published port {}", port.host_port),
    )
    .at(id, scene.owner(id))
    .marked(format!("--dport {}", port.host_port))
    .effect(format!(
        "port {} stays open: behind DNAT its packets go to port {} of container `{}`",
        port.host_port, port.container_port, port.container.name
    ))
    .fixed_by(
        instead.into_iter().collect(),
        &match ready {
            true => "Docker keeps DOCKER-USER across restarts".to_owned(),
            false => format!(
                "-A DOCKER-USER -i {by} -p {} {asked} -j DROP in its place: Docker keeps \
                 DOCKER-USER across restarts",
                crate::audit::scene::protocol_name(port.protocol),
            ),
        },
    )
    .witness(answer)
}
