//! Interfaces that the rules of a plan name, and that this host does not have: a rule about one never
//! matches, and says nothing of it.

use nattrace_apply::{Edit, Op, Override, Plan, Refusal};
use nattrace_model::System;

/// The refusals: one for each interface that is neither here nor in a rule that is here.
pub(super) fn missing(plan: &Plan, now: &System) -> Vec<Refusal> {
    let mut told: Vec<&str> = Vec::new();
    let mut refusals = Vec::new();
    for edit in plan.edits.iter().filter(|edit| edit.op != Op::Delete) {
        for name in named(edit) {
            if told.contains(&name) || is_known(name, now) {
                continue;
            }
            told.push(name);
            let message = format!("this host has no interface `{name}`, which an edit asks for");
            let help = "give `fix` the part ip-addr.json of this host, or look at it live, and \
                        make the plan anew";
            refusals.push(Refusal::new(message).help(help).force(Override::Drift));
        }
    }
    refusals
}

/// The interfaces that a rule names in full.
fn named(edit: &Edit) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = edit.rule.split(' ').collect();
    let options = ["-i", "-o", "iifname", "oifname", "--physdev-in", "--physdev-out"];
    let mut names = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if !options.contains(word) {
            continue;
        }
        let behind = words.iter().skip(index + 1).find(|word| **word != "!=");
        names.extend(behind.map(|name| name.trim_matches('"')));
    }
    names.into_iter().filter(|name| !name.is_empty() && !name.ends_with(['+', '*']))
}

fn is_known(name: &str, now: &System) -> bool {
    let rules = &now.rules;
    let mut texts = rules.chains.iter().flat_map(|chain| &chain.rules).map(|rule| rules.text(rule));
    let names = |text: &str| text.split([' ', '"']).any(|word| word == name);
    now.host.interfaces.iter().any(|own| own.name == name) || texts.any(names)
}
