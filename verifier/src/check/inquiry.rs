//! What the classes say of an entry, and the simulator of the packets that they show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nattrace_model::System;
use nattrace_model::answer::Answer;
use nattrace_model::flow::Flow;
use nattrace_model::host::Assumption;
use nattrace_model::packet::tcp_flag;
use nattrace_parser::policy::{Entry, Families, Kind, Vacuous};
use rayon::prelude::*;

use super::demand::{Effects, Found};
use super::disagreement::{Between, Disagreement};
use super::finding::{Counterexample, Finding, Nothing, Reason, Status};
use super::judgement::{Judgement, judge, undetermined};
use super::{Premises, packets};
use crate::class::Class;
use crate::header::Header;
use crate::packets::PacketSet;
use crate::policy::{self, Demand, Property, Question};
use crate::space::Space;
use crate::walk::{self, walk_in};

/// How many classes are looked at for what an answer rests on.
const MOST_SAMPLES: usize = 64;
/// How many are of each question, however many questions there are.
const LEAST_SAMPLES: usize = 4;

/// What is found out about a property while its questions are asked.
pub(super) struct Inquiry<'a> {
    pub(super) name: String,
    pub(super) premises: &'a Premises,
    pub(super) system: &'a Arc<System>,
    pub(super) assumptions: BTreeSet<Assumption>,
    pub(super) counterexample: Option<Counterexample>,
    pub(super) unknown: Option<String>,
    pub(super) concerned: bool,
    pub(super) asked: usize,
    pub(super) samples: usize,
}

/// What the classes say of an entry in one family.
pub(super) fn check_by_classes(
    entry: &Entry,
    property: &Property,
    premises: &Premises,
) -> Result<Finding, Disagreement> {
    let inquiry = |samples| Inquiry {
        name: policy::title(entry),
        premises,
        system: &premises.system,
        assumptions: BTreeSet::new(),
        counterexample: None,
        unknown: None,
        concerned: false,
        asked: 0,
        samples,
    };
    let each = MOST_SAMPLES / property.questions.len().max(1);
    // The first question that settles the entry: of those behind it nothing is told.
    let settled = AtomicUsize::new(usize::MAX);
    let answered: Vec<Result<Inquiry<'_>, Disagreement>> = property
        .questions
        .par_iter()
        .enumerate()
        .map_init(
            || Space::new(property.family),
            |space, (at, question)| {
                let mut inquiry = inquiry(each.max(LEAST_SAMPLES));
                if at > settled.load(Ordering::Relaxed) {
                    return Ok(inquiry);
                }
                if space.is_exhausted() {
                    *space = Space::new(property.family);
                }
                let asked = inquiry.ask(question, space);
                if asked.is_err() || inquiry.counterexample.is_some() {
                    settled.fetch_min(at, Ordering::Relaxed);
                }
                asked.map(|()| inquiry)
            },
        )
        .collect();
    let mut all = inquiry(0);
    for one in answered {
        if all.counterexample.is_some() {
            break;
        }
        all.join(one?);
    }
    Ok(all.finding(entry, property))
}

impl Inquiry<'_> {
    /// Takes what another question has shown.
    fn join(&mut self, other: Self) {
        self.assumptions.extend(other.assumptions);
        self.counterexample = self.counterexample.take().or(other.counterexample);
        self.unknown = self.unknown.take().or(other.unknown);
        self.concerned |= other.concerned;
        self.asked += other.asked;
    }

    fn ask(&mut self, question: &Question, space: &Space) -> Result<(), Disagreement> {
        let mut packets = packets::of(question, space);
        if packets.is_empty() {
            return Ok(());
        }
        if let Demand::Leaves { landing, .. } | Demand::NeverLands(landing) = &question.demand {
            // None of the others gets there, so they keep to the entry.
            self.concerned |= matches!(question.demand, Demand::NeverLands(_));
            let redirections = self.premises.redirections(space.family());
            if let Some(reaching) = redirections.into(self.system, space, landing) {
                let others = packets.difference(&reaching);
                self.expect_kept(question, &others)?;
                packets = packets.intersection(&reaching);
            }
        }
        let asked = walk::Question::new(packets, packets::entry(question));
        let classes = walk_in(self.system, &self.premises.world, &asked);
        self.asked += classes.asked;
        let effects = Effects::new(question, space);
        // Packets that break the demand on every way, on some way, and on a way that nobody knows.
        let (mut surely, mut perhaps, mut open) = (space.none(), space.none(), Vec::new());
        for class in &classes.classes {
            let found = effects.of(class);
            self.concerned |= !found.concerned.is_empty();
            surely = surely.union(&found.broken_always);
            perhaps = perhaps.union(&found.broken_sometimes);
            self.sample(question, &asked, class, &found)?;
            if let Some(why) = found.unknown {
                open.push((class, why));
            }
        }
        if space.is_exhausted() {
            self.unknown = Some("the sets of packets grew too large to be looked at".to_owned());
            return Ok(());
        }
        let preferred = match surely.is_empty() && perhaps.is_empty() {
            true => Vec::new(),
            false => packets::telling(question, self.system, space),
        };
        if let Some(header) = surely.sample(&preferred) {
            return self.confirm(question, flow_of(&asked, &header), Expected::Broken);
        }
        if let Some(header) = perhaps.sample(&preferred) {
            self.confirm(question, flow_of(&asked, &header), Expected::Open)?;
        }
        for (class, why) in open {
            if self.unknown.is_none() {
                self.unknown = Some(self.blame(&asked, class, why));
            }
        }
        Ok(())
    }

    fn why(&self, flow: &Flow) -> Answer {
        walk::why(self.system, &self.premises.world, flow)
    }

    /// Asks the simulator about a packet that the classes say something of.
    fn confirm(
        &mut self,
        question: &Question,
        flow: Flow,
        expected: Expected,
    ) -> Result<(), Disagreement> {
        let answer = self.why(&flow);
        let judgement = judge(question, self.system, &answer);
        match (judgement, expected) {
            (Judgement::Broken(reason), _) => {
                let system = Arc::clone(self.system);
                // The question as it was filled in: the kernel's choice of a source, say.
                let flow = answer.flow.clone();
                self.counterexample = Some(Counterexample { system, flow, answer, reason });
                Ok(())
            }
            (Judgement::Open(why), Expected::Open) => {
                self.unknown.get_or_insert(why);
                Ok(())
            }
            (other, _) => Err(self.disagreement(answer, "breaks the entry", other)),
        }
    }

    /// Asks the simulator about a packet of a class that breaks nothing, for what its answer rests
    /// on; and it has to agree that nothing is broken.
    fn sample(
        &mut self,
        question: &Question,
        asked: &walk::Question,
        class: &Class,
        found: &Found,
    ) -> Result<(), Disagreement> {
        let broken = found.broken_always.union(&found.broken_sometimes);
        let sound = class.set.difference(&broken);
        if self.samples == 0 || found.unknown.is_some() {
            return Ok(());
        }
        let Some(header) = sound.sample(&[]) else { return Ok(()) };
        self.samples -= 1;
        let flow = flow_of(asked, &header);
        let answer = self.why(&flow);
        match judge(question, self.system, &answer) {
            Judgement::Kept => {
                self.assumptions.extend(answer.assumptions);
                Ok(())
            }
            other => Err(self.disagreement(answer, "keeps to the entry", other)),
        }
    }

    /// Asks the simulator about one of the packets that can't get where the entry is about; and it
    /// has to agree, unless nobody knows.
    fn expect_kept(&mut self, question: &Question, others: &PacketSet) -> Result<(), Disagreement> {
        let Some(header) = others.example() else { return Ok(()) };
        let asked = walk::Question::new(others.clone(), packets::entry(question));
        let flow = flow_of(&asked, &header);
        let answer = self.why(&flow);
        match judge(question, self.system, &answer) {
            Judgement::Kept => self.assumptions.extend(answer.assumptions),
            Judgement::Open(_) => {}
            broken @ Judgement::Broken(_) => {
                return Err(self.disagreement(answer, "gets nowhere near", broken));
            }
        }
        Ok(())
    }

    /// What is to blame for a class whose fate nobody knows.
    fn blame(&mut self, asked: &walk::Question, class: &Class, why: String) -> String {
        let Some(header) = class.set.example() else { return why };
        let answer = self.why(&asked.flow(&header));
        self.assumptions.extend(answer.assumptions.iter().cloned());
        undetermined(&answer).unwrap_or(why)
    }

    fn disagreement(&self, answer: Answer, classes: &str, judgement: Judgement) -> Disagreement {
        let flow = answer.flow.clone();
        let (other, shown) = match judgement {
            Judgement::Kept => ("it keeps to the entry".to_owned(), None),
            Judgement::Open(why) => (format!("nobody knows: {why}"), None),
            Judgement::Broken(reason) => {
                let (system, flow) = (Arc::clone(self.system), flow.clone());
                let shown = Counterexample { system, flow, answer, reason };
                ("it breaks the entry".to_owned(), Some(Box::new(shown)))
            }
        };
        Disagreement {
            name: self.name.clone(),
            flow: Some(Box::new(flow)),
            between: Between::ClassesAndSimulator,
            one: format!("it {classes}"),
            other,
            shown,
        }
    }

    pub(super) fn finding(self, entry: &Entry, property: &Property) -> Finding {
        let nothing = match property.questions.is_empty() {
            true => Some(Nothing::Sent),
            false if !self.concerned => Some(match entry.claim.kind() {
                Kind::Egress => Nothing::GetsThere,
                Kind::Allow | Kind::Deny | Kind::Isolate => Nothing::Sent,
            }),
            false => None,
        };
        let vacuous = nothing.filter(|_| entry.vacuous == Vacuous::Fails);
        let mut assumptions = self.assumptions;
        let (status, reason) = match (&self.counterexample, self.unknown, vacuous) {
            (Some(found), _, _) => {
                assumptions.extend(found.answer.assumptions.iter().cloned());
                (Status::Fails, Some(found.reason.clone()))
            }
            (None, Some(why), _) => (Status::Unknown, Some(Reason::Undetermined(why))),
            (None, None, Some(nothing)) => (Status::Fails, Some(Reason::Vacuous(nothing))),
            (None, None, None) => (Status::Holds, None),
        };
        Finding {
            name: self.name,
            kind: entry.claim.kind(),
            span: entry.span,
            status,
            families: Families::One(property.family),
            reason,
            counterexamples: self.counterexample.into_iter().collect(),
            assumptions: assumptions.into_iter().collect(),
            asked: self.asked,
            proved_by: Vec::new(),
            fault: None,
        }
    }
}

/// One of the packets as `why` is asked about it: what is usual is left to it.
pub(crate) fn flow_of(asked: &walk::Question, header: &Header) -> Flow {
    let mut flow = asked.flow(header);
    flow.tcp_flags = flow.tcp_flags.filter(|flags| *flags != tcp_flag::SYN);
    flow.icmp = flow.icmp.filter(|icmp| ![(8, 0), (128, 0)].contains(icmp));
    flow
}

/// What the classes say of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It breaks the demand whatever chance does.
    Broken,
    /// It breaks it on one of several ways.
    Open,
}
