//! A rule of the forward path that names a port of the host: DNAT has put the container's in its
//! place before.

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Published, Scene};

pub(super) const CODE: CodeOf = "docker-user-host-port-after-dnat";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let published = scene.published();
    for (id, chain, rule) in scene.own_rules() {
        let meant = match rule.target {
            Target::Drop | Target::Reject(_) => Meant::Stopped,
            Target::Accept | Target::Return => Meant::LetIn,
            _ => continue,
        };
        if chain.table != TableName::Filter
            || !scene.is_reached_from(id.chain, Hook::Forward)
            || rule.conditions.iter().any(|asked| is_of_containers(scene, asked))
        {
            continue;
        }
        let missed = published.iter().find_map(|port| {
            let names_host_port = rule.conditions.iter().any(|c| names(c, port.host_port));
            let names_other = rule.conditions.iter().any(|c| names(c, port.container_port));
            if !names_host_port || names_other || port.host_port == port.container_port {
                return None;
            }
            let answer = misses(scene, port, chain.family, id, meant)?;
            Some((port, answer))
        });
        if let Some((port, answer)) = missed {
            found.push(finding(scene, id, port, answer, meant));
        }
    }
    found
}

/// Whether a condition says that the packets come from containers: then the port is somebody's
/// outside.
fn is_of_containers(scene: &Scene<'_>, condition: &Condition) -> bool {
    let is_bridge = |pattern: &InterfacePattern| matches!(pattern, InterfacePattern::Name(name) if scene.host().is_container_bridge(name));
    match condition {
        Condition::InInterface(Sense::Is, pattern) => is_bridge(pattern),
        Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => {
            !scene.host().is_container_bridge(name)
        }
        Condition::Source(Sense::Is, prefix) => scene
            .networks()
            .flat_map(|network| &network.subnets)
            .any(|subnet| prefix.length() > 0 && subnet.contains(prefix.network())),
        _ => false,
    }
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

/// What a rule is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    Stopped,
    LetIn,
}

/// The packet that fares otherwise than the rule says, since it never matches.
fn misses(
    scene: &Scene<'_>,
    port: &Published<'_>,
    family: Family,
    id: RuleId,
    meant: Meant,
) -> Option<Answer> {
    let answers = scene.to_published(port, family).into_iter().map(|flow| scene.why(&flow));
    let mut missing = answers.filter(|answer| {
        let met =
            answer.steps.iter().any(|step| matches!(step, Step::Rule { rule, .. } if *rule == id));
        let otherwise = match meant {
            Meant::Stopped => answer.outcome == Outcome::Connects,
            Meant::LetIn => is_stopped_by_forward(answer),
        };
        otherwise && !met
    });
    missing.next()
}

fn is_stopped_by_forward(answer: &Answer) -> bool {
    let stopped = matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected);
    let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
    let here = matches!(
        decided,
        Some(Step::Rule { hook: Hook::Forward, .. } | Step::Policy { hook: Hook::Forward, .. })
    );
    stopped && here
}

fn finding(
    scene: &Scene<'_>,
    id: RuleId,
    port: &Published<'_>,
    answer: Answer,
    meant: Meant,
) -> Finding {
    let (does, state, target) = match meant {
        Meant::Stopped => ("stop", "open", "DROP"),
        Meant::LetIn => ("let in", "closed", "RETURN"),
    };
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
        format!("this rule can't {does} packets to published port {}", port.host_port),
    )
    .at(id, scene.owner(id))
    .marked(format!("--dport {}", port.host_port))
    .effect(format!(
        "port {} stays {state}: behind DNAT its packets go to port {} of container `{}`",
        port.host_port, port.container_port, port.container.name
    ))
    .fixed_by(
        instead.into_iter().collect(),
        &match ready {
            true => "Docker keeps DOCKER-USER across restarts".to_owned(),
            false => format!(
                "-A DOCKER-USER -i {by} -p {} {asked} -j {target} in its place: Docker keeps \
                 DOCKER-USER across restarts",
                crate::audit::scene::protocol_name(port.protocol),
            ),
        },
    )
    .witness(answer)
}
