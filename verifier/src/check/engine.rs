//! Which engine answers, and that two of them say the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::flow::Flow;
use nattrace_model::host::Assumption;
use nattrace_model::simulate::why;
use nattrace_parser::policy::Entry;
use nattrace_parser::syntax::Family;

use super::Premises;
use super::disagreement::{Between, Disagreement};
use super::finding::{Counterexample, Finding, Reason, Status};
use super::inquiry::{Inquiry, check_by_classes};
use super::judgement::{Judgement, judge};
use crate::policy::{self, Property, Question};
use crate::smt::{B, Point, Query, Solver, Sought};

/// What answers the questions of a policy.
#[derive(Clone, Copy, Debug)]
pub enum Engine<'a> {
    /// Classes of packets with the same fate.
    Classes,
    /// A solver.
    Solver(&'a dyn Solver),
    /// Both, which have to agree.
    Both(&'a dyn Solver),
}

/// The name of the engine of classes.
const CLASSES: &str = "classes";

/// How many packets are tried before it is given up to find one that breaks an entry whatever is
/// decided.
const MOST_TRIES: usize = 24;

impl Engine<'_> {
    /// What comes of one entry in one family.
    pub(super) fn check(
        self,
        entry: &Entry,
        property: &Property,
        premises: &Premises,
    ) -> Result<Finding, Disagreement> {
        let by_classes = || {
            let finding = check_by_classes(entry, property, premises)?;
            Ok(Finding { proved_by: vec![CLASSES.to_owned()], ..finding })
        };
        let by_solver = |solver| Solving::new(entry, premises, solver).check(entry, property);
        match self {
            Self::Classes => by_classes(),
            Self::Solver(solver) => Ok(by_solver(solver)?.finding),
            Self::Both(solver) => both(by_classes()?, by_solver(solver)?, property),
        }
    }
}

/// What both engines say, if it is the same. Where one of them gave up, the other one counts.
fn both(classes: Finding, solved: Solved, property: &Property) -> Result<Finding, Disagreement> {
    if solved.gave_up {
        return Ok(classes);
    }
    if classes.status == solved.finding.status {
        let proved_by = [classes.proved_by, solved.finding.proved_by].concat();
        return Ok(Finding { proved_by, ..classes });
    }
    if classes.status == Status::Unknown && gave_up(&classes) {
        return Ok(solved.finding);
    }
    let shown = solved.finding.counterexamples.iter().chain(&classes.counterexamples);
    let flow = shown.map(|shown| shown.flow.clone()).next().or(solved.flow);
    Err(Disagreement {
        name: classes.name,
        flow: flow.map(Box::new),
        between: Between::Engines,
        one: format!("{} in {}", word(classes.status), word_of(property.family)),
        other: format!("{} in {}", word(solved.finding.status), word_of(property.family)),
        shown: None,
    })
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Holds => "it holds",
        Status::Unknown => "nobody knows",
        Status::Fails => "it fails",
    }
}

fn word_of(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// Whether the classes did not look at everything.
fn gave_up(finding: &Finding) -> bool {
    let cut = finding.assumptions.iter().any(|found| found.code == "too-many-branches");
    let limit = match &finding.reason {
        Some(Reason::Undetermined(why)) => {
            why.contains("grew too large") || why.contains("than are looked at")
        }
        _ => false,
    };
    cut || limit
}

/// What a solver found out about a property.
struct Solved {
    finding: Finding,
    /// Whether it could not say.
    gave_up: bool,
    /// Some packet of a question.
    flow: Option<Flow>,
}

/// What is found out by a solver while the questions of a property are asked.
struct Solving<'a> {
    name: String,
    premises: &'a Premises,
    system: &'a Arc<System>,
    solver: &'a dyn Solver,
    assumptions: BTreeSet<Assumption>,
    counterexample: Option<Counterexample>,
    unknown: Option<String>,
    gave_up: Option<String>,
    concerned: bool,
    asked: usize,
    flow: Option<Flow>,
}

impl<'a> Solving<'a> {
    fn new(entry: &Entry, premises: &'a Premises, solver: &'a dyn Solver) -> Self {
        Self {
            name: policy::title(entry),
            premises,
            system: &premises.system,
            solver,
            assumptions: BTreeSet::new(),
            counterexample: None,
            unknown: None,
            gave_up: None,
            concerned: false,
            asked: 0,
            flow: None,
        }
    }

    fn check(mut self, entry: &Entry, property: &Property) -> Result<Solved, Disagreement> {
        for question in &property.questions {
            if self.counterexample.is_none() {
                self.ask(question)?;
            }
        }
        let failed = self.counterexample.is_some();
        let gave_up = self.gave_up.filter(|_| !failed);
        let names = if gave_up.is_some() { Vec::new() } else { vec![self.solver.name()] };
        let inquiry = Inquiry {
            name: self.name,
            premises: self.premises,
            system: self.system,
            assumptions: self.assumptions,
            counterexample: self.counterexample,
            unknown: gave_up.clone().or(self.unknown),
            concerned: self.concerned,
            asked: self.asked,
            samples: 0,
        };
        let finding = Finding { proved_by: names, ..inquiry.finding(entry, property) };
        Ok(Solved { finding, gave_up: gave_up.is_some(), flow: self.flow })
    }

    /// Asks the solver about one question.
    fn ask(&mut self, question: &Question) -> Result<(), Disagreement> {
        let system = Arc::clone(self.system);
        let query = Query::new(&system, question, self.solver);
        if query.is_too_large() {
            self.gave_up.get_or_insert("the encoding grows too large".to_owned());
            return Ok(());
        }
        let missing = query.any(query.missing().iter().map(|(when, _)| *when));
        let wrong = query.any([query.broken(), query.open(), missing]);
        match query.find(wrong) {
            Sought::Nothing => self.note_concerned(&query),
            Sought::Unknown(why) => {
                self.gave_up.get_or_insert(why);
            }
            Sought::Point(point) => {
                self.concerned = true;
                self.flow.get_or_insert_with(|| query.flow(&point));
                self.look_closer(question, &query, missing)?;
            }
        }
        Ok(())
    }

    /// Whether the demand is about any packet.
    fn note_concerned(&mut self, query: &Query<'_>) {
        if self.concerned {
            return;
        }
        match query.find(query.concerned()) {
            Sought::Point(point) => {
                self.concerned = true;
                self.flow.get_or_insert_with(|| query.flow(&point));
                let answer = why(self.system, &query.flow(&point));
                self.asked += 1;
                self.assumptions.extend(answer.assumptions);
            }
            Sought::Nothing => {}
            Sought::Unknown(why) => {
                self.gave_up.get_or_insert(why);
            }
        }
    }

    /// Something is wrong: what is it?
    fn look_closer(
        &mut self,
        question: &Question,
        query: &Query<'_>,
        missing: B,
    ) -> Result<(), Disagreement> {
        // What mere chance, or nothing, decides.
        let broken = query.minus(query.broken_by_chance(), missing);
        if let Some(point) = self.sought(query, query.find(broken)) {
            let telling = self.telling(query, broken).unwrap_or(point);
            if self.confirm(question, query, &telling)? {
                return Ok(());
            }
        }
        // What breaks the demand whatever is decided.
        let mut broken = query.minus(query.broken(), missing);
        for _ in 0..MOST_TRIES {
            let Some(point) = self.sought(query, query.find(broken)) else { break };
            if self.confirm(question, query, &point)? {
                return Ok(());
            }
            let kept = query.both(query.only(&point), query.minus(query.packets(), query.broken()));
            match query.find(kept) {
                // By these decisions it must be broken as well.
                Sought::Point(other) => {
                    let also = query.decided_as(query.broken(), &other);
                    broken = query.both(broken, also);
                }
                Sought::Nothing | Sought::Unknown(_) => break,
            }
        }
        for (when, what) in query.missing() {
            if self.sought(query, query.find(*when)).is_some() {
                self.gave_up.get_or_insert_with(|| format!("not encoded for the solver: {what}"));
            }
        }
        if let Some(point) = self.sought(query, query.find(query.open())) {
            self.confirm(question, query, &point)?;
        }
        Ok(())
    }

    fn sought(&mut self, query: &Query<'_>, sought: Sought) -> Option<Box<Point>> {
        match sought {
            Sought::Point(point) => {
                self.flow.get_or_insert_with(|| query.flow(&point));
                Some(point)
            }
            Sought::Nothing => None,
            Sought::Unknown(why) => {
                self.gave_up.get_or_insert(why);
                None
            }
        }
    }

    /// A packet of a set that a person would take as an example.
    fn telling(&self, query: &Query<'_>, among: B) -> Option<Box<Point>> {
        query.plain().into_iter().find_map(|plain| match query.find(query.both(among, plain)) {
            Sought::Point(point) => Some(point),
            Sought::Nothing | Sought::Unknown(_) => None,
        })
    }

    /// Asks the simulator about a packet that should break the demand, or leave it open; whether it
    /// does break it.
    fn confirm(
        &mut self,
        question: &Question,
        query: &Query<'_>,
        point: &Point,
    ) -> Result<bool, Disagreement> {
        let flow = query.flow(point);
        let answer = why(self.system, &flow);
        self.asked += 1;
        match judge(question, self.system, &answer) {
            Judgement::Broken(reason) => {
                let (system, flow) = (Arc::clone(self.system), answer.flow.clone());
                self.counterexample = Some(Counterexample { system, flow, answer, reason });
                Ok(true)
            }
            Judgement::Open(why) => {
                self.assumptions.extend(answer.assumptions);
                self.unknown.get_or_insert(why);
                Ok(false)
            }
            Judgement::Kept => Err(Disagreement {
                name: self.name.clone(),
                flow: Some(Box::new(flow)),
                between: Between::SolverAndSimulator,
                one: "it breaks the entry, or nobody knows".to_owned(),
                other: "it keeps to the entry".to_owned(),
                shown: None,
            }),
        }
    }
}
