//! An interface that no packet of the rule comes or leaves by.

use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::Part;
use nattrace_model::ruleset::{Rule, RuleId};
use nattrace_parser::diagnostic::nearest;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "interface-never-matches";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, _, rule) in scene.own_rules() {
        let fault = rule.conditions.iter().find_map(|condition| match condition {
            // What is forwarded still tells in POSTROUTING where it came in (`ip_output`).
            Condition::InInterface(Sense::Is, pattern) => unknown(scene, (id, rule), "-i", pattern)
                .or_else(|| not_here(scene, id, &[Hook::Output], "-i", pattern)),
            Condition::OutInterface(Sense::Is, pattern) => {
                unknown(scene, (id, rule), "-o", pattern).or_else(|| {
                    not_here(scene, id, &[Hook::Prerouting, Hook::Input], "-o", pattern)
                })
            }
            _ => None,
        });
        let Some(Fault { words, message, fix, help }) = fault else { continue };
        found.push(
            Finding::new(CODE, Severity::Warning, message)
                .at(id, scene.owner(id))
                .marked(words)
                .effect("no packet matches this rule")
                .fixed_by(fix.into_iter().collect(), &help),
        );
    }
    found
}

struct Fault {
    words: String,
    message: String,
    fix: Option<String>,
    help: String,
}

/// An interface that the host does not have.
fn unknown(
    scene: &Scene<'_>,
    (id, rule): (RuleId, &Rule),
    option: &str,
    pattern: &InterfacePattern,
) -> Option<Fault> {
    let host = scene.host();
    if !host.has(Part::Addresses) {
        return None;
    }
    let name = match pattern {
        InterfacePattern::Name(name) => name,
        InterfacePattern::Beginning(beginning) => return none_begins(scene, id, option, beginning),
    };
    if let Some(own) = host.interface(name) {
        let bridge = &own.port.as_ref()?.bridge;
        return Some(Fault {
            words: name.to_string(),
            message: format!("{name} is a port of {bridge}: rules see its packets by {bridge}"),
            fix: scene.delete(id),
            help: format!("or name {bridge}, or the port by -m physdev"),
        });
    }
    if let Some((device, _)) = name.split_once(':') {
        // Without the label the rule is about the whole device, unless it names an address.
        let narrow = rule.conditions.iter().any(|condition| match condition {
            Condition::Destination(Sense::Is, prefix) => option == "-i" && prefix.is_single(),
            Condition::Source(Sense::Is, prefix) => option == "-o" && prefix.is_single(),
            _ => false,
        });
        let known = host.interface(device).is_some() && narrow;
        return Some(Fault {
            words: name.to_string(),
            message: format!(
                "{name} is a label of an address, not an interface: packets come by {device}"
            ),
            fix: known.then(|| renamed(scene, id, option, name, device)).flatten(),
            help: match known {
                true => "the address tells it apart".to_owned(),
                false => format!("name {device}, and tell the addresses apart with -s or -d"),
            },
        });
    }
    let near = nearest(name, host.interfaces.iter().map(|own| own.name.as_str()));
    (!comes_and_goes(name)).then(|| Fault {
        words: name.to_string(),
        message: format!("this host has no interface {name}"),
        // What never matches does nothing: to take it away changes nothing either.
        fix: scene.delete(id),
        help: match near.map(|near| (near, renamed(scene, id, option, name, near))) {
            Some((near, Some(command))) => format!("or {command} if {near} is meant"),
            Some((near, None)) => format!("or name {near} if that is meant"),
            None => "or name one that `ip link` shows".to_owned(),
        },
    })
}

/// Whether an interface may be there another time: a bridge of Docker's that is gone is
/// `stale-container-rule`'s, and a tunnel may come up later.
fn comes_and_goes(name: &str) -> bool {
    ["br-", "tun", "tap", "ppp", "wg", "veth"].iter().any(|start| name.starts_with(start))
}

/// A beginning of names that no interface has.
fn none_begins(scene: &Scene<'_>, id: RuleId, option: &str, beginning: &str) -> Option<Fault> {
    let mut interfaces = scene.host().interfaces.iter();
    // Only of cards is it known that none comes later.
    let of_cards = ["eth", "en", "wl"].iter().any(|start| beginning.starts_with(start));
    if interfaces.any(|own| own.name.starts_with(beginning)) || !of_cards {
        return None;
    }
    Some(Fault {
        words: format!("{beginning}+"),
        message: format!("this host has no interface whose name begins with {beginning}"),
        fix: scene.delete(id),
        help: format!("or give {option} one that `ip link` shows"),
    })
}

/// The command that gives the rule another interface.
fn renamed(scene: &Scene<'_>, id: RuleId, option: &str, name: &str, other: &str) -> Option<String> {
    let words = format!("{} ", scene.words(id)?);
    let (before, behind) = words.split_once(&format!("{option} {name} "))?;
    scene.reword(id, &format!("{before}{option} {other} {behind}"))
}

/// An interface that is not known yet, or no longer, at the hooks that lead to the rule.
fn not_here(
    scene: &Scene<'_>,
    id: RuleId,
    blind: &[Hook],
    option: &str,
    pattern: &InterfacePattern,
) -> Option<Fault> {
    let reached = scene.graph.reaching_hooks(id.chain);
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
        fix: scene.delete(id),
        help: "or ask for the other direction, or in another chain".to_owned(),
    })
}

fn words(hooks: nattrace_model::graph::HookSet) -> String {
    hooks.iter().map(|hook| format!("{hook:?}").to_uppercase()).collect::<Vec<_>>().join(" and ")
}
