//! A later packet of a connection meets what the first one and the answer to it left: NAT and marks.

use std::fmt::Write as _;

use nattrace_model::answer::{Answer, Outcome, Step, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::simulate::why;

const ADDRESSES: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
    inet 127.0.0.1/8 scope host lo
2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.1.1/24 brd 10.0.1.255 scope global lan
3: far: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500
    inet 10.0.2.1/24 brd 10.0.2.255 scope global far
";
const ROUTES: &str = "\
10.0.1.0/24 dev lan proto kernel scope link src 10.0.1.1
10.0.2.0/24 dev far proto kernel scope link src 10.0.2.1
";

/// What becomes of a later packet where chance sets each of so many bits of the mark on the way of
/// the first answer, and of that one alone.
fn marked_by_chance(bits: u32) -> Answer {
    let first = "-m conntrack --ctdir REPLY -m connmark --mark 0/0x80";
    let mut rules = String::from("*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n");
    for bit in (0..bits).map(|at| 1 << at) {
        let chance = "-m statistic --mode random --probability 0.5";
        writeln!(rules, "-A FORWARD {first} {chance} -j CONNMARK --set-xmark {bit}/{bit}").unwrap();
    }
    writeln!(rules, "-A FORWARD {first} -j CONNMARK --set-xmark 0x80/0x80\nCOMMIT").unwrap();
    later_packet(&rules)
}

/// What becomes of a later packet under these rules.
fn later_packet(rules: &str) -> Answer {
    let parts = [
        ("ip-addr", ADDRESSES),
        ("ip-route", ROUTES),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n"),
        ("iptables-save", rules),
    ];
    let texts: Vec<Text<'_>> = parts.iter().map(|&(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let request = FlowRequest {
        source: "10.0.1.2".into(),
        destination: "10.0.2.2:80".into(),
        state: Some("established".into()),
        ..FlowRequest::default()
    };
    why(&loaded.system, &resolve(&loaded.system, &request).unwrap().flow)
}

fn is_cut(answer: &Answer) -> bool {
    answer.assumptions.iter().any(|found| found.code == "too-many-branches")
}

#[test]
fn each_mark_that_the_first_answer_may_have_left_is_a_way() {
    let certain = marked_by_chance(0);
    assert_eq!((certain.verdict, certain.branches.len()), (Verdict::Forwarded, 0));
    for bits in [1, 3, 5] {
        let answer = marked_by_chance(bits);
        assert_eq!((answer.verdict, is_cut(&answer)), (Verdict::Forwarded, false), "{bits}");
        assert_eq!(answer.branches.len(), 1 << bits);
    }
}

#[test]
fn more_ways_of_the_first_answer_than_are_looked_at_leave_it_open() {
    let answer = marked_by_chance(6);
    assert_eq!((answer.verdict, is_cut(&answer)), (Verdict::Undetermined, true));
}

/// A target that is not modelled, which a rule of mangle PREROUTING and one of the answer may have.
const UNKNOWN: &str = "-j HMARK --hmark-tuple src --hmark-mod 4 --hmark-rnd 7";

#[test]
fn a_connection_whose_first_packet_met_what_is_not_known_is_not_known() {
    let of = |matches: &str| {
        later_packet(&format!(
            "*mangle\n:PREROUTING ACCEPT\n:FORWARD ACCEPT\n-A PREROUTING {matches} {UNKNOWN}\nCOMMIT\n\
             *filter\n:FORWARD ACCEPT\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n"
        ))
    };
    let unknown = of("-m conntrack --ctstate NEW");
    assert_eq!((unknown.verdict, unknown.outcome), (Verdict::Undetermined, Outcome::Undetermined));
    let why = "what NAT made of the connection is not known: its first packet met \
               mangle/PREROUTING/1 (iptables-save:4), which is not modelled";
    assert!(
        matches!(&unknown.steps[..], [Step::Route { because: Some(because), .. }] if because == why),
        "{:?}",
        unknown.steps
    );
    // Where the rule is not met, or what it is about has passed it all the same, nothing changes.
    let other = of("-s 10.0.9.0/24 -m conntrack --ctstate NEW");
    assert_eq!(other.verdict, Verdict::Forwarded);
    assert_eq!(other.assumptions, of("-i far").assumptions);
}

#[test]
fn what_the_first_answer_met_counts_where_it_may_have_left_a_mark() {
    let of = |rest: &str| {
        let reply = "-m conntrack --ctdir REPLY -m mark --mark 0";
        later_packet(&format!(
            "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -i far {reply} {UNKNOWN}\nCOMMIT\n\
             *filter\n:FORWARD ACCEPT\n{rest}COMMIT\n"
        ))
    };
    let unknown = of("-A FORWARD -m mark ! --mark 0 -j CONNMARK --save-mark\n");
    assert_eq!(unknown.verdict, Verdict::Undetermined);
    let Some(Step::Route { because: Some(because), .. }) = unknown.steps.first() else {
        panic!("{:?}", unknown.steps)
    };
    assert!(because.contains("which mark the connection has"), "{because}");
    assert!(because.contains("mangle/PREROUTING/1 (iptables-save:3)"), "{because}");
    // Without rules that move marks it leaves nothing.
    assert_eq!(of("").verdict, Verdict::Forwarded);
}

#[test]
fn a_connection_that_the_rules_refuse_is_there_without_nat() {
    let refused = later_packet(
        "*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n\
         *nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n",
    );
    assert_eq!(refused.verdict, Verdict::Forwarded);
    assert!(refused.assumptions.iter().any(|found| found.code == "established-anyway"));
    assert_eq!(refused.egress.unwrap().packet.source.to_string(), "10.0.1.2");
}

/// kernel-facts K34
#[test]
fn a_program_has_let_the_first_packet_pass() {
    let queued = |state: &str| {
        later_packet(&format!(
            "*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
             -A FORWARD -m conntrack --ctstate {state} -j NFQUEUE --queue-num 0\nCOMMIT\n\
             *nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
        ))
    };
    let passed = queued("NEW");
    assert_eq!((passed.verdict, passed.outcome), (Verdict::Forwarded, Outcome::Connects));
    assert_eq!(passed.egress.unwrap().packet.source.to_string(), "10.0.2.1");
    let codes: Vec<&str> = passed.assumptions.iter().map(|found| found.code).collect();
    assert!(codes.contains(&"queue-passed") && !codes.contains(&"established-anyway"), "{codes:?}");
    let other = queued("INVALID");
    assert!(!other.assumptions.iter().any(|found| found.code == "queue-passed"));
}
