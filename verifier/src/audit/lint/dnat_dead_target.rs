//! A DNAT to an address behind which nobody is.

use std::net::IpAddr;

use nattrace_model::address::is_internet;
use nattrace_model::hook::Hook;
use nattrace_model::host::{Interface, Part};
use nattrace_model::owner::Owner;
use nattrace_model::target::Target;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::scene::{Scene, packet};

pub(super) const CODE: CodeOf = "dnat-dead-target";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !scene.host().has(Part::DockerContainers) {
        return found;
    }
    for (id, _, rule) in scene.rules() {
        let Target::Dnat(range, _) = &rule.target else { continue };
        let Some((address, last)) = range.addresses else { continue };
        let reached = [Hook::Prerouting, Hook::Output]
            .iter()
            .any(|hook| scene.is_reached_from(id.chain, *hook));
        if !reached || address != last {
            continue;
        }
        let Some(why) = dead(scene, address) else { continue };
        found.push(
            Finding::new(CODE, Severity::Error, format!("{address} is {why}"))
                .at(id, scene.owner(id))
                .marked(address.to_string())
                .effect("whoever asks for this port gets no answer")
                .fixed_by(
                    scene.delete(id).filter(|_| scene.owner(id) == Owner::Hand).into_iter().collect(),
                    "or publish the port with Docker (-p), which follows the container, or give it a fixed address (--ip)",
                ),
        );
    }
    found
}

/// Why nobody answers at an address.
fn dead(scene: &Scene<'_>, address: IpAddr) -> Option<String> {
    let host = scene.host();
    if host.owner(address).is_some()
        || host.inventory.owner(address).is_some()
        || address.is_loopback()
    {
        return None;
    }
    if let Some(network) =
        scene.networks().find(|network| network.subnets.iter().any(|net| net.contains(address)))
    {
        return Some(format!("no running container of `{}`", network.name));
    }
    if is_lost_outside(scene, address) {
        return Some(
            "nowhere: only the default route leads there, and the internet has no private addresses"
                .to_owned(),
        );
    }
    let from_here = scene.why(&packet(
        Scene::outsider(nattrace_parser::syntax::Family::of(address)),
        address,
        6,
        80,
    ));
    let unroutable = from_here.verdict == nattrace_model::answer::Verdict::Unroutable;
    unroutable.then(|| "not reachable: no route leads there".to_owned())
}

/// Whether a private address has no way but that to the internet, by an uplink with an address of
/// the internet.
fn is_lost_outside(scene: &Scene<'_>, address: IpAddr) -> bool {
    let family = Family::of(address);
    let tables = scene.host().routing.tables(family).values();
    let mut routes = tables.flat_map(|table| table.routes());
    let known =
        routes.any(|route| route.destination.length() > 0 && route.destination.contains(address));
    let public =
        |uplink: &Interface| Scene::addresses(uplink, family).next().is_some_and(is_internet);
    let uplinks = scene.uplinks(family);
    !is_internet(address) && !known && !uplinks.is_empty() && uplinks.iter().all(|own| public(own))
}
