//! Where a rule belongs among rules that others changed meanwhile.

use std::collections::HashMap;

/// The index at which a rule fits best between the neighbours that it had.
///
/// Every neighbour that stands on its side of a gap speaks for the gap, the nearest ones most. Of
/// gaps that fit alike, the one right behind what stood before it; where nothing stands before it,
/// the one right before what stood behind it, because that is where `-I` and `-A` of others would
/// have left it. The nearest neighbours come first in both lists.
pub(crate) fn gap(rules: &[&str], before: &[String], behind: &[String]) -> usize {
    let scores = scores(rules, before, behind);
    let mut best = (scores.first().copied().unwrap_or_default(), 0);
    for (index, (rule, score)) in rules.iter().zip(scores.iter().skip(1)).enumerate() {
        let anchored = || {
            let mut passed = rules.iter().take(index).chain([rule]);
            passed.any(|rule| before.iter().any(|known| known == rule))
        };
        // Nothing before it so far: a later gap that is as good is nearer to what is behind.
        if *score > best.0 || (*score == best.0 && *score > 0 && !anchored()) {
            best = (*score, index + 1);
        }
    }
    best.1
}

/// Whether a rule fits at an index as well as anywhere; `rules` are the others.
pub(crate) fn fits(rules: &[&str], index: usize, before: &[String], behind: &[String]) -> bool {
    let scores = scores(rules, before, behind);
    scores.get(index) == scores.iter().max()
}

/// What speaks for each gap, that before all rules first.
fn scores(rules: &[&str], before: &[String], behind: &[String]) -> Vec<i64> {
    let (before, behind) = (weights(before), weights(behind));
    let mut left: HashMap<&str, usize> = HashMap::new();
    let mut right: HashMap<&str, usize> = HashMap::new();
    for rule in rules {
        *right.entry(rule).or_default() += 1;
    }
    // What speaks for the gap before all rules: every neighbour that is there at all is behind it.
    let mut score: i64 = 0;
    for (rule, weights) in &behind.order {
        let there = right.get(rule.as_str()).copied().unwrap_or_default();
        score += weights.iter().take(there).sum::<i64>();
    }
    let mut scores = vec![score];
    for rule in rules {
        let seen = left.entry(rule).or_default();
        score += before.weight(rule, *seen);
        *seen += 1;
        let rest = right.entry(rule).or_default();
        *rest = rest.saturating_sub(1);
        score -= behind.weight(rule, *rest);
        scores.push(score);
    }
    scores
}

/// How much each copy of a neighbour weighs, the nearest first.
struct Weights {
    order: Vec<(String, Vec<i64>)>,
    index: HashMap<String, usize>,
}

impl Weights {
    fn weight(&self, rule: &str, copy: usize) -> i64 {
        let weights = self.index.get(rule).and_then(|place| self.order.get(*place));
        weights.and_then(|(_, weights)| weights.get(copy)).copied().unwrap_or_default()
    }
}

fn weights(neighbours: &[String]) -> Weights {
    let mut weights = Weights { order: Vec::new(), index: HashMap::new() };
    for (distance, rule) in neighbours.iter().enumerate() {
        // Nearer ones weigh more, and none weighs nothing.
        let weight = i64::try_from(neighbours.len() - distance).unwrap_or(1);
        let next = weights.order.len();
        let place = *weights.index.entry(rule.clone()).or_insert(next);
        match weights.order.get_mut(place) {
            Some((_, known)) => known.push(weight),
            None => weights.order.push((rule.clone(), vec![weight])),
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::gap;

    /// `before` and `behind` as they stood, from left to right.
    #[track_caller]
    fn check(rules: &str, before: &str, behind: &str, expected: usize) {
        let rules: Vec<&str> = rules.split_whitespace().collect();
        let before: Vec<String> = before.split_whitespace().rev().map(str::to_owned).collect();
        let behind: Vec<String> = behind.split_whitespace().map(str::to_owned).collect();
        assert_eq!(gap(&rules, &before, &behind), expected, "{rules:?}");
    }

    #[test]
    fn among_the_same_rules_it_is_the_same_place() {
        check("a b c d", "", "a b c d", 0);
        check("a b c d", "a b", "c d", 2);
        check("a b c d", "a b c d", "", 4);
        check("a a a", "a", "a a", 1);
        check("a a a", "a a", "a", 2);
        check("", "", "", 0);
    }

    #[test]
    fn a_place_is_as_good_as_the_best_or_not() {
        let (before, behind) = (["a".to_owned()], ["b".to_owned()]);
        let fits = |rules: &[&str]| -> Vec<usize> {
            (0..=rules.len()).filter(|index| super::fits(rules, *index, &before, &behind)).collect()
        };
        assert_eq!(fits(&["a", "b"]), [1]);
        assert_eq!(fits(&["n", "a", "m", "b", "o"]), [2, 3]);
        assert_eq!(fits(&["x"]), [0, 1]);
    }

    #[test]
    fn what_others_insert_and_append_does_not_move_it() {
        check("n a b", "", "a b", 1);
        check("a b n", "a b", "", 2);
        check("n a m b o", "a", "b", 2);
        check("b", "a", "b c", 0);
        check("a", "a b", "c", 1);
        check("x y z", "a", "b", 0);
        check("b a", "a", "b", 0);
    }
}
