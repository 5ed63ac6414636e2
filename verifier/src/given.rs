//! What-if: a host that is a little different, as the kernel and Docker would make it.

mod dockerd;
mod ipv6;
mod lists;

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::condition::Condition;
use nattrace_model::host::Host;
use nattrace_model::host::route::{NextHop, Route, RouteKind, RouteTable};
use nattrace_model::ruleset::Rule;
use nattrace_model::target::Target;
use nattrace_parser::policy::{Destination, Given, Switch};
use nattrace_parser::syntax::{Family, TableName};

use crate::policy::is_to;

/// The host as it would be. Names that it does not have change nothing.
#[must_use]
pub fn apply(system: &System, given: &Given) -> System {
    let mut system = system.clone();
    for name in &given.down {
        take_down(&mut system.host, &name.value);
    }
    for gone in &given.gone {
        remove_routes(&mut system.host, gone.value);
    }
    for (container, address) in &given.moved {
        give_address(&mut system, &container.value, address.value);
    }
    if !given.restarted.is_empty() {
        dockerd::restart(&mut system);
    }
    if given.ipv6.is_some() {
        ipv6::turn_on(&mut system.host);
    }
    if let Some(switch) = &given.ip_forward {
        forward(&mut system.host, Family::Ipv4, switch.value);
    }
    if let Some(switch) = &given.ipv6_forward {
        forward(&mut system.host, Family::Ipv6, switch.value);
    }
    system
}

/// `ip link set NAME down`.
fn take_down(host: &mut Host, name: &str) {
    let Some(interface) = host.interfaces.iter_mut().find(|own| own.name == name) else { return };
    interface.up = false;
    // IPv6 addresses go with the link (`addrconf_ifdown`), IPv4 addresses stay.
    interface.addresses.retain(|address| address.local.is_ipv4());
    // Routes by the interface go; the local ones of IPv4 are bound to no link
    // (`fib_sync_down_dev`).
    each_route(host, |family, route| {
        let stays = family == Family::Ipv4 && route.kind == RouteKind::Local;
        if stays || !route.next_hops.iter().any(|hop| hop.interface == name) {
            return Some(route.clone());
        }
        let others: Vec<NextHop> =
            route.next_hops.iter().filter(|hop| hop.interface != name).cloned().collect();
        (!others.is_empty()).then(|| Route { next_hops: others, ..route.clone() })
    });
}

/// `ip route del DESTINATION`, in all tables.
fn remove_routes(host: &mut Host, destination: Destination) {
    each_route(host, |_, route| {
        let is_own = matches!(route.kind, RouteKind::Local | RouteKind::Broadcast);
        (is_own || !is_to(&route.destination, destination)).then(|| route.clone())
    });
}

/// Makes every table anew.
fn each_route(host: &mut Host, keep: impl Fn(Family, &Route) -> Option<Route>) {
    let routing = &mut host.routing;
    let families = [(Family::Ipv4, &mut routing.tables4), (Family::Ipv6, &mut routing.tables6)];
    for (family, tables) in families {
        for table in tables.values_mut() {
            let mut left = RouteTable::default();
            for route in table.routes().iter().filter_map(|route| keep(family, route)) {
                left.insert(route);
            }
            *table = left;
        }
    }
}

/// A container is started again and gets another address: Docker writes its own rules anew, and
/// nobody those that were written by hand.
fn give_address(system: &mut System, name: &str, address: IpAddr) {
    let Some(id) = system.host.inventory.container(name).map(|found| found.id.clone()) else {
        return;
    };
    let networks = system.host.inventory.networks.clone();
    let containers = &mut system.host.inventory.containers;
    let Some(container) = containers.iter_mut().find(|known| known.id == id) else { return };
    let mut before = None;
    for endpoint in &mut container.endpoints {
        let network = networks.iter().find(|network| network.name == endpoint.network);
        let fits = network
            .is_some_and(|network| network.subnets.iter().any(|subnet| subnet.contains(address)));
        let same_family = |own: &&mut (IpAddr, u8)| own.0.is_ipv4() == address.is_ipv4();
        if let Some(own) = endpoint.addresses.iter_mut().find(same_family).filter(|_| fits) {
            before = Some(std::mem::replace(&mut own.0, address));
        }
    }
    let Some(before) = before else { return };
    let texts: Vec<Vec<String>> = system
        .rules
        .chains
        .iter()
        .map(|chain| chain.rules.iter().map(|rule| system.rules.text(rule).to_owned()).collect())
        .collect();
    for (chain, texts) in system.rules.chains.iter_mut().zip(texts) {
        let is_dockers = chain.name.starts_with("DOCKER");
        let hairpin = chain.table == TableName::Nat && &*chain.name == "POSTROUTING";
        for (rule, text) in chain.rules.iter_mut().zip(texts) {
            if is_dockers || (hairpin && is_hairpin(rule, before)) {
                follow(rule, &text, before, address);
            }
        }
    }
}

fn whole(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

/// Docker's rule for a container that calls its own published port.
fn is_hairpin(rule: &Rule, address: IpAddr) -> bool {
    let own = whole(address);
    let from =
        rule.conditions.iter().any(|c| matches!(c, Condition::Source(_, net) if *net == own));
    let to =
        rule.conditions.iter().any(|c| matches!(c, Condition::Destination(_, net) if *net == own));
    from && to && matches!(rule.target, Target::Masquerade(..))
}

/// Puts another address in the place of one.
fn follow(rule: &mut Rule, text: &str, before: IpAddr, after: IpAddr) {
    let (old, new) = (whole(before), whole(after));
    let mut changed = false;
    for condition in &mut rule.conditions {
        if let Condition::Source(_, net) | Condition::Destination(_, net) = condition
            && *net == old
        {
            *net = new.clone();
            changed = true;
        }
    }
    if let Target::Dnat(range, _) = &mut rule.target
        && range.addresses == Some((before, before))
    {
        range.addresses = Some((after, after));
        changed = true;
    }
    if changed {
        rule.origin.printed = Some(text.replace(&before.to_string(), &after.to_string()).into());
    }
}

/// `sysctl net.ipv4.ip_forward=…` or `net.ipv6.conf.all.forwarding=…`, which set it for every
/// interface (`inet_forward_change`, `addrconf_fixup_forwarding`).
pub(crate) fn forward(host: &mut Host, family: Family, switch: Switch) {
    let value = i64::from(switch == Switch::On);
    let names: Vec<String> = host.interfaces.iter().map(|own| own.name.clone()).collect();
    let version = match family {
        Family::Ipv4 => {
            host.sysctls.insert("net.ipv4.ip_forward", value);
            "ipv4"
        }
        Family::Ipv6 => "ipv6",
    };
    for name in names.iter().map(String::as_str).chain(["all", "default"]) {
        host.sysctls.insert(format!("net.{version}.conf.{name}.forwarding"), value);
    }
}
