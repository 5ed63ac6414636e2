//! SNAT to an address that the host does not have: no answer finds its way back.

use std::net::IpAddr;

use nattrace_model::hook::Hook;
use nattrace_model::host::Part;
use nattrace_model::target::Target;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "snat-address-not-local";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !scene.host().has(Part::Addresses) {
        return found;
    }
    for (id, _, rule) in scene.own_rules() {
        let Target::Snat(range, _) = &rule.target else { continue };
        let Some((first, last)) = range.addresses else { continue };
        let foreign = [first, last].into_iter().find(|address| !is_routed_here(scene, *address));
        let (true, Some(address)) = (scene.is_reached_from(id.chain, Hook::Postrouting), foreign)
        else {
            continue;
        };
        found.push(
            Finding::new(CODE, Severity::Error, format!("{address} is no address of this host"))
                .at(id, scene.owner(id))
                .marked(address.to_string())
                .effect("packets leave, but no answer comes back: nobody sends it here")
                .help(format!("add the address (ip addr add {address}/… dev …), or translate to one that the host has")),
        );
    }
    found
}

/// Whether packets to an address get to this host: its own, or one that a zone's hosts send here.
fn is_routed_here(scene: &Scene<'_>, address: IpAddr) -> bool {
    let host = scene.host();
    let local_route =
        host.routing.tables(nattrace_parser::syntax::Family::of(address)).values().any(|table| {
            table.routes().iter().any(|route| {
                route.kind == nattrace_model::host::route::RouteKind::Local
                    && route.destination.contains(address)
            })
        });
    host.owner(address).is_some()
        || local_route
        || host.zones.values().any(|zone| zone.routes.iter().any(|net| net.contains(address)))
}
