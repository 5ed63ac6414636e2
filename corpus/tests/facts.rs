//! Every fact about the kernel that the simulator relies on, held to the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nattrace_corpus::fact::{Case, Fact, Loader, Scene, facts_dir};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Egress, ReplyKind, Rewrite, RouteDecision, Step};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::packet::{Packet, Transport};
use nattrace_model::ruleset::ChainId;
use nattrace_model::simulate::why;

/// The question of a case: `SRC -> DST` and options.
fn request(words: &str) -> FlowRequest {
    let mut words = words.split_whitespace();
    let mut request =
        FlowRequest { source: words.next().unwrap().to_owned(), ..Default::default() };
    assert_eq!(words.next(), Some("->"), "a question is `SRC -> DST`");
    request.destination = words.next().unwrap().to_owned();
    while let Some(option) = words.next() {
        let value = Some(words.next().unwrap_or_else(|| panic!("{option} needs a value")).into());
        match option {
            "--in" => request.in_interface = value,
            "--sport" => request.source_port = value,
            "--proto" => request.protocol = value,
            "--state" => request.state = value,
            "--mark" => request.mark = value,
            "--tcp-flags" => request.tcp_flags = value,
            "--icmp-type" => request.icmp_type = value,
            other => panic!("unknown option {other}"),
        }
    }
    request
}

fn system(scene: &Scene, backend: Loader) -> Result<System, String> {
    let parts = scene.snapshot(backend).unwrap();
    let texts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    // A part that is not read as meant would make a case say nothing.
    let found = loaded.diagnostics.iter();
    let wrong: String =
        found.map(|found| format!("      {}: {:?}\n", found.part, found.diagnostic)).collect();
    if wrong.is_empty() { Ok(loaded.system) } else { Err(wrong) }
}

fn word(value: impl std::fmt::Debug) -> String {
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
fn step(system: &System, step: &Step) -> String {
    match step {
        Step::Rule { rule, .. } => format!("{}/{}", chain(system, rule.chain), rule.number()),
        Step::Return { chain: id, .. } => format!("{} ends", chain(system, *id)),
        Step::Policy { chain: id, policy, .. } => {
            format!("{} policy {}", chain(system, *id), word(policy))
        }
        Step::Conntrack { hook, .. } => format!("conntrack/{}", hook.as_str()),
        Step::Route { decision, out_interface, gateway, .. } => {
            let mut text = word(decision);
            if let Some(name) = out_interface {
                text += &format!(" {name}");
            }
            if let Some(gateway) = gateway {
                text += &format!(" via {gateway}");
            }
            text
        }
        Step::Socket { listening, .. } => format!("socket {listening}"),
    }
}

fn met(system: &System, steps: &[Step]) -> String {
    let rules = steps.iter().filter(|step| matches!(step, Step::Rule { .. }));
    rules.map(|rule| step(system, rule)).collect::<Vec<_>>().join(" ")
}

fn rewritten(system: &System, steps: &[Step]) -> Vec<String> {
    let mut found = Vec::new();
    for one in steps {
        let (Step::Rule { rewrites, .. } | Step::Conntrack { rewrites, .. }) = one else {
            continue;
        };
        found.extend(rewrites.iter().map(|r| format!("{} {}", step(system, one), changed(r))));
    }
    found
}

fn routed(system: &System, steps: &[Step]) -> Vec<String> {
    let routes = steps.iter().filter(|step| matches!(step, Step::Route { .. }));
    routes.map(|route| step(system, route)).collect()
}

fn end(address: std::net::IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (std::net::IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (std::net::IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
    }
}

/// An egress, with TTL, mark and TOS where the expectation names them.
fn left(egress: Option<&Egress>, expected: &str) -> String {
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
    let mut text = format!("{from} > {}", end(*destination, ports.map(|(_, to)| to)));
    if let Some(name) = &egress.out_interface {
        text += &format!(" by {name}");
    }
    for (name, value) in
        [("ttl", ttl.to_string()), ("mark", format!("{mark:#x}")), ("tos", format!("{tos:#x}"))]
    {
        if expected.split_whitespace().any(|word| word == name) {
            text += &format!(" {name} {value}");
        }
    }
    text
}

fn reply(answer: &Answer) -> String {
    let Some(reply) = &answer.reply else { return "none".to_owned() };
    let kind = match reply.kind {
        ReplyKind::Answer => "answer".to_owned(),
        ReplyKind::Reset => "reset".to_owned(),
        ReplyKind::Error { kind, code } => format!("icmp {kind}/{code}"),
    };
    format!("{kind} {}", word(reply.verdict))
}

/// The branches; with the packet that leaves, where the expectation names it.
fn branches(answer: &Answer, expected: Option<&[String]>) -> Vec<String> {
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

/// Where the answer is not what the kernel did.
fn differences(system: &System, case: &Case, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: Option<String>, actual: String| {
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            found.push(format!(
                "{what}\n        kernel     {expected}\n        simulator  {actual}"
            ));
        }
    };
    let words = |text: &Option<String>| {
        text.as_ref().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let lines = |lines: &Option<Vec<String>>| lines.as_ref().map(|lines| lines.join("; "));
    let back = answer.reply.as_ref();
    let back_steps = back.map_or(&[][..], |reply| &reply.steps);
    compare("verdict", case.verdict.clone(), word(answer.verdict));
    compare("outcome", case.outcome.clone(), word(answer.outcome));
    let egress =
        |egress, expected: &Option<String>| left(egress, expected.as_deref().unwrap_or(""));
    compare("egress", case.egress.clone(), egress(answer.egress.as_ref(), &case.egress));
    compare("met", words(&case.met), met(system, &answer.steps));
    compare("rewrites", lines(&case.rewrites), rewritten(system, &answer.steps).join("; "));
    compare("route", lines(&case.route), routed(system, &answer.steps).join("; "));
    let decided = answer.decided_by.and_then(|at| answer.steps.get(at));
    let decided = decided.map_or("none".to_owned(), |decided| step(system, decided));
    compare("decided", case.decided.clone(), decided);
    compare("reply", case.reply.clone(), reply(answer));
    compare(
        "reply-egress",
        case.reply_egress.clone(),
        egress(back.and_then(|reply| reply.egress.as_ref()), &case.reply_egress),
    );
    compare("reply-met", words(&case.reply_met), met(system, back_steps));
    compare(
        "reply-rewrites",
        lines(&case.reply_rewrites),
        rewritten(system, back_steps).join("; "),
    );
    compare(
        "branches",
        lines(&case.branches),
        branches(answer, case.branches.as_deref()).join("; "),
    );
    found
}

/// What a person needs to see why: the whole way.
fn way(system: &System, answer: &Answer) -> String {
    let line = |steps: &[Step]| {
        let words = steps.iter().map(|one| step(system, one));
        words.collect::<Vec<_>>().join(" · ")
    };
    let mut text = format!("      way: {}\n", line(&answer.steps));
    if let Some(reply) = &answer.reply {
        text += &format!("      back: {}\n", line(&reply.steps));
    }
    if let Some(because) = &answer.because {
        text += &format!("      because: {because}\n");
    }
    text
}

fn examine(scene: &Scene, backend: Loader, case: &Case) -> Result<(), String> {
    let system = system(scene, backend)?;
    let question = resolve(&system, &request(&case.ask)).map_err(|error| format!("{error:?}"))?;
    let mut flow = question.flow;
    flow.ttl = case.ttl;
    let answer = why(&system, &flow);
    let mut found = differences(&system, case, &answer);
    // An answer that forks says nothing unless the case says how.
    if case.branches.is_none() && !answer.branches.is_empty() {
        found.push(format!("forks: {}", branches(&answer, None).join("; ")));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("      {}\n{}", found.join("\n      "), way(&system, &answer)))
}

#[test]
fn the_simulator_does_what_the_kernel_does() {
    let only = std::env::var("FACT").ok();
    let facts = Fact::read_all(&facts_dir()).unwrap();
    let (mut held, mut total, mut report) = (0, 0, String::new());
    let wanted =
        |fact: &&Fact| only.as_ref().is_none_or(|only| fact.fact.starts_with(only.as_str()));
    for fact in facts.iter().filter(wanted) {
        for scene in &fact.scenes {
            for (backend, case) in
                scene.backends().iter().flat_map(|b| scene.cases.iter().map(move |c| (*b, c)))
            {
                total += 1;
                match examine(scene, backend, case) {
                    Ok(()) => held += 1,
                    Err(why) => {
                        report += &format!(
                            "  {} [{}] {} ({})\n{why}",
                            fact.fact,
                            word(backend),
                            case.ask,
                            scene.about
                        );
                    }
                }
            }
        }
    }
    println!("{held}/{total} cases of {} facts hold", facts.len());
    assert!(total > 0 && held == total, "{held}/{total} cases hold\n{report}");
}

/// A case that names nothing to compare would always hold.
#[test]
fn every_case_says_something() {
    for fact in Fact::read_all(&facts_dir()).unwrap() {
        for case in fact.scenes.iter().flat_map(|scene| &scene.cases) {
            let blank = Case { ask: case.ask.clone(), ttl: case.ttl, ..Case::default() };
            assert_ne!(format!("{case:?}"), format!("{blank:?}"), "{}: {}", fact.fact, case.ask);
        }
    }
}
