use super::*;
use crate::host::Read;

/// `ipset save` of ipset 7.17, with what its kernel had no module for taken from its manual.
const SAVED: &str = include_str!("../../../tests/data/listings/ipset-save");

fn read(text: &str) -> Vec<IpSet> {
    let (sets, complaints): Read<_> = parse(text);
    let shown: Vec<_> =
        complaints.iter().map(|found| (&found.message, found.span.slice(text))).collect();
    assert!(complaints.is_empty(), "{shown:?}");
    sets
}

fn set<'a>(sets: &'a [IpSet], name: &str) -> &'a IpSet {
    sets.iter().find(|set| set.name == name).unwrap()
}

fn net(text: &str) -> Element {
    Element::Net(text.parse().unwrap())
}

fn port(protocol: u8, low: u16, high: u16) -> Element {
    Element::Port { protocol: Some(protocol), low, high }
}

fn interface(name: &str) -> Element {
    Element::Interface { name: name.to_owned(), wildcard: false, physical: false }
}

#[test]
fn every_entry_of_every_type_is_read() {
    let sets = read(SAVED);
    let added = SAVED.lines().filter(|line| line.starts_with("add ")).count();
    assert_eq!(sets.iter().map(|set| set.entries.len()).sum::<usize>(), added);
    assert_eq!(sets.len(), SAVED.lines().filter(|line| line.starts_with("create ")).count());
    for set in &sets {
        let dimensions = set.dimensions.as_ref().unwrap().len();
        for entry in &set.entries {
            let full = entry.elements.len() == dimensions;
            assert!(full || set.kind == "bitmap:ip,mac", "{entry:?}");
            assert!(entry.span.slice(SAVED).starts_with("add "));
        }
    }
}

#[test]
fn each_type_has_its_elements() {
    let sets = read(SAVED);
    let elements = |name: &str, at: usize| set(&sets, name).entries[at].elements.clone();
    assert_eq!(elements("hash_ip", 0), [net("10.0.0.8/32")]);
    assert_eq!(elements("hash_net", 1), [net("1.2.3.4/30")]);
    assert_eq!(elements("hash_ip_port", 0), [net("10.0.0.1/32"), port(1, 0x0800, 0x0800)]);
    assert_eq!(elements("hash_ip_port", 1), [net("10.0.0.1/32"), port(1, 0x0303, 0x0303)]);
    assert_eq!(elements("hash_ip_port", 4), [net("10.0.0.1/32"), port(47, 0, 0)]);
    assert_eq!(
        elements("hash_ip_port_net", 0),
        [net("10.0.0.1/32"), port(6, 80, 80), net("10.0.0.0/24")]
    );
    assert_eq!(elements("hash_net_net", 0), [net("10.0.0.0/8"), net("192.168.0.0/16")]);
    assert_eq!(elements("hash_net_iface", 1), [net("10.0.0.0/8"), interface("eth+")]);
    let wildcard = Element::Interface { name: "eth".to_owned(), wildcard: true, physical: false };
    assert_eq!(elements("hash_net_iface", 2), [net("10.0.0.0/8"), wildcard]);
    assert_eq!(elements("hash_net_iface", 3), [net("0.0.0.0/0"), interface("eth9")]);
    let physical = Element::Interface { name: "eth1".to_owned(), wildcard: false, physical: true };
    assert_eq!(elements("hash_net_iface", 4)[1], physical);
    assert_eq!(elements("hash_mac", 0), [Element::Mac([2, 0, 0, 0, 0, 1])]);
    assert_eq!(elements("hash_ip_mark", 0), [net("10.0.0.1/32"), Element::Mark(0x63)]);
    assert_eq!(elements("b_port", 0), [Element::Port { protocol: None, low: 80, high: 80 }]);
    assert_eq!(elements("b_mac", 1), [net("192.168.0.6/32")]);
    assert_eq!(elements("l", 0), [Element::Set("hash_net".to_owned())]);
    assert_eq!(elements("h6p", 0), [net("2001:db8::1/128"), port(58, 0x8000, 0x8000)]);
    assert_eq!(elements("h6p", 2), [net("2001:db8::2/128"), port(58, 0x0301, 0x0301)]);
}

#[test]
fn the_options_of_sets_and_entries_are_kept() {
    let sets = read(SAVED);
    let six = set(&sets, "h6");
    assert_eq!((six.family, six.timeout), (Some(Family::Ipv6), Some(300)));
    let entry = &six.entries[0];
    assert_eq!(entry.comment.as_deref(), Some("a b, c"));
    assert_eq!((entry.timeout, entry.mark, entry.no_match), (Some(59), Some((1, 0xff)), false));
    assert!(six.entries[1].no_match);
    assert_eq!(set(&sets, "ipmask").mask, Some([255, 255, 255, 0].into()));
    assert_eq!(set(&sets, "mk").mark_mask, Some(0xff));
    assert_eq!(
        (set(&sets, "b_port").family, set(&sets, "b_ip").family),
        (None, Some(Family::Ipv4))
    );
}

#[test]
fn ranges_and_services_of_a_restore_file_are_read() {
    let text = "-exist create a hash:ip,port family inet\r\nadd a 10.0.0.1-10.0.0.3,tcp:http-90\r\nCOMMIT\r\n";
    let sets = read(text);
    let low_high = (std::net::IpAddr::from([10, 0, 0, 1]), std::net::IpAddr::from([10, 0, 0, 3]));
    assert_eq!(
        sets[0].entries[0].elements,
        [Element::AddressRange(low_high.0, low_high.1), port(6, 80, 90)]
    );
}

#[test]
fn what_is_not_understood_is_reported_and_the_rest_is_read() {
    let text = "create a hash:ip family inet frobnicate 3\nadd a 10.0.0.1\nadd a 2001:db8::1\nadd b 1.1.1.1\n\
                add a 10.0.0.2 glitter\ncreate c hash:future,thing\nadd c what\nflush a\nadd a 1.2.3.4,80\n";
    let (sets, complaints) = parse(text);
    let found: Vec<_> = complaints.iter().map(|found| found.span.slice(text)).collect();
    let expected =
        ["frobnicate", "2001:db8::1", "b", "glitter", "hash:future,thing", "flush a", "1.2.3.4,80"];
    assert_eq!(found, expected);
    assert_eq!(sets[0].entries.len(), 1);
    let unsupported = [
        "create a hash:ip family inet frobnicate 3",
        "add a 2001:db8::1",
        "add a 10.0.0.2 glitter",
        "add a 1.2.3.4,80",
    ];
    assert_eq!(sets[0].unsupported, unsupported);
    assert_eq!(sets[1].dimensions, None);
}
