//! A redacted snapshot answers every question as the original does, up to the pseudonyms.

use std::collections::BTreeSet;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::answer::{Answer, Egress, Step};
use nattrace_model::build::{self, Text};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_parser::redact::{Input, Pseudonyms, redact};

/// What an answer says, with the addresses and interfaces of the redacted host.
fn essence(answer: &Answer, mut renamed: impl FnMut(&Egress) -> String) -> String {
    let rules = |steps: &[Step]| -> Vec<String> {
        let told = |step: &Step| match step {
            Step::Rule { rule, effect, .. } => Some(format!("{rule:?} {effect:?}")),
            Step::Return { chain, .. } => Some(format!("return {chain:?}")),
            Step::Policy { chain, policy, .. } => Some(format!("policy {chain:?} {policy:?}")),
            Step::Route { decision, .. } => Some(format!("{decision:?}")),
            Step::Conntrack { .. } => Some("conntrack".to_owned()),
            Step::Socket { listening, .. } => Some(format!("socket {listening}")),
        };
        steps.iter().filter_map(told).collect()
    };
    let mut text = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        answer.verdict,
        answer.outcome,
        answer.decided_by,
        answer.egress.as_ref().map(&mut renamed),
        rules(&answer.steps),
    );
    if let Some(reply) = &answer.reply {
        let egress = reply.egress.as_ref().map(&mut renamed);
        text += &format!(" reply {:?} {egress:?} {:?}", reply.verdict, rules(&reply.steps));
    }
    if let Some(proxy) = &answer.proxy {
        let egress = proxy.egress.as_ref().map(&mut renamed);
        text += &format!(" proxy {:?} {egress:?} {:?}", proxy.outcome, rules(&proxy.steps));
    }
    for branch in &answer.branches {
        text += &format!("\n  {:?} {:?}", branch.when.len(), branch.answer.outcome);
    }
    text
}

fn told(egress: &Egress) -> String {
    let packet = &egress.packet;
    format!(
        "{} {} {:?} {:?} {:?}",
        packet.source, packet.destination, packet.transport, egress.out_interface, packet.mark
    )
}

fn told_with(egress: &Egress, pseudonyms: &mut Pseudonyms) -> String {
    let mut egress = egress.clone();
    egress.packet.source = pseudonyms.address(egress.packet.source);
    egress.packet.destination = pseudonyms.address(egress.packet.destination);
    egress.out_interface = egress.out_interface.map(|name| pseudonyms.interface(&name));
    told(&egress)
}

/// What is still there although something else stands for it.
fn leaks(text: &str, pseudonyms: &Pseudonyms) -> Vec<String> {
    let table = pseudonyms.table();
    let stands_for: BTreeSet<&String> = table.values().collect();
    let inside = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | ':' | '_' | '-');
    let words: BTreeSet<&str> = text.split(|char| !inside(char)).collect();
    let left = table.iter().filter(|((_, original), pseudonym)| {
        original != *pseudonym
            && words.contains(original.as_str())
            && !stands_for.contains(original)
    });
    left.map(|((kind, original), _)| format!("{kind} {original}")).collect()
}

fn redacted_flow(flow: &Flow, pseudonyms: &mut Pseudonyms) -> Flow {
    Flow {
        source: pseudonyms.address(flow.source),
        destination: pseudonyms.address(flow.destination),
        in_interface: flow.in_interface.as_deref().map(|name| pseudonyms.interface(name)),
        ..flow.clone()
    }
}

#[test]
fn every_probe_has_the_same_answer() {
    let mut asked = 0;
    let mut changed = 0;
    let mut differences = Vec::new();
    for case in Case::read_all(&cases_dir()).unwrap() {
        let inputs: Vec<Input<'_>> =
            case.parts.iter().map(|(name, text)| Input { name, text }).collect();
        let mut redacted = redact(&inputs).unwrap();
        for (name, text) in &redacted.parts {
            let leaks = leaks(text, &redacted.pseudonyms);
            assert_eq!(leaks, Vec::<String>::new(), "{} {name}", case.name);
        }
        let texts: Vec<Text<'_>> =
            redacted.parts.iter().map(|(name, text)| Text { name, text }).collect();
        let before = build::load(&case.texts(), &[]);
        let after = build::load(&texts, &[]);
        let (before, after) = (before.system, after.system);
        for probe in &case.probes {
            for state in [FlowState::New, FlowState::Established] {
                let flow = probe.question(state);
                let other = redacted_flow(&flow, &mut redacted.pseudonyms);
                changed += usize::from(other != flow);
                let expected = nattrace_model::simulate::why(&before, &flow);
                let found = nattrace_model::simulate::why(&after, &other);
                let expected =
                    essence(&expected, |egress| told_with(egress, &mut redacted.pseudonyms));
                let found = essence(&found, told);
                asked += 1;
                if expected != found {
                    differences.push(format!(
                        "{} {} {}\n- {expected}\n+ {found}",
                        case.name, probe.n, probe.probe
                    ));
                }
            }
        }
    }
    println!("{asked} questions, {changed} of them about pseudonyms");
    assert!(asked > 1000 && changed * 4 > asked * 3, "{asked} {changed}");
    assert!(
        differences.is_empty(),
        "{} of {asked}:\n{}",
        differences.len(),
        differences[..differences.len().min(5)].join("\n")
    );
}
