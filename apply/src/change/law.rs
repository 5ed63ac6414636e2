//! The law of rollback: afterwards the rules are those that the others alone would have made.

use super::tests::{TABLE, load, random_plan, rule, rules, run, saved, take_back};
use super::*;
use crate::plan::Plan;

/// What somebody else does to a chain with a plan in it, and what the same is without the plan.
struct Others {
    with: Vec<String>,
    without: Vec<String>,
    number: u32,
}

/// The numbers of foreign rules, none of which a chain starts with.
const FOREIGN: u32 = 0x5000;

fn is_foreign(rule: &str) -> bool {
    rule.contains("0x50")
}

impl Others {
    /// What a rule of the chain with the plan stands for without it.
    fn twin(&self, plan: &Plan, rule: &str) -> Option<String> {
        let Some((_, rest)) = rule.split_once(&format!("\"nattrace:{}/", plan.id)) else {
            return Some(rule.to_owned());
        };
        let number: usize = rest.split('"').next().unwrap().parse().unwrap();
        plan.edits[number - 1].replaces.clone()
    }

    fn insert(&mut self, plan: &Plan, place: usize) {
        let new = rule(FOREIGN + self.number);
        self.number += 1;
        let before = self.with[..place].iter().rev();
        let anchor = before.filter_map(|rule| self.twin(plan, rule)).next();
        let twin_place = anchor
            .map_or(0, |anchor| 1 + self.without.iter().position(|rule| *rule == anchor).unwrap());
        self.without.insert(twin_place, new.clone());
        self.with.insert(place, new);
    }

    fn remove(&mut self, place: usize) {
        if !self.with[place].contains("nattrace:") {
            let gone = self.with.remove(place);
            self.without.retain(|rule| *rule != gone);
        }
    }
}

/// The rules that a test leaves out of a comparison go.
fn less(rules: &[String], gone: impl Fn(&str) -> bool) -> Vec<&String> {
    rules.iter().filter(|rule| !gone(rule)).collect()
}

#[test]
fn what_is_left_is_what_the_others_alone_would_have_left() {
    let seed = std::env::var("NATTRACE_ROLLBACK_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut draw = fastrand::Rng::with_seed(seed.unwrap_or(23));
    let mut exact = 0;
    for round in 0..1_500 {
        let start: Vec<String> = (0..draw.u32(1..9)).map(rule).collect();
        let (plan, _) = random_plan(&mut draw, &start);
        if plan.edits.is_empty() {
            continue;
        }
        let mut kernel = saved(&start);
        let change = load(&plan, &mut kernel);
        let mut others = Others { with: rules(&kernel), without: start.clone(), number: 0 };
        for _ in 0..draw.u32(1..8) {
            let length = others.with.len();
            if draw.u32(0..3) == 0 && length > 0 {
                others.remove(draw.usize(0..length));
            } else {
                others.insert(&plan, draw.usize(0..=length));
            }
        }
        let deleted: Vec<&String> =
            plan.edits.iter().filter(|edit| edit.op == Op::Delete).map(|edit| &edit.rule).collect();
        let is_deleted = |rule: &str| deleted.iter().any(|gone| *gone == rule);
        let known = |rule: &String| start.contains(rule) && !is_deleted(rule);
        if !deleted.is_empty() && !others.with.iter().any(known) {
            // Nothing is left of the chain that it was: its owner made it anew.
            continue;
        }
        let mut table = saved(&others.with).table(TABLE);
        run(&mut table, &[Command::NewChain(marker(&plan.id))]);
        kernel.set(TABLE, table);
        take_back(&plan, &change, &mut kernel);
        let (found, expected) = (rules(&kernel), &others.without);
        let story =
            || format!("round {round}: {plan:#?}\n{:#?}\n{found:#?}\n{expected:#?}", others.with);
        // Where nothing stands, nobody can tell on which side of it a rule was inserted: but for
        // that, every rule of others is at its place among the rest, and so is every rule of ours.
        assert_eq!(less(&found, is_deleted), less(expected, is_deleted), "{}", story());
        assert_eq!(less(&found, is_foreign), less(expected, is_foreign), "{}", story());
        exact += usize::from(deleted.is_empty());
        assert!(!deleted.is_empty() || found == *expected, "{}", story());
    }
    assert!(exact > 300, "{exact}");
}
