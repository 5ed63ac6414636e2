//! Packets between neighbours on one bridge, which meet FORWARD or not as br_netfilter says.

use nattrace_model::answer::{Answer, Step, Verdict};
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::owner::Owner;
use nattrace_model::ruleset::Rule;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene};

pub(super) const CODE: CodeOf = "bridge-nf-surprise";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let members = scene.members(network, family);
            let [one, .., other] = members.as_slice() else { continue };
            let answer = scene.why(&one.packet(other.address, 6, 80));
            let met = answer.steps.iter().any(|step| {
                matches!(
                    step,
                    Step::Rule { hook: Hook::Forward, .. }
                        | Step::Policy { hook: Hook::Forward, .. }
                )
            });
            if met {
                found.extend(stopped(scene, &network.name, &network.bridge, family, answer));
            } else if answer.verdict == Verdict::Bridged {
                found.extend(unseen(scene, &network.name, &network.bridge, family, &answer));
            }
        }
    }
    found
}

fn setting(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "net.bridge.bridge-nf-call-iptables",
        Family::Ipv6 => "net.bridge.bridge-nf-call-ip6tables",
    }
}

/// What neighbours send one another is dropped although nobody who made the bridge wants that.
fn stopped(
    scene: &Scene<'_>,
    network: &str,
    bridge: &str,
    family: Family,
    answer: Answer,
) -> Option<Finding> {
    if !matches!(answer.verdict, Verdict::Dropped | Verdict::Rejected) {
        return None;
    }
    let decided = answer.decided_by.and_then(|at| answer.steps.get(at))?;
    let (rule, by) = match decided {
        Step::Policy { hook: Hook::Forward, .. } => (None, "the policy of FORWARD".to_owned()),
        Step::Rule { hook: Hook::Forward, rule, .. } => {
            let wanted = scene.owner(*rule) != Owner::Hand
                || scene.system.rules.rule(*rule).is_some_and(|own| is_within(own, bridge));
            if wanted {
                return None;
            }
            (Some(*rule), scene.name(*rule))
        }
        _ => return None,
    };
    let place = scene.filtering_beside(family, Some(decided));
    let finding = Finding::new(
        CODE,
        Severity::Error,
        format!("{by} also drops what the containers of `{network}` send one another"),
    )
    .effect(format!(
        "{} is 1: frames between ports of {bridge} meet FORWARD as if they were routed",
        setting(family)
    ))
    .fixed_by(
        vec![place.insert(&format!("-i {bridge} -o {bridge} -j ACCEPT"))],
        &format!("or sysctl -w {}=0 where no rule of yours needs it", setting(family)),
    )
    .witness(answer);
    Some(match rule {
        Some(rule) => finding.at(rule, scene.owner(rule)),
        None => finding,
    })
}

/// A rule about neighbours that never sees their packets.
fn unseen(
    scene: &Scene<'_>,
    network: &str,
    bridge: &str,
    family: Family,
    answer: &Answer,
) -> Vec<Finding> {
    // Docker's own rule for networks without icc is as blind as a person's.
    let own = scene.rules().filter(|(id, chain, rule)| {
        chain.family == family
            && matches!(rule.target, Target::Drop | Target::Reject(_))
            && scene.is_reached_from(id.chain, Hook::Forward)
            && is_within(rule, bridge)
    });
    own.map(|(id, ..)| {
        Finding::new(
            CODE,
            Severity::Warning,
            format!("the containers of `{network}` reach one another past this rule"),
        )
        .at(id, scene.owner(id))
        .effect(format!("{} is 0: frames between ports of {bridge} meet no rule", setting(family)))
        .help(format!(
            "sysctl -w {}=1 (modprobe br_netfilter), or make the network with -o com.docker.network.bridge.enable_icc=false",
            setting(family)
        ))
        .witness(answer.clone())
    })
    .collect()
}

/// Whether a rule is about packets that come and leave by one bridge.
fn is_within(rule: &Rule, bridge: &str) -> bool {
    let names = |pattern: &InterfacePattern| matches!(pattern, InterfacePattern::Name(name) if **name == *bridge);
    let comes = rule.conditions.iter().any(
        |condition| matches!(condition, Condition::InInterface(Sense::Is, pattern) if names(pattern)),
    );
    let leaves = rule.conditions.iter().any(
        |condition| matches!(condition, Condition::OutInterface(Sense::Is, pattern) if names(pattern)),
    );
    comes && leaves
}
