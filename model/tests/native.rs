//! Native nft tables: what the kernel does with them, as far as it was measured in the lab.

use nattrace_model::System;
use nattrace_model::answer::{Answer, Effect, Outcome, Step, Verdict};
use nattrace_model::build::{Loaded, Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
    inet6 ::1/128 scope host
2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.1.1/24 brd 10.0.1.255 scope global lan
    inet6 fd01::1/64 scope global
3: wan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 203.0.113.2/24 brd 203.0.113.255 scope global wan
    inet6 2001:db8:1::2/64 scope global
";
const ROUTES: &str = "\
default via 203.0.113.1 dev wan
10.0.1.0/24 dev lan proto kernel scope link src 10.0.1.1
203.0.113.0/24 dev wan proto kernel scope link src 203.0.113.2
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 10.0.1.1 dev lan table local proto kernel scope host src 10.0.1.1
broadcast 10.0.1.255 dev lan table local proto kernel scope link src 10.0.1.1
local 203.0.113.2 dev wan table local proto kernel scope host src 203.0.113.2
broadcast 203.0.113.255 dev wan table local proto kernel scope link src 203.0.113.2
";
const ROUTES6: &str = "\
default via 2001:db8:1::1 dev wan
fd01::/64 dev lan proto kernel metric 256
2001:db8:1::/64 dev wan proto kernel metric 256
";
const SYSCTL: &str = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n\
    net.ipv6.conf.all.forwarding = 1\n";
const MASQUERADE: &str = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
";

/// The JSON of a base chain.
fn base(family: &str, table: &str, name: &str, place: &str) -> String {
    let words: Vec<&str> = place.split(' ').collect();
    let [kind, hook, priority, policy] = words[..] else { panic!("{place}") };
    format!(
        r#"{{"chain": {{"family": "{family}", "table": "{table}", "name": "{name}", "handle": 1, "type": "{kind}", "hook": "{hook}", "prio": {priority}, "policy": "{policy}"}}}}"#
    )
}

fn rule(family: &str, table: &str, chain: &str, handle: u32, statements: &str) -> String {
    format!(
        r#"{{"rule": {{"family": "{family}", "table": "{table}", "chain": "{chain}", "handle": {handle}, "expr": [{statements}]}}}}"#
    )
}

fn ruleset(objects: &[String]) -> String {
    format!(r#"{{"nftables": [{}]}}"#, objects.join(", "))
}

fn read(rules: &str, nft: &str) -> Loaded {
    let parts = [
        ("ip-addr", ADDRESSES),
        ("ip-route", ROUTES),
        ("ip6-route", ROUTES6),
        ("sysctl", SYSCTL),
        ("iptables-save", rules),
        ("ip6tables-save", ""),
        ("nft-ruleset.json", nft),
    ];
    let texts: Vec<Text<'_>> = parts.map(|(name, text)| Text { name, text }).into();
    load(&texts, &[])
}

fn host(rules: &str, nft: &[String]) -> System {
    let loaded = read(rules, &ruleset(nft));
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

fn effects(answer: &Answer) -> Vec<Effect> {
    let of = |step: &Step| match step {
        Step::Rule { effect, .. } => Some(effect.clone()),
        _ => None,
    };
    answer.steps.iter().filter_map(of).collect()
}

fn source(answer: &Answer) -> String {
    answer.egress.as_ref().unwrap().packet.source.to_string()
}

const ACCEPT: &str = r#"{"accept": null}"#;
const DROP: &str = r#"{"drop": null}"#;

/// `tcp dport PORT`.
fn port(port: u16) -> String {
    format!(
        r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "right": {port}}}}}"#
    )
}

#[test]
fn the_nat_chain_with_the_lower_priority_maps_and_the_other_is_not_asked() {
    let own = |priority: i32| {
        let snat = r#"{"snat": {"addr": "203.0.113.99"}}"#;
        host(
            MASQUERADE,
            &[
                base("ip", "nat2", "post", &format!("nat postrouting {priority} accept")),
                rule("ip", "nat2", "post", 2, snat),
            ],
        )
    };
    let before = ask(&own(99), "10.0.1.2", "8.8.8.8:443");
    assert_eq!(source(&before), "203.0.113.99");
    assert_eq!(effects(&before), [Effect::Snat]);
    let after = ask(&own(101), "10.0.1.2", "8.8.8.8:443");
    assert_eq!(source(&after), "203.0.113.2");
    assert_eq!(effects(&after), [Effect::Masquerade]);
}

#[test]
fn accept_ends_one_base_chain_and_drop_all_of_them() {
    let two = |first: &str, second: &str| {
        let system = host(
            "",
            &[
                base("inet", "a", "f", "filter forward -5 accept"),
                rule("inet", "a", "f", 2, first),
                base("inet", "b", "f", "filter forward 0 accept"),
                rule("inet", "b", "f", 2, second),
            ],
        );
        let four = ask(&system, "10.0.1.2", "8.8.8.8:443");
        let six = ask(&system, "fd01::2", "[2001:4860::88]:443");
        assert_eq!(four.verdict, six.verdict);
        (four.verdict, effects(&four))
    };
    assert_eq!(two(ACCEPT, DROP), (Verdict::Dropped, vec![Effect::Accept, Effect::Drop]));
    assert_eq!(two(DROP, ACCEPT), (Verdict::Dropped, vec![Effect::Drop]));
    assert_eq!(two(ACCEPT, ACCEPT).0, Verdict::Forwarded);
}

#[test]
fn of_equals_the_one_that_was_hooked_in_later_comes_first() {
    let table = |name: &str, handle: u32| {
        format!(r#"{{"table": {{"family": "ip", "name": "{name}", "handle": {handle}}}}}"#)
    };
    let system = |a: u32, b: u32| {
        host(
            "",
            &[
                table("a", a),
                table("b", b),
                base("ip", "a", "p", "nat postrouting 100 accept"),
                rule("ip", "a", "p", 2, r#"{"snat": {"addr": "203.0.113.10"}}"#),
                base("ip", "b", "p", "nat postrouting 100 accept"),
                rule("ip", "b", "p", 2, r#"{"snat": {"addr": "203.0.113.20"}}"#),
            ],
        )
    };
    let answer = |a, b| ask(&system(a, b), "10.0.1.2", "8.8.8.8:443");
    assert_eq!(source(&answer(1, 2)), "203.0.113.20");
    assert_eq!(source(&answer(2, 1)), "203.0.113.10");
    assert!(answer(1, 2).assumptions.iter().any(|a| a.code == "hook-order-assumed"));
}

#[test]
fn a_verdict_map_leads_where_its_entry_says_and_else_goes_on() {
    let map = r#"{"vmap": {"key": {"concat": [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]}, "data": {"set": [[{"concat": ["tcp", 22]}, {"drop": null}], [{"concat": ["tcp", {"range": [80, 90]}]}, {"jump": {"target": "web"}}]]}}}"#;
    let system = host(
        "",
        &[
            base("ip", "t", "f", "filter forward 0 accept"),
            r#"{"chain": {"family": "ip", "table": "t", "name": "web", "handle": 5}}"#.to_owned(),
            rule("ip", "t", "f", 2, map),
            rule("ip", "t", "web", 3, &format!("{}, {DROP}", port(81))),
        ],
    );
    let verdict = |to: &str| ask(&system, "10.0.1.2", to).verdict;
    assert_eq!(verdict("8.8.8.8:22"), Verdict::Dropped);
    assert_eq!(verdict("8.8.8.8:81"), Verdict::Dropped);
    assert_eq!(verdict("8.8.8.8:80"), Verdict::Forwarded);
    assert_eq!(verdict("8.8.8.8:443"), Verdict::Forwarded);
    assert_eq!(effects(&ask(&system, "10.0.1.2", "8.8.8.8:81")), [Effect::Jump, Effect::Drop]);
    assert_eq!(effects(&ask(&system, "10.0.1.2", "8.8.8.8:443")), []);
}

#[test]
fn what_a_rule_did_before_it_ended_halfway_stays_done() {
    let mark = r#"{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 5}}"#;
    let asks = r#"{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 5}}"#;
    let system = host(
        "",
        &[
            base("ip", "t", "f", "filter forward 0 accept"),
            rule("ip", "t", "f", 2, &format!("{mark}, {}, {ACCEPT}", port(80))),
            rule("ip", "t", "f", 3, &format!("{asks}, {DROP}")),
        ],
    );
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:80").verdict, Verdict::Forwarded);
    let other = ask(&system, "10.0.1.2", "8.8.8.8:443");
    assert_eq!((other.verdict, effects(&other)), (Verdict::Dropped, vec![Effect::Drop]));
}

#[test]
fn a_port_is_asked_of_packets_that_have_one_even_under_a_negation() {
    let not = r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}}"#;
    let system = host(
        "",
        &[
            base("ip", "t", "f", "filter forward 0 accept"),
            rule("ip", "t", "f", 2, &format!("{not}, {DROP}")),
        ],
    );
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:443").verdict, Verdict::Dropped);
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:80").verdict, Verdict::Forwarded);
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:53/udp").verdict, Verdict::Forwarded);
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8").verdict, Verdict::Forwarded);
}

#[test]
fn what_is_not_understood_decides_only_where_it_is_met() {
    let system = host(
        "",
        &[
            base("ip", "t", "f", "filter forward 0 accept"),
            rule("ip", "t", "f", 2, &format!("{}, {{\"frob\": {{\"a\": 1}}}}", port(80))),
            rule(
                "ip",
                "t",
                "f",
                3,
                &format!(
                    "{}, {{\"xt\": {{\"type\": \"target\", \"name\": \"CONNMARK\"}}}}",
                    port(81)
                ),
            ),
        ],
    );
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:80").verdict, Verdict::Undetermined);
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:81").verdict, Verdict::Undetermined);
    assert_eq!(ask(&system, "10.0.1.2", "8.8.8.8:443").verdict, Verdict::Forwarded);
}

#[test]
fn tables_of_iptables_are_not_counted_twice() {
    let masquerade = r#"{"xt": {"type": "target", "name": "MASQUERADE"}}"#;
    let system = host(
        MASQUERADE,
        &[
            base("ip", "nat", "POSTROUTING", "nat postrouting 100 accept"),
            rule("ip", "nat", "POSTROUTING", 2, masquerade),
        ],
    );
    let answer = ask(&system, "10.0.1.2", "8.8.8.8:443");
    assert_eq!(effects(&answer), [Effect::Masquerade]);
    assert_eq!(answer.outcome, Outcome::Connects);
}

#[test]
fn a_dormant_table_does_nothing() {
    let table = |flags: &str| {
        format!(r#"{{"table": {{"family": "ip", "name": "t", "handle": 1{flags}}}}}"#)
    };
    let verdict = |flags: &str| {
        let system = host("", &[table(flags), base("ip", "t", "f", "filter forward 0 drop")]);
        ask(&system, "10.0.1.2", "8.8.8.8").verdict
    };
    assert_eq!(verdict(""), Verdict::Dropped);
    assert_eq!(verdict(r#", "flags": ["dormant"]"#), Verdict::Forwarded);
}

#[test]
fn what_leads_nowhere_is_an_error_with_its_place() {
    let jump = r#"{"jump": {"target": "wbe"}}"#;
    let text = ruleset(&[
        base("ip", "t", "f", "filter forward 0 accept"),
        r#"{"chain": {"family": "ip", "table": "t", "name": "web", "handle": 5}}"#.to_owned(),
        rule("ip", "t", "f", 2, jump),
    ]);
    let loaded = read("", &text);
    assert!(loaded.has_errors());
    let found = &loaded.diagnostics[0];
    assert_eq!((found.part.as_str(), found.diagnostic.code), ("nft-ruleset.json", "unknown-chain"));
    assert_eq!(found.diagnostic.help.as_deref(), Some("did you mean `web`?"));
    assert!(found.diagnostic.span.slice(&text).contains("wbe"));
}

#[test]
fn places_are_handles_and_texts_are_nfts_own() {
    let system = host(
        "",
        &[
            base("ip", "t", "f", "filter forward 0 accept"),
            rule("ip", "t", "f", 14, &format!("{}, {DROP}", port(80))),
        ],
    );
    let answer = ask(&system, "10.0.1.2", "8.8.8.8:80");
    let Some(Step::Rule { rule, .. }) =
        answer.steps.iter().find(|s| matches!(s, Step::Rule { .. }))
    else {
        panic!("no rule")
    };
    let found = system.rules.rule(*rule).unwrap();
    assert_eq!(system.rules.place(found), "nft-ruleset.json:handle 14");
    assert_eq!(system.rules.text(found), "tcp dport 80 drop");
}

#[test]
fn a_broadcast_source_has_a_way_back_for_fib() {
    let missing = r#"{"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": false}}, {"drop": null}"#;
    let system = host(
        "",
        &[base("ip", "t", "p", "filter prerouting 0 accept"), rule("ip", "t", "p", 2, missing)],
    );
    let from = |source: &str| {
        let request = FlowRequest {
            source: source.into(),
            destination: "8.8.8.8:80".into(),
            in_interface: Some("lan".into()),
            ..FlowRequest::default()
        };
        why(&system, &resolve(&system, &request).unwrap().flow).verdict
    };
    assert_eq!(from("10.0.1.255"), Verdict::Forwarded);
    assert_eq!(from("10.0.1.2"), Verdict::Forwarded);
    assert_eq!(from("9.9.9.9"), Verdict::Dropped);
}

/// kernel-facts K28: `fib` names the protocol to policy rules, but no port; rpfilter of IPv4 neither.
#[test]
fn fib_shows_policy_rules_the_protocol() {
    let missing = r#"{"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": false}}, {"drop": null}"#;
    let chain =
        [base("ip", "t", "p", "filter prerouting -300 accept"), rule("ip", "t", "p", 2, missing)];
    let reverse_path =
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n";
    let verdict = |rules: &str, nft: &[String], policy_rule: &str| {
        let policy = format!(
            "0: from all lookup local\n100: from all {policy_rule} lookup 100\n32766: from all lookup main\n"
        );
        let routes = format!("{ROUTES}default via 10.0.1.9 dev lan table 100\n");
        let nft = ruleset(nft);
        let parts = [
            ("ip-addr", ADDRESSES),
            ("ip-route", &routes),
            ("ip-rule", &policy),
            ("sysctl", SYSCTL),
            ("iptables-save", rules),
            ("nft-ruleset.json", &nft),
        ];
        let loaded = load(&parts.map(|(name, text)| Text { name, text }), &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let request = FlowRequest {
            source: "9.9.9.9".into(),
            destination: "10.0.1.2:53".into(),
            protocol: Some("udp".into()),
            in_interface: Some("lan".into()),
            ..FlowRequest::default()
        };
        why(&loaded.system, &resolve(&loaded.system, &request).unwrap().flow).verdict
    };
    for (policy_rule, by_fib) in [
        ("ipproto udp", Verdict::Forwarded),
        ("ipproto tcp", Verdict::Dropped),
        ("ipproto udp dport 53", Verdict::Dropped),
    ] {
        assert_eq!(verdict("", &chain, policy_rule), by_fib, "{policy_rule}");
        assert_eq!(verdict(reverse_path, &[], policy_rule), Verdict::Dropped, "{policy_rule}");
    }
}

/// kernel-facts K11: what the kernel makes about an untracked packet can't be untracked by iptables.
#[test]
fn notrack_of_nft_untracks_what_is_attached_to_nothing() {
    let rules = "\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -j NOTRACK
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -j REJECT
-A OUTPUT -m conntrack --ctstate UNTRACKED
COMMIT
";
    let matched = |nft: &[String]| {
        let answer = ask(&host(rules, nft), "10.0.1.2", "8.8.8.8:53/udp");
        let steps = answer.reply.expect("an error goes back").steps;
        steps.iter().any(|step| matches!(step, Step::Rule { effect: Effect::Continue, .. }))
    };
    let notrack = [
        base("ip", "t", "o", "filter output -50 accept"),
        rule("ip", "t", "o", 2, r#"{"notrack": null}"#),
    ];
    assert!(!matched(&[]));
    assert!(matched(&notrack));
}

/// A value that a statement puts into a set has to be there, or the rule ends.
#[test]
fn adding_to_a_set_wants_what_is_added() {
    let set = |parts: &str| {
        format!(
            r#"{{"set": {{"family": "inet", "table": "t", "name": "s", "handle": 9, "type": {parts}, "flags": ["dynamic"]}}}}"#
        )
    };
    let system = |parts: &str, statement: &str| {
        let rules = format!("{statement}, {DROP}");
        host(
            "",
            &[
                base("inet", "t", "f", "filter forward 0 accept"),
                set(parts),
                rule("inet", "t", "f", 2, &rules),
            ],
        )
    };
    let source = r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#;
    let port = r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#;
    let add = |operation: &str, element: &str| {
        format!(r#"{{"set": {{"op": "{operation}", "elem": {element}, "set": "@s"}}}}"#)
    };
    for operation in ["add", "update"] {
        let own = system(r#""ipv4_addr""#, &add(operation, source));
        assert_eq!(ask(&own, "10.0.1.2", "8.8.8.8:80").verdict, Verdict::Dropped);
        assert_eq!(ask(&own, "fd01::2", "[2001:4860::88]:80").verdict, Verdict::Forwarded);
        let pair = format!(r#"{{"concat": [{source}, {port}]}}"#);
        let own = system(r#"["ipv4_addr", "inet_service"]"#, &add(operation, &pair));
        assert_eq!(ask(&own, "10.0.1.2", "8.8.8.8:80").verdict, Verdict::Dropped);
        assert_eq!(ask(&own, "10.0.1.2", "8.8.8.8:53/udp").verdict, Verdict::Forwarded);
    }
    // As versions before 1.1 list what others write as an `add` with a limit.
    let meter = format!(
        r#"{{"meter": {{"key": {source}, "stmt": {{"ct count": {{"val": 3, "inv": true}}}}, "size": 65535, "name": "m"}}}}"#
    );
    let own = system(r#""ipv4_addr""#, &meter);
    let answer = ask(&own, "10.0.1.2", "8.8.8.8:80");
    assert_eq!(answer.branches.len(), 2);
    assert_eq!(ask(&own, "fd01::2", "[2001:4860::88]:80").verdict, Verdict::Forwarded);
}

/// A map for the other family is asked all the same, and without an entry the rule ends there.
#[test]
fn nat_of_the_other_family_does_nothing_and_has_matched_where_its_map_says_something() {
    let map = r#"{"dnat": {"family": "ip", "addr": {"map": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[80, "10.0.1.9"]]}}}}}"#;
    let system = host(
        "",
        &[base("inet", "t", "p", "nat prerouting -100 accept"), rule("inet", "t", "p", 2, map)],
    );
    let met = |to: &str| effects(&ask(&system, "fd01::2", to)).len();
    assert_eq!(met("[2001:4860::88]:80"), 1);
    assert_eq!(met("[2001:4860::88]:81"), 0);
    assert_eq!(met("[2001:4860::88]:80/udp"), 0);
}

#[test]
fn whole_fields_are_known_by_their_place() {
    let asks = |base: &str, offset: u32, length: u32, value: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"payload": {{"base": "{base}", "offset": {offset}, "len": {length}}}}}, "right": {value}}}}}"#
        )
    };
    let verdicts = |matches: &str, four: &str, six: &str| {
        let system = host(
            "",
            &[
                base("inet", "t", "f", "filter forward 0 accept"),
                rule("inet", "t", "f", 2, &format!("{matches}, {DROP}")),
            ],
        );
        let six = ask(&system, "fd01::2", six).verdict;
        (ask(&system, "10.0.1.2", four).verdict, six)
    };
    use Verdict::{Dropped, Forwarded, Undetermined};
    // 8.8.8.8; in IPv6, other bits are there.
    let to = asks("nh", 128, 32, "134744072");
    assert_eq!(verdicts(&to, "8.8.8.8:80", "[2001:4860::88]:80"), (Dropped, Undetermined));
    assert_eq!(verdicts(&to, "8.8.4.4:80", "[2001:4860::88]:80").0, Forwarded);
    let port = asks("th", 16, 16, "80");
    assert_eq!(verdicts(&port, "8.8.8.8:80", "[2001:4860::88]:80"), (Dropped, Dropped));
    assert_eq!(verdicts(&port, "8.8.8.8:81", "[2001:4860::88]:81"), (Forwarded, Forwarded));
    let header = asks("nh", 48, 8, "17");
    assert_eq!(verdicts(&header, "8.8.8.8:80", "[2001:4860::88]:80/udp").1, Dropped);
    assert_eq!(verdicts(&header, "8.8.8.8:80", "[2001:4860::88]:80").1, Forwarded);
}

/// kernel-facts K31: what is refused before routing has no route but that of the error.
#[test]
fn an_error_before_routing_comes_from_the_address_of_its_own_route() {
    let source = |hook: &str, from: &str, to: &str| {
        let refuse = r#"{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}"#;
        let chain = base("inet", "t", "c", &format!("filter {hook} 0 accept"));
        let system = host("", &[chain, rule("inet", "t", "c", 2, refuse)]);
        let request = FlowRequest {
            source: from.into(),
            destination: to.into(),
            in_interface: Some("lan".into()),
            ..FlowRequest::default()
        };
        let answer = why(&system, &resolve(&system, &request).unwrap().flow);
        assert_eq!(answer.verdict, Verdict::Rejected, "{hook} {from} {to}");
        let error = answer.reply.and_then(|reply| reply.egress);
        error.map(|egress| egress.packet.source.to_string())
    };
    let says = |address: &str| Some(address.to_owned());
    assert_eq!(source("input", "10.0.1.2", "203.0.113.2:53/udp"), says("203.0.113.2"));
    assert_eq!(source("prerouting", "10.0.1.2", "203.0.113.2:53/udp"), says("10.0.1.1"));
    // A broadcast of another subnet comes in a frame for the host.
    assert_eq!(source("prerouting", "10.0.1.2", "203.0.113.255:53/udp"), says("10.0.1.1"));
    // ICMPv6 asks whether the address is the host's.
    for hook in ["input", "prerouting"] {
        let own = "2001:db8:1::2";
        assert_eq!(source(hook, "fd01::2", &format!("[{own}]:53/udp")), says(own), "{hook}");
    }
    // The route to the sender is one to the host, so the error has the address that was asked.
    assert_eq!(source("prerouting", "203.0.113.2", "8.8.8.8:53/udp"), None);
}

/// kernel-facts K33: what nft 1.0.6 makes of two ports, and how it lists that (both measured).
#[test]
fn comparisons_that_nft_joins_are_left_open_where_the_listing_does_not_tell() {
    let compare = |operator: &str, side: &str, with: &str| {
        format!(
            r#"{{"match": {{"op": "{operator}", "left": {{"payload": {{"protocol": "tcp", "field": "{side}"}}}}, "right": {with}}}}}"#
        )
    };
    let ways = |rule_text: String, from: u16, to: u16| {
        let chain = base("ip", "t", "f", "filter forward 0 accept");
        let system = host("", &[chain, rule("ip", "t", "f", 2, &format!("{rule_text}, {DROP}"))]);
        let answer = ask(&system, &format!("10.0.1.2:{from}"), &format!("8.8.8.8:{to}/tcp"));
        let branches = answer.branches.iter().map(|branch| branch.answer.verdict);
        let mut ways: Vec<String> = branches.map(|verdict| format!("{verdict:?}")).collect();
        ways.sort();
        if ways.is_empty() { format!("{:?}", answer.verdict) } else { ways.join(" or ") }
    };
    let unequal = || compare("!=", "sport", "600") + ", " + &compare("!=", "dport", "80");
    assert_eq!(ways(unequal(), 600, 80), "Forwarded");
    assert_eq!(ways(unequal(), 601, 81), "Dropped");
    for (from, to) in [(600, 81), (601, 80)] {
        assert_eq!(ways(unequal(), from, to), "Dropped or Forwarded", "{from} {to}");
    }
    let apart = compare("!=", "sport", "600") + ", " + &compare("==", "dport", "80");
    assert_eq!(ways(apart, 600, 80), "Forwarded");
    for operator in ["==", "!="] {
        let backwards = compare(operator, "dport", r#"{"range": [80, 53]}"#);
        assert_eq!(ways(backwards, 600, 22), "Dropped or Forwarded", "{operator}");
        let range = compare(operator, "dport", r#"{"range": [53, 80]}"#);
        let inside = if operator == "==" { "Dropped" } else { "Forwarded" };
        assert_eq!(ways(range, 600, 60), inside, "{operator}");
    }
}

#[test]
fn a_prefix_is_exchanged_for_another_one() {
    let prefix = |network: &str| format!(r#"{{"prefix": {{"addr": "{network}", "len": 24}}}}"#);
    let system = |family: &str, (from, to): (&str, &str), field: &str| {
        let map = format!(
            r#"{{"snat": {{"family": "{family}", "addr": {{"map": {{"key": {{"payload": {{"protocol": "{family}", "field": "{field}"}}}}, "data": {{"set": [[{}, {}]]}}}}}}, "flags": "netmap", "type_flags": "prefix"}}}}"#,
            prefix(from),
            prefix(to),
        );
        host(
            "",
            &[
                base("inet", "t", "p", "nat postrouting 100 accept"),
                rule("inet", "t", "p", 2, &map),
            ],
        )
    };
    let own = system("ip", ("10.0.1.0", "203.0.113.0"), "saddr");
    assert_eq!(source(&ask(&own, "10.0.1.77", "8.8.8.8:443")), "203.0.113.77");
    assert_eq!(source(&ask(&own, "10.9.1.77", "8.8.8.8:443")), "10.9.1.77");
    let six = system("ip6", ("fd01::", "2001:db8:1::"), "saddr");
    assert_eq!(source(&ask(&six, "fd01::77", "[2001:4860::88]:443")), "2001:d00::77");
}
