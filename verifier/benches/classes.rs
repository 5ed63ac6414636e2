//! How long it takes to divide the packets of large hosts into classes: `cargo bench -p
//! nattrace-verifier`.
//!
//! Needs `../shared` (the generator of rulesets) and python3; without one of them it says so and
//! ends.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::build::{Text, load};
use nattrace_parser::syntax::Family;
use nattrace_verifier::{Entry, PacketSet, Question, Space, walk};

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| all.is_empty() || all.iter().any(|one| name.contains(one.as_str()));
    if wanted("docker") {
        match ruleset(&["docker"]) {
            Some(rules) => docker(&rules),
            None => println!("skipped: ../shared/gen_rulesets.py and python3 are needed"),
        }
    }
    for rules in ["1000", "2000", "5500", "11000", "22000"] {
        if wanted("flat")
            && let Some(text) = ruleset(&["flat", "--rules", rules])
        {
            flat(&format!("flat {rules}"), &text);
        }
    }
    if wanted("kube")
        && let Some(text) = ruleset(&["kube", "--services", "10000"])
    {
        kube(&text);
    }
    ExitCode::SUCCESS
}

fn ruleset(arguments: &[&str]) -> Option<String> {
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/gen_rulesets.py");
    let made = Command::new("python3").arg(generator).args(arguments).output().ok()?;
    made.status.success().then(|| String::from_utf8_lossy(&made.stdout).into_owned())
}

fn measure(name: &str, system: &System, questions: &[Question]) {
    let start = Instant::now();
    let (mut classes, mut asked, mut open) = (0, 0, 0);
    for question in questions {
        let found = walk(system, question);
        classes += found.classes.len();
        asked += found.asked;
        open += found.classes.iter().filter(|class| class.undetermined.is_some()).count();
    }
    println!(
        "{name:<44} {:>8.1} ms {:>4} questions {classes:>6} classes {asked:>7} ways {open:>3} open",
        start.elapsed().as_secs_f64() * 1000.0,
        questions.len()
    );
}

fn net(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    Prefix::new(address.parse().expect("an address"), length.parse().expect("a length"))
}

/// A Docker host with the networks that its rules name.
fn docker(rules: &str) {
    let mut networks: Vec<(String, String)> = Vec::new();
    let mut containers: Vec<(String, usize)> = Vec::new();
    for line in rules.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["-A", "POSTROUTING", "-s", subnet, "!", "-o", bridge, "-j", "MASQUERADE"] = *words {
            networks.push((bridge.to_owned(), subnet.to_owned()));
        }
    }
    for line in rules.lines().filter(|line| line.starts_with("-A PREROUTING -d ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let bridge = words.get(6).copied().unwrap_or_default();
        let at = networks.iter().position(|(own, _)| own == bridge).unwrap_or(0);
        containers.push((words[3].trim_end_matches("/32").to_owned(), at));
    }
    let mut addresses = "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n".to_owned();
    let mut routes = "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0\n".to_owned();
    let mut inspect = Vec::new();
    for (index, (bridge, subnet)) in networks.iter().enumerate() {
        let (base, length) = subnet.split_once('/').unwrap();
        let gateway = format!("{}.1", base.rsplit_once('.').unwrap().0);
        _ = write!(
            addresses,
            "{}: {bridge}: <UP>\n    link/ether 02:42:00:00:00:{index:02x}\n    inet {gateway}/{length} scope global {bridge}\n",
            index + 3
        );
        _ = writeln!(routes, "{subnet} dev {bridge} src {gateway}");
        inspect.push(serde_json::json!({
            "Name": format!("net{index}"), "Id": format!("{index:064x}"), "Driver": "bridge",
            "Internal": false,
            "IPAM": {"Config": [{"Subnet": subnet, "Gateway": gateway}]},
            "Options": {"com.docker.network.bridge.name": bridge},
        }));
    }
    let running: Vec<serde_json::Value> = containers
        .iter()
        .enumerate()
        .map(|(index, (address, at))| {
            let (_, subnet) = &networks[*at];
            let (base, length) = subnet.split_once('/').unwrap();
            let gateway = format!("{}.1", base.rsplit_once('.').unwrap().0);
            serde_json::json!({
                "Id": format!("{:064x}", index + 1000), "Name": format!("/c{index}"),
                "State": {"Running": true}, "Config": {"Hostname": format!("c{index}")},
                "HostConfig": {"NetworkMode": format!("net{at}")},
                "NetworkSettings": {"Networks": {format!("net{at}"): {
                    "IPAddress": address, "IPPrefixLen": length.parse::<u8>().unwrap(),
                    "Gateway": gateway, "NetworkID": format!("{at:064x}"),
                }}},
            })
        })
        .collect();
    let (networks_json, containers_json) = (
        serde_json::Value::from(inspect).to_string(),
        serde_json::Value::from(running).to_string(),
    );
    let parts = [
        Text { name: "iptables-save", text: rules },
        Text { name: "ip-addr", text: &addresses },
        Text { name: "ip-route", text: &routes },
        Text { name: "docker-network-inspect.json", text: &networks_json },
        Text { name: "docker-inspect.json", text: &containers_json },
        Text {
            name: "sysctl",
            text: "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.conf.all.rp_filter = 1\n",
        },
    ];
    let loaded = load(&parts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let system = loaded.system;
    let space = Space::new(Family::Ipv4);
    let internet = internet(&space);
    let first = space.first_packets();
    let tcp = first.intersection(&space.protocol(6));
    let entry = |name: &str| Entry::Interface(name.to_owned());
    let from = |at: usize| space.source(&net(&networks[at].1));
    let own = space.destination(&net("192.0.2.2"));
    measure(
        "docker: internet to the host",
        &system,
        &[Question::new(internet.intersection(&own).intersection(&first), entry("eth0"))],
    );
    let away = |at: usize| {
        let everywhere = space.destination(&net("8.0.0.0/8")).intersection(&from(at));
        Question::new(everywhere.intersection(&first), entry(&networks[at].0))
    };
    measure("docker: one network to the internet", &system, &[away(1)]);
    measure(
        "docker: every network to the internet",
        &system,
        &(1..51).map(away).collect::<Vec<_>>(),
    );
    let gateways = networks.iter().map(|(_, subnet)| {
        let base = subnet.rsplit_once('.').unwrap().0;
        space.destination(&net(&format!("{base}.1")))
    });
    let gateways = gateways.fold(space.none(), |all, one| all.union(&one));
    let others = |at: usize| {
        let all = space.destination(&net("10.100.0.0/14")).intersection(&from(at));
        let all = all.difference(&gateways);
        Question::new(all.intersection(&tcp), entry(&networks[at].0))
    };
    measure("docker: one network to all others, tcp", &system, &[others(1)]);
    measure(
        "docker: every network to all others, tcp",
        &system,
        &(1..51).map(others).collect::<Vec<_>>(),
    );
    let web = space.destination_ports(8080, 8080).intersection(&tcp);
    let straight = space.destination(&net("10.100.0.0/14")).intersection(&internet);
    measure(
        "docker: internet to containers, port 8080",
        &system,
        &[Question::new(straight.intersection(&web), entry("eth0"))],
    );
}

fn internet(space: &Space) -> PacketSet {
    let private = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "0.0.0.0/8",
    ];
    private.iter().fold(space.all(), |all, one| all.difference(&space.source(&net(one))))
}

/// A firewall between two networks with one long chain.
fn flat(name: &str, rules: &str) {
    let parts = [
        Text { name: "iptables-save", text: rules },
        Text {
            name: "ip-addr",
            text: "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n3: eth1: <UP>\n    inet 198.51.100.2/24 scope global eth1\n",
        },
        Text {
            name: "ip-route",
            text: "default via 198.51.100.1 dev eth1\n192.0.2.0/24 dev eth0\n198.51.100.0/24 dev eth1\n",
        },
        Text { name: "sysctl", text: "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n" },
    ];
    let loaded = load(&parts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let space = Space::new(Family::Ipv4);
    let web = space
        .first_packets()
        .intersection(&space.destination_ports(80, 80))
        .intersection(&space.protocol(6));
    let question = Question::new(web, Entry::Interface("eth0".to_owned()));
    measure(&format!("{name}: everybody to port 80"), &loaded.system, &[question]);
}

/// A kubernetes node.
fn kube(rules: &str) {
    let parts = [
        Text { name: "iptables-save", text: rules },
        Text {
            name: "ip-addr",
            text: "1: lo: <LOOPBACK,UP>\n    inet 127.0.0.1/8 scope host lo\n2: eth0: <UP>\n    inet 192.0.2.2/24 scope global eth0\n3: cni0: <UP>\n    inet 10.244.0.1/24 scope global cni0\n",
        },
        Text {
            name: "ip-route",
            text: "default via 192.0.2.1 dev eth0\n10.244.0.0/24 dev cni0\n192.0.2.0/24 dev eth0\n",
        },
        Text { name: "sysctl", text: "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n" },
    ];
    let loaded = load(&parts, &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let space = Space::new(Family::Ipv4);
    let web = space
        .first_packets()
        .intersection(&space.destination_ports(80, 80))
        .intersection(&space.protocol(6));
    let pods = web.intersection(&space.source(&net("10.244.0.0/24")));
    let one = pods.intersection(&space.destination(&net("10.96.0.7/32")));
    measure(
        "kube: pods to one address, port 80",
        &loaded.system,
        &[Question::new(one, Entry::Interface("cni0".to_owned()))],
    );
    let all = pods.intersection(&space.destination(&net("10.96.0.0/20")));
    measure(
        "kube: pods to a fourth of the services, port 80",
        &loaded.system,
        &[Question::new(all, Entry::Interface("cni0".to_owned()))],
    );
}
