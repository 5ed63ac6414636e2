//! Routes and policy rules, from `ip route` and `ip rule`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipnet::IpNet;
use nattrace_parser::host::route as listed;
use nattrace_parser::host::rule as listed_rule;
use nattrace_parser::host::scope::Scope as ListedScope;
use nattrace_parser::syntax::Family;

use super::interfaces::scope;
use crate::address::Prefix;
use crate::host::Assumption;
use crate::host::route::{
    DEFAULT, FIRST_NAMED, LOCAL, MAIN, NextHop, PolicyRule, Route, RouteKind, Routing, RuleAction,
    TableId,
};

/// Numbers for tables, of which some listings tell only the names.
pub(super) struct Tables {
    names: BTreeMap<String, TableId>,
}

impl Tables {
    /// Gives numbers to the tables that are known by name only, in the order of their names, so
    /// that routes and rules mean the same table by the same name.
    pub(super) fn new(routes: &[listed::Route], rules: &[&listed_rule::RoutingRule]) -> Self {
        let of_rules = rules.iter().filter_map(|rule| match &rule.action {
            listed_rule::RuleAction::Lookup(table) => Some(table),
            _ => None,
        });
        let mut names: BTreeMap<String, TableId> = routes
            .iter()
            .map(|route| &route.table)
            .chain(of_rules)
            .filter_map(|table| match table {
                listed::Table::Name(name) => Some((name.clone(), 0)),
                _ => None,
            })
            .collect();
        for (number, id) in (FIRST_NAMED..).zip(names.values_mut()) {
            *id = number;
        }
        Self { names }
    }

    fn id(&self, table: &listed::Table) -> TableId {
        match table {
            listed::Table::Main => MAIN,
            listed::Table::Local => LOCAL,
            listed::Table::Default => DEFAULT,
            listed::Table::Id(id) => *id,
            listed::Table::Name(name) => self.names.get(name).copied().unwrap_or(FIRST_NAMED),
        }
    }

    /// The names by number, for those who print.
    pub(super) fn into_names(self) -> BTreeMap<TableId, String> {
        self.names.into_iter().map(|(name, id)| (id, name)).collect()
    }
}

/// Puts listed routes into their tables.
pub(super) fn add_routes(
    routing: &mut Routing,
    routes: &[listed::Route],
    tables: &Tables,
    assumptions: &mut Vec<Assumption>,
) {
    for listed in routes {
        let table = tables.id(&listed.table);
        let route = route(listed);
        if listed.source.is_some() || !listed.unsupported.is_empty() {
            assumptions.push(Assumption {
                code: "route-not-modelled",
                text: format!(
                    "the route `{}` of table {} is taken to be a plain one, although it has a \
                     source prefix or an encapsulation, which are not modelled",
                    route.text, listed.table
                ),
            });
        }
        let of_family = match listed.family {
            Family::Ipv4 => &mut routing.tables4,
            Family::Ipv6 => &mut routing.tables6,
        };
        of_family.entry(table).or_default().insert(route);
    }
}

fn route(listed: &listed::Route) -> Route {
    let kind = route_kind(listed.kind);
    let leads = !matches!(
        kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw
    );
    // IPv6 prints `dev lo` for a route that refuses.
    let next_hops =
        if leads { listed.next_hops.iter().map(next_hop).collect() } else { Vec::new() };
    Route {
        kind,
        destination: listed.destination.into(),
        next_hops,
        preferred_source: listed.preferred_source,
        metric: listed.metric,
        tos: listed.tos,
        scope: scope(listed.scope),
        text: text(listed),
    }
}

fn next_hop(listed: &listed::NextHop) -> NextHop {
    NextHop {
        gateway: listed.gateway,
        interface: listed.device.clone().unwrap_or_default(),
        weight: listed.weight.max(1),
        dead: listed.dead,
    }
}

fn route_kind(kind: listed::RouteKind) -> RouteKind {
    match kind {
        listed::RouteKind::Unicast => RouteKind::Unicast,
        listed::RouteKind::Local => RouteKind::Local,
        listed::RouteKind::Broadcast => RouteKind::Broadcast,
        listed::RouteKind::Anycast => RouteKind::Anycast,
        listed::RouteKind::Multicast => RouteKind::Multicast,
        listed::RouteKind::Blackhole => RouteKind::Blackhole,
        listed::RouteKind::Unreachable => RouteKind::Unreachable,
        listed::RouteKind::Prohibit => RouteKind::Prohibit,
        listed::RouteKind::Throw => RouteKind::Throw,
    }
}

/// A prefix as `ip route` prints it.
fn prefix(net: IpNet) -> String {
    match (net.prefix_len(), net.max_prefix_len()) {
        (0, _) => "default".to_owned(),
        (length, width) if length == width => net.addr().to_string(),
        _ => net.to_string(),
    }
}

/// The route as `ip route show table NAME` prints it, on one line.
fn text(route: &listed::Route) -> String {
    let mut text = String::new();
    if route.kind != listed::RouteKind::Unicast {
        text.push_str(route.kind.as_str());
        text.push(' ');
    }
    text.push_str(&prefix(route.destination));
    let mut add = |word: &str, value: &dyn std::fmt::Display| {
        // Writing into a string can't fail.
        let _ = write!(text, " {word} {value}");
    };
    if let Some(source) = route.source {
        add("from", &prefix(source));
    }
    if route.tos != 0 {
        add("tos", &format_args!("0x{:02x}", route.tos));
    }
    let single = route.next_hops.first().filter(|_| route.next_hops.len() == 1);
    if let Some(hop) = single {
        if let Some(gateway) = hop.gateway {
            let via = if Family::of(gateway) == route.family { "via" } else { "via inet6" };
            add(via, &gateway);
        }
        if let Some(device) = &hop.device {
            add("dev", device);
        }
    }
    if let Some(protocol) = &route.protocol {
        add("proto", protocol);
    }
    if route.scope != ListedScope::Global {
        add("scope", &route.scope);
    }
    if let Some(source) = route.preferred_source {
        add("src", &source);
    }
    if route.metric != 0 {
        add("metric", &route.metric);
    }
    if let Some(hop) = single {
        flags(&mut text, hop);
    } else {
        for hop in &route.next_hops {
            text.push_str(" nexthop");
            if let Some(gateway) = hop.gateway {
                let _ = write!(text, " via {gateway}");
            }
            if let Some(device) = &hop.device {
                let _ = write!(text, " dev {device}");
            }
            let _ = write!(text, " weight {}", hop.weight.max(1));
            flags(&mut text, hop);
        }
    }
    text
}

fn flags(text: &mut String, hop: &listed::NextHop) {
    let flags = [(hop.dead, " dead"), (hop.on_link, " onlink"), (hop.link_down, " linkdown")];
    for (_, word) in flags.into_iter().filter(|(set, _)| *set) {
        text.push_str(word);
    }
}

/// A policy rule.
pub(super) fn policy_rule(listed: &listed_rule::RoutingRule, tables: &Tables) -> PolicyRule {
    let unsupported = !listed.unsupported.is_empty() || listed.suppress_group.is_some();
    let action = match &listed.action {
        _ if unsupported => RuleAction::Unsupported,
        listed_rule::RuleAction::Lookup(table) => RuleAction::Lookup {
            table: tables.id(table),
            suppress_prefix_length: listed.suppress_prefix_length,
        },
        listed_rule::RuleAction::LookupVrf => RuleAction::Unsupported,
        listed_rule::RuleAction::Goto(priority) => RuleAction::Goto(*priority),
        listed_rule::RuleAction::Nop => RuleAction::Nop,
        listed_rule::RuleAction::Blackhole => RuleAction::Blackhole,
        listed_rule::RuleAction::Unreachable => RuleAction::Unreachable,
        listed_rule::RuleAction::Prohibit => RuleAction::Prohibit,
    };
    PolicyRule {
        priority: listed.priority,
        inverted: listed.negated,
        source: listed.source.map(Prefix::from),
        destination: listed.destination.map(Prefix::from),
        in_interface: listed.in_interface.clone(),
        out_interface: listed.out_interface.clone(),
        mark: listed.mark,
        tos: Some(listed.tos).filter(|tos| *tos != 0),
        protocol: listed.protocol,
        source_port: listed.source_ports,
        destination_port: listed.destination_ports,
        users: listed.users,
        action,
        text: rule_text(listed),
    }
}

/// The rule as `ip rule` prints it.
fn rule_text(rule: &listed_rule::RoutingRule) -> String {
    let mut words = vec![format!("{}:", rule.priority)];
    let mut add = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{name} {value}")));
    };
    let range = |range: (u16, u16)| match range {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let source = rule.source.map_or_else(|| "all".to_owned(), prefix);
    add(if rule.negated { "not from" } else { "from" }, Some(source));
    add("to", rule.destination.map(prefix));
    add("tos", Some(rule.tos).filter(|tos| *tos != 0).map(|tos| format!("0x{tos:02x}")));
    add(
        "fwmark",
        rule.mark.map(|mark| match mark {
            (value, u32::MAX) => format!("{value:#x}"),
            (value, mask) => format!("{value:#x}/{mask:#x}"),
        }),
    );
    add("iif", rule.in_interface.clone());
    add("oif", rule.out_interface.clone());
    add("uidrange", rule.users.map(|(first, last)| format!("{first}-{last}")));
    add("ipproto", rule.protocol.map(|protocol| protocol.to_string()));
    add("sport", rule.source_ports.map(range));
    add("dport", rule.destination_ports.map(range));
    let action = match &rule.action {
        listed_rule::RuleAction::Lookup(table) => format!("lookup {table}"),
        listed_rule::RuleAction::LookupVrf => "lookup [l3mdev-table]".to_owned(),
        listed_rule::RuleAction::Goto(priority) => format!("goto {priority}"),
        listed_rule::RuleAction::Nop => "nop".to_owned(),
        listed_rule::RuleAction::Blackhole => "blackhole".to_owned(),
        listed_rule::RuleAction::Unreachable => "unreachable".to_owned(),
        listed_rule::RuleAction::Prohibit => "prohibit".to_owned(),
    };
    words.push(action);
    if let Some(length) = rule.suppress_prefix_length {
        words.push(format!("suppress_prefixlength {length}"));
    }
    if let Some(group) = &rule.suppress_group {
        words.push(format!("suppress_ifgroup {group}"));
    }
    words.extend(rule.unsupported.iter().cloned());
    words.join(" ")
}

/// The rules that the kernel starts with.
pub(super) fn default_rules(family: Family) -> Vec<PolicyRule> {
    let rule = |priority: u32, table: TableId, name: &str| PolicyRule {
        action: RuleAction::Lookup { table, suppress_prefix_length: None },
        text: format!("{priority}: from all lookup {name}"),
        ..PolicyRule::of_any(priority)
    };
    let mut rules = vec![rule(0, LOCAL, "local"), rule(32_766, MAIN, "main")];
    // IPv6 has no rule for table `default`.
    if family == Family::Ipv4 {
        rules.push(rule(32_767, DEFAULT, "default"));
    }
    rules
}
