//! One answer out of those for every combination of decisions.

use crate::answer::{Answer, Branch, Outcome, Step, Verdict};
use crate::host::Assumption;

/// Whether every combination of decisions was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    Complete,
    Cut,
}

/// The decisions of one run, and its answer.
pub(crate) type Run = (Vec<(String, bool)>, Answer);

/// Merges the answers of all runs; with a single run there is nothing to merge.
pub(crate) fn merge(first: Run, others: Vec<Run>, coverage: Coverage) -> Answer {
    let (decisions, first) = first;
    if others.is_empty() && coverage == Coverage::Complete {
        return first;
    }
    let mut merged = first.clone();
    let agree = |same: &dyn Fn(&Answer) -> bool| others.iter().all(|(_, other)| same(other));
    let cut = coverage == Coverage::Cut;
    if cut || !agree(&|other| other.verdict == first.verdict) {
        merged.verdict = Verdict::Undetermined;
    }
    if cut || !agree(&|other| other.outcome == first.outcome) {
        merged.outcome = Outcome::Undetermined;
        merged.because = None;
    }
    let same_way = agree(&|other| other.egress == first.egress);
    if !same_way {
        merged.egress = None;
    }
    if merged.verdict == Verdict::Undetermined || !same_way {
        // Only what is common to all is told here; the rest is in the branches.
        let common = others.iter().map(|(_, other)| common_steps(&first.steps, &other.steps)).min();
        merged.steps.truncate(common.unwrap_or(merged.steps.len()));
        merged.decided_by = None;
        merged.next.clear();
        merged.proxy = None;
    }
    if merged.outcome == Outcome::Undetermined || !same_way {
        merged.reply = None;
    }
    for (_, other) in &others {
        merged.assumptions.extend(other.assumptions.iter().cloned());
    }
    if cut {
        merged.assumptions.push(Assumption {
            code: "too-many-branches",
            text: "more matches than can be told apart are decided by chance or not known; only the first combinations are listed".into(),
        });
    }
    merged.assumptions.sort();
    merged.assumptions.dedup();
    let all = std::iter::once((decisions, first)).chain(others);
    merged.branches = all.map(|(when, answer)| Branch { when, answer }).collect();
    merged
}

fn common_steps(one: &[Step], other: &[Step]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
