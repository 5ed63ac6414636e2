//! What a packet that broke the policy met: which rule decided, and what the packet was like there.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Effect, Rewrite, RouteDecision, Step, Verdict};
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::ruleset::{Chain, ChainId, Rule, RuleId};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::Placement;
use super::case::Case;
use super::edited::Edited;
use crate::check::Reason;

/// A packet that broke the policy, on the host with the changes so far.
pub(super) struct Evidence<'a> {
    pub(super) case: &'a Case,
    pub(super) edited: &'a Edited,
    /// The host with what the entry takes to be given.
    pub(super) system: &'a System,
    pub(super) answer: &'a Answer,
    pub(super) reason: Option<&'a Reason>,
    pub(super) placement: Placement,
}

/// A packet at some step of its way.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) port: Option<u16>,
    pub(super) in_interface: Option<String>,
    pub(super) out_interface: Option<String>,
    /// Whether its destination was translated on the way.
    pub(super) redirected: bool,
}

/// What decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decider<'a> {
    /// A rule.
    Rule(Hook, RuleId),
    /// The policy of a built-in chain.
    Policy(Hook, ChainId),
    /// Routing, or the checks around it, and why.
    Route(RouteDecision, Option<&'a str>),
}

impl<'a> Evidence<'a> {
    /// The family of the packet.
    pub(super) fn family(&self) -> Family {
        Family::of(self.case.flow.destination)
    }

    /// The steps of the packet's own way.
    pub(super) fn steps(&self) -> &'a [Step] {
        &self.answer.steps
    }

    /// A chain.
    pub(super) fn chain(&self, id: ChainId) -> Option<&'a Chain> {
        self.system.rules.chain(id)
    }

    /// A rule, with its chain.
    pub(super) fn rule(&self, id: RuleId) -> Option<(&'a Chain, &'a Rule)> {
        Some((self.chain(id.chain)?, self.system.rules.rule(id)?))
    }

    /// What decided about the packet, as far as one thing did.
    pub(super) fn decider(&self) -> Option<(usize, Decider<'a>)> {
        decider(self.steps(), self.answer.decided_by?)
    }

    /// Whether the packet itself was stopped.
    pub(super) fn was_stopped(&self) -> bool {
        matches!(
            self.answer.verdict,
            Verdict::Dropped | Verdict::Rejected | Verdict::Unroutable | Verdict::Martian
        )
    }

    /// Whether a new rule stopped the packet.
    pub(super) fn is_stopped_by_an_edit(&self) -> bool {
        matches!(self.decider(), Some((_, Decider::Rule(_, rule)))
            if self.was_stopped() && self.edited.original(rule).is_none())
    }

    /// The rule that translated the source, where one did: the chain's own rule, and the one of
    /// the built-in chain that led to it.
    pub(super) fn translator(&self) -> Option<(RuleId, RuleId)> {
        let steps = self.steps();
        let found = steps.iter().enumerate().find_map(|(index, step)| match step {
            Step::Rule {
                hook: Hook::Postrouting | Hook::Input,
                rule,
                effect: Effect::Snat | Effect::Masquerade | Effect::Netmap,
                ..
            } => Some((index, *rule)),
            _ => None,
        });
        let (index, rule) = found?;
        Some((rule, self.top(steps, index)?))
    }

    /// The rule of the built-in chain by which a step came about.
    pub(super) fn top(&self, steps: &[Step], index: usize) -> Option<RuleId> {
        let Some(Step::Rule { hook, rule, .. }) = steps.get(index) else { return None };
        let own = self.chain(rule.chain)?;
        let before = steps.get(..=index)?.iter().rev();
        before
            .filter_map(|step| match step {
                Step::Rule { hook: at, rule, .. } if at == hook => Some(*rule),
                _ => None,
            })
            .find(|rule| {
                self.chain(rule.chain).is_some_and(|chain| {
                    chain.base.is_some()
                        && (chain.backend, chain.family) == (own.backend, own.family)
                        && chain.table == own.table
                })
            })
    }

    /// The step at which a table let the packet pass a hook.
    pub(super) fn passed(&self, hook: Hook, table: TableName) -> Option<(usize, Decider<'a>)> {
        let here = |id: ChainId| self.chain(id).is_some_and(|chain| chain.table == table);
        let mut found = self.steps().iter().enumerate().filter_map(|(index, step)| match step {
            Step::Rule { hook: at, rule, effect: Effect::Accept, .. }
                if *at == hook && here(rule.chain) =>
            {
                Some((index, Decider::Rule(hook, *rule)))
            }
            Step::Policy { hook: at, chain, .. } if *at == hook && here(*chain) => {
                Some((index, Decider::Policy(hook, *chain)))
            }
            _ => None,
        });
        found.next_back()
    }

    /// A chain of people's own that the packet was led to at a hook, and by which step.
    pub(super) fn call_of(
        &self,
        steps: &[Step],
        hook: Hook,
        name: &str,
    ) -> Option<(usize, ChainId)> {
        steps.iter().enumerate().find_map(|(index, step)| {
            let Step::Rule { hook: at, rule, .. } = step else { return None };
            let (Target::Jump(called) | Target::Goto(called)) = self.rule(*rule)?.1.target else {
                return None;
            };
            let is_called = *at == hook && &*self.chain(called)?.name == name;
            is_called.then_some((index, called))
        })
    }

    /// The packet as it is at the end of its way.
    pub(super) fn at_end(&self) -> Seen {
        self.seen(self.steps().len())
    }

    /// The packet as it is behind so many steps.
    pub(super) fn seen(&self, steps: usize) -> Seen {
        let flow = &self.answer.flow;
        let mut seen = Seen {
            source: flow.source,
            destination: flow.destination,
            protocol: flow.protocol,
            port: flow.destination_port,
            in_interface: flow.in_interface.clone(),
            out_interface: None,
            redirected: false,
        };
        for step in self.steps().iter().take(steps) {
            match step {
                Step::Rule { rewrites, .. } | Step::Conntrack { rewrites, .. } => {
                    for rewrite in rewrites {
                        seen.rewrite(*rewrite);
                    }
                }
                Step::Route { out_interface: Some(name), .. } => {
                    seen.out_interface = Some(name.clone());
                }
                _ => {}
            }
        }
        seen
    }

    /// Whether a rule names where the packet goes: its address, or its port.
    pub(super) fn is_named_by(&self, rule: RuleId, seen: &Seen) -> bool {
        let Some((_, rule)) = self.rule(rule) else { return false };
        rule.conditions.iter().any(|condition| match condition {
            Condition::Destination(Sense::Is, prefix) => {
                prefix.length() > 0 && prefix.contains(seen.destination)
            }
            Condition::Port(Sense::Is, PortSide::Destination, ..) => true,
            _ => false,
        })
    }

    /// How people call a rule: `nat/POSTROUTING rule 1`.
    pub(super) fn name(&self, rule: RuleId) -> String {
        let chain = self.chain(rule.chain);
        let name = chain.map_or_else(String::new, |c| format!("{}/{}", c.table, c.name));
        format!("{name} rule {}", rule.number())
    }
}

impl Seen {
    fn rewrite(&mut self, rewrite: Rewrite) {
        match rewrite {
            Rewrite::Source(_, to) => self.source = to,
            Rewrite::Destination(_, to) => {
                self.destination = to;
                self.redirected = true;
            }
            Rewrite::DestinationPort(_, to) => {
                self.port = Some(to);
                self.redirected = true;
            }
            _ => {}
        }
    }
}

/// What a step decided.
pub(super) fn decider(steps: &[Step], index: usize) -> Option<(usize, Decider<'_>)> {
    let decider = match steps.get(index)? {
        Step::Rule { hook, rule, .. } => Decider::Rule(*hook, *rule),
        Step::Policy { hook, chain, .. } => Decider::Policy(*hook, *chain),
        Step::Route { decision, because, .. } => Decider::Route(*decision, because.as_deref()),
        Step::Return { .. } | Step::Conntrack { .. } | Step::Socket { .. } => return None,
    };
    Some((index, decider))
}
