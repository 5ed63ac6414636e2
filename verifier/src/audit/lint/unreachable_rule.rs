//! A rule that no packet gets to, because others before it take all that it could match.

use std::collections::HashSet;
use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::answer::{Answer, Step};
use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{ChainId, Rule, RuleId};
use nattrace_model::target::Target;
use rayon::prelude::*;

use super::{CodeOf, dnat_shadowed_duplicate, snat_shadowed_by_masquerade};
use crate::audit::finding::{Finding, Severity};
use crate::audit::reach::{Reach, Reached};
use crate::audit::scene::{Scene, packet_by};

pub(super) const CODE: CodeOf = "unreachable-rule";

/// How many rules are named.
const MOST_NAMED: usize = 3;

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let reach = Reach::new(scene.system);
    let own: Vec<RuleId> = scene.own_rules().map(|(id, ..)| id).collect();
    let unreached: Vec<(RuleId, Reached)> = own
        .into_par_iter()
        .map(|id| (id, reach.of(id)))
        .filter(|(_, reached)| !matches!(reached, Reached::Yes(_)))
        .collect();
    let dead: HashSet<RuleId> = unreached.iter().map(|(id, _)| *id).collect();
    let mut told: HashSet<ChainId> = HashSet::new();
    let mut found = Vec::new();
    for (id, reached) in unreached {
        if scene.twin(id).is_some_and(|twin| !dead.contains(&twin)) {
            // It is there for packets of the other family.
            continue;
        }
        let callers = reach.callers(id.chain);
        let is_base = scene.system.rules.chain(id.chain).is_some_and(|own| own.base.is_some());
        if !callers.is_empty() && callers.iter().all(|caller| dead.contains(caller)) && !is_base {
            // It is those rules that are wrong.
            continue;
        }
        match reached {
            Reached::Yes(_) => {}
            Reached::TakenBy(by) => found.extend(taken(scene, id, &by)),
            Reached::NotCalled if callers.is_empty() => {
                if told.insert(id.chain) {
                    found.extend(lone(scene, id));
                }
            }
            Reached::NotCalled => found.push(others(scene, id, callers)),
        }
    }
    found
}

/// A rule whose packets others take.
fn taken(scene: &Scene<'_>, id: RuleId, by: &[RuleId]) -> Option<Finding> {
    let rules = &scene.system.rules;
    let rule = rules.rule(id)?;
    let takers: Vec<&Rule> = by.iter().filter_map(|by| rules.rule(*by)).collect();
    if let [taker] = takers.as_slice()
        && is_told_better(scene, id, rule, taker)
    {
        return None;
    }
    let first = *by.iter().filter(|by| by.chain == id.chain).min().or(by.first())?;
    let message = match by {
        [one] => format!("{} takes all of its packets", scene.name(*one)),
        several => format!("{} take all of its packets between them", listed(scene, several)),
    };
    let same = takers.iter().all(|taker| taker.target == rule.target);
    let effect = match (same, word(rule), takers.first().and_then(|taker| word(taker))) {
        (true, ..) => "it changes nothing: what it says of its packets is said before".to_owned(),
        (false, Some(own), Some(other)) if takers.len() == 1 && own != other => {
            format!("packets that it would have {own} are {other} before they get to it")
        }
        _ => "the rule is as good as not there: what it says never happens".to_owned(),
    };
    let commands = match same {
        true => scene.delete(id).into_iter().collect(),
        false => advanced(scene, id, by),
    };
    let ready = !commands.is_empty();
    let message = format!("no packet gets to this rule: {message}");
    let finding = Finding::new(code(rule, &takers), Severity::Warning, message)
        .at(id, scene.owner(id))
        .effect(effect)
        .fixed_by(
            commands,
            &match (same, ready) {
                (true, true) => String::new(),
                (true, false) => "delete it".to_owned(),
                (false, true) => "or delete it".to_owned(),
                (false, false) => format!("put it before {}, or delete it", scene.name(first)),
            },
        );
    Some(match witness(scene, id, rule, by) {
        Some(answer) => finding.witness(answer),
        None => finding,
    })
}

/// What a rule whose packets others take is a case of: where both translate, the lints of
/// translations are what people look for.
fn code(rule: &Rule, takers: &[&Rule]) -> CodeOf {
    let all = |is: fn(&Target) -> bool| takers.iter().all(|taker| is(&taker.target));
    match rule.target {
        Target::Snat(..) | Target::Masquerade(..)
            if all(|by| matches!(by, Target::Snat(..) | Target::Masquerade(..))) =>
        {
            snat_shadowed_by_masquerade::CODE
        }
        Target::Dnat(..) | Target::Redirect(..)
            if all(|by| matches!(by, Target::Dnat(..) | Target::Redirect(..))) =>
        {
            dnat_shadowed_duplicate::CODE
        }
        _ => CODE,
    }
}

/// The commands that put a rule before those that take its packets, where all are in its chain.
fn advanced(scene: &Scene<'_>, id: RuleId, by: &[RuleId]) -> Vec<String> {
    let first = by.iter().min().filter(|_| by.iter().all(|by| by.chain == id.chain));
    first.and_then(|first| scene.advance(id, *first)).unwrap_or_default()
}

/// Whether another lint has more to say about it.
fn is_told_better(scene: &Scene<'_>, id: RuleId, rule: &Rule, taker: &Rule) -> bool {
    let chain = scene.system.rules.chain(id.chain);
    let returned = taker.target == Target::Return && taker.conditions.is_empty();
    let user = chain.is_some_and(|chain| *chain.name == *"DOCKER-USER");
    let same = taker.conditions == rule.conditions;
    let translates = matches!(rule.target, Target::Dnat(..) | Target::Redirect(..));
    (user && returned) || (same && (taker.target == rule.target || translates))
}

/// A chain that no rule calls.
fn lone(scene: &Scene<'_>, id: RuleId) -> Option<Finding> {
    let chain = scene.system.rules.chain(id.chain)?;
    // Rules that were pasted without the built-in chains say nothing of who calls them.
    let whole = scene.system.rules.chains.iter().any(|own| {
        own.base.is_some()
            && own.table == chain.table
            && own.family == chain.family
            && !own.rules.is_empty()
    });
    if !whole || chain.base.is_some() || *chain.name == *"DOCKER-USER" {
        return None;
    }
    let rules = match chain.rules.len() {
        1 => "its rule never matches".to_owned(),
        many => format!("its {many} rules never match"),
    };
    Some(
        Finding::new(CODE, Severity::Warning, format!("no rule calls chain {}", chain.name))
            .at(id, scene.owner(id))
            .effect(format!("no packet gets to {}: {rules}", chain.name))
            .help(format!(
                "jump to it (-j {}) where its rules are meant to work, or delete it",
                chain.name
            )),
    )
}

/// A rule of a chain that is called for other packets.
fn others(scene: &Scene<'_>, id: RuleId, callers: &[RuleId]) -> Finding {
    Finding::new(
        CODE,
        Severity::Warning,
        "no packet gets to this rule: its chain is called for others only".to_owned(),
    )
    .at(id, scene.owner(id))
    .effect("the rule never matches: what it asks for, and what leads to it, exclude each other")
    .help(format!(
        "ask for the same in the rule and in what calls its chain ({})",
        listed(scene, callers)
    ))
}

/// `filter/INPUT/3, filter/INPUT/5 and 2 more`.
fn listed(scene: &Scene<'_>, rules: &[RuleId]) -> String {
    let mut names: Vec<String> =
        rules.iter().take(MOST_NAMED).map(|rule| scene.name(*rule)).collect();
    let more = rules.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

/// What happens to packets of a rule.
fn word(rule: &Rule) -> Option<&'static str> {
    match rule.target {
        Target::Accept => Some("accepted"),
        Target::Drop => Some("dropped"),
        Target::Reject(_) => Some("refused"),
        Target::Return => Some("sent back to the calling chain"),
        Target::Dnat(..) | Target::Snat(..) | Target::Masquerade(..) | Target::Redirect(..) => {
            Some("translated")
        }
        _ => None,
    }
}

/// A packet that the rule asks for, and that another one takes.
fn witness(scene: &Scene<'_>, id: RuleId, rule: &Rule, by: &[RuleId]) -> Option<Answer> {
    let family = scene.system.rules.chain(id.chain)?.family;
    let asked = Wanted::of(rule);
    let inward = scene.is_reached_from(id.chain, Hook::Input);
    let mut flows = Vec::new();
    let interfaces = scene.host().interfaces.iter().filter(|own| {
        own.up
            && own.port.is_none()
            && asked.interface.as_ref().is_none_or(|name| *name == own.name)
    });
    for interface in interfaces.filter(|own| own.name != "lo") {
        let own = Scene::addresses(interface, family).next();
        let members = scene.networks().flat_map(|network| scene.members(network, family));
        let member = members.map(|member| member.address).next();
        let destinations = match asked.destination {
            Some(address) => vec![Some(address)],
            None if inward => vec![own],
            None => vec![Some(Scene::outsider(family)), member, own],
        };
        let neighbour = scene.neighbour(interface, family);
        let sources = match &asked.source {
            Some(prefix) => vec![somebody(scene, prefix)],
            None => vec![Some(Scene::outsider(family)), neighbour],
        };
        for destination in destinations.into_iter().flatten() {
            for source in sources.iter().flatten().filter(|source| **source != destination) {
                flows.push(packet_by(
                    &interface.name,
                    *source,
                    destination,
                    asked.protocol,
                    asked.port,
                ));
            }
        }
    }
    flows.iter().take(24).map(|flow| scene.why(flow)).find(|answer| {
        let met = |wanted: RuleId| {
            let is = |step: &Step| matches!(step, Step::Rule { rule, .. } if *rule == wanted);
            answer.steps.iter().any(is)
        };
        by.iter().any(|by| met(*by)) && !met(id)
    })
}

/// Who sends packets from a prefix: a container rather than the address of the network itself.
fn somebody(scene: &Scene<'_>, prefix: &Prefix) -> Option<IpAddr> {
    let members = scene.networks().flat_map(|network| scene.members(network, prefix.family()));
    let inside = members.map(|own| own.address).find(|address| prefix.contains(*address));
    let free = || scene.free_address(prefix).filter(|_| !prefix.is_single());
    inside.or_else(free).or(Some(prefix.network()))
}

/// What a packet of a rule looks like.
pub(super) struct Wanted {
    source: Option<Prefix>,
    pub(super) destination: Option<IpAddr>,
    interface: Option<String>,
    pub(super) protocol: u8,
    pub(super) port: u16,
}

impl Wanted {
    pub(super) fn of(rule: &Rule) -> Self {
        let mut wanted = Self {
            source: None,
            destination: None,
            interface: None,
            protocol: protocol::TCP,
            port: 443,
        };
        for condition in &rule.conditions {
            match condition {
                Condition::Source(Sense::Is, prefix) => wanted.source = Some(prefix.clone()),
                Condition::Destination(Sense::Is, prefix) => {
                    wanted.destination = Some(prefix.network());
                }
                Condition::InInterface(Sense::Is, InterfacePattern::Name(name)) => {
                    wanted.interface = Some(name.to_string());
                }
                Condition::Protocol(Sense::Is, number) => wanted.protocol = *number,
                Condition::Port(Sense::Is, PortSide::Destination, first, _) => {
                    wanted.port = *first;
                }
                Condition::Ports(Sense::Is, PortSide::Destination | PortSide::Either, ranges) => {
                    wanted.port = ranges.first().map_or(wanted.port, |(first, _)| *first);
                }
                _ => {}
            }
        }
        wanted
    }
}
