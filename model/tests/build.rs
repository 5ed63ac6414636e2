//! The snapshots of real Docker hosts, put together.

#[cfg(test)]
mod snapshots;

use nattrace_model::host::route::{LOCAL, MAIN, RouteKind};
use nattrace_model::host::{InterfaceKind, Part};
use nattrace_parser::diagnostic::Severity;
use nattrace_parser::syntax::Family;
use snapshots::{address, all, load, load_without, skipped};

#[test]
fn every_snapshot_is_read_without_complaint() {
    let names = all();
    if skipped(&names) {
        return;
    }
    assert!(names.len() >= 34, "only {} snapshots", names.len());
    for name in names {
        let loaded = load(&name);
        let bad: Vec<_> =
            loaded.diagnostics.iter().filter(|d| d.diagnostic.severity != Severity::Note).collect();
        assert!(bad.is_empty(), "{name}: {bad:#?}");
        // Nothing had to be assumed of IPv4 but which sockets take both families, and that not here.
        let host = &loaded.system.host;
        let assumed = host.assumptions_about(&[], &[address("172.17.0.2")]);
        assert!(assumed.is_empty(), "{name}: {assumed:?}");
        // A host that docker leaves alone has no table at all.
        assert_eq!(loaded.system.rules.chains.is_empty(), name == "06a-iptables-false", "{name}");
    }
}

#[test]
fn a_default_bridge_host_is_as_it_was() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let host = load("01-default-bridge").system.host;
    let shown: Vec<_> = host
        .interfaces
        .iter()
        .map(|i| (i.name.as_str(), i.index, i.kind, i.port.as_ref().map(|p| p.bridge.as_str())))
        .collect();
    assert_eq!(
        shown,
        [
            ("lo", 1, InterfaceKind::Loopback, None),
            ("eth0", 2, InterfaceKind::Other, None),
            ("docker0", 3, InterfaceKind::Bridge, None),
            ("veth6d3ce8f", 5, InterfaceKind::Veth, Some("docker0")),
            ("veth0ba7a02", 7, InterfaceKind::Veth, Some("docker0")),
        ]
    );
    let port = host.interface("veth6d3ce8f").unwrap().port.clone().unwrap();
    assert_eq!((port.hairpin, port.isolated), (Some(false), Some(false)));
    assert!(host.is_container_bridge("docker0"));
    assert!(!host.is_container_bridge("eth0"));

    let main: Vec<_> =
        host.routing.tables4[&MAIN].routes().iter().map(|r| r.text.as_str()).collect();
    assert_eq!(
        main,
        [
            "203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.10",
            "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1",
            "default via 203.0.113.1 dev eth0",
        ]
    );
    let broadcast = host.routing.tables4[&LOCAL]
        .routes()
        .iter()
        .filter(|route| route.kind == RouteKind::Broadcast)
        .count();
    assert_eq!(broadcast, 3);
    let rules = |family| host.routing.rules(family).iter().map(|r| r.priority).collect::<Vec<_>>();
    assert_eq!(rules(Family::Ipv4), [0, 32766, 32767]);
    assert_eq!(rules(Family::Ipv6), [0, 32766]);
    assert_eq!(host.sysctls.get("net.bridge.bridge-nf-call-iptables"), Some(1));

    let listeners = host.listeners.as_ref().unwrap();
    let proxies = listeners.iter().filter(|l| l.processes == ["docker-proxy"]).count();
    assert_eq!((listeners.len(), proxies), (14, 8));
    assert!(listeners.iter().all(|listener| !listener.dual_stack));

    let (web, endpoint) = host.inventory.owner(address("172.17.0.2")).unwrap();
    assert_eq!((web.name.as_str(), endpoint.network.as_str()), ("web", "bridge"));
    assert_eq!(endpoint.gateways, [address("172.17.0.1")]);
    assert_eq!(web.default_network.as_deref(), Some("bridge"));
    assert_eq!(web.published.len(), 8);
    let bridge = host.inventory.network("bridge").unwrap();
    assert_eq!(bridge.bridge, "docker0");
    assert_eq!(bridge.gateways, [address("172.17.0.1")], "taken from the containers");
    let given = [Part::Rules4, Part::Rules6, Part::Ipset, Part::Routes6, Part::DockerContainers];
    assert!(given.into_iter().all(|part| host.has(part)));
    assert!(
        !host.has(Part::Zones) && !host.has(Part::LegacyRules4) && !host.has(Part::PolicyRules6)
    );
}

#[test]
fn addresses_keep_the_order_of_the_kernel() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let host = load("03-snat-hand-edit").system.host;
    let eth0: Vec<_> =
        host.interface("eth0").unwrap().addresses.iter().map(|a| (a.local, a.secondary)).collect();
    let expected = [
        ("173.208.194.202", false),
        ("173.208.194.203", true),
        ("173.208.194.205", true),
        ("173.208.194.206", true),
    ];
    assert_eq!(eth0[..4], expected.map(|(text, secondary)| (address(text), secondary)));
    let zone = &host.zones["peer"];
    assert!(zone.contains(address("173.208.194.204"), "eth0"));
    assert_eq!(zone.routes.len(), 1);
}

#[test]
fn the_default_route_of_a_container_in_two_networks_is_by_name() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let host = load("04-networks").system.host;
    let container = |name: &str| host.inventory.containers.iter().find(|c| c.name == name).unwrap();
    let fb = container("fb");
    let networks: Vec<_> = fb.endpoints.iter().map(|e| e.network.as_str()).collect();
    assert_eq!(networks, ["back", "front"]);
    assert_eq!(fb.default_network.as_deref(), Some("back"));
    // Before Docker 25.0 an internal network hands out a gateway, too.
    let inner = container("i1");
    assert_eq!(inner.endpoints[0].gateways, [address("172.20.0.1")]);
    assert_eq!(inner.default_network.as_deref(), Some("inner"));
    assert!(host.inventory.network("inner").unwrap().internal);
}

#[test]
fn policy_routing_keeps_its_tables() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let host = load("07b-two-uplinks-rule-from").system.host;
    let texts: Vec<_> = host.routing.rules4.iter().map(|rule| rule.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "0: from all lookup local",
            "1000: from 172.18.0.0/16 lookup 100",
            "32766: from all lookup main",
            "32767: from all lookup default",
        ]
    );
    assert!(host.routing.tables4.contains_key(&100));
    let without = load_without("07b-two-uplinks-rule-from", |name| name.starts_with("ip-rule"));
    let host = without.system.host;
    let said = |address: &str| -> Vec<&str> {
        let about = host.assumptions_about(&[], &[self::address(address)]);
        about.into_iter().map(|assumption| assumption.text.as_str()).collect()
    };
    let further = "the IPv4 policy rules are taken to be those the kernel starts with, so that no \
                   rule leads into the further tables (ip-rule.json settles it)";
    assert_eq!(said("172.18.0.2"), [further]);
    // Rules could refuse packets too.
    let plain = "the IPv6 policy rules are taken to be those the kernel starts with \
                 (ip6-rule.json settles it)";
    assert_eq!(said("fe80::1"), [plain]);
    // Where no routes are known either, that is what is said.
    let rules_alone = load_without("01-default-bridge", |name| name != "iptables-save");
    let codes = rules_alone.system.host.assumptions.iter().map(|assumption| assumption.code);
    assert!(!codes.collect::<Vec<_>>().contains(&"default-policy-rules"));
}

#[test]
fn ipv6_has_routes_listeners_and_addresses() {
    let names = all();
    if skipped(&names) {
        return;
    }
    let host = load("11a-ipv6-ip6tables").system.host;
    let main: Vec<_> =
        host.routing.tables6[&MAIN].routes().iter().map(|r| r.text.as_str()).collect();
    assert_eq!(main.last(), Some(&"default via 2001:db8:1::1 dev eth0 metric 1024"));
    let (web, _) = host.inventory.owner(address("fd00:d0c::242:ac11:2")).unwrap();
    assert_eq!(web.name, "web");
    assert_eq!(host.owner(address("2001:db8:1::10")).unwrap().name, "eth0");
}

/// The kernel made the listed table `local` from the addresses; so do we.
#[test]
fn the_local_table_is_what_the_kernel_makes_of_the_addresses() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in names {
        let listed = load(&name).system.host;
        let made = load_without(&name, |file| file.starts_with("ip-route")).system.host;
        for family in [Family::Ipv4, Family::Ipv6] {
            let routes = |host: &nattrace_model::host::Host, table: u32| {
                let table = host.routing.tables(family).get(&table);
                let mut routes: Vec<String> = table
                    .into_iter()
                    .flat_map(|table| table.routes())
                    .filter(|route| route.next_hops.iter().all(|hop| hop.gateway.is_none()))
                    .filter(|route| route.destination.length() > 0)
                    .map(|route| {
                        let interface = route.next_hops.first().map(|hop| hop.interface.as_str());
                        format!(
                            "{:?} {} {} {:?}",
                            route.kind,
                            route.destination,
                            interface.unwrap_or(""),
                            route.metric
                        )
                    })
                    .collect();
                routes.sort();
                routes.dedup();
                routes
            };
            for table in [LOCAL, MAIN] {
                assert_eq!(
                    routes(&made, table),
                    routes(&listed, table),
                    "{name} {family:?} {table}"
                );
            }
        }
    }
}

#[test]
fn a_listing_for_people_says_what_json_says() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in names {
        let json = load(&name).system.host;
        let text = load_without(&name, |file| ["ip-addr.json", "ip-route.json"].contains(&file))
            .system
            .host;
        assert_eq!(json.interfaces, text.interfaces, "{name}");
        for (table, routes) in &json.routing.tables4 {
            assert_eq!(routes.routes(), text.routing.tables4[table].routes(), "{name}");
        }
    }
}

#[test]
fn containers_and_networks_show_each_other() {
    let names = all();
    if skipped(&names) {
        return;
    }
    for name in names {
        let host = load(&name).system.host;
        let whole = &host.inventory;
        let networks =
            load_without(&name, |file| file == "docker-inspect.json").system.host.inventory;
        for container in &whole.containers {
            let other = networks.containers.iter().find(|c| c.id == container.id);
            let addresses = |c: &nattrace_model::host::inventory::Container| {
                c.endpoints
                    .iter()
                    .map(|e| (e.network.clone(), e.addresses.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(other.map(addresses), Some(addresses(container)), "{name}");
        }
        let containers =
            load_without(&name, |file| file == "docker-network-inspect.json").system.host.inventory;
        for network in &containers.networks {
            let real = whole.network(&network.name).unwrap();
            // A bridge without an address (`inhibit_ipv4`) does not show whose it is.
            let bare = host
                .interface(&real.bridge)
                .is_some_and(|i| i.addresses.iter().all(|a| a.local.is_ipv6()));
            assert!(network.bridge == real.bridge || bare, "{name} {}", network.name);
            assert!(network.subnets.iter().all(|subnet| real.subnets.contains(subnet)), "{name}");
        }
    }
}

#[test]
fn an_unknown_file_is_named_and_companions_are_not() {
    use nattrace_model::build::{Text, load};
    let texts = ["iptabels-save", "observed.md", "README", "nattrace.toml"];
    let texts = texts.map(|name| Text { name, text: "" });
    let loaded = load(&texts, &[]);
    let told: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|d| (d.part.as_str(), d.diagnostic.help.as_deref()))
        .collect();
    assert_eq!(told, [("iptabels-save", Some("did you mean `iptables-save`?"))]);
}
