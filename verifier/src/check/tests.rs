use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::answer::Outcome;
use nattrace_model::build::{Text, load};
use nattrace_parser::policy::{Given, Kind, parse};

use super::*;

fn system(case: &str) -> System {
    let folder = std::path::Path::new("../corpus/cases").join(case);
    let case = nattrace_corpus::case::Case::read(&folder).unwrap();
    load(&case.texts(), &[]).system
}

fn findings(system: &System, text: &str) -> Vec<Finding> {
    let text = format!("version = 1\n{text}");
    let (policy, complaints) = parse(&text);
    assert_eq!(complaints, []);
    assert_eq!(policy::unknown_names(&policy, system), []);
    check(&policy, system, &Given::default()).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

/// What comes of one entry: its status, and the reason.
#[track_caller]
fn expect(system: &System, text: &str, status: Status) -> Finding {
    let mut findings = findings(system, text);
    assert_eq!(findings.len(), 1, "{text}: {findings:#?}");
    let found = findings.remove(0);
    let shown = found.counterexamples.first().map(|example| &example.flow);
    assert_eq!(found.status, status, "{text}: {:?} {shown:?}", found.reason);
    assert_eq!(
        found.counterexamples.is_empty(),
        found.status != Status::Fails || matches!(found.reason, Some(Reason::Vacuous(_)))
    );
    found
}

#[test]
fn networks_leave_with_the_first_address() {
    let system = system("04-networks");
    let egress = |from: &str, source: &str| {
        format!("[[egress]]\nfrom = \"{from}\"\nto = \"internet\"\nsource = \"{source}\"\n")
    };
    expect(&system, &egress("net:front", "203.0.113.10"), Status::Holds);
    expect(&system, &egress("net:front", "203.0.113.0/24"), Status::Holds);
    let found = expect(&system, &egress("net:front", "203.0.113.11"), Status::Fails);
    let expected = Reason::LeavesAs {
        interface: Some("eth0".into()),
        source: "203.0.113.10".parse().unwrap(),
    };
    assert_eq!(found.reason, Some(expected));
    let flow = &found.counterexamples[0].flow;
    assert_eq!(flow.source, "172.18.0.2".parse::<IpAddr>().unwrap(), "a container that runs");
    assert_eq!((flow.protocol, flow.destination_port), (6, Some(80)));
    expect(&system, &egress("net:front", "unchanged"), Status::Fails);
    expect(&system, &egress("host", "203.0.113.10"), Status::Holds);
    // No way out: nothing gets there.
    let found = expect(&system, &egress("net:inner", "203.0.113.10"), Status::Fails);
    assert_eq!(found.reason, Some(Reason::Vacuous(Nothing::GetsThere)));
    let excused = egress("net:inner", "203.0.113.10") + "vacuous = \"ok\"\n";
    expect(&system, &excused, Status::Holds);
}

#[test]
fn what_is_published_arrives() {
    let system = system("04-networks");
    let allow = |from: &str, to: &str, lands: &str| {
        format!("[[allow]]\nfrom = \"{from}\"\nto = \"{to}\"\n{lands}\n")
    };
    expect(&system, &allow("internet", "203.0.113.10:8081/tcp", ""), Status::Holds);
    let lands = "lands = \"container:f1:80\"";
    expect(&system, &allow("internet", "203.0.113.10:8081/tcp", lands), Status::Holds);
    let lands = "lands = \"container:b1:80\"";
    let found = expect(&system, &allow("internet", "203.0.113.10:8081/tcp", lands), Status::Fails);
    assert!(matches!(found.reason, Some(Reason::ArrivesAt { .. })), "{:?}", found.reason);
    let found = expect(&system, &allow("internet", "host:9999", ""), Status::Fails);
    assert_eq!(found.reason, Some(Reason::Experiences(Outcome::Refused)));
    expect(&system, &allow("net:front", "internet", ""), Status::Holds);
    expect(&system, &allow("container:f1", "container:f2", ""), Status::Holds);
    expect(&system, &allow("net:front", "container:b1:80", ""), Status::Fails);
}

#[test]
fn nothing_else_gets_in() {
    let system = system("04-networks");
    let published = |port: u16| {
        format!(
            "[[allow]]\nname = \"{port}\"\nfrom = \"internet\"\nto = \"203.0.113.10:{port}/tcp\"\n"
        )
    };
    let ports = [8080, 8081, 8082, 8083, 8084];
    let deny = |except: &[u16]| {
        let names: Vec<String> = except.iter().map(|port| format!("\"{port}\"")).collect();
        let deny = format!(
            "[[deny]]\nname = \"deny\"\nfrom = \"internet\"\nlands = \"net:*\"\nexcept = [{}]\n",
            names.join(", ")
        );
        let mut text: String = ports.map(published).concat();
        text.push_str(&deny);
        let found = findings(&system, &text);
        found.into_iter().find(|found| found.kind == Kind::Deny).unwrap()
    };
    assert_eq!(deny(&ports).status, Status::Holds);
    let found = deny(&[8080, 8081, 8082, 8083]);
    assert_eq!(found.status, Status::Fails);
    let flow = &found.counterexamples[0].flow;
    assert_eq!(flow.destination_port, Some(8084));
    assert_eq!(flow.destination, "203.0.113.10".parse::<IpAddr>().unwrap());
}

#[test]
fn what_cannot_be_isolated_is_not() {
    let system = system("04-networks");
    let isolate =
        |one: &str, other: &str| format!("[[isolate]]\nzones = [\"{one}\", \"{other}\"]\n");
    let found = expect(&system, &isolate("net:front", "net:back"), Status::Fails);
    // By the published port of the other network's container, not directly.
    let example = &found.counterexamples[0];
    println!("{:?} {:?}", found.reason, example.flow);
    expect(&system, &isolate("net:front", "net:inner"), Status::Holds);
    expect(&system, &isolate("net:front", "internet"), Status::Fails);
}

#[test]
fn a_source_that_depends_on_the_port_is_unchanged_all_the_same() {
    let texts = [
        Text { name: "iptables-save", text: "*filter\nCOMMIT\n" },
        Text {
            name: "ip-addr.json",
            text: r#"[{"ifindex":2,"ifname":"eth0","flags":["UP"],"addr_info":[
                {"family":"inet","local":"203.0.113.10","prefixlen":24,"scope":"global"}]},
              {"ifindex":3,"ifname":"eth1","flags":["UP"],"addr_info":[
                {"family":"inet","local":"198.51.100.10","prefixlen":24,"scope":"global"}]}]"#,
        },
        Text {
            name: "ip-route.json",
            text: r#"[{"dst":"default","gateway":"203.0.113.1","dev":"eth0"},
              {"dst":"default","gateway":"198.51.100.1","dev":"eth1","table":"100"},
              {"dst":"203.0.113.0/24","dev":"eth0"},{"dst":"198.51.100.0/24","dev":"eth1"}]"#,
        },
        Text {
            name: "ip-rule.json",
            text: r#"[{"priority":0,"src":"all","table":"local"},
              {"priority":10,"src":"all","ipproto":"tcp","dport":443,"table":"100"},
              {"priority":32766,"src":"all","table":"main"}]"#,
        },
    ];
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let egress = |source: &str| {
        format!("[[egress]]\nfrom = \"host\"\nto = \"internet\"\nsource = \"{source}\"\n")
    };
    expect(&loaded.system, &egress("unchanged"), Status::Holds);
    let found = expect(&loaded.system, &egress("203.0.113.10"), Status::Fails);
    assert_eq!(found.counterexamples[0].flow.destination_port, Some(443));
}

#[test]
fn a_fault_of_nattrace_leaves_what_the_simulator_shows() {
    let system = system("04-networks");
    let text = "version = 1\n[[egress]]\nname = \"odd\"\nfrom = \"net:front\"\nto = \"internet\"\nsource = \"203.0.113.11\"\n";
    let (policy, _) = parse(text);
    let entry = &policy.entries[0];
    let found = check(&policy, &system, &Given::default()).unwrap().remove(0);
    let shown = found.counterexamples[0].clone();
    let fault = |shown: Option<Counterexample>| Disagreement {
        name: "odd".into(),
        flow: Some(Box::new(found.counterexamples[0].flow.clone())),
        between: Between::ClassesAndSimulator,
        one: "it breaks the entry".into(),
        other: "it keeps to the entry".into(),
        shown: shown.map(Box::new),
    };
    let unknown = Finding::of_fault(entry, Family::Ipv4, fault(None));
    assert_eq!((unknown.status, unknown.proved_by.len()), (Status::Unknown, 0));
    let Some(Reason::Undetermined(why)) = &unknown.reason else { panic!("{:?}", unknown.reason) };
    let packet = "`172.18.0.2:40000 -> 8.8.8.8:80/tcp --in br-front`";
    assert!(why.contains("contradicts itself") && why.contains(packet), "{why}");
    let failing = Finding::of_fault(entry, Family::Ipv4, fault(Some(shown)));
    assert_eq!((failing.status, failing.reason), (Status::Fails, found.reason));
    assert_eq!(failing.counterexamples.len(), 1);
    assert!(failing.fault.is_some());
    assert!(sound(vec![unknown]).is_err());
}

#[test]
fn a_range_of_sources_is_picked_from_by_a_hash() {
    let system = system("17k-snat-ranges");
    let egress = |source: &str| {
        let entry = "[[egress]]\nfrom = \"container:web\"\nto = \"internet\"\nproto = \"tcp\"\n";
        format!("{entry}family = \"ipv4\"\nsource = {source}\n")
    };
    // Each address is picked for somebody; that no other one ever is, nobody looks at.
    let found = expect(&system, &egress("\"203.0.113.11\""), Status::Fails);
    assert!(found.reason.is_some());
    expect(&system, &egress("\"203.0.113.0/24\""), Status::Unknown);
}
