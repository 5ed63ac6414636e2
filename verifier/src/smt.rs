//! The second engine: the question put to a solver of bit-vector logic.
//!
//! The encoding writes down what the kernel does with any packet, from the model alone: it
//! neither asks the simulator nor looks at classes. With the denial of what a policy says it makes
//! a script of SMT-LIB 2; a solver finds a packet, or says that there is none.

mod emit;
mod encode;
mod script;
mod solver;
mod term;

use std::collections::HashMap;

use nattrace_model::System;
use nattrace_model::flow::Flow;

use crate::policy::Question;
pub use emit::{Script, scripts};
use encode::demand::{self, Obligation};
#[cfg(feature = "z3")]
pub use solver::Z3;
pub use solver::{Declared, Solution, Solver, number};
pub(crate) use term::B;

/// How many terms an encoding may have.
pub(crate) const MOST_TERMS: usize = 6_000_000;

/// A question as a solver is asked it.
pub(crate) struct Query<'s> {
    question: &'s Question,
    obligation: Obligation<'s>,
    solver: &'s dyn Solver,
}

/// Values that satisfy what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    header: [u128; 5],
    decided: HashMap<u32, bool>,
}

/// What a solver found.
pub(crate) enum Sought {
    Nothing,
    Point(Box<Point>),
    Unknown(String),
}

impl<'s> Query<'s> {
    pub(crate) fn new(system: &'s System, question: &'s Question, solver: &'s dyn Solver) -> Self {
        let obligation = demand::obligation(system, question, MOST_TERMS);
        Self { question, obligation, solver }
    }

    /// The packets that break the demand, by some decisions.
    pub(crate) fn broken(&self) -> B {
        self.obligation.broken
    }

    /// The same where nothing but chance decides.
    pub(crate) fn broken_by_chance(&self) -> B {
        self.terms().minus(self.obligation.broken, self.obligation.encoder.ignorance())
    }

    /// The packets of which nobody knows.
    pub(crate) fn open(&self) -> B {
        self.obligation.open
    }

    /// The packets that the demand is about.
    pub(crate) fn concerned(&self) -> B {
        self.obligation.concerned
    }

    /// The packets of the question.
    pub(crate) fn packets(&self) -> B {
        self.obligation.packets
    }

    /// What is not encoded, each with the packets that meet it.
    pub(crate) fn missing(&self) -> &[(B, String)] {
        &self.obligation.missing
    }

    /// Whether the encoding has grown larger than it may.
    pub(crate) fn is_too_large(&self) -> bool {
        self.obligation.encoder.is_too_large()
    }

    fn terms(&self) -> &term::Terms {
        &self.obligation.encoder.t
    }

    /// The packets of either.
    pub(crate) fn any(&self, each: impl IntoIterator<Item = B>) -> B {
        self.terms().any(each)
    }

    /// The packets of one and not of the other.
    pub(crate) fn minus(&self, one: B, other: B) -> B {
        self.terms().minus(one, other)
    }

    /// The packets of both.
    pub(crate) fn both(&self, one: B, other: B) -> B {
        self.terms().and(one, other)
    }

    /// Just the packet of a point.
    pub(crate) fn only(&self, point: &Point) -> B {
        let t = self.terms();
        let each = self.fields().into_iter().zip(point.header);
        t.all(each.map(|(field, value)| t.is_number(field, value)))
    }

    /// What holds with the decisions of a point.
    pub(crate) fn decided_as(&self, what: B, point: &Point) -> B {
        self.terms().settled(what, &point.decided)
    }

    /// Packets that a person would take as an example, the most telling first.
    pub(crate) fn plain(&self) -> Vec<B> {
        let t = self.terms();
        let fields = &self.obligation.fields;
        let tcp = t.is_number(fields.protocol, 6u8);
        let usual = t.and(tcp, t.is_number(fields.source_port, 40000u16));
        let ports = [80u16, 443, 22, 53, 8080, 5432];
        let known = t.any(ports.map(|port| t.is_number(fields.destination_port, port)));
        vec![t.and(usual, known), usual, tcp]
    }

    fn fields(&self) -> [term::V; 5] {
        let fields = &self.obligation.fields;
        [
            fields.source,
            fields.destination,
            fields.protocol,
            fields.source_port,
            fields.destination_port,
        ]
    }

    /// A packet, and decisions, for which something holds.
    pub(crate) fn find(&self, what: B) -> Sought {
        let t = self.terms();
        if what == t.no {
            return Sought::Nothing;
        }
        let script = script::Script { terms: t, about: Vec::new(), asserted: vec![what] };
        match self.solver.solve(&script.text(), &script.declared()) {
            Solution::None => Sought::Nothing,
            Solution::Unknown(why) => Sought::Unknown(why),
            Solution::Values(values) => {
                let value = |field: term::V| {
                    t.word(field).and_then(|word| values.get(&word).copied()).unwrap_or(0)
                };
                let decided = values.iter().filter_map(|(name, value)| {
                    let id = name.strip_prefix("decided")?.parse().ok()?;
                    Some((id, *value != 0))
                });
                let point = Point { header: self.fields().map(value), decided: decided.collect() };
                Sought::Point(Box::new(point))
            }
        }
    }

    /// The packet of a point, for the simulator.
    pub(crate) fn flow(&self, point: &Point) -> Flow {
        let mut flow = demand::flow(self.question, &point.header);
        // What is usual is left to it.
        flow.tcp_flags = None;
        flow.icmp = None;
        flow
    }
}
