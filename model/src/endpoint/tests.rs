use super::*;
use crate::build::{Text, load};
use crate::flow::FlowState;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
    inet6 ::1/128 scope host
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 203.0.113.10/24 brd 203.0.113.255 scope global eth0
    inet6 2001:db8:1::10/64 scope global
    inet6 fe80::1/64 scope link
3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff
    inet 192.168.1.1/24 brd 192.168.1.255 scope global eth1
4: br-front: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 172.18.0.1/16 brd 172.18.255.255 scope global br-front
    inet6 fd00:18::1/64 scope global
5: br-back: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 02:42:00:00:00:02 brd ff:ff:ff:ff:ff:ff
    inet 172.19.0.1/16 brd 172.19.255.255 scope global br-back
7: veth1@if6: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br-front state UP group default
    link/ether 02:42:00:00:00:03 brd ff:ff:ff:ff:ff:ff
";

const ROUTES: &str = "\
default via 203.0.113.1 dev eth0
172.18.0.0/16 dev br-front proto kernel scope link src 172.18.0.1
172.19.0.0/16 dev br-back proto kernel scope link src 172.19.0.1
192.168.1.0/24 dev eth1 proto kernel scope link src 192.168.1.1
203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.10
blackhole 10.66.0.0/16
";

const ROUTES6: &str = "\
2001:db8:1::/64 dev eth0 proto kernel metric 256 pref medium
fd00:18::/64 dev br-front proto kernel metric 256 pref medium
fe80::/64 dev eth0 proto kernel metric 256 pref medium
default via 2001:db8:1::1 dev eth0 metric 1024 pref medium
";

fn network(name: &str, bridge: &str, subnet: &str, containers: &str) -> String {
    let id = format!("{name:0<64}");
    format!(
        r#"{{"Name":"{name}","Id":"{id}","Driver":"bridge","Internal":false,
        "IPAM":{{"Config":[{subnet}]}},
        "Options":{{"com.docker.network.bridge.name":"{bridge}"}},"Containers":{{{containers}}}}}"#
    )
}

fn member(id: &str, name: &str, ipv4: &str, ipv6: &str) -> String {
    format!(
        r#""{id:0<64}":{{"Name":"{name}","EndpointID":"e","MacAddress":"","IPv4Address":"{ipv4}","IPv6Address":"{ipv6}"}}"#
    )
}

fn host() -> System {
    let front = [
        member("a1", "web", "172.18.0.2/16", "fd00:18::2/64"),
        member("a2", "app", "172.18.0.3/16", ""),
        member("a4", "six", "", "fd00:18::9/64"),
    ]
    .join(",");
    let back = [member("a2", "app", "172.19.0.3/16", ""), member("a3", "db", "172.19.0.2/16", "")]
        .join(",");
    let networks = format!(
        "[{},{},{}]",
        network(
            "front",
            "br-front",
            r#"{"Subnet":"172.18.0.0/16"},{"Subnet":"fd00:18::/64"}"#,
            &front
        ),
        network("back", "br-back", r#"{"Subnet":"172.19.0.0/16"}"#, &back),
        network("empty", "br-empty", r#"{"Subnet":"172.20.0.0/24","Gateway":"172.20.0.1"}"#, ""),
    );
    let texts = [
        Text { name: "ip-addr", text: ADDRESSES },
        Text { name: "ip-route", text: ROUTES },
        Text { name: "ip6-route", text: ROUTES6 },
        Text { name: "docker-network-inspect.json", text: &networks },
    ];
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

fn request(source: &str, destination: &str) -> FlowRequest {
    FlowRequest {
        source: source.to_owned(),
        destination: destination.to_owned(),
        ..FlowRequest::default()
    }
}

/// A flow in short: `src[:sport] > dst[:dport] proto iface`.
fn short(flow: &Flow) -> String {
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" {port}"));
    format!(
        "{}{} > {}{} {} {}",
        flow.source,
        port(flow.source_port),
        flow.destination,
        port(flow.destination_port),
        flow.protocol,
        match (&flow.in_interface, flow.any_source) {
            (Some(name), _) => name.as_str(),
            (None, true) => "any",
            (None, false) => "local",
        },
    )
}

#[test]
fn words_become_flows() {
    let system = host();
    for (source, destination, expected) in [
        // Addresses; the interface behind which routing expects the source.
        ("172.18.0.3", "1.1.1.1", "172.18.0.3 > 1.1.1.1 1 br-front"),
        ("198.51.100.7", "203.0.113.10:443", "198.51.100.7 > 203.0.113.10 443 6 eth0"),
        ("198.51.100.7:5000", "203.0.113.10:53/udp", "198.51.100.7 5000 > 203.0.113.10 53 17 eth0"),
        ("192.168.1.7", "203.0.113.10/icmp", "192.168.1.7 > 203.0.113.10 1 eth1"),
        ("[2001:db8:9::1]:7", "[2001:db8:1::10]:80", "2001:db8:9::1 7 > 2001:db8:1::10 80 6 eth0"),
        ("2001:db8:9::1", "2001:db8:1::10", "2001:db8:9::1 > 2001:db8:1::10 58 eth0"),
        ("2001:db8:9::1", "fd00:18::2/icmp", "2001:db8:9::1 > fd00:18::2 58 eth0"),
        // An own address is a local process.
        ("203.0.113.10", "172.18.0.2:80", "203.0.113.10 > 172.18.0.2 80 6 local"),
        ("127.0.0.1", "127.0.0.1:80/sctp", "127.0.0.1 > 127.0.0.1 80 132 local"),
        // Names.
        ("web", "db:5432", "172.18.0.2 > 172.19.0.2 5432 6 br-front"),
        ("app", "web:80", "172.18.0.3 > 172.18.0.2 80 6 br-front"),
        ("app", "db:5432", "172.19.0.3 > 172.19.0.2 5432 6 br-back"),
        ("app", "172.18.0.2:80", "172.18.0.3 > 172.18.0.2 80 6 br-front"),
        ("172.19.0.2", "app:80", "172.19.0.2 > 172.19.0.3 80 6 br-back"),
        ("container:web", "net:back:80", "172.18.0.2 > 172.19.0.2 80 6 br-front"),
        ("front", "front:80", "172.18.0.2 > 172.18.0.3 80 6 br-front"),
        ("empty", "internet", "172.20.0.2 > 1.1.1.1 1 br-empty"),
        // The host is the side that the other end sees.
        ("web", "host:22", "172.18.0.2 > 172.18.0.1 22 6 br-front"),
        ("internet", "host:22", "1.1.1.1 > 203.0.113.10 22 6 eth0"),
        ("lan", "host:22", "192.168.1.2 > 192.168.1.1 22 6 eth1"),
        ("lan:eth0", "host:22", "203.0.113.2 > 203.0.113.10 22 6 eth0"),
        ("host", "internet", "203.0.113.10 > 1.1.1.1 1 any"),
        ("host", "web:80", "172.18.0.1 > 172.18.0.2 80 6 any"),
        ("host", "host:80", "127.0.0.1 > 127.0.0.1 80 6 any"),
        ("host", "203.0.113.10:80", "203.0.113.10 > 203.0.113.10 80 6 any"),
        // One family for both ends: IPv4, unless only IPv6 fits.
        ("six", "web:80", "fd00:18::9 > fd00:18::2 80 6 br-front"),
        ("six", "internet:80", "fd00:18::9 > 2606:4700:4700::1111 80 6 br-front"),
        ("six", "host:80", "fd00:18::9 > fd00:18::1 80 6 br-front"),
        ("host", "six:80", "fd00:18::1 > fd00:18::9 80 6 any"),
        ("internet", "2001:db8:1::10", "2606:4700:4700::1111 > 2001:db8:1::10 58 eth0"),
    ] {
        match resolve(&system, &request(source, destination)) {
            Ok(question) => {
                assert_eq!(short(&question.flow), expected, "{source} -> {destination}")
            }
            Err(error) => panic!("{source} -> {destination}: {error} ({:?})", error.help),
        }
    }
}

#[test]
fn options_fill_in_the_rest() {
    let system = host();
    let base = request("web", "1.1.1.1:443");
    let asked = FlowRequest {
        in_interface: Some("veth1".to_owned()),
        source_port: Some("1234".to_owned()),
        state: Some("Established".to_owned()),
        mark: Some("0x10".to_owned()),
        tcp_flags: Some("syn,ACK".to_owned()),
        ..base.clone()
    };
    let flow = resolve(&system, &asked).unwrap().flow;
    assert_eq!(short(&flow), "172.18.0.2 1234 > 1.1.1.1 443 6 br-front", "the port's bridge");
    assert_eq!((flow.state, flow.mark, flow.tcp_flags), (FlowState::Established, 16, Some(0x12)));
    let spoofed = FlowRequest { in_interface: Some("eth1".to_owned()), ..base.clone() };
    assert_eq!(resolve(&system, &spoofed).unwrap().flow.in_interface.as_deref(), Some("eth1"));
    let ping =
        FlowRequest { icmp_type: Some("port-unreachable".to_owned()), ..request("web", "1.1.1.1") };
    assert_eq!(resolve(&system, &ping).unwrap().flow.icmp, Some((3, 3)));
    let numbered = FlowRequest { icmp_type: Some("11/1".to_owned()), ..request("web", "1.1.1.1") };
    assert_eq!(resolve(&system, &numbered).unwrap().flow.icmp, Some((11, 1)));
    let gre = FlowRequest { protocol: Some("47".to_owned()), ..request("web", "1.1.1.1") };
    assert_eq!(resolve(&system, &gre).unwrap().flow.protocol, 47);
    let split = FlowRequest {
        destination_port: Some("53".to_owned()),
        protocol: Some("udp".to_owned()),
        ..request("web", "1.1.1.1")
    };
    assert_eq!(
        short(&resolve(&system, &split).unwrap().flow),
        "172.18.0.2 > 1.1.1.1 53 17 br-front"
    );
}

/// What is wrong, the place that is underlined, and the advice.
fn refused(request: &FlowRequest) -> (&'static str, String, Option<String>) {
    let error = resolve(&host(), request).unwrap_err();
    let text = match error.argument {
        Argument::Source => &request.source,
        Argument::Destination => &request.destination,
        Argument::InInterface => request.in_interface.as_ref().unwrap(),
        Argument::SourcePort => request.source_port.as_ref().unwrap(),
        Argument::DestinationPort => request.destination_port.as_ref().unwrap(),
        Argument::Protocol => request.protocol.as_ref().unwrap(),
        Argument::State => request.state.as_ref().unwrap(),
        Argument::Mark => request.mark.as_ref().unwrap(),
        Argument::TcpFlags => request.tcp_flags.as_ref().unwrap(),
        Argument::IcmpType => request.icmp_type.as_ref().unwrap(),
        Argument::Ttl => request.ttl.as_ref().unwrap(),
    };
    assert!(!error.to_string().ends_with('.'), "{error}");
    (error.problem.code(), error.span.slice(text).to_owned(), error.help)
}

#[test]
fn what_is_wrong_is_underlined() {
    for (source, destination, code, place) in [
        ("wbe", "1.1.1.1", "unknown-name", "wbe"),
        ("net:frnt", "1.1.1.1", "unknown-name", "net:frnt"),
        ("172.18.0.300", "1.1.1.1", "invalid-address", "172.18.0.300"),
        ("2001:db8::zz", "1.1.1.1", "invalid-address", "2001:db8::zz"),
        ("web", "1.1.1.0/24", "invalid-address", "1.1.1.0/24"),
        ("web", "1.1.1.1:70000", "invalid-port", "70000"),
        ("web", "1.1.1.1:0", "invalid-port", "0"),
        ("web", "1.1.1.1:80/tpc", "invalid-protocol", "tpc"),
        ("web", "1.1.1.1:80/icmp", "no-ports", "80"),
        ("web:80", "1.1.1.1/icmp", "no-ports", "80"),
        ("web", "1.1.1.1/tcp", "missing-port", "1.1.1.1/tcp"),
        ("web:5000", "1.1.1.1", "missing-port", "1.1.1.1"),
        ("web/udp", "1.1.1.1:80/tcp", "contradiction", "tcp"),
        ("app", "2001:db8::1", "mixed-families", "2001:db8::1"),
        ("10.66.0.1", "1.1.1.1", "unknown-ingress", "10.66.0.1"),
        ("web", "lan:eht1", "unknown-interface", "lan:eht1"),
        ("", "1.1.1.1", "missing-endpoint", ""),
    ] {
        let (found, underlined, _) = refused(&request(source, destination));
        assert_eq!((found, underlined.as_str()), (code, place), "{source} -> {destination}");
    }
    let base = request("web", "1.1.1.1:80");
    let set = |change: fn(&mut FlowRequest)| {
        let mut changed = base.clone();
        change(&mut changed);
        let (code, underlined, _) = refused(&changed);
        format!("{code} {underlined}")
    };
    assert_eq!(set(|r| r.in_interface = Some("ehh0".to_owned())), "unknown-interface ehh0");
    assert_eq!(set(|r| r.mark = Some("0xzz".to_owned())), "invalid-mark 0xzz");
    assert_eq!(set(|r| r.mark = Some("-1".to_owned())), "invalid-mark -1");
    assert_eq!(set(|r| r.state = Some("nwe".to_owned())), "invalid-state nwe");
    assert_eq!(set(|r| r.tcp_flags = Some("SYN,FOO".to_owned())), "invalid-tcp-flags SYN,FOO");
    assert_eq!(set(|r| r.icmp_type = Some("8".to_owned())), "not-of-protocol 8");
    assert_eq!(set(|r| r.ttl = Some("256".to_owned())), "invalid-number 256");
    assert_eq!(set(|r| r.destination_port = Some("81".to_owned())), "contradiction 81");
    assert_eq!(set(|r| r.protocol = Some("icmp".to_owned())), "no-ports 80");
    assert_eq!(set(|r| r.source_port = Some("x".to_owned())), "invalid-port x");
}

#[test]
fn the_nearest_name_is_suggested() {
    let help = |source: &str| refused(&request(source, "1.1.1.1")).2.unwrap();
    assert_eq!(help("wbe"), "did you mean `web`?");
    assert_eq!(help("fronts"), "did you mean `front`?");
    assert_eq!(help("intrenet"), "did you mean `internet`?");
    assert_eq!(help("nothing-like-it"), "known are app, db, six, web");
}

#[test]
fn without_routes_a_private_source_is_asked_for_or_assumed() {
    let rules = "-t nat -A POSTROUTING -o eth0 -j MASQUERADE\n-A FORWARD -i wg0 -j ACCEPT\n";
    let load = |text: &str| load(&[], &[Text { name: "rules", text }]).system;
    let question = resolve(&load(rules), &request("10.9.0.2", "1.1.1.1")).unwrap();
    assert_eq!(question.flow.in_interface.as_deref(), Some("wg0"));
    assert_eq!(
        question.assumptions.iter().map(|a| a.code).collect::<Vec<_>>(),
        ["ingress-assumed", "source-behind-interface"]
    );
    // Two interfaces that it may come in by: nobody can tell.
    let two = format!("{rules}-A FORWARD -i wg1 -j ACCEPT\n");
    let error = resolve(&load(&two), &request("10.9.0.2", "1.1.1.1")).unwrap_err();
    assert_eq!(error.problem.code(), "unknown-ingress");
    assert!(error.help.unwrap().contains("`--in wg1`"));
    // A public source comes by the way out.
    let question = resolve(&load(&two), &request("8.8.8.8", "host:22")).unwrap();
    assert_eq!(short(&question.flow), "8.8.8.8 > 192.0.2.1 22 6 eth0");
    // An interface that no rule names may be there all the same.
    let named =
        FlowRequest { in_interface: Some("lan7".to_owned()), ..request("10.9.0.2", "1.1.1.1") };
    let question = resolve(&load(rules), &named).unwrap();
    assert_eq!(question.assumptions[0].code, "interface-exists");
}

/// What comes in by the way out for nobody inside is for the host, or it would go straight back.
#[test]
fn without_addresses_a_destination_may_have_to_be_the_hosts_own() {
    let text = "-t nat -A POSTROUTING -o eth0 -j MASQUERADE\n";
    let system = load(&[], &[Text { name: "rules", text }]).system;
    let question = resolve(&system, &request("8.8.8.8", "203.0.113.9:22")).unwrap();
    assert_eq!(question.own, Some(("eth0".to_owned(), "203.0.113.9".parse().unwrap())));
    assert_eq!(question.assumptions[0].code, "destination-assumed-own");
    let about = question.system(&system);
    let answer = crate::simulate::why(&about, &question.flow);
    assert_eq!(answer.verdict, crate::answer::Verdict::Delivered);
    // The internet is nobody's own: is the source?
    let error = resolve(&system, &request("203.0.113.9", "internet")).unwrap_err();
    assert_eq!(error.problem.code(), "unknown-ingress");
    assert!(error.help.unwrap().starts_with("write `host`"));
    // A host whose addresses are known answers for itself.
    let question = resolve(&host(), &request("8.8.8.8", "203.0.113.9:22")).unwrap();
    assert_eq!(question.own, None);
}

/// A private source without a known subnet is not on the internet's side.
#[test]
fn a_private_source_on_its_way_out_is_asked_for() {
    let text = "-t nat -A POSTROUTING -o eth0 -j MASQUERADE\n";
    let system = load(&[], &[Text { name: "rules", text }]).system;
    let error = resolve(&system, &request("10.9.0.2", "8.8.8.8")).unwrap_err();
    assert_eq!(error.problem.code(), "unknown-ingress");
    // Who names the interface is not asked for it again.
    let named = FlowRequest { in_interface: Some("eth0".into()), ..request("10.9.0.2", "8.8.8.8") };
    let question = resolve(&system, &named).unwrap();
    assert_eq!((question.flow.in_interface.as_deref(), question.own), (Some("eth0"), None));
    // From the LAN to the host's own address of it.
    let question = resolve(&system, &request("192.168.12.113", "192.168.12.107:8080")).unwrap();
    assert!(question.own.is_some());
}
