//! The plan for `nattrace apply`.

use nattrace_apply::{Analysed, Edit, MustHold, Op, Plan, PolicyText, digest};
use nattrace_model::answer::Outcome;
use nattrace_model::simulate::why;
use nattrace_verifier::check::Status;
use nattrace_verifier::repair;

use super::Question;
use super::written::Written;
use crate::output::fix::warnings;
use crate::output::json;
use crate::output::names;

/// The plan of a change.
pub(super) fn of(question: &Question<'_>, found: &repair::Fix, written: &[Written]) -> Plan {
    let edits = found.edits.iter().map(edit).collect();
    let analysed = written.iter().map(|one| Analysed {
        family: one.family,
        backend: one.backend,
        digest: digest(&one.before, one.family, one.backend),
    });
    let mut plan = Plan::new(edits, analysed.collect());
    plan.policy = Some(PolicyText { name: question.name.clone(), text: question.text.clone() });
    plan.repairs = found.repairs.clone();
    plan.must_hold = must_hold(question, found);
    plan.notes = warnings(found);
    plan
}

/// An edit, in the words of a plan.
pub(super) fn edit(edit: &repair::Edit) -> Edit {
    let holder = match edit.place.holder {
        repair::Holder::Iptables(backend, table) => {
            nattrace_apply::Holder::Iptables(backend, table)
        }
        repair::Holder::Own => nattrace_apply::Holder::Own,
    };
    let op = match edit.op {
        repair::Op::Insert => Op::Insert,
        repair::Op::Replace => Op::Replace,
        repair::Op::Delete => Op::Delete,
        repair::Op::Append => Op::Append,
    };
    Edit {
        family: edit.place.family,
        holder,
        chain: edit.place.chain.clone(),
        op,
        position: Some(edit.position),
        rule: edit.rule.clone(),
        replaces: edit.replaces.clone(),
        because: edit.because.clone(),
    }
}

/// The packets that showed what was wrong, and what becomes of them with the change.
fn must_hold(question: &Question<'_>, found: &repair::Fix) -> Vec<MustHold> {
    let broken = found.before.iter().filter(|finding| finding.status == Status::Fails);
    let mut flows = Vec::new();
    for finding in broken {
        let entry = question.policy.entries.iter().find(|entry| entry.span == finding.span);
        if entry.is_none_or(|entry| !entry.given.is_empty()) || !question.given.is_empty() {
            continue;
        }
        for example in &finding.counterexamples {
            let answer = why(&found.system, &example.flow);
            let flow = serde_json::to_value(json::flow_value(&example.flow));
            let Ok(serde_json::Value::Object(flow)) = flow else { continue };
            if answer.outcome == Outcome::Undetermined {
                continue;
            }
            flows.push(MustHold {
                name: finding.name.clone(),
                flow,
                outcome: names::outcome(answer.outcome).to_owned(),
            });
        }
    }
    flows
}
