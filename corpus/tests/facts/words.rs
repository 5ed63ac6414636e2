//! What an answer says, in the words of the facts.

use std::fmt::{Debug, Display};
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Egress, ReplyKind, Rewrite, Step};
use nattrace_model::packet::{Packet, Transport};
use nattrace_model::ruleset::ChainId;

pub(crate) fn word(value: impl Debug) -> String {
    let mut word = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

fn chain(system: &System, id: ChainId) -> String {
    let chain = system.rules.chain(id).unwrap();
    format!("{}/{}", chain.table.as_str(), chain.name)
}

fn changed(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::Source(from, to) => format!("src {from} {to}"),
        Rewrite::Destination(from, to) => format!("dst {from} {to}"),
        Rewrite::SourcePort(from, to) => format!("sport {from} {to}"),
        Rewrite::DestinationPort(from, to) => format!("dport {from} {to}"),
        Rewrite::Mark(from, to) => format!("mark {from:#x} {to:#x}"),
        Rewrite::ConnectionMark(from, to) => format!("connmark {from:#x} {to:#x}"),
        Rewrite::Ttl(from, to) => format!("ttl {from} {to}"),
        Rewrite::Tos(from, to) => format!("tos {from:#x} {to:#x}"),
    }
}

/// Where a step took place, and what it was.
pub(crate) fn step(system: &System, step: &Step) -> String {
    match step {
        Step::Rule { rule, .. } => format!("{}/{}", chain(system, rule.chain), rule.number()),
        Step::Return { chain: id, .. } => format!("{} ends", chain(system, *id)),
        Step::Policy { chain: id, policy, .. } => {
            format!("{} policy {}", chain(system, *id), word(policy))
        }
        Step::Conntrack { hook, .. } => format!("conntrack/{}", hook.as_str()),
        Step::Route { decision, out_interface, gateway, .. } => {
            let by = out_interface.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            let via = gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
            format!("{}{by}{via}", word(decision))
        }
        Step::Socket { listening, .. } => format!("socket {listening}"),
    }
}

pub(crate) fn met(system: &System, steps: &[Step]) -> String {
    let rules = steps.iter().filter(|step| matches!(step, Step::Rule { .. }));
    rules.map(|rule| step(system, rule)).collect::<Vec<_>>().join(" ")
}

pub(crate) fn rewritten(system: &System, steps: &[Step]) -> Vec<String> {
    let mut found = Vec::new();
    for one in steps {
        let (Step::Rule { rewrites, .. } | Step::Conntrack { rewrites, .. }) = one else {
            continue;
        };
        found.extend(rewrites.iter().map(|r| format!("{} {}", step(system, one), changed(r))));
    }
    found
}

pub(crate) fn routed(system: &System, steps: &[Step]) -> Vec<String> {
    let routes = steps.iter().filter(|step| matches!(step, Step::Route { .. }));
    routes.map(|route| step(system, route)).collect()
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
    }
}

/// An egress, with TTL, mark and TOS where the expectation names them.
pub(crate) fn left(egress: Option<&Egress>, expected: &str) -> String {
    let Some(egress) = egress else { return "none".to_owned() };
    let Packet { source, destination, ttl, mark, tos, transport, .. } = &egress.packet;
    let ports = match transport {
        Transport::Ports { source, destination } => Some((*source, *destination)),
        Transport::Icmp { .. } | Transport::Opaque => None,
    };
    let mut from = end(*source, ports.map(|(source, _)| source));
    if egress.source_port_random
        && let Some((rest, _)) = from.rsplit_once(':')
    {
        from = format!("{rest}:random");
    }
    let mut words = vec![format!("{from} > {}", end(*destination, ports.map(|(_, to)| to)))];
    words.extend(egress.out_interface.as_ref().map(|name| format!("by {name}")));
    let mut named = |name: &str, value: &dyn Display| {
        if expected.split_whitespace().any(|word| word == name) {
            words.push(format!("{name} {value}"));
        }
    };
    named("ttl", ttl);
    named("mark", &format!("{mark:#x}"));
    named("tos", &format!("{tos:#x}"));
    words.join(" ")
}

pub(crate) fn reply(answer: &Answer) -> String {
    let Some(reply) = &answer.reply else { return "none".to_owned() };
    let kind = match reply.kind {
        ReplyKind::Answer => "answer".to_owned(),
        ReplyKind::Reset => "reset".to_owned(),
        ReplyKind::Error { kind, code } => format!("icmp {kind}/{code}"),
    };
    format!("{kind} {}", word(reply.verdict))
}

/// The branches; with the packet that leaves, where the expectation names it.
pub(crate) fn branches(answer: &Answer, expected: Option<&[String]>) -> Vec<String> {
    let named = expected.is_some_and(|lines| lines.iter().any(|line| line.contains(" > ")));
    let whens = answer.branches.iter().map(|branch| {
        let when: Vec<String> = branch
            .when
            .iter()
            .map(|(question, yes)| format!("{question}={}", if *yes { "yes" } else { "no" }))
            .collect();
        let Answer { verdict, outcome, egress, .. } = &branch.answer;
        let packet = if named { format!(" {}", left(egress.as_ref(), "")) } else { String::new() };
        format!("{}: {} {}{packet}", when.join(", "), word(verdict), word(outcome))
    });
    whens.collect()
}
