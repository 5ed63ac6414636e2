//! A port that nobody published, reached by sending to the container's own address.

use nattrace_model::answer::{Outcome, Verdict};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet_by};

pub(super) const CODE: CodeOf = "direct-route-exposure";

/// A port that hardly any service has, so that only a rule for every port lets it pass.
const UNUSUAL: u16 = 31337;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for family in FAMILIES {
        for network in scene.networks() {
            let Some(member) = scene.members(network, family).into_iter().next() else { continue };
            let open = scene.outside().filter_map(|interface| {
                let source = scene.neighbour(interface, family)?;
                let answer =
                    scene.why(&packet_by(&interface.name, source, member.address, 6, UNUSUAL));
                let gets_in =
                    answer.verdict == Verdict::Forwarded && answer.outcome == Outcome::Connects;
                gets_in.then_some((interface, answer))
            });
            let place = scene.filtering(family);
            let (mut commands, mut witness) = (Vec::new(), None);
            for (interface, answer) in open {
                commands.push(place.insert(&format!(
                    "-i {} -o {} -m conntrack --ctstate NEW -m conntrack ! --ctstate DNAT -j DROP",
                    interface.name, network.bridge
                )));
                witness.get_or_insert((interface, answer));
            }
            let Some((interface, answer)) = witness else { continue };
            found.push(
                Finding::new(
                    CODE,
                    Severity::Error,
                    format!("every port of the containers of `{}` is open to the hosts at {}", network.name, interface.name),
                )
                .effect(format!(
                    "a neighbour at {} that sends to {} by way of this host gets through, published or not",
                    interface.name, member.address
                ))
                .fixed_by(
                    commands,
                    &format!("or narrow the rule that accepts it; {}", place.keeper()),
                )
                .witness(answer),
            );
        }
    }
    found
}
