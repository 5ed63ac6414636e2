//! SNAT to an address that the host does not have: no answer finds its way back.

use std::net::IpAddr;

use nattrace_model::condition::{Condition, InterfacePattern, Sense};
use nattrace_model::hook::Hook;
use nattrace_model::host::{Part, Scope};
use nattrace_model::ruleset::RuleId;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

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
                .fixed_by(
                    own_address(scene, id, address).into_iter().collect(),
                    "or add the address, or translate to another one that the host has",
                ),
        );
    }
    found
}

/// Whether packets to an address get to this host: its own, or one that a zone's hosts send here.
fn is_routed_here(scene: &Scene<'_>, address: IpAddr) -> bool {
    let host = scene.host();
    let local_route = host.routing.tables(Family::of(address)).values().any(|table| {
        table.routes().iter().any(|route| {
            route.kind == nattrace_model::host::route::RouteKind::Local
                && route.destination.contains(address)
        })
    });
    host.owner(address).is_some()
        || local_route
        || host.zones.values().any(|zone| zone.routes.iter().any(|net| net.contains(address)))
}

/// The command that gives the host the address, where it is of a subnet that the host is in; else
/// the one that translates to the host's own address of the way out.
fn own_address(scene: &Scene<'_>, id: RuleId, address: IpAddr) -> Option<String> {
    let family = Family::of(address);
    let on_link = scene.outside().find_map(|interface| {
        let own = interface.addresses.iter().find(|own| {
            own.scope == Scope::Global && own.peer.is_none() && own.subnet.contains(address)
        })?;
        Some((interface, own.subnet.length()))
    });
    if let Some((interface, length)) = on_link {
        return Some(format!("ip addr add {address}/{length} dev {}", interface.name));
    }
    let rule = scene.system.rules.rule(id)?;
    let by = rule.conditions.iter().find_map(|condition| match condition {
        Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => Some(name),
        _ => None,
    });
    let mut uplinks = scene.uplinks(family).into_iter();
    let uplink = uplinks.find(|own| by.is_none_or(|name| own.name == **name))?;
    let own = Scene::addresses(uplink, family).next()?;
    let words = scene.words(id)?;
    let (before, behind) = words.split_once("--to-source ")?;
    let rest = behind.split_once(' ').map_or("", |(_, rest)| rest);
    scene.reword(id, &format!("{before}--to-source {own} {rest}"))
}
