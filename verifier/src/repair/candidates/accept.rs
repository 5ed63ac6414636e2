//! Rules that let a packet pass, or its answer.

use nattrace_model::answer::{Answer, ReplyKind, Verdict};
use nattrace_model::hook::Hook;

use super::super::anchor::Anchor;
use super::super::change::Candidate;
use super::super::evidence::{Decider, Evidence, Seen, decider};
use super::super::owner::is_by_hand;
use super::super::wording::{Wording, is};
use super::{deletion, meant, new_rule};
use nattrace_model::target::Target;
use nattrace_parser::syntax::TableName;

/// What lets the packet pass where it was stopped, or else its answer.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Candidate> {
    if evidence.was_stopped() {
        return forth(evidence);
    }
    back(evidence, evidence.answer)
}

fn forth(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let Some((index, decider)) = evidence.decider() else { return Vec::new() };
    let (hook, what) = match decider {
        Decider::Rule(hook, rule) => (hook, evidence.name(rule)),
        Decider::Policy(hook, chain) => {
            let chain = evidence.chain(chain);
            (
                hook,
                chain.map_or_else(String::new, |c| format!("the policy of {}/{}", c.table, c.name)),
            )
        }
        Decider::Route(..) => return Vec::new(),
    };
    let seen = evidence.seen(index);
    let because = format!("{what} stops what the policy allows");
    let mut found = Vec::new();
    if let Some(anchor) = evidence.filtering(evidence.steps(), index, decider) {
        let worded = match hook {
            // Where the packet goes is not decided yet, or it stays here.
            Hook::Prerouting | Hook::Input => {
                let mut here = seen.clone();
                here.out_interface = None;
                evidence.passing(&here)
            }
            Hook::Forward | Hook::Output | Hook::Postrouting => evidence.passing(&seen),
        };
        for (wording, breadth) in worded {
            let wording = match hook {
                Hook::Output | Hook::Postrouting => Wording { in_interface: None, ..wording },
                Hook::Prerouting | Hook::Input | Hook::Forward => wording,
            };
            let accept = wording.to("ACCEPT");
            found.extend(new_rule(evidence, &anchor, &accept, &because, 10 + breadth));
        }
    }
    if hook == Hook::Forward
        && let Some(anchor) = evidence.filtering(evidence.steps(), index, decider)
    {
        found.extend(as_asked(evidence, &seen, &anchor, &because));
    }
    let accepts = |target: &Target| matches!(target, Target::Accept);
    found.extend(meant::of(evidence, &seen, TableName::Filter, accepts));
    if let Decider::Rule(_, rule) = decider
        && is_by_hand(evidence, rule)
        && let Some(anchor) = evidence.instead(rule)
    {
        // Without a rule that stops others as well, these pass too: an edit more is better.
        let dislike = if evidence.is_named_by(rule, &seen) { 16 } else { 130 };
        found.extend(deletion(&anchor, &because, dislike));
    }
    found
}

/// What lets packets pass that were led there, by the address and port that they asked for: who
/// asks the same socket by its own address still meets what stops it.
fn as_asked(
    evidence: &Evidence<'_>,
    seen: &Seen,
    anchor: &Anchor,
    because: &str,
) -> Option<Candidate> {
    let flow = &evidence.answer.flow;
    let port = flow.destination_port.filter(|_| seen.redirected)?;
    let asked = format!(
        "conntrack --ctorigdst {} --ctorigdstport {port} --ctdir ORIGINAL",
        flow.destination
    );
    let accept = Wording {
        in_interface: seen.in_interface.clone().and_then(is),
        protocol: Some(flow.protocol),
        matches: vec![asked],
        ..Wording::default()
    };
    // What an edit stops was meant to be stopped, but for those who ask by the right door.
    let dislike = if evidence.is_stopped_by_an_edit() { 11 } else { 24 };
    new_rule(evidence, anchor, &accept.to("ACCEPT"), because, dislike)
}

/// What lets the answer pass.
fn back(evidence: &Evidence<'_>, answer: &Answer) -> Vec<Candidate> {
    let Some(reply) = &answer.reply else { return Vec::new() };
    let stopped = matches!(reply.verdict, Verdict::Dropped | Verdict::Rejected);
    if !stopped || reply.kind != ReplyKind::Answer {
        return Vec::new();
    }
    let found = reply.decided_by.and_then(|index| decider(&reply.steps, index));
    let Some((index, decider)) = found else { return Vec::new() };
    let hook = match decider {
        Decider::Rule(hook, _) | Decider::Policy(hook, _) => hook,
        Decider::Route(..) => return Vec::new(),
    };
    let Some(anchor) = evidence.filtering(&reply.steps, index, decider) else {
        return Vec::new();
    };
    let state = "conntrack --ctstate RELATED,ESTABLISHED".to_owned();
    let base = Wording { matches: vec![state], ..Wording::default() }.to("ACCEPT");
    let because = "the answers of connections that are open have to pass";
    let mut candidates = Vec::new();
    let towards = answer.flow.in_interface.clone();
    let from = answer.egress.as_ref().and_then(|egress| egress.out_interface.clone());
    let narrow = match hook {
        Hook::Forward | Hook::Postrouting => {
            Wording { out_interface: towards.and_then(is), ..base.clone() }
        }
        Hook::Output => Wording { out_interface: towards.and_then(is), ..base.clone() },
        Hook::Prerouting | Hook::Input => {
            Wording { in_interface: from.and_then(is), ..base.clone() }
        }
    };
    candidates.extend(new_rule(evidence, &anchor, &narrow, because, 8));
    candidates.extend(new_rule(evidence, &anchor, &base, because, 14));
    candidates
}
