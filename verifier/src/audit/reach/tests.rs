use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use nattrace_model::answer::Step;
use nattrace_model::build::{Text, load};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::protocol;
use nattrace_model::simulate::why;

use super::*;

const HOST: [(&str, &str); 3] = [
    (
        "ip-addr",
        "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope \
         global eth0\n3: eth1: <UP>\n    inet 198.51.100.2/24 scope global eth1\n4: \
         wan0: <UP>\n    inet 10.9.9.2/24 scope global wan0\n",
    ),
    (
        "ip-route",
        "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0\n198.51.100.0/24 dev eth1\n",
    ),
    ("sysctl", "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n"),
];

fn system(rules: &str) -> System {
    let texts: Vec<Text<'_>> = HOST
        .into_iter()
        .chain([("iptables-save", rules)])
        .map(|(name, text)| Text { name, text })
        .collect();
    let loaded = load(&texts, &[]);
    assert!(!loaded.has_errors(), "{rules}\n{:?}", loaded.diagnostics);
    loaded.system
}

fn filter(rules: &str) -> System {
    let chains: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|name| *name != "FORWARD" && *name != "INPUT")
        .collect();
    let mut text =
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    for chain in chains {
        _ = writeln!(text, ":{chain} - [0:0]");
    }
    system(&format!("{text}{rules}\nCOMMIT\n"))
}

/// The rules that no packet gets to, as `CHAIN/NUMBER`, each with what takes its packets.
fn unreached(system: &System) -> Vec<(String, Vec<String>)> {
    let reach = Reach::new(system);
    let name =
        |id: RuleId| format!("{}/{}", system.rules.chain(id.chain).unwrap().name, id.number());
    let mut all = Vec::new();
    for (chain, own) in (0u32..).map(ChainId).zip(&system.rules.chains) {
        for (index, _) in (0u32..).zip(&own.rules) {
            let id = RuleId { chain, index };
            match reach.of(id) {
                Reached::Yes(_) => {}
                Reached::TakenBy(by) => {
                    all.push((name(id), by.into_iter().map(name).collect()));
                }
                Reached::NotCalled => all.push((name(id), Vec::new())),
            }
        }
    }
    all
}

#[track_caller]
fn check(rules: &str, expected: &[(&str, &[&str])]) {
    let found = unreached(&filter(rules));
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(rule, by)| ((*rule).to_owned(), by.iter().map(|one| (*one).to_owned()).collect()))
        .collect();
    assert_eq!(found, expected, "{rules}");
}

#[test]
fn several_rules_take_together_what_none_takes_alone() {
    check(
        "-A FORWARD -s 10.0.0.0/9 -j ACCEPT\n-A FORWARD -s 10.128.0.0/9 -j DROP\n-A FORWARD -s 10.0.0.0/8 -j ACCEPT",
        &[("FORWARD/3", &["FORWARD/1", "FORWARD/2"])],
    );
    check(
        "-A FORWARD -p tcp -m tcp --dport 0:1023 -j ACCEPT\n-A FORWARD -p tcp -m multiport --dports 1024:40000,40001:65535 -j DROP\n\
         -A FORWARD -p tcp -j ACCEPT",
        &[("FORWARD/3", &["FORWARD/1", "FORWARD/2"])],
    );
    // Where one is enough, it is the one that is told.
    check(
        "-A FORWARD -d 0.0.0.0/8 -j DROP\n-A FORWARD -s 192.0.0.0/24 -j DROP\n-A FORWARD -s 192.0.0.0/29 -j DROP",
        &[("FORWARD/3", &["FORWARD/2"])],
    );
    // One port is left.
    check(
        "-A FORWARD -p tcp -m tcp --dport 0:1022 -j ACCEPT\n-A FORWARD -p tcp -m tcp --dport 1024:65535 -j DROP\n\
         -A FORWARD -p tcp -j ACCEPT",
        &[],
    );
    check(
        "-A FORWARD -m conntrack --ctstate NEW,INVALID -j DROP\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT\n\
         -A FORWARD -j DROP",
        &[("FORWARD/3", &["FORWARD/1", "FORWARD/2"])],
    );
    check(
        "-A FORWARD -i eth0 -j DROP\n-A FORWARD ! -i eth0 -j ACCEPT\n-A FORWARD -p udp -j DROP",
        &[("FORWARD/3", &["FORWARD/1", "FORWARD/2"])],
    );
    // There may be another interface.
    check("-A FORWARD -i eth0 -j DROP\n-A FORWARD -i eth1 -j ACCEPT\n-A FORWARD -j DROP", &[]);
}

#[test]
fn chains_are_followed() {
    // A chain that always ends.
    check(
        "-A FORWARD -p tcp -j mine\n-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT\n-A mine -s 10.0.0.0/8 -j ACCEPT\n-A mine -j DROP",
        &[("FORWARD/2", &["FORWARD/1"])],
    );
    // One that lets some go back.
    check(
        "-A FORWARD -p tcp -j mine\n-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT\n-A mine -s 10.0.0.0/8 -j RETURN\n-A mine -j DROP",
        &[],
    );
    check(
        "-A FORWARD -p tcp -j mine\n-A FORWARD -s 192.0.2.0/24 -p tcp -m tcp --dport 80 -j ACCEPT\n-A mine -s 10.0.0.0/8 -j RETURN\n-A mine -j DROP",
        &[("FORWARD/2", &["FORWARD/1"])],
    );
    // What calls a chain asks for something else, or is not reached itself.
    check("-A FORWARD -p tcp -j mine\n-A mine -p udp -j DROP", &[("mine/1", &[])]);
    check(
        "-A FORWARD -j DROP\n-A FORWARD -p tcp -j mine\n-A mine -s 10.0.0.0/8 -j ACCEPT",
        &[("FORWARD/2", &["FORWARD/1"]), ("mine/1", &["FORWARD/1"])],
    );
    check("-A lone -j DROP", &[("lone/1", &[])]);
    check(
        "-A FORWARD -g mine\n-A FORWARD -j DROP\n-A mine -p tcp -j DROP",
        &[("FORWARD/2", &["FORWARD/1"])],
    );
}

#[test]
fn what_is_unsure_takes_nothing() {
    for rule in [
        "-m limit --limit 5/sec -j ACCEPT",
        "-m statistic --mode nth --every 2 --packet 0 -j DROP",
        "-j LOG",
        "-m addrtype --dst-type LOCAL -j DROP",
    ] {
        check(&format!("-A FORWARD {rule}\n-A FORWARD -p tcp -j DROP"), &[]);
    }
    // The same question has the same answer.
    check(
        "-A FORWARD -m addrtype --dst-type LOCAL -j DROP\n-A FORWARD -p tcp -m addrtype --dst-type LOCAL -j ACCEPT",
        &[("FORWARD/2", &["FORWARD/1"])],
    );
    check(
        "-A FORWARD -m addrtype --dst-type LOCAL -j DROP\n-A FORWARD -m addrtype ! --dst-type LOCAL -j ACCEPT\n-A FORWARD -j DROP",
        &[("FORWARD/3", &["FORWARD/1", "FORWARD/2"])],
    );
    // Unless something between changes it.
    check(
        "-A FORWARD -m mark --mark 0x1 -j DROP\n-A FORWARD -m mark --mark 0x1 -j ACCEPT",
        &[("FORWARD/2", &["FORWARD/1"])],
    );
}

/// A target that nobody knows the workings of may do anything to its packets, and to no others.
#[test]
fn behind_what_is_not_known_only_what_asks_nothing_takes() {
    let unknown = "-m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460";
    // Before it.
    check(
        &format!(
            "-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -p tcp -m tcp --dport 80 -j DROP\n-A FORWARD -p tcp {unknown}"
        ),
        &[("FORWARD/2", &["FORWARD/1"]), ("FORWARD/3", &["FORWARD/1"])],
    );
    // Behind it.
    check(
        &format!(
            "-A FORWARD -p tcp {unknown}\n-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -p tcp -m tcp --dport 80 -j DROP"
        ),
        &[],
    );
    check(
        &format!("-A FORWARD -p tcp {unknown}\n-A FORWARD -j DROP\n-A FORWARD -p udp -j ACCEPT"),
        &[("FORWARD/3", &["FORWARD/2"])],
    );
    // In a chain that is called before, and in one that is called at the end of the way.
    let called = "-A FORWARD -p udp -j mine\n-A FORWARD -p tcp -j ACCEPT\n-A FORWARD -p tcp -m tcp --dport 80 -j DROP";
    check(&format!("{called}\n-A mine -p tcp {unknown}"), &[("mine/1", &[])]);
    check(
        &format!("{called}\n-A mine -p udp -j HMARK --hmark-tuple src --hmark-mod 2 --hmark-rnd 1"),
        &[],
    );
    check(
        "-A FORWARD -p udp -j DROP\n-A FORWARD -j mine\n-A mine -p udp -j ACCEPT\n\
         -A mine -j HMARK --hmark-tuple src --hmark-mod 2 --hmark-rnd 1\n-A mine -p udp -j DROP",
        &[("mine/1", &["FORWARD/1"])],
    );
    // It may go back to the caller, where others take all.
    check(
        "-A FORWARD -j mine\n-A FORWARD -p udp -j ACCEPT\n\
         -A mine -p tcp -j HMARK --hmark-tuple src --hmark-mod 2 --hmark-rnd 1\n-A mine -j DROP",
        &[],
    );
}

#[test]
fn a_mark_that_is_set_on_the_way_is_another_one() {
    let text = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m mark --mark 0x1 -j ACCEPT\n\
                -A PREROUTING -p tcp -j MARK --set-xmark 0x1/0xffffffff\n-A PREROUTING -m mark --mark 0x1 -j DROP\nCOMMIT\n";
    assert_eq!(unreached(&system(text)), []);
}

/// A rule of small choices, so that few packets stand for all.
fn random_rule(random: &mut fastrand::Rng, chain: &str, callable: &[&str]) -> String {
    let mut rule = format!("-A {chain}");
    let not = |rule: &mut String, random: &mut fastrand::Rng| {
        if random.u8(0..6) == 0 {
            rule.push_str(" !");
        }
    };
    let nets = ["198.51.100.0/25", "198.51.100.128/25", "198.51.100.0/24", "198.51.100.64/26"];
    if random.u8(0..3) == 0 {
        not(&mut rule, random);
        _ = write!(rule, " -s {}", random.choice(nets).unwrap());
    }
    if random.u8(0..3) == 0 {
        not(&mut rule, random);
        _ = write!(rule, " -d {}", random.choice(nets).unwrap());
    }
    if random.u8(0..5) == 0 {
        not(&mut rule, random);
        _ = write!(rule, " -i {}", random.choice(["eth0", "eth1", "eth+"]).unwrap());
    }
    match random.u8(0..6) {
        0 => rule.push_str(" -p udp"),
        1 => rule.push_str(" -p tcp"),
        2 => {
            let ports = random.choice(["80", "0:80", "81:65535", "443"]).unwrap();
            _ = write!(rule, " -p tcp -m tcp --dport {ports}");
        }
        3 => rule.push_str(" -p tcp -m multiport --dports 22,80:443"),
        _ => {}
    }
    let targets = ["ACCEPT", "DROP", "ACCEPT", "DROP", "RETURN", "LOG"];
    match random.u8(0..4) {
        0 if !callable.is_empty() => {
            let how = random.choice(["-j", "-j", "-g"]).unwrap();
            _ = write!(rule, " {how} {}", random.choice(callable).unwrap());
        }
        _ => _ = write!(rule, " -j {}", random.choice(targets).unwrap()),
    }
    rule
}

/// The packets that stand for all that such rules tell apart.
fn universe() -> Vec<Flow> {
    let ends = ["198.51.100.10", "198.51.100.70", "198.51.100.200", "203.0.113.9"];
    let services = [
        (protocol::TCP, 22),
        (protocol::TCP, 79),
        (protocol::TCP, 80),
        (protocol::TCP, 100),
        (protocol::TCP, 443),
        (protocol::TCP, 444),
        (protocol::UDP, 80),
        (protocol::ICMP, 0),
    ];
    let mut flows = Vec::new();
    for source in ends {
        for destination in ends.iter().filter(|own| **own != source) {
            for interface in ["eth0", "eth1", "wan0"] {
                for (number, port) in services {
                    let ports = number != protocol::ICMP;
                    flows.push(Flow {
                        source: source.parse::<IpAddr>().unwrap(),
                        destination: destination.parse().unwrap(),
                        protocol: number,
                        source_port: ports.then_some(40000),
                        destination_port: ports.then_some(port),
                        in_interface: Some(interface.to_owned()),
                        state: FlowState::New,
                        mark: 0,
                        tcp_flags: None,
                        icmp: None,
                        ttl: None,
                        any_source: false,
                    });
                }
            }
        }
    }
    // From and to the same network, past one another.
    let twins: Vec<Flow> = flows
        .iter()
        .filter(|flow| flow.source == ends[0].parse::<IpAddr>().unwrap())
        .flat_map(|flow| {
            ["198.51.100.10", "198.51.100.70", "198.51.100.200", "203.0.113.9"].map(|own| {
                let mut flow = flow.clone();
                flow.destination = own.parse().unwrap();
                flow.source = match own {
                    "198.51.100.10" => "198.51.100.11",
                    "198.51.100.70" => "198.51.100.71",
                    "198.51.100.200" => "198.51.100.201",
                    _ => "203.0.113.10",
                }
                .parse()
                .unwrap();
                flow
            })
        })
        .collect();
    flows.extend(twins);
    flows
}

/// For random rulesets: the rules that packets get to, as every packet shows, are just those that
/// are said to be reached. Answers are left out: they meet the rules as packets of the universe do.
#[test]
fn what_is_said_to_be_reached_is() {
    let universe = universe();
    let mut random = fastrand::Rng::with_seed(11);
    let (mut reached, mut not) = (0, 0);
    for round in 0..60 {
        let mut lines: Vec<String> = Vec::new();
        for (chain, callable, most) in
            [("FORWARD", &["one", "two"][..], 8), ("one", &["two"][..], 5), ("two", &[][..], 5)]
        {
            for _ in 0..random.usize(2..=most) {
                lines.push(random_rule(&mut random, chain, callable));
            }
        }
        let text = lines.join("\n");
        let system = filter(&text);
        let hit: BTreeSet<RuleId> = universe
            .iter()
            .flat_map(|flow| why(&system, flow).steps)
            .filter_map(|step| match step {
                Step::Rule { rule, .. } => Some(rule),
                _ => None,
            })
            .collect();
        let reach = Reach::new(&system);
        for (chain, own) in (0u32..).map(ChainId).zip(&system.rules.chains) {
            for (index, rule) in (0u32..).zip(&own.rules) {
                let id = RuleId { chain, index };
                let says = reach.of(id);
                let is = hit.contains(&id);
                assert_eq!(
                    matches!(says, Reached::Yes(_)),
                    is,
                    "round {round}, {}: {says:?}\n{text}",
                    system.rules.text(rule)
                );
                if is { reached += 1 } else { not += 1 }
            }
        }
    }
    assert!(reached > 200 && not > 100, "{reached} {not}");
}
