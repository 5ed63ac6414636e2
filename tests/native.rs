//! Tables of nftables beside iptables, on hosts that are rebuilt on the kernel that the tests run
//! on: those of Docker 29, and one made by hand before or behind iptables' NAT.
//!
//! Needs what `tests/selftest.rs` needs, and nft.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of a test")]

mod program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::selftest::missing;
use nattrace_model::build::load;
use program::{nattrace, show};

/// A network of Docker in one family.
struct Network {
    bridge: &'static str,
    subnet: &'static str,
    kind: Kind,
    /// Protocol, port of the host, address and port of the container.
    published: &'static [(&'static str, u16, &'static str, u16)],
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Usual,
    /// `enable_icc=false`.
    Apart,
    /// `--internal`.
    Internal,
}

/// The table `docker-bridges` as Docker 29 makes it.
fn docker29(family: &str, networks: &[Network]) -> String {
    let loopback = if family == "ip" { "127.0.0.0/8" } else { "::1" };
    let before_port = |address: &str| match family {
        "ip" => address.to_owned(),
        _ => format!("[{address}]"),
    };
    let mut text = format!("table {family} docker-bridges {{\n");
    for (map, chain) in [
        ("filter-forward-in-jumps", "filter-forward-in"),
        ("filter-forward-out-jumps", "filter-forward-out"),
        ("nat-postrouting-in-jumps", "nat-postrouting-in"),
        ("nat-postrouting-out-jumps", "nat-postrouting-out"),
    ] {
        let jump = |one: &Network| format!("\"{0}\" : jump {chain}__{0}", one.bridge);
        let elements: Vec<String> = networks.iter().map(jump).collect();
        let elements = elements.join(", ");
        writeln!(text, "map {map} {{ type ifname : verdict; elements = {{ {elements} }} }}")
            .unwrap();
    }
    writeln!(
        text,
        "chain filter-FORWARD {{ type filter hook forward priority filter; policy accept;\n\
         oifname vmap @filter-forward-in-jumps\niifname vmap @filter-forward-out-jumps\n}}\n\
         chain nat-OUTPUT {{ type nat hook output priority -100; policy accept;\n\
         {family} daddr != {loopback} fib daddr type local counter jump nat-prerouting-and-output\n}}\n\
         chain nat-POSTROUTING {{ type nat hook postrouting priority srcnat; policy accept;\n\
         iifname vmap @nat-postrouting-out-jumps\noifname vmap @nat-postrouting-in-jumps\n}}\n\
         chain nat-PREROUTING {{ type nat hook prerouting priority dstnat; policy accept;\n\
         fib daddr type local counter jump nat-prerouting-and-output\n}}"
    )
    .unwrap();
    let (mut dnat, mut raw) = (String::new(), String::new());
    for Network { bridge, subnet, kind, published } in networks {
        let mut opened = String::new();
        for (protocol, port, container, inner) in *published {
            writeln!(
                dnat,
                "iifname != \"{bridge}\" {protocol} dport {port} counter dnat to {}:{inner} comment \"DNAT\"",
                before_port(container)
            )
            .unwrap();
            let direct = format!(
                "{family} daddr {container} iifname != \"{bridge}\" counter drop comment \"DROP DIRECT ACCESS\"\n"
            );
            if !raw.contains(&direct) {
                raw += &direct;
            }
            writeln!(opened, "{family} daddr {container} {protocol} dport {inner} counter accept")
                .unwrap();
        }
        let known = "ct state established,related counter accept";
        let between = if *kind == Kind::Apart { "drop" } else { "accept" };
        let (into, out, masquerade) = match kind {
            Kind::Internal => (
                format!(
                    "iifname != \"{bridge}\" counter drop comment \"INTERNAL NETWORK INGRESS\"\n\
                     counter {between} comment \"ICC\""
                ),
                format!("oifname != \"{bridge}\" counter drop comment \"INTERNAL NETWORK EGRESS\""),
                String::new(),
            ),
            Kind::Usual | Kind::Apart => (
                format!(
                    "iifname \"{bridge}\" counter {between} comment \"ICC\"\n{opened}\
                     counter drop comment \"UNPUBLISHED PORT DROP\""
                ),
                "counter accept comment \"OUTGOING\"".to_owned(),
                format!(
                    "oifname != \"{bridge}\" {family} saddr {subnet} counter masquerade comment \"MASQUERADE\""
                ),
            ),
        };
        writeln!(
            text,
            "chain filter-forward-in__{bridge} {{\n{known}\n{into}\n}}\n\
             chain filter-forward-out__{bridge} {{\n{known}\n{out}\n}}\n\
             chain nat-postrouting-in__{bridge} {{\n}}\n\
             chain nat-postrouting-out__{bridge} {{\n{masquerade}\n}}"
        )
        .unwrap();
    }
    write!(
        text,
        "chain nat-prerouting-and-output {{\n{dnat}}}\n\
         chain raw-PREROUTING {{ type filter hook prerouting priority raw; policy accept;\n{raw}}}\n}}\n"
    )
    .unwrap();
    text
}

/// What `nft -j list ruleset` says of these tables.
fn listed(name: &str, tables: &str) -> String {
    let file = std::env::temp_dir().join(format!("nattrace-{name}-{}.nft", std::process::id()));
    fs::write(&file, tables).unwrap();
    let load = "nft -f \"$0\" && nft -j list ruleset";
    let ran =
        Command::new("unshare").args(["--net", "sh", "-c", load]).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(ran.status.success(), "{}\n{tables}", show(&ran));
    String::from_utf8(ran.stdout).unwrap()
}

/// A host of the corpus in a folder, with these tables.
struct Host(PathBuf);

impl Host {
    fn new(name: &str, case: &str, tables: &str, iptables: Iptables) -> Self {
        let folder = std::env::temp_dir().join(format!("nattrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (part, text) in read(case).parts {
            let is_rules = part.starts_with("iptables-") || part.starts_with("ip6tables-");
            match (is_rules, iptables) {
                (true, Iptables::Empty) if part.ends_with("-save") => {
                    fs::write(folder.join(part), "").unwrap();
                }
                (true, Iptables::Empty) => {}
                _ => fs::write(folder.join(part), text).unwrap(),
            }
        }
        fs::write(folder.join("nft-ruleset.json"), listed(name, tables)).unwrap();
        Self(folder)
    }

    fn ask(&self, command: &str, question: &str) -> serde_json::Value {
        let said = nattrace()
            .args([command, "--json", "-s"])
            .arg(&self.0)
            .args(question.split_whitespace())
            .output()
            .unwrap();
        let json = serde_json::from_slice(&said.stdout);
        json.unwrap_or_else(|_| panic!("{command} {question}: {}", show(&said)))
    }

    /// The kernel does with this packet just what the simulator says.
    fn agrees(&self, question: &str) {
        let json = self.ask("selftest", question);
        assert_eq!(json["difference"], serde_json::Value::Null, "{question}: {json:#}");
        assert_eq!((&json["agreed"], &json["undetermined"]), (&1.into(), &0.into()), "{question}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What iptables holds.
#[derive(Clone, Copy)]
enum Iptables {
    Empty,
    AsRecorded,
}

fn read(case: &str) -> Case {
    Case::read(&cases_dir().join(case)).unwrap()
}

/// Whether a host can be rebuilt here; a skip is printed, and is a failure where CI=true.
fn can_run() -> bool {
    let mut missing = missing(&load(&read("11a-ipv6-ip6tables").texts(), &[]).system);
    if Command::new("nft").arg("--version").output().is_err() {
        missing.push("nft".to_owned());
    }
    if !Path::new("/proc/self/ns/net").exists() || missing.is_empty() {
        return missing.is_empty();
    }
    nattrace_skips::skip("1 test of native tables", &missing.join(", "));
    false
}

/// Asks about all packets, several at once, and then about random ones.
fn compare(host: &Host, questions: &[&str], packets: u64) {
    std::thread::scope(|scope| {
        for some in questions.chunks(questions.len().div_ceil(4)) {
            scope.spawn(move || some.iter().for_each(|question| host.agrees(question)));
        }
    });
    let json = host.ask("selftest", &format!("--packets {packets} --seed 29"));
    assert_eq!(json["difference"], serde_json::Value::Null, "{json:#}");
    assert_eq!(json["agreed"], packets, "{json:#}");
    println!("{} packets asked for, {packets} drawn: all agree", questions.len());
}

const V4: [Network; 2] = [
    Network {
        bridge: "docker0",
        subnet: "172.17.0.0/16",
        kind: Kind::Usual,
        published: &[("tcp", 8080, "172.17.0.2", 80), ("udp", 8053, "172.17.0.2", 53)],
    },
    Network {
        bridge: "br-net6",
        subnet: "172.18.0.0/16",
        kind: Kind::Usual,
        published: &[("tcp", 8081, "172.18.0.2", 80)],
    },
];

const V6: [Network; 2] = [
    Network {
        bridge: "docker0",
        subnet: "fd00:d0c::/64",
        kind: Kind::Usual,
        published: &[
            ("tcp", 8080, "fd00:d0c::242:ac11:2", 80),
            ("udp", 8053, "fd00:d0c::242:ac11:2", 53),
        ],
    },
    Network {
        bridge: "br-net6",
        subnet: "fd00:18::/64",
        kind: Kind::Usual,
        published: &[("tcp", 8081, "fd00:18::2", 80)],
    },
];

#[test]
fn the_kernel_agrees_on_docker_29_in_both_families() {
    if !can_run() {
        return;
    }
    let tables = docker29("ip", &V4) + &docker29("ip6", &V6);
    let host = Host::new("docker29", "11a-ipv6-ip6tables", &tables, Iptables::Empty);
    let questions = [
        // Published ports from outside, and what is reached without them.
        "internet to 203.0.113.10:8080",
        "internet to 203.0.113.10:8053/udp",
        "internet to 203.0.113.10:8081",
        "internet to [2001:db8:1::10]:8080",
        "internet to [2001:db8:1::10]:8053/udp",
        "internet to [2001:db8:1::10]:8081",
        "internet to 172.17.0.2:80",
        "internet to 172.18.0.3:80",
        "internet to [fd00:d0c::242:ac11:2]:80",
        "internet to [fd00:18::3]:80",
        // Containers to the internet, to their neighbours, to other networks.
        "172.17.0.2 to 198.51.100.9:443",
        "172.18.0.3 to 198.51.100.9:53/udp",
        "fd00:d0c::242:ac11:2 to [2620:fe::9]:443",
        "fd00:18::3 to [2620:fe::9]:53/udp",
        "172.17.0.2 to 172.17.0.3:80",
        "172.17.0.3 to 172.18.0.2:80",
        "172.18.0.3 to 172.17.0.3:80",
        "fd00:18::2 to [fd00:18::3]:80",
        "fd00:18::3 to [fd00:d0c::242:ac11:2]:80",
        "172.17.0.3 to 203.0.113.10:8081",
        "172.17.0.3 to 203.0.113.10:8080",
        "fd00:18::3 to [2001:db8:1::10]:8080",
        "fd00:18::3 to [2001:db8:1::10]:8081",
        // The host.
        "host to 172.17.0.2:80",
        "host to 203.0.113.10:8080",
        "host to 127.0.0.1:8080",
        "host to [fd00:18::2]:80",
        "host to [2001:db8:1::10]:8081",
        "host to [::1]:8081",
    ];
    compare(&host, &questions, 150);
}

#[test]
fn the_kernel_agrees_on_docker_29_with_networks_of_every_kind() {
    if !can_run() {
        return;
    }
    let network = |bridge, subnet, kind, published| Network { bridge, subnet, kind, published };
    let tables = docker29(
        "ip",
        &[
            network("docker0", "172.17.0.0/16", Kind::Usual, &[("tcp", 8080, "172.17.0.2", 80)]),
            network("br-front", "172.18.0.0/16", Kind::Usual, &[("tcp", 8081, "172.18.0.2", 80)]),
            network(
                "br-back",
                "172.19.0.0/16",
                Kind::Usual,
                &[("tcp", 8082, "172.19.0.2", 80), ("tcp", 8084, "172.19.0.3", 80)],
            ),
            network("br-inner", "172.20.0.0/16", Kind::Internal, &[]),
            network("br-quiet", "172.21.0.0/16", Kind::Apart, &[("tcp", 8083, "172.21.0.2", 80)]),
        ],
    );
    let host = Host::new("docker29-kinds", "04-networks", &tables, Iptables::Empty);
    let questions = [
        "internet to 203.0.113.10:8083",
        "internet to 203.0.113.10:8084",
        "internet to 172.20.0.2:80",
        "172.20.0.2 to 198.51.100.9:443",
        "172.20.0.2 to 172.20.0.3:80",
        "172.20.0.2 to 172.18.0.2:80",
        "172.18.0.3 to 172.20.0.2:80",
        "172.21.0.2 to 172.21.0.3:80",
        "172.21.0.3 to 198.51.100.9:443",
        "172.21.0.3 to 203.0.113.10:8083",
        "172.18.0.3 to 203.0.113.10:8083",
        "host to 172.21.0.2:80",
    ];
    compare(&host, &questions, 150);
}

/// Of two chains of NAT the one of the smaller priority is asked first, and what it rewrites is not
/// rewritten again (kernel-facts L1).
#[test]
fn a_table_made_by_hand_wins_before_masquerade_and_loses_behind_it() {
    if !can_run() {
        return;
    }
    let tables = |priority: u32| {
        let table = |family: &str, there: &str, here: &str| {
            format!(
                "table {family} nat2 {{\nchain post {{\n\
                 type nat hook postrouting priority {priority}; policy accept;\n\
                 oifname \"eth0\" {family} daddr {there} meta l4proto udp counter \
                 snat to {here}:5000\n}}\n}}\n"
            )
        };
        table("ip", "198.51.100.9", "203.0.113.10")
            + &table("ip6", "2620:fe::9", "[2001:db8:1::10]")
    };
    let matched = [
        ("172.17.0.2 to 198.51.100.9:53/udp", "203.0.113.10"),
        ("fd00:d0c::242:ac11:2 to [2620:fe::9]:53/udp", "2001:db8:1::10"),
    ];
    let others = [
        "172.17.0.2 to 198.51.100.9:53",
        "172.17.0.2 to 198.51.100.8:53/udp",
        "internet to 203.0.113.10:8080",
    ];
    for (priority, port) in [(99, 5000), (101, 40_000)] {
        let name = format!("nat2-{priority}");
        let host = Host::new(&name, "11a-ipv6-ip6tables", &tables(priority), Iptables::AsRecorded);
        let mut ports = BTreeMap::new();
        for (question, source) in matched {
            let json = host.ask("why", question);
            assert_eq!(json["egress"]["src"], source, "{question}");
            ports.insert(question, json["egress"]["sport"].as_u64().unwrap());
        }
        assert!(ports.values().all(|found| *found == port), "{priority}: {ports:?}");
        let questions: Vec<&str> =
            matched.iter().map(|(question, _)| *question).chain(others).collect();
        compare(&host, &questions, 60);
    }
}
