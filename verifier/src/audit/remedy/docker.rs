//! Commands of Docker: what becomes of networks and containers.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::address::Prefix;
use nattrace_model::host::inventory::{Container, Network};
use nattrace_parser::syntax::Family;

use crate::audit::scene::Scene;

/// `--ip 172.18.0.2`.
fn asked(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => format!("--ip {address}"),
        IpAddr::V6(_) => format!("--ip6 {address}"),
    }
}

/// The commands that make a network anew with these subnets and a bridge whose name stays, and put
/// its containers back, with the addresses that they have where these are still inside: Docker gives
/// away addresses only in networks whose subnets were asked for. None for the default network, which
/// only the daemon's configuration moves.
pub(in crate::audit) fn remake(
    scene: &Scene<'_>,
    network: &Network,
    subnets: &[Prefix],
) -> Vec<String> {
    if network.options.is_default || network.driver != "bridge" {
        return Vec::new();
    }
    let name = &network.name;
    let inventory = &scene.host().inventory;
    let inside: Vec<&Container> = inventory
        .containers
        .iter()
        .filter(|own| own.running && own.endpoints.iter().any(|end| end.network == *name))
        .collect();
    let mut commands: Vec<String> =
        inside.iter().map(|own| format!("docker network disconnect {name} {}", own.name)).collect();
    commands.push(format!("docker network rm {name}"));
    let mut create = "docker network create".to_owned();
    for subnet in subnets {
        create.push_str(&format!(" --subnet {subnet}"));
    }
    if subnets.iter().any(|subnet| subnet.family() == Family::Ipv6) {
        create.push_str(" --ipv6");
    }
    if network.internal {
        create.push_str(" --internal");
    }
    for option in options(network) {
        create.push_str(&format!(" -o {option}"));
    }
    commands.push(format!("{create} {name}"));
    for own in inside {
        let endpoints = own.endpoints.iter().filter(|end| end.network == *name);
        let kept = endpoints.flat_map(|end| &end.addresses).map(|(address, _)| address);
        let kept = kept.filter(|address| subnets.iter().any(|subnet| subnet.contains(**address)));
        let asked: String = kept.map(|address| format!("{} ", asked(*address))).collect();
        commands.push(format!("docker network connect {asked}{name} {}", own.name));
    }
    commands
}

/// The options of a network that differ from what Docker does by itself, with the name of its
/// bridge.
fn options(network: &Network) -> Vec<String> {
    const PREFIX: &str = "com.docker.network";
    let mut options = vec![format!("{PREFIX}.bridge.name={}", network.bridge)];
    if !network.options.masquerades {
        options.push(format!("{PREFIX}.bridge.enable_ip_masquerade=false"));
    }
    if !network.options.inter_container {
        options.push(format!("{PREFIX}.bridge.enable_icc=false"));
    }
    for source in &network.options.sources {
        let family = if source.is_ipv4() { "ipv4" } else { "ipv6" };
        options.push(format!("{PREFIX}.host_{family}={source}"));
    }
    options
}

/// A private subnet of the same size that neither the host nor its routes know; none for IPv6,
/// whose prefixes are handed out.
pub(in crate::audit) fn free_subnet(
    scene: &Scene<'_>,
    like: &Prefix,
    taken: &[Prefix],
) -> Option<Prefix> {
    let IpAddr::V4(_) = like.network() else { return None };
    let length = u8::try_from(like.length()).ok()?;
    let host = scene.host();
    let on_link = host.interfaces.iter().flat_map(|own| &own.addresses).map(|own| &own.subnet);
    let tables = host.routing.tables(Family::Ipv4).values();
    let routed = tables.flat_map(|table| table.routes()).map(|route| &route.destination);
    let networks = host.inventory.networks.iter().flat_map(|network| &network.subnets);
    let known: Vec<&Prefix> = on_link
        .chain(routed)
        .chain(networks)
        .chain(taken)
        .filter(|known| known.length() > 0 && known.family() == Family::Ipv4)
        .collect();
    let overlaps = |prefix: &Prefix| {
        known
            .iter()
            .any(|known| known.contains(prefix.network()) || prefix.contains(known.network()))
    };
    let pools = [(Ipv4Addr::new(172, 16, 0, 0), 12u8), (Ipv4Addr::new(192, 168, 0, 0), 16)];
    let pools = pools.into_iter().chain([(Ipv4Addr::new(10, 0, 0, 0), 8)]);
    for (start, pool) in pools.filter(|(_, pool)| *pool < length) {
        let step = 1u64 << (32 - u32::from(length));
        let count = 1u64 << u32::from(length - pool);
        let mut each = (0..count.min(4096)).filter_map(|index| {
            let bits = u32::try_from(u64::from(start.to_bits()) + index * step).ok()?;
            Some(Prefix::new(Ipv4Addr::from_bits(bits).into(), length))
        });
        if let Some(free) = each.find(|prefix| !overlaps(prefix)) {
            return Some(free);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use nattrace_corpus::case::{Case, cases_dir};
    use nattrace_model::build;

    use super::*;
    use crate::audit::Owners;

    #[test]
    fn a_network_is_made_anew_as_it_was() {
        let case = Case::read(&cases_dir().join("03c-snat-hand-edit-correct")).unwrap();
        let system = build::load(&case.texts(), &[]).system;
        let scene = Scene::new(&system, Owners::Hand);
        let network = scene.networks().find(|network| network.name == "pub").unwrap();
        let commands = remake(&scene, network, &network.subnets);
        assert_eq!(
            commands,
            [
                "docker network disconnect pub app",
                "docker network disconnect pub web",
                "docker network rm pub",
                "docker network create --subnet 172.18.0.0/16 \
                 -o com.docker.network.bridge.name=br-17f69efef4eb pub",
                "docker network connect --ip 172.18.0.2 pub app",
                "docker network connect --ip 172.18.0.3 pub web",
            ]
        );
        let default = scene.networks().find(|network| network.options.is_default).unwrap();
        assert!(remake(&scene, default, &default.subnets).is_empty());
    }

    #[test]
    fn a_free_subnet_is_nowhere_else() {
        let case = Case::read(&cases_dir().join("04-networks")).unwrap();
        let system = build::load(&case.texts(), &[]).system;
        let scene = Scene::new(&system, Owners::Hand);
        let like = &scene.networks().next().unwrap().subnets[0];
        let free = free_subnet(&scene, like, &[]).unwrap();
        assert_eq!(free.length(), like.length());
        let known = system.host.inventory.networks.iter().flat_map(|network| &network.subnets);
        assert!(known.into_iter().all(|known| !known.contains(free.network())));
        let next = free_subnet(&scene, like, std::slice::from_ref(&free)).unwrap();
        assert_ne!(next, free);
    }
}
