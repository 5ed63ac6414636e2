//! A rule that hangs on something that Docker hands out anew.

use nattrace_model::condition::{Condition, InterfacePattern, Sense};

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "volatile-match";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, _, rule) in scene.own_rules() {
        let volatile = rule.conditions.iter().find_map(|condition| match condition {
            Condition::Source(Sense::Is, prefix) | Condition::Destination(Sense::Is, prefix) => {
                let address = prefix.network();
                let (container, _) =
                    scene.host().inventory.owner(address).filter(|_| prefix.is_single())?;
                Some((
                    address.to_string(),
                    format!(
                        "container `{}` may get another address than {address}",
                        container.name
                    ),
                ))
            }
            Condition::InInterface(_, InterfacePattern::Name(name))
            | Condition::OutInterface(_, InterfacePattern::Name(name)) => {
                let network = scene.networks().find(|network| *network.bridge == **name)?;
                let id = name.strip_prefix("br-").filter(|id| network.id.starts_with(*id))?;
                (!id.is_empty()).then(|| {
                    (
                        name.to_string(),
                        format!("{name} changes when network `{}` is made anew", network.name),
                    )
                })
            }
            _ => None,
        });
        let Some((words, message)) = volatile else { continue };
        found.push(
            Finding::new(CODE, Severity::Info, message)
                .at(id, scene.owner(id))
                .marked(words)
                .effect("after a restart the rule may match somebody else, or nobody")
                .help("fix the address (docker run --ip, compose: ipv4_address) or the bridge's name (-o com.docker.network.bridge.name=…), or match the subnet"),
        );
    }
    found
}
