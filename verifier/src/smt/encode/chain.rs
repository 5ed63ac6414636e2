//! Chains: each rule takes its part of the packets, and its target says what becomes of them.

use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::{Action, RejectWith, Target, TargetMap, TtlAction};
use nattrace_parser::syntax::Policy;

use super::state::{Error, Merge, Trip, end, phase, tracking};
use super::{Decider, Encoder, Run};
use crate::smt::term::{B, Operation, V};

/// Where packets go on after a target.
struct Exit {
    /// With what the rule does next.
    on: B,
    /// With the next rule.
    next: B,
    /// Nowhere in this base chain, which accepts them.
    accepted: B,
    /// Back to the caller.
    returned: B,
}

/// Where rules stand, for what is asked about them.
#[derive(Clone, Copy)]
struct At {
    hook: Hook,
    rule: RuleId,
}

impl Encoder<'_> {
    /// Runs a base chain for some of the packets.
    pub(super) fn base_chain(
        &self,
        run: &Run,
        trip: &mut Trip,
        hook: Hook,
        (id, when): (ChainId, B),
    ) {
        let Some(chain) = self.system.rules.chain(id) else { return };
        let Some(base) = chain.base else { return };
        let when = self.t.and(when, trip.alive);
        let exit = self.chain(run, trip, hook, (id, when));
        if base.policy == Policy::Drop {
            self.stop(trip, exit.returned, end::DROPPED);
        }
    }

    /// Ends the way of some packets.
    pub(super) fn stop(&self, trip: &mut Trip, when: B, how: u8) {
        let when = self.t.and(when, trip.alive);
        trip.end = self.t.choice(when, self.t.number(4, how), trip.end);
        trip.alive = self.t.minus(trip.alive, when);
    }

    /// Ends the way of some packets, with an error to their sender.
    pub(super) fn stop_with(&self, trip: &mut Trip, when: B, how: u8, (kind, code): (u8, u8)) {
        let when = self.t.and(when, trip.alive);
        let error =
            Error { is: self.t.yes, kind: self.t.number(8, kind), code: self.t.number(8, code) };
        trip.error = Error::merge(&self.t, when, &error, &trip.error);
        self.stop(trip, when, how);
    }

    fn chain(&self, run: &Run, trip: &mut Trip, hook: Hook, (id, when): (ChainId, B)) -> Exit {
        let t = &self.t;
        let mut live = when;
        let (mut accepted, mut returned) = (t.no, t.no);
        let rules = self.system.rules.chain(id).map_or(&[][..], |chain| &chain.rules);
        for (index, rule) in (0u32..).zip(rules) {
            if live == t.no {
                break;
            }
            if self.is_too_large() {
                self.miss(live, "the encoding grows too large");
                break;
            }
            let at = At { hook, rule: RuleId { chain: id, index } };
            let matched = self.matched(run, trip, rule, (at, live));
            live = self.dropped_by_count(trip, (rule, at), (live, matched));
            if matched == t.no {
                continue;
            }
            let exit = self.carry_out(run, trip, &rule.target, (at, matched));
            accepted = t.or(accepted, exit.accepted);
            returned = t.or(returned, exit.returned);
            let rest = t.or(exit.on, exit.next);
            if rest != matched {
                live = t.or(t.minus(live, matched), rest);
            }
        }
        Exit { on: t.no, next: t.no, accepted, returned: t.or(returned, live) }
    }

    /// What is left of the packets where a rule counts connections: of a packet whose connection
    /// began before, it may drop what it does not match (kernel-facts K14).
    fn dropped_by_count(
        &self,
        trip: &mut Trip,
        (rule, standing): (&Rule, At),
        (live, matched): (B, B),
    ) -> B {
        let t = &self.t;
        let counts = |condition: &Condition| {
            matches!(condition, Condition::Undecided(Undecided::Count { .. }))
        };
        let Some(at) = rule.conditions.iter().position(counts) else { return live };
        let begins = t.is_number(trip.tracking.phase, phase::NEW);
        let before = t.and(self.is_tracked(trip), self.connection(trip).confirmed);
        let first = rule.conditions.iter().take(at).cloned().collect::<Vec<_>>();
        let first = self.all_hold(trip, &first);
        let possible = t.or(first.yes, first.may);
        let may = t.all([t.minus(live, matched), t.minus(before, begins), possible]);
        let chance = self.is_chance(standing.rule);
        let by = if chance { Decider::Chance } else { Decider::Ignorance };
        let drops = self.decide(may, "a count of connections drops the packet", by);
        let dropped = t.and(may, drops);
        self.stop(trip, dropped, end::DROPPED);
        t.minus(live, dropped)
    }

    /// The packets that a rule matches; where nobody can say, both is looked at.
    fn matched(&self, run: &Run, trip: &Trip, rule: &Rule, (at, live): (At, B)) -> B {
        let t = &self.t;
        let truth = self.all_hold(trip, &rule.conditions);
        let asked = t.and(live, truth.may);
        if asked == t.no {
            return t.and(live, truth.yes);
        }
        let decided = self.ask_rule(run, (at, asked), "");
        t.and(live, t.or(truth.yes, t.and(truth.may, decided)))
    }

    /// Asks whether a rule matches that nobody can say of.
    fn ask_rule(&self, run: &Run, (at, when): (At, B), more: &str) -> B {
        let leg = if run.back.get() { "reply: " } else { "" };
        let rules = &self.system.rules;
        let name = rules.chain(at.rule.chain).map_or_else(String::new, |chain| {
            let number = at.rule.number();
            let hook = at.hook.as_str();
            format!("{leg}{}/{}/{number} matches in {hook}{more}", chain.table, chain.name)
        });
        let chance = more.is_empty() && self.is_chance(at.rule);
        let by = if chance { Decider::Chance } else { Decider::Ignorance };
        self.decide(when, &name, by)
    }

    /// Whether mere chance decides about a rule, and about every rule that is called so.
    fn is_chance(&self, id: RuleId) -> bool {
        let rules = &self.system.rules;
        let Some(own) = rules.chain(id.chain) else { return false };
        let mut alike = rules
            .chains
            .iter()
            .filter(|chain| {
                chain.family == own.family
                    && chain.table.as_str() == own.table.as_str()
                    && chain.name == own.name
            })
            .filter_map(|chain| chain.rules.get(id.index as usize));
        alike.all(|rule| {
            let chance = |condition: &Condition| {
                matches!(
                    condition,
                    Condition::Undecided(Undecided::Chance { .. } | Undecided::Count { .. })
                )
            };
            let other = |condition: &Condition| {
                matches!(condition, Condition::Undecided(_)) && !chance(condition)
            };
            rule.conditions.iter().any(chance) && !rule.conditions.iter().any(other)
        })
    }

    fn exit_on(&self, on: B) -> Exit {
        let no = self.t.no;
        Exit { on, next: no, accepted: no, returned: no }
    }

    fn exit_accepted(&self, accepted: B) -> Exit {
        let no = self.t.no;
        Exit { on: no, next: no, accepted, returned: no }
    }

    fn carry_out(&self, run: &Run, trip: &mut Trip, target: &Target, (at, when): (At, B)) -> Exit {
        let t = &self.t;
        let no = t.no;
        match target {
            Target::None | Target::Log | Target::Continue(_) | Target::Set { .. } => {}
            Target::Accept => return self.exit_accepted(when),
            Target::Drop => {
                self.stop(trip, when, end::DROPPED);
                return self.exit_on(no);
            }
            Target::Reject(RejectWith::TcpReset) => {
                self.stop(trip, when, end::RESET);
                return self.exit_on(no);
            }
            Target::Reject(RejectWith::Icmp { kind, code }) => {
                self.stop_with(trip, when, end::REJECTED, (*kind, *code));
                return self.exit_on(no);
            }
            Target::Queue { .. } => {
                self.stop(trip, when, end::QUEUED);
                return self.exit_on(no);
            }
            Target::Unsupported(_) => {
                self.stop(trip, when, end::UNKNOWN);
                return self.exit_on(no);
            }
            Target::Return => return Exit { returned: when, ..self.exit_on(no) },
            Target::Jump(chain) => {
                let exit = self.chain(run, trip, at.hook, (*chain, when));
                return Exit { next: exit.returned, accepted: exit.accepted, ..self.exit_on(no) };
            }
            Target::Goto(chain) => return self.chain(run, trip, at.hook, (*chain, when)),
            Target::Sequence(actions) => return self.sequence(run, trip, actions, (at, when)),
            Target::Map(map) => return self.look_up(run, trip, map, (at, when)),
            Target::Mark { value, mask } => {
                let mark = self.exchanged(trip.packet.mark, *value, (*mask).into());
                trip.packet.mark = t.choice(when, mark, trip.packet.mark);
            }
            Target::Tos { value, mask } => {
                let tos = self.exchanged(trip.packet.tos, *value, (*mask).into());
                trip.packet.tos = t.choice(when, tos, trip.packet.tos);
            }
            Target::Ttl(action) => {
                let ttl = self.ttl_after(trip.packet.ttl, *action);
                trip.packet.ttl = t.choice(when, ttl, trip.packet.ttl);
            }
            Target::Connmark(action, shift) => self.connmark(trip, (*action, *shift), when),
            Target::Snpt(_) | Target::Dnpt(_) => {
                self.miss(when, "prefixes exchanged without state (SNPT, DNPT)");
            }
            Target::ConntrackOptions => {
                self.retrack(trip, when, &[tracking::NONE], tracking::TEMPLATE)
            }
            Target::Notrack => {
                let chain = self.system.rules.chain(at.rule.chain);
                let native = chain.is_some_and(|chain| chain.table.of_iptables().is_none());
                let mut from = vec![tracking::NONE, tracking::INVALID];
                from.extend(native.then_some(tracking::ATTACHED));
                self.retrack(trip, when, &from, tracking::UNTRACKED);
            }
            Target::Zone(zone) => {
                let fresh = t.and(when, t.is_number(trip.tracking.kind, tracking::NONE));
                trip.zone = t.choice(fresh, t.number(16, *zone), trip.zone);
                self.retrack(trip, when, &[tracking::NONE], tracking::TEMPLATE);
            }
            Target::Offload => {
                let later = t.is_number(trip.tracking.phase, phase::ESTABLISHED);
                let later = t.and(later, self.is_tracked(trip));
                self.stop(trip, t.and(when, later), end::UNKNOWN);
                return self.exit_on(t.minus(when, later));
            }
            Target::Snat(..)
            | Target::Dnat(..)
            | Target::Masquerade(..)
            | Target::Redirect(..)
            | Target::Netmap(_) => {
                self.translate_by(trip, at.hook, target, when);
                return self.exit_accepted(t.and(when, trip.alive));
            }
            Target::Tproxy { port, address, value, mask } => {
                let listens = self.proxy_listens(trip, *port, false);
                self.stop(trip, t.minus(when, listens), end::DROPPED);
                let when = t.and(when, listens);
                let mark = self.exchanged(trip.packet.mark, *value, (*mask).into());
                trip.packet.mark = t.choice(when, mark, trip.packet.mark);
                self.choose_socket(trip, when, (*port, *address));
                return self.exit_accepted(when);
            }
            Target::Socket { port, address } => {
                let listens = self.proxy_listens(trip, *port, true);
                let found = t.and(when, listens);
                self.choose_socket(trip, found, (*port, *address));
                return Exit { next: t.minus(when, listens), ..self.exit_on(found) };
            }
        }
        self.exit_on(when)
    }

    /// Changes what tracking takes packets for, where it takes them for one of some things.
    fn retrack(&self, trip: &mut Trip, when: B, from: &[u8], to: u8) {
        let t = &self.t;
        let kind = trip.tracking.kind;
        let changes = t.any(from.iter().map(|known| t.is_number(kind, *known)));
        trip.tracking.kind = t.choice(t.and(when, changes), t.number(3, to), kind);
    }

    fn ttl_after(&self, ttl: V, action: TtlAction) -> V {
        let t = &self.t;
        let number = |number: u8| t.number(8, number);
        match action {
            TtlAction::Set(value) => number(value),
            TtlAction::Increase(by) => {
                let fits = t.at_most(ttl, number(u8::MAX - by));
                t.choice(fits, t.binary(Operation::Add, ttl, number(by)), number(u8::MAX))
            }
            TtlAction::Decrease(by) => {
                let fits = t.at_most(number(by), ttl);
                t.choice(fits, t.binary(Operation::Sub, ttl, number(by)), number(0))
            }
        }
    }

    /// Whether a socket waits on a port, or on the packet's own where it is 0; where no part says
    /// which sockets there are, it is taken to. The native target takes TCP and UDP only.
    fn proxy_listens(&self, trip: &Trip, port: u16, native: bool) -> B {
        let t = &self.t;
        let tcp = self.is_protocol(trip, protocol::TCP);
        let udp = self.is_protocol(trip, protocol::UDP);
        let fits = if native { t.or(tcp, udp) } else { t.yes };
        let Some(listeners) = &self.host.listeners else { return fits };
        let own = self.chosen_port(trip, port);
        let each = listeners.iter().map(|listener| {
            let by_protocol = match listener.protocol {
                SocketProtocol::Tcp => tcp,
                SocketProtocol::Udp => t.not(tcp),
                SocketProtocol::Sctp => t.no,
            };
            t.and(by_protocol, t.is_number(own, listener.port))
        });
        t.and(fits, t.any(each))
    }

    fn chosen_port(&self, trip: &Trip, port: u16) -> V {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        match port {
            0 => t.choice(self.has_ports(tuple.protocol), tuple.to_port, t.number(16, 0u8)),
            port => t.number(16, port),
        }
    }

    fn choose_socket(
        &self,
        trip: &mut Trip,
        when: B,
        (port, address): (u16, Option<std::net::IpAddr>),
    ) {
        let t = &self.t;
        let own = self.chosen_port(trip, port);
        trip.chosen = t.or(trip.chosen, when);
        trip.chosen_port = t.choice(when, own, trip.chosen_port);
        let is = t.is(address.is_some());
        let value = address.map_or_else(|| self.nowhere(), |address| self.address(address));
        trip.chosen_address.is = t.either(when, is, trip.chosen_address.is);
        trip.chosen_address.value = t.choice(when, value, trip.chosen_address.value);
    }

    /// One statement after the other, until one is final or a condition fails.
    fn sequence(
        &self,
        run: &Run,
        trip: &mut Trip,
        actions: &[Action],
        (at, when): (At, B),
    ) -> Exit {
        let t = &self.t;
        let mut all = self.exit_on(when);
        for action in actions {
            let live = all.on;
            match action {
                Action::If(condition) => {
                    let truth = self.holds(trip, condition);
                    let asked = t.and(live, truth.may);
                    let decided =
                        if asked == t.no { t.no } else { self.ask_rule(run, (at, asked), "") };
                    let holds = t.or(truth.yes, t.and(truth.may, decided));
                    all.on = t.and(live, holds);
                    all.next = t.or(all.next, t.minus(live, holds));
                }
                Action::Do(target) => {
                    let exit = self.carry_out(run, trip, target, (at, live));
                    all = Exit {
                        on: exit.on,
                        next: t.or(all.next, exit.next),
                        accepted: t.or(all.accepted, exit.accepted),
                        returned: t.or(all.returned, exit.returned),
                    };
                }
            }
        }
        all
    }

    /// The target that a map gives.
    fn look_up(&self, run: &Run, trip: &mut Trip, map: &TargetMap, (at, when): (At, B)) -> Exit {
        let t = &self.t;
        let values = self.values(trip, &map.operands);
        let readable = t.not(t.any(values.iter().map(|value| value.none)));
        let fits: Vec<_> = map.entries.iter().map(|entry| self.fits(&values, &entry.key)).collect();
        let mut rest = t.and(when, readable);
        let mut taken: Vec<B> = Vec::with_capacity(fits.len());
        for truth in &fits {
            taken.push(t.and(rest, truth.yes));
            rest = t.minus(rest, truth.yes);
        }
        for (index, (truth, taken)) in fits.iter().zip(&mut taken).enumerate() {
            let asked = t.and(rest, truth.may);
            if asked != t.no {
                let more = format!(" by entry {} of its map", index + 1);
                let decided = t.and(asked, self.ask_rule(run, (at, asked), &more));
                *taken = t.or(*taken, decided);
                rest = t.minus(rest, decided);
            }
        }
        let mut all = self.exit_on(t.no);
        all.next = t.minus(when, readable);
        let entries = map.entries.iter().map(|entry| &entry.target).zip(taken);
        let otherwise = map.otherwise.iter().map(|target| (target, rest));
        if map.otherwise.is_none() {
            all.next = t.or(all.next, rest);
        }
        for (target, when) in entries.chain(otherwise).filter(|(_, when)| *when != t.no) {
            let exit = self.carry_out(run, trip, target, (at, when));
            all = Exit {
                on: t.or(all.on, exit.on),
                next: t.or(all.next, exit.next),
                accepted: t.or(all.accepted, exit.accepted),
                returned: t.or(all.returned, exit.returned),
            };
        }
        all
    }
}
