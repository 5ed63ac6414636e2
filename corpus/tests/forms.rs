//! The form in which rules were printed changes no answer: what `iptables -S` and `iptables -nvL`
//! show is as good as iptables-save, and what `iptables -L` hides is said, never guessed.

use std::fmt::Write as _;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::flow::FlowState;
use nattrace_model::packet::Packet;
use nattrace_model::simulate::why;

/// The parts that hold the rules of IPv4, one form each.
const FORMS: [&str; 4] = ["iptables-save", "iptables-S", "iptables-Lnv", "iptables-L"];

/// The host with its rules in this form only; none where the case lacks the form.
fn system(case: &Case, form: &str) -> Option<System> {
    case.parts.iter().find(|(name, _)| name == form)?;
    let texts: Vec<Text<'_>> = case
        .parts
        .iter()
        .filter(|(name, _)| name == form || !FORMS.contains(&name.as_str()))
        .map(|(name, text)| Text { name, text })
        .collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{} {form}: {:?}", case.name, loaded.diagnostics);
    Some(loaded.system)
}

/// What an answer says, without what differs by form: places, texts, assumptions.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    verdict: Verdict,
    outcome: Outcome,
    egress: Option<(Packet, Option<String>)>,
    /// The rules that matched, as `hook table/chain/number`.
    rules: Vec<String>,
}

/// What is said of the packet, of its answer, and of the connection that a proxy opens.
fn said(system: &System, answer: &Answer) -> Vec<Said> {
    let egress = |egress: &Option<nattrace_model::answer::Egress>| {
        egress.as_ref().map(|egress| (egress.packet.clone(), egress.out_interface.clone()))
    };
    let mut all = vec![Said {
        verdict: answer.verdict,
        outcome: answer.outcome,
        egress: egress(&answer.egress),
        rules: matched(system, &answer.steps),
    }];
    if let Some(reply) = &answer.reply {
        all.push(Said {
            verdict: reply.verdict,
            outcome: answer.outcome,
            egress: egress(&reply.egress),
            rules: matched(system, &reply.steps),
        });
    }
    if let Some(proxy) = &answer.proxy {
        all.extend(said(system, proxy));
    }
    for branch in &answer.branches {
        all.extend(said(system, &branch.answer));
    }
    all
}

fn matched(system: &System, steps: &[Step]) -> Vec<String> {
    let number = |step: &Step| {
        let Step::Rule { hook, rule, .. } = step else { return None };
        let chain = system.rules.chain(rule.chain)?;
        let table = chain.table.as_str();
        Some(format!("{hook:?} {table}/{}/{}", chain.name, rule.index + 1))
    };
    steps.iter().filter_map(number).collect()
}

#[test]
fn rules_of_every_form_answer_the_same() {
    let (mut total, mut wrong) = (0, String::new());
    for case in Case::read_all(&cases_dir()).unwrap() {
        let expected = system(&case, "iptables-save").unwrap();
        for form in ["iptables-S", "iptables-Lnv"] {
            let Some(other) = system(&case, form) else {
                println!("{}: no {form}", case.name);
                continue;
            };
            for probe in &case.probes {
                total += 1;
                let flow = probe.question(FlowState::New);
                let left = said(&expected, &why(&expected, &flow));
                let right = said(&other, &why(&other, &flow));
                if left != right {
                    let Case { name, .. } = &case;
                    writeln!(wrong, "{name} {} {form}:\n  {left:?}\n  {right:?}", probe.n).unwrap();
                }
            }
        }
    }
    println!("{total} answers compared");
    assert!(total > 1_000 && wrong.is_empty(), "{total}\n{wrong}");
}

#[test]
fn a_listing_without_interfaces_never_contradicts() {
    let (mut total, mut sure, mut wrong) = (0, 0, String::new());
    for case in Case::read_all(&cases_dir()).unwrap() {
        let expected = system(&case, "iptables-save").unwrap();
        let Some(other) = system(&case, "iptables-L") else {
            println!("{}: no iptables-L", case.name);
            continue;
        };
        for probe in &case.probes {
            total += 1;
            let flow = probe.question(FlowState::New);
            let (left, right) = (why(&expected, &flow), why(&other, &flow));
            let agrees = |verdict: bool, outcome: bool| {
                (verdict || right.verdict == Verdict::Undetermined)
                    && (outcome || right.outcome == Outcome::Undetermined)
            };
            if right.verdict != Verdict::Undetermined {
                sure += 1;
            }
            let mut agrees = agrees(right.verdict == left.verdict, right.outcome == left.outcome);
            // Where ways fork, each has its own packet.
            if right.verdict != Verdict::Undetermined && right.branches.is_empty() {
                agrees &= left.egress == right.egress;
            }
            if !agrees {
                writeln!(
                    wrong,
                    "{} {}: {:?} {:?} instead of {:?} {:?}\n  {:?}\n  {:?}",
                    case.name,
                    probe.n,
                    right.verdict,
                    right.outcome,
                    left.verdict,
                    left.outcome,
                    left.egress,
                    right.egress,
                )
                .unwrap();
            }
        }
    }
    println!("{sure} of {total} answers are sure without the interfaces");
    assert!(total > 500 && sure > 100 && wrong.is_empty(), "{total}\n{wrong}");
}
