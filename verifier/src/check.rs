//! `check`: whether what a policy says holds for every packet.
//!
//! Each entry becomes questions about packets that start in one place. Their classes say what
//! becomes of all of them; a packet that breaks the entry is taken out of the offending classes,
//! and the simulator is asked about it: it has to agree, or one of the two is wrong and no answer
//! is given at all.

mod demand;
mod engine;
mod judgement;
pub(crate) mod packets;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome};
use nattrace_model::flow::Flow;
use nattrace_model::host::Assumption;
use nattrace_model::packet::tcp_flag;
use nattrace_model::simulate::why;
use nattrace_parser::policy::{Entry, Families, Given, Kind, Policy, Vacuous};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::Family;
use rayon::prelude::*;

use crate::class::Class;
use crate::given;
use crate::header::Header;
use crate::packets::PacketSet;
use crate::policy::{self, Demand, Property, Question};
use crate::space::Space;
use crate::walk::{self, walk};
pub(crate) use demand::{Effects, arrives};
pub use engine::Engine;
pub(crate) use judgement::{Judgement, judge, lands, undetermined};
use reach::Redirections;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// For every packet.
    Holds,
    /// Something that is not known decides.
    Unknown,
    /// Not for every packet.
    Fails,
}

/// What came of one entry of a policy, in the families that fare alike.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The name of the entry.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its header in the policy.
    pub span: Span,
    /// Whether it holds.
    pub status: Status,
    /// The families that this is about.
    pub families: Families,
    /// Why, where it does not hold.
    pub reason: Option<Reason>,
    /// Packets that show it.
    pub counterexamples: Vec<Counterexample>,
    /// What the result rests on.
    pub assumptions: Vec<Assumption>,
    /// How many packets the simulator was asked about.
    pub asked: usize,
    /// The engines that say so.
    pub proved_by: Vec<String>,
}

/// Why an entry does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The packet leaves by an interface with a source that it must not have.
    LeavesAs {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The source.
        source: IpAddr,
    },
    /// The packet, or its answer, does not get through.
    Experiences(Outcome),
    /// It arrives, but elsewhere.
    ArrivesAt {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The address.
        destination: IpAddr,
        /// The port, where it has one.
        port: Option<u16>,
    },
    /// It arrives where it must not.
    Lands {
        /// The interface; `None` where it is delivered to the host.
        interface: Option<String>,
        /// The address.
        destination: IpAddr,
        /// The port, where it has one.
        port: Option<u16>,
    },
    /// docker-proxy takes the packet, and connects where it must not arrive.
    Proxied {
        /// Where docker-proxy connects to.
        destination: IpAddr,
        /// The port.
        port: u16,
    },
    /// No packet is concerned.
    Vacuous(Nothing),
    /// Something that is not known decides.
    Undetermined(String),
}

/// Why no packet is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Nobody sends such packets, or nobody could get them.
    Sent,
    /// Packets are sent, and none gets there.
    GetsThere,
}

/// A packet that breaks an entry, and what the simulator says of it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The host that it is about: with what the entry takes to be given.
    pub system: Arc<System>,
    /// The packet.
    pub flow: Flow,
    /// What becomes of it.
    pub answer: Answer,
    /// How it breaks the entry.
    pub reason: Reason,
}

/// Two of the engines, or one and the simulator, say different things: a fault of nattrace.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The entry.
    pub name: String,
    /// A packet that it is about, where there is one.
    pub flow: Option<Box<Flow>>,
    /// Who disagree.
    pub between: Between,
    /// What the first of them says.
    pub one: String,
    /// What the second of them says.
    pub other: String,
}

/// Who disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The classes and the simulator.
    ClassesAndSimulator,
    /// A solver and the simulator.
    SolverAndSimulator,
    /// The classes and a solver.
    Engines,
}

impl Between {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ClassesAndSimulator => ("the classes say", "the simulator says"),
            Self::SolverAndSimulator => ("the solver says", "the simulator says"),
            Self::Engines => ("the classes say", "the solver says"),
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.name)?;
        if let Some(flow) = &self.flow {
            let Flow {
                source,
                destination,
                protocol,
                source_port,
                destination_port,
                in_interface,
                ..
            } = &**flow;
            write!(
                f,
                "of the packet {source} port {source_port:?} to {destination} port \
                 {destination_port:?}, protocol {protocol}, in by {in_interface:?}, "
            )?;
        }
        let (one, other) = self.between.words();
        write!(f, "{one}: {}, and {other}: {}", self.one, self.other)
    }
}

impl std::error::Error for Disagreement {}

/// Says of each entry of a policy whether it holds, in the order of the policy.
///
/// All names have to be known on the host ([`policy::unknown_names`]). `given` is taken to be so
/// for all entries, besides what each says for itself.
///
/// # Errors
///
/// The classes and the simulator disagree about a packet.
pub fn check(
    policy: &Policy,
    system: &System,
    given: &Given,
) -> Result<Vec<Finding>, Disagreement> {
    check_with(policy, system, given, Engine::Classes)
}

/// The same by an engine.
///
/// # Errors
///
/// Two of the engines, or one and the simulator, disagree.
pub fn check_with(
    policy: &Policy,
    system: &System,
    given: &Given,
    engine: Engine<'_>,
) -> Result<Vec<Finding>, Disagreement> {
    check_all(policy, &[], (system, given), engine)
}

/// The same for some of the entries of a policy; others are only referred to.
pub(crate) fn check_some(
    policy: &Policy,
    referred: &[Entry],
    system: &System,
    given: &Given,
) -> Result<Vec<Finding>, Disagreement> {
    check_all(policy, referred, (system, given), Engine::Classes)
}

fn check_all(
    policy: &Policy,
    referred: &[Entry],
    (system, given): (&System, &Given),
    engine: Engine<'_>,
) -> Result<Vec<Finding>, Disagreement> {
    let base = Premises::of(policy::with_zones(system, policy));
    let mut known = policy.clone();
    known.entries.extend_from_slice(referred);
    let known = &known;
    let each: Result<Vec<Vec<Finding>>, Disagreement> = policy
        .entries
        .par_iter()
        .map(|entry| {
            let mut all = given.clone();
            all.extend(entry.given.clone());
            if all.is_empty() {
                return check_entry(known, entry, &base, engine);
            }
            check_entry(known, entry, &Premises::of(given::apply(&base.system, &all)), engine)
        })
        .collect();
    Ok(each?.into_iter().flatten().collect())
}

/// A host that questions are about, with what is found out about it once.
struct Premises {
    system: Arc<System>,
    redirections: [OnceLock<Redirections>; 2],
}

impl Premises {
    fn of(system: System) -> Self {
        Self { system: Arc::new(system), redirections: Default::default() }
    }

    /// What gives packets of a family another destination.
    fn redirections(&self, family: Family) -> &Redirections {
        let [ipv4, ipv6] = &self.redirections;
        let known = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        known.get_or_init(|| Redirections::of(&self.system, family))
    }
}

/// The packets of a question, without those that can't get where it is about.
pub(crate) fn reaching(question: &policy::Question, system: &System, space: &Space) -> PacketSet {
    let packets = packets::of(question, space);
    let (Demand::Leaves { landing, .. } | Demand::NeverLands(landing)) = &question.demand else {
        return packets;
    };
    let redirections = &Redirections::of(system, space.family());
    match redirections.into(system, space, landing) {
        Some(reaching) => packets.intersection(&reaching),
        None => packets,
    }
}

/// The findings of one entry: one where its families fare alike, else one for each.
fn check_entry(
    policy: &Policy,
    entry: &Entry,
    premises: &Premises,
    engine: Engine<'_>,
) -> Result<Vec<Finding>, Disagreement> {
    let mut findings: Vec<Finding> = Vec::new();
    for property in policy::resolve(policy, entry, &premises.system) {
        let finding = engine.check(entry, &property, premises)?;
        match findings.first_mut().filter(|first| first.status == finding.status) {
            Some(first) => first.join(finding),
            None => findings.push(finding),
        }
    }
    Ok(findings)
}

impl Finding {
    /// Takes what was found about the other family.
    fn join(&mut self, other: Self) {
        self.families = Families::Both;
        self.reason = self.reason.take().or(other.reason);
        self.counterexamples.extend(other.counterexamples);
        self.asked += other.asked;
        self.proved_by.retain(|engine| other.proved_by.contains(engine));
        let all: BTreeSet<Assumption> =
            self.assumptions.drain(..).chain(other.assumptions).collect();
        self.assumptions = all.into_iter().collect();
    }
}

/// How many classes are looked at for what an answer rests on.
const MOST_SAMPLES: usize = 64;
/// How many are of each question, however many questions there are.
const LEAST_SAMPLES: usize = 4;

/// What is found out about a property while its questions are asked.
struct Inquiry<'a> {
    name: String,
    premises: &'a Premises,
    system: &'a Arc<System>,
    assumptions: BTreeSet<Assumption>,
    counterexample: Option<Counterexample>,
    unknown: Option<String>,
    concerned: bool,
    asked: usize,
    samples: usize,
}

fn check_by_classes(
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
    let answered: Vec<Result<Inquiry<'_>, Disagreement>> = property
        .questions
        .par_iter()
        .map_init(
            || Space::new(property.family),
            |space, question| {
                if space.is_exhausted() {
                    *space = Space::new(property.family);
                }
                let mut inquiry = inquiry(each.max(LEAST_SAMPLES));
                inquiry.ask(question, space)?;
                Ok(inquiry)
            },
        )
        .collect();
    let mut all = inquiry(0);
    for one in answered {
        // The first packet that breaks the entry settles it.
        if all.counterexample.is_none() {
            all.join(one?);
        }
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
        let classes = walk(self.system, &asked);
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

    /// Asks the simulator about a packet that the classes say something of.
    fn confirm(
        &mut self,
        question: &Question,
        flow: Flow,
        expected: Expected,
    ) -> Result<(), Disagreement> {
        let answer = why(self.system, &flow);
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
            (other, _) => Err(self.disagreement(flow, "breaks the entry", &other)),
        }
    }

    /// Asks the simulator about a packet of a class that breaks nothing, for what its answer rests
    /// on; and it has to agree that nothing is broken.
    fn sample(
        &mut self,
        question: &Question,
        asked: &walk::Question,
        class: &Class,
        found: &demand::Found,
    ) -> Result<(), Disagreement> {
        let broken = found.broken_always.union(&found.broken_sometimes);
        let sound = class.set.difference(&broken);
        if self.samples == 0 || found.unknown.is_some() {
            return Ok(());
        }
        let Some(header) = sound.sample(&[]) else { return Ok(()) };
        self.samples -= 1;
        let flow = flow_of(asked, &header);
        let answer = why(self.system, &flow);
        match judge(question, self.system, &answer) {
            Judgement::Kept => {
                self.assumptions.extend(answer.assumptions);
                Ok(())
            }
            other => Err(self.disagreement(flow, "keeps to the entry", &other)),
        }
    }

    /// Asks the simulator about one of the packets that can't get where the entry is about; and it
    /// has to agree, unless nobody knows.
    fn expect_kept(&mut self, question: &Question, others: &PacketSet) -> Result<(), Disagreement> {
        let Some(header) = others.example() else { return Ok(()) };
        let asked = walk::Question::new(others.clone(), packets::entry(question));
        let flow = flow_of(&asked, &header);
        let answer = why(self.system, &flow);
        match judge(question, self.system, &answer) {
            Judgement::Kept => self.assumptions.extend(answer.assumptions),
            Judgement::Open(_) => {}
            broken @ Judgement::Broken(_) => {
                return Err(self.disagreement(flow, "gets nowhere near", &broken));
            }
        }
        Ok(())
    }

    /// What is to blame for a class whose fate nobody knows.
    fn blame(&mut self, asked: &walk::Question, class: &Class, why: String) -> String {
        let Some(header) = class.set.example() else { return why };
        let answer = nattrace_model::simulate::why(self.system, &asked.flow(&header));
        self.assumptions.extend(answer.assumptions.iter().cloned());
        judgement::undetermined(&answer).unwrap_or(why)
    }

    fn disagreement(
        &self,
        flow: Flow,
        classes: &'static str,
        judgement: &Judgement,
    ) -> Disagreement {
        let simulator = format!("{judgement:?}");
        Disagreement {
            name: self.name.clone(),
            flow: Some(Box::new(flow)),
            between: Between::ClassesAndSimulator,
            one: format!("it {classes}"),
            other: simulator,
        }
    }

    fn finding(self, entry: &Entry, property: &Property) -> Finding {
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
