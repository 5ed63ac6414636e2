//! Containers of `--internal` networks: what they send elsewhere, and what they answer.
//!
//! Measured with dockerd 20.10 in a namespace: it gives such a container a default route by the
//! internal network where it is in no other one (both families), else by the other one; without a
//! default route the container's socket calls fail with ENETUNREACH.

use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 203.0.113.10/24 brd 203.0.113.255 scope global eth0
    inet6 2001:db8:1::10/64 scope global
3: br-inner: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 172.28.4.1/24 brd 172.28.4.255 scope global br-inner
    inet6 fd00:4::1/64 scope global
4: br-front: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 172.28.1.1/24 brd 172.28.1.255 scope global br-front
";
const ROUTES: &str = "\
default via 203.0.113.1 dev eth0
203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.10
172.28.4.0/24 dev br-inner proto kernel scope link src 172.28.4.1
172.28.1.0/24 dev br-front proto kernel scope link src 172.28.1.1
";
const ROUTES6: &str = "\
2001:db8:1::/64 dev eth0 metric 256
fd00:4::/64 dev br-inner metric 256
default via 2001:db8:1::1 dev eth0
";
const RULES: &str = "*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";

/// Whose word on the containers is there.
#[derive(Clone, Copy, PartialEq)]
enum Inventory {
    /// Of dockerd before 25.0.
    WithGateways,
    /// Of dockerd since.
    WithoutGateways,
    /// Of the networks alone.
    NetworksAlone,
}

fn ask(inventory: Inventory, internal: bool, source: &str, destination: &str, by: &str) -> Answer {
    let networks = format!(
        r#"[{{"Name":"inner","Id":"n4","Driver":"bridge","Internal":{internal},
            "IPAM":{{"Config":[{{"Subnet":"172.28.4.0/24","Gateway":"172.28.4.1"}},{{"Subnet":"fd00:4::/64","Gateway":"fd00:4::1"}}]}},
            "Containers":{{"c1":{{"Name":"i1","IPv4Address":"172.28.4.2/24","IPv6Address":"fd00:4::2/64"}},
                           "c2":{{"Name":"both","IPv4Address":"172.28.4.3/24","IPv6Address":""}}}},
            "Options":{{"com.docker.network.bridge.name":"br-inner"}}}},
           {{"Name":"front","Id":"n1","Driver":"bridge",
            "IPAM":{{"Config":[{{"Subnet":"172.28.1.0/24","Gateway":"172.28.1.1"}}]}},
            "Containers":{{"c2":{{"Name":"both","IPv4Address":"172.28.1.3/24","IPv6Address":""}}}},
            "Options":{{"com.docker.network.bridge.name":"br-front"}}}}]"#
    );
    let gateways = match inventory {
        Inventory::WithGateways => ["172.28.4.1", "fd00:4::1"],
        Inventory::WithoutGateways | Inventory::NetworksAlone => ["", ""],
    };
    let inner = |address: &str, address6: &str| {
        let [gateway, gateway6] = gateways;
        let gateway6 = if address6.is_empty() { "" } else { gateway6 };
        format!(
            r#""inner":{{"NetworkID":"n4","Gateway":"{gateway}","IPAddress":"{address}","IPPrefixLen":24,
               "IPv6Gateway":"{gateway6}","GlobalIPv6Address":"{address6}","GlobalIPv6PrefixLen":64}}"#
        )
    };
    let front = r#""front":{"NetworkID":"n1","Gateway":"172.28.1.1","IPAddress":"172.28.1.3","IPPrefixLen":24}"#;
    let containers = format!(
        r#"[{{"Id":"c1","Name":"/i1","State":{{"Running":true}},"NetworkSettings":{{"Networks":{{{}}}}}}},
            {{"Id":"c2","Name":"/both","State":{{"Running":true}},"NetworkSettings":{{"Networks":{{{},{front}}}}}}}]"#,
        inner("172.28.4.2", "fd00:4::2"),
        inner("172.28.4.3", ""),
    );
    let mut parts = vec![
        ("ip-addr", ADDRESSES),
        ("ip-route", ROUTES),
        ("ip6-route", ROUTES6),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"),
        ("iptables-save", RULES),
        ("ip6tables-save", RULES),
        ("docker-network-inspect.json", &networks),
    ];
    if inventory != Inventory::NetworksAlone {
        parts.push(("docker-inspect.json", &containers));
    }
    let texts: Vec<Text<'_>> = parts.iter().map(|&(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let request = FlowRequest {
        source: source.into(),
        destination: destination.into(),
        in_interface: Some(by.to_owned()).filter(|by| !by.is_empty()),
        ..FlowRequest::default()
    };
    why(&loaded.system, &resolve(&loaded.system, &request).unwrap().flow)
}

fn fate(answer: &Answer) -> (Verdict, Outcome) {
    (answer.verdict, answer.outcome)
}

const KEPT: (Verdict, Outcome) = (Verdict::Unroutable, Outcome::Unreachable);
const OUT: (Verdict, Outcome) = (Verdict::Forwarded, Outcome::Connects);
const HERE: (Verdict, Outcome) = (Verdict::Delivered, Outcome::Connects);

#[test]
fn without_a_gateway_nothing_leaves_but_to_neighbours() {
    use Inventory::{NetworksAlone, WithGateways, WithoutGateways};
    for (inventory, elsewhere, here) in
        [(WithGateways, OUT, HERE), (WithoutGateways, KEPT, KEPT), (NetworksAlone, KEPT, KEPT)]
    {
        let of = |source: &str, to: &str| ask(inventory, true, source, to, "");
        for (source, internet) in
            [("172.28.4.2", "1.1.1.1:443"), ("fd00:4::2", "[2606:4700:4700::1111]:443")]
        {
            let answer = of(source, internet);
            assert_eq!(fate(&answer), elsewhere, "{internet}");
            let assumed = answer.assumptions.iter().any(|a| a.code == "internal-gateway-assumed");
            assert_eq!(assumed, inventory == NetworksAlone);
        }
        // Another address of the host is elsewhere; that of its own bridge is not.
        assert_eq!(fate(&of("172.28.4.2", "203.0.113.10:22")), here);
        assert_eq!(fate(&of("172.28.4.2", "172.28.4.1:22")), HERE);
        assert_eq!(fate(&of("fd00:4::2", "[fd00:4::1]:22")), HERE);
        assert_eq!(of("172.28.4.2", "172.28.4.3:80").outcome, Outcome::Connects);
        // Groups are on the link.
        assert_ne!(fate(&of("172.28.4.2", "224.0.0.251:5353/udp")), KEPT);
        assert_ne!(fate(&of("fd00:4::2", "[ff02::fb]:5353/udp")), KEPT);
    }
}

#[test]
fn whoever_has_another_way_out_takes_it() {
    for inventory in [Inventory::WithGateways, Inventory::WithoutGateways] {
        assert_eq!(fate(&ask(inventory, true, "both", "1.1.1.1:443", "")), OUT);
        let named = ask(inventory, true, "both", "1.1.1.1:443", "");
        assert_eq!(named.flow.source.to_string(), "172.28.1.3");
    }
}

#[test]
fn a_network_that_is_not_internal_leads_out() {
    for inventory in [Inventory::WithoutGateways, Inventory::NetworksAlone] {
        assert_eq!(fate(&ask(inventory, false, "172.28.4.2", "1.1.1.1:443", "")), OUT);
    }
}

/// Whoever else is there is taken to have what the listed ones have.
#[test]
fn an_unlisted_sender_has_no_default_route_where_nobody_has() {
    let of = |inventory, to: &str| ask(inventory, true, "172.28.4.77", to, "");
    let kept = of(Inventory::WithoutGateways, "1.1.1.1:443");
    assert_eq!(fate(&kept), KEPT);
    assert!(kept.assumptions.iter().any(|own| own.code == "internal-gateway-assumed"));
    assert_eq!(fate(&of(Inventory::WithGateways, "1.1.1.1:443")), OUT);
    assert_eq!(fate(&of(Inventory::WithoutGateways, "172.28.4.1:22")), HERE);
    let forged = ask(Inventory::WithoutGateways, true, "192.0.2.7", "1.1.1.1:443", "br-inner");
    assert_eq!(forged.verdict, Verdict::Forwarded);
}

/// What comes in by another interface with the container's address is not from the container.
#[test]
fn only_what_the_container_sends_stays_in_it() {
    let spoofed = ask(Inventory::WithoutGateways, true, "172.28.4.2", "203.0.113.10:22", "eth0");
    assert_eq!(spoofed.verdict, Verdict::Delivered);
}

/// The address of one network does not make the packet leave by it.
#[test]
fn what_leaves_by_another_network_is_said_to() {
    let noted = |source: &str, to: &str| {
        let answer = ask(Inventory::WithGateways, true, source, to, "");
        let mut notes = answer.assumptions.into_iter();
        notes.find(|note| note.code == "sent-by-another-network").map(|note| note.text)
    };
    let text = noted("172.28.4.3", "1.1.1.1:443").unwrap();
    assert!(text.contains("`both`") && text.contains("`--in br-front`"), "{text}");
    assert!(noted("172.28.4.3", "172.28.1.1:53").is_some());
    assert_eq!(noted("172.28.1.3", "1.1.1.1:443"), None);
    assert_eq!(noted("172.28.4.3", "172.28.4.2:80"), None);
    assert_eq!(noted("172.28.4.2", "1.1.1.1:443"), None);
    assert!(noted("172.28.1.3", "172.28.4.2:80").is_some());
}

/// A container delivers what it sends to itself, and no rule of the host sees it.
#[test]
fn what_a_container_sends_to_itself_is_said_not_to_leave_it() {
    let noted = |source: &str, to: &str| {
        let answer = ask(Inventory::WithGateways, true, source, to, "");
        answer.assumptions.iter().any(|assumption| assumption.code == "sent-to-itself")
    };
    assert!(noted("172.28.4.2", "172.28.4.2:80"));
    assert!(noted("fd00:4::2", "[fd00:4::2]:80"));
    assert!(noted("172.28.1.3", "172.28.4.3:80"), "its other address");
    assert!(noted("172.28.4.77", "172.28.4.77:80"), "whoever it is");
    assert!(!noted("172.28.4.2", "172.28.4.3:80"));
    assert!(!noted("172.28.4.2", "172.28.4.1:80"));
}

/// The answer needs a way too.
#[test]
fn without_a_default_route_no_answer_comes_to_strangers() {
    let to_inner = |inventory| ask(inventory, true, "172.28.1.9", "172.28.4.2:80", "br-front");
    let answered = to_inner(Inventory::WithGateways);
    assert_eq!(fate(&answered), OUT);
    let silent = to_inner(Inventory::WithoutGateways);
    assert_eq!(fate(&silent), (Verdict::Forwarded, Outcome::Timeout));
    assert!(silent.because.unwrap().contains("no default route"));
}
