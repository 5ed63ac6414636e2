//! What is not modelled, or not there, is said.

use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.1.1/24 brd 10.0.1.255 scope global lan
3: wan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 203.0.113.2/24 brd 203.0.113.255 scope global wan
";
const ROUTES: &str = "\
default via 203.0.113.1 dev wan
10.0.1.0/24 dev lan proto kernel scope link src 10.0.1.1
203.0.113.0/24 dev wan proto kernel scope link src 203.0.113.2
";
const POLICY_RULES: &str = "\
0:\tfrom all lookup local
32766:\tfrom all lookup main
32767:\tfrom all lookup default
";
const SYSCTL: &str = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n";
const RULES: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
";

fn host(more: &[(&str, &str)]) -> System {
    let parts = [
        ("ip-addr", ADDRESSES),
        ("ip-route", ROUTES),
        ("ip-rule", POLICY_RULES),
        ("sysctl", SYSCTL),
    ];
    let given = |name: &str| more.iter().any(|(other, _)| *other == name);
    let own = parts.iter().filter(|(name, _)| !given(name));
    let texts: Vec<Text<'_>> = own.chain(more).map(|&(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

fn ask(system: &System, source: &str, destination: &str) -> Answer {
    let request = FlowRequest {
        source: source.into(),
        destination: destination.into(),
        ..FlowRequest::default()
    };
    why(system, &resolve(system, &request).unwrap().flow)
}

fn ask_udp(system: &System, (source, by): (&str, &str), destination: &str) -> Answer {
    let request = FlowRequest {
        source: source.into(),
        destination: destination.into(),
        protocol: Some("udp".into()),
        in_interface: Some(by.into()),
        ..FlowRequest::default()
    };
    why(system, &resolve(system, &request).unwrap().flow)
}

#[test]
fn a_table_at_a_device_makes_the_answer_undetermined() {
    let nft = |device: &str, policy: &str| {
        format!(
            r#"{{"nftables": [{{"chain": {{"family": "netdev", "table": "fw", "name": "f", "handle": 1, "type": "filter", "hook": "ingress", "dev": "{device}", "prio": 0, "policy": "{policy}"}}}}]}}"#
        )
    };
    let answer = |text: &str| {
        let system = host(&[("iptables-save", RULES), ("nft-ruleset.json", text)]);
        ask(&system, "10.0.1.2", "8.8.8.8")
    };
    let concerned = answer(&nft("lan", "drop"));
    assert_eq!(concerned.verdict, Verdict::Undetermined);
    assert_eq!(concerned.branches.len(), 2);
    let quiet = &concerned.branches[0];
    assert_eq!(
        quiet.when,
        [("the nft table `netdev fw` leaves the packet alone".to_owned(), true)]
    );
    assert_eq!(quiet.answer.verdict, Verdict::Forwarded);
    // A chain that does nothing is no reason to doubt.
    assert_eq!(answer(&nft("lan", "accept")).verdict, Verdict::Forwarded);
}

const ADDRESSES6: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet6 ::1/128 scope host
2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.1.1/24 brd 10.0.1.255 scope global lan
    inet6 2001:db8:1::1/64 scope global
3: wan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet6 2001:db8:2::1/64 scope global
";
const ROUTES6: &str = "\
2001:db8:1::/64 dev lan proto kernel metric 256
2001:db8:2::/64 dev wan proto kernel metric 256
";

/// A router of IPv6, with these settings, rules and policy rules.
fn host6(sysctl: &str, rules: &str, policy_rules: &str) -> System {
    host(&[
        ("ip-addr", ADDRESSES6),
        ("ip6-route", ROUTES6),
        ("ip6-rule", policy_rules),
        ("sysctl", &format!("net.ipv6.conf.all.forwarding = 1\n{sysctl}")),
        ("ip6tables-save", rules),
    ])
}

const POLICY_RULES6: &str = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n";

#[test]
fn multicast_routes_decide_where_a_daemon_routes_groups() {
    const DAEMON4: &str =
        "net.ipv4.conf.all.mc_forwarding = 1\nnet.ipv4.conf.lan.mc_forwarding = 1\n";
    const DAEMON6: &str = "net.ipv6.conf.all.mc_forwarding = 1\n";
    let ipv4 = |sysctl: &str, group: &str| {
        let sysctl = format!("{SYSCTL}{sysctl}");
        let system = host(&[("iptables-save", RULES), ("sysctl", &sysctl)]);
        ask_udp(&system, ("10.0.1.2", "lan"), &format!("{group}:5000"))
    };
    let ipv6 = |sysctl: &str, group: &str| {
        let system = host6(sysctl, "*filter\nCOMMIT\n", POLICY_RULES6);
        ask_udp(&system, ("2001:db8:1::2", "lan"), &format!("[{group}]:5000"))
    };
    let is_open = |answer: &Answer| {
        answer.verdict == Verdict::Undetermined
            && answer.branches.is_empty()
            && format!("{:?}", answer.steps).contains("no part lists the multicast routes")
    };
    // Whoever asks where no daemon routes groups is told of the group, and of nothing else.
    let asks_who_joined = |answer: &Answer| {
        answer.branches.iter().any(|branch| branch.answer.verdict == Verdict::Delivered)
    };
    assert!(is_open(&ipv4(DAEMON4, "239.1.1.1")));
    assert!(is_open(&ipv6(DAEMON6, "ff05::1234")));
    assert!(is_open(&ipv6(DAEMON6, "ff1e::1234")));
    // Those that stay on their link are not routed, and the kernel asks both settings of IPv4.
    for answer in [
        ipv4(DAEMON4, "224.0.0.251"),
        ipv4("", "239.1.1.1"),
        ipv4(
            "net.ipv4.conf.all.mc_forwarding = 1\nnet.ipv4.conf.lan.mc_forwarding = 0\n",
            "239.1.1.1",
        ),
        ipv4(
            "net.ipv4.conf.all.mc_forwarding = 0\nnet.ipv4.conf.lan.mc_forwarding = 1\n",
            "239.1.1.1",
        ),
        ipv6(DAEMON6, "ff02::1234"),
        ipv6(DAEMON6, "ff12::1234"),
        ipv6("", "ff05::1234"),
        ipv6("net.ipv6.conf.lan.mc_forwarding = 1\n", "ff05::1234"),
    ] {
        assert!(!is_open(&answer) && asks_who_joined(&answer), "{:?}", answer.steps);
    }
}

#[test]
fn a_policy_rule_that_is_not_modelled_leaves_the_type_of_an_address_open() {
    let verdict = |types: &str, policy_rules: &str| {
        let rules = format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -m addrtype {types} -j DROP\nCOMMIT\n"
        );
        let system = host6("", &rules, policy_rules);
        ask_udp(&system, ("2001:db8:1::2", "lan"), "[2001:db8:2::2]:5000").verdict
    };
    // What comes in by `lan` never gets to the rule, but the look-up of addrtype is by `lo`.
    let open = "0:\tfrom all lookup local\n\
                10:\tfrom all iif lan lookup main\n\
                20:\tfrom all lookup [l3mdev-table]\n\
                32766:\tfrom all lookup main\n";
    for (types, known, unknown) in [
        ("--dst-type UNREACHABLE", Verdict::Forwarded, Verdict::Undetermined),
        ("! --dst-type UNREACHABLE", Verdict::Dropped, Verdict::Undetermined),
        ("--dst-type LOCAL", Verdict::Forwarded, Verdict::Undetermined),
        ("--dst-type ANYCAST", Verdict::Forwarded, Verdict::Undetermined),
        ("--src-type LOCAL,UNREACHABLE", Verdict::Forwarded, Verdict::Undetermined),
        // The form of an address is known without any route.
        ("--dst-type UNICAST", Verdict::Dropped, Verdict::Dropped),
        ("--dst-type MULTICAST,LOCAL", Verdict::Forwarded, Verdict::Forwarded),
    ] {
        assert_eq!(verdict(types, POLICY_RULES6), known, "{types}");
        assert_eq!(verdict(types, open), unknown, "{types}");
    }
}

#[test]
fn without_rules_nothing_is_said_for_sure() {
    let known = ask(&host(&[("iptables-save", RULES)]), "10.0.1.2", "8.8.8.8");
    assert_eq!(known.outcome, Outcome::Connects);
    assert!(known.assumptions.is_empty(), "{:?}", known.assumptions);
    let missing = ask(&host(&[]), "10.0.1.2", "8.8.8.8");
    assert_eq!(missing.verdict, Verdict::Undetermined);
    // An empty dump says that there are no rules: the source is not translated.
    let none = ask(&host(&[("iptables-save", "")]), "10.0.1.2", "8.8.8.8");
    assert_eq!((none.verdict, none.outcome), (Verdict::Forwarded, Outcome::Timeout));
}
