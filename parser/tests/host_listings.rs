//! Listings of one network namespace with interfaces, addresses, routes and routing rules of many
//! kinds, in every form that iproute2 6.1 and net-tools print: all forms say the same, as far as they
//! say it.

use nattrace_parser::host::address::{self, Address, Interface};
use nattrace_parser::host::route::{self, Route, RouteKind};
use nattrace_parser::host::rule::{self, RoutingRule};
use nattrace_parser::host::{Read, bridge, is_complete};
use nattrace_parser::syntax::Family;
use nattrace_parser::{Diagnostic, Span};

macro_rules! listing {
    ($name:literal) => {
        include_str!(concat!("data/listings/", $name))
    };
}

/// What was read of a text that nothing is to be said about.
fn quiet<T>(text: &str, (parsed, complaints): Read<T>) -> T {
    let shown: Vec<_> =
        complaints.iter().map(|found| (&found.message, found.span.slice(text))).collect();
    assert!(complaints.is_empty(), "{shown:?}");
    parsed
}

fn interfaces(text: &str) -> Vec<Interface> {
    let mut interfaces = quiet(text, address::parse(text));
    for interface in &mut interfaces {
        interface.span = Span::default();
        for address in &mut interface.addresses {
            address.span = Span::default();
        }
    }
    interfaces
}

#[test]
fn all_full_forms_of_interfaces_say_the_same() {
    let json = interfaces(listing!("ip-addr.json"));
    assert_eq!(json.len(), 13);
    for text in [listing!("ip-addr"), listing!("ip-addr-s")] {
        assert_eq!(json, interfaces(text));
    }
    assert_eq!(json, interfaces(&listing!("ip-addr").replace('\n', "\r\n")));
    let detailed = interfaces(listing!("ip-addr-d.json"));
    assert_eq!(detailed, interfaces(listing!("ip-addr-d")));
    let kinds: Vec<_> = detailed
        .iter()
        .filter_map(|found| Some((found.name.as_str(), found.kind.as_deref()?)))
        .collect();
    let expected = [
        ("e0", "veth"),
        ("d0", "veth"),
        ("e1", "veth"),
        ("d1", "veth"),
        ("c0", "veth"),
        ("br9", "bridge"),
        ("v1", "veth"),
        ("v0", "veth"),
        ("mv0", "macvlan"),
        ("if9", "ifb"),
        ("vxl", "vxlan"),
        ("tun7", "tun"),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn the_short_forms_of_interfaces_say_a_part_of_it() {
    let json = interfaces(listing!("ip-addr.json"));
    let bare = |address: &Address| (address.local, address.peer, address.prefix_len);
    let brief = interfaces(listing!("ip-addr-br"));
    assert_eq!(brief.len(), json.len());
    for (brief, full) in brief.iter().zip(&json) {
        assert_eq!((&brief.name, &brief.link, &brief.state), (&full.name, &full.link, &full.state));
        let addresses = |of: &Interface| of.addresses.iter().map(bare).collect::<Vec<_>>();
        assert_eq!(addresses(brief), addresses(full));
        assert!(brief.is_up().is_none() || brief.is_up() == full.is_up());
        assert!(brief.has_carrier().is_none() || brief.has_carrier() == full.has_carrier());
    }
    for (brief, full) in interfaces(listing!("ip-link-br")).iter().zip(&json) {
        assert_eq!((&brief.flags, brief.mac), (&full.flags, full.mac));
    }
    let with_addresses: Vec<_> =
        json.iter().filter(|interface| !interface.addresses.is_empty()).collect();
    let one_line = interfaces(listing!("ip-addr-o"));
    assert_eq!(one_line.len(), with_addresses.len());
    for (one_line, full) in one_line.iter().zip(with_addresses) {
        assert_eq!(
            (&one_line.name, one_line.index, &one_line.addresses),
            (&full.name, full.index, &full.addresses)
        );
    }
    for (link, full) in interfaces(listing!("ip-link-o")).iter().zip(&json) {
        let without = Interface { addresses: Vec::new(), ..full.clone() };
        assert_eq!(*link, without);
    }
}

#[test]
fn two_listings_of_one_host_are_one() {
    let json = interfaces(listing!("ip-addr.json"));
    let both = format!("{}{}", listing!("ip-link-o"), listing!("ip-addr-o"));
    assert_eq!(json, interfaces(&both));
}

/// The routes, and the warnings about the one with an encapsulation.
fn routes(text: &str, family: Option<Family>) -> Vec<Route> {
    let (mut routes, complaints) = route::parse(text, family);
    let others: Vec<&Diagnostic> =
        complaints.iter().filter(|found| found.code != "unsupported-route").collect();
    assert!(others.is_empty(), "{others:?}");
    for route in &mut routes {
        route.span = Span::default();
        if !route.unsupported.is_empty() {
            // Only that much is known of it in every form.
            assert_eq!(route.destination.to_string(), "10.77.0.0/16");
            route.unsupported = vec!["encap".to_owned()];
            route.next_hops.clear();
            route.scope = Default::default();
            assert!(!is_complete(&complaints));
        }
    }
    routes
}

#[test]
fn all_forms_of_routes_say_the_same() {
    let json = routes(listing!("ip-route.json"), None);
    assert_eq!(json, routes(listing!("ip-route"), None));
    assert_eq!(json.iter().filter(|route| !route.unsupported.is_empty()).count(), 1);
    let detailed = routes(listing!("ip-route-d.json"), None);
    assert_eq!(detailed, json.get(..detailed.len()).unwrap());
    for text in [listing!("ip-route-d"), listing!("ip-route-N"), listing!("ip-route-o")] {
        assert_eq!(detailed, routes(text, None));
    }
}

#[test]
fn a_route_is_written_as_ip_prints_it_on_one_line() {
    let routes = routes(listing!("ip-route-o"), None);
    for (route, line) in routes.iter().zip(listing!("ip-route-o").lines()) {
        // What is not kept, because nothing depends on it.
        let line = line
            .replace(" realm 5", "")
            .replace(
                "mtu lock 1300 advmss 1200 initcwnd 10 rto_min lock 5ms quickack 1 congctl cubic",
                "mtu 1300",
            )
            .replace(" expires 897sec", "")
            .replace('\\', "");
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains("encap") {
            assert_eq!(format!("{route:#}"), line);
        }
    }
}

#[test]
fn old_programs_show_where_packets_go_and_say_what_they_hide() {
    let full = routes(listing!("ip-route.json"), None);
    for (text, family) in [
        (listing!("route-n"), Family::Ipv4),
        (listing!("netstat-rn"), Family::Ipv4),
        (listing!("route-6n"), Family::Ipv6),
    ] {
        let (routes, complaints) = route::parse(text, None);
        assert_eq!(
            complaints.iter().map(|found| found.code).collect::<Vec<_>>(),
            ["legacy-routes"]
        );
        assert!(routes.len() >= 15);
        for route in routes.iter().filter(|route| route.metric != u32::MAX) {
            assert_eq!(route.family, family);
            let same = |known: &&Route| {
                let device = |hop: &route::NextHop| {
                    hop.device == route.next_hops.first().and_then(|hop| hop.device.clone())
                };
                let refused = known.next_hops.is_empty() || known.kind == RouteKind::Blackhole;
                let place = known.next_hops.iter().any(device)
                    || (route.kind == RouteKind::Unreachable && refused);
                known.destination == route.destination && known.table == route.table && place
            };
            if route.destination.to_string() == "10.77.0.0/16" {
                // Its encapsulation is not shown here; see `routes`.
                continue;
            }
            // `route -n` shows only the first of several next hops, so each is one of a full list.
            assert!(full.iter().any(|known| same(&known)), "{route}");
        }
    }
}

#[test]
fn a_table_without_a_name_is_pointed_out() {
    let (routes, complaints) = route::parse(listing!("ip-route-table-local"), None);
    assert!(routes.len() > 5);
    assert_eq!(complaints.iter().map(|found| found.code).collect::<Vec<_>>(), ["unnamed-table"]);
}

/// The rules, and the warning about the one for a tunnel.
fn rules(text: &str) -> Vec<RoutingRule> {
    let (mut rules, complaints) = rule::parse(text);
    assert!(
        complaints.iter().all(|found| found.code == "unsupported-routing-rule"),
        "{complaints:?}"
    );
    let unsupported: Vec<_> = rules.iter().filter(|rule| !rule.unsupported.is_empty()).collect();
    assert!(unsupported.iter().all(|rule| rule.unsupported == ["tun_id 5"]), "{unsupported:?}");
    assert_eq!(unsupported.len(), complaints.len());
    for rule in &mut rules {
        rule.span = Span::default();
    }
    rules
}

#[test]
fn all_forms_of_routing_rules_say_the_same() {
    let json = rules(listing!("ip-rule.json"));
    assert_eq!(json.len(), 24);
    for text in [listing!("ip-rule"), listing!("ip-rule-d"), listing!("ip-rule-d.json")] {
        assert_eq!(json, rules(text));
    }
    let six = rules(listing!("ip6-rule.json"));
    assert_eq!(six, rules(listing!("ip6-rule")));
    let families: Vec<_> = six.iter().map(|rule| rule.family).collect();
    assert_eq!(families, [None, Some(Family::Ipv6), Some(Family::Ipv6), None]);
}

#[test]
fn both_forms_of_bridge_ports_say_the_same() {
    let placeless = |text: &str| {
        let mut ports = quiet(text, bridge::parse(text));
        ports.iter_mut().for_each(|port| port.span = Span::default());
        ports
    };
    assert_eq!(placeless(listing!("bridge-link")), placeless(listing!("bridge-link.json")));
}
