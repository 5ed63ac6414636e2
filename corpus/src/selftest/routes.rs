//! Routes and policy rules of a rebuilt host: what its addresses do not bring along is added, and
//! what they bring along although the described host lacks it is removed.
//!
//! A rule or a local route that is added by hand changes how the kernel checks sources, and stays
//! to be seen when it is gone (kernel-facts K4): so what is right is not touched.

use std::io;
use std::net::IpAddr;

use nattrace_model::build::{Text, load};
use nattrace_model::host::Host;
use nattrace_model::host::route::{
    DEFAULT, FIRST_NAMED, LOCAL, MAIN, NextHop, PolicyRule, Route, RouteKind, RuleAction, TableId,
};
use nattrace_parser::syntax::Family;

use super::replica::first_line;
use crate::lab::command::{output, run};

/// Numbers for tables of which only names are known.
const NAMED_TABLES: TableId = 0x4000_0000;

/// Brings routes and policy rules of both families about.
pub(super) fn configure(host: &Host, not_rebuilt: &mut Vec<String>) -> io::Result<()> {
    let now = present()?;
    for family in [Family::Ipv4, Family::Ipv6] {
        // Where nothing is known, nothing is taken away.
        if !host.routing.tables(family).is_empty() {
            reconcile_routes(host, &now, family, not_rebuilt)?;
        }
        if !host.routing.rules(family).is_empty() {
            reconcile_rules(host, &now, family, not_rebuilt)?;
        }
    }
    Ok(())
}

/// The addresses, routes and rules that there are already.
fn present() -> io::Result<Host> {
    let ask: [(&str, &[&str]); 5] = [
        ("ip-addr.json", &["-j", "-d", "addr"]),
        ("ip-route.json", &["-j", "route", "show", "table", "all"]),
        ("ip6-route.json", &["-j", "-6", "route", "show", "table", "all"]),
        ("ip-rule.json", &["-j", "rule"]),
        ("ip6-rule.json", &["-j", "-6", "rule"]),
    ];
    let mut texts = Vec::new();
    for (name, arguments) in ask {
        texts.push((name, output("ip", arguments, "")?));
    }
    let parts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, text }).collect();
    Ok(load(&parts, &[]).system.host)
}

fn version(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "-4",
        Family::Ipv6 => "-6",
    }
}

/// Whether two routes do the same. What a link that is down does to them is not compared: here
/// every link is up that shall be.
fn same(one: &Route, other: &Route) -> bool {
    let hops = |route: &Route| -> Vec<(Option<IpAddr>, String)> {
        route.next_hops.iter().map(|hop| (hop.gateway, hop.interface.clone())).collect()
    };
    one.kind == other.kind
        && one.destination == other.destination
        && one.metric == other.metric
        && one.tos == other.tos
        && one.preferred_source == other.preferred_source
        && hops(one) == hops(other)
}

fn reconcile_routes(
    host: &Host,
    now: &Host,
    family: Family,
    not_rebuilt: &mut Vec<String>,
) -> io::Result<()> {
    let ours = |route: &Route| {
        // Ports that are there for containers without one in the snapshot are nobody's business.
        route.next_hops.iter().all(|hop| host.interface(&hop.interface).is_some())
    };
    for (table, routes) in now.routing.tables(family) {
        let wanted = host.routing.tables(family).get(table);
        let is_wanted = |route: &&Route| {
            wanted.is_some_and(|wanted| wanted.routes().iter().any(|other| same(route, other)))
        };
        for route in routes.routes().iter().filter(|route| ours(route) && !is_wanted(route)) {
            change(family, "del", *table, route, not_rebuilt)?;
        }
    }
    let mut missing: Vec<(TableId, &Route)> = Vec::new();
    for (table, routes) in host.routing.tables(family) {
        let there = now.routing.tables(family).get(table);
        let is_there = |route: &&Route| {
            there.is_some_and(|there| there.routes().iter().any(|other| same(route, other)))
        };
        for route in routes.routes().iter().filter(|route| !is_there(route)) {
            // Two listings of a snapshot may both tell of it.
            let known = |(other, listed): &(TableId, &Route)| other == table && same(listed, route);
            if !missing.iter().any(known) {
                missing.push((*table, route));
            }
        }
    }
    // A gateway must be reachable before a route leads to it.
    missing.sort_by_key(|(table, route)| {
        (*table != LOCAL, route.next_hops.iter().any(|hop| hop.gateway.is_some()))
    });
    for (table, route) in missing {
        change(family, "add", table, route, not_rebuilt)?;
    }
    Ok(())
}

fn change(
    family: Family,
    action: &str,
    table: TableId,
    route: &Route,
    not_rebuilt: &mut Vec<String>,
) -> io::Result<()> {
    let mut words = vec![version(family).to_owned(), "route".to_owned(), action.to_owned()];
    words.extend(route_words(table, route));
    let mut ran = run_words(&words)?;
    let gateway = route.next_hops.iter().any(|hop| hop.gateway.is_some());
    if !ran.succeeded && gateway {
        words.push("onlink".to_owned());
        ran = run_words(&words)?;
    }
    // A route may have gone with another.
    let gone = action == "del" && ran.stderr.contains("No such process");
    if !ran.succeeded && !gone {
        not_rebuilt.push(format!("route `{}`: {}", route.text, first_line(&ran.stderr)));
    }
    Ok(())
}

fn run_words(words: &[String]) -> io::Result<crate::lab::command::Ran> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run("ip", &words, "")
}

fn table_number(table: TableId) -> TableId {
    if table >= FIRST_NAMED { NAMED_TABLES + (table - FIRST_NAMED) } else { table }
}

fn route_words(table: TableId, route: &Route) -> Vec<String> {
    let kind = match route.kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Local => "local",
        RouteKind::Broadcast => "broadcast",
        RouteKind::Anycast => "anycast",
        RouteKind::Multicast => "multicast",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Throw => "throw",
    };
    let mut words = vec![kind.to_owned(), route.destination.to_string()];
    let mut say = |word: &str, value: String| words.extend([word.to_owned(), value]);
    say("table", table_number(table).to_string());
    if route.metric != 0 {
        say("metric", route.metric.to_string());
    }
    if route.tos != 0 {
        say("tos", format!("{:#x}", route.tos));
    }
    if let Some(source) = route.preferred_source {
        say("src", source.to_string());
    }
    match route.next_hops.as_slice() {
        [] => {}
        [hop] => words.extend(hop_words(hop)),
        hops => {
            for hop in hops {
                words.push("nexthop".to_owned());
                words.extend(hop_words(hop));
                words.extend(["weight".to_owned(), hop.weight.to_string()]);
            }
        }
    }
    words
}

fn hop_words(hop: &NextHop) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(gateway) = hop.gateway {
        words.extend(["via".to_owned(), gateway.to_string()]);
    }
    words.extend(["dev".to_owned(), hop.interface.clone()]);
    words
}

fn reconcile_rules(
    host: &Host,
    now: &Host,
    family: Family,
    not_rebuilt: &mut Vec<String>,
) -> io::Result<()> {
    let (wanted, there) = (host.routing.rules(family), now.routing.rules(family));
    let among = |rule: &PolicyRule, others: &[PolicyRule]| {
        others.iter().any(|other| rule_words(other) == rule_words(rule))
    };
    for rule in there.iter().filter(|rule| !among(rule, wanted)) {
        change_rule(family, "del", rule, not_rebuilt)?;
    }
    for rule in wanted.iter().filter(|rule| !among(rule, there)) {
        change_rule(family, "add", rule, not_rebuilt)?;
    }
    Ok(())
}

fn change_rule(
    family: Family,
    action: &str,
    rule: &PolicyRule,
    not_rebuilt: &mut Vec<String>,
) -> io::Result<()> {
    let mut words = vec![version(family).to_owned(), "rule".to_owned(), action.to_owned()];
    let Some(selection) = rule_words(rule) else {
        not_rebuilt.push(format!("policy rule `{}`", rule.text));
        return Ok(());
    };
    words.extend(selection);
    let ran = run_words(&words)?;
    if !ran.succeeded {
        not_rebuilt.push(format!("policy rule `{}`: {}", rule.text, first_line(&ran.stderr)));
    }
    Ok(())
}

/// A policy rule as ip-rule(8) reads it; `None` for what can't be said.
fn rule_words(rule: &PolicyRule) -> Option<Vec<String>> {
    let mut words = Vec::new();
    if rule.inverted {
        words.push("not".to_owned());
    }
    let mut say = |word: &str, value: String| words.extend([word.to_owned(), value]);
    say("priority", rule.priority.to_string());
    say("from", rule.source.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string));
    if let Some(destination) = &rule.destination {
        say("to", destination.to_string());
    }
    if let Some(interface) = &rule.in_interface {
        say("iif", interface.clone());
    }
    if let Some(interface) = &rule.out_interface {
        say("oif", interface.clone());
    }
    if let Some((mark, mask)) = rule.mark {
        say("fwmark", format!("{mark:#x}/{mask:#x}"));
    }
    if let Some(tos) = rule.tos.filter(|tos| *tos != 0) {
        say("tos", format!("{tos:#x}"));
    }
    if let Some(protocol) = rule.protocol {
        say("ipproto", protocol.to_string());
    }
    for (word, ports) in [("sport", rule.source_port), ("dport", rule.destination_port)] {
        if let Some((low, high)) = ports {
            say(word, format!("{low}-{high}"));
        }
    }
    if let Some((low, high)) = rule.users {
        say("uidrange", format!("{low}-{high}"));
    }
    match rule.action {
        RuleAction::Lookup { table, suppress_prefix_length } => {
            let named = match table {
                LOCAL => "local".to_owned(),
                MAIN => "main".to_owned(),
                DEFAULT => "default".to_owned(),
                other => table_number(other).to_string(),
            };
            say("lookup", named);
            if let Some(length) = suppress_prefix_length {
                say("suppress_prefixlength", length.to_string());
            }
        }
        RuleAction::Goto(priority) => say("goto", priority.to_string()),
        RuleAction::Nop => words.push("nop".to_owned()),
        RuleAction::Blackhole => words.push("blackhole".to_owned()),
        RuleAction::Unreachable => words.push("unreachable".to_owned()),
        RuleAction::Prohibit => words.push("prohibit".to_owned()),
        RuleAction::Unsupported => return None,
    }
    Some(words)
}
