use nattrace_model::System;
use nattrace_model::answer::Outcome;
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::parse_expression;
use nattrace_parser::syntax::Family;

use super::*;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP>
    inet 127.0.0.1/8 scope host lo
2: eth0: <UP>
    inet 192.0.2.2/24 scope global eth0
3: eth1: <UP>
    inet 10.1.0.1/24 scope global eth1
4: eth2: <UP>
    inet 10.2.0.1/24 scope global eth2
";

const ROUTES: &str = "\
default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0
10.1.0.0/24 dev eth1
10.2.0.0/24 dev eth2
10.9.0.0/16 via 10.2.0.9 dev eth2
";

fn host(rules: &str) -> System {
    let parts = [
        Text { name: "iptables-save", text: rules },
        Text { name: "ip-addr", text: ADDRESSES },
        Text { name: "ip-route", text: ROUTES },
        Text { name: "sysctl", text: "net.ipv4.ip_forward = 1\n" },
        // Hosts inside send everything here.
        Text {
            name: "zones.toml",
            text: "[zones.inside]\nvia = [\"eth1\", \"eth2\"]\nroutes = [\"0.0.0.0/0\"]\n",
        },
        Text { name: "listeners", text: "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n" },
    ];
    let loaded = load(&parts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

const ROUTER: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.1.0.5:443
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
-A FORWARD -i eth1 -o eth0 -j ACCEPT
-A FORWARD -s 10.1.0.0/28 -i eth1 -o eth2 -p tcp -m tcp --dport 5432 -j ACCEPT
-A FORWARD -i eth2 -o eth1 -p udp -m udp --dport 53 -m limit --limit 1/sec -j ACCEPT
COMMIT
";

fn v4() -> Scope {
    Scope { family: Some(Family::Ipv4), ..Scope::default() }
}

fn lines(matrix: &Matrix) -> Vec<String> {
    let line = |cell: &Cell| {
        let services: Vec<String> = cell.services.iter().map(ToString::to_string).collect();
        let services = match cell.breadth {
            Breadth::Some => services.join(" "),
            Breadth::Everything => "everything".to_owned(),
            Breadth::Rest => "rest".to_owned(),
        };
        let (from, to) = (&matrix.from[cell.from].name, &matrix.to[cell.to].name);
        format!("{from} {to} {services} {}", cell.reach.as_str())
    };
    matrix.cells.iter().map(line).collect()
}

#[test]
fn zones_are_what_is_behind_the_interfaces() {
    let found = matrix(&host(ROUTER), &v4()).unwrap();
    let names: Vec<&str> = found.from.iter().map(|zone| zone.name.as_str()).collect();
    // Behind eth2 is more than its link.
    assert_eq!(names, ["internet", "lan:eth0", "lan:eth1", "iface:eth2", "host", "inside"]);
}

#[test]
fn a_router_in_a_matrix() {
    let found = matrix(&host(ROUTER), &v4()).unwrap();
    let all = lines(&found);
    for line in [
        "lan:eth1 internet everything always",
        "iface:eth2 internet everything never",
        "internet host 22/tcp icmp other always",
        "internet host 8443/tcp always",
        "internet host rest never",
        "lan:eth1 iface:eth2 5432/tcp sometimes",
        "lan:eth1 iface:eth2 rest never",
        "iface:eth2 lan:eth1 53/udp undetermined",
        "iface:eth2 lan:eth1 rest never",
    ] {
        assert!(all.iter().any(|own| own == line), "{line}\n{}", all.join("\n"));
    }
}

#[test]
fn a_part_says_where_it_lands_with_which_source_and_who_it_is() {
    let found = matrix(&host(ROUTER), &v4()).unwrap();
    let cell = |from: &str, to: &str, service: Service| {
        let cells = found.cells.iter().filter(|cell| cell.services.contains(&service));
        let named = |cell: &&Cell| {
            (found.from[cell.from].name.as_str(), found.to[cell.to].name.as_str()) == (from, to)
        };
        cells.clone().find(named).unwrap_or_else(|| panic!("{from} {to} {service}")).clone()
    };
    let published = cell("internet", "host", Service::Ports(6, 8443, 8443));
    let landing = &published.parts[0].landings[0];
    assert_eq!(landing.address, Target::Address("10.1.0.5".parse().unwrap()));
    assert_eq!((landing.port, landing.interface.as_deref()), (Some(443), Some("eth1")));
    assert_eq!(published.parts[0].sources, [Source::Unchanged]);

    let out = cell("lan:eth1", "internet", Service::Icmp);
    assert_eq!(out.parts[0].sources, [Source::Address("192.0.2.2".parse().unwrap())]);

    let some = cell("lan:eth1", "iface:eth2", Service::Ports(6, 5432, 5432));
    assert_eq!(some.parts[0].outcome, Outcome::Connects);
    let sources = some.parts[0].which.as_ref().unwrap().sources.clone().unwrap();
    // Of 10.1.0.0/28 without the network's own address and that of the host.
    let named: Vec<String> = sources.named.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["10.1.0.2/31", "10.1.0.4/30", "10.1.0.8/29"]);
}

#[test]
fn what_was_asked_for_is_all_there_is() {
    let zone = |text: &str| parse_expression(text).unwrap();
    let scope = Scope {
        from: vec![zone("lan:eth1")],
        to: vec![zone("10.2.0.0/24"), zone("internet")],
        services: vec![Service::Ports(6, 5000, 6000), Service::Icmp],
        family: Some(Family::Ipv4),
        most: None,
        kept: Kept::Witness,
    };
    let found = matrix(&host(ROUTER), &scope).unwrap();
    assert_eq!(
        lines(&found),
        [
            "lan:eth1 10.2.0.0/24 rest never",
            "lan:eth1 10.2.0.0/24 5432/tcp sometimes",
            // The host itself has an address there.
            "lan:eth1 10.2.0.0/24 icmp sometimes",
            "lan:eth1 internet everything always",
        ]
    );
    assert!(found.cells.iter().flat_map(|cell| &cell.services).all(|service| match service {
        Service::Ports(6, first, last) => (5000..=6000).contains(first) && *last <= 6000,
        other => *other == Service::Icmp,
    }));
}

#[test]
fn services_are_written_as_in_endpoints() {
    let shown = |service: Service| service.to_string();
    assert_eq!(shown(Service::Ports(6, 443, 443)), "443/tcp");
    assert_eq!(shown(Service::Ports(17, 1, 65535)), "udp");
    assert_eq!(shown(Service::Ports(132, 8000, 8010)), "8000-8010/sctp");
    assert_eq!(shown(Service::Icmp), "icmp");
}

/// Behind a template that `-j CT` left, NOTRACK does nothing.
#[test]
fn what_ct_leaves_is_tracked_whatever_comes_behind() {
    let rules = "\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CT --ctevents new,destroy
-A PREROUTING -j CT --notrack
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP
-A FORWARD -j ACCEPT
COMMIT
";
    let all = |rules: &str| lines(&matrix(&host(rules), &v4()).unwrap());
    let line = "lan:eth1 iface:eth2 everything always".to_owned();
    assert!(all(rules).contains(&line), "{:?}", all(rules));
    let untracked = rules.replace("-A PREROUTING -j CT --ctevents new,destroy\n", "");
    assert!(!all(&untracked).contains(&line), "{:?}", all(&untracked));
}

/// The kernel picks by a hash of both addresses: not every pair is asked about.
#[test]
fn a_range_of_addresses_is_no_class_for_each_pair() {
    let rules = "\
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.10-192.0.2.12
COMMIT
";
    let found = matrix(&host(rules), &v4()).unwrap();
    assert!(found.asked < 50_000, "{}", found.asked);
    let all = lines(&found);
    assert!(all.iter().any(|line| line == "lan:eth1 iface:eth2 everything always"), "{all:?}");
    let out = all.iter().filter(|line| line.starts_with("lan:eth1 internet "));
    assert!(
        out.clone().count() > 0 && out.clone().all(|line| !line.ends_with("always")),
        "{all:?}"
    );
}
