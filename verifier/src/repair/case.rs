//! Packets that broke the policy, which every change is tried on before anything is proved.

use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::answer::Answer;
use nattrace_model::flow::Flow;
use nattrace_model::simulate::why;
use nattrace_parser::policy::{Entry, Given, Policy};

use crate::check::{Finding, Judgement, Nothing, Reason, flow_of, judge, lands, packets};
use crate::given;
use crate::policy::{self, Demand, Question};
use crate::space::Space;
use crate::walk;

/// What a packet has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    /// What is demanded of it.
    Keep,
    /// Get there at all.
    GetThere,
}

/// A packet that broke an entry of the policy.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The index of the entry.
    pub(super) entry: usize,
    /// The question that it is one of the packets of.
    pub(super) question: Arc<Question>,
    /// The packet.
    pub(super) flow: Flow,
    /// What it has to do.
    pub(super) want: Want,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It keeps to the entry.
    Mended,
    /// It does not, or nobody knows.
    Broken(Option<Reason>, Box<Answer>),
}

impl Case {
    /// What becomes of the packet on a host, with what the entry takes to be given.
    pub(super) fn fate(&self, system: &System) -> Fate {
        let answer = why(system, &self.flow);
        let judgement = judge(&self.question, system, &answer);
        match (judgement, self.want) {
            (Judgement::Broken(reason), _) => {
                let (reason, answer) = self.broken_way(system, &answer).unwrap_or((reason, answer));
                Fate::Broken(Some(reason), Box::new(answer))
            }
            (Judgement::Open(_), _) => Fate::Broken(None, Box::new(answer)),
            (Judgement::Kept, Want::Keep) => Fate::Mended,
            (Judgement::Kept, Want::GetThere) => match self.gets_there(&answer) {
                true => Fate::Mended,
                false => Fate::Broken(None, Box::new(answer)),
            },
        }
    }

    /// Of a packet that may go several ways, one that breaks the entry: what is met on it tells
    /// what can be done.
    fn broken_way(&self, system: &System, answer: &Answer) -> Option<(Reason, Answer)> {
        answer.branches.iter().find_map(|branch| {
            match judge(&self.question, system, &branch.answer) {
                Judgement::Broken(reason) => Some((reason, branch.answer.clone())),
                Judgement::Kept | Judgement::Open(_) => None,
            }
        })
    }

    fn gets_there(&self, answer: &Answer) -> bool {
        match &self.question.demand {
            Demand::Leaves { landing, .. } => lands(answer, landing),
            Demand::Arrives(_) | Demand::NeverLands(_) => true,
        }
    }
}

/// The entries of a policy with their questions.
pub(super) struct Questions {
    of: Vec<Vec<Arc<Question>>>,
}

impl Questions {
    /// The questions of a policy, which no change of rules changes.
    pub(super) fn new(policy: &Policy, system: &System, given: &Given) -> Self {
        let of = policy.entries.iter().map(|entry| {
            let mut all = given.clone();
            all.extend(entry.given.clone());
            let properties = match all.is_empty() {
                true => policy::resolve(policy, entry, system),
                false => policy::resolve(policy, entry, &given::apply(system, &all)),
            };
            let questions = properties.into_iter().flat_map(|property| property.questions);
            questions.map(Arc::new).collect()
        });
        Self { of: of.collect() }
    }

    /// The packets that show that an entry does not hold.
    pub(super) fn cases(&self, entry: usize, finding: &Finding, system: &System) -> Vec<Case> {
        let questions = self.of.get(entry).map_or(&[][..], Vec::as_slice);
        let of_packet = |example: &crate::check::Counterexample| {
            let breaks = |question: &&Arc<Question>| {
                starts(question, &example.flow)
                    && matches!(
                        judge(question, &example.system, &example.answer),
                        Judgement::Broken(_)
                    )
            };
            let question = Arc::clone(questions.iter().find(breaks)?);
            Some(Case { entry, question, flow: example.flow.clone(), want: Want::Keep })
        };
        let mut cases: Vec<Case> = finding.counterexamples.iter().filter_map(of_packet).collect();
        if finding.reason == Some(Reason::Vacuous(Nothing::GetsThere)) {
            cases.extend(questions.iter().find_map(|question| sample(entry, question, system)));
        }
        cases
    }

    /// Whether there is a packet that an entry could be about.
    pub(super) fn is_about_something(&self, entry: usize) -> bool {
        self.of.get(entry).is_some_and(|questions| !questions.is_empty())
    }
}

/// Whether a packet starts where a question's packets do.
fn starts(question: &Question, flow: &Flow) -> bool {
    match (&question.from.at, &flow.in_interface) {
        (policy::Where::Behind(name), Some(interface)) => name == interface,
        (policy::Where::Behind(_), None) => false,
        (policy::Where::Unbound | policy::Where::Bound, None) => true,
        (policy::Where::Unbound | policy::Where::Bound, Some(_)) => false,
    }
}

/// A packet of a question that should get there, one that is well known: TCP to port 443.
fn sample(entry: usize, question: &Arc<Question>, system: &System) -> Option<Case> {
    let Demand::Leaves { landing, .. } = &question.demand else { return None };
    let spot = landing.iter().flat_map(|landing| &landing.spots).next()?;
    let space = Space::new(spot.addresses().family());
    let meant = packets::of(question, &space)
        .intersection(&packets::destinations(&space, spot.addresses()));
    let asked = walk::Question::new(meant.clone(), packets::entry(question));
    let mut preferred = packets::telling(question, system, &space);
    preferred.insert(0, space.destination_ports(443, 443));
    let header = meant.sample(&preferred)?;
    let flow = flow_of(&asked, &header);
    Some(Case { entry, question: Arc::clone(question), flow, want: Want::GetThere })
}

/// Everything that an entry takes to be given.
pub(super) fn given_of(entry: &Entry, given: &Given) -> Given {
    let mut all = given.clone();
    all.extend(entry.given.clone());
    all
}
