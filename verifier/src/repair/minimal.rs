//! Fewer changes, where fewer are enough: what was needed on the way need not be needed in the end.

use super::change::Change;
use super::search::Search;
use crate::check::Finding;

/// Up to how many changes all of their subsets are looked at.
const ALL_SUBSETS: usize = 5;

/// A part of the changes of which no part is enough.
pub(super) fn reduced(
    search: &mut Search<'_>,
    mut changes: Vec<Change>,
    mut findings: Vec<Finding>,
) -> (Vec<Change>, Vec<Finding>) {
    if changes.len() <= ALL_SUBSETS {
        for kept in smaller(changes.len()) {
            let part: Vec<Change> = chosen(&changes, kept);
            if let Some(found) = suffices(search, &part) {
                return (part, found);
            }
        }
        return (changes, findings);
    }
    let mut index = 0;
    while index < changes.len() {
        let mut part = changes.clone();
        part.remove(index);
        match suffices(search, &part) {
            Some(found) => {
                changes = part;
                findings = found;
            }
            None => index += 1,
        }
    }
    (changes, findings)
}

/// What is found with these changes, where they are enough.
fn suffices(search: &mut Search<'_>, part: &[Change]) -> Option<Vec<Finding>> {
    if part.is_empty() || !search.mends(part) {
        return None;
    }
    let (holds, findings) = search.prove(part);
    holds.then_some(findings)
}

/// The subsets of so many things as bits, smaller ones first, without that of all.
fn smaller(count: usize) -> Vec<u32> {
    let all = 1u32.checked_shl(u32::try_from(count).unwrap_or(0)).unwrap_or(1) - 1;
    let mut subsets: Vec<u32> = (1..all).collect();
    subsets.sort_by_key(|subset| (subset.count_ones(), *subset));
    subsets
}

fn chosen(changes: &[Change], kept: u32) -> Vec<Change> {
    let indexed = (0u32..).zip(changes);
    indexed
        .filter(|(index, _)| kept & (1 << index) != 0)
        .map(|(_, change)| change.clone())
        .collect()
}
