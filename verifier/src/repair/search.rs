//! The search: sets of changes, the fewest and least disliked first, until one is proved.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Reply, Step};
use nattrace_model::simulate::why;
use nattrace_parser::policy::{Entry, Policy, Suppressed};
use nattrace_parser::span::Span;

use super::candidates::{obstacle, propose};
use super::case::{Case, Fate, Questions, given_of};
use super::change::{Change, Setting};
use super::edited::{Edited, edits};
use super::evidence::Evidence;
use super::frontier::{Frontier, State};
use super::probes::Probes;
use super::{End, Fix, Miss, Repair, Request, minimal};
use crate::check::{Engine, Finding, Judgement, Reason, Status, check_each, judge};
use crate::given;
use crate::policy;

/// How many sets of changes are tried on the known packets at most.
const MOST_TRIED: usize = 4_000;

/// How many sets of changes are proved or refuted at most.
const MOST_PROVED: usize = 200;

/// Runs the search.
pub(super) fn run(request: &Request<'_>) -> Repair {
    let base = Arc::new(policy::with_zones(request.system, request.policy));
    let before = check_each(request.policy, &base, request.given, Engine::Classes);
    let mut search = Search::new(request, base, &before);
    if search.goals.is_empty() {
        return Repair::Holds(before);
    }
    search.probes = Probes::new(&search.base);
    let found = search.find();
    match found {
        Some((changes, after)) if search.hopeless.is_empty() => {
            let (changes, after) = minimal::reduced(&mut search, changes, after);
            Repair::Found(Box::new(search.fix(&changes, before, after)))
        }
        Some((changes, after)) => search.miss(&changes, before, after),
        None => {
            let (_, changes) = search.nearest.take().unwrap_or_default();
            let after = match Edited::new(&search.base, &changes) {
                Some(edited) if !changes.is_empty() => {
                    check_each(request.policy, &edited.system, request.given, Engine::Classes)
                }
                Some(_) | None => before.clone(),
            };
            search.miss(&changes, before, after)
        }
    }
}

/// Changes with which everything holds, and what was found.
type Proved = (Vec<Change>, Vec<Finding>);

/// What has been found out so far.
pub(super) struct Search<'a> {
    request: &'a Request<'a>,
    base: Arc<System>,
    questions: Questions,
    probes: Probes,
    cases: Vec<Case>,
    /// Entries that fail today and have to hold.
    goals: Vec<usize>,
    /// Entries that fail and that no change of rules can mend.
    hopeless: BTreeSet<usize>,
    /// Entries whose failure does not count.
    excused: BTreeSet<usize>,
    /// Entries of which nobody knows today whether they hold.
    unknown: BTreeSet<usize>,
    obstacles: Vec<String>,
    nearest: Option<((usize, usize), Vec<Change>)>,
    tried: usize,
    proved: usize,
    end: End,
}

impl<'a> Search<'a> {
    fn new(request: &'a Request<'a>, base: Arc<System>, before: &[Finding]) -> Self {
        let policy = request.policy;
        let questions = Questions::new(policy, &base, request.given);
        let mut search = Self {
            request,
            probes: Probes::default(),
            base,
            questions,
            cases: Vec::new(),
            goals: Vec::new(),
            hopeless: BTreeSet::new(),
            excused: excused(policy),
            unknown: BTreeSet::new(),
            obstacles: Vec::new(),
            nearest: None,
            tried: 0,
            proved: 0,
            end: End::Exhausted,
        };
        for finding in before {
            let Some(entry) = index_of(policy, finding.span) else { continue };
            match finding.status {
                Status::Holds => {}
                Status::Unknown => {
                    search.unknown.insert(entry);
                }
                Status::Fails if search.excused.contains(&entry) => {}
                Status::Fails => {
                    if !search.goals.contains(&entry) {
                        search.goals.push(entry);
                    }
                    if search.learn(entry, finding) == 0 {
                        search.hopeless.insert(entry);
                        let sent = search.questions.is_about_something(entry);
                        let why = if sent {
                            "no packet of it is known"
                        } else {
                            "there are no such packets on this host"
                        };
                        search.obstacles.push(format!("`{}`: {why}", finding.name));
                    }
                }
            }
        }
        search
    }

    /// Takes in the packets of a finding; says how many of them there are.
    fn learn(&mut self, entry: usize, finding: &Finding) -> usize {
        let system = self.with_given(entry, &self.base);
        let cases = self.questions.cases(entry, finding, &system);
        let count = cases.len();
        for case in cases {
            let known = self.cases.iter().any(|known| {
                (known.entry, &known.flow, known.want) == (case.entry, &case.flow, case.want)
            });
            if !known {
                self.cases.push(case);
            }
        }
        count
    }

    fn entry(&self, index: usize) -> Option<&'a Entry> {
        self.request.policy.entries.get(index)
    }

    /// A host with what an entry takes to be given.
    fn with_given(&self, entry: usize, system: &Arc<System>) -> Arc<System> {
        let Some(entry) = self.entry(entry) else { return Arc::clone(system) };
        let all = given_of(entry, self.request.given);
        match all.is_empty() {
            true => Arc::clone(system),
            false => Arc::new(given::apply(system, &all)),
        }
    }

    /// Tries changes on the packets that are known; `None` where iptables would refuse them.
    fn tried(&mut self, changes: Vec<Change>, dislike: u32) -> Option<State> {
        self.tried += 1;
        let edited = Edited::new(&self.base, &changes)?;
        let broken = (0..self.cases.len()).filter(|case| self.fate(*case, &edited).is_some());
        let broken = broken.collect();
        Some(State { changes, dislike, changed: None, broken, known: self.cases.len() })
    }

    /// How a known packet breaks the policy, where it does.
    fn fate(&self, case: usize, edited: &Edited) -> Option<(Option<Reason>, Box<Answer>)> {
        let case = self.cases.get(case)?;
        let system = self.with_given(case.entry, &edited.system);
        match case.fate(&system) {
            Fate::Mended => None,
            Fate::Broken(reason, answer) => Some((reason, answer)),
        }
    }

    /// The best set of changes that is proved, with what was found.
    fn find(&mut self) -> Option<Proved> {
        let mut frontier = Frontier::default();
        frontier.extend(self.tried(Vec::new(), 0));
        while let Some((number, mut state)) = frontier.next() {
            if self.request.until.is_some_and(|end| Instant::now() >= end) {
                self.note(&state);
                self.end = End::MostTime;
                return None;
            }
            if state.known < self.cases.len() {
                // Other packets have become known since: it may weigh more than it did.
                let State { changes, dislike, changed, .. } = state;
                let again = self.tried(changes, dislike);
                frontier.extend(again.map(|again| State { changed, ..again }));
                continue;
            }
            if state.changed.is_none() {
                // Many are never looked at again: only what comes first is tried on usual packets.
                let edited = Edited::new(&self.base, &state.changes);
                // What Docker meant to be so is no side effect.
                let restores = state.changes.iter().any(Change::restores);
                let changed = edited
                    .filter(|_| !restores)
                    .map_or(0, |edited| self.probes.changed(&edited.system));
                state.changed = Some(changed);
                frontier.put_back(number, state);
                continue;
            }
            self.note(&state);
            if state.broken.is_empty() {
                let (holds, findings) = self.prove(&state.changes);
                if holds {
                    return Some((state.changes, findings));
                }
                if state.known < self.cases.len() && self.proved < MOST_PROVED {
                    frontier.extend(Some(state));
                }
            } else if state.changes.len() < self.request.most_edits {
                for child in self.children(&state) {
                    if frontier.is_new(&child) {
                        frontier.extend(Some(child));
                    }
                }
            } else if self.end == End::Exhausted {
                self.end = End::MostEdits;
            }
        }
        None
    }

    /// Remembers what mends the most.
    fn note(&mut self, state: &State) {
        let rank = (state.broken.len(), state.changes.len());
        if self.nearest.as_ref().is_none_or(|(best, _)| rank < *best) {
            self.nearest = Some((rank, state.changes.clone()));
        }
    }

    /// Asks whether the whole policy holds with changes; learns what breaks it where it does not.
    pub(super) fn prove(&mut self, changes: &[Change]) -> (bool, Vec<Finding>) {
        self.proved += 1;
        let Some(edited) = Edited::new(&self.base, changes) else {
            return (false, Vec::new());
        };
        let (policy, given) = (self.request.policy, self.request.given);
        let findings = check_each(policy, &edited.system, given, Engine::Classes);
        let mut holds = true;
        for finding in &findings {
            let Some(entry) = index_of(self.request.policy, finding.span) else { continue };
            let counts = !self.excused.contains(&entry) && !self.hopeless.contains(&entry);
            match finding.status {
                Status::Unknown if !self.unknown.contains(&entry) && counts => holds = false,
                Status::Fails if counts => {
                    holds = false;
                    self.learn(entry, finding);
                }
                Status::Holds | Status::Unknown | Status::Fails => {}
            }
        }
        (holds, findings)
    }

    /// Whether changes mend every packet that is known.
    pub(super) fn mends(&mut self, changes: &[Change]) -> bool {
        self.tried(changes.to_vec(), 0).is_some_and(|state| state.broken.is_empty())
    }

    /// A set of changes with one more, about the first packet that still breaks the policy.
    fn children(&mut self, state: &State) -> Vec<State> {
        let Some(edited) = Edited::new(&self.base, &state.changes) else { return Vec::new() };
        let Some(&first) = state.broken.first() else { return Vec::new() };
        let Some((reason, answer)) = self.fate(first, &edited) else { return Vec::new() };
        let Some(case) = self.cases.get(first).cloned() else { return Vec::new() };
        let Some(entry) = self.entry(case.entry) else { return Vec::new() };
        let system = self.with_given(case.entry, &edited.system);
        let answer = one_way(&case, &system, &answer);
        let evidence = Evidence {
            case: &case,
            edited: &edited,
            system: &system,
            answer,
            reason: reason.as_ref(),
            placement: self.request.placement,
        };
        let candidates = propose(&evidence);
        let obstacle = obstacle(&evidence);
        let was = trait_of(&system, answer);
        let mut children = Vec::new();
        for candidate in candidates {
            if self.tried >= MOST_TRIED {
                self.end = End::MostTried;
                break;
            }
            let taken = state.changes.iter().any(|known| collide(known, &candidate.change));
            if taken {
                continue;
            }
            let mut changes = state.changes.clone();
            changes.push(candidate.change);
            let Some(child) = self.tried(changes, state.dislike + candidate.dislike) else {
                continue;
            };
            // What leaves the packet as it was helps nobody.
            if child.broken.contains(&first)
                && let Some(edited) = Edited::new(&self.base, &child.changes)
                && let Some((_, answer)) = self.fate(first, &edited)
            {
                let system = self.with_given(case.entry, &edited.system);
                if trait_of(&system, one_way(&case, &system, &answer)) == was {
                    continue;
                }
            }
            children.push(child);
        }
        if children.is_empty() {
            let why = obstacle.unwrap_or_else(|| {
                let (source, destination) = (case.flow.source, case.flow.destination);
                match evidence.is_stopped_by_an_edit() {
                    true => format!(
                        "what another entry needs stops {source} -> {destination}: the two may \
                         contradict each other"
                    ),
                    false => format!("no edit that is known helps {source} -> {destination}"),
                }
            });
            let why = format!("`{}`: {why}", policy::title(entry));
            if !self.obstacles.contains(&why) {
                self.obstacles.push(why);
            }
        }
        children
    }

    fn names(&self) -> Vec<String> {
        self.goals.iter().filter_map(|goal| self.entry(*goal)).map(policy::title).collect()
    }

    /// What becomes of packets that keep to the policy with the changes, and are lost all the same.
    fn warnings(&self, edited: &Edited) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for case in &self.cases {
            let system = self.with_given(case.entry, &edited.system);
            let answer = why(&system, &case.flow);
            let evidence = Evidence {
                case,
                edited,
                system: &system,
                answer: one_way(case, &system, &answer),
                reason: None,
                placement: self.request.placement,
            };
            let warning = evidence.wrong_uplink();
            told.extend(warning.filter(|warning| !told.contains(warning)));
        }
        told
    }

    fn fix(&self, changes: &[Change], before: Vec<Finding>, after: Vec<Finding>) -> Fix {
        let edited = Edited::new(&self.base, changes);
        let warnings = edited.as_ref().map_or_else(Vec::new, |edited| self.warnings(edited));
        let system = edited.map_or_else(|| Arc::clone(&self.base), |edited| edited.system);
        Fix {
            edits: edits(&self.base, changes),
            settings: settings(changes),
            repairs: self.names(),
            before,
            after,
            today: Arc::clone(&self.base),
            system,
            warnings,
            tried: self.tried,
        }
    }

    fn miss(&self, changes: &[Change], before: Vec<Finding>, after: Vec<Finding>) -> Repair {
        Repair::NotFound(Box::new(Miss {
            edits: edits(&self.base, changes),
            settings: settings(changes),
            before,
            after,
            obstacles: self.obstacles.clone(),
            most_edits: self.request.most_edits,
            end: self.end,
            tried: self.tried,
        }))
    }
}

/// Whether two changes are about the same rule, or are the same.
fn collide(one: &Change, other: &Change) -> bool {
    use super::change::At;
    if one.key() == other.key() {
        return true;
    }
    match (one, other) {
        (Change::Rule(one), Change::Rule(other)) => {
            let rule = |at: At| match at {
                At::Instead(index) | At::Gone(index) => Some(index),
                At::Before(_) | At::End => None,
            };
            one.place == other.place && rule(one.at).is_some() && rule(one.at) == rule(other.at)
        }
        (Change::Setting(one), Change::Setting(other)) => one.name == other.name,
        _ => false,
    }
}

fn settings(changes: &[Change]) -> Vec<Setting> {
    let settings = changes.iter().filter_map(|change| match change {
        Change::Setting(setting) => Some(setting.clone()),
        Change::Rule(_) => None,
    });
    settings.collect()
}

/// The entries whose failure is put up with.
fn excused(policy: &Policy) -> BTreeSet<usize> {
    let entries = policy.entries.iter().enumerate().filter(|(_, entry)| {
        let name = policy::title(entry);
        policy.suppressions.iter().any(|suppression| {
            matches!(&suppression.what, Suppressed::Entry(known) if known.value == name)
        })
    });
    entries.map(|(index, _)| index).collect()
}

fn index_of(policy: &Policy, span: Span) -> Option<usize> {
    policy.entries.iter().position(|entry| entry.span == span)
}

/// The way on which something is broken, where chance decides among several.
fn one_way<'a>(case: &Case, system: &System, answer: &'a Answer) -> &'a Answer {
    let mut ways = answer.branches.iter().map(|branch| &branch.answer);
    let breaks = |way: &&Answer| matches!(judge(&case.question, system, way), Judgement::Broken(_));
    ways.clone().find(breaks).or_else(|| ways.next()).unwrap_or(answer)
}

/// What tells whether a change made any difference to a packet.
fn trait_of(system: &System, answer: &Answer) -> String {
    let by = |steps: &[Step], index: Option<usize>| match index.and_then(|index| steps.get(index)) {
        Some(Step::Rule { rule, .. }) => system
            .rules
            .rule(*rule)
            .map_or(String::new(), |rule| system.rules.text(rule).to_owned()),
        other => format!("{other:?}"),
    };
    let reply = |reply: &Reply| (reply.verdict, by(&reply.steps, reply.decided_by));
    format!(
        "{:?} {:?} {:?} {} {:?}",
        answer.verdict,
        answer.outcome,
        answer.egress,
        by(&answer.steps, answer.decided_by),
        answer.reply.as_ref().map(reply)
    )
}

#[cfg(test)]
mod tests {
    use nattrace_model::build::{Text, load};
    use nattrace_parser::policy::{self, Given};

    use super::*;
    use crate::repair::Placement;

    /// With no time left nothing is tried, and that is said; with enough of it there is a change.
    #[test]
    fn a_search_ends_in_time() {
        let rules = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i eth0 -o docker0 -j ACCEPT\nCOMMIT\n\
                     *nat\n:POSTROUTING ACCEPT [0:0]\n\
                     -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j SNAT --to-source 203.0.113.5\nCOMMIT\n";
        let system = load(&[Text { name: "iptables-save", text: rules }], &[]).system;
        let text = "version = 1\n[[egress]]\nfrom = \"172.17.0.0/16\"\nto = \"internet\"\n\
                    source = \"203.0.113.6\"\n";
        let (policy, found) = policy::parse(text);
        assert!(found.is_empty(), "{found:?}");
        let ended = |until| {
            let given = Given::default();
            let request = Request {
                policy: &policy,
                system: &system,
                given: &given,
                placement: Placement::Lasting,
                most_edits: 8,
                until,
            };
            match run(&request) {
                Repair::Holds(findings) => panic!("{findings:?}"),
                Repair::Found(_) => None,
                Repair::NotFound(miss) => Some((miss.end, miss.edits.len())),
            }
        };
        assert_eq!(ended(Some(Instant::now())), Some((End::MostTime, 0)));
        assert_eq!(ended(None), None);
    }
}
