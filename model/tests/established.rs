//! A later packet of a connection meets the marks that the answer to the first one left.

use std::fmt::Write as _;

use nattrace_model::answer::{Answer, Verdict};
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
fn later_packet(bits: u32) -> Answer {
    let first = "-m conntrack --ctdir REPLY -m connmark --mark 0/0x80";
    let mut rules = String::from("*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n");
    for bit in (0..bits).map(|at| 1 << at) {
        let chance = "-m statistic --mode random --probability 0.5";
        writeln!(rules, "-A FORWARD {first} {chance} -j CONNMARK --set-xmark {bit}/{bit}").unwrap();
    }
    writeln!(rules, "-A FORWARD {first} -j CONNMARK --set-xmark 0x80/0x80\nCOMMIT").unwrap();
    let parts = [
        ("ip-addr", ADDRESSES),
        ("ip-route", ROUTES),
        ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n"),
        ("iptables-save", &rules),
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
    let certain = later_packet(0);
    assert_eq!((certain.verdict, certain.branches.len()), (Verdict::Forwarded, 0));
    for bits in [1, 3, 5] {
        let answer = later_packet(bits);
        assert_eq!((answer.verdict, is_cut(&answer)), (Verdict::Forwarded, false), "{bits}");
        assert_eq!(answer.branches.len(), 1 << bits);
    }
}

#[test]
fn more_ways_of_the_first_answer_than_are_looked_at_leave_it_open() {
    let answer = later_packet(6);
    assert_eq!((answer.verdict, is_cut(&answer)), (Verdict::Undetermined, true));
}
