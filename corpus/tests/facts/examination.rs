//! A case put to the simulator.

use nattrace_corpus::fact::{Case, Loader, Scene};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Step};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

use crate::words::{branches, left, met, reply, rewritten, routed, step, word};

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

pub(crate) fn system(scene: &Scene, backend: Loader) -> Result<System, String> {
    let parts = scene.snapshot(backend).unwrap();
    let texts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    // A part that is not read as meant would make a case say nothing.
    let found = loaded.diagnostics.iter();
    let wrong: String =
        found.map(|found| format!("      {}: {:?}\n", found.part, found.diagnostic)).collect();
    if wrong.is_empty() { Ok(loaded.system) } else { Err(wrong) }
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
    let mut lines = vec![format!("way: {}", line(&answer.steps))];
    lines.extend(answer.reply.as_ref().map(|reply| format!("back: {}", line(&reply.steps))));
    lines.extend(answer.because.as_ref().map(|because| format!("because: {because}")));
    lines.iter().map(|line| format!("      {line}\n")).collect()
}

pub(crate) fn examine(scene: &Scene, backend: Loader, case: &Case) -> Result<(), String> {
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
