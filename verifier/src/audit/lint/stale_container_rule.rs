//! A rule about a container or a bridge that is gone.

use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::host::Part;
use nattrace_model::host::inventory::Container;
use nattrace_model::ruleset::{Rule, RuleId};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "stale-container-rule";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let people = scene.own_rules().map(|(id, ..)| id);
    let by_ufw = scene.rules().filter(|(_, chain, _)| is_of_ufw_route(&chain.name));
    let by_ufw: Vec<RuleId> = by_ufw.map(|(id, ..)| id).collect();
    for id in people.chain(by_ufw.iter().copied()) {
        let Some(rule) = scene.system.rules.rule(id) else { continue };
        let gone = rule.conditions.iter().find_map(|condition| match condition {
            Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix) => {
                gone_container(scene, prefix)
            }
            Condition::InInterface(Sense::Is, pattern)
            | Condition::OutInterface(Sense::Is, pattern) => gone_bridge(scene, pattern),
            _ => None,
        });
        let Some((words, what)) = gone.or_else(|| of_another(scene, rule)) else { continue };
        let ufw = by_ufw.contains(&id);
        found.push(
            Finding::new(CODE, Severity::Warning, what)
                .at(id, scene.owner(id))
                .marked(words)
                .effect("it is about whoever has the address, not about the container that it was made for")
                .fixed_by(
                    scene.delete(id).filter(|_| !ufw).into_iter().collect(),
                    match ufw {
                        true => "delete it with ufw (`ufw status numbered`, `ufw delete NUMBER`), and allow it anew for the address of today",
                        false => "or give the container a fixed address (--ip) or the network a fixed name (-o com.docker.network.bridge.name=…)",
                    },
                ),
        );
    }
    found
}

fn gone_container(scene: &Scene<'_>, prefix: &Prefix) -> Option<(String, String)> {
    let address: IpAddr = prefix.network();
    let host = scene.host();
    if !prefix.is_single() || !host.has(Part::DockerContainers) || host.owner(address).is_some() {
        return None;
    }
    let network =
        scene.networks().find(|network| network.subnets.iter().any(|net| net.contains(address)))?;
    host.inventory.owner(address).is_none().then(|| {
        (address.to_string(), format!("no running container of `{}` has {address}", network.name))
    })
}

fn gone_bridge(scene: &Scene<'_>, pattern: &InterfacePattern) -> Option<(String, String)> {
    let InterfacePattern::Name(name) = pattern else { return None };
    let id = name.strip_prefix("br-")?;
    let is_dockers = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let known = scene.host().interface(name).is_some() || !scene.host().has(Part::Addresses);
    (is_dockers && !known)
        .then(|| (name.to_string(), format!("there is no bridge {name} any more")))
}

/// Whether people fill a chain by `ufw route allow`.
fn is_of_ufw_route(chain: &str) -> bool {
    ["ufw-user-forward", "ufw6-user-forward"].contains(&chain)
}

/// An address that belongs to another container than the one that the rule's comment names.
fn of_another(scene: &Scene<'_>, rule: &Rule) -> Option<(String, String)> {
    let (_, comment) = scene.system.rules.text(rule).split_once("--comment ")?;
    let comment = match comment.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => comment.split_whitespace().next()?,
    };
    let is_word = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let words: Vec<&str> = comment.split(|letter| !is_word(letter)).collect();
    let inventory = &scene.host().inventory;
    let named = inventory.containers.iter().find(|own| words.contains(&own.name.as_str()))?;
    let pinned = rule.conditions.iter().filter_map(|condition| match condition {
        Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix)
            if prefix.is_single() =>
        {
            let (owner, _) = inventory.owner(prefix.network())?;
            Some((prefix.network(), owner))
        }
        _ => None,
    });
    let pinned: Vec<(IpAddr, &Container)> = pinned.collect();
    let right = pinned.iter().any(|(_, owner)| words.contains(&owner.name.as_str()));
    let (address, owner) = pinned.first().filter(|_| !right)?;
    let message = format!("{address} is container `{}` now, not `{}`", owner.name, named.name);
    Some((address.to_string(), message))
}
