//! Rules that translate the destination: a port that should be published.

use std::net::IpAddr;

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::TableName;

use super::super::anchor::Anchor;
use super::super::change::Candidate;
use super::super::evidence::Evidence;
use super::super::owner::is_by_hand;
use super::super::scope::single;
use super::super::wording::{Wording, is, is_not, reworded, uncommented};
use super::source::has_another_target;
use super::{candidate, deletion, new_rule};
use crate::policy::{Landing, Spot};
use nattrace_model::answer::{Effect, Step};
use nattrace_model::condition::{Condition, PortSide};
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_model::target::Target;

/// How many addresses a landing may have for each of them to be tried.
const MOST_TARGETS: u32 = 4;

/// What leads packets to where they have to land.
pub(super) fn of(evidence: &Evidence<'_>, landing: &[Landing]) -> Vec<Candidate> {
    let answer = evidence.answer;
    let flow = &answer.flow;
    let Some(port) = flow.destination_port else { return Vec::new() };
    // One that is on its way already is not led elsewhere, but let through.
    let seen = evidence.at_end();
    let here = landing.iter().any(|landing| {
        landing.spots.iter().any(|spot| spot.addresses().contains(seen.destination))
    });
    if here && answer.outcome != Outcome::Refused {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (address, to_port) in targets(evidence, landing, port) {
        found.extend(led(evidence, address, to_port, port));
    }
    if let Some(rule) = evidence.redirector()
        && is_by_hand(evidence, rule)
        && let Some(anchor) = evidence.instead(rule)
    {
        let because = "leads packets elsewhere than the policy says".to_owned();
        let dislike = if has_another_target(evidence, rule) { 2 } else { 14 };
        found.extend(deletion(&anchor, &because, dislike));
    }
    found
}

impl Evidence<'_> {
    /// The rule that translated the destination, where one did.
    pub(super) fn redirector(&self) -> Option<RuleId> {
        self.steps().iter().find_map(|step| match step {
            Step::Rule {
                hook: Hook::Prerouting | Hook::Output,
                rule,
                effect: Effect::Dnat | Effect::Redirect | Effect::Netmap,
                ..
            } => Some(*rule),
            _ => None,
        })
    }

    /// Before the rule of the built-in chain that translates the destination, or behind all.
    fn leading(&self, hook: Hook) -> Option<super::super::anchor::Anchor> {
        let steps = self.steps();
        let by = self.redirector();
        let found = steps.iter().position(|step| {
            matches!(step, Step::Rule { hook: at, rule, .. } if *at == hook && Some(*rule) == by)
        });
        match found {
            Some(index) => self.before_rule(self.top(steps, index)?),
            None => Some(match self.passed(hook, TableName::Nat) {
                Some((index, by)) => self.before(steps, index, by)?,
                None => self.built_in(TableName::Nat, hook),
            }),
        }
    }
}

/// Where packets to a port may be led: where the policy says, else where Docker publishes it.
fn targets(evidence: &Evidence<'_>, landing: &[Landing], port: u16) -> Vec<(IpAddr, u16)> {
    let flow = &evidence.answer.flow;
    let mut found = Vec::new();
    for landing in landing {
        let wanted = landing.service.ports.first().map_or(port, |(first, last)| {
            if (*first..=*last).contains(&port) { port } else { *first }
        });
        for spot in &landing.spots {
            if let Spot::Beyond { addresses, .. } = spot {
                let addresses = addresses.each(MOST_TARGETS).unwrap_or_default();
                found.extend(addresses.into_iter().map(|address| (address, wanted)));
            }
        }
    }
    let stays_here = matches!(
        evidence.answer.verdict,
        Verdict::Delivered | Verdict::Dropped | Verdict::Rejected | Verdict::Proxied
    );
    if landing.is_empty() && stays_here && evidence.redirector().is_none() {
        let kind = match flow.protocol {
            protocol::TCP => SocketProtocol::Tcp,
            protocol::UDP => SocketProtocol::Udp,
            _ => return found,
        };
        let inventory = &evidence.system.host.inventory;
        let published = inventory.published(kind, flow.destination, port);
        found.extend(published.map(|(_, socket)| (socket.ip(), socket.port())));
    }
    found.retain(|(address, _)| address.is_ipv4() == flow.destination.is_ipv4());
    found.dedup();
    found
}

/// A rule that leads packets to a port to a socket.
fn led(evidence: &Evidence<'_>, address: IpAddr, to_port: u16, port: u16) -> Vec<Candidate> {
    let flow = &evidence.answer.flow;
    let hook = match flow.in_interface {
        Some(_) => Hook::Prerouting,
        None => Hook::Output,
    };
    let Some(anchor) = evidence.leading(hook) else { return Vec::new() };
    let socket = match address {
        IpAddr::V4(address) => format!("{address}:{to_port}"),
        IpAddr::V6(address) => format!("[{address}]:{to_port}"),
    };
    let host = &evidence.system.host;
    let bridge = host.interfaces.iter().find(|own| {
        evidence.is_bridge(&own.name)
            && own.addresses.iter().any(|known| known.subnet.contains(address))
    });
    let bridge = bridge.map(|own| own.name.clone()).filter(|name| {
        hook == Hook::Prerouting && flow.in_interface.as_deref() != Some(name.as_str())
    });
    let base = Wording {
        in_interface: bridge.and_then(is_not),
        protocol: Some(flow.protocol),
        ports: Some((port, port)),
        ..Wording::default()
    };
    let target = format!("DNAT --to-destination {socket}");
    let because = match evidence.redirector() {
        Some(rule) => format!("goes before {}, which leads them elsewhere", evidence.name(rule)),
        None => format!("nothing leads packets to port {port} to {socket}"),
    };
    let late = late(evidence, &anchor, (address, to_port));
    let one = Wording { destination: is(single(flow.destination)), ..base.clone() };
    let local = Wording { matches: vec!["addrtype --dst-type LOCAL".to_owned()], ..base };
    // Where the policy names one address, that one; else all that are the host's own.
    let many = evidence.case.question.to.as_ref().is_none_or(|to| to.each(1).is_none());
    let order = if many { [(local, 0), (one, 4)] } else { [(one, 0), (local, 6)] };
    let new = order.into_iter().filter_map(|(wording, breadth)| {
        let wording = wording.to(target.as_str());
        new_rule(evidence, &anchor, &wording, &because, 10 + breadth)
    });
    late.into_iter().chain(new).collect()
}

/// A rule that somebody wrote for just this, where it never gets its packets: moved to where it
/// does.
fn late(
    evidence: &Evidence<'_>,
    anchor: &Anchor,
    (address, port): (IpAddr, u16),
) -> Option<Candidate> {
    let flow = &evidence.answer.flow;
    let rules = &evidence.system.rules;
    let chain = rules.chains.iter().find(|chain| {
        chain.family == evidence.family()
            && chain.table == TableName::Nat
            && *chain.name == *anchor.place.chain
    })?;
    let leads = |rule: &&Rule| match &rule.target {
        Target::Dnat(range, _) => {
            let to = range.ports.map_or(flow.destination_port, |(first, _)| Some(first));
            range.addresses == Some((address, address)) && to == Some(port)
        }
        _ => false,
    };
    let names = |rule: &&Rule| {
        rule.conditions.iter().all(|condition| match condition {
            Condition::Destination(sense, own) => sense.apply(own.contains(flow.destination)),
            Condition::Source(sense, own) => sense.apply(own.contains(flow.source)),
            Condition::Protocol(sense, own) => sense.apply(*own == flow.protocol),
            Condition::InInterface(sense, own) => {
                sense.apply(own.matches(flow.in_interface.as_deref().unwrap_or("")))
            }
            Condition::Port(sense, PortSide::Destination, first, last) => flow
                .destination_port
                .is_some_and(|port| sense.apply((*first..=*last).contains(&port))),
            _ => true,
        })
    };
    let text = rules.text(chain.rules.iter().filter(leads).find(names)?);
    let because = format!("stands behind what takes its packets first ({text})");
    let rule = reworded(text, evidence.family(), TableName::Nat, uncommented)?;
    Some(candidate(anchor, rule, &because, 6))
}
