//! Whether the simulator predicts a probe: its outcome, what the other end saw, and which rules
//! counted.

use std::collections::BTreeSet;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Step};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::simulate::why;

use crate::case::Probe;

/// The rules that matched, as `table: rule`.
fn matched(system: &System, steps: &[Step], into: &mut BTreeSet<String>) {
    for step in steps {
        let Step::Rule { rule: id, .. } = step else { continue };
        let (Some(chain), Some(rule)) = (system.rules.chain(id.chain), system.rules.rule(*id))
        else {
            continue;
        };
        into.insert(format!("{}: {}", chain.table.as_str(), system.rules.text(rule)));
    }
}

/// The rules that count while the whole exchange takes place: the first packet, the answer, and,
/// where a TCP connection comes about, its later packets.
fn counted(system: &System, answer: &Answer, into: &mut BTreeSet<String>) {
    matched(system, &answer.steps, into);
    if let Some(reply) = &answer.reply {
        matched(system, &reply.steps, into);
    }
    if let Some(proxy) = &answer.proxy {
        counted(system, proxy, into);
    }
}

/// The rules that count for the later packets of a TCP connection.
fn counted_later(system: &System, answer: &Answer, into: &mut BTreeSet<String>) {
    if let Some(proxy) = &answer.proxy {
        counted_later(system, proxy, into);
    }
    if answer.outcome != Outcome::Connects || answer.flow.protocol != 6 {
        return;
    }
    let flow = Flow { state: FlowState::Established, ..answer.flow.clone() };
    let later = why(system, &flow);
    let branches = later.branches.iter().map(|branch| &branch.answer);
    let destination = |answer: &Answer| answer.egress.as_ref().map(|e| e.packet.destination);
    for later in std::iter::once(&later).chain(branches) {
        if destination(later) == destination(answer) {
            matched(system, &later.steps, into);
            if let Some(reply) = &later.reply {
                matched(system, &reply.steps, into);
            }
        }
    }
}

/// The rules that see neighbour discovery between machines on the bridges, which goes on while an
/// IPv6 probe runs.
fn neighbour_discovery(system: &System, probe: &Probe) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    if probe.flow.src.is_ipv4() {
        return seen;
    }
    for interface in &system.host.interfaces {
        for address in interface.addresses.iter().filter(|a| a.local.is_ipv6()) {
            let neighbour = |low: u128| match address.subnet.network() {
                std::net::IpAddr::V6(net) => {
                    std::net::Ipv6Addr::from_bits(net.to_bits() | low).into()
                }
                net @ std::net::IpAddr::V4(_) => net,
            };
            let flow = Flow {
                source: neighbour(0xfffe),
                destination: neighbour(0xfffd),
                in_interface: Some(interface.name.clone()),
                protocol: 58,
                icmp: Some((135, 0)),
                source_port: None,
                destination_port: None,
                ..probe.question(FlowState::New)
            };
            matched(system, &why(system, &flow).steps, &mut seen);
        }
    }
    seen
}

fn outcome(answer: &Answer) -> &'static str {
    match answer.outcome {
        Outcome::Connects => "connects",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
        Outcome::Timeout => "timeout",
        Outcome::Undetermined => "undetermined",
    }
}

/// Asks the simulator about a probe. The differences are those of the nearest of the ways that
/// things may go, and empty where one of them is what the kernel did.
#[must_use]
pub fn check(system: &System, probe: &Probe) -> (Answer, Vec<String>) {
    let answer = why(system, &probe.question(FlowState::New));
    let branches = answer.branches.iter().map(|branch| &branch.answer);
    let whole = answer.branches.is_empty().then_some(&answer);
    let ways = branches.chain(whole).map(|way| differences(system, probe, way));
    let nearest = ways.min_by_key(Vec::len).unwrap_or_default();
    (answer, nearest)
}

/// Where a prediction differs from what the kernel did; empty where they agree.
fn differences(system: &System, probe: &Probe, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    // A container is taken to answer on every port; where it refused itself, the packet reached it.
    let refused_beyond = probe.result == "refused"
        && probe.answered_by.as_deref().is_some_and(|who| who != "host")
        && probe.seen_dst.is_some()
        && probe.seen_dport != probe.flow.sport;
    let expected = if refused_beyond { "connects" } else { probe.result.as_str() };
    if outcome(answer) != expected {
        found.push(format!(
            "outcome {} instead of {expected} ({})",
            outcome(answer),
            answer.because.as_deref().unwrap_or("-")
        ));
    }
    // Where the host refuses, what a listening sender saw is the refusal, not the packet.
    let saw_refusal = probe.seen_dport.is_some() && probe.seen_dport == probe.flow.sport;
    // Of a host's socket that never answered, only the wire was watched.
    let wire_only = probe.result == "timeout" && probe.answered_by.as_deref() == Some("host");
    let saw_refusal = saw_refusal || wire_only;
    let last = answer.proxy.as_deref().unwrap_or(answer);
    let arrived = last.egress.as_ref().map(|egress| &egress.packet);
    if let Some(seen) = probe.seen_src
        && !saw_refusal
        && arrived.map(|packet| packet.source) != Some(seen)
    {
        found.push(format!("source {:?} instead of {seen}", arrived.map(|p| p.source)));
    }
    if let Some(seen) = probe.seen_dst
        && !saw_refusal
        && arrived.map(|packet| packet.destination) != Some(seen)
    {
        found.push(format!("destination {:?} instead of {seen}", arrived.map(|p| p.destination)));
    }
    let mut predicted = BTreeSet::new();
    counted(system, answer, &mut predicted);
    if !refused_beyond {
        counted_later(system, answer, &mut predicted);
    }
    let noise = neighbour_discovery(system, probe);
    let moved: BTreeSet<String> = probe
        .counters
        .iter()
        .filter(|delta| delta.rule.starts_with("-A"))
        .map(|delta| format!("{}: {}", delta.table, delta.rule))
        .collect();
    for rule in moved.difference(&predicted).filter(|rule| !noise.contains(*rule)) {
        found.push(format!("not predicted: {rule}"));
    }
    for rule in predicted.difference(&moved) {
        found.push(format!("did not count: {rule}"));
    }
    found
}
