//! Rules whose interfaces a listing does not show.
//!
//! Such a rule may match or not, and so may most rules behind it: to try every combination would
//! bury the few ways in which things can really go. So the decision is made once for the rest of
//! the base chain: which of the rules that can end it does, where the ends differ at all.

use nattrace_parser::syntax::Policy;

use crate::answer::{Effect, Step};
use crate::condition::{Condition, Undecided};
use crate::hook::Hook;
use crate::ruleset::{ChainId, Rule, RuleId, Ruleset};
use crate::simulate::chain::question;
use crate::simulate::matching::{Ternary, View};
use crate::simulate::trip::{Stop, Trip};
use crate::target::Target;

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
        for (index, id) in ends.others.iter().enumerate() {
            let Some(rule) = system.rules.rule(*id) else { continue };
            let only = !accepts && !drops && index + 1 == ends.others.len();
            let likely = !refuses(&rule.target);
            if only || self.run.oracle.decide(|| question(system, leg, *id), likely) {
                return self.end_at(hook, *id, rule, ends);
            }
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

impl Ends {
    /// Looks at the rules from a place to the end of their chain; whether that end may be reached.
    /// `None` where a rule that may match does more than to accept, refuse, translate or lead on.
    fn walk(&mut self, rules: &Ruleset, view: &View<'_>, from: RuleId) -> Option<bool> {
        let chain = rules.chain(from.chain)?;
        // A goto or RETURN that may match reaches the caller as well.
        let mut returns = false;
        for (index, rule) in (0u32..).zip(&chain.rules).skip(from.index as usize) {
            let id = RuleId { chain: from.chain, index };
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
