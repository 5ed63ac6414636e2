//! Every question of every seed: what the library says against what has to be said.

use std::fmt::Write as _;

use nattrace_corpus::seed::{Question, Says, Seed, Way, seeds_dir};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Effect, Egress, Reply, Step};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::host::Assumption;
use nattrace_model::packet::Transport;
use nattrace_model::simulate::why;

fn system(seed: &Seed, variant: &str) -> System {
    let given = seed.given(variant).unwrap();
    let texts = |named: &[(&str, &str)]| -> Vec<(String, String)> {
        named.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let (parts, rules) = (texts(&given.parts), texts(&given.rules));
    let parts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    let rules: Vec<Text<'_>> = rules.iter().map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&parts, &rules);
    assert!(!loaded.has_errors(), "{}/{variant}: {:?}", seed.name, loaded.diagnostics);
    loaded.system
}

/// `SRC -> DST` and options, as on the command line.
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
            other => panic!("unknown option {other}"),
        }
    }
    request
}

/// The name of a variant as the command line writes it: `TtlExpired` is `ttl-expired`.
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

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Other(name) => name.to_string(),
        known => word(known),
    }
}

fn left(egress: Option<&Egress>) -> String {
    let Some(egress) = egress else { return "none".to_owned() };
    let (from, to) = match egress.packet.transport {
        Transport::Ports { source, destination } => {
            (format!(":{source}"), format!(":{destination}"))
        }
        Transport::Icmp { .. } | Transport::Opaque => Default::default(),
    };
    let source = match egress.source_unknown {
        true => "?".to_owned(),
        false => format!("{}{from}", egress.packet.source),
    };
    let mut text = format!("{source} > {}{to}", egress.packet.destination);
    if let Some(name) = &egress.out_interface {
        text += &format!(" by {name}");
    }
    text
}

fn back(reply: Option<&Reply>) -> String {
    match reply {
        Some(reply) => format!("{} {}", word(reply.verdict), left(reply.egress.as_ref())),
        None => "none".to_owned(),
    }
}

/// The rules that matched, with their effect and without.
fn rules<'s>(system: &'s System, answer: &Answer) -> Vec<(String, &'s str)> {
    let rules = answer.steps.iter().filter_map(|step| match step {
        Step::Rule { rule, effect: done, .. } => {
            let text = system.rules.text(system.rules.rule(*rule).unwrap());
            Some((format!("{} {text}", effect(done)), text))
        }
        _ => None,
    });
    rules.collect()
}

fn decided(system: &System, answer: &Answer) -> String {
    match answer.decided_by.and_then(|at| answer.steps.get(at)) {
        Some(Step::Rule { rule, .. }) => {
            system.rules.text(system.rules.rule(*rule).unwrap()).to_owned()
        }
        Some(Step::Policy { chain, policy, .. }) => {
            let name = &system.rules.chain(*chain).unwrap().name;
            format!("policy {} of {name}", word(policy).to_uppercase())
        }
        Some(Step::Route { decision, .. }) => word(decision),
        Some(Step::Socket { listening, .. }) => format!("socket {listening}"),
        Some(Step::Return { .. } | Step::Conntrack { .. }) => "no decision".to_owned(),
        None => "none".to_owned(),
    }
}

/// Where an answer does not say what has to be said.
fn differences(system: &System, says: &Says, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: &Option<String>, actual: String| {
        if let Some(expected) = expected.as_ref().filter(|expected| **expected != actual) {
            found.push(format!("{what}: `{actual}` instead of `{expected}`"));
        }
    };
    compare("verdict", &says.verdict, word(answer.verdict));
    compare("outcome", &says.outcome, word(answer.outcome));
    compare("egress", &says.egress, left(answer.egress.as_ref()));
    compare("in", &says.comes_in, answer.flow.in_interface.clone().unwrap_or("none".to_owned()));
    compare("decided", &says.decided, decided(system, answer));
    compare("reply", &says.reply, back(answer.reply.as_ref()));
    let matched = rules(system, answer);
    for rule in says.met.iter().filter(|rule| !matched.iter().any(|(met, _)| met == *rule)) {
        found.push(format!("did not meet `{rule}`, but {matched:#?}"));
    }
    for rule in says.unmet.iter().filter(|rule| matched.iter().any(|(_, met)| met == rule)) {
        found.push(format!("met `{rule}`"));
    }
    let because = answer.because.as_deref().unwrap_or("-");
    for words in says.because.iter().filter(|words| !because.contains(*words)) {
        found.push(format!("because: `{because}` does not contain `{words}`"));
    }
    if let Some(says) = &says.proxy {
        match &answer.proxy {
            Some(proxy) => found.extend(
                differences(system, says, proxy).into_iter().map(|line| format!("proxy: {line}")),
            ),
            None => found.push("no connection of docker-proxy".to_owned()),
        }
    }
    found
}

/// Whether one of the branches is the way; where none is, how the nearest differs.
fn way_differences(system: &System, way: &Way, answer: &Answer) -> Vec<String> {
    let mut nearest: Option<Vec<String>> = None;
    for branch in &answer.branches {
        let decided = |(question, yes): (&String, &bool)| {
            branch.when.iter().any(|(asked, answered)| asked == question && answered == yes)
        };
        if !way.when.iter().all(decided) {
            continue;
        }
        let found = differences(system, &way.says, &branch.answer);
        if nearest.as_ref().is_none_or(|nearest| found.len() < nearest.len()) {
            nearest = Some(found);
        }
    }
    let nearest = nearest.unwrap_or_else(|| vec!["no such way".to_owned()]);
    nearest.into_iter().map(|line| format!("way {:?}: {line}", way.when)).collect()
}

fn question_differences(
    system: &System,
    question: &Question,
    answer: &Answer,
    assumptions: &[Assumption],
) -> Vec<String> {
    let mut found = differences(system, &question.says, answer);
    let ways = question.ways.as_deref().unwrap_or_default();
    let number = answer.branches.len();
    if question.ways.is_some() && number != ways.len() {
        let listed: Vec<String> = answer
            .branches
            .iter()
            .map(|branch| {
                let Answer { verdict, outcome, egress, .. } = &branch.answer;
                format!("{:?}: {verdict:?} {outcome:?} {}", branch.when, left(egress.as_ref()))
            })
            .collect();
        found.push(format!("{number} ways instead of {}: {listed:#?}", ways.len()));
    }
    for way in ways {
        found.extend(way_differences(system, way, answer));
    }
    let listed = |code: &String| assumptions.iter().any(|assumption| assumption.code == code);
    for code in question.assumes.iter().filter(|code| !listed(code)) {
        let codes: Vec<_> = assumptions.iter().map(|assumption| assumption.code).collect();
        found.push(format!("does not assume `{code}`, but {codes:?}"));
    }
    for code in question.assumes_not.iter().filter(|code| listed(code)) {
        found.push(format!("assumes `{code}`"));
    }
    for words in &question.mentions {
        if !assumptions.iter().any(|assumption| assumption.text.contains(words)) {
            found.push(format!("no assumption mentions `{words}`"));
        }
    }
    found
}

#[test]
fn every_question_is_answered_as_it_has_to_be() {
    let seeds = Seed::read_all(&seeds_dir()).unwrap();
    let (mut total, mut failed, mut report) = (0, 0, String::new());
    for seed in &seeds {
        for question in &seed.expect.questions {
            for variant in &question.of {
                total += 1;
                let system = system(seed, variant);
                let asked = format!("{}/{variant}: {}", seed.name, question.ask);
                let resolved = resolve(&system, &request(&question.ask));
                let resolved = resolved.unwrap_or_else(|error| panic!("{asked}: {error}"));
                let answer = why(&resolved.system(&system), &resolved.flow);
                let mut assumptions = resolved.assumptions;
                assumptions.extend(answer.assumptions.iter().cloned());
                let found = question_differences(&system, question, &answer, &assumptions);
                if found.is_empty() {
                    continue;
                }
                failed += 1;
                writeln!(report, "{asked}\n  ({})", question.about).unwrap();
                for line in found {
                    writeln!(report, "    {line}").unwrap();
                }
            }
        }
    }
    println!("{}/{total} questions of {} seeds answered", total - failed, seeds.len());
    assert!(total > 0 && failed == 0, "{failed} of {total}\n{report}");
}
