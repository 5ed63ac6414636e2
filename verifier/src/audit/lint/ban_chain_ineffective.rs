//! A ban that packets to the service never meet: it stands in INPUT while the service is a
//! container's, in FORWARD while it is the host's, or asks for a port that DNAT has replaced.

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::SocketProtocol;
use nattrace_model::owner::Owner;
use nattrace_model::packet::protocol;
use nattrace_model::ruleset::{Chain, Rule, RuleId};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Published, Scene, packet_by, protocol_name};

pub(super) const CODE: CodeOf = "ban-chain-ineffective";

/// A rule that leads to those who are banned, or that bans a set of them.
struct Ban<'s> {
    id: RuleId,
    chain: &'s Chain,
    rule: &'s Rule,
    owner: Owner,
    /// The chain of those who are banned, or the set.
    name: String,
    /// What follows the conditions on protocol and port in a rule like it.
    words: String,
}

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let bans = bans(scene);
    let mut found: Vec<Finding> = Vec::new();
    for ban in &bans {
        // A ban at another place may be the one that works.
        let others =
            bans.iter().filter(|own| own.name == ban.name && own.chain.family == ban.chain.family);
        let beside: Vec<RuleId> = others.map(|own| own.id).collect();
        let told = |own: &Finding| own.rule.is_some_and(|rule| beside.contains(&rule));
        if found.iter().any(told) {
            continue;
        }
        // Who is in a set is not asked, so a packet does not tell whether the set is looked at.
        let hooks = [Hook::Input, Hook::Forward];
        let everywhere = hooks
            .iter()
            .all(|hook| beside.iter().any(|rule| scene.is_reached_from(rule.chain, *hook)));
        if everywhere && !matches!(ban.rule.target, Target::Jump(_) | Target::Goto(_)) {
            continue;
        }
        let finding =
            past_containers(scene, ban, &beside).or_else(|| past_host(scene, ban, &beside));
        found.extend(finding);
    }
    found
}

/// The rules that ban.
fn bans<'s>(scene: &Scene<'s>) -> Vec<Ban<'s>> {
    let of_bans = |owner: Owner| matches!(owner, Owner::Fail2ban | Owner::Crowdsec);
    let found = scene.rules().filter_map(|(id, chain, rule)| {
        let is_jail = |name: &str| {
            Owner::of_chain(name).is_some_and(of_bans)
                || name.to_ascii_lowercase().starts_with("crowdsec")
        };
        let (name, words, owner) = match rule.target {
            Target::Jump(called) | Target::Goto(called) => {
                let called = &scene.system.rules.chain(called)?.name;
                let owner = Owner::of_chain(called).unwrap_or(Owner::Crowdsec);
                is_jail(called).then(|| (called.to_string(), format!("-j {called}"), owner))?
            }
            Target::Drop | Target::Reject(_)
                if scene.system.rules.text(rule).contains("--match-set ") =>
            {
                let words = scene.words(id).filter(|_| !is_jail(&chain.name))?;
                let set = words.split_once("--match-set ")?.1.split_whitespace().next()?;
                let owner = match (set.starts_with("f2b-"), set.starts_with("crowdsec")) {
                    (true, _) => Owner::Fail2ban,
                    (_, true) => Owner::Crowdsec,
                    _ => return None,
                };
                (set.to_owned(), format!("-m set --match-set {set} src -j DROP"), owner)
            }
            _ => return None,
        };
        (!is_jail(&chain.name)).then_some(Ban { id, chain, rule, owner, name, words })
    });
    found.collect()
}

/// Containers behind a published port that the ban is about, and that it does not protect.
fn past_containers(scene: &Scene<'_>, ban: &Ban<'_>, beside: &[RuleId]) -> Option<Finding> {
    let forward = scene.is_reached_from(ban.id.chain, Hook::Forward);
    if !forward && !scene.is_reached_from(ban.id.chain, Hook::Input) {
        return None;
    }
    let asked = scene.published().into_iter().filter(|port| {
        let other = |asked: &Condition| matches!(asked, Condition::Protocol(Sense::Is, own) if *own != port.protocol);
        if ban.rule.conditions.iter().any(other) {
            return false;
        }
        let names = |number| names_port(ban.rule, number);
        match forward {
            false => names(port.host_port) != Some(false),
            // Of every port it is true that the ban meets it.
            true => names(port.host_port) == Some(true) && names(port.container_port) != Some(true),
        }
    });
    let (port, answer) = asked.into_iter().find_map(|port| {
        let flows = scene.to_published(&port, ban.chain.family).into_iter();
        let mut answers = flows.map(|flow| scene.why(&flow));
        let answer =
            answers.find(|own| own.verdict == Verdict::Forwarded && passes(own, beside))?;
        Some((port, answer))
    })?;
    let Published { host_port, container_port, .. } = port;
    let place = scene.filtering(ban.chain.family);
    let command = match names_port(ban.rule, host_port) {
        // Who is banned from every port is so behind published ones too.
        None => place.insert(&ban.words),
        Some(_) => place.insert(&format!(
            "-p {} -m conntrack --ctorigdstport {host_port} --ctdir ORIGINAL {}",
            protocol_name(answer.flow.protocol),
            ban.words
        )),
    };
    let effect = match forward {
        false => {
            format!("packets to port {host_port} are forwarded to a container and never meet INPUT")
        }
        true => format!(
            "behind DNAT packets to port {host_port} go to port {container_port}, which the rule does not ask for"
        ),
    };
    let message = format!("{} bans nobody from published port {host_port}", ban.name);
    Some(told(ban, message, effect, command, "DOCKER-USER").witness(answer))
}

/// A service of the host that the ban is about, while it stands where forwarded packets go.
fn past_host(scene: &Scene<'_>, ban: &Ban<'_>, beside: &[RuleId]) -> Option<Finding> {
    let forward = scene.is_reached_from(ban.id.chain, Hook::Forward);
    if !forward || scene.is_reached_from(ban.id.chain, Hook::Input) {
        return None;
    }
    let published = scene.published();
    let listeners = scene.host().listeners.as_deref().unwrap_or_default().iter();
    let mut asked = listeners.filter(|own| {
        let of_containers =
            published.iter().any(|port| [port.host_port, port.container_port].contains(&own.port));
        own.protocol == SocketProtocol::Tcp
            && names_port(ban.rule, own.port) == Some(true)
            && !of_containers
    });
    let family = ban.chain.family;
    let (port, answer) = asked.find_map(|own| {
        let uplink = *scene.uplinks(family).first()?;
        let address = Scene::addresses(uplink, family).next()?;
        let source = Scene::outsider(family);
        let answer = scene.why(&packet_by(&uplink.name, source, address, protocol::TCP, own.port));
        (answer.verdict == Verdict::Delivered && passes(&answer, beside))
            .then_some((own.port, answer))
    })?;
    let program = scene.program_at(family, Hook::Input);
    let command = format!("{program} -I INPUT -p tcp --dport {port} {}", ban.words);
    let message = format!("{} bans nobody from port {port} of this host", ban.name);
    let effect = format!("packets to port {port} are for the host itself and never meet FORWARD");
    Some(told(ban, message, effect, command, "INPUT").witness(answer))
}

fn told(ban: &Ban<'_>, message: String, effect: String, command: String, place: &str) -> Finding {
    let words = match ban.owner {
        Owner::Fail2ban => format!(
            "and `chain = {place}` in fail2ban's jail or action, which makes its chains anew at each start"
        ),
        _ => "and the same in the configuration of what bans, which makes its rules anew at each start".to_owned(),
    };
    Finding::new(CODE, Severity::Error, message)
        .at(ban.id, ban.owner)
        .effect(effect)
        .fixed_by(vec![command], &words)
}

/// Whether a packet arrives without having met one of these rules.
fn passes(answer: &Answer, bans: &[RuleId]) -> bool {
    let met = answer
        .steps
        .iter()
        .any(|step| matches!(step, Step::Rule { rule, .. } if bans.contains(rule)));
    answer.outcome == Outcome::Connects && !met
}

/// Whether a rule asks for a port; `None` where it asks for none.
fn names_port(rule: &Rule, port: u16) -> Option<bool> {
    let asked = rule.conditions.iter().filter_map(|condition| match condition {
        Condition::Port(Sense::Is, PortSide::Destination, from, to) => {
            Some((*from..=*to).contains(&port))
        }
        Condition::Ports(Sense::Is, PortSide::Destination | PortSide::Either, ranges) => {
            Some(ranges.iter().any(|(from, to)| (*from..=*to).contains(&port)))
        }
        _ => None,
    });
    asked.reduce(|one, other| one && other)
}
