//! Rules whose interfaces a listing does not show.
//!
//! Such a rule may match or not, and so may most rules behind it: to try every combination would
//! bury the few ways in which things can really go. So the decision is made once for the rest of
//! the base chain: which of the rules that can end it does, where the ends differ at all.

use nattrace_parser::syntax::Policy;

use crate::answer::{Effect, RouteDecision, Step};
use crate::condition::{Condition, Undecided};
use crate::hook::Hook;
use crate::ruleset::{ChainId, Rule, RuleId, Ruleset};
use crate::simulate::chain::question;
use crate::simulate::matching::{Ternary, View};
use crate::simulate::path::decision;
use crate::simulate::trip::{Stop, Trip};
use crate::target::Target;

/// How many rules that refuse in the same way are told apart.
const MOST_ALIKE: usize = 4;

/// Where a walk stands: in a chain, with the places that RETURN leads back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'c> {
    /// The base chain.
    pub(crate) base: ChainId,
    /// Its policy.
    pub(crate) policy: Policy,
    /// The chains to return to, each with the rule that comes next there.
    pub(crate) callers: &'c [(ChainId, u32)],
    /// The next rule.
    pub(crate) next: RuleId,
}

/// How the rest of a base chain may end.
#[derive(Debug, Default)]
struct Ends {
    /// The rules that may accept.
    accepting: Vec<RuleId>,
    /// The rules that may end it in another way, in the order of the walk.
    others: Vec<RuleId>,
    /// Whether the policy may decide.
    policy: bool,
    /// The chains that were looked at, each with whether its end may be reached.
    seen: Vec<(ChainId, bool)>,
    /// The rules that may lead into a chain; none where the walk stood in such a chain already.
    calls: Vec<(ChainId, RuleId)>,
}

/// Whether a rule hides its interfaces.
pub(crate) fn is_hidden(conditions: &[Condition]) -> bool {
    conditions.contains(&Condition::Undecided(Undecided::InterfacesNotShown))
}

impl Trip<'_, '_, '_> {
    /// Goes on from a rule that hides its interfaces to the end of the base chain; `None` where
    /// rules on the way change the packet, so that each has to be decided on its own.
    pub(crate) fn hidden_end(
        &mut self,
        hook: Hook,
        position: Position<'_>,
    ) -> Option<Result<(), Stop>> {
        let mut ends = Ends::default();
        let mut falls = ends.walk(&self.run.system.rules, &self.view(), position.next)?;
        for (chain, index) in position.callers.iter().rev() {
            if !falls {
                break;
            }
            let next = RuleId { chain: *chain, index: *index };
            falls = ends.walk(&self.run.system.rules, &self.view(), next)?;
        }
        ends.policy = falls;
        if position.next.chain != position.base {
            ends.calls.clear();
        }
        self.run.assume(
            "interfaces-not-shown",
            "the listing does not show to which interfaces its rules apply, so each may match or \
             not (`iptables -nvL` or iptables-save settles it)",
        );
        Some(self.choose_end(hook, position, &ends))
    }

    fn choose_end(&mut self, hook: Hook, position: Position<'_>, ends: &Ends) -> Result<(), Stop> {
        let (system, leg) = (self.run.system, self.leg);
        let drops = ends.policy && position.policy == Policy::Drop;
        let accepts = !ends.accepting.is_empty() || (ends.policy && !drops);
        let others = groups(&system.rules, &ends.others);
        for (index, (target, ids)) in others.iter().enumerate() {
            let Some((first, alike)) = ids.split_first() else { continue };
            let only = !accepts && !drops && index + 1 == others.len();
            let asked = || match alike {
                [] => question(system, leg, *first),
                _ => {
                    format!("{}, or one of {} like it", question(system, leg, *first), alike.len())
                }
            };
            if !only && !self.run.oracle.decide(asked, !refuses(target)) {
                continue;
            }
            return match system.rules.rule(*first) {
                Some(rule) if alike.is_empty() => self.end_at(hook, *first, rule, ends),
                _ => self.end_at_one_of(target, ids.len()),
            };
        }
        let chain = |id| system.rules.chain(id).map_or("", |chain| &*chain.name);
        let nothing_matches = || {
            let table = system.rules.chain(position.base).map_or("", |base| base.table.as_str());
            format!("{}no rule of {table}/{} accepts", leg.words(), chain(position.base))
        };
        if drops && (!accepts || self.run.oracle.decide(nothing_matches, false)) {
            return self.policy(hook, position.base, Policy::Drop);
        }
        match (ends.accepting.as_slice(), ends.policy && !drops) {
            ([], true) => self.policy(hook, position.base, Policy::Accept),
            ([id], false) => match system.rules.rule(*id) {
                Some(rule) => self.end_at(hook, *id, rule, ends),
                None => Ok(()),
            },
            // Which of them accepts does not matter, and nobody can say.
            _ => Ok(()),
        }
    }

    /// Ends at one of several rules that refuse in the same way; which, nobody can say.
    fn end_at_one_of(&mut self, target: &Target, number: usize) -> Result<(), Stop> {
        let (done, stop) = match target {
            Target::Reject(with) => ("rejects", Stop::Rejected(*with)),
            _ => ("drops", Stop::Dropped),
        };
        let why = format!("one of {number} rules {done} it; which, the listing does not show");
        self.refuse(decision(RouteDecision::Unknown, Some(why)), stop)
    }

    /// Ends at a rule, by the only way that leads there, if there is just one.
    fn end_at(&mut self, hook: Hook, id: RuleId, rule: &Rule, ends: &Ends) -> Result<(), Stop> {
        let mut way: Vec<RuleId> = Vec::new();
        let mut chain = id.chain;
        loop {
            let mut calls = ends.calls.iter().filter(|(called, _)| *called == chain);
            match (calls.next(), calls.next()) {
                (Some((_, call)), None) if !way.contains(call) => {
                    way.push(*call);
                    chain = call.chain;
                }
                _ => break,
            }
        }
        for call in way.into_iter().rev() {
            let jumps = self.run.system.rules.rule(call).map(|rule| &rule.target);
            let effect =
                if matches!(jumps, Some(Target::Goto(_))) { Effect::Goto } else { Effect::Jump };
            self.steps.push(Step::Rule { hook, rule: call, effect, rewrites: Vec::new() });
        }
        self.target(hook, id, &rule.target).map(|_| ())
    }
}

/// The rules that refuse or translate, in their order; where many refuse in the same way, all of
/// them together.
fn groups<'s>(rules: &'s Ruleset, ids: &[RuleId]) -> Vec<(&'s Target, Vec<RuleId>)> {
    let mut groups: Vec<(&Target, Vec<RuleId>)> = Vec::new();
    let targets = ids.iter().filter_map(|id| Some((*id, &rules.rule(*id)?.target)));
    let targets: Vec<(RuleId, &Target)> = targets.collect();
    for (id, target) in &targets {
        let alike = targets.iter().filter(|(_, other)| other == target).count();
        let joins = alike > MOST_ALIKE && matches!(target, Target::Drop | Target::Reject(_));
        match groups.iter_mut().find(|(known, _)| joins && known == target) {
            Some((_, group)) => group.push(*id),
            None => groups.push((target, vec![*id])),
        }
    }
    groups
}

impl Ends {
    /// Looks at the rules from a place to the end of their chain; whether that end may be reached.
    /// `None` where a rule that may match does more than to accept, refuse, translate or lead on.
    fn walk(&mut self, rules: &Ruleset, view: &View<'_>, from: RuleId) -> Option<bool> {
        let chain = rules.chain(from.chain)?;
        // A goto or RETURN that may match reaches the caller as well.
        let mut returns = false;
        for (index, rule) in (0u32..).zip(&chain.rules).skip(from.index as usize) {
            let id = RuleId { chain: from.chain, index };
            if view.may_drop(&rule.conditions) {
                return None;
            }
            let sure = match view.all(&rule.conditions) {
                Ternary::No => continue,
                Ternary::Yes => true,
                Ternary::May(_) => false,
            };
            match &rule.target {
                Target::None | Target::Log | Target::Continue(_) => {}
                Target::Accept => self.accepting.push(id),
                target if refuses(target) || translates(target) => self.others.push(id),
                Target::Return => returns = true,
                Target::Jump(to) => {
                    let comes_back = self.enter(rules, view, *to, id)?;
                    if sure && !comes_back {
                        return Some(returns);
                    }
                }
                Target::Goto(to) => returns |= self.enter(rules, view, *to, id)?,
                _ => return None,
            }
            let ends = !matches!(
                rule.target,
                Target::None | Target::Log | Target::Continue(_) | Target::Jump(_)
            );
            if sure && ends {
                return Some(returns);
            }
        }
        Some(true)
    }

    /// Looks at a chain that a rule may lead into.
    fn enter(
        &mut self,
        rules: &Ruleset,
        view: &View<'_>,
        chain: ChainId,
        call: RuleId,
    ) -> Option<bool> {
        self.calls.push((chain, call));
        if let Some((_, falls)) = self.seen.iter().find(|(seen, _)| *seen == chain) {
            return Some(*falls);
        }
        self.seen.push((chain, true));
        let falls = self.walk(rules, view, RuleId { chain, index: 0 })?;
        self.seen.iter_mut().filter(|(seen, _)| *seen == chain).for_each(|seen| seen.1 = falls);
        Some(falls)
    }
}

/// Whether a target stops the packet, for good or for a program to decide.
fn refuses(target: &Target) -> bool {
    matches!(target, Target::Drop | Target::Reject(_) | Target::Queue { .. })
}

/// Whether a target of nat ends its chain.
fn translates(target: &Target) -> bool {
    matches!(
        target,
        Target::Snat(..)
            | Target::Dnat(..)
            | Target::Masquerade(..)
            | Target::Redirect(..)
            | Target::Netmap(_)
    )
}

#[cfg(test)]
mod tests {
    use crate::answer::{Answer, Outcome, Verdict};
    use crate::build::{Text, load};
    use crate::endpoint::{FlowRequest, resolve};
    use crate::simulate::why;

    const HEADER: &str = "target     prot opt source               destination\n";

    /// What happens to a packet for port 80 of a host whose INPUT has these rows.
    fn to_the_host(policy: &str, rows: &[&str]) -> Answer {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let text = format!("Chain INPUT (policy {policy})\n{HEADER}{rows}\n");
        let address = "2: eth0: <UP>\n    inet 192.0.2.1/24 scope global eth0\n";
        let parts = [
            Text { name: "iptables-L", text: &text },
            Text { name: "ip-addr", text: address },
            Text { name: "ip-route", text: "192.0.2.0/24 dev eth0\n" },
        ];
        let loaded = load(&parts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let request = FlowRequest {
            source: "192.0.2.9".to_owned(),
            destination: "192.0.2.1:80".to_owned(),
            ..FlowRequest::default()
        };
        why(&loaded.system, &resolve(&loaded.system, &request).unwrap().flow)
    }

    fn ways(answer: &Answer) -> Vec<(Vec<(&str, bool)>, Verdict)> {
        let branches = answer.branches.iter().map(|branch| {
            let when = branch.when.iter().map(|(asked, yes)| (asked.as_str(), *yes));
            (when.collect(), branch.answer.verdict)
        });
        branches.collect()
    }

    #[test]
    fn an_accept_may_be_for_loopback_alone() {
        let row = "ACCEPT     all  --  anywhere             anywhere";
        let answer = to_the_host("DROP", &[row]);
        assert_eq!(
            (answer.verdict, answer.outcome),
            (Verdict::Undetermined, Outcome::Undetermined)
        );
        let nothing = "no rule of filter/INPUT accepts";
        assert_eq!(
            ways(&answer),
            [
                (vec![(nothing, false)], Verdict::Delivered),
                (vec![(nothing, true)], Verdict::Dropped)
            ]
        );
        assert!(answer.assumptions.iter().any(|found| found.text.contains("iptables -nvL")));
    }

    #[test]
    fn what_accepts_in_any_case_is_no_question() {
        let rows = [
            "ACCEPT     all  --  anywhere             anywhere",
            "LOG        all  --  anywhere             anywhere             LOG level warning",
            "ACCEPT     tcp  --  anywhere             anywhere             tcp dpt:http",
            "DROP       tcp  --  anywhere             anywhere             tcp dpt:https",
        ];
        let answer = to_the_host("ACCEPT", &rows);
        assert_eq!(answer.verdict, Verdict::Delivered);
        assert!(answer.branches.is_empty(), "{:?}", ways(&answer));
    }

    #[test]
    fn many_rules_that_drop_are_one_way() {
        let rows = ["DROP       all  --  anywhere             anywhere"; 6];
        let answer = to_the_host("ACCEPT", &rows);
        let asked = "filter/INPUT/1 matches, or one of 5 like it";
        assert_eq!(
            ways(&answer),
            [(vec![(asked, false)], Verdict::Delivered), (vec![(asked, true)], Verdict::Dropped)]
        );
        let few = to_the_host("ACCEPT", &rows[..2]);
        let decided = |at: usize| few.branches[at].answer.decided_by;
        assert_eq!((few.branches.len(), decided(1).is_some()), (3, true));
        // Where each of them drops, nothing else can happen.
        let all = to_the_host("DROP", &["DROP       all  --  anywhere             anywhere"; 6]);
        assert_eq!((all.verdict, all.outcome), (Verdict::Dropped, Outcome::Timeout));
    }
}
