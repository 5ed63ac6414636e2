use std::collections::BTreeMap;

use super::*;
use crate::plan::{Edit, Holder, Plan};
use crate::saved::{Saved, Table};

pub(super) const STORE: Store = Store { family: Family::Ipv4, backend: Backend::Nft };
pub(super) const FOUND: Finds = |_, _, _| true;
pub(super) const TABLE: TableName = TableName::Filter;

pub(super) fn saved(rules: &[String]) -> Saved {
    let mut text = "*filter\n:FORWARD ACCEPT [0:0]\n".to_owned();
    for rule in rules {
        text.push_str(&format!("{rule}\n"));
    }
    Saved::read(&text)
}

pub(super) fn rule(number: u32) -> String {
    format!("-A FORWARD -m mark --mark {number:#x} -j ACCEPT")
}

pub(super) fn rules(saved: &Saved) -> Vec<String> {
    saved.table(TABLE).rules("FORWARD").unwrap().to_vec()
}

pub(super) fn edit(op: Op, position: u32, rule: String, replaces: Option<String>) -> Edit {
    let holder = Holder::Iptables(Backend::Nft, TABLE);
    let (family, chain, position) = (Family::Ipv4, "FORWARD".to_owned(), Some(position));
    Edit { family, holder, chain, op, position, rule, replaces, because: String::new() }
}

/// A random plan for a chain, and the chain with its edits.
pub(super) fn random_plan(draw: &mut fastrand::Rng, start: &[String]) -> (Plan, Vec<String>) {
    let mut chain = start.to_vec();
    let mut edits = Vec::new();
    for number in 0..draw.u32(1..5) {
        let new = rule(1_000 + number);
        let length = u32::try_from(chain.len()).unwrap();
        let op = [Op::Insert, Op::Append, Op::Replace, Op::Delete][draw.usize(0..4)];
        match op {
            Op::Insert => {
                let place = draw.u32(0..=length);
                chain.insert(place as usize, new.clone());
                edits.push(edit(op, place + 1, new, None));
            }
            Op::Append => {
                chain.push(new.clone());
                edits.push(edit(op, length + 1, new, None));
            }
            Op::Replace | Op::Delete if length == 0 => {}
            Op::Replace => {
                let place = draw.u32(0..length);
                // A rule of our own has our comment in the kernel.
                if chain[place as usize].contains("0x3e") {
                    continue;
                }
                let old = std::mem::replace(&mut chain[place as usize], new.clone());
                edits.push(edit(op, place + 1, new, Some(old)));
            }
            Op::Delete => {
                let place = draw.u32(0..length);
                if chain[place as usize].contains("0x3e") {
                    continue;
                }
                edits.push(edit(op, place + 1, chain.remove(place as usize), None));
            }
        }
    }
    (Plan::new(edits, Vec::new()), chain)
}

fn plain(rules: &[String], id: &str) -> Vec<String> {
    let without = |rule: &String| {
        let start = format!(" -m comment --comment \"nattrace:{id}/");
        match rule.split_once(&start) {
            Some((before, rest)) => format!("{before}{}", rest.split_once('"').unwrap().1),
            None => rule.clone(),
        }
    };
    rules.iter().map(without).collect()
}

pub(super) fn run(table: &mut Table, commands: &[Command]) {
    for command in commands {
        table.run(command, &forms(STORE, TABLE, FOUND)).unwrap();
    }
}

/// Loads a plan as the kernel would, and gives its change.
pub(super) fn load(plan: &Plan, kernel: &mut Saved) -> TableChange {
    let mut predicted = BTreeMap::from([(STORE, kernel.clone())]);
    let prepared = changes(plan, &mut predicted, FOUND).unwrap().remove(0);
    let mut table = kernel.table(TABLE);
    run(&mut table, &prepared.commands);
    kernel.set(TABLE, table.clone());
    run(&mut table, &[Command::DropChain(marker(&plan.id))]);
    assert_eq!(predicted[&STORE].table(TABLE), table, "the commands do what is predicted");
    prepared.change
}

pub(super) fn take_back(plan: &Plan, change: &TableChange, kernel: &mut Saved) {
    let mut predicted = kernel.clone();
    let undone = undo(&plan.id, STORE, TABLE, &change.steps, &mut predicted, FOUND).unwrap();
    let mut table = kernel.table(TABLE);
    run(&mut table, &undone.commands);
    kernel.set(TABLE, table);
    assert_eq!(*kernel, predicted);
}

#[test]
fn what_is_loaded_is_the_plan_and_what_is_taken_back_is_the_start() {
    let mut draw = fastrand::Rng::with_seed(7);
    for round in 0..600 {
        // Few marks, so that many rules are alike.
        let marks = draw.u32(1..9);
        let start: Vec<String> = (0..draw.usize(0..7)).map(|_| rule(draw.u32(0..marks))).collect();
        let (plan, expected) = random_plan(&mut draw, &start);
        if plan.edits.is_empty() {
            continue;
        }
        let mut kernel = saved(&start);
        let change = load(&plan, &mut kernel);
        assert_eq!(plain(&rules(&kernel), &plan.id), expected, "round {round}: {plan:#?}");
        take_back(&plan, &change, &mut kernel);
        assert_eq!(rules(&kernel), start, "round {round}: {plan:#?}");
        // Once more does nothing.
        let again = undo(&plan.id, STORE, TABLE, &change.steps, &mut kernel, FOUND).unwrap();
        assert_eq!(again.commands, []);
    }
}

#[test]
fn what_others_did_meanwhile_stays() {
    let mut draw = fastrand::Rng::with_seed(11);
    for round in 0..600 {
        let start: Vec<String> = (0..draw.u32(1..7)).map(rule).collect();
        let (plan, _) = random_plan(&mut draw, &start);
        if plan.edits.is_empty() {
            continue;
        }
        let mut kernel = saved(&start);
        let change = load(&plan, &mut kernel);
        // dockerd puts rules first and last, and one anywhere.
        let mut now = rules(&kernel);
        now.insert(0, rule(500));
        now.push(rule(501));
        now.insert(draw.usize(0..=now.len()), rule(502));
        let mut table = saved(&now).table(TABLE);
        run(&mut table, &[Command::NewChain(marker(&plan.id))]);
        kernel.set(TABLE, table);
        take_back(&plan, &change, &mut kernel);
        let after = rules(&kernel);
        let foreign: Vec<&String> = after.iter().filter(|rule| rule.contains("0x1f")).collect();
        let expected: Vec<&String> = now.iter().filter(|rule| rule.contains("0x1f")).collect();
        assert_eq!(foreign, expected, "round {round}");
        let own: Vec<String> =
            after.iter().filter(|rule| !rule.contains("0x1f")).cloned().collect();
        assert_eq!(own, start, "round {round}: {plan:#?} {now:#?} {after:#?}");
    }
}

#[test]
fn an_owner_that_puts_its_rule_back_has_it_once() {
    let start = vec![rule(1), rule(2), rule(3)];
    let plan = Plan::new(vec![edit(Op::Replace, 2, rule(9), Some(rule(2)))], Vec::new());
    let mut kernel = saved(&start);
    let change = load(&plan, &mut kernel);
    let mut table = kernel.table(TABLE);
    let (chain, position) = ("FORWARD".to_owned(), 1);
    run(&mut table, &[Command::Insert { chain, position, rule: rule(2) }]);
    kernel.set(TABLE, table);
    take_back(&plan, &change, &mut kernel);
    assert_eq!(rules(&kernel), [rule(2), rule(1), rule(3)]);
}

#[test]
fn a_chain_that_was_flushed_gets_nothing_back() {
    let plan = Plan::new(vec![edit(Op::Delete, 2, rule(2), None)], Vec::new());
    let mut kernel = saved(&[rule(1), rule(2), rule(3)]);
    let change = load(&plan, &mut kernel);
    let mut table = saved(&[rule(7)]).table(TABLE);
    run(&mut table, &[Command::NewChain(marker(&plan.id))]);
    kernel.set(TABLE, table);
    take_back(&plan, &change, &mut kernel);
    assert_eq!(rules(&kernel), [rule(7)]);
}

#[test]
fn rules_that_are_others_than_in_the_plan_are_not_touched() {
    let plan = Plan::new(vec![edit(Op::Replace, 1, rule(9), Some(rule(2)))], Vec::new());
    let mut rules = BTreeMap::from([(STORE, saved(&[rule(1), rule(2)]))]);
    let error = changes(&plan, &mut rules, FOUND).unwrap_err().to_string();
    assert_eq!(error, format!("edit 1: rule 1 of `FORWARD` is not `{}`", rule(2)));
    let mut edit = edit(Op::Insert, 7, rule(9), None);
    let wrong = |edit: &Edit, rules: &mut BTreeMap<Store, Saved>| {
        changes(&Plan::new(vec![edit.clone()], Vec::new()), rules, FOUND).unwrap_err().to_string()
    };
    assert_eq!(wrong(&edit, &mut rules), "edit 1: chain `FORWARD` has no position 7");
    edit.chain = "NOPE".into();
    assert_eq!(wrong(&edit, &mut rules), "edit 1: there is no chain `NOPE`");
}

#[test]
fn a_place_is_written_in_the_words_of_a_plan() {
    let at = At::Iptables(STORE, TABLE);
    let text = serde_json::to_string(&at).unwrap();
    assert_eq!(text, r#"{"family":"ipv4","backend":"nft","table":"filter"}"#);
    assert_eq!(serde_json::from_str::<At>(&text).unwrap(), at);
    assert_eq!(at.name(), "ipv4 filter (nft)");
    let own = At::Own(Family::Ipv6);
    assert_eq!(serde_json::from_str::<At>(&serde_json::to_string(&own).unwrap()).unwrap(), own);
}

#[test]
fn what_returned_to_a_wrong_place_is_moved() {
    let plan = Plan::new(vec![edit(Op::Replace, 2, rule(9), Some(rule(2)))], Vec::new());
    let start = [rule(1), rule(2), rule(3)];
    let mut kernel = saved(&start);
    let change = load(&plan, &mut kernel);
    let settled = |rules: &[String]| {
        let mut table = saved(rules).table(TABLE);
        let forms = forms(STORE, TABLE, FOUND);
        let commands = settle(&[1], &change.steps, &table, &forms);
        run(&mut table, &commands);
        assert_eq!(settle(&[1], &change.steps, &table, &forms), []);
        table.rules("FORWARD").unwrap().to_vec()
    };
    assert_eq!(settled(&start), start);
    // Somebody inserted rule 7 first, between the look and the commit.
    let shifted = [rule(7), rule(2), rule(1), rule(3)];
    assert_eq!(settled(&shifted), [rule(7), rule(1), rule(2), rule(3)]);
    // Beside a foreign one it stands well.
    let beside = [rule(1), rule(7), rule(2), rule(3)];
    assert_eq!(settled(&beside), beside);
}
