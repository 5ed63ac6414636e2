//! Walking a chain: which rules match, and what their targets do.

use nattrace_parser::syntax::Policy;

use crate::System;
use crate::answer::{Effect, Rewrite, Step};
use crate::condition::Undecided;
use crate::hook::Hook;
use crate::packet::Packet;
use crate::ruleset::{Chain, ChainId, RuleId};
use crate::simulate::connection::{Manip, Tracking};
use crate::simulate::hidden::{Position, is_hidden};
use crate::simulate::matching::{Ternary, View};
use crate::simulate::native::effect_of_sequence;
use crate::simulate::trip::{Leg, Stop, Trip};
use crate::simulate::witness::{Foresight, Stand};
use crate::target::Target;

/// How many steps a packet may take. Chains that call chains several times, level by level, would
/// take it through any number of rules.
const MOST_STEPS: usize = 50_000;

impl Trip<'_, '_, '_> {
    /// Runs a base chain to its end. ACCEPT and the policy ACCEPT end it well.
    pub(crate) fn chain(&mut self, hook: Hook, base: ChainId) -> Result<(), Stop> {
        let rules = &self.run.system.rules;
        let Some(policy) = rules.chain(base).and_then(|chain| chain.base) else { return Ok(()) };
        let mut callers: Vec<(ChainId, u32)> = Vec::new();
        let (mut current, mut index) = (base, 0u32);
        let pace = self.run.oracle.witness.as_ref().map(|witness| witness.pace().max(1));
        let mut foreseen = pace.is_some();
        let mut walked = 0usize;
        loop {
            let mut otherwise = None;
            if foreseen && walked.is_multiple_of(pace.unwrap_or(1)) {
                let next = RuleId { chain: current, index };
                match self.foresee(base, Stand { callers: callers.clone(), next }) {
                    Foresight::None => foreseen = false,
                    Foresight::Ends(by) => return self.end(hook, (base, policy.policy), by),
                    Foresight::Perhaps(stand, none) => {
                        otherwise = Some(*none);
                        callers = stand.callers;
                        (current, index) = (stand.next.chain, stand.next.index);
                    }
                    Foresight::From(stand) => {
                        callers = stand.callers;
                        (current, index) = (stand.next.chain, stand.next.index);
                    }
                }
            }
            let Some(rule) = rules.rule(RuleId { chain: current, index }) else {
                // The end of the chain: back to the caller, or to the policy.
                match callers.pop() {
                    Some((caller, next)) => {
                        self.steps.push(Step::Return { hook, chain: current });
                        (current, index) = (caller, next);
                        continue;
                    }
                    None => return self.policy(hook, base, policy.policy),
                }
            };
            walked += 1;
            let id = RuleId { chain: current, index };
            let view = self.view();
            let (may_drop, holds) = (view.may_drop(&rule.conditions), view.all(&rule.conditions));
            otherwise = otherwise.filter(|_| matches!(holds, Ternary::May(_)));
            if otherwise.is_none() && self.run.oracle.witness.is_some() {
                self.testify(id);
            }
            let matches = match holds {
                Ternary::May(why) => {
                    let position =
                        Position { base, policy: policy.policy, callers: &callers, next: id };
                    if is_hidden(&rule.conditions)
                        && let Some(end) = self.hidden_end(hook, position)
                    {
                        return end;
                    }
                    self.decide(id, why)
                }
                sure => sure == Ternary::Yes,
            };
            index += 1;
            if !matches && may_drop && self.drops_by_count(id) {
                let step =
                    Step::Rule { hook, rule: id, effect: Effect::Drop, rewrites: Vec::new() };
                return self.refuse(step, Stop::Dropped);
            }
            if let Some(otherwise) = otherwise {
                // What comes now was not foreseen yet.
                walked = 0;
                match otherwise {
                    _ if matches => {}
                    Foresight::Ends(by) => return self.end(hook, (base, policy.policy), by),
                    Foresight::From(stand) | Foresight::Perhaps(stand, _) => {
                        callers = stand.callers;
                        (current, index) = (stand.next.chain, stand.next.index);
                    }
                    Foresight::None => {}
                }
            }
            if !matches {
                continue;
            }
            if self.steps.len() >= MOST_STEPS {
                self.run.assume(
                    "too-many-steps",
                    "the chains lead the packet through more rules than can be followed",
                );
                self.stop_here(Stop::Unknown)?;
                return Err(Stop::Unknown);
            }
            match self.target(hook, id, &rule.target)? {
                Next::Rule | Next::Break => {}
                Next::Accept => return Ok(()),
                Next::Jump(chain) => {
                    callers.push((current, index));
                    (current, index) = (chain, 0);
                }
                // kernel-facts G2: a goto leaves nothing behind to return to.
                Next::Goto(chain) => (current, index) = (chain, 0),
                // kernel-facts G1
                Next::Return => match callers.pop() {
                    Some((caller, next)) => (current, index) = (caller, next),
                    None => return self.policy(hook, base, policy.policy),
                },
            }
        }
    }

    /// Ends a base chain by a rule, or by its policy.
    fn end(
        &mut self,
        hook: Hook,
        (base, policy): (ChainId, Policy),
        by: Option<RuleId>,
    ) -> Result<(), Stop> {
        match by.and_then(|id| Some((id, self.run.system.rules.rule(id)?))) {
            Some((id, rule)) => self.target(hook, id, &rule.target).map(|_| ()),
            None => self.policy(hook, base, policy),
        }
    }

    /// What the witness knows of a chain, where there is one.
    fn foresee(&mut self, base: ChainId, from: Stand) -> Foresight {
        let Some(mut witness) = self.run.oracle.witness.take() else { return Foresight::None };
        let foresight = witness.foresee(&self.view(), &self.run.system.rules, base, &from);
        self.run.oracle.witness = Some(witness);
        foresight
    }

    /// Tells the witness of a rule that is about to be weighed. Behind one that hides its
    /// interfaces, every rule that may come in its base chain is weighed at once.
    fn testify(&mut self, id: RuleId) {
        let Some(mut witness) = self.run.oracle.witness.take() else { return };
        let rules = &self.run.system.rules;
        let view = self.view();
        match rules.rule(id) {
            Some(rule) if is_hidden(&rule.conditions) => {
                let own = rules.chain(id.chain);
                let alike = |chain: &&Chain| {
                    own.is_some_and(|own| own.family == chain.family && own.table == chain.table)
                };
                for rule in rules.chains.iter().filter(alike).flat_map(|chain| &chain.rules) {
                    witness.weighed(&view, &rule.conditions);
                }
            }
            Some(rule) => witness.weighed(&view, &rule.conditions),
            None => {}
        }
        self.run.oracle.witness = Some(witness);
    }

    pub(crate) fn policy(
        &mut self,
        hook: Hook,
        chain: ChainId,
        policy: Policy,
    ) -> Result<(), Stop> {
        self.steps.push(Step::Policy { hook, chain, policy });
        match policy {
            Policy::Accept => Ok(()),
            Policy::Drop => self.stop_here(Stop::Dropped),
        }
    }

    /// The packet as a rule sees it.
    pub(crate) fn view(&self) -> View<'_> {
        View {
            host: &self.run.system.host,
            packet: &self.packet,
            in_interface: self.in_interface,
            out_interface: self.out_interface,
            physical_in: self.physical_in,
            physical_out: self.physical_out,
            bridged: self.bridged,
            tracking: self.tracking,
            connection: self.connection(),
            drawn: self.drawn,
            mac: self.mac,
            local: self.local,
            maker: self.maker,
            delivery: self.delivery,
        }
    }

    /// Where nobody can say whether a rule matches, the oracle does.
    pub(crate) fn decide(&mut self, id: RuleId, why: Undecided) -> bool {
        let likely = match why {
            Undecided::Chance { at_first } | Undecided::Count { at_first } => {
                at_first.unwrap_or(false)
            }
            Undecided::Unsupported | Undecided::InterfacesNotShown => true,
        };
        let (leg, system) = (self.leg, self.run.system);
        self.run.oracle.decide(|| question(system, leg, id), likely)
    }

    /// Whether a rule that counts connections drops the packet: what it counted before decides.
    fn drops_by_count(&mut self, id: RuleId) -> bool {
        let (leg, system) = (self.leg, self.run.system);
        self.run.oracle.decide(|| said_of(system, leg, id, "drops the packet"), false)
    }

    /// Carries out a rule's target, and records the step.
    pub(crate) fn target(
        &mut self,
        hook: Hook,
        rule: RuleId,
        target: &Target,
    ) -> Result<Next, Stop> {
        let target = match target {
            Target::Map(map) => match self.look_up(rule, map) {
                Some(found) => found,
                // The rule has not matched.
                None => return Ok(Next::Break),
            },
            target => target,
        };
        let effect = effect_of(target);
        self.steps.push(Step::Rule { hook, rule, effect, rewrites: Vec::new() });
        if !rewrites_packet(target) {
            return self.carry_out(hook, rule, target);
        }
        let before = self.packet.clone();
        let mark_before = self.connection().map(|connection| connection.mark);
        let at = self.steps.len() - 1;
        let next = self.carry_out(hook, rule, target)?;
        if matches!(next, Next::Break) {
            // The kernel's trace names no rule that ended halfway, though what it did stays done.
            self.steps.truncate(at);
            return Ok(next);
        }
        let mut changes = rewrites(&before, &self.packet);
        if let (Some(from), Some(to)) = (mark_before, self.connection().map(|c| c.mark))
            && from != to
        {
            changes.push(Rewrite::ConnectionMark(from, to));
        }
        if !changes.is_empty()
            && let Some(Step::Rule { rewrites, .. }) = self.steps.get_mut(at)
        {
            *rewrites = changes;
        }
        Ok(next)
    }

    pub(crate) fn carry_out(
        &mut self,
        hook: Hook,
        rule: RuleId,
        target: &Target,
    ) -> Result<Next, Stop> {
        Ok(match target {
            Target::None | Target::Log | Target::Continue(_) => Next::Rule,
            Target::ConntrackOptions => {
                if self.tracking == Tracking::None {
                    self.tracking = Tracking::Template;
                }
                Next::Rule
            }
            Target::Set { .. } => Next::Rule,
            Target::Accept => Next::Accept,
            Target::Drop => {
                self.stop_here(Stop::Dropped)?;
                Next::Accept
            }
            Target::Reject(with) => {
                self.stop_here(Stop::Rejected(*with))?;
                Next::Accept
            }
            Target::Return => Next::Return,
            Target::Jump(chain) => Next::Jump(*chain),
            Target::Goto(chain) => Next::Goto(*chain),
            Target::Mark { value, mask } => {
                self.packet.mark = (self.packet.mark & !mask) ^ value;
                Next::Rule
            }
            Target::Connmark(action, shift) => {
                self.connmark(*action, *shift);
                Next::Rule
            }
            Target::Snpt(prefixes) => {
                self.exchange_prefix(hook, Manip::Source, prefixes)?;
                Next::Rule
            }
            Target::Dnpt(prefixes) => {
                self.exchange_prefix(hook, Manip::Destination, prefixes)?;
                Next::Rule
            }
            Target::Notrack => {
                // What tracking called invalid has no connection either, and nft's own statement
                // looks at that alone (`nft_notrack_eval`; kernel-facts K11).
                let chain = self.run.system.rules.chain(rule.chain);
                let native = chain.is_some_and(|chain| chain.table.of_iptables().is_none());
                let untracks = match self.tracking {
                    Tracking::None | Tracking::Invalid => true,
                    Tracking::Attached => native,
                    Tracking::Template | Tracking::Tracked { .. } | Tracking::Untracked => false,
                };
                if untracks {
                    self.tracking = Tracking::Untracked;
                }
                Next::Rule
            }
            Target::Zone(zone) => {
                // What is tracked already stays where it is.
                if self.tracking == Tracking::None {
                    self.tracking = Tracking::Template;
                    self.zone = *zone;
                }
                Next::Rule
            }
            Target::Snat(..)
            | Target::Dnat(..)
            | Target::Masquerade(..)
            | Target::Redirect(..)
            | Target::Netmap(_) => {
                self.map(hook, target)?;
                Next::Accept
            }
            Target::Tproxy { port, address, value, mask } => {
                self.tproxy(*port, *address, *value, *mask)?;
                Next::Accept
            }
            Target::Socket { port, address } => self.assign_socket(*port, *address),
            Target::Offload => {
                if self.is_established() {
                    self.stop_here(Stop::Unknown)?;
                }
                Next::Rule
            }
            Target::Sequence(actions) => return self.sequence(hook, rule, actions),
            Target::Map(map) => match self.look_up(rule, map) {
                Some(found) => return self.carry_out(hook, rule, found),
                None => Next::Break,
            },
            Target::Queue { .. } => {
                if self.is_history() {
                    self.run.passed_queue();
                } else {
                    self.stop_here(Stop::Queued)?;
                }
                Next::Accept
            }
            Target::Ttl(action) => {
                self.packet.ttl = action.apply(self.packet.ttl);
                Next::Rule
            }
            Target::Tos { value, mask } => {
                self.packet.tos = (self.packet.tos & !mask) ^ value;
                Next::Rule
            }
            Target::Unsupported(_) => {
                self.stop_here(Stop::Unknown)?;
                Next::Rule
            }
        })
    }
}

/// Whether a target may rewrite the packet or a mark where it stands; what NAT maps is rewritten,
/// and told, when the chain is over.
fn rewrites_packet(target: &Target) -> bool {
    matches!(
        target,
        Target::Mark { .. }
            | Target::Connmark(..)
            | Target::Snpt(_)
            | Target::Dnpt(_)
            | Target::Ttl(_)
            | Target::Tos { .. }
            | Target::Tproxy { .. }
            | Target::Socket { .. }
            | Target::Sequence(_)
    )
}

/// Where a chain goes on after a matching rule.
pub(crate) enum Next {
    Rule,
    /// The rule ended halfway, and so did not match.
    Break,
    Accept,
    Jump(ChainId),
    Goto(ChainId),
    Return,
}

/// The words of a decision about a rule, as `filter/INPUT/3 matches`.
pub(crate) fn question(system: &System, leg: Leg, id: RuleId) -> String {
    said_of(system, leg, id, "matches")
}

fn said_of(system: &System, leg: Leg, id: RuleId, what: &str) -> String {
    let who = leg.words();
    match system.rules.chain(id.chain) {
        Some(chain) => {
            format!("{who}{}/{}/{} {what}", chain.table, chain.name, id.number())
        }
        None => format!("{who}rule {} {what}", id.number()),
    }
}

pub(crate) fn effect_of(target: &Target) -> Effect {
    match target {
        Target::Socket { .. } => Effect::Other("tproxy".into()),
        Target::Offload => Effect::Other("flow".into()),
        Target::Sequence(actions) => effect_of_sequence(actions),
        // Which entry it is, the packet decides.
        Target::Map(_) => Effect::Other("map".into()),
        Target::None => Effect::Continue,
        Target::Accept => Effect::Accept,
        Target::Drop => Effect::Drop,
        Target::Return => Effect::Return,
        Target::Jump(_) => Effect::Jump,
        Target::Goto(_) => Effect::Goto,
        Target::Reject(_) => Effect::Reject,
        Target::Log => Effect::Log,
        Target::Mark { .. } => Effect::Mark,
        Target::Connmark(..) => Effect::Connmark,
        Target::Notrack => Effect::Notrack,
        Target::Zone(_) | Target::ConntrackOptions => Effect::Other("ct".into()),
        Target::Snat(..) => Effect::Snat,
        Target::Dnat(..) => Effect::Dnat,
        Target::Masquerade(..) => Effect::Masquerade,
        Target::Redirect(..) => Effect::Redirect,
        Target::Netmap(_) => Effect::Netmap,
        Target::Snpt(_) => Effect::Other("snpt".into()),
        Target::Dnpt(_) => Effect::Other("dnpt".into()),
        Target::Tproxy { .. } => Effect::Other("tproxy".into()),
        Target::Queue { .. } => Effect::Queue,
        Target::Set { .. } => Effect::Other("set".into()),
        Target::Ttl(_) => Effect::Other("ttl".into()),
        Target::Tos { .. } => Effect::Other("tos".into()),
        Target::Continue(name) => Effect::Other((*name).into()),
        Target::Unsupported(name) => Effect::Other(name.to_lowercase().into()),
    }
}

/// What differs between a packet before and after.
pub(crate) fn rewrites(before: &Packet, after: &Packet) -> Vec<Rewrite> {
    let mut changes = Vec::new();
    if before.source != after.source {
        changes.push(Rewrite::Source(before.source, after.source));
    }
    if let (Some(from), Some(to)) = (before.source_port(), after.source_port())
        && from != to
    {
        changes.push(Rewrite::SourcePort(from, to));
    }
    if before.destination != after.destination {
        changes.push(Rewrite::Destination(before.destination, after.destination));
    }
    if let (Some(from), Some(to)) = (before.destination_port(), after.destination_port())
        && from != to
    {
        changes.push(Rewrite::DestinationPort(from, to));
    }
    if before.mark != after.mark {
        changes.push(Rewrite::Mark(before.mark, after.mark));
    }
    if before.ttl != after.ttl {
        changes.push(Rewrite::Ttl(before.ttl, after.ttl));
    }
    if before.tos != after.tos {
        changes.push(Rewrite::Tos(before.tos, after.tos));
    }
    changes
}
