//! A container network whose addresses are also somewhere else.

use nattrace_model::address::Prefix;
use nattrace_model::host::inventory::Network;
use nattrace_model::host::route::RouteKind;
use nattrace_parser::syntax::Family;

use super::CodeOf;
use crate::audit::finding::{Finding, Severity};
use crate::audit::remedy::docker;
use crate::audit::scene::Scene;

pub(super) const CODE: CodeOf = "subnet-overlap";

pub(super) fn find(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in scene.networks() {
        for subnet in &network.subnets {
            let Some((other, what)) = elsewhere(scene, subnet, &network.bridge) else { continue };
            found.push(
                Finding::new(CODE, Severity::Error, format!("{subnet} of `{}` overlaps {other}, {what}", network.name))
                    .effect("packets to addresses of both go to one of them only: the longer prefix wins")
                    .fixed_by(
                        moved(scene, network),
                        match network.options.is_default {
                            true => "the default network gets another subnet by `bip` in daemon.json, and others by default-address-pools",
                            false => "compose: ipam in the network; default-address-pools in daemon.json keeps new ones away",
                        },
                    ),
            );
        }
    }
    found
}

/// The commands that give a network subnets that are nowhere else.
fn moved(scene: &Scene<'_>, network: &Network) -> Vec<String> {
    let mut taken: Vec<Prefix> = Vec::new();
    let mut subnets = Vec::new();
    for subnet in &network.subnets {
        let subnet = match elsewhere(scene, subnet, &network.bridge) {
            None => subnet.clone(),
            Some(_) => {
                let Some(free) = docker::free_subnet(scene, subnet, &taken) else {
                    return Vec::new();
                };
                free
            }
        };
        taken.push(subnet.clone());
        subnets.push(subnet);
    }
    docker::remake(scene, network, &subnets)
}

/// Whether a prefix is no network of anybody: a default route, or one of the halves that a VPN has
/// in its place.
fn is_everybody(prefix: &Prefix) -> bool {
    match prefix.family() {
        Family::Ipv4 => prefix.length() < 4,
        Family::Ipv6 => prefix.length() < 7,
    }
}

fn elsewhere(scene: &Scene<'_>, subnet: &Prefix, bridge: &str) -> Option<(String, String)> {
    let overlaps = |other: &Prefix| {
        other.family() == subnet.family()
            && !is_everybody(other)
            && (other.contains(subnet.network()) || subnet.contains(other.network()))
    };
    let on_link = scene.host().interfaces.iter().filter(|own| own.name != bridge).find_map(|own| {
        let subnets = own.addresses.iter().map(|address| &address.subnet);
        subnets
            .into_iter()
            .find(|other| overlaps(other))
            .map(|other| (other.to_string(), format!("on-link at {}", own.name)))
    });
    on_link.or_else(|| {
        let tables = scene.host().routing.tables(subnet.family()).values();
        let mut routes = tables.flat_map(|table| table.routes()).filter(|route| {
            route.kind == RouteKind::Unicast
                && route.next_hops.iter().all(|hop| hop.interface != bridge)
        });
        // The pods of a node are a part of the cluster's network, which is behind other nodes.
        let of_cluster = |whole: &Prefix| {
            ["cni", "cbr", "kube"].iter().any(|start| bridge.starts_with(start))
                && whole.length() < subnet.length()
        };
        routes
            .find(|route| overlaps(&route.destination) && !of_cluster(&route.destination))
            .map(|route| (route.destination.to_string(), format!("a route (`{}`)", route.text)))
    })
}
