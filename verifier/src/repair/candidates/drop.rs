//! Rules that stop a packet that must not arrive.

use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::InterfaceKind;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;
use nattrace_parser::syntax::TableName;

use super::super::change::{Candidate, Change, Setting};
use super::super::evidence::{Decider, Evidence, Seen};
use super::super::owner::is_by_hand;
use super::super::scope::{Worded, single};
use super::super::wording::{Wording, is, is_not, reworded};
use super::{candidate, deletion, meant, new_rule};
use crate::check::Reason;
use crate::policy::Demand;

/// What belongs to no connection that is open: answers pass, and what is not tracked does not.
const OPENED: &str = "conntrack ! --ctstate RELATED,ESTABLISHED";

/// What keeps the packet from arriving.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let forwarded = match evidence.reason {
        Some(Reason::Lands { interface, .. }) => interface.is_some(),
        Some(Reason::Proxied { .. }) => false,
        _ => return Vec::new(),
    };
    let mut found = match forwarded {
        true => forwarded_ones(evidence),
        false => delivered_ones(evidence),
    };
    found.extend(undone(evidence));
    let drops = |target: &Target| matches!(target, Target::Drop | Target::Reject(_));
    found.extend(meant::of(evidence, &evidence.at_end(), TableName::Filter, drops));
    found
}

/// Packets that pass through the host.
fn forwarded_ones(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let seen = evidence.at_end();
    let from_here = seen.in_interface.is_none();
    let hook = if from_here { Hook::Output } else { Hook::Forward };
    let Some((index, by)) = evidence.passed(hook, TableName::Filter) else {
        if evidence.answer.steps.iter().any(|step| meets(step, hook)) || !is_bridged(&seen) {
            let anchor = evidence.built_in(TableName::Filter, hook);
            return stops(evidence, &anchor, &seen);
        }
        return filtered_bridge(evidence);
    };
    let anchor = evidence.filtering(evidence.steps(), index, by);
    let mut found = anchor.map(|anchor| stops(evidence, &anchor, &seen)).unwrap_or_default();
    found.extend(replaced(evidence, &seen));
    found
}

fn meets(step: &nattrace_model::answer::Step, wanted: Hook) -> bool {
    use nattrace_model::answer::Step;
    match step {
        Step::Rule { hook, .. } | Step::Policy { hook, .. } | Step::Return { hook, .. } => {
            *hook == wanted
        }
        _ => false,
    }
}

fn is_bridged(seen: &Seen) -> bool {
    seen.in_interface.is_some() && seen.in_interface == seen.out_interface
}

/// Bridged packets meet no rule unless the kernel is told to let them.
fn filtered_bridge(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let name = match evidence.answer.flow.destination.is_ipv4() {
        true => "net.bridge.bridge-nf-call-iptables",
        false => "net.bridge.bridge-nf-call-ip6tables",
    };
    let because = "what one port of a bridge sends to another meets no rule without it".to_owned();
    let setting = Setting { name: name.to_owned(), value: 1, because };
    vec![Candidate { change: Change::Setting(setting), dislike: 60 }]
}

/// Rules that drop what passes through, from the narrowest to the broadest.
fn stops(
    evidence: &Evidence<'_>,
    anchor: &super::super::anchor::Anchor,
    seen: &Seen,
) -> Vec<Candidate> {
    let out = seen.out_interface.as_deref().unwrap_or("");
    let because = format!("nothing stops these packets on their way to {out}");
    let mut found = Vec::new();
    for (wording, breadth) in about(evidence, seen) {
        let drop = wording.to("DROP");
        found.extend(new_rule(evidence, anchor, &drop, &because, 10 + breadth));
    }
    found
}

/// Which packets are stopped.
fn about(evidence: &Evidence<'_>, seen: &Seen) -> Vec<Worded> {
    let flow = &evidence.answer.flow;
    let (asked_protocol, asked_ports) = evidence.service(seen);
    let opened = vec![OPENED.to_owned()];
    let base =
        Wording { in_interface: seen.in_interface.clone().and_then(is), ..Wording::default() };
    let mut worded = Vec::new();
    // By the port that was asked for, which is another one than that of the container.
    let asked = flow.destination_port.filter(|_| seen.redirected);
    if let Some(port) = asked {
        let matched = format!("conntrack --ctorigdstport {port} --ctdir ORIGINAL");
        let by_port =
            Wording { protocol: Some(flow.protocol), matches: vec![matched], ..base.clone() };
        worded.push((by_port, 0));
    }
    let destination = evidence.receivers(seen);
    let ported = seen.port.map(|port| (port, port));
    let to_port = Wording {
        destination: is(single(seen.destination)),
        protocol: asked_protocol.or_else(|| ported.map(|_| seen.protocol)),
        ports: asked_ports.or(ported),
        ..base.clone()
    };
    worded.push((to_port, if asked.is_some() { 6 } else { 4 }));
    // All that the entry is about, in one rule.
    // What the host sends may be for itself as well, and leaves by the loopback then.
    let from_here = seen.in_interface.is_none();
    let to = destination.clone().filter(|to| from_here || !evidence.is_whole(to, seen));
    let by = seen.out_interface.clone().filter(|_| !from_here || to.is_none());
    let whole = Wording {
        out_interface: by.and_then(is),
        destination: to.and_then(is),
        protocol: asked_protocol,
        ports: asked_ports,
        matches: opened.clone(),
        ..base.clone()
    };
    let about_ports = asked_ports.is_some();
    worded.push((whole.clone(), if about_ports { 1 } else { 2 }));
    if whole.destination.is_some() && !from_here {
        worded.push((Wording { destination: None, ..whole }, 16));
    }
    let landings = match &evidence.case.question.demand {
        Demand::NeverLands(landings) => landings.iter().map(|l| l.spots.len()).sum(),
        Demand::Leaves { .. } | Demand::Arrives(_) => 0,
    };
    if landings > 1 && !from_here {
        let everywhere =
            Wording { protocol: asked_protocol, ports: asked_ports, matches: opened, ..base };
        worded.push((everywhere, 160));
    }
    with_senders(evidence, seen, worded)
}

/// The same for the senders that the entry is about: where they share their interface with others,
/// both for all of them and for them alone.
fn with_senders(evidence: &Evidence<'_>, seen: &Seen, worded: Vec<Worded>) -> Vec<Worded> {
    let senders = evidence.senders().filter(|from| !evidence.is_whole(from, seen));
    let lan = seen.in_interface.as_deref().and_then(|name| evidence.private_on_link(name));
    let mut all = Vec::new();
    for (wording, breadth) in worded {
        match (&senders, &lan) {
            (Some(senders), _) => {
                let source = is(senders.clone());
                all.push((Wording { source, ..wording.clone() }, breadth));
                all.push((wording, breadth + 8));
            }
            (None, Some(lan)) if evidence.bridge_behind().is_none() => {
                let source = is_not(lan.clone());
                all.push((Wording { source, ..wording.clone() }, breadth));
                all.push((wording, breadth + 3));
            }
            (None, _) => all.push((wording, breadth)),
        }
    }
    // Who drops everything is cut off.
    all.retain(|(wording, _)| is_about_something(wording));
    all
}

/// Whether a rule is not about every packet that meets it.
fn is_about_something(wording: &Wording) -> bool {
    let Wording { source, destination, in_interface, out_interface, ports, .. } = wording;
    let addressed = source.is_some() || destination.is_some() || ports.is_some();
    addressed
        || in_interface.is_some()
        || out_interface.is_some()
        || wording.matches.iter().any(|own| own.contains("--ctorigdstport"))
}

impl Evidence<'_> {
    /// Whether the entry names the one address at which the packet arrives.
    fn is_about_one_address(&self, seen: &Seen) -> bool {
        let Demand::NeverLands(landings) = &self.case.question.demand else { return false };
        let mut here = landings.iter().flat_map(|landing| &landing.spots);
        here.find(|spot| spot.has(None, seen.destination))
            .is_some_and(|spot| spot.addresses().each(1).is_some())
    }

    /// The interface by which the host sends to itself.
    fn loopback(&self) -> Option<String> {
        let mut interfaces = self.system.host.interfaces.iter();
        let own = interfaces.find(|own| own.kind == InterfaceKind::Loopback)?;
        Some(own.name.clone())
    }

    /// Whether a prefix is all that is behind an interface that the packet came or left by, so that
    /// the interface says it.
    fn is_whole(&self, prefix: &nattrace_model::address::Prefix, seen: &Seen) -> bool {
        let names = [seen.in_interface.as_deref(), seen.out_interface.as_deref()];
        self.system.host.interfaces.iter().any(|own| {
            own.kind == InterfaceKind::Bridge
                && names.contains(&Some(own.name.as_str()))
                && own.addresses.iter().any(|address| address.subnet == *prefix)
        })
    }
}

/// Packets that a process of the host gets, docker-proxy among them.
fn delivered_ones(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let seen = Seen { out_interface: None, ..evidence.at_end() };
    let because = match evidence.reason {
        Some(Reason::Proxied { .. }) => {
            "docker-proxy takes these packets in the name of a container"
        }
        _ => "nothing stops these packets on their way to a process of this host",
    };
    let anchor = match evidence.passed(Hook::Input, TableName::Filter) {
        Some((index, by)) => evidence.before(evidence.steps(), index, by),
        None => Some(evidence.built_in(TableName::Filter, Hook::Input)),
    };
    let Some(anchor) = anchor else { return Vec::new() };
    // What the host sends to itself comes in by the loopback.
    let by = seen.in_interface.clone().or_else(|| evidence.loopback());
    let base = Wording { in_interface: by.and_then(is), ..Wording::default() };
    let (asked_protocol, asked_ports) = evidence.service(&seen);
    let mut worded: Vec<Worded> = Vec::new();
    if let Some(port) = seen.port {
        let ports = asked_ports.unwrap_or((port, port));
        let by_port = Wording { protocol: Some(seen.protocol), ports: Some(ports), ..base.clone() };
        let one = Wording { destination: is(single(seen.destination)), ..by_port.clone() };
        // Where the entry is about one address of several, the others stay open.
        worded.extend(evidence.proxied_ports(&seen, &base).map(|several| (several, 1)));
        let (all, only) = if evidence.is_about_one_address(&seen) { (6, 0) } else { (0, 3) };
        worded.push((by_port, all));
        worded.push((one, only));
    }
    if asked_ports.is_none() {
        let whole = Wording {
            protocol: asked_protocol,
            matches: vec!["conntrack --ctstate NEW".to_owned()],
            ..base
        };
        if evidence.is_about_one_address(&seen) {
            // An address of this host among those of a network.
            let destination = is(single(seen.destination));
            let matches = vec![OPENED.to_owned()];
            worded.push((Wording { destination, matches, ..whole.clone() }, 1));
        }
        let broad = match evidence.reason {
            // Services of the host itself are no part of it.
            Some(Reason::Proxied { .. }) => 900,
            _ if evidence.is_about_one_address(&seen) => 130,
            _ => 1,
        };
        // What the host says to itself is not cut off as a whole.
        if seen.in_interface.is_some() || broad < 100 {
            worded.push((whole, broad));
        }
    }
    let mut found = Vec::new();
    for (wording, breadth) in with_senders(evidence, &seen, worded) {
        let drop = wording.to("DROP");
        found.extend(new_rule(evidence, &anchor, &drop, because, 10 + breadth));
    }
    found
}

/// Rules by hand that drop the port that was asked for, where the packet has that of the container
/// already: they are put right.
fn replaced(evidence: &Evidence<'_>, seen: &Seen) -> Vec<Candidate> {
    let flow = &evidence.answer.flow;
    let (Some(port), true) = (flow.destination_port, seen.redirected) else { return Vec::new() };
    if seen.port == Some(port) || ![protocol::TCP, protocol::UDP].contains(&flow.protocol) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, chain) in (0u32..).zip(&evidence.system.rules.chains) {
        if chain.family != evidence.family() || chain.table != TableName::Filter {
            continue;
        }
        for (number, rule) in (0u32..).zip(&chain.rules) {
            let id = RuleId { chain: nattrace_model::ruleset::ChainId(index), index: number };
            let drops = matches!(rule.target, Target::Drop | Target::Reject(_));
            let meant = rule.conditions.iter().any(|condition| {
                matches!(condition, Condition::Port(Sense::Is, PortSide::Destination, first, last)
                    if (*first..=*last).contains(&port))
            });
            if drops && meant && is_by_hand(evidence, id) {
                found.extend(by_asked_port(evidence, id, port));
            }
        }
    }
    found
}

/// A rule with the port that was asked for in place of that of the container.
fn by_asked_port(evidence: &Evidence<'_>, id: RuleId, port: u16) -> Option<Candidate> {
    let (_, rule) = evidence.rule(id)?;
    let family = evidence.family();
    let text = evidence.system.rules.text(rule);
    let (without, target) = text.rsplit_once(" -j ")?;
    let bare = reworded(without, family, TableName::Filter, |rule| {
        rule.matches.retain(|used| !["tcp", "udp", "comment"].contains(&used.extension.name));
    })?;
    let words = format!("{bare} -m conntrack --ctorigdstport {port} --ctdir ORIGINAL -j {target}");
    let new = super::super::wording::normal(&words, family, TableName::Filter)?;
    let anchor = evidence.instead(id)?;
    let because = "filter sees the port of the container, never the one that was published";
    Some(candidate(&anchor, new, because, 5))
}

/// Rules by hand that led or let the packet there, which may go.
fn undone(evidence: &Evidence<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    let passed = evidence.passed(Hook::Forward, TableName::Filter);
    let passed = passed.or_else(|| evidence.passed(Hook::Input, TableName::Filter));
    let accepting = match passed {
        Some((_, Decider::Rule(_, rule))) => Some(rule),
        _ => None,
    };
    // A rule that accepts others as well is not there for these packets alone.
    let seen = evidence.at_end();
    let broad = accepting.is_some_and(|rule| !evidence.is_named_by(rule, &seen));
    let rules = [(evidence.redirector(), 8), (accepting, if broad { 40 } else { 8 })];
    for (rule, dislike) in rules {
        let Some(rule) = rule.filter(|rule| is_by_hand(evidence, *rule)) else { continue };
        let because = "leads packets to where the policy wants none";
        let anchor = evidence.instead(rule);
        found.extend(anchor.and_then(|anchor| deletion(&anchor, because, dislike)));
    }
    found
}
