//! One packet's trip through the hooks: base chains by priority, connection tracking and NAT in
//! between, and what each matching rule does.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nattrace_parser::syntax::{Backend, Policy, TableName};

use crate::System;
use crate::answer::{Effect, Rewrite, RouteDecision, Step};
use crate::condition::{Condition, Direction, Undecided};
use crate::flow::FlowState;
use crate::hook::{self, Hook};
use crate::host::Assumption;
use crate::packet::Packet;
use crate::ruleset::{ChainId, RuleId};
use crate::simulate::connection::{
    Connection, FirstPacket, Manip, TrackedState, Tracking, first_packet,
};
use crate::simulate::matching::{PhysicalPort, Ternary, View};
use crate::simulate::oracle::Oracle;
use crate::target::{RejectWith, Target};

/// What all packets of one question share.
pub(crate) struct Run<'s, 'o> {
    pub(crate) system: &'s System,
    pub(crate) oracle: &'o mut Oracle,
    pub(crate) connections: Vec<Connection>,
    pub(crate) assumptions: BTreeSet<Assumption>,
    /// Whether legacy chains run before nft chains of the same priority, once it was asked
    /// (kernel-facts A13).
    pub(crate) legacy_first: Option<bool>,
    /// Whether bridged frames pass the hooks, once it was asked.
    pub(crate) bridge_filter: Option<bool>,
    /// The step of the first packet that is let pass although it refuses, to see what comes next.
    pub(crate) pardoned: Option<usize>,
}

impl Run<'_, '_> {
    /// Notes something that the answer rests on.
    pub(crate) fn assume(&mut self, code: &'static str, text: impl Into<String>) {
        self.assumptions.insert(Assumption { code, text: text.into() });
    }
}

/// Which packet of the exchange travels; it names decisions and chooses what may be pardoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The packet that was asked about.
    Forth,
    /// The answer to it.
    Back,
    /// The first packet of the connection that the packet asked about belongs to.
    Earlier,
}

/// Why a packet does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It vanishes.
    Dropped,
    /// It is refused with an answer.
    Rejected(RejectWith),
    /// A program decides.
    Queued,
    /// Routing refuses; `error` is the ICMP error's type and code, if one is sent.
    Unroutable {
        /// Type and code.
        error: Option<(u8, u8)>,
    },
    /// Its source or destination can't be.
    Martian,
    /// Its time to live ran out.
    TtlExpired,
    /// Something unknown decides.
    Unknown,
}

/// One packet under way.
pub(crate) struct Trip<'r, 's, 'o> {
    pub(crate) run: &'r mut Run<'s, 'o>,
    pub(crate) leg: Leg,
    pub(crate) packet: Packet,
    /// The interface of the hook by which the packet came; empty for a local packet.
    pub(crate) in_interface: &'s str,
    /// The interface of the hook by which the packet leaves; empty before routing.
    pub(crate) out_interface: &'s str,
    /// Where routing sends the packet; OUTPUT's rules still see the first choice
    /// (kernel-facts D11, B21).
    pub(crate) route: Option<OutRoute<'s>>,
    pub(crate) physical_in: PhysicalPort<'s>,
    pub(crate) physical_out: PhysicalPort<'s>,
    pub(crate) bridged: bool,
    pub(crate) tracking: Tracking,
    pub(crate) zone: u16,
    /// The state that the question demands, for the packet asked about.
    pub(crate) demanded: Option<FlowState>,
    /// An ICMP error or reset that the kernel makes: never looked up in nat chains.
    pub(crate) kernel_made: bool,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) local: bool,
    /// The socket that TPROXY assigned.
    pub(crate) proxy_socket: Option<(Option<IpAddr>, u16)>,
    /// The source is picked from addresses that the snapshot lacks.
    pub(crate) source_unknown: bool,
    pub(crate) source_port_random: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) decided_by: Option<usize>,
}

/// Where routing sends a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutRoute<'s> {
    pub(crate) interface: &'s str,
    pub(crate) gateway: Option<IpAddr>,
    /// To one of the host's own addresses, over loopback.
    pub(crate) local: bool,
}

impl<'r, 's, 'o> Trip<'r, 's, 'o> {
    /// A packet about to start.
    pub(crate) fn new(run: &'r mut Run<'s, 'o>, leg: Leg, packet: Packet) -> Self {
        Self {
            run,
            leg,
            packet,
            in_interface: "",
            out_interface: "",
            route: None,
            physical_in: PhysicalPort::None,
            physical_out: PhysicalPort::None,
            bridged: false,
            tracking: Tracking::None,
            zone: 0,
            demanded: None,
            kernel_made: false,
            mac: None,
            local: false,
            proxy_socket: None,
            source_unknown: false,
            source_port_random: false,
            steps: Vec::new(),
            decided_by: None,
        }
    }

    /// Records a step that stops the packet, unless this very step is pardoned.
    pub(crate) fn refuse(&mut self, step: Step, stop: Stop) -> Result<(), Stop> {
        self.steps.push(step);
        self.stop_here(stop)
    }

    /// Stops at the step that was recorded last, unless it is pardoned.
    fn stop_here(&mut self, stop: Stop) -> Result<(), Stop> {
        let at = self.steps.len().checked_sub(1);
        if self.leg == Leg::Forth && at.is_some() && at == self.run.pardoned {
            return Ok(());
        }
        self.decided_by = at;
        Err(stop)
    }

    /// Passes a hook: every base chain by priority, with tracking and NAT at their places.
    pub(crate) fn hook(&mut self, hook: Hook) -> Result<(), Stop> {
        let system = self.run.system;
        let family = self.packet.family();
        let chains = system.rules.base_chains(family, hook);
        let swapped = self.swapped_order(chains);
        let chains = swapped.as_deref().unwrap_or(chains);
        let mut track_pending = matches!(hook, Hook::Prerouting | Hook::Output);
        let mut nat_pending = hook != Hook::Forward;
        let nat_priority = hook::priority(Backend::Nft, TableName::Nat, hook);
        for id in chains {
            let Some((table, base)) =
                system.rules.chain(*id).and_then(|chain| Some((chain.table, chain.base?)))
            else {
                continue;
            };
            if track_pending && base.priority > hook::CONNTRACK_PRIORITY {
                self.track();
                track_pending = false;
            }
            if nat_pending && base.priority >= nat_priority {
                self.nat(hook, chains)?;
                nat_pending = false;
            }
            if table != TableName::Nat {
                self.filter_chain(hook, *id, table)?;
            }
        }
        if track_pending {
            self.track();
        }
        if nat_pending {
            self.nat(hook, chains)?;
        }
        if matches!(hook, Hook::Postrouting | Hook::Input)
            && let Some(connection) = self.connection_mut()
        {
            connection.confirmed = true;
        }
        Ok(())
    }

    /// Runs a chain that is no nat chain. What mangle OUTPUT changes is routed anew
    /// (kernel-facts D11).
    fn filter_chain(&mut self, hook: Hook, id: ChainId, table: TableName) -> Result<(), Stop> {
        let key = |p: &Packet| (p.mark, p.source, p.destination, p.tos);
        let before = key(&self.packet);
        self.chain(hook, id)?;
        if hook == Hook::Output && table == TableName::Mangle && key(&self.packet) != before {
            self.reroute()?;
        }
        Ok(())
    }

    /// The chains with equal priorities of both backends exchanged, where both backends have rules
    /// here and the one that was registered later is taken to be legacy (kernel-facts A13).
    fn swapped_order(&mut self, chains: &[ChainId]) -> Option<Vec<ChainId>> {
        let rules = &self.run.system.rules;
        let backend = |id: &ChainId| rules.chain(*id).map(|chain| chain.backend);
        let first = chains.first().and_then(backend)?;
        if chains.iter().all(|id| backend(id) == Some(first)) {
            return None;
        }
        let priority =
            |id: &ChainId| rules.chain(*id).and_then(|c| c.base).map_or(0, |base| base.priority);
        let has_rules = |id: &ChainId| rules.chain(*id).is_some_and(|c| !c.rules.is_empty());
        let ties = chains.windows(2).any(|pair| match pair {
            [a, b] => priority(a) == priority(b) && has_rules(a) && has_rules(b),
            _ => false,
        });
        if !ties {
            return None;
        }
        let oracle = &mut *self.run.oracle;
        let legacy_first = *self.run.legacy_first.get_or_insert_with(|| {
            oracle.decide(|| "iptables-legacy runs before iptables-nft".to_owned(), true)
        });
        let mut order = chains.to_vec();
        order.sort_by_key(|id| {
            let late = (backend(id) == Some(Backend::Legacy)) != legacy_first;
            (priority(id), late)
        });
        Some(order)
    }

    /// The connection of the packet.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match self.tracking {
            Tracking::Tracked { connection, .. } => self.run.connections.get(connection),
            Tracking::None | Tracking::Invalid | Tracking::Untracked => None,
        }
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self.tracking {
            Tracking::Tracked { connection, .. } => self.run.connections.get_mut(connection),
            Tracking::None | Tracking::Invalid | Tracking::Untracked => None,
        }
    }

    /// Connection tracking looks at the packet, unless it already has or was told not to
    /// (`nf_conntrack_in`).
    fn track(&mut self) {
        let family = self.packet.family();
        if self.tracking != Tracking::None || !self.run.system.rules.tracks_connections(family) {
            return;
        }
        let begin = |trip: &mut Self, state| {
            trip.run.connections.push(Connection::begin(&trip.packet, trip.zone));
            let connection = trip.run.connections.len() - 1;
            Tracking::Tracked { connection, state, direction: Direction::Original }
        };
        self.tracking = match self.demanded {
            Some(FlowState::Invalid) => Tracking::Invalid,
            Some(FlowState::Untracked) => Tracking::Untracked,
            Some(FlowState::Related) => begin(self, TrackedState::Related),
            Some(FlowState::New | FlowState::Established) | None => match self.known_connection() {
                Some(known) => known,
                None => match first_packet(&self.packet, self.loose()) {
                    FirstPacket::New => begin(self, TrackedState::New),
                    FirstPacket::Invalid => Tracking::Invalid,
                    FirstPacket::Untracked => Tracking::Untracked,
                },
            },
        };
    }

    /// `nf_conntrack_tcp_loose` (kernel-facts F3).
    fn loose(&self) -> bool {
        self.run.system.host.sysctls.get("net.netfilter.nf_conntrack_tcp_loose") != Some(0)
    }

    /// The confirmed connection that the packet belongs to (kernel-facts A3, F1).
    fn known_connection(&mut self) -> Option<Tracking> {
        let (packet, zone) = (&self.packet, self.zone);
        let found = self.run.connections.iter().enumerate().find_map(|(index, connection)| {
            let direction = connection.direction_of(packet, zone)?;
            connection.confirmed.then_some((index, direction))
        });
        let (index, direction) = found?;
        let connection = self.run.connections.get_mut(index)?;
        let state = match direction {
            Direction::Reply => {
                connection.seen_reply = true;
                TrackedState::Established
            }
            Direction::Original if connection.seen_reply => TrackedState::Established,
            Direction::Original => TrackedState::New,
        };
        Some(Tracking::Tracked { connection: index, state, direction })
    }

    /// NAT at a hook: the nat chains for the first packet of a connection, then the translation
    /// of every packet of it (`nf_nat_inet_fn`).
    fn nat(&mut self, hook: Hook, chains: &[ChainId]) -> Result<(), Stop> {
        let Tracking::Tracked { connection: index, state, direction } = self.tracking else {
            return Ok(());
        };
        let manip = Manip::of(hook);
        let asks = self.run.connections.get(index).is_some_and(|c| !c.is_settled(manip))
            && !self.kernel_made
            && direction == Direction::Original
            && state != TrackedState::Established;
        let mut mapped_by = None;
        if asks {
            let rules = &self.run.system.rules;
            for id in chains {
                if rules.chain(*id).is_none_or(|chain| chain.table != TableName::Nat) {
                    continue;
                }
                self.chain(hook, *id)?;
                // kernel-facts A13: the first backend that maps wins.
                let settled = self.connection().is_some_and(|c| c.is_settled(manip));
                if settled {
                    mapped_by = self.last_rule_step();
                    break;
                }
            }
            if let Some(connection) = self.connection_mut() {
                connection.settle(manip);
            }
        }
        self.translate(hook, index, direction, mapped_by)
    }

    fn last_rule_step(&self) -> Option<usize> {
        let is_rule = |step: &Step| matches!(step, Step::Rule { .. });
        self.steps.iter().rposition(is_rule)
    }

    /// Rewrites the packet as its connection says, and records what changed with the rule that
    /// mapped it, or as a step of its own.
    fn translate(
        &mut self,
        hook: Hook,
        connection: usize,
        direction: Direction,
        mapped_by: Option<usize>,
    ) -> Result<(), Stop> {
        let before = self.packet.clone();
        if let Some(connection) = self.run.connections.get(connection) {
            connection.translate(&mut self.packet, hook, direction);
        }
        if self.packet == before {
            return Ok(());
        }
        let changes = rewrites(&before, &self.packet);
        match mapped_by.and_then(|at| self.steps.get_mut(at)) {
            Some(Step::Rule { rewrites, .. }) => *rewrites = changes,
            _ => self.steps.push(Step::Conntrack { hook, rewrites: changes }),
        }
        if hook == Hook::Output && before.destination != self.packet.destination {
            self.reroute()?;
        }
        Ok(())
    }

    /// Runs a base chain to its end. ACCEPT and the policy ACCEPT end it well.
    fn chain(&mut self, hook: Hook, base: ChainId) -> Result<(), Stop> {
        let rules = &self.run.system.rules;
        let Some(policy) = rules.chain(base).and_then(|chain| chain.base) else { return Ok(()) };
        let mut callers: Vec<(ChainId, u32)> = Vec::new();
        let (mut current, mut index) = (base, 0u32);
        loop {
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
            let id = RuleId { chain: current, index };
            index += 1;
            if !self.matches(id, &rule.conditions) {
                continue;
            }
            match self.target(hook, id, &rule.target)? {
                Next::Rule => {}
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

    fn policy(&mut self, hook: Hook, chain: ChainId, policy: Policy) -> Result<(), Stop> {
        self.steps.push(Step::Policy { hook, chain, policy });
        match policy {
            Policy::Accept => Ok(()),
            Policy::Drop => self.stop_here(Stop::Dropped),
        }
    }

    /// Whether a rule matches; where nobody can say, the oracle does.
    fn matches(&mut self, id: RuleId, conditions: &[Condition]) -> bool {
        let view = View {
            host: &self.run.system.host,
            packet: &self.packet,
            in_interface: self.in_interface,
            out_interface: self.out_interface,
            physical_in: self.physical_in,
            physical_out: self.physical_out,
            bridged: self.bridged,
            tracking: self.tracking,
            connection: self.connection(),
            mac: self.mac,
            local: self.local,
        };
        let why = match view.all(conditions) {
            Ternary::Yes => return true,
            Ternary::No => return false,
            Ternary::May(why) => why,
        };
        let likely = match why {
            Undecided::Chance { at_first } => at_first.unwrap_or(false),
            Undecided::Unsupported | Undecided::InterfacesNotShown => true,
        };
        let (leg, system) = (self.leg, self.run.system);
        self.run.oracle.decide(|| question(system, leg, id), likely)
    }

    /// Carries out a rule's target, and records the step.
    fn target(&mut self, hook: Hook, rule: RuleId, target: &Target) -> Result<Next, Stop> {
        let before = self.packet.clone();
        let mark_before = self.connection().map(|connection| connection.mark);
        let effect = effect_of(target);
        self.steps.push(Step::Rule { hook, rule, effect, rewrites: Vec::new() });
        let at = self.steps.len() - 1;
        let next = self.carry_out(hook, target)?;
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

    fn carry_out(&mut self, hook: Hook, target: &Target) -> Result<Next, Stop> {
        Ok(match target {
            Target::None | Target::Log | Target::Continue(_) | Target::ConntrackOptions => {
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
            Target::Connmark(action) => {
                self.connmark(*action);
                Next::Rule
            }
            Target::Notrack => {
                if self.tracking == Tracking::None {
                    self.tracking = Tracking::Untracked;
                }
                Next::Rule
            }
            Target::Zone(zone) => {
                self.zone = *zone;
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
            Target::Queue { .. } => {
                self.stop_here(Stop::Queued)?;
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

    /// Drops the packet because a rewrite has nothing to rewrite to.
    pub(crate) fn unusable(&mut self, because: String) -> Result<(), Stop> {
        let step = Step::Route {
            decision: RouteDecision::Unusable,
            route: None,
            out_interface: None,
            gateway: None,
            because: Some(because),
        };
        self.steps.push(step);
        // Nothing sensible could follow, so this is never pardoned.
        self.decided_by = self.steps.len().checked_sub(1);
        Err(Stop::Dropped)
    }
}

/// Where a chain goes on after a matching rule.
enum Next {
    Rule,
    Accept,
    Jump(ChainId),
    Goto(ChainId),
    Return,
}

/// The words of a decision about a rule, as `filter/INPUT/3 matches`.
fn question(system: &System, leg: Leg, id: RuleId) -> String {
    let who = match leg {
        Leg::Forth => "",
        Leg::Back => "reply: ",
        Leg::Earlier => "first packet: ",
    };
    match system.rules.chain(id.chain) {
        Some(chain) => {
            format!("{who}{}/{}/{} matches", chain.table.as_str(), chain.name, id.number())
        }
        None => format!("{who}rule {} matches", id.number()),
    }
}

fn effect_of(target: &Target) -> Effect {
    match target {
        Target::None => Effect::Continue,
        Target::Accept => Effect::Accept,
        Target::Drop => Effect::Drop,
        Target::Return => Effect::Return,
        Target::Jump(_) => Effect::Jump,
        Target::Goto(_) => Effect::Goto,
        Target::Reject(_) => Effect::Reject,
        Target::Log => Effect::Log,
        Target::Mark { .. } => Effect::Mark,
        Target::Connmark(_) => Effect::Connmark,
        Target::Notrack => Effect::Notrack,
        Target::Zone(_) | Target::ConntrackOptions => Effect::Other("ct".into()),
        Target::Snat(..) => Effect::Snat,
        Target::Dnat(..) => Effect::Dnat,
        Target::Masquerade(..) => Effect::Masquerade,
        Target::Redirect(..) => Effect::Redirect,
        Target::Netmap(_) => Effect::Netmap,
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
