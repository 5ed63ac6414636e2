use super::*;
use crate::Severity;

fn one(text: &str) -> Route {
    let (routes, complaints) = parse(text, None);
    assert_eq!(complaints, [], "{text}");
    assert_eq!(routes.len(), 1, "{text}");
    routes.into_iter().next().unwrap()
}

fn said(text: &str) -> Vec<(&'static str, Severity, &str)> {
    let (_, complaints) = parse(text, None);
    complaints.iter().map(|said| (said.code, said.severity, said.span.slice(text))).collect()
}

#[test]
fn the_family_comes_from_what_shows_it() {
    use Family::{Ipv4, Ipv6};
    for (text, part, family) in [
        ("default dev tun0", None, Ipv4),
        ("default dev tun0", Some(Ipv6), Ipv6),
        ("default dev tun0 metric 1024 pref medium", None, Ipv6),
        ("default dev tun0 metric 1024 pref medium", Some(Ipv4), Ipv6),
        ("default via fe80::1 dev eth0", None, Ipv6),
        ("default via inet6 fe80::1 dev eth0", Some(Ipv6), Ipv4),
        ("default via 10.0.0.1 dev eth0", Some(Ipv6), Ipv4),
        ("default dev eth0 src 10.0.0.1", Some(Ipv6), Ipv4),
        ("unreachable default dev lo metric 4294967295 error -101 pref medium", None, Ipv6),
        (r#"[{"dst":"default","via":{"family":"inet6","host":"fe80::1"},"dev":"a"}]"#, None, Ipv4),
        (
            r#"[{"dst":"default","nexthops":[{"gateway":"fe80::1","dev":"a","weight":1}]}]"#,
            None,
            Ipv6,
        ),
        (r#"[{"dst":"default","dev":"a","flags":[]}]"#, Some(Ipv6), Ipv6),
    ] {
        let (routes, complaints) = parse(text, part);
        assert_eq!(complaints, []);
        assert_eq!(routes[0].family, family, "{text}");
        assert_eq!(Family::of(routes[0].destination.addr()), family);
        assert_eq!(routes[0].destination.prefix_len(), 0);
    }
}

#[test]
fn every_kind_reads_back() {
    for kind in [
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
    ] {
        let text = format!("{kind} 10.0.0.0/8 table 7 proto static scope host metric 9");
        let route = one(&text);
        assert_eq!((route.kind.as_str(), route.table.clone()), (kind, Table::Id(7)));
        assert_eq!(format!("{route:#}"), text);
        assert_eq!(route.to_string(), text.replace(" table 7", ""));
        assert_eq!(route.next_hops, []);
    }
}

#[test]
fn several_next_hops_keep_their_order_and_weights() {
    let lines = "default proto static\n\tnexthop via 10.0.0.9 dev d0 weight 2\n\tnexthop dev d1 weight 1 onlink linkdown dead\n";
    let json = r#"[{"dst":"default","protocol":"static","nexthops":[{"gateway":"10.0.0.9","dev":"d0","weight":2,"flags":[]},{"dev":"d1","weight":1,"flags":["onlink","linkdown","dead"]}]}]"#;
    for text in
        [lines.to_owned(), lines.replace("\n\tn", " n"), lines.replace('\t', ""), json.to_owned()]
    {
        let route = one(&text);
        let [first, second] = route.next_hops.as_slice() else { panic!("{route:?}") };
        assert_eq!((first.weight, first.gateway), (2, Some([10, 0, 0, 9].into())));
        assert!(second.on_link && second.link_down && second.dead && second.gateway.is_none());
        let written = "default proto static nexthop via 10.0.0.9 dev d0 weight 2 nexthop dev d1 weight 1 dead onlink linkdown";
        assert_eq!(route.to_string(), written);
    }
}

#[test]
fn a_table_has_one_name() {
    let table = |text: &str| one(&format!("10.0.0.0/8 dev a table {text}")).table;
    assert_eq!((table("254"), table("main")), (Table::Main, Table::Main));
    assert_eq!((table("255"), table("253")), (Table::Local, Table::Default));
    assert_eq!((table("100"), table("vpn")), (Table::Id(100), Table::Name("vpn".to_owned())));
    assert_eq!(one("10.0.0.0/8 dev a").table, Table::Main);
}

#[test]
fn what_is_not_understood_is_kept_and_underlined() {
    let text = "10.0.0.0/8 encap mpls 100 via inet 10.0.0.9 dev a\n10.1.0.0/16 via 10.0.0.300 dev a\n10.2.0.0/16 dev a\n";
    let (routes, complaints) = parse(text, None);
    let kept: Vec<_> = routes
        .iter()
        .map(|route| (route.destination.to_string(), route.unsupported.len()))
        .collect();
    assert_eq!(
        kept,
        [
            ("10.0.0.0/8".to_owned(), 1),
            ("10.1.0.0/16".to_owned(), 1),
            ("10.2.0.0/16".to_owned(), 0)
        ]
    );
    let places: Vec<_> = complaints.iter().map(|said| said.span.slice(text)).collect();
    assert_eq!(places, ["encap mpls 100 via inet 10.0.0.9 dev a", "10.0.0.300"]);
    let json = r#"[{"dst":"10.0.0.0/8","encap":"mpls","dev":"a"},{"dst":"10.1.0.0/16","gateway":"x"},{"gateway":"10.0.0.1"},{"dst":"10.2.0.0/16","dev":"a"}]"#;
    let (routes, complaints) = parse(json, None);
    assert_eq!(routes.iter().map(|route| route.unsupported.len()).collect::<Vec<_>>(), [1, 1, 0]);
    let places: Vec<_> = complaints.iter().map(|said| said.span.slice(json)).collect();
    assert_eq!(places, ["\"mpls\"", "\"x\"", "{\"gateway\":\"10.0.0.1\"}"]);
}

#[test]
fn a_mistyped_route_is_not_taken_for_prose() {
    let text = "My routes:\n10.0.0.0/8 dev a\ndefualt via 10.0.0.1 dev a\n\tnexthop via 10.0.0.2 dev a weight 1\n";
    let expected = [
        ("unknown-line", Severity::Warning, "defualt via 10.0.0.1 dev a"),
        ("unknown-line", Severity::Warning, "nexthop via 10.0.0.2 dev a weight 1"),
        ("text-around", Severity::Note, "My routes:"),
    ];
    assert_eq!(said(text), expected);
    assert_eq!(said("hello\n"), [("no-listing", Severity::Error, "hello")]);
    assert_eq!(said(""), []);
}
