//! Packets that get through while their answers do not.

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::hook::Hook;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet, protocol_name};

pub(super) const CODE: CodeOf = "reply-path-dropped";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for family in FAMILIES {
        let out = scene.networks().flat_map(|network| {
            let member = scene.members(network, family).into_iter().next();
            member.map(|it| {
                (
                    it.packet(Scene::outsider(family), 6, 443),
                    format!("from `{}` to the internet", network.name),
                )
            })
        });
        let published = scene.published();
        let inward = published.iter().flat_map(|port| {
            let what =
                format!("to published port {}/{}", port.host_port, protocol_name(port.protocol));
            scene.to_published(port, family).into_iter().map(move |flow| (flow, what.clone()))
        });
        let own = scene.uplinks(family).into_iter().filter_map(|uplink| {
            let address = Scene::addresses(uplink, family).next()?;
            let flow = packet(address, Scene::outsider(family), 6, 443);
            Some((flow, "from this host to the internet".to_owned()))
        });
        for (flow, what) in out.chain(inward).chain(own) {
            let answer = scene.why(&flow);
            let Some((rule, by)) = dropped_on_the_way_back(scene, &answer) else { continue };
            let known = found.iter().any(|finding| finding.rule == rule && rule.is_some());
            if known {
                continue;
            }
            let lost = answer.reply.as_ref();
            let decided = lost.and_then(|reply| reply.steps.get(reply.decided_by?));
            let answers = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
            let (command, keeper) = match decided {
                Some(
                    Step::Rule { hook: Hook::Input, .. } | Step::Policy { hook: Hook::Input, .. },
                ) => {
                    let program = scene.program_at(family, Hook::Input);
                    (format!("{program} -I INPUT {answers}"), "keep it with your own rules")
                }
                _ => {
                    let place = scene.filtering_beside(family, decided);
                    (place.insert(answers), place.keeper())
                }
            };
            // A host may mean to ask nobody.
            let severity = match flow.in_interface {
                Some(_) => Severity::Error,
                None => Severity::Warning,
            };
            let mut finding = Finding::new(
                CODE,
                severity,
                format!("answers to packets {what} are dropped by {by}"),
            )
            .effect("the connection never comes about: requests arrive, answers do not")
            .fixed_by(
                vec![command],
                &format!("answers have to be accepted before anything drops them; {keeper}"),
            );
            if let Some(rule) = rule {
                finding = finding.at(rule, scene.owner(rule));
            }
            found.push(finding.witness(answer));
        }
    }
    found
}

/// What dropped the answer to a packet that got through.
fn dropped_on_the_way_back(
    scene: &Scene<'_>,
    answer: &Answer,
) -> Option<(Option<nattrace_model::ruleset::RuleId>, String)> {
    let reply = answer.reply.as_ref()?;
    let lost = matches!(reply.verdict, Verdict::Dropped | Verdict::Rejected);
    if !lost || answer.verdict != Verdict::Forwarded || answer.outcome != Outcome::Timeout {
        return None;
    }
    // What is on its way to somebody else is not lost by the rules that drop it.
    let to = reply.steps.iter().find_map(|step| match step {
        Step::Route { out_interface, .. } => out_interface.as_ref(),
        _ => None,
    });
    let astray = to.zip(answer.flow.in_interface.as_ref()).is_some_and(|(to, from)| to != from);
    if astray {
        return None;
    }
    match reply.steps.get(reply.decided_by?)? {
        Step::Rule { rule, .. } => Some((Some(*rule), scene.name(*rule))),
        Step::Policy { chain, .. } => {
            let chain = scene.system.rules.chain(*chain)?;
            Some((None, format!("the policy of {}/{}", chain.table.as_str(), chain.name)))
        }
        _ => None,
    }
}
