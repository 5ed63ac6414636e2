//! What rules tell about a host whose snapshot lacks the parts that would say it.
//!
//! Each inference is an [`Assumption`] that names the rule it comes from and the part that would
//! settle it. Nothing is inferred where the part is there.

mod addresses;
mod clues;
mod devices;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::address::Prefix;
use crate::build::connected;
use crate::host::route::{MAIN, RouteTable};
use crate::host::{Assumption, Host, Interface, InterfaceKind, Part, Scope, Subject};
use crate::ruleset::Ruleset;
use clues::Clues;
use devices::Devices;

/// Fills in what the parts of a snapshot do not tell, as far as the rules let one infer it.
pub fn infer(host: &mut Host, rules: &Ruleset) {
    let clues = Clues::gather(rules);
    if !host.has(Part::Addresses) {
        if host.has(Part::Routes4) || host.has(Part::Routes6) {
            addresses::from_routes(host);
        }
        let devices = Devices::find(&clues, rules);
        devices.add_to(host);
        addresses::add_own(host, &clues, &devices);
        host.assumptions.push(Assumption {
            code: "no-addresses",
            text: format!(
                "any address that neither rules nor routes show to be the host's own is taken to \
                 be somebody else's ({} settles it)",
                Part::Addresses.file_name()
            ),
        });
        for (family, part) in [(Family::Ipv4, Part::Routes4), (Family::Ipv6, Part::Routes6)] {
            if !host.has(part) {
                rebuild_kernel_routes(host, family);
                devices.add_routes(host, family);
            }
        }
    }
    default_route(host, &clues);
    unlisted(host);
    settings::infer(host, rules);
}

/// Interfaces that routes lead to and that the listing of interfaces does not have: one of the two
/// parts is of another time, or somebody shortened it.
fn unlisted(host: &mut Host) {
    if !host.has(Part::Addresses) {
        return;
    }
    let tables = [Family::Ipv4, Family::Ipv6].map(|family| host.routing.tables(family));
    let routes = tables.into_iter().flat_map(BTreeMap::values).flat_map(RouteTable::routes);
    let named = routes.flat_map(|route| &route.next_hops).map(|hop| hop.interface.as_str());
    let missing: BTreeSet<String> =
        named.filter(|name| host.interface(name).is_none()).map(str::to_owned).collect();
    for name in missing {
        let text = format!(
            "`{name}`, to which a route leads, is taken to be there and to have no address, \
             although {} does not list it",
            Part::Addresses.file_name()
        );
        let assumption = Assumption { code: "interface-exists", text };
        host.assume_about(Subject::Interface(name), assumption);
    }
}

/// Takes an address for the host's own, on an interface, because a question makes sense only so.
pub(crate) fn take_for_own(host: &mut Host, interface: &str, address: IpAddr) {
    addresses::add(host, interface, address);
    let family = Family::of(address);
    connected::add_local(&mut host.routing, family, &host.interfaces, &host.sysctls);
}

/// Takes an address to be behind an interface, because a question says that it sends from there.
pub(crate) fn take_behind(host: &mut Host, interface: &str, address: IpAddr) {
    let width = if address.is_ipv4() { 32 } else { 128 };
    let route = connected::device_route(Prefix::new(address, width), None, interface);
    connected::insert(&mut host.routing, Family::of(address), MAIN, route);
}

/// Table `local` and the connected prefixes, from the addresses that are known by now.
fn rebuild_kernel_routes(host: &mut Host, family: Family) {
    let Host { routing, interfaces, sysctls, .. } = host;
    connected::add_local(routing, family, interfaces, sysctls);
    connected::add_connected(routing, family, interfaces);
}

/// The way out, where no part tells the routes: by the only interface that may be it.
fn default_route(host: &mut Host, clues: &Clues) {
    let uplink = if host.has(Part::Addresses) {
        only_card(host).map(|name| (name, String::new()))
    } else {
        devices::uplink(clues).or_else(|| {
            let unnamed = host.interface(devices::UNNAMED_UPLINK)?;
            Some((unnamed.name.clone(), String::new()))
        })
    };
    for (family, part) in [(Family::Ipv4, Part::Routes4), (Family::Ipv6, Part::Routes6)] {
        let Some((name, place)) = uplink.as_ref().filter(|_| !host.has(part)) else { continue };
        // Rules alone tell which families the host speaks.
        if !host.has(Part::Addresses) && !clues.families.contains(&family) {
            continue;
        }
        let speaks = host.interface(name).is_some_and(|interface| {
            interface.addresses.iter().any(|address| {
                Family::of(address.local) == family && address.scope == Scope::Global
            })
        });
        if !speaks {
            continue;
        }
        let destination = Prefix::new(unspecified(family), 0);
        let route = connected::device_route(destination, None, name);
        connected::insert(&mut host.routing, family, MAIN, route);
        let because = if place.is_empty() { String::new() } else { format!(", as {place} has it") };
        let version = if family == Family::Ipv4 { 4 } else { 6 };
        host.assumptions.push(Assumption {
            code: "default-route-assumed",
            text: format!(
                "the IPv{version} default route is taken to lead out by {name}{because} ({} \
                 settles it)",
                part.file_name()
            ),
        });
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The only interface that is up, has a global address and is neither bridge nor port of one.
fn only_card(host: &Host) -> Option<String> {
    let global = |interface: &&Interface| {
        interface.addresses.iter().any(|address| address.scope == Scope::Global)
    };
    let mut cards = host
        .interfaces
        .iter()
        .filter(|i| i.up && i.port.is_none())
        .filter(|i| matches!(i.kind, InterfaceKind::Other | InterfaceKind::Veth))
        .filter(global);
    let first = cards.next()?;
    cards.next().is_none().then(|| first.name.clone())
}
