//! The policy rules, from `ip rule`, or those that the kernel starts with.

use nattrace_parser::host::rule::RoutingRule;
use nattrace_parser::syntax::Family;

use super::Parts;
use super::routes::{self, Tables};
use crate::host::route::{DEFAULT, LOCAL, MAIN, PolicyRule, Routing};
use crate::host::{Assumption, Part};

/// Adds the rules of both families in the order of their priorities. Returns what is assumed about
/// those that are not listed; where no routes are either, that of the routes says enough.
pub(super) fn add_rules(
    routing: &mut Routing,
    parts: &Parts,
    tables: &Tables,
    has_routes: impl Fn(Family) -> bool,
) -> Vec<(Family, Assumption)> {
    let mut assumptions = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let rules = match listed(parts, family) {
            Some(listed) => in_order(listed.into_iter(), tables),
            None => {
                let mut others = routing.tables(family).keys();
                let further = others.any(|table| ![LOCAL, MAIN, DEFAULT].contains(table));
                if further || has_routes(family) {
                    assumptions.push((family, no_rules(family, further)));
                }
                routes::default_rules(family)
            }
        };
        match family {
            Family::Ipv4 => routing.rules4 = rules,
            Family::Ipv6 => routing.rules6 = rules,
        }
    }
    assumptions
}

/// The listed rules of a family. A rule that names no address stands for the family of its part.
fn listed(parts: &Parts, family: Family) -> Option<Vec<&RoutingRule>> {
    let (own, other) = match family {
        Family::Ipv4 => (&parts.rules4, &parts.rules6),
        Family::Ipv6 => (&parts.rules6, &parts.rules4),
    };
    let of_family = |rule: &&RoutingRule| rule.family == Some(family);
    let strays: Vec<&RoutingRule> = other.iter().flatten().filter(of_family).collect();
    let own = own
        .as_ref()
        .map(|rules| rules.iter().filter(|rule| rule.family.is_none_or(|found| found == family)));
    match (own, strays.is_empty()) {
        (None, true) => None,
        (own, _) => Some(own.into_iter().flatten().chain(strays).collect()),
    }
}

fn in_order<'r>(listed: impl Iterator<Item = &'r RoutingRule>, tables: &Tables) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = listed.map(|rule| routes::policy_rule(rule, tables)).collect();
    rules.sort_by_key(|rule| rule.priority);
    rules
}

fn no_rules(family: Family, further: bool) -> Assumption {
    let (version, part) = match family {
        Family::Ipv4 => (4, Part::PolicyRules4),
        Family::Ipv6 => (6, Part::PolicyRules6),
    };
    let so = if further { ", so that no rule leads into the further tables" } else { "" };
    Assumption {
        code: "default-policy-rules",
        text: format!(
            "the IPv{version} policy rules are taken to be those the kernel starts with{so} ({} \
             settles it)",
            part.file_name()
        ),
    }
}
