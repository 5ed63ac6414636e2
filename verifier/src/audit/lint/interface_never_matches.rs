//! An interface that no packet of the rule comes or leaves by.

use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::Part;
use nattrace_model::ruleset::ChainId;
use nattrace_parser::diagnostic::nearest;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "interface-never-matches";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, _, rule) in scene.own_rules() {
        let fault = rule.conditions.iter().find_map(|condition| match condition {
            Condition::InInterface(Sense::Is, pattern) => unknown(scene, pattern).or_else(|| {
                not_here(scene, id.chain, &[Hook::Output, Hook::Postrouting], "-i", pattern)
            }),
            Condition::OutInterface(Sense::Is, pattern) => unknown(scene, pattern).or_else(|| {
                not_here(scene, id.chain, &[Hook::Prerouting, Hook::Input], "-o", pattern)
            }),
            _ => None,
        });
        let Some(Fault { words, message, help }) = fault else { continue };
        found.push(
            Finding::new(CODE, Severity::Warning, message)
                .at(id, scene.owner(id))
                .marked(words)
                .effect("no packet matches this rule")
                .help(help),
        );
    }
    found
}

struct Fault {
    words: String,
    message: String,
    help: String,
}

/// An interface that the host does not have.
fn unknown(scene: &Scene<'_>, pattern: &InterfacePattern) -> Option<Fault> {
    let host = scene.host();
    let InterfacePattern::Name(name) = pattern else { return None };
    if !host.has(Part::Addresses) || host.interface(name).is_some() {
        return None;
    }
    if let Some((device, _)) = name.split_once(':') {
        return Some(Fault {
            words: name.to_string(),
            message: format!(
                "{name} is a label of an address, not an interface: packets come by {device}"
            ),
            help: format!("name {device}, and tell the addresses apart with -s or -d"),
        });
    }
    // A bridge of Docker's that is gone is `stale-container-rule`'s; a tunnel may come up later.
    let comes_and_goes =
        ["br-", "tun", "tap", "ppp", "wg", "veth"].iter().any(|start| name.starts_with(start));
    let near = nearest(name, host.interfaces.iter().map(|own| own.name.as_str()));
    (!comes_and_goes).then(|| Fault {
        words: name.to_string(),
        message: format!("this host has no interface {name}"),
        help: match near {
            Some(near) => format!("did you mean {near}?"),
            None => "name one that `ip link` shows".to_owned(),
        },
    })
}

/// An interface that is not known yet, or no longer, at the hooks that lead to the rule.
fn not_here(
    scene: &Scene<'_>,
    chain: ChainId,
    blind: &[Hook],
    option: &str,
    pattern: &InterfacePattern,
) -> Option<Fault> {
    let reached = scene.graph.reaching_hooks(chain);
    let everywhere_blind = !reached.is_empty() && reached.iter().all(|hook| blind.contains(&hook));
    let name = match pattern {
        InterfacePattern::Name(name) => name.to_string(),
        InterfacePattern::Beginning(beginning) if beginning.is_empty() => return None,
        InterfacePattern::Beginning(beginning) => format!("{beginning}+"),
    };
    everywhere_blind.then(|| Fault {
        words: format!("{option} {name}"),
        message: format!(
            "packets have no such interface here: only {} leads to this chain",
            words(reached)
        ),
        help: "ask for the other direction, or in another chain".to_owned(),
    })
}

fn words(hooks: nattrace_model::graph::HookSet) -> String {
    hooks.iter().map(|hook| format!("{hook:?}").to_uppercase()).collect::<Vec<_>>().join(" and ")
}
