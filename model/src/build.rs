//! A host out of the parts of a snapshot.

pub(crate) mod connected;
pub(crate) mod interfaces;
mod inventory;
mod listeners;
mod policy;
mod routes;
mod sets;
mod snapshot;

use std::collections::BTreeMap;

use nattrace_parser::host::nftables::TableFamily;
use nattrace_parser::host::{
    address, bridge, docker, ipset, listener, nftables, route, rule, sysctl, zones,
};
use nattrace_parser::syntax::Family;

use crate::hook::Hook;
use crate::host::route::{LOCAL, MAIN, Routing};
use crate::host::sysctl::Sysctls;
use crate::host::{Assumption, ForeignChain, ForeignLayer, Host, Part, Subject, Zone};

pub use snapshot::{
    Loaded, PartDiagnostic, SharedText, Text, Untold, load, load_shared, load_with, part_of,
};

/// What the parts of a snapshot say, read but not put together. A part that is not there is
/// `None`; one that is empty says that there is nothing.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// `ip addr`.
    pub addresses: Option<Vec<address::Interface>>,
    /// `ip route`, which may list both families.
    pub routes4: Option<Vec<route::Route>>,
    /// `ip -6 route`.
    pub routes6: Option<Vec<route::Route>>,
    /// `ip rule`.
    pub rules4: Option<Vec<rule::RoutingRule>>,
    /// `ip -6 rule`.
    pub rules6: Option<Vec<rule::RoutingRule>>,
    /// `bridge link`.
    pub bridge_links: Option<Vec<bridge::BridgePort>>,
    /// `sysctl -a`.
    pub sysctl: Option<sysctl::Sysctls>,
    /// `ss -Hlntup`.
    pub listeners: Option<Vec<listener::Socket>>,
    /// `docker network inspect`.
    pub networks: Option<Vec<docker::Network>>,
    /// `docker inspect`.
    pub containers: Option<Vec<docker::Container>>,
    /// `ipset save`.
    pub sets: Option<Vec<ipset::IpSet>>,
    /// `zones.toml`.
    pub zones: Option<Vec<zones::Zone>>,
    /// `nft -j list ruleset`.
    pub nftables: Option<nftables::Ruleset>,
    /// Parts that were given and that are looked at elsewhere: the rules, above all.
    pub others: Vec<Part>,
}

/// Puts a host together. What a part lacks that the others show is filled in, and what had to be
/// assumed for that is listed in [`Host::assumptions`].
#[must_use]
pub fn build_host(parts: Parts) -> Host {
    let mut host = Host { parts: given(&parts), ..Host::default() };
    let mut assumptions = Vec::new();
    if let Some(sysctl) = &parts.sysctl {
        host.sysctls = sysctls(sysctl);
    }
    host.interfaces = interfaces::interfaces(
        parts.addresses.as_deref().unwrap_or(&[]),
        parts.bridge_links.as_deref(),
        &inventory::bridges(parts.networks.as_deref()),
        &mut assumptions,
    );
    host.inventory = inventory::inventory(
        parts.networks.as_deref(),
        parts.containers.as_deref(),
        &host.interfaces,
        &mut assumptions,
    );
    host.listeners =
        parts.listeners.as_deref().map(|sockets| listeners::listeners(sockets, &mut assumptions));
    let rules = add_routing(&mut host, &parts, &mut assumptions);
    host.sets = sets::sets(parts.sets.as_deref().unwrap_or(&[]));
    assumptions.extend(parts.nftables.iter().flat_map(arp_assumptions));
    host.foreign_chains = parts.nftables.as_ref().map_or_else(Vec::new, foreign_chains);
    host.zones = zones_by_name(parts.zones.unwrap_or_default());
    host.assumptions = assumptions;
    for (family, assumption) in rules {
        host.assume_about(Subject::Family(family), assumption);
    }
    host
}

/// The parts that were given, in the order of [`Part::ALL`].
fn given(parts: &Parts) -> Vec<Part> {
    let both = || parts.routes4.iter().flatten().chain(parts.routes6.iter().flatten());
    let lists = |family| both().any(|route| route.family == family);
    // `ip route show table all` lists both families; no route of IPv6 in it means that there is
    // none, unless there are addresses, which have routes.
    let shows_all =
        parts.routes4.is_some() && both().any(|route| route.table == route::Table::Local);
    let addresses = || parts.addresses.iter().flatten().flat_map(|i| &i.addresses);
    let speaks6 = addresses().any(|address| address.local.is_ipv6());
    let routes6 = parts.routes6.is_some() || lists(Family::Ipv6) || (shows_all && !speaks6);
    let rules6 = parts.rules6.is_some()
        || parts.rules4.iter().flatten().any(|rule| rule.family == Some(Family::Ipv6));
    Part::ALL
        .into_iter()
        .filter(|part| match part {
            Part::Addresses => parts.addresses.is_some(),
            Part::Routes4 => parts.routes4.is_some() || lists(Family::Ipv4),
            Part::Routes6 => routes6,
            Part::PolicyRules4 => parts.rules4.is_some(),
            Part::PolicyRules6 => rules6,
            Part::BridgeLinks => parts.bridge_links.is_some(),
            Part::Sysctl => parts.sysctl.is_some(),
            Part::Listeners => parts.listeners.is_some(),
            Part::DockerNetworks => parts.networks.is_some(),
            Part::DockerContainers => parts.containers.is_some(),
            Part::Ipset => parts.sets.is_some(),
            Part::Zones => parts.zones.is_some(),
            Part::Nft => parts.nftables.is_some(),
            Part::Rules4
            | Part::Rules6
            | Part::LegacyRules4
            | Part::LegacyRules6
            | Part::Conntrack => parts.others.contains(part),
        })
        .collect()
}

/// The base chains that are not of the IP layer and may do something to its packets.
fn foreign_chains(ruleset: &nftables::Ruleset) -> Vec<ForeignChain> {
    let foreign = |chain: &nftables::Chain| {
        let base = acting(ruleset, chain)?;
        let layer = match (chain.table.family, base.hook.as_str()) {
            (TableFamily::Bridge, _) => ForeignLayer::Bridge,
            (TableFamily::Arp, _) => return None,
            (TableFamily::Netdev, _) | (_, "ingress" | "egress") => ForeignLayer::Device,
            (TableFamily::Ip | TableFamily::Ip6 | TableFamily::Inet, _) => return None,
        };
        let hook = match base.hook.as_str() {
            "ingress" | "prerouting" | "input" => Hook::Prerouting,
            "forward" => Hook::Forward,
            _ => Hook::Postrouting,
        };
        let family = match chain.table.family {
            TableFamily::Ip => Some(Family::Ipv4),
            TableFamily::Ip6 => Some(Family::Ipv6),
            _ => None,
        };
        let (table, devices) = (chain.table.to_string(), base.devices.clone());
        Some(ForeignChain { family, hook, table, layer, devices })
    };
    ruleset.chains.iter().filter_map(foreign).collect()
}

/// The place of a chain that is hooked in and may do something.
fn acting<'a>(
    ruleset: &nftables::Ruleset,
    chain: &'a nftables::Chain,
) -> Option<&'a nftables::Base> {
    let base = chain.base.as_ref()?;
    let dormant = ruleset.tables.iter().any(|table| table.dormant && table.name == chain.table);
    let acts = base.drops || ruleset.rules_of(chain).next().is_some();
    (acts && !dormant).then_some(base)
}

/// What is assumed of chains that see ARP: a packet is taken to find its neighbours.
fn arp_assumptions(ruleset: &nftables::Ruleset) -> impl Iterator<Item = Assumption> {
    let acts = |chain: &&nftables::Chain| {
        chain.table.family == TableFamily::Arp && acting(ruleset, chain).is_some()
    };
    ruleset.chains.iter().filter(acts).map(|chain| Assumption {
        code: "arp-not-simulated",
        text: format!(
            "the nft table `{}` sees ARP and is not simulated: neighbours are taken to answer",
            chain.table
        ),
    })
}

fn zones_by_name(listed: Vec<zones::Zone>) -> BTreeMap<String, Zone> {
    fn values<T, U: From<T>>(placed: Vec<zones::Placed<T>>) -> Vec<U> {
        placed.into_iter().map(|placed| placed.value.into()).collect()
    }
    let zone = |zone: zones::Zone| {
        let known =
            Zone { via: values(zone.via), nets: values(zone.nets), routes: values(zone.routes) };
        (zone.name, known)
    };
    listed.into_iter().map(zone).collect()
}

/// The settings that are numbers, by dotted names.
fn sysctls(listed: &sysctl::Sysctls) -> Sysctls {
    let mut sysctls = Sysctls::default();
    for entry in &listed.entries {
        if let Ok(value) = entry.value.parse() {
            sysctls.insert(entry.path.replace('/', "."), value);
        }
    }
    sysctls
}

/// Tables and policy rules, with what the kernel makes by itself where it is not listed. Returns
/// what is assumed about the rules.
fn add_routing(
    host: &mut Host,
    parts: &Parts,
    assumptions: &mut Vec<Assumption>,
) -> Vec<(Family, Assumption)> {
    let listed: Vec<route::Route> =
        parts.routes4.iter().flatten().chain(parts.routes6.iter().flatten()).cloned().collect();
    let listed_rules: Vec<&rule::RoutingRule> =
        parts.rules4.iter().flatten().chain(parts.rules6.iter().flatten()).collect();
    let tables = routes::Tables::new(&listed, &listed_rules);
    let mut routing = Routing::default();
    routes::add_routes(&mut routing, &listed, &tables, assumptions);
    let has_routes = |family| host.has(Part::routes(family));
    let rules = policy::add_rules(&mut routing, parts, &tables, has_routes);
    for family in [Family::Ipv4, Family::Ipv6] {
        if !routing.tables(family).contains_key(&LOCAL) {
            connected::add_local(&mut routing, family, &host.interfaces, &host.sysctls);
        }
        let part = Part::routes(family);
        if !host.has(part) && host.has(Part::Addresses) {
            connected::add_connected(&mut routing, family, &host.interfaces);
            let added = routing.tables(family).contains_key(&MAIN);
            if added {
                assumptions.push(no_routes(family, part));
            }
        }
    }
    routing.names = tables.into_names();
    host.routing = routing;
    rules
}

fn no_routes(family: Family, part: Part) -> Assumption {
    let version = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    Assumption {
        code: "routes-from-addresses",
        text: format!(
            "the IPv{version} routes are taken to be those that the addresses bring along ({} \
             settles it)",
            part.file_name()
        ),
    }
}
