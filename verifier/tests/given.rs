//! What-if on the hosts of the corpus: what a host would be, against what hosts really are.

use std::collections::BTreeMap;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_model::System;
use nattrace_model::build::load;
use nattrace_parser::policy::{Given, parse, parse_given};
use nattrace_verifier::check::{Status, check};
use nattrace_verifier::given::apply;
use nattrace_verifier::policy::{unknown_given, unknown_names};

fn given(text: &str) -> Given {
    let (given, complaints) = parse_given(text);
    assert_eq!(complaints, [], "{text}");
    given
}

fn system(name: &str) -> System {
    let all = Case::read_all(&cases_dir()).unwrap();
    let case = all.iter().find(|case| case.name.starts_with(name)).unwrap();
    load(&case.texts(), &[]).system
}

/// The rules of each chain in order.
fn rules(system: &System) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    for chain in &system.rules.chains {
        let text = |rule| {
            let text = system.rules.text(rule);
            text[text.find("-A ").unwrap_or(0)..].to_owned()
        };
        let name = format!("{:?} {} {}", chain.family, chain.table, chain.name);
        chains.insert(name, chain.rules.iter().map(text).collect());
    }
    chains
}

fn sorted(mut chains: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    chains.values_mut().for_each(|rules| rules.sort());
    chains.retain(|_, rules| !rules.is_empty());
    chains
}

/// Whether every entry of a policy holds.
fn holds(policy: &str, system: &System, what: &str) -> bool {
    let text = format!("version = 1\n{policy}");
    let (policy, complaints) = parse(&text);
    assert_eq!(complaints, [], "{text}");
    assert_eq!(unknown_names(&policy, system), [], "{text}");
    let what = given(what);
    assert_eq!(unknown_given(&what, system), []);
    let findings = check(&policy, system, &what).unwrap();
    for finding in findings.iter().filter(|finding| finding.status != Status::Holds) {
        let shown = finding.counterexamples.first().map(|shown| &shown.flow);
        println!("{}: {:?} {:?} {shown:?}", finding.name, finding.status, finding.reason);
    }
    findings.iter().all(|finding| finding.status == Status::Holds)
}

/// A hand edit is behind what Docker makes, once it is started again; what flushed rules did is
/// mended, and where Docker keeps no rules it makes none.
#[test]
fn a_restart_of_dockerd_undoes_edits() {
    let restarted = "restarted=dockerd";
    let egress = |zone: &str, source: &str| {
        format!(
            "[[egress]]\nfrom = \"{zone}\"\nto = \"internet\"\nsource = \"{source}\"\nfamily = \"ipv4\"\n"
        )
    };
    for case in ["03-", "03c"] {
        let host = system(case);
        let (wanted, first) = ("173.208.194.205", "173.208.194.202");
        assert!(holds(&egress("net:pub", wanted), &host, ""), "{case}");
        assert!(!holds(&egress("net:pub", wanted), &host, restarted), "{case}");
        assert!(holds(&egress("net:pub", first), &host, restarted), "{case}");
        let unedited = rules(&system("02"));
        let found = rules(&apply(&host, &given(restarted)));
        for rule in unedited.values().flatten() {
            assert!(found.values().flatten().any(|found| found == rule), "{case}: {rule}");
        }
    }
    // SNAT in the rule's place kept the source for the LAN; MASQUERADE is back.
    let lan = "[[egress]]\nfrom = \"container:web\"\nto = \"192.168.12.113\"\nsource = \"unchanged\"\nfamily = \"ipv4\"\n";
    let host = system("05b-lan-no-masquerade");
    assert!(holds(lan, &host, ""));
    assert!(!holds(lan, &host, restarted));
    // What docker-proxy served is translated again, and what leaves is masqueraded again.
    let host = system("15a");
    let out = egress("net:bridge", "203.0.113.10");
    assert!(!holds(&out, &host, ""));
    assert!(holds(&out, &host, restarted));
    // `--iptables=false`.
    let host = system("06a");
    assert_eq!(rules(&host), rules(&apply(&host, &given(restarted))));
}

/// dockerd turns forwarding on, and then forwards nothing but what a rule accepts.
#[test]
fn a_restart_of_dockerd_turns_forwarding_on() {
    let host = system("01");
    let off = apply(&host, &given("ip_forward=off"));
    assert_eq!(off.host.sysctls.get("net.ipv4.ip_forward"), Some(0));
    let on = apply(&off, &given("restarted=dockerd"));
    assert_eq!(on.host.sysctls.get("net.ipv4.ip_forward"), Some(1));
    let both = apply(&host, &given("restarted = \"dockerd\"\nip_forward = false"));
    assert_eq!(both.host.sysctls.get("net.ipv4.ip_forward"), Some(0));
}

/// With IPv6 the neighbours reach the host by link-local addresses, and no rule says anything about
/// it.
#[test]
fn ipv6_comes_as_the_kernel_makes_it() {
    let own = |system: &System| {
        let all = system.host.interfaces.iter().flat_map(|own| own.addresses.clone());
        let ipv6 = all.filter(|address| address.local.is_ipv6());
        ipv6.map(|address| address.local).collect::<Vec<_>>()
    };
    let host = system("01");
    let mut without = host.clone();
    for interface in &mut without.host.interfaces {
        interface.addresses.retain(|address| address.local.is_ipv4());
    }
    without.host.routing.tables6.clear();
    let with = apply(&without, &given("ipv6=on"));
    // The kernel of the recorded host made the same addresses.
    for address in own(&with) {
        assert!(own(&host).contains(&address), "{address} is none of {:?}", own(&host));
    }
    assert!(own(&with).len() >= 2);
    let to = own(&with).into_iter().find(|address| !address.is_loopback()).unwrap();
    let allow = format!(
        "[[allow]]\nfrom = \"fe80::1\"\nto = \"{to}\"\nproto = \"icmp\"\nlands = \"host\"\n"
    );
    let deny = "[[deny]]\nfrom = \"iface:eth0\"\nlands = \"host:22/tcp\"\nfamily = \"ipv6\"\n";
    assert!(!holds(&allow, &without, ""));
    assert!(!holds(deny, &without, "ipv6=on"));
}

/// Links, routes and forwarding: what depends on them fails without them.
#[test]
fn what_goes_away_is_missed() {
    let host = system("01");
    let out = "[[allow]]\nfrom = \"net:bridge\"\nto = \"internet:443/tcp\"\nfamily = \"ipv4\"\n";
    assert!(holds(out, &host, ""));
    for what in ["down=eth0", "down=docker0", "gone=default", "ip_forward=off"] {
        assert!(!holds(out, &host, what), "{what}");
    }
}

/// Hosts whose rules are not all as Docker makes them.
const EDITED: [&str; 9] = ["03", "05b", "05c", "06", "07", "15a", "17", "12", "10"];

/// Docker that is started again on a host that nobody touched makes the rules that were there.
#[test]
fn a_restart_of_dockerd_makes_what_it_made() {
    let mut seen = 0;
    for case in Case::read_all(&cases_dir()).unwrap() {
        let before = load(&case.texts(), &[]).system;
        let after = apply(&before, &given("restarted=dockerd"));
        let again = apply(&after, &given("restarted=dockerd"));
        assert_eq!(rules(&after), rules(&again), "{}: once more is not the same", case.name);
        let (old, new) = (sorted(rules(&before)), sorted(rules(&after)));
        let edited = EDITED.iter().any(|begin| case.name.starts_with(begin));
        if old != new {
            for (name, rules) in &new {
                let was = old.get(name).cloned().unwrap_or_default();
                for rule in rules.iter().filter(|rule| !was.contains(rule)) {
                    println!("{}: + {rule}", case.name);
                }
                for rule in was.iter().filter(|rule| !rules.contains(rule)) {
                    println!("{}: - {rule}", case.name);
                }
            }
        }
        assert!(edited || old == new, "{}", case.name);
        seen += usize::from(!edited);
    }
    assert!(seen >= 10, "{seen}");
}
