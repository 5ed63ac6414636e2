use std::net::{IpAddr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::{parse, parse_expression};
use nattrace_parser::syntax::Family;

use super::*;
use crate::policy::zone::{Breadth, Zones};

/// A case of the corpus, with the networks `front`, `back`, `inner` (no way out) and `quiet`.
fn system(case: &str) -> System {
    let folder = std::path::Path::new("../corpus/cases").join(case);
    let case = nattrace_corpus::case::Case::read(&folder).unwrap();
    load(&case.texts(), &[]).system
}

/// A host of a few parts.
fn small(parts: &[(&str, &str)]) -> System {
    let texts: Vec<Text<'_>> = parts.iter().map(|(name, text)| Text { name, text }).collect();
    load(&texts, &[]).system
}

fn shown(set: &AddressSet) -> String {
    let prefixes: Vec<String> = set.prefixes().iter().map(ToString::to_string).collect();
    if prefixes.len() > 3 { format!("{} prefixes", prefixes.len()) } else { prefixes.join(" ") }
}

fn senders(system: &System, zone: &str, breadth: Breadth) -> Vec<String> {
    let place = parse_expression(zone).unwrap().place;
    let sides = Zones::new(system, Family::Ipv4).senders(&place, breadth);
    sides.iter().map(|side| format!("{:?} {}", side.at, shown(&side.sources))).collect()
}

#[track_caller]
fn sends(system: &System, zone: &str, expected: &[&str]) {
    assert_eq!(senders(system, zone, Breadth::Meant), expected, "{zone}");
}

#[test]
fn a_zone_sends_from_where_it_is() {
    let system = system("04-networks");
    let zones = Zones::new(&system, Family::Ipv4);
    let internet = zones.senders(&parse_expression("internet").unwrap().place, Breadth::Meant);
    assert_eq!(internet.len(), 1);
    assert_eq!(internet[0].at, Where::Behind("eth0".into()));
    for (address, inside) in [
        ("1.1.1.1", true),
        ("198.51.100.7", true),
        ("203.0.114.1", true),
        // On-link at eth0, and so of the LAN.
        ("203.0.113.20", false),
        ("203.0.113.10", false),
        ("172.18.0.2", false),
        ("10.0.0.1", false),
        ("0.1.2.3", false),
        ("224.0.0.1", false),
    ] {
        assert_eq!(internet[0].sources.contains(address.parse().unwrap()), inside, "{address}");
    }
    sends(&system, "net:inner", &["Behind(\"br-inner\") 29 prefixes"]);
    sends(&system, "container:f1", &["Behind(\"br-front\") 172.18.0.2/32"]);
    sends(
        &system,
        "container:fb",
        &["Behind(\"br-back\") 172.19.0.3/32", "Behind(\"br-front\") 172.18.0.4/32"],
    );
    let picked = senders(&system, "host", Breadth::Meant);
    assert!(picked.contains(&"Unbound 203.0.113.10/32".to_owned()), "{picked:?}");
    assert!(picked.contains(&"Unbound 172.18.0.1/32".to_owned()), "{picked:?}");
    let possible = senders(&system, "host", Breadth::Possible);
    assert!(possible.contains(&"Bound 7 prefixes".to_owned()), "{possible:?}");
    sends(&system, "203.0.113.20", &["Behind(\"eth0\") 203.0.113.20/32"]);
    sends(&system, "172.18.0.0/30", &["Bound 172.18.0.1/32", "Behind(\"br-front\") 172.18.0.2/31"]);
    sends(&system, "127.0.0.1", &["Bound 127.0.0.1/32"]);
    sends(&system, "peer", &["Behind(\"eth0\") 203.0.113.20/32"]);
    let anybody = senders(&system, "iface:eth0", Breadth::Possible);
    assert_eq!(anybody.len(), 1);
}

/// A container with two attachments answers everybody by the one of its default route.
#[test]
fn a_container_sends_by_the_attachment_that_leads_there() {
    let system = system("04-networks");
    let zones = Zones::new(&system, Family::Ipv4);
    let sides = zones.senders(&parse_expression("container:fb").unwrap().place, Breadth::Meant);
    let reaches = |at: usize, to: &str| {
        sides[at].reaches.as_ref().is_none_or(|set| set.contains(to.parse().unwrap()))
    };
    // Its default network is `back`, the first by name.
    assert!(reaches(0, "1.1.1.1") && reaches(0, "172.19.0.2") && !reaches(0, "172.18.0.2"));
    assert!(!reaches(1, "1.1.1.1") && !reaches(1, "172.19.0.2") && reaches(1, "172.18.0.2"));
    let possible =
        zones.senders(&parse_expression("container:fb").unwrap().place, Breadth::Possible);
    assert!(possible.iter().all(|side| side.reaches.is_none()));
}

#[test]
fn packets_land_where_a_zone_is() {
    let system = system("04-networks");
    let zones = Zones::new(&system, Family::Ipv4);
    let lands = |zone: &str, out: Option<&str>, to: &str| {
        let spots = zones.landing(&parse_expression(zone).unwrap().place);
        spots.iter().any(|spot| spot.has(out, to.parse().unwrap()))
    };
    assert!(lands("net:front", Some("br-front"), "172.18.0.99"));
    assert!(!lands("net:front", Some("br-back"), "172.18.0.99"));
    assert!(!lands("net:front", Some("br-front"), "172.18.0.1"));
    assert!(lands("net:*", Some("br-back"), "172.19.0.2"));
    assert!(lands("container:f1", Some("br-front"), "172.18.0.2"));
    assert!(!lands("container:f1", Some("br-front"), "172.18.0.3"));
    assert!(lands("host", None, "203.0.113.10"));
    assert!(!lands("host", Some("eth0"), "203.0.113.10"));
    assert!(lands("203.0.113.10", None, "203.0.113.10"));
    assert!(lands("internet", Some("eth0"), "1.1.1.1"));
    assert!(!lands("internet", Some("br-front"), "1.1.1.1"));
    assert!(!lands("internet", Some("eth0"), "203.0.113.20"));
    assert!(lands("lan", Some("eth0"), "203.0.113.20"));
    assert!(lands("iface:eth0", Some("eth0"), "10.9.9.9"));
}

fn property(system: &System, text: &str) -> Vec<Property> {
    let (policy, complaints) = parse(&format!("version = 1\n{text}"));
    assert_eq!(complaints, []);
    assert_eq!(unknown_names(&policy, system), []);
    resolve(&policy, &policy.entries[0], system)
}

#[test]
fn a_port_without_a_protocol_is_one_of_tcp() {
    let system = system("04-networks");
    let ask = |to: &str| {
        let text = format!("[[allow]]\nfrom = \"internet\"\nto = \"{to}\"\n");
        property(&system, &text)[0].questions[0].service.clone()
    };
    assert!(ask("host:443").has(6, Some(443)));
    assert!(!ask("host:443").has(17, Some(443)));
    assert!(!ask("host:443").has(6, Some(80)));
    assert!(ask("host:53/udp").has(17, Some(53)));
    assert!(ask("host").has(47, None));
    assert!(ask("host/icmp").has(58, None));
}

/// An internet host never learns a container's own address, unless a zone says so.
#[test]
fn what_nobody_out_there_knows_is_not_asked_about() {
    let system = system("04-networks");
    let text = "[[deny]]\nfrom = [\"internet\", \"203.0.113.20\", \"lan\"]\nlands = \"net:*\"\n";
    let properties = property(&system, text);
    let hidden = |source: &str, to: &str| {
        let (source, to) = (source.parse().unwrap(), to.parse().unwrap());
        let mut without = properties[0].questions.iter().flat_map(|question| &question.without);
        without.any(|(sources, what)| sources.contains(source) && what.contains(to))
    };
    assert!(hidden("1.1.1.1", "172.18.0.2"));
    assert!(!hidden("1.1.1.1", "203.0.113.10"));
    assert!(hidden("1.1.1.1", "172.18.0.1"), "an own address, but a private one");
    assert!(!hidden("203.0.113.21", "172.18.0.1"));
    // A neighbour may have a route.
    assert!(!hidden("203.0.113.21", "172.18.0.2"));
    // So may those of whom a zone says it.
    let text = "[zones.office]\nvia = [\"eth0\"]\nnets = [\"198.51.100.0/24\"]\nroutes = [\"172.18.0.0/16\"]\n[[deny]]\nfrom = \"internet\"\nlands = \"net:*\"\n";
    let (policy, _) = parse(&format!("version = 1\n{text}"));
    let system = with_zones(&system, &policy);
    let properties = property(&system, text);
    let hidden = |source: &str, to: &str| {
        let (source, to) = (source.parse().unwrap(), to.parse().unwrap());
        let mut without = properties[0].questions.iter().flat_map(|question| &question.without);
        without.any(|(sources, what)| sources.contains(source) && what.contains(to))
    };
    assert!(!hidden("198.51.100.7", "172.18.0.2"));
    assert!(hidden("198.51.100.7", "172.19.0.2"));
    assert!(hidden("198.51.101.7", "172.18.0.2"));
}

#[test]
fn a_question_is_asked_in_the_families_that_it_can_be_about() {
    let four = system("04-networks");
    let six = system("11a-ipv6-ip6tables");
    let families = |system: &System, text: &str| -> Vec<Family> {
        property(system, text).iter().map(|property| property.family).collect()
    };
    let deny = "[[deny]]\nfrom = \"internet\"\nlands = \"net:*\"\n";
    assert_eq!(families(&four, deny), [Family::Ipv4]);
    assert_eq!(families(&six, deny), [Family::Ipv4, Family::Ipv6]);
    assert_eq!(families(&six, &format!("{deny}family = \"ipv6\"\n")), [Family::Ipv6]);
    let nothing = property(&four, &format!("{deny}family = \"ipv6\"\n"));
    assert!(!nothing[0].is_about_something());
    let egress = "[[egress]]\nfrom = \"net:net6\"\nto = \"internet\"\nsource = \"203.0.113.10\"\n";
    assert_eq!(families(&six, egress), [Family::Ipv4]);
}

#[test]
fn an_exception_is_the_packets_of_the_other_entry() {
    let system = system("04-networks");
    let text = "[[deny]]\nfrom = \"internet\"\nlands = \"net:*\"\nexcept = \"web\"\n[[allow]]\nname = \"web\"\nfrom = \"internet\"\nto = \"203.0.113.10:8080\"\n";
    let properties = property(&system, text);
    let [exception] = properties[0].questions[0].except.as_slice() else { panic!() };
    assert!(exception.sources.contains("1.1.1.1".parse().unwrap()));
    assert_eq!(shown(&exception.to), "203.0.113.10/32");
    assert!(exception.service.has(6, Some(8080)) && !exception.service.has(6, Some(8081)));
}

#[test]
fn what_is_not_known_is_an_error_with_the_nearest_name() {
    let system = system("04-networks");
    let cases = [
        ("from = \"net:frnt\"", "net:frnt", "unknown-name", "did you mean `net:front`?"),
        (
            "from = \"container:f11\"",
            "container:f11",
            "unknown-name",
            "did you mean `container:f1`?",
        ),
        ("from = \"iface:eth1\"", "iface:eth1", "unknown-interface", "did you mean `eth0`?"),
        ("from = \"lan:eth1\"", "lan:eth1", "unknown-interface", "did you mean `eth0`?"),
        ("from = \"front\"", "front", "unknown-zone", "did you mean `net:front`?"),
        ("from = \"f1\"", "f1", "unknown-zone", "did you mean `container:f1`?"),
        ("from = \"internt\"", "internt", "unknown-zone", "did you mean `internet`?"),
        ("from = \"pear\"", "pear", "unknown-zone", "did you mean `peer`?"),
        ("from = \"host\"\nexcept = \"wbe\"", "\"wbe\"", "unknown-name", "did you mean `web`?"),
        (
            "from = \"host\"\ngiven = { down = [\"eth1\"] }",
            "\"eth1\"",
            "unknown-interface",
            "did you mean `eth0`?",
        ),
        (
            "from = \"host\"\ngiven = { moved = { f3 = \"172.18.0.9\" } }",
            "f3",
            "unknown-name",
            "did you mean `container:f1`?",
        ),
        (
            "from = \"host\"\ngiven = { gone = \"10.0.0.0/8\" }",
            "\"10.0.0.0/8\"",
            "unknown-name",
            "the destination is written as `ip route` prints it",
        ),
    ];
    for (lines, place, code, help) in cases {
        let text = format!(
            "version = 1\n[[allow]]\nname = \"web\"\nfrom = \"internet\"\nto = \"host:80\"\n[[deny]]\nlands = \"net:*\"\n{lines}\n"
        );
        let (policy, complaints) = parse(&text);
        assert_eq!(complaints, [], "{text}");
        let found = unknown_names(&policy, &system);
        let [found] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!((found.code, found.help.as_deref()), (code, Some(help)), "{text}");
        assert_eq!(found.span.slice(&text), place, "{text}");
    }
}

/// Without a default route there is no internet; without any routes it is where they would be.
#[test]
fn zones_on_a_host_of_few_parts() {
    let addresses = "2: eth0: <UP> mtu 1500\n    inet 192.0.2.2/24 scope global eth0\n";
    let routes = "192.0.2.0/24 dev eth0 scope link src 192.0.2.2\n";
    let lonely = small(&[("ip-addr", addresses), ("ip-route", routes)]);
    assert!(senders(&lonely, "internet", Breadth::Meant).is_empty());
    assert_eq!(senders(&lonely, "lan", Breadth::Meant).len(), 1);
    let untold = small(&[("ip-addr", addresses)]);
    assert_eq!(senders(&untold, "internet", Breadth::Meant).len(), 1);
}

/// A host with IPv6 addresses of every kind, some by two interfaces.
fn host_of_many_sources(random: &mut fastrand::Rng) -> System {
    let kinds =
        ["2001:db8:1:", "2001:db8:2:", "fd00:1:", "fd00:2:", "fec0:1:", "2002:c000:", "3ffe:1:"];
    let mut interfaces = String::new();
    for (index, name) in ["eth0", "eth1"].iter().enumerate() {
        let mut own = format!(
            r#"{{"family":"inet6","local":"fe80::{index}:1","prefixlen":64,"scope":"link"}}"#
        );
        for _ in 0..random.usize(0..4) {
            let (kind, length) = (kinds[random.usize(0..kinds.len())], random.u8(8..=13) * 8);
            own += &format!(
                r#",{{"family":"inet6","local":"{kind}:{:x}:{:x}","prefixlen":{length},"scope":"global"}}"#,
                random.u16(1..),
                random.u16(1..)
            );
        }
        interfaces += &format!(
            r#",{{"ifindex":{},"ifname":"{name}","flags":["UP"],"addr_info":[{own}]}}"#,
            index + 2
        );
    }
    let addresses = format!(
        r#"[{{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[{{"family":"inet6","local":"::1","prefixlen":128,"scope":"host"}}]}}{interfaces}]"#
    );
    let routes = r#"[{"dst":"default","via":"fe80::99","dev":"eth0"},
        {"dst":"2001:db8:2::/48","dev":"eth1"},{"dst":"fe80::/64","dev":"eth0"},{"dst":"fe80::/64","dev":"eth1"}]"#;
    let texts = [
        Text { name: "ip6tables-save", text: "*filter\nCOMMIT\n" },
        Text { name: "ip-addr.json", text: &addresses },
        Text { name: "ip6-route.json", text: routes },
    ];
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

#[test]
fn a_process_has_the_source_that_the_kernel_picks_for_each_destination() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut several = 0;
    for _ in 0..40 {
        let system = host_of_many_sources(&mut random);
        let zones = Zones::new(&system, Family::Ipv6);
        let sides = zones.senders(&parse_expression("host").unwrap().place, Breadth::Meant);
        several += usize::from(sides.len() > 3);
        let own: Vec<u128> = zones
            .own()
            .each_range()
            .map(|(a, _)| match a {
                IpAddr::V6(a) => a.to_bits(),
                IpAddr::V4(_) => unreachable!(),
            })
            .collect();
        for _ in 0..400 {
            // Near to an own address, or to where something begins.
            let starts = [0xfec0, 0xfe80, 0xfc00, 0x2002, 0x2001, 0x3ffe, 0xff02, 0x2a00];
            let near = match random.bool() {
                true => own[random.usize(0..own.len())],
                false => starts[random.usize(0..starts.len())] << 112,
            };
            let to = Ipv6Addr::from_bits(near ^ random.u128(..) >> random.u32(0..128)).into();
            let side = sides.iter().find(|side| side.reaches.as_ref().unwrap().contains(to));
            let known = side.and_then(|side| side.sources.first());
            assert_eq!(known, nattrace_model::simulate::kernel_source(&system, to), "{to}");
        }
    }
    assert!(several > 20, "only {several} hosts pick among several sources");
}
