//! What only native nft rules do: several things in one rule, and maps.

use std::net::IpAddr;

use crate::answer::Effect;
use crate::condition::Undecided;
use crate::hook::Hook;
use crate::host::SocketProtocol;
use crate::packet::protocol;
use crate::ruleset::RuleId;
use crate::simulate::chain::{Next, effect_of, question};
use crate::simulate::connection::{TrackedState, Tracking};
use crate::simulate::matching::Ternary;
use crate::simulate::trip::{Stop, Trip};
use crate::simulate::values::{self, fits};
use crate::target::{Action, Target, TargetMap};

/// What a rule that does several things is told to do: what ends it, else what it does last.
pub(crate) fn effect_of_sequence(actions: &[Action]) -> Effect {
    let last = actions.iter().rev().find_map(|action| match action {
        Action::Do(target) => Some(effect_of(target)),
        Action::If(_) => None,
    });
    last.unwrap_or(Effect::Continue)
}

impl Trip<'_, '_, '_> {
    /// Carries out one statement after the other until one is final or a condition fails.
    pub(crate) fn sequence(
        &mut self,
        hook: Hook,
        rule: RuleId,
        actions: &[Action],
    ) -> Result<Next, Stop> {
        for action in actions {
            match action {
                Action::If(condition) => {
                    if let Some(mut witness) = self.run.oracle.witness.take() {
                        witness.weighed(&self.view(), std::slice::from_ref(condition));
                        self.run.oracle.witness = Some(witness);
                    }
                    let holds = match self.view().holds(condition) {
                        Ternary::May(why) => self.decide(rule, why),
                        sure => sure == Ternary::Yes,
                    };
                    if !holds {
                        return Ok(Next::Break);
                    }
                }
                Action::Do(target) => match self.carry_out(hook, rule, target)? {
                    Next::Rule => {}
                    other => return Ok(other),
                },
            }
        }
        Ok(Next::Rule)
    }

    /// The target that a map gives; `None` where the rule ends.
    pub(crate) fn look_up<'t>(&mut self, rule: RuleId, map: &'t TargetMap) -> Option<&'t Target> {
        let system = self.run.system;
        if let Some(mut witness) = self.run.oracle.witness.take() {
            witness.looked_up(&self.view(), map);
            self.run.oracle.witness = Some(witness);
        }
        let unsure = {
            let view = self.view();
            let values = values::read(&view, &map.operands)?;
            let mut unsure: Vec<(usize, Undecided)> = Vec::new();
            for (index, entry) in map.entries.iter().enumerate() {
                match fits(&values, &entry.key) {
                    Ternary::Yes => return Some(&entry.target),
                    Ternary::No => {}
                    Ternary::May(why) => unsure.push((index, why)),
                }
            }
            unsure
        };
        for (index, why) in unsure {
            let likely = !matches!(why, Undecided::Chance { at_first: Some(false) });
            let leg = self.leg;
            let question = || {
                let asked = question(system, leg, rule);
                format!("{asked} by entry {} of its map", index + 1)
            };
            if self.run.oracle.decide(question, likely) {
                return map.entries.get(index).map(|entry| &entry.target);
            }
        }
        map.otherwise.as_ref()
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.tracking, Tracking::Tracked { state: TrackedState::Established, .. })
    }

    /// `tproxy` of native nft: without a socket the rule ends, with one it goes on
    /// (`nft_tproxy_eval`).
    pub(crate) fn assign_socket(&mut self, port: u16, address: Option<IpAddr>) -> Next {
        if let Some(witness) = &mut self.run.oracle.witness {
            witness.received(&self.packet);
        }
        let port = if port == 0 { self.packet.destination_port().unwrap_or(0) } else { port };
        let wanted = match self.packet.protocol {
            protocol::TCP => SocketProtocol::Tcp,
            protocol::UDP => SocketProtocol::Udp,
            _ => return Next::Break,
        };
        let listeners = self.run.system.host.listeners.as_ref();
        let listening = listeners.map(|listeners| {
            listeners.iter().any(|socket| socket.protocol == wanted && socket.port == port)
        });
        match listening {
            Some(false) => return Next::Break,
            Some(true) => {}
            None => self.run.assume(
                "listeners-assumed",
                "no part says which sockets listen: the proxy of tproxy is taken to".to_owned(),
            ),
        }
        self.proxy_socket = Some((address, port));
        Next::Rule
    }
}
