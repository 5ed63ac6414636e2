//! A port that nobody published, reached by sending to the container's own address.

use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Member, Scene, packet_by};

pub(super) const CODE: CodeOf = "direct-route-exposure";

/// How many containers of a network are asked about.
const MOST_ASKED: usize = 32;

/// A port that hardly any service has, so that only a rule for every port lets it pass.
const UNUSUAL: u16 = 31337;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let members = scene.members(network, family);
            let exposed: Vec<Exposed<'_>> =
                members.iter().take(MOST_ASKED).flat_map(|it| exposed(scene, *it)).collect();
            let Some(first) = exposed.first() else { continue };
            let own = |it: &Exposed<'_>| it.member.address;
            let all = members
                .iter()
                .take(MOST_ASKED)
                .all(|member| exposed.iter().any(|it| own(it) == member.address));
            let place = scene.filtering(family);
            let mut commands: Vec<String> = Vec::new();
            for it in &exposed {
                let only = if all { String::new() } else { format!(" -d {}", own(it)) };
                let command = place.insert(&format!(
                    "-i {} -o {}{only} -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP",
                    it.by, network.bridge
                ));
                if !commands.contains(&command) {
                    commands.push(command);
                }
            }
            let whom = match all {
                true => format!("the containers of `{}`", network.name),
                false => first.member.name(),
            };
            found.push(
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!("every port of {whom} is open to the hosts at {}", first.by),
                )
                .effect(format!(
                    "a neighbour at {} that sends to {} by way of this host gets through, published or not",
                    first.by,
                    own(first)
                ))
                .fixed_by(
                    commands,
                    &format!("or narrow the rule that accepts it; {}", place.keeper()),
                )
                .witness(first.answer.clone()),
            );
        }
    }
    found
}

/// A container to which somebody gets, and by which interface.
struct Exposed<'s> {
    member: Member<'s>,
    by: &'s str,
    answer: Answer,
}

fn exposed<'s>(scene: &Scene<'s>, member: Member<'s>) -> Vec<Exposed<'s>> {
    let family = Family::of(member.address);
    let open = scene.outside().filter_map(|interface| {
        let source = scene.neighbour(interface, family)?;
        let flow = packet_by(&interface.name, source, member.address, 6, UNUSUAL);
        let answer = scene.why(&flow);
        let gets_in = answer.verdict == Verdict::Forwarded && answer.outcome == Outcome::Connects;
        gets_in.then(|| Exposed { member, by: &interface.name, answer })
    });
    open.collect()
}
