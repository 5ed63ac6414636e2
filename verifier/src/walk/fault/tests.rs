//! Where the classes and the simulator say different things, that is an error with the packet, and
//! only the part that it is about is left open.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;

use nattrace_model::answer::{Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::{Given, Policy, parse};

use super::*;
use crate::check::{Between, Finding, Status, check, check_each};
use crate::diff::{Scope as Compared, compare, compare_each};
use crate::matrix::{Cell, Matrix, Scope, matrix, matrix_each};
use crate::repair::{Placement, Repair, Request, repair};

/// The one host that nattrace is wrong about: no other test asks about it.
const WRONG: &str = "198.18.77.7";

/// A router between two networks. Its rules mark packets to the host, which makes them a class; and
/// an empty chain tells it from those of other tests.
fn host(own: &str, rules: &str) -> System {
    let rules = format!(
        "*mangle\n:FORWARD ACCEPT [0:0]\n:{own} - [0:0]\n\
         -A FORWARD -d {WRONG}/32 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
         {rules}COMMIT\n"
    );
    let addresses = "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n\
                     2: eth1: <UP>\n    inet 10.1.0.1/24 scope global eth1\n\
                     3: eth2: <UP>\n    inet 198.18.77.1/24 scope global eth2\n";
    let parts = [
        Text { name: "iptables-save", text: &rules },
        Text { name: "ip-addr", text: addresses },
        Text { name: "ip-route", text: "10.1.0.0/24 dev eth1\n198.18.77.0/24 dev eth2\n" },
        Text { name: "sysctl", text: "net.ipv4.ip_forward = 1\n" },
        // The neighbours send everything here.
        Text {
            name: "zones.toml",
            text: "[zones.inside]\nvia = [\"eth1\", \"eth2\"]\nroutes = [\"0.0.0.0/0\"]\n",
        },
        Text { name: "listeners", text: "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n" },
    ];
    let loaded = load(&parts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

/// Whether it is the host of a test.
fn is(system: &System, own: &str) -> bool {
    system.rules.chains.iter().any(|chain| *chain.name == *own)
}

/// Packets to the host are lost, it is said, on a test's system with so many rules at least.
fn lost(own: &'static str, least: usize) -> Fault {
    let wrong: IpAddr = WRONG.parse().unwrap();
    Fault::plant(move |system, header, answer| {
        let rules: usize = system.rules.chains.iter().map(|chain| chain.rules.len()).sum();
        if is(system, own) && header.destination == wrong && rules >= least {
            answer.verdict = Verdict::Dropped;
            answer.outcome = Outcome::Timeout;
            answer.egress = None;
            answer.reply = None;
            answer.branches.clear();
        }
    })
}

fn policy(entries: &str) -> Policy {
    let (policy, complaints) = parse(&format!("version = 1\n{entries}"));
    assert_eq!(complaints, []);
    policy
}

fn allow(to: &str) -> String {
    format!("[[allow]]\nname = \"allow {to}\"\nfrom = \"lan:eth1\"\nto = \"{to}\"\n")
}

fn deny(lands: &str) -> String {
    format!("[[deny]]\nname = \"deny {lands}\"\nfrom = \"lan:eth1\"\nlands = \"{lands}\"\n")
}

#[test]
fn of_a_policy_one_entry_is_left_open() {
    let system = host("policy", "");
    let (own, other) = (format!("{WRONG}:80/tcp"), "198.18.77.9:80/tcp");
    let text = [allow(&own), deny(&own), allow(other), deny(other)].concat();
    let policy = policy(&text);
    let status = |findings: &[Finding]| -> Vec<Status> {
        findings.iter().map(|finding| finding.status).collect()
    };
    let all = || check_each(&policy, &system, &Given::default(), crate::check::Engine::Classes);
    let right = [Status::Holds, Status::Fails, Status::Holds, Status::Fails];
    assert_eq!(status(&all()), right, "{:#?}", all());
    let fault = lost("policy", 0);
    let findings = all();
    // What the simulator shows to be broken fails all the same.
    let expected = [Status::Unknown, Status::Fails, Status::Holds, Status::Fails];
    assert_eq!(status(&findings), expected, "{findings:#?}");
    let faults: Vec<bool> = findings.iter().map(|finding| finding.fault.is_some()).collect();
    assert_eq!(faults, [true, true, false, false]);
    let named = |name: &str| findings.iter().find(|finding| finding.name == name).unwrap();
    let open = named(&format!("allow {own}")).fault.as_ref().unwrap();
    assert_eq!(open.between, Between::ClassesAndSimulator);
    let told = open.to_string();
    assert!(told.contains(&format!("-> {own}")) && !told.contains('\n'), "{told}");
    assert!(told.contains("breaks the entry") && told.contains("keeps to the entry"), "{told}");
    let shown = named(&format!("deny {own}"));
    assert_eq!(shown.counterexamples.len(), 1);
    assert!(shown.fault.as_ref().unwrap().shown.is_some());
    assert!(check(&policy, &system, &Given::default()).is_err());
    drop(fault);
    assert!(check(&policy, &system, &Given::default()).is_ok());
}

#[test]
fn of_a_matrix_one_part_is_left_open() {
    let system = host("matrix", "");
    let scope = Scope::default();
    let told = |matrix: &Matrix, cell: &Cell| {
        let parts: Vec<(Outcome, String)> =
            cell.parts.iter().map(|part| (part.outcome, format!("{:?}", part.which))).collect();
        let name = |zones: &[crate::matrix::Zone], at: usize| zones[at].name.clone();
        (name(&matrix.from, cell.from), name(&matrix.to, cell.to), format!("{parts:?}"))
    };
    let of = |matrix: &Matrix| -> Vec<(String, String, String)> {
        matrix.cells.iter().map(|cell| told(matrix, cell)).collect()
    };
    let right = matrix_each(&system, &scope);
    assert!(right.faults.is_empty());
    let fault = lost("matrix", 0);
    let found = matrix_each(&system, &scope);
    assert!(!found.faults.is_empty(), "{:?}", of(&found));
    for fault in &found.faults {
        assert_eq!(fault.between, Between::ClassesAndSimulator);
        assert_eq!(fault.flow.as_ref().unwrap().destination.to_string(), WRONG, "{fault}");
    }
    let elsewhere = |all: Vec<(String, String, String)>| {
        all.into_iter()
            .filter(|(_, to, _)| !["lan:eth2", "inside"].contains(&to.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(elsewhere(of(&found)), elsewhere(of(&right)));
    // Beside what is left open, the others of the network connect as they did.
    let from_lan = found.cells.iter().find(|cell| {
        let (from, to, _) = told(&found, cell);
        from == "lan:eth1" && to == "lan:eth2"
    });
    let outcomes: Vec<Outcome> = from_lan.unwrap().parts.iter().map(|part| part.outcome).collect();
    assert_eq!(outcomes, [Outcome::Connects, Outcome::Undetermined]);
    let because = from_lan.unwrap().parts[1].because.as_deref();
    assert_eq!(because, Some("nattrace contradicts itself about these packets"));
    assert!(matrix(&system, &scope).is_err());
    drop(fault);
    assert!(matrix(&system, &scope).is_ok());
}

#[test]
fn of_a_comparison_one_change_is_left_open() {
    use crate::diff::Status;
    let reject = |address: &str| format!("-A FORWARD -d {address}/32 -j REJECT\n");
    let before = host("comparison", "");
    let after = host("comparison", &[reject(WRONG), reject("198.18.77.9")].concat());
    let statuses = || {
        let found = compare_each(&before, &after, Compared::default());
        let all = found
            .changes
            .iter()
            .map(|change| (change.witness.before.flow.destination.to_string(), change.status));
        (all.collect::<Vec<_>>(), found.faults)
    };
    let (right, faults) = statuses();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(right.iter().all(|(_, status)| *status == Status::Changed), "{right:?}");
    // Only of the later host, so that it is a change that is told wrongly.
    let fault = lost("comparison", 2);
    let (found, faults) = statuses();
    assert!(!faults.is_empty());
    for fault in &faults {
        assert_eq!(fault.flow.destination.to_string(), WRONG, "{fault}");
    }
    let of = |address: &str| -> Vec<Status> {
        let own = found.iter().filter(|(destination, _)| destination == address);
        own.map(|(_, status)| *status).collect()
    };
    assert!(!of(WRONG).is_empty() && of(WRONG).iter().all(|own| *own == Status::Undetermined));
    assert!(of("198.18.77.9").contains(&Status::Changed), "{found:?}");
    assert!(compare(&before, &after, Compared::default()).is_err());
    drop(fault);
    assert!(compare(&before, &after, Compared::default()).is_ok());
}

#[test]
fn a_change_that_is_not_proved_is_none() {
    let system = host("change", "");
    let policy = policy(&[deny("198.18.77.9:80/tcp"), allow(&format!("{WRONG}:80/tcp"))].concat());
    let given = Given::default();
    let request = Request {
        policy: &policy,
        system: &system,
        given: &given,
        placement: Placement::default(),
        most_edits: 2,
        until: None,
    };
    assert!(matches!(repair(&request), Repair::Found(_)));
    // Wrong with any change, and only then.
    let fault = lost("change", 2);
    let Repair::NotFound(miss) = repair(&request) else { panic!("a change was found") };
    assert!(miss.before.iter().all(|finding| finding.fault.is_none()));
    drop(fault);
    // Wrong today: that entry is open, and its packet is told.
    let _fault = lost("change", 0);
    let before = match repair(&request) {
        Repair::Holds(_) => panic!("it does not hold"),
        Repair::Found(fix) => fix.before,
        Repair::NotFound(miss) => miss.before,
    };
    let faulty: Vec<bool> = before.iter().map(|finding| finding.fault.is_some()).collect();
    assert_eq!(faulty, [false, true], "{before:#?}");
    assert_eq!(before[1].status, Status::Unknown);
}

#[test]
fn what_is_behind_the_packet_that_settles_an_entry_is_not_asked() {
    let system = host("settled", "");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let _fault = Fault::plant(move |system, header, _| {
        if is(system, "settled") && header.destination.to_string().starts_with("10.1.0.") {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    // One after the other.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let of = |zones: &str| {
        let apart = policy(&format!("[[isolate]]\nzones = {zones}\n"));
        let found = one.install(|| check(&apart, &system, &Given::default())).unwrap();
        assert_eq!(found[0].status, Status::Fails);
        (asked.swap(0, Ordering::Relaxed), found[0].counterexamples[0].flow.source.to_string())
    };
    let (asked, source) = of("[\"lan:eth1\", \"lan:eth2\"]");
    assert!(asked == 0 && source.starts_with("10.1.0."), "{asked} {source}");
    let (asked, source) = of("[\"lan:eth2\", \"lan:eth1\"]");
    assert!(asked > 0 && source.starts_with("198.18.77."), "{asked} {source}");
}
