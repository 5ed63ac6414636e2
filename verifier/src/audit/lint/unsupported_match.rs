//! A rule that asks or does something that is not modelled.

use nattrace_model::answer::Answer;
use nattrace_model::condition::value::Selector;
use nattrace_model::condition::{Condition, Undecided};
use nattrace_model::ruleset::{Chain, Rule, RuleId};
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{FAMILIES, Scene, packet_by};
use crate::repair::wording;

pub(super) const CODE: CodeOf = "unsupported-match";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    // Rules that ask the same are one finding: there is one thing to know about them.
    let mut kinds: Vec<(String, String, Vec<RuleId>)> = Vec::new();
    for (id, chain, rule) in scene.own_rules() {
        let named = match &rule.target {
            Target::Unsupported(name) => Some((name.to_string(), format!("target `{name}`"))),
            _ if rule.conditions.iter().any(is_unknown) => Some(unknown_match(scene, chain, rule)),
            _ => None,
        };
        let Some((words, what)) = named else { continue };
        if scene.graph.reaching_hooks(id.chain).is_empty() {
            continue;
        }
        match kinds.iter_mut().find(|(_, known, _)| *known == what) {
            Some((.., ids)) => ids.push(id),
            None => kinds.push((words, what, vec![id])),
        }
    }
    kinds.into_iter().filter_map(|kind| told(scene, kind)).collect()
}

/// What is said of rules that ask the same: of one on which a packet's fate hangs, if there is one.
fn told(scene: &Scene<'_>, (words, what, ids): (String, String, Vec<RuleId>)) -> Option<Finding> {
    let witness = ids.iter().take(MOST_TRIED).find_map(|id| Some((*id, witness(scene, *id)?)));
    let id = witness.as_ref().map_or_else(|| ids.first().copied(), |(id, _)| Some(*id))?;
    let (message, hang) = match ids.len() - 1 {
        0 => (format!("{what} is not modelled"), scene.name(id)),
        1 => (
            format!("{what} is not modelled, here and in another rule"),
            format!("{} and the other rule", scene.name(id)),
        ),
        more => (
            format!("{what} is not modelled, here and in {more} other rules"),
            format!("{} and the {more} others", scene.name(id)),
        ),
    };
    let finding = Finding::new(CODE, Severity::Info, message)
        .at(id, scene.owner(id))
        .marked(words)
        .effect(format!(
            "what hangs on {hang} is a bound, not exact: packets that get there are undetermined, and \
             nothing is said of what it does to them"
        ))
        .help(
            "ask the kernel about such packets (iptables -t raw -A PREROUTING … -j TRACE, \
             xtables-monitor --trace), or ask for the same by a match that is modelled",
        );
    Some(match witness {
        Some((_, answer)) => finding.witness(answer),
        None => finding,
    })
}

/// For how many rules that ask the same a packet is looked for.
const MOST_TRIED: usize = 8;

/// Whether nobody can say of which packets it holds.
fn is_unknown(condition: &Condition) -> bool {
    match condition {
        Condition::Undecided(Undecided::Unsupported) => true,
        Condition::Value(_, value) => {
            let unknown = |selector: &Selector| matches!(selector, Selector::Unknown(_));
            value.operands.iter().any(|operand| unknown(&operand.selector))
        }
        _ => false,
    }
}

/// The match of a rule that is not modelled: its words, and what to call it.
fn unknown_match(scene: &Scene<'_>, chain: &Chain, rule: &Rule) -> (String, String) {
    let otherwise = (String::new(), "something that this rule asks".to_owned());
    let text = scene.system.rules.text(rule);
    let Some((table, (_, words))) = chain.table.of_iptables().zip(text.split_once("-A ")) else {
        return otherwise;
    };
    let text = format!("-A {words}");
    // Each match alone, until one is not understood.
    let name = (0..rule.conditions.len()).find_map(|at| {
        let mut name = None;
        let alone = wording::reworded(&text, chain.family, table, |rule| {
            name = rule.matches.get(at).map(|used| used.extension.name.to_owned());
            let mut index = 0;
            rule.matches.retain(|_| {
                index += 1;
                index == at + 1
            });
            rule.target = nattrace_parser::syntax::Target::None;
        })?;
        let (lowered, _) =
            wording::lowered(&alone, chain.family, chain.backend, table, &chain.name)?;
        name.filter(|_| lowered.conditions.iter().any(is_unknown))
    });
    name.map_or(otherwise, |name| (format!("-m {name}"), format!("match `{name}`")))
}

/// A packet whose fate hangs on a rule.
fn witness(scene: &Scene<'_>, id: RuleId) -> Option<Answer> {
    let name = format!("{} matches", scene.name(id));
    let mut flows = Vec::new();
    for family in FAMILIES {
        for port in scene.published() {
            flows.extend(scene.to_published(&port, family));
        }
        for network in scene.networks() {
            let member = scene.members(network, family).into_iter().next();
            let outsider = Scene::outsider(family);
            flows.extend(member.map(|member| member.packet(outsider, 6, 443)));
        }
        for interface in scene.outside() {
            let own = Scene::addresses(interface, family).next();
            let sources = [Some(Scene::outsider(family)), scene.neighbour(interface, family)];
            for source in sources.into_iter().flatten() {
                for port in [22, 80] {
                    flows.extend(own.map(|own| packet_by(&interface.name, source, own, 6, port)));
                }
            }
        }
    }
    flows.iter().take(48).map(|flow| scene.why(flow)).find(|answer| {
        let decisions = answer.branches.iter().flat_map(|branch| &branch.when);
        decisions.into_iter().any(|(what, _)| what.ends_with(&name))
    })
}
