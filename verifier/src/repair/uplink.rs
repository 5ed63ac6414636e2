//! Packets that leave by another uplink than the one that their source belongs to, which no rule of
//! a filter leads back: the routing that does, in commands.

use std::net::IpAddr;
use std::sync::Arc;

use nattrace_model::address::{Prefix, is_internet};
use nattrace_model::answer::Egress;
use nattrace_model::hook::Hook;
use nattrace_model::host::Scope;
use nattrace_model::host::route::{
    FIRST_NAMED, MAIN, NextHop, PolicyRule, Route, RouteKind, RouteTable, Routing, RuleAction,
    TableId,
};
use nattrace_model::simulate::{lost_on_the_way, why};
use nattrace_parser::syntax::{Family, TableName};

use super::change::{Change, Holder, RuleChange};
use super::edited::{Edited, edits};
use super::evidence::Evidence;
use super::scope::single;
use super::wording::{Wording, is};
use crate::policy::Demand;
use crate::program;

/// The number of the table for a second uplink, where there is none yet.
const FIRST_TABLE: TableId = 100;

/// The first mark that is tried for connections that belong to an uplink.
const FIRST_MARK: u32 = 0x100;

/// What has to leave by the uplink.
#[derive(Clone, Copy)]
enum Way {
    /// The packet.
    Forth,
    /// The answer to it.
    Back,
}

/// What the routing of a host lacks.
struct Routes {
    way: Way,
    rules: Vec<PolicyRule>,
    route: Option<(TableId, Route)>,
    changes: Vec<Change>,
}

impl Evidence<'_> {
    /// What is said of packets, or answers to them, that leave by an uplink that their source does
    /// not belong to: why they are lost, and the commands that lead them out by their own.
    pub(super) fn wrong_uplink(&self) -> Option<String> {
        let answer = self.answer;
        let forth = answer.egress.as_ref();
        let back = answer.reply.as_ref().and_then(|reply| reply.egress.as_ref());
        if let Some((lost, uplink)) = forth.and_then(|egress| self.lost(egress)) {
            let commands = self.commands(self.by_source(&uplink)?, &uplink)?;
            return Some(format!("{lost}; what leads them out by `{uplink}`: {commands}"));
        }
        if let Some((lost, uplink)) = back.and_then(|egress| self.lost(egress)) {
            let commands = self.commands(self.by_question(&uplink)?, &uplink)?;
            return Some(format!(
                "the answer is lost: {lost}; what leads it out by `{uplink}`: {commands}"
            ));
        }
        None
    }

    /// The same of packets that should leave with a source of another uplink than theirs.
    pub(super) fn other_uplink(&self) -> Option<String> {
        let Demand::Leaves { sources, .. } = &self.case.question.demand else { return None };
        let egress = self.answer.egress.as_ref()?;
        let left_by = egress.out_interface.as_deref()?;
        if !is_internet(egress.packet.destination) {
            return None;
        }
        let mut wanted = self.system.host.interfaces.iter().filter(|own| {
            own.addresses.iter().any(|a| sources.contains(a.local) && is_internet(a.local))
        });
        let (uplink, None) = (wanted.next()?, wanted.next()) else { return None };
        if uplink.name == left_by {
            return None;
        }
        let commands = self.commands(self.by_source(&uplink.name)?, &uplink.name)?;
        let source = egress.packet.source;
        Some(format!(
            "it leaves by `{left_by}` as {source}, and the source that it should have belongs to \
             `{}`; what leads it out there: {commands}",
            uplink.name
        ))
    }

    /// Why a packet that leaves is lost, and the interface that its source belongs to.
    fn lost(&self, egress: &Egress) -> Option<(String, String)> {
        let by = egress.out_interface.as_deref()?;
        let lost = lost_on_the_way(self.system, &egress.packet, by)?;
        let owner = self.system.host.owner(egress.packet.source)?;
        Some((lost, owner.name.clone()))
    }

    /// Routes for what the senders of the entry send: neighbours stay where they are, and all else
    /// goes out by the uplink.
    fn by_source(&self, uplink: &str) -> Option<Routes> {
        let source = self.answer.flow.source;
        let senders = self.senders().filter(|prefix| prefix.length() > 0);
        let from = senders.unwrap_or_else(|| single(source));
        let (table, route) = self.table_of(uplink)?;
        let priority = self.first_priority();
        let near = PolicyRule {
            action: RuleAction::Lookup { table: MAIN, suppress_prefix_length: Some(0) },
            text: format!("from {from} lookup main suppress_prefixlength 0"),
            source: Some(from.clone()),
            ..PolicyRule::of_any(priority.checked_sub(2)?)
        };
        let far = PolicyRule {
            action: RuleAction::Lookup { table, suppress_prefix_length: None },
            text: format!("from {from} lookup {}", self.routing().table_name(table)),
            source: Some(from),
            ..PolicyRule::of_any(priority.checked_sub(1)?)
        };
        let rules = if table == MAIN { vec![far] } else { vec![near, far] };
        Some(Routes { way: Way::Forth, rules, route, changes: Vec::new() })
    }

    /// Routes for the answers to what asked for an address of the uplink.
    fn by_question(&self, uplink: &str) -> Option<Routes> {
        let asked = self.answer.flow.destination;
        let (table, route) = self.table_of(uplink)?;
        let name = self.routing().table_name(table);
        let action = RuleAction::Lookup { table, suppress_prefix_length: None };
        let priority = self.first_priority().checked_sub(1)?;
        let redirected = self.answer.egress.as_ref().is_some_and(|e| e.out_interface.is_some());
        if !redirected {
            // A process of this host answers with the address that was asked.
            let text = format!("from {} lookup {name}", single(asked));
            let source = Some(single(asked));
            let rule = PolicyRule { source, action, text, ..PolicyRule::of_any(priority) };
            return Some(Routes { way: Way::Back, rules: vec![rule], route, changes: Vec::new() });
        }
        let mark = self.unused_mark()?;
        let text = format!("fwmark {mark:#x} lookup {name}");
        let rule = PolicyRule {
            mark: Some((mark, u32::MAX)),
            action,
            text,
            ..PolicyRule::of_any(priority)
        };
        let came = Wording {
            destination: is(single(asked)),
            matches: vec!["conntrack --ctstate NEW".to_owned()],
            ..Wording::default()
        };
        let answers = Wording {
            matches: vec![
                "conntrack --ctdir REPLY".to_owned(),
                format!("connmark --mark {mark:#x}"),
            ],
            ..Wording::default()
        };
        let changes = [
            came.to(format!("CONNMARK --set-mark {mark:#x}")),
            answers.to("CONNMARK --restore-mark"),
        ];
        let changes =
            changes.iter().map(|wording| self.in_mangle(wording)).collect::<Option<_>>()?;
        Some(Routes { way: Way::Back, rules: vec![rule], route, changes })
    }

    fn in_mangle(&self, wording: &Wording) -> Option<Change> {
        let anchor = self.built_in(TableName::Mangle, Hook::Prerouting);
        let rule = wording.rule(self.family(), TableName::Mangle, &anchor.place.chain)?;
        let because = "answers leave by the uplink that was asked".to_owned();
        let (place, at) = (anchor.place, anchor.at);
        Some(Change::Rule(RuleChange { place, at, rule, native: None, because }))
    }

    fn routing(&self) -> &Routing {
        &self.system.host.routing
    }

    /// The table whose default route leads out by an interface, else a new one with that route.
    fn table_of(&self, uplink: &str) -> Option<(TableId, Option<(TableId, Route)>)> {
        let family = self.family();
        let tables = self.routing().tables(family);
        let best = |table: &RouteTable| {
            let default = table.routes().iter().find(|route| route.destination.length() == 0);
            default.is_some_and(|r| r.next_hops.iter().any(|hop| hop.interface == uplink))
        };
        if let Some((table, _)) = tables.iter().find(|(_, table)| best(table)) {
            return Some((*table, None));
        }
        let learned = tables.values().flat_map(RouteTable::routes).find_map(|route| {
            let hop = route.next_hops.iter().find(|hop| hop.interface == uplink)?;
            (route.destination.length() == 0).then_some(hop.gateway).flatten()
        });
        let table = (FIRST_TABLE..FIRST_NAMED).find(|number| !tables.contains_key(number))?;
        let text = match learned {
            Some(gateway) => format!("default via {gateway} dev {uplink}"),
            None => format!("default via GATEWAY dev {uplink}"),
        };
        let everywhere = match family {
            Family::Ipv4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            Family::Ipv6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let hop =
            NextHop { gateway: learned, interface: uplink.to_owned(), weight: 1, dead: false };
        let route = Route {
            kind: RouteKind::Unicast,
            destination: Prefix::new(everywhere, 0),
            next_hops: vec![hop],
            preferred_source: None,
            metric: 0,
            tos: 0,
            scope: Scope::Global,
            text,
        };
        Some((table, Some((table, route))))
    }

    /// The priority of the first rule behind that of table local.
    fn first_priority(&self) -> u32 {
        let rules = self.routing().rules(self.family()).iter();
        rules.map(|rule| rule.priority).filter(|priority| *priority > 0).min().unwrap_or(32766)
    }

    /// A mark that no rule and no route speaks of.
    fn unused_mark(&self) -> Option<u32> {
        let rules = &self.system.rules;
        let texts = || rules.chains.iter().flat_map(|c| &c.rules).map(|rule| rules.text(rule));
        let marks = || self.routing().rules(self.family()).iter().filter_map(|rule| rule.mark);
        (0..16).map(|shift| FIRST_MARK << shift).find(|mark| {
            let word = format!("{mark:#x}");
            marks().all(|(value, mask)| mark & mask != value)
                && texts().all(|text| !text.split([' ', '/']).any(|own| own == word))
        })
    }

    /// The commands, where with them packets and answers leave by the uplink.
    fn commands(&self, routes: Routes, uplink: &str) -> Option<String> {
        let family = self.family();
        let Routes { way, rules, route, changes } = routes;
        let mut host = self.system.clone();
        let mut told: Vec<String> = Vec::new();
        let ip = program::ip(family);
        if let Some((table, route)) = route {
            told.push(format!("`{ip} route add {} table {table}`", route.text));
            let routing = &mut host.host.routing;
            let tables = match family {
                Family::Ipv4 => &mut routing.tables4,
                Family::Ipv6 => &mut routing.tables6,
            };
            tables.entry(table).or_default().insert(route);
        }
        for rule in rules {
            told.push(format!("`{ip} rule add priority {} {}`", rule.priority, rule.text));
            let routing = &mut host.host.routing;
            let own = match family {
                Family::Ipv4 => &mut routing.rules4,
                Family::Ipv6 => &mut routing.rules6,
            };
            let at = own.partition_point(|other| other.priority <= rule.priority);
            own.insert(at, rule);
        }
        let host = Arc::new(host);
        let edited = Edited::new(&host, &changes)?;
        for edit in edits(&host, &changes) {
            let Holder::Iptables(backend, table) = edit.place.holder else { return None };
            let program = program::iptables(family, backend);
            told.push(format!("`{program} -w -t {} {}`", table.as_str(), edit.rule));
        }
        let answer = why(&edited.system, &self.case.flow);
        let leaves = match way {
            Way::Forth => answer.egress.as_ref(),
            Way::Back => answer.reply.as_ref().and_then(|reply| reply.egress.as_ref()),
        };
        let by = leaves.and_then(|egress| egress.out_interface.as_deref());
        let unknown = told.iter().any(|command| command.contains(" via GATEWAY "));
        let gateway = if unknown { " (GATEWAY is the router there)" } else { "" };
        (by == Some(uplink)).then(|| told.join(", ") + gateway)
    }
}
