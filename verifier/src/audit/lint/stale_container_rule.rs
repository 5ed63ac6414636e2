//! A rule about a container or a bridge that is gone.

use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::host::Part;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "stale-container-rule";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, _, rule) in scene.own_rules() {
        let gone = rule.conditions.iter().find_map(|condition| match condition {
            Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix) => {
                gone_container(scene, prefix)
            }
            Condition::InInterface(Sense::Is, pattern)
            | Condition::OutInterface(Sense::Is, pattern) => gone_bridge(scene, pattern),
            _ => None,
        });
        let Some((words, what)) = gone else { continue };
        found.push(
            Finding::new(CODE, Severity::Warning, what)
                .at(id, scene.owner(id))
                .marked(words)
                .effect("the rule matches nothing now, and whoever gets the address next")
                .fixed_by(
                    scene.delete(id).into_iter().collect(),
                    "or give the container a fixed address (--ip) or the network a fixed name (-o com.docker.network.bridge.name=…)",
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
