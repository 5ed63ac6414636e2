//! For which packets two versions of a chain decide differently.
//!
//! Both are followed rule by rule, for just the packets that an edit is about, and what is done to
//! these is compared: rules that are never reached, that say what is said elsewhere, or that changed
//! places with rules about other packets make no difference. What a header alone does not tell (an
//! interface, a mark, the state of a connection) is either so or not, and the same for both.

use nattrace_model::condition::{Condition, ConnectionCondition, InterfacePattern, Sense};
use nattrace_model::ruleset::{Chain, Rule};
use nattrace_model::target::Target;
use oxidd::bdd::BDDFunction;
use oxidd::{BooleanFunction, Function};

use super::identity::Identities;
use super::meets::{Meets, forget};
use super::search::Map;
use crate::space::{Field, Space};

/// Fields that no condition is told in here, whose bits stand for what a header does not tell.
const SPARE: [Field; 3] = [Field::TcpFlags, Field::IcmpType, Field::IcmpCode];
/// How many bits each of them has.
const SPARE_BITS: usize = 8;
/// How many different things may be done to the packets.
pub(super) const MOST_COURSES: usize = 128;
/// How large sets of packets may grow.
const MOST_NODES: usize = 50_000;
/// After how many rules it is looked at how large they are.
const LOOK: usize = 32;
/// The bits of the states that a packet is in one of.
const STATES: u16 = 0x1f;

/// A version of a chain.
pub(super) struct Version<'a> {
    pub(super) chain: &'a Chain,
    pub(super) identities: &'a Identities<'a>,
    pub(super) map: &'a Map<'a>,
}

/// The packets of some that two versions of a chain decide differently about; `None` where that
/// can't be told from the chain alone.
pub(super) fn differing(
    meets: &Meets<'_>,
    before: &Version<'_>,
    after: &Version<'_>,
    care: &BDDFunction,
) -> Option<BDDFunction> {
    let space = meets.space();
    let mut facts = Facts::new(space);
    let one = courses(meets, &mut facts, before, care)?;
    let other = courses(meets, &mut facts, after, care)?;
    Some(facts.apart(&one, &other, care))
}

/// What is done to packets, in order.
pub(super) type Course = Vec<Deed>;

/// One thing that is done to packets.
#[derive(Clone, PartialEq)]
pub(super) struct Deed {
    target: Target,
    /// Whether other conditions may hold of the packets then.
    modifies: bool,
}

impl Deed {
    pub(super) fn of(target: &Target, modifies: bool) -> Self {
        Self { target: target.clone(), modifies }
    }
}

/// What a version of a chain does to each of some packets.
fn courses(
    meets: &Meets<'_>,
    facts: &mut Facts<'_>,
    version: &Version<'_>,
    care: &BDDFunction,
) -> Option<Vec<(Course, BDDFunction)>> {
    let space = meets.space();
    let bounds = meets.bounds(care);
    let mut open: Vec<(Course, BDDFunction)> = vec![(Vec::new(), care.clone())];
    let mut done: Vec<(Course, BDDFunction)> = Vec::new();
    let mut met = 0usize;
    for rule in &version.chain.rules {
        if rule.target.does_nothing() || !bounds.may_match(rule) {
            continue;
        }
        let asked = Asked::of(meets, rule);
        if !space.and(care, &asked.exactly).satisfiable() {
            continue;
        }
        let target = version.identities.renumbered(&rule.target);
        let mut passed = Vec::new();
        for (course, packets) in &mut open {
            let Some(own) = matching(facts, version, rule, &asked, (course, packets))? else {
                continue;
            };
            *packets = space.minus(packets, &own);
            let mut course = course.clone();
            match &rule.target {
                // Back to the caller, as at the end of the chain.
                Target::Return => add(space, &mut done, course, own),
                Target::Goto(_) => {
                    course.push(Deed::of(&target, version.map.modifies(&rule.target)));
                    add(space, &mut done, course, own);
                }
                other if other.ends() => {
                    course.push(Deed::of(&target, false));
                    add(space, &mut done, course, own);
                }
                Target::Unsupported(_)
                | Target::Map(_)
                | Target::Sequence(_)
                | Target::Socket { .. }
                | Target::Tproxy { .. } => return None,
                Target::Jump(_) => {
                    course.push(Deed::of(&target, version.map.modifies(&rule.target)));
                    passed.push((course, own));
                }
                _ => {
                    course.push(Deed::of(&target, true));
                    passed.push((course, own));
                }
            }
        }
        for (course, packets) in passed {
            add(space, &mut open, course, packets);
        }
        open.retain(|(_, packets)| packets.satisfiable());
        met += 1;
        let size = || open.iter().map(|(_, packets)| packets.node_count()).sum::<usize>();
        if open.len() + done.len() > MOST_COURSES
            || (met.is_multiple_of(LOOK) && size() > MOST_NODES)
        {
            return None;
        }
        if open.is_empty() {
            break;
        }
    }
    for (course, packets) in open {
        add(space, &mut done, course, packets);
    }
    Some(done)
}

pub(super) fn add(
    space: &Space,
    all: &mut Vec<(Course, BDDFunction)>,
    course: Course,
    packets: BDDFunction,
) {
    match all.iter_mut().find(|(known, _)| *known == course) {
        Some((_, known)) => *known = space.or(known, &packets),
        None => all.push((course, packets)),
    }
}

/// What a rule asks of a packet.
pub(super) struct Asked<'r> {
    /// The packets whose headers are such as it asks for.
    pub(super) exactly: BDDFunction,
    /// What headers do not tell.
    others: Vec<&'r Condition>,
}

impl<'r> Asked<'r> {
    pub(super) fn of(meets: &Meets<'_>, rule: &'r Rule) -> Self {
        let space = meets.space();
        let mut asked = Self { exactly: space.anything(), others: Vec::new() };
        for condition in &rule.conditions {
            match meets.exactly(condition) {
                Some(function) => asked.exactly = space.and(&asked.exactly, &function),
                None => asked.others.push(condition),
            }
        }
        asked
    }
}

/// The packets of some that a rule matches; `None` within where there are none, and `None` where
/// that can't be told.
pub(super) fn matching(
    facts: &mut Facts<'_>,
    version: &Version<'_>,
    rule: &Rule,
    asked: &Asked<'_>,
    (course, packets): (&Course, &BDDFunction),
) -> Option<Option<BDDFunction>> {
    let space = facts.space;
    let mut hit = space.and(packets, &asked.exactly);
    if !hit.satisfiable() {
        return Some(None);
    }
    let since: Course = course.iter().filter(|deed| deed.modifies).cloned().collect();
    if let Some(words) = version.identities.undecided_words(rule) {
        let before = version.chain.rules.iter().take_while(|other| !std::ptr::eq(*other, rule));
        let alike = before.filter(|other| {
            version.identities.undecided_words(other).is_some_and(|own| own == words)
        });
        let alike = alike.count();
        let fact = facts.holds(Fact { what: What::Rule(words, alike), since })?;
        hit = space.and(&hit, &fact);
        return Some(hit.satisfiable().then_some(hit));
    }
    for condition in &asked.others {
        let (condition, sense) = plain(condition);
        let fact = Fact { what: What::Condition(condition), since: since.clone() };
        let fact = facts.holds(fact)?;
        hit = space.and(&hit, &space.when(sense == Sense::Is, &fact));
    }
    Some(hit.satisfiable().then_some(hit))
}

/// Something that a header does not tell.
#[derive(PartialEq)]
struct Fact {
    what: What,
    /// What was done to the packets before that may have changed it.
    since: Course,
}

#[derive(PartialEq)]
enum What {
    /// A condition holds.
    Condition(Condition),
    /// A rule matches that is decided otherwise: the one with these words after so many others.
    Rule(String, usize),
}

pub(super) struct Facts<'a> {
    space: &'a Space,
    known: Vec<Fact>,
    /// What can be so together.
    together: BDDFunction,
}

impl<'a> Facts<'a> {
    pub(super) fn new(space: &'a Space) -> Self {
        Self { space, known: Vec::new(), together: space.anything() }
    }

    /// The packets of some that two followings do not do the same to.
    pub(super) fn apart(
        &self,
        one: &[(Course, BDDFunction)],
        other: &[(Course, BDDFunction)],
        care: &BDDFunction,
    ) -> BDDFunction {
        let space = self.space;
        let mut alike = Vec::new();
        for (course, packets) in one {
            if let Some((_, same)) = other.iter().find(|(known, _)| known == course) {
                alike.push(space.and(packets, same));
            }
        }
        let differ = space.minus(&space.and(care, &self.together), &space.union(alike));
        forget(space, &differ, &SPARE)
    }

    /// The function that stands for a fact; `None` where there are too many of them.
    fn holds(&mut self, fact: Fact) -> Option<BDDFunction> {
        if let Some(at) = self.known.iter().position(|known| *known == fact) {
            return self.bit(at);
        }
        let at = self.known.len();
        let own = self.bit(at)?;
        for (other, known) in self.known.iter().enumerate() {
            if let (What::Condition(one), What::Condition(two)) = (&known.what, &fact.what)
                && known.since == fact.since
                && exclude_each_other(one, two)
            {
                let both = self.space.and(&self.bit(other)?, &own);
                self.together = self.space.minus(&self.together, &both);
            }
        }
        self.known.push(fact);
        Some(own)
    }

    fn bit(&self, at: usize) -> Option<BDDFunction> {
        let field = SPARE.get(at / SPARE_BITS)?;
        let bit = 1u128 << (at % SPARE_BITS);
        Some(self.space.masked(*field, bit, bit))
    }
}

/// A condition without its negation, where a negation is the opposite.
fn plain(condition: &Condition) -> (Condition, Sense) {
    let mut plain = condition.clone();
    let sense = match &mut plain {
        Condition::InInterface(sense, _)
        | Condition::OutInterface(sense, _)
        | Condition::SourceType(sense, ..)
        | Condition::DestinationType(sense, ..)
        | Condition::Mark { sense, .. }
        | Condition::Fragment(sense)
        | Condition::Physdev(sense, _)
        | Condition::TcpFlags { sense, .. } => std::mem::replace(sense, Sense::Is),
        Condition::Connection(sense, asked) if matches!(**asked, ConnectionCondition::State(_)) => {
            std::mem::replace(sense, Sense::Is)
        }
        _ => Sense::Is,
    };
    (plain, sense)
}

/// Whether two conditions, plain as they are, never hold together.
fn exclude_each_other(one: &Condition, other: &Condition) -> bool {
    use Condition::{Connection, InInterface, Mark, OutInterface};
    match (one, other) {
        (InInterface(_, InterfacePattern::Name(a)), InInterface(_, InterfacePattern::Name(b)))
        | (
            OutInterface(_, InterfacePattern::Name(a)),
            OutInterface(_, InterfacePattern::Name(b)),
        ) => a != b,
        (Mark { value: a, mask: own, .. }, Mark { value: b, mask, .. }) => own == mask && a != b,
        (Connection(_, a), Connection(_, b)) => match (&**a, &**b) {
            (ConnectionCondition::State(a), ConnectionCondition::State(b)) => {
                a & b == 0 && (a | b) & !STATES == 0
            }
            _ => false,
        },
        _ => false,
    }
}
