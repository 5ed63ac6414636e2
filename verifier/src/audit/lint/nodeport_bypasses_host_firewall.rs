//! A NodePort of Kubernetes that INPUT's rules seem to close.

use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::simulate;

use super::CodeOf;
use super::published_port_bypasses_input::stopped_by_input;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet_by, protocol_name};
use crate::audit::variant;
use crate::program;

pub(super) const CODE: CodeOf = "nodeport-bypasses-host-firewall";

/// How many ports are named.
const MOST_NAMED: usize = 4;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let ports: Vec<(RuleId, u8, u16)> = scene
        .rules()
        .filter(|(_, chain, _)| *chain.name == *"KUBE-NODEPORTS")
        .filter_map(|(id, _, rule)| port(rule).map(|(number, port)| (id, number, port)))
        .collect();
    if ports.is_empty() {
        return Vec::new();
    }
    let undone = variant::without_dnat(scene.system);
    let mut open: Vec<(RuleId, u8, u16, Answer)> = Vec::new();
    for (id, number, port) in ports {
        let Some(chain) = scene.system.rules.chain(id.chain) else { continue };
        let family = chain.family;
        if !variant::filters(&scene.system.rules, Hook::Input, family)
            || open.iter().any(|(_, known, own, _)| (*known, *own) == (number, port))
        {
            continue;
        }
        let witness = scene.uplinks(family).into_iter().find_map(|uplink| {
            let own = Scene::addresses(uplink, family).next()?;
            let flow = packet_by(&uplink.name, Scene::outsider(family), own, number, port);
            let answer = scene.why(&flow);
            let gets_in =
                answer.outcome == Outcome::Connects && answer.verdict == Verdict::Forwarded;
            (gets_in && stopped_by_input(&simulate::why(&undone, &flow))).then_some(answer)
        });
        open.extend(witness.map(|witness| (id, number, port, witness)));
    }
    let names: Vec<String> = open
        .iter()
        .take(MOST_NAMED)
        .map(|(_, number, port, _)| format!("{port}/{}", protocol_name(*number)))
        .collect();
    let more = match open.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let commands = open.iter().map(|(id, number, port, answer)| {
        let family = nattrace_parser::syntax::Family::of(answer.flow.source);
        let legacy = scene.system.rules.chain(id.chain).map(|own| own.backend);
        format!(
            "{} -t mangle -I PREROUTING -i {} -p {} --dport {port} -j DROP",
            program::iptables(family, legacy.unwrap_or(nattrace_parser::syntax::Backend::Nft)),
            answer.flow.in_interface.as_deref().unwrap_or("eth0"),
            protocol_name(*number),
        )
    });
    let commands = commands.collect();
    let Some((id, _, port, witness)) = open.into_iter().next() else { return Vec::new() };
    let finding = Finding::new(
        CODE,
        Severity::Error,
        format!("the rules of INPUT do not protect node port {}{more}", names.join(", ")),
    )
    .at(id, scene.owner(id))
    .effect(format!(
        "anybody reaches the pods behind port {port}, although INPUT drops packets to it: kube-proxy's DNAT sends them \
         through FORWARD"
    ))
    .fixed_by(
        commands,
        "or limit node ports to inner addresses: kube-proxy --nodeport-addresses",
    )
    .witness(witness);
    vec![finding]
}

/// The port that a rule is about.
fn port(rule: &Rule) -> Option<(u8, u16)> {
    let mut number = protocol::TCP;
    let mut port = None;
    for condition in &rule.conditions {
        match condition {
            Condition::Protocol(Sense::Is, own) => number = *own,
            Condition::Port(Sense::Is, PortSide::Destination, first, last) if first == last => {
                port = Some(*first);
            }
            _ => {}
        }
    }
    port.map(|port| (number, port))
}
