//! The names in a policy: each must be known on this host, or it would mean nothing in silence.

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::host::Host;
use nattrace_parser::Diagnostic;
use nattrace_parser::diagnostic::nearest;
use nattrace_parser::host::zones::Placed;
use nattrace_parser::policy::{
    Claim, Destination, Entry, Expression, Given, Kind, Place, Policy, Suppressed,
};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::Family;

/// The words that stand for zones.
const KEYWORDS: [&str; 3] = ["internet", "lan", "host"];

/// Says which names of a policy are not known on this host.
#[must_use]
pub fn unknown_names(policy: &Policy, system: &System) -> Vec<Diagnostic> {
    let mut names = Names { policy, host: &system.host, found: Vec::new() };
    for zone in &policy.zones {
        for via in &zone.via {
            names.interface(&via.value, via.span);
        }
    }
    for entry in &policy.entries {
        names.entry(entry);
    }
    for suppression in &policy.suppressions {
        if let Suppressed::Entry(name) = &suppression.what {
            names.name_of_entry(name, None);
        }
    }
    names.found.extend(unknown_codes(policy));
    names.found.sort_by_key(|found| found.span);
    names.found
}

/// Says which codes in a policy are those of no lint.
#[must_use]
pub fn unknown_codes(policy: &Policy) -> Vec<Diagnostic> {
    let known = crate::audit::codes();
    let mut found = Vec::new();
    for suppression in &policy.suppressions {
        let Suppressed::Finding(code) = &suppression.what else { continue };
        if known.contains(&code.value.as_str()) {
            continue;
        }
        let message = format!("unknown lint `{}`", code.value);
        let unknown = Diagnostic::error("unknown-name", message, code.span);
        found.push(match nearest(&code.value, known.iter().copied()) {
            Some(near) => unknown.help(format!("did you mean `{near}`?")),
            None => unknown.help("`nattrace explain` lists all codes"),
        });
    }
    found
}

/// Says which names of a `--given` are not known on this host.
#[must_use]
pub fn unknown_given(given: &Given, system: &System) -> Vec<Diagnostic> {
    let policy = Policy::default();
    let mut names = Names { policy: &policy, host: &system.host, found: Vec::new() };
    names.given(given);
    names.found
}

/// Says which names in zones are not known on this host.
pub(crate) fn unknown_places(zones: &[Expression], system: &System) -> Vec<Diagnostic> {
    let policy = Policy::default();
    let mut names = Names { policy: &policy, host: &system.host, found: Vec::new() };
    for zone in zones {
        names.zone(zone);
    }
    names.found
}

struct Names<'p> {
    policy: &'p Policy,
    host: &'p Host,
    found: Vec<Diagnostic>,
}

impl Names<'_> {
    fn entry(&mut self, entry: &Entry) {
        let zones: Vec<&[Expression]> = match &entry.claim {
            Claim::Egress { from, to, .. } => vec![from, to],
            Claim::Allow { from, to, lands } => vec![from, to, lands],
            Claim::Deny { from, lands, except } => {
                for name in except {
                    self.name_of_entry(name, Some(Kind::Allow));
                }
                vec![from, lands]
            }
            Claim::Isolate { zones } => vec![zones],
        };
        for zone in zones.into_iter().flatten() {
            self.zone(zone);
        }
        self.given(&entry.given);
    }

    fn zone(&mut self, zone: &Expression) {
        let span = zone.name_span;
        match &zone.place {
            Place::Internet
            | Place::Host
            | Place::Lan(None)
            | Place::EveryNetwork
            | Place::Net(_) => {}
            Place::Lan(Some(name)) | Place::Interface(name) => self.interface(name, span),
            Place::Network(name) => self.network(name, span),
            Place::Container(name) => self.container(name, span),
            Place::Zone(name) => self.own_zone(name, span),
        }
    }

    fn interface(&mut self, name: &str, span: Span) {
        if self.host.interface(name).is_some() {
            return;
        }
        let known = self.host.interfaces.iter().map(|own| own.name.as_str());
        self.unknown("unknown-interface", "interface", name, span, known.collect(), "");
    }

    fn network(&mut self, name: &str, span: Span) {
        if self.host.inventory.network(name).is_some() {
            return;
        }
        let known = self.host.inventory.networks.iter().map(|network| network.name.as_str());
        self.unknown("unknown-name", "network", name, span, known.collect(), "net:");
    }

    fn container(&mut self, name: &str, span: Span) {
        if self.host.inventory.container(name).is_some() {
            return;
        }
        let containers = self.host.inventory.containers.iter();
        let known = containers.map(|container| container.name.as_str());
        self.unknown("unknown-name", "container", name, span, known.collect(), "container:");
    }

    fn own_zone(&mut self, name: &str, span: Span) {
        let in_policy = self.policy.zones.iter().any(|zone| zone.name == name);
        if in_policy || self.host.zones.contains_key(name) {
            return;
        }
        let inventory = &self.host.inventory;
        // A name without its kind in front is the likeliest mistake.
        let kind = match name {
            _ if inventory.networks.iter().any(|network| network.name == name) => Some("net"),
            _ if inventory.containers.iter().any(|known| known.name == name) => Some("container"),
            _ if self.host.interface(name).is_some() => Some("iface"),
            _ => None,
        };
        if let Some(kind) = kind {
            let message = format!("unknown zone `{name}`");
            let help = format!("did you mean `{kind}:{name}`?");
            self.found.push(Diagnostic::error("unknown-zone", message, span).help(help));
            return;
        }
        let own = self.policy.zones.iter().map(|zone| zone.name.as_str());
        let snapshots = self.host.zones.keys().map(String::as_str);
        let known = own.chain(snapshots).chain(KEYWORDS).collect();
        self.unknown("unknown-zone", "zone", name, span, known, "");
    }

    fn name_of_entry(&mut self, name: &Placed<String>, kind: Option<Kind>) {
        let entries = self.policy.entries.iter();
        let known: Vec<(&str, Kind)> = entries
            .filter_map(|entry| Some((entry.name.as_ref()?.value.as_str(), entry.claim.kind())))
            .collect();
        let found = known.iter().find(|(known, _)| *known == name.value);
        match (found, kind) {
            (Some((_, found)), Some(wanted)) if *found != wanted => {
                let message = format!(
                    "expected the name of an `[[{}]]` entry, found that of an `[[{}]]` entry",
                    wanted.as_str(),
                    found.as_str()
                );
                self.found.push(Diagnostic::error("unknown-name", message, name.span));
            }
            (Some(_), _) => {}
            (None, _) => {
                let fits = |found: Kind| kind.is_none_or(|wanted| wanted == found);
                let names = known.iter().filter(|(_, kind)| fits(*kind)).map(|(name, _)| *name);
                self.unknown("unknown-name", "entry", &name.value, name.span, names.collect(), "");
            }
        }
    }

    fn given(&mut self, given: &Given) {
        for name in &given.down {
            self.interface(&name.value, name.span);
        }
        for (name, address) in &given.moved {
            self.container(&name.value, name.span);
            let container = self.host.inventory.container(&name.value);
            let Some(container) = container else { continue };
            let networks = container.endpoints.iter();
            let fits = networks
                .filter_map(|e| self.host.inventory.network(&e.network))
                .any(|network| network.subnets.iter().any(|subnet| subnet.contains(address.value)));
            if !fits {
                let message = format!(
                    "expected an address of a network of `{}`, found `{}`",
                    name.value, address.value
                );
                self.found.push(Diagnostic::error("unknown-name", message, address.span));
            }
        }
        for daemon in &given.restarted {
            if self.host.inventory.networks.is_empty() {
                let message = "no network of Docker is known, so neither are the rules it makes";
                let found = Diagnostic::error("unknown-name", message, daemon.span);
                let help = "networks are known from `docker-network-inspect.json`";
                self.found.push(found.help(help));
            }
        }
        for gone in &given.gone {
            if !has_route(self.host, gone.value) {
                let message = "no route of this host has this destination";
                let found = Diagnostic::error("unknown-name", message, gone.span);
                self.found.push(found.help("the destination is written as `ip route` prints it"));
            }
        }
    }

    fn unknown(
        &mut self,
        code: &'static str,
        what: &str,
        name: &str,
        span: Span,
        mut known: Vec<&str>,
        prefix: &str,
    ) {
        let message = format!("unknown {what} `{name}`");
        let found = Diagnostic::error(code, message, span);
        known.sort_unstable();
        known.dedup();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{prefix}{near}`?"),
            None if known.is_empty() => match what {
                "network" => "networks are known from `docker-network-inspect.json`".to_owned(),
                "container" => "containers are known from `docker-inspect.json`".to_owned(),
                "interface" => "interfaces are known from `ip-addr.json`".to_owned(),
                _ => "no entry has a name".to_owned(),
            },
            None => {
                known.truncate(8);
                format!("known are {}", known.join(", "))
            }
        };
        self.found.push(found.help(help));
    }
}

/// Whether some table has a route to this destination.
pub(crate) fn has_route(host: &Host, destination: Destination) -> bool {
    [Family::Ipv4, Family::Ipv6].into_iter().any(|family| {
        let tables = host.routing.tables(family).values();
        tables.flat_map(|table| table.routes()).any(|route| is_to(&route.destination, destination))
    })
}

/// Whether a route's destination is the one that is meant.
pub(crate) fn is_to(prefix: &Prefix, destination: Destination) -> bool {
    match destination {
        Destination::Default => prefix.length() == 0,
        Destination::Net(net) => *prefix == Prefix::from(net),
    }
}
