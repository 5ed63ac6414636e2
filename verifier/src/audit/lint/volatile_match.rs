//! A rule that hangs on something that Docker hands out anew.

use std::net::IpAddr;

use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::remedy::docker;
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "volatile-match";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, _, rule) in scene.own_rules() {
        let asked = rule.conditions.iter().find_map(|own| volatile(scene, own));
        let sent = || match &rule.target {
            Target::Dnat(range, _) => handed_out(scene, range.addresses?.0),
            _ => None,
        };
        let Some(volatile) = asked.or_else(sent) else { continue };
        found.push(
            Finding::new(CODE, Severity::Info, volatile.message)
                .at(id, scene.owner(id))
                .marked(volatile.words)
                .effect("after a restart the rule may match somebody else, or nobody")
                .fixed_by(volatile.fix, volatile.help),
        );
    }
    found
}

struct Volatile {
    words: String,
    message: String,
    fix: Vec<String>,
    help: &'static str,
}

/// What of a condition changes when Docker makes something anew.
fn volatile(scene: &Scene<'_>, condition: &Condition) -> Option<Volatile> {
    match condition {
        Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix) => {
            handed_out(scene, prefix.network()).filter(|_| prefix.is_single())
        }
        Condition::InInterface(_, InterfacePattern::Name(name))
        | Condition::OutInterface(_, InterfacePattern::Name(name)) => {
            let network = scene.networks().find(|network| *network.bridge == **name)?;
            let id = name.strip_prefix("br-").filter(|id| network.id.starts_with(*id))?;
            (!id.is_empty()).then(|| Volatile {
                words: name.to_string(),
                message: format!("{name} changes when network `{}` is made anew", network.name),
                fix: docker::remake(scene, network, &network.subnets),
                help: "compose: driver_opts with com.docker.network.bridge.name; or match the subnet",
            })
        }
        _ => None,
    }
}

/// A container's address that Docker chose.
fn handed_out(scene: &Scene<'_>, address: IpAddr) -> Option<Volatile> {
    let (container, endpoint) = scene.host().inventory.owner(address)?;
    if endpoint.assigned.contains(&address) {
        return None;
    }
    let network = scene.networks().find(|network| network.name == endpoint.network)?;
    Some(Volatile {
        words: address.to_string(),
        message: format!("container `{}` may get another address than {address}", container.name),
        fix: docker::remake(scene, network, &network.subnets),
        help: match network.options.is_default {
            true => {
                "the default network hands out addresses as it likes: put the container into a network of your \
                     own and fix its address there (docker run --ip, compose: ipv4_address)"
            }
            false => "compose: ipam and ipv4_address, else the next `up` makes it anew",
        },
    })
}
