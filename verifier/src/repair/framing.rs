//! What a change does beside what it is for: the comparison with today, less the packets that
//! broke the policy.

use nattrace_model::System;
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::simulate::why;
use nattrace_parser::policy::{Families, Given, Policy};
use nattrace_parser::syntax::Family;

use super::Fix;
use crate::check::{Effects, Judgement, Status, judge, packets, reaching};
use crate::diff::{Change, Comparison, Part, Scope, compare_each};
use crate::packets::PacketSet;
use crate::policy::{self, Demand, Question};
use crate::space::Space;
use crate::walk::{self, walk};

/// How many ways of usual packets are looked at for each place that they start in.
const MOST_WAYS: usize = 500;

/// The same for all places together, where each packet may fare differently.
const MOST_WAYS_OF_ALL: usize = 20_000;

/// The comparison of a host with what a change makes of it, without what the change is for: packets
/// that broke the policy, in whatever state their connections are.
#[must_use]
pub fn side_effects(fix: &Fix, policy: &Policy, given: &Given) -> Comparison {
    let families: Vec<Family> = [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .filter(|family| {
            fix.settings.iter().any(|setting| setting.family() == *family)
                || fix.edits.iter().any(|edit| edit.place.family == *family)
        })
        .collect();
    let families = match families.as_slice() {
        [one] => Families::One(*one),
        _ => Families::Both,
    };
    let places = fix.today.host.interfaces.len().max(1);
    let ways = match fix.settings.is_empty() {
        true => MOST_WAYS,
        false => (MOST_WAYS_OF_ALL / places).clamp(MOST_WAYS / 10, MOST_WAYS),
    };
    let scope = Scope { families, ways, ..Scope::default() };
    let mut comparison = compare_each(&fix.today, &fix.system, scope);
    let mut intent = Intent::of(fix, policy, given);
    comparison.changes.retain(|change| !intent.covers(change, &fix.today));
    comparison
}

/// What a change is for: the questions of the entries that fail today.
struct Intent {
    questions: Vec<Question>,
    /// What is broken of each question, as far as it was asked for.
    broken: Vec<Option<PacketSet>>,
}

impl Intent {
    fn of(fix: &Fix, policy: &Policy, given: &Given) -> Self {
        let failing = fix.before.iter().filter(|finding| finding.status == Status::Fails);
        let entries = failing
            .filter_map(|finding| policy.entries.iter().find(|entry| entry.span == finding.span));
        let questions = entries
            .filter(|entry| entry.given.is_empty() && given.is_empty())
            .flat_map(|entry| policy::resolve(policy, entry, &fix.today))
            .flat_map(|property| property.questions);
        let questions: Vec<Question> = questions.collect();
        Self { broken: vec![None; questions.len()], questions }
    }

    /// Whether every packet of a difference is one that broke the policy.
    fn covers(&mut self, change: &Change, today: &System) -> bool {
        change.parts.iter().all(|part| match part.state {
            FlowState::New => self.broke(part, today),
            _ => self.broke_one(part, change, today),
        })
    }

    fn broke(&mut self, part: &Part, today: &System) -> bool {
        let space = part.packets.space();
        let mut rest = part.packets.clone();
        for (question, known) in self.questions.iter().zip(&mut self.broken) {
            if packets::entry(question) != part.entry || !is_of(question, space.family()) {
                continue;
            }
            let own = match known {
                Some(own) if own.space() == space => own,
                _ => known.insert(broken(question, today, space)),
            };
            rest = rest.difference(own);
            if rest.is_empty() {
                return true;
            }
        }
        rest.is_empty()
    }

    /// Packets of open connections are those of the ones that would break it when they are opened:
    /// of one of them, the simulator says so.
    fn broke_one(&self, part: &Part, change: &Change, today: &System) -> bool {
        let Some(header) = part.packets.example() else { return true };
        let asked = walk::Question::new(part.packets.clone(), part.entry.clone());
        let all = [asked.flow(&header), change.witness.before.flow.clone()];
        all.into_iter().all(|flow| {
            let opening = Flow { state: FlowState::New, tcp_flags: None, icmp: None, ..flow };
            let answer = why(today, &opening);
            self.questions.iter().any(|question| {
                packets::entry(question) == part.entry
                    && question.from.sources.contains(opening.source)
                    && matches!(judge(question, today, &answer), Judgement::Broken(_))
            })
        })
    }
}

fn is_of(question: &Question, family: Family) -> bool {
    question.from.sources.family() == family
}

/// The packets of a question that break it today, or that get nowhere although they should.
fn broken(question: &Question, today: &System, space: &Space) -> PacketSet {
    let meant = reaching(question, today, space);
    if meant.is_empty() {
        return meant;
    }
    let asked = walk::Question::new(meant, packets::entry(question));
    let classes = walk(today, &asked);
    let effects = Effects::new(question, space);
    let mut all = space.none();
    let mut concerned = space.none();
    for class in &classes.classes {
        let found = effects.of(class);
        concerned = concerned.union(&found.concerned);
        all = all.union(&found.broken_always).union(&found.broken_sometimes);
    }
    match &question.demand {
        // Nothing gets there: whatever is addressed there is what the change is for.
        Demand::Leaves { landing, .. } if concerned.is_empty() => {
            let spots = landing.iter().flat_map(|landing| &landing.spots);
            let addressed = spots.fold(space.none(), |all, spot| {
                all.union(&packets::destinations(space, spot.addresses()))
            });
            asked.packets.intersection(&addressed)
        }
        _ => all,
    }
}
