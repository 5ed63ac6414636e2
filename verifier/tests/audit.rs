//! The law of `unreachable-rule`: no packet of the lab gets to a rule of which the audit says that
//! none does.
//!
//! `NATTRACE_LAW_PACKETS` sets how many packets are asked about, `NATTRACE_LAW_SEED` where the
//! drawing begins.

use std::collections::HashSet;

use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::answer::{Answer, Step};
use nattrace_model::build::{Text, load};
use nattrace_model::ruleset::RuleId;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;
use nattrace_verifier::audit::{Owners, audit};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The rules that a packet meets on all ways that it may go, and its answer.
fn met(answer: &Answer, all: &mut HashSet<RuleId>) {
    // Each rule asks anew where NAT drew a port by chance: ways that no port goes are among these.
    if answer.egress.as_ref().is_some_and(|egress| egress.source_port_random) {
        return;
    }
    let steps = answer.reply.iter().flat_map(|reply| &reply.steps).chain(&answer.steps);
    all.extend(steps.filter_map(|step| match step {
        Step::Rule { rule, .. } => Some(*rule),
        _ => None,
    }));
    answer.branches.iter().for_each(|branch| met(&branch.answer, all));
    if let Some(proxy) = &answer.proxy {
        met(proxy, all);
    }
}

#[test]
fn no_packet_gets_to_a_rule_that_none_is_said_to_get_to() {
    let wanted = number("NATTRACE_LAW_PACKETS", 3000);
    let seed = number("NATTRACE_LAW_SEED", 5);
    let (mut asked, mut rulesets, mut unreached, mut drawn) = (0u64, 0u64, 0usize, 0u64);
    while asked < wanted {
        drawn += 1;
        let family = if drawn % 3 == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let drawing = draw_host(seed + drawn % 2, drawn, family, 40).unwrap();
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&texts, &[]);
        if loaded.has_errors() {
            continue;
        }
        let system = loaded.system;
        rulesets += 1;
        let found = audit(&system, Owners::All);
        let dead = found
            .iter()
            .filter(|finding| finding.message.starts_with("no packet gets to this rule"));
        let dead: Vec<RuleId> = dead.filter_map(|finding| finding.rule).collect();
        unreached += dead.len();
        let mut hit = HashSet::new();
        for flow in &drawing.flows {
            asked += 1;
            met(&why(&system, flow), &mut hit);
        }
        if let Some(id) = dead.iter().find(|id| hit.contains(id)) {
            let rule = system.rules.rule(*id).unwrap();
            let said = found.iter().find(|finding| finding.rule == Some(*id)).unwrap();
            panic!(
                "seed {seed}, ruleset {drawn}: a packet gets to {} `{}`, of which it is said: {}",
                system.rules.place(rule),
                system.rules.text(rule),
                said.message
            );
        }
    }
    eprintln!("{rulesets} rulesets, {asked} packets, {unreached} rules that none gets to");
    assert!(unreached > 0);
}
