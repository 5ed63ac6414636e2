use super::*;
use crate::Severity;

fn quiet(text: &str) -> Vec<Interface> {
    let (interfaces, complaints) = parse(text);
    assert_eq!(complaints, [], "{text}");
    interfaces
}

fn said(text: &str) -> Vec<(&'static str, Severity, &str)> {
    let (_, complaints) = parse(text);
    complaints.iter().map(|said| (said.code, said.severity, said.span.slice(text))).collect()
}

#[test]
fn every_word_of_an_address_is_understood() {
    let text = "\
3: d0@if9: <POINTOPOINT,UP> mtu 1400 xdpgeneric/id:5 qdisc noqueue master br0 state UNKNOWN group 7 qlen 9
    link/ether e2:ce:f4:b7:cd:2f brd ff:ff:ff:ff:ff:ff permaddr 00:11:22:33:44:55 link-netnsid 0
    prog/xdp id 5
    altname enp1s0
    inet 10.0.0.1 peer 10.0.0.2/30 metric 50 brd 10.0.0.3 scope link secondary deprecated dynamic noprefixroute d0:1
       valid_lft 9sec preferred_lft 0sec
    inet 127.0.0.1/8 scope host d0 proto kernel_lo
    inet6 2001:db8::1/64 any 2001:db8:: scope site temporary tentative dadfailed optimistic mngtmpaddr proto kernel_ra
    inet6 fe80::1/64 scope 17 stable-privacy home flags 800
";
    let interfaces = quiet(text);
    let [interface] = interfaces.as_slice() else { panic!("{interfaces:?}") };
    assert_eq!(interface.link, Some(Link::Elsewhere(9)));
    assert_eq!((interface.mtu, interface.master.as_deref()), (Some(1400), Some("br0")));
    assert_eq!(
        (interface.group.as_deref(), interface.state.as_deref()),
        (Some("7"), Some("UNKNOWN"))
    );
    assert_eq!((interface.is_up(), interface.has_carrier()), (Some(true), Some(false)));
    assert_eq!(interface.alternative_names, ["enp1s0"]);
    let [peer, lo, temporary, link] = interface.addresses.as_slice() else {
        panic!("{interface:?}")
    };
    assert_eq!((peer.local, peer.peer), ([10, 0, 0, 1].into(), Some([10, 0, 0, 2].into())));
    assert_eq!(
        (peer.prefix_len, peer.scope, peer.broadcast),
        (30, Some(Scope::Link), Some([10, 0, 0, 3].into()))
    );
    assert_eq!(peer.label.as_deref(), Some("d0:1"));
    let flags = AddressFlags {
        secondary: true,
        deprecated: true,
        dynamic: true,
        no_prefix_route: true,
        ..Default::default()
    };
    assert_eq!(peer.flags, flags);
    assert_eq!(lo.label.as_deref(), Some("d0"));
    let flags = AddressFlags {
        temporary: true,
        tentative: true,
        dad_failed: true,
        optimistic: true,
        ..Default::default()
    };
    assert_eq!((temporary.flags, temporary.scope), (flags, Some(Scope::Site)));
    assert_eq!(temporary.anycast, Some("2001:db8::".parse().unwrap()));
    assert_eq!(link.scope, Some(Scope::Other(17)));
    assert!(peer.span.slice(text).starts_with("inet 10.0.0.1 peer"));
}

#[test]
fn details_of_vlans_vrfs_and_bridges_are_read_in_both_forms() {
    let text = "\
2: eth0.100@eth0: <UP> mtu 1500 state UP group default
    link/ether e2:ce:f4:b7:cd:2f brd ff:ff:ff:ff:ff:ff promiscuity 0  minmtu 0 maxmtu 65535
    vlan protocol 802.1Q id 100 <REORDER_HDR> numtxqueues 1 numrxqueues 1
3: vrf7: <UP> mtu 1500 state UP group default
    link/ether e2:ce:f4:b7:cd:30 brd ff:ff:ff:ff:ff:ff
    vrf table 77 numtxqueues 1
4: br0: <UP> mtu 1500 state UP group default
    link/ether e2:ce:f4:b7:cd:31 brd ff:ff:ff:ff:ff:ff
    bridge forward_delay 1500 vlan_filtering 1 nf_call_iptables 1 nf_call_ip6tables 0 numtxqueues 1
5: new0: <UP> mtu 1500 state UP group default
    link/ether e2:ce:f4:b7:cd:32 brd ff:ff:ff:ff:ff:ff
    newkind something 7 numtxqueues 1
";
    let json = r#"[
{"ifindex":2,"link":"eth0","ifname":"eth0.100","flags":["UP"],"mtu":1500,"operstate":"UP","group":"default","link_type":"ether","address":"e2:ce:f4:b7:cd:2f","linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":100,"flags":["REORDER_HDR"]}},"addr_info":[]},
{"ifindex":3,"ifname":"vrf7","flags":["UP"],"mtu":1500,"operstate":"UP","group":"default","link_type":"ether","address":"e2:ce:f4:b7:cd:30","linkinfo":{"info_kind":"vrf","info_data":{"table":77}},"addr_info":[{}]},
{"ifindex":4,"ifname":"br0","flags":["UP"],"mtu":1500,"operstate":"UP","group":"default","link_type":"ether","address":"e2:ce:f4:b7:cd:31","linkinfo":{"info_kind":"bridge","info_data":{"vlan_filtering":1,"nf_call_iptables":1,"nf_call_ip6tables":0}},"addr_info":[]},{},
{"ifindex":5,"ifname":"new0","flags":["UP"],"mtu":1500,"operstate":"UP","group":"default","link_type":"ether","address":"e2:ce:f4:b7:cd:32","linkinfo":{"info_kind":"newkind"},"addr_info":[]}]"#;
    let strip = |text| {
        let mut interfaces = quiet(text);
        interfaces.iter_mut().for_each(|interface| interface.span = Span::default());
        interfaces
    };
    let interfaces = strip(text);
    assert_eq!(interfaces, strip(json));
    assert_eq!(
        (interfaces[0].vlan, &interfaces[0].link),
        (Some(100), &Some(Link::Here("eth0".to_owned())))
    );
    assert_eq!(interfaces[1].vrf_table, Some(77));
    let bridge =
        BridgeSettings { vlan_filtering: true, nf_call_iptables: true, nf_call_ip6tables: false };
    assert_eq!(interfaces[2].bridge, Some(bridge));
    assert_eq!(interfaces[3].kind.as_deref(), Some("newkind"));
}

#[test]
fn a_listing_is_found_in_prose_and_without_its_white_space() {
    let text = "Hi all,\r\nmy host has this:\r\n\r\n```\r\n$ ip a\r\n1: lo: <LOOPBACK,UP> mtu 65536 state UNKNOWN\r\ninet 127.0.0.1/8 scope host lo\r\nvalid_lft forever preferred_lft forever\r\n```\r\nWhat is wrong?\r\n";
    let (interfaces, complaints) = parse(text);
    assert_eq!(interfaces[0].addresses.len(), 1);
    assert_eq!(
        complaints.iter().map(|said| (said.code, said.severity)).collect::<Vec<_>>(),
        [("text-around", Severity::Note)]
    );
}

#[test]
fn an_address_below_a_line_that_is_not_understood_is_nobodys() {
    let text = "1: lo: <UP> mtu 1\n2: eth0 <UP\n    inet 10.0.0.1/8 scope global eth0\n3: eth1: <UP>\n    inet 10.0.0.2/8 scope global eth1\n";
    let (interfaces, _) = parse(text);
    let addresses: Vec<_> = interfaces
        .iter()
        .map(|interface| (interface.name.as_str(), interface.addresses.len()))
        .collect();
    assert_eq!(addresses, [("lo", 0), ("eth1", 1)]);
    let expected = [
        ("unknown-line", Severity::Warning, "2: eth0 <UP"),
        ("unknown-line", Severity::Warning, "inet 10.0.0.1/8 scope global eth0"),
    ];
    assert_eq!(said(text), expected);
}

#[test]
fn what_is_wrong_is_underlined() {
    let warning = |place| vec![("unexpected-value", Severity::Warning, place)];
    assert_eq!(
        said("1: lo: <UP> mtu 1\n    inet 10.0.0.300/8 scope host lo\n"),
        warning("10.0.0.300/8")
    );
    assert_eq!(
        said("1: lo: <UP> mtu 1\n    inet 10.0.0.1/8 scope host glitter lo\n"),
        warning("glitter")
    );
    assert_eq!(said("1: lo: <UP> mtu big\n"), warning("big"));
    assert_eq!(
        said(r#"[{"ifname":"a","mtu":"big","addr_info":[{"local":"10.0.0.1","prefixlen":33}]}]"#)
            .len(),
        2
    );
    assert_eq!(
        said(r#"[{"ifname":"a","addr_info":[{"local":"10.0.0.1","prefixlen":33}]}]"#),
        warning("33")
    );
    assert_eq!(
        said(r#"[{"ifname":"a"},{"mtu":7}]"#),
        [("missing-field", Severity::Warning, "{\"mtu\":7}")]
    );
    assert_eq!(said("hello\n"), [("no-listing", Severity::Error, "hello")]);
    assert_eq!(said(""), [("empty-part", Severity::Warning, "")]);
    assert_eq!(said("[]"), [("empty-part", Severity::Warning, "[]")]);
    let twice = "1: a: <UP> mtu 1\n2: a: <UP> mtu 1\n";
    assert_eq!(said(twice), [("duplicate-interface", Severity::Warning, "2: a: <UP> mtu 1")]);
}

#[test]
fn a_name_like_a_number_is_a_name_where_there_is_one() {
    let link = |text| quiet(text)[0].link.clone();
    assert_eq!(link("1: a@if2: <UP> mtu 1\n"), Some(Link::Elsewhere(2)));
    assert_eq!(
        link("1: a@if2: <UP> mtu 1\n7: if2: <UP> mtu 1\n"),
        Some(Link::Here("if2".to_owned()))
    );
    let netns = "1: a@if2: <UP> mtu 1\n    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff link-netns x\n7: if2: <UP> mtu 1\n";
    assert_eq!(link(netns), Some(Link::Elsewhere(2)));
    assert_eq!(link("1: tunl0@NONE: <NOARP> mtu 1\n"), None);
}
