//! For which packets two versions of a base chain end differently, with all chains that they call.
//!
//! A chain that differs may do with its packets what the chains behind it would do anyway: a DROP
//! before a policy of DROP changes nothing.

use nattrace_model::ruleset::{Chain, ChainId, Rule};
use nattrace_model::target::Target;
use nattrace_parser::syntax::Policy;
use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use super::decisions::{Asked, Course, Deed, Facts, MOST_COURSES, Version, add, matching};
use super::identity::Identities;
use super::meets::Meets;
use super::search::Map;

/// How many rules are looked at for one base chain.
const MOST_RULES: usize = 20_000;
/// How deep chains may call one another.
const MOST_DEEP: usize = 32;

/// A version of a base chain.
pub(super) struct Ending<'a> {
    pub(super) chain: ChainId,
    pub(super) identities: &'a Identities<'a>,
    pub(super) map: &'a Map<'a>,
}

/// The packets of some that two versions of a base chain end differently for; `None` where that
/// can't be told from the rules alone.
pub(super) fn differing(
    meets: &Meets<'_>,
    before: &Ending<'_>,
    after: &Ending<'_>,
    care: &BDDFunction,
) -> Option<BDDFunction> {
    let mut facts = Facts::new(meets.space());
    let one = before.ends(meets, &mut facts, care)?;
    let other = after.ends(meets, &mut facts, care)?;
    Some(facts.apart(&one, &other, care))
}

/// Packets, by what was done to them.
type Courses = Vec<(Course, BDDFunction)>;

/// What is still to be followed, and what has come to an end.
struct Following<'f, 'a, 'm, 's> {
    ending: &'f Ending<'a>,
    meets: &'f Meets<'m>,
    facts: &'f mut Facts<'s>,
    ended: Courses,
    /// How many rules were looked at.
    looked: usize,
    /// The chains with rules that a header does not decide about: a packet must not meet those
    /// twice.
    met: Vec<ChainId>,
}

impl Ending<'_> {
    fn ends(
        &self,
        meets: &Meets<'_>,
        facts: &mut Facts<'_>,
        care: &BDDFunction,
    ) -> Option<Courses> {
        let base = self.map.system.rules.chain(self.chain)?.base?;
        let mut following =
            Following { ending: self, meets, facts, ended: Vec::new(), looked: 0, met: Vec::new() };
        let start = vec![(Vec::new(), care.clone())];
        let returned = following.chain(self.chain, start, 0)?;
        let mut ended = following.ended;
        let policy = match base.policy {
            Policy::Accept => Target::Accept,
            Policy::Drop => Target::Drop,
        };
        for (mut course, packets) in returned {
            course.push(Deed::of(&policy, false));
            add(meets.space(), &mut ended, course, packets);
        }
        Some(ended)
    }
}

impl Following<'_, '_, '_, '_> {
    /// Follows packets through a chain; those that come back from it.
    fn chain(&mut self, id: ChainId, mut open: Courses, depth: usize) -> Option<Courses> {
        let chain = self.ending.map.system.rules.chain(id)?;
        let identities = self.ending.identities;
        if depth > MOST_DEEP {
            return None;
        }
        let idle = |rule: &Rule| rule.target.does_nothing() || rule.target == Target::Return;
        if chain.rules.iter().all(idle) {
            // It only writes a log.
            return Some(open);
        }
        if chain.rules.iter().any(|rule| identities.undecided_words(rule).is_some()) {
            let number = identities.number(id);
            if self.met.contains(&number) {
                return None;
            }
            self.met.push(number);
        }
        let space = self.meets.space();
        let mut returned: Courses = Vec::new();
        let all = space.union(open.iter().map(|(_, packets)| packets.clone()).collect());
        let bounds = self.meets.bounds(&all);
        let version = Version { chain, identities, map: self.ending.map };
        for rule in &chain.rules {
            if rule.target.does_nothing() || !bounds.may_match(rule) {
                continue;
            }
            self.looked += 1;
            if self.looked > MOST_RULES {
                return None;
            }
            let asked = Asked::of(self.meets, rule);
            if !space.and(&all, &asked.exactly).satisfiable() {
                continue;
            }
            let mut hits: Courses = Vec::new();
            for (course, packets) in &mut open {
                let own = matching(self.facts, &version, rule, &asked, (course, packets))?;
                if let Some(own) = own {
                    *packets = space.minus(packets, &own);
                    add(space, &mut hits, course.clone(), own);
                }
            }
            open.retain(|(_, packets)| packets.satisfiable());
            if !hits.is_empty() {
                self.carry_out(&rule.target, hits, (&mut open, &mut returned), depth)?;
            }
            if open.len() + returned.len() + self.ended.len() > MOST_COURSES {
                return None;
            }
            if open.is_empty() {
                break;
            }
        }
        for (course, packets) in open {
            add(space, &mut returned, course, packets);
        }
        Some(returned)
    }

    /// Does to packets what a rule says: they go on, come back, or end.
    fn carry_out(
        &mut self,
        target: &Target,
        hits: Courses,
        (open, returned): (&mut Courses, &mut Courses),
        depth: usize,
    ) -> Option<()> {
        let space = self.meets.space();
        match target {
            Target::Return => hits.into_iter().for_each(|(course, packets)| {
                add(space, returned, course, packets);
            }),
            Target::Jump(called) => {
                for (course, packets) in self.chain(*called, hits, depth + 1)? {
                    add(space, open, course, packets);
                }
            }
            Target::Goto(called) => {
                for (course, packets) in self.chain(*called, hits, depth + 1)? {
                    add(space, returned, course, packets);
                }
            }
            Target::Unsupported(_)
            | Target::Map(_)
            | Target::Sequence(_)
            | Target::Socket { .. }
            | Target::Tproxy { .. } => return None,
            other => {
                let ends = other.ends();
                let deed = Deed::of(&self.ending.identities.renumbered(other), !ends);
                for (mut course, packets) in hits {
                    course.push(deed.clone());
                    let to = if ends { &mut self.ended } else { &mut *open };
                    add(space, to, course, packets);
                }
            }
        }
        Some(())
    }
}

/// The base chains of two hosts that lead to two versions of a chain, in pairs; `None` where one
/// has no counterpart.
pub(super) fn pairs(
    (before, after): (&Map<'_>, &Map<'_>),
    identities: &Identities<'_>,
    (old, new): (ChainId, ChainId),
) -> Option<Vec<(ChainId, ChainId)>> {
    let base = |map: &Map<'_>, id: ChainId| map.system.rules.chain(id).and_then(base_of);
    let olds = before.base_chains(old);
    let news = after.base_chains(new);
    let pair = |new: &ChainId| {
        let old = identities.counterpart(*new)?;
        let same = olds.contains(&old) && base(before, old)? == base(after, *new)?;
        same.then_some((old, *new))
    };
    let pairs: Option<Vec<(ChainId, ChainId)>> = news.iter().map(pair).collect();
    pairs.filter(|pairs| pairs.len() == olds.len())
}

/// Where a base chain stands; its policy is a part of how it ends.
fn base_of(chain: &Chain) -> Option<(nattrace_model::hook::Hook, i32)> {
    chain.base.map(|base| (base.hook, base.priority))
}
