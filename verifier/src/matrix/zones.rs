//! The zones of a host that nobody has to name.

use nattrace_model::System;
use nattrace_model::host::Interface;
use nattrace_parser::Diagnostic;
use nattrace_parser::policy::{Expression, Place};
use nattrace_parser::syntax::Family;

use super::Zone;
use crate::policy::{Zones, unknown_places};

/// The zones of a host: the internet, what is behind each of its interfaces, the host itself, its
/// container networks, and the zones that a `zones.toml` names.
pub(super) fn of_host(system: &System) -> Vec<Zone> {
    let families = [Family::Ipv4, Family::Ipv6].map(|family| Zones::new(system, family));
    let uplinks: Vec<&str> = families.iter().flat_map(Zones::uplinks).collect();
    let host = &system.host;
    let mut zones = Vec::new();
    if !uplinks.is_empty() {
        zones.push(Zone { name: "internet".to_owned(), place: Place::Internet });
    }
    let behind = |interface: &Interface| {
        let name = &interface.name;
        let own = |zones: &Zones<'_>| {
            let on_link = zones.hosts_on_link(interface);
            (!on_link.is_empty(), !zones.behind_by_routes(name).difference(&on_link).is_empty())
        };
        let (near, far) =
            families.iter().map(own).fold((false, false), |a, b| (a.0 | b.0, a.1 | b.1));
        // What is behind a router beyond the link belongs to the zone, but for the internet.
        if far && !uplinks.contains(&name.as_str()) {
            let place = Place::Interface(name.clone());
            return Some(Zone { name: format!("iface:{name}"), place });
        }
        near.then(|| Zone { name: format!("lan:{name}"), place: Place::Lan(Some(name.clone())) })
    };
    zones.extend(families.iter().take(1).flat_map(Zones::lans).filter_map(behind));
    zones.push(Zone { name: "host".to_owned(), place: Place::Host });
    let networks = || families.iter().take(1).flat_map(Zones::bridged_networks);
    zones.extend(networks().map(|network| Zone {
        name: format!("net:{}", network.name),
        place: Place::Network(network.name.clone()),
    }));
    // Bridges of containers or guests that no inventory knows.
    let unknown = host.interfaces.iter().filter(|own| {
        let name = &own.name;
        own.up && host.is_container_bridge(name) && networks().all(|known| known.bridge != *name)
    });
    zones.extend(unknown.map(|own| Zone {
        name: format!("iface:{}", own.name),
        place: Place::Interface(own.name.clone()),
    }));
    let own = host.zones.keys();
    zones.extend(own.map(|name| Zone { name: name.clone(), place: Place::Zone(name.clone()) }));
    zones
}

/// Zones that were asked for.
pub(super) fn named(asked: &[Expression]) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    for expression in asked {
        let zone =
            Zone { name: expression.text.trim().to_owned(), place: expression.place.clone() };
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    zones
}

/// Whether packets of a zone to itself pass the host: those of a network do, or of its bridge; on a
/// wire they do not.
pub(super) fn meets_itself(system: &System, zone: &Zone) -> bool {
    match &zone.place {
        Place::Host | Place::Network(_) | Place::EveryNetwork | Place::Container(_) => true,
        Place::Interface(name) => system.host.is_container_bridge(name),
        Place::Internet | Place::Lan(_) | Place::Net(_) | Place::Zone(_) => false,
    }
}

/// Says which names of zones are not known on a host; places are those of each zone's text.
#[must_use]
pub fn unknown_names(asked: &[Expression], system: &System) -> Vec<Diagnostic> {
    unknown_places(asked, system)
}
