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
    let texts: Vec<Text<'_>> =
        parts.iter().chain(more).map(|&(name, text)| Text { name, text }).collect();
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
