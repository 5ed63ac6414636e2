//! Containers that have a way out, but leave with an address that nobody can answer.

use nattrace_model::address::is_internet;
use nattrace_model::answer::{Answer, Effect, Outcome, Step, Verdict};
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::InterfaceKind;
use nattrace_model::ruleset::RuleId;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Member, Scene, packet_by};

pub(super) const CODE: CodeOf = "masquerade-missing";

/// How many containers of a network are asked about.
const MOST_ASKED: usize = 32;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        found.extend(of_tunnels(scene, family));
        for network in scene.networks().filter(|network| !network.internal) {
            let members = scene.members(network, family);
            let asked = members.len().min(MOST_ASKED);
            let lost = members.into_iter().take(asked).filter_map(|member| {
                let answer = lost(scene, &member)?;
                Some((member, answer))
            });
            let lost: Vec<(Member<'_>, Answer)> = lost.collect();
            // What some of them need was given to the others on purpose.
            let sources: Vec<String> = match lost.len() == asked {
                true => network
                    .subnets
                    .iter()
                    .filter(|own| own.family() == family)
                    .map(ToString::to_string)
                    .collect(),
                false => lost.iter().map(|(member, _)| member.address.to_string()).collect(),
            };
            let Some((member, answer)) = lost.into_iter().next() else { continue };
            let out = answer.egress.as_ref().and_then(|egress| egress.out_interface.clone());
            // Behind a rule that accepts them in nat they would not get to another.
            let accepted = scene.accepted_by_nat(&answer);
            let place = if accepted.is_some() { "-I" } else { "-A" };
            let commands = sources.iter().map(|source| {
                format!(
                    "{} -t nat {place} POSTROUTING -s {source} ! -o {} -j MASQUERADE",
                    scene.program_at(family, Hook::Postrouting),
                    network.bridge,
                )
            });
            let commands = commands.collect();
            let mut finding =
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!(
                        "`{}` leaves {} with its private addresses",
                        network.name,
                        out.unwrap_or_default()
                    ),
                )
                .effect(format!(
                    "{} has no internet: nobody out there can answer {}",
                    member.name(),
                    member.address
                ))
                .fixed_by(
                    commands,
                    match accepted {
                        Some(_) => "or delete the rule that accepts them untranslated",
                        None => "Docker adds it itself unless it runs with --iptables=false or the rules were flushed: then restart it",
                    },
                )
                .witness(answer);
            if let Some(rule) = accepted {
                finding = finding.at(rule, scene.owner(rule));
            }
            found.push(finding);
        }
    }
    found
}

/// Clients of a VPN whom rules let through to the internet, with an address that is unknown there.
fn of_tunnels(scene: &Scene<'_>, family: Family) -> Vec<Finding> {
    let tunnels = scene.outside().filter(|own| own.kind == InterfaceKind::Tunnel);
    let found = tunnels.filter_map(|tunnel| {
        let client = scene.neighbour(tunnel, family)?;
        let flow = packet_by(&tunnel.name, client, Scene::outsider(family), 6, 443);
        let answer = lost_with_own(scene.why(&flow))?;
        let out = answer.egress.as_ref().and_then(|egress| egress.out_interface.clone())?;
        let on_purpose = answer.steps.iter().any(|step| {
            matches!(step, Step::Rule { hook: Hook::Forward, effect: Effect::Accept, rule, .. }
                if names(scene, *rule, &tunnel.name))
        });
        let own = tunnel.addresses.iter().find(|own| own.subnet.contains(client))?;
        let command = format!(
            "{} -t nat -A POSTROUTING -s {} -o {out} -j MASQUERADE",
            scene.program_at(family, Hook::Postrouting),
            own.subnet,
        );
        let finding = Finding::new(
            CODE,
            Severity::Warning,
            format!("what comes by {} leaves {out} with its private addresses", tunnel.name),
        )
        .effect(format!(
            "clients of {} have no internet: nobody out there can answer {client}",
            tunnel.name
        ))
        .fixed_by(vec![command], "in wg-quick's configuration: PostUp, with -D in PostDown")
        .witness(answer);
        (on_purpose && out != tunnel.name).then_some(finding)
    });
    found.collect()
}

/// Whether a rule asks for packets that come by an interface.
fn names(scene: &Scene<'_>, rule: RuleId, interface: &str) -> bool {
    scene.system.rules.rule(rule).is_some_and(|own| {
        own.conditions.iter().any(|asked| {
            matches!(asked, Condition::InInterface(Sense::Is, InterfacePattern::Name(name))
                if **name == *interface)
        })
    })
}

/// The answer to a container that leaves with its own address, to which none comes back.
fn lost(scene: &Scene<'_>, member: &Member<'_>) -> Option<Answer> {
    let family = Family::of(member.address);
    lost_with_own(scene.why(&member.packet(Scene::outsider(family), 6, 443)))
}

/// An answer that says that a private source leaves as it is, and nobody answers.
fn lost_with_own(answer: Answer) -> Option<Answer> {
    let source = answer.flow.source;
    let own = answer.egress.as_ref().is_some_and(|egress| egress.packet.source == source);
    let is_lost = own
        && answer.verdict == Verdict::Forwarded
        && answer.outcome == Outcome::Timeout
        && !is_internet(source);
    is_lost.then_some(answer)
}
