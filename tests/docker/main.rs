//! Docker itself as the witness: dockerd in a network namespace, networks, published ports and
//! hand edits, and every prediction from `nattrace snapshot` against a real connection.
//!
//! Needs root, dockerd and busybox. Where something is missing the tests are skipped, and counted
//! as skipped in the output; with CI=true that is a failure.

mod applied;
mod namespace;
mod probe;
mod questions;
mod release;
mod restarted;
mod socket;
mod stories;
mod trial;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nattrace_corpus::agreement::check;
use nattrace_corpus::case::{Case, Probe};
use nattrace_model::System;
use nattrace_model::answer::{Answer, Outcome, Step};
use nattrace_model::build::load;
use nattrace_model::flow::FlowState;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Backend;
use probe::Question;
use socket::Sightings;
use stories::Part;
use world::World;

const IMAGE: &str = "nattrace/busybox";

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What is missing to run Docker here.
fn missing() -> Vec<String> {
    let programs =
        ["dockerd", "docker", "busybox", "nsenter", "ip", "tar", "iptables-save", "conntrack"];
    let mut missing: Vec<String> =
        programs.into_iter().filter(|name| find(name).is_none()).map(str::to_owned).collect();
    let namespace = Command::new("unshare").args(["--net", "--mount", "true"]).output();
    if !namespace.is_ok_and(|ran| ran.status.success()) {
        missing.push("the right to make a network namespace (root)".to_owned());
    }
    missing
}

/// Whether Docker can run here; a skip is printed, and is a failure where CI=true.
fn can_run() -> bool {
    let missing = missing();
    if missing.is_empty() {
        return true;
    }
    let what = missing.join(", ");
    nattrace_skips::skip("1 test with Docker", &format!("{what} missing"));
    false
}

/// How often a difference must show: neighbour discovery and the last packets of an earlier
/// connection count too, and do so once. The later tries wait longer, until nothing is sent again.
const TRIES: usize = 5;

/// Of the questions whose answer an edit does not change, one in so many is asked again.
const SAMPLE: u16 = 5;

/// What came of all questions.
#[derive(Default)]
struct Tally {
    predicted: usize,
    asked: usize,
    /// Outcomes with how often each was seen.
    outcomes: BTreeMap<String, usize>,
    report: String,
    /// How often a difference did not show again.
    passing: usize,
    /// How many states the machine was in.
    states: usize,
    /// The source port of the next question, so that no two share one.
    port: u16,
    /// What was predicted for each question in the first state.
    usual: BTreeMap<String, String>,
}

impl Tally {
    fn finish(&self, name: &str) {
        let Self { predicted, asked, outcomes, passing, report, .. } = self;
        println!(
            "{name}: {predicted}/{asked} real connections predicted {outcomes:?}, {passing} tried again"
        );
        assert!(predicted == asked, "{predicted}/{asked}\n{report}");
        assert!(outcomes.contains_key("connects") && outcomes.contains_key("timeout"));
    }

    /// Asks one question of the simulator and of the machine.
    fn ask(&mut self, subject: &Subject<'_>, question: &Question) {
        let (mut found, mut tries) = (None, 0);
        while tries < TRIES {
            if tries > 1 {
                std::thread::sleep(Duration::from_secs(1 << tries));
            }
            tries += 1;
            self.port += 1;
            let Some(flow) = question.flow(20_000 + self.port) else { return };
            let expected = why(&subject.system, &flow.question(FlowState::New));
            let essence = essence(&subject.system, &expected);
            let usual = self.usual.entry(question.what.clone()).or_insert_with(|| essence.clone());
            let known = self.states > 1 && *usual == essence;
            if found.is_none() && known && !self.port.is_multiple_of(SAMPLE) {
                return;
            }
            let answered = expected.outcome != Outcome::Timeout;
            let probe = question.ask(subject.world, subject.seen, self.asked, flow, answered);
            let (_, differences) = check(&subject.system, &probe);
            let agrees = differences.is_empty();
            found = Some((probe, differences));
            if agrees {
                break;
            }
        }
        let Some((probe, differences)) = found else { return };
        self.asked += 1;
        *self.outcomes.entry(probe.result.clone()).or_default() += 1;
        if differences.is_empty() {
            self.predicted += 1;
            self.passing += tries - 1;
        } else if self.asked - self.predicted < 12 {
            self.report += &story(subject, &probe, &differences);
        }
    }
}

/// A state of the machine that is looked into.
struct Subject<'a> {
    world: &'a World,
    seen: &'a Sightings,
    state: &'a str,
    folder: PathBuf,
    system: System,
}

/// What of an answer an edit may change, whatever the numbers of the rules and ports are.
fn essence(system: &System, answer: &Answer) -> String {
    let mut text = format!("{:?} {:?}", answer.verdict, answer.outcome);
    if let Some(egress) = &answer.egress {
        write!(text, " {} > {}", egress.packet.source, egress.packet.destination).unwrap();
    }
    let reply = answer.reply.iter().flat_map(|reply| &reply.steps);
    for step in answer.steps.iter().chain(reply) {
        if let Step::Rule { rule, .. } = step {
            text += system.rules.rule(*rule).map_or("", |rule| system.rules.text(rule));
        }
    }
    let others = answer.branches.iter().map(|branch| &branch.answer);
    for other in others.chain(answer.proxy.as_deref()) {
        text += &essence(system, other);
    }
    text
}

fn system(folder: &Path) -> System {
    let case = Case::read(folder).unwrap();
    let loaded = load(&case.texts(), &[]);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    loaded.system
}

/// Takes a snapshot, and asks what is to be asked in this state.
fn compare(world: &World, seen: &Sightings, state: &str, tally: &mut Tally) {
    let started = Instant::now();
    let folder = world.snapshot(&state.replace(' ', "-"));
    let system = system(&folder);
    let subject = Subject { world, seen, state, folder, system };
    let before = tally.asked;
    tally.states += 1;
    for question in questions::all(world) {
        tally.ask(&subject, &question);
    }
    let (asked, took) = (tally.asked - before, started.elapsed());
    println!("{state}: {asked} questions in {:.1} s", took.as_secs_f32());
}

/// Both stories of a difference: what nattrace says, and what the kernel did.
fn story(subject: &Subject<'_>, probe: &Probe, differences: &[String]) -> String {
    let Subject { state, folder, .. } = subject;
    let flow = &probe.flow;
    let protocol = format!("{:?}", flow.proto).to_lowercase();
    let end = |address: std::net::IpAddr, port: Option<u16>| match port {
        Some(port) => format!("{}/{protocol}", std::net::SocketAddr::new(address, port)),
        None => format!("{address}/{protocol}"),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_nattrace"));
    command.args(["why", "--color", "never", "-s"]).arg(folder);
    command.arg(end(flow.src, None).split('/').next().unwrap()).arg(end(flow.dst, flow.dport));
    if let Some(port) = flow.sport {
        command.args(["--sport", &port.to_string()]);
    }
    if let Some(interface) = &flow.iif {
        command.args(["--in", interface]);
    }
    let told = namespace::run(&mut command).text;
    let mut text = format!("\n== {state}: {} ({:?}): {command:?}\n", probe.probe, probe.kind);
    for difference in differences {
        writeln!(text, "- {difference}").unwrap();
    }
    writeln!(text, "nattrace:\n{told}").unwrap();
    writeln!(
        text,
        "kernel: {}, answered by {:?}, which saw {:?} > {:?} port {:?}",
        probe.result, probe.answered_by, probe.seen_src, probe.seen_dst, probe.seen_dport
    )
    .unwrap();
    for counted in &probe.counters {
        writeln!(text, "  {} packets {}: {}", counted.packets, counted.table, counted.rule)
            .unwrap();
    }
    for rules in ["iptables-save", "ip6tables-save"] {
        text += &std::fs::read_to_string(folder.join(rules)).unwrap_or_default();
    }
    text
}

/// A state that somebody's hand brought about.
struct Edit {
    name: &'static str,
    lines: &'static str,
}

/// The rules and settings as they are, to come back to after an edit.
struct Saved(String, String);

impl Saved {
    fn of(world: &World) -> Self {
        Self(world.on_host("iptables-save"), world.on_host("ip6tables-save"))
    }

    fn restore(&self, world: &World) {
        let (path4, path6) = (world.path("saved4"), world.path("saved6"));
        std::fs::write(&path4, &self.0).unwrap();
        std::fs::write(&path6, &self.1).unwrap();
        // A table that an edit brought along is empty again.
        world.on_host(&format!(
            "iptables -t raw -F; iptables -t mangle -F; iptables-restore {}; ip6tables-restore {}",
            path4.display(),
            path6.display()
        ));
    }
}

fn try_edits(world: &World, seen: &Sightings, edits: &[Edit], tally: &mut Tally) {
    let saved = Saved::of(world);
    for edit in edits {
        world.on_host(edit.lines);
        compare(world, seen, edit.name, tally);
        saved.restore(world);
    }
}

/// Starts the networks, the containers and everybody's servers.
fn populate(world: &World, networks: &[&str], containers: &[&str]) -> Sightings {
    world.import_image(IMAGE);
    for network in networks {
        world.docker_run(&format!("network create {network}"));
    }
    for container in containers {
        let (name, options) = container.split_once(' ').unwrap_or((container, ""));
        world.docker_run(&format!(
            "run -d --name {name} --hostname {name} {options} {IMAGE} /bin/busybox sleep 100000"
        ));
    }
    let seen = Sightings::default();
    for container in world.containers() {
        let datagrams: Vec<_> = container
            .addresses
            .iter()
            .map(|(address, _)| std::net::SocketAddr::new(*address, 53))
            .collect();
        socket::serve(
            &container.name,
            &container.namespace,
            &[80, 81, 8080, 8081],
            &datagrams,
            &seen,
        );
    }
    let at = |addresses: [&str; 2], port| {
        addresses.map(|address| std::net::SocketAddr::new(address.parse().unwrap(), port))
    };
    for (name, machine, addresses) in
        [("internet", "gw", world::INTERNET), ("peer", "peer", world::PEER)]
    {
        socket::serve(name, &world.namespace(machine), &[80], &at(addresses, 53), &seen);
    }
    let host = world.namespace("host");
    socket::serve("host", &host, &[9090], &at(world::HOST, 5300), &seen);
    // Bridges and containers announce their IPv6 groups for a while.
    std::thread::sleep(Duration::from_millis(2500));
    world.quieten();
    Arc::clone(&seen)
}

/// Networks of many kinds; each container is `NAME OPTIONS`.
const NETWORKS: [&str; 6] = [
    "--subnet 172.28.1.0/24 -o com.docker.network.bridge.name=br-front front",
    "--subnet 172.28.2.0/24 -o com.docker.network.bridge.name=br-back back",
    "--subnet 172.28.3.0/24 -o com.docker.network.bridge.enable_icc=false quiet",
    "--subnet 172.28.4.0/24 --internal inner",
    "--subnet 172.28.5.0/24 --ipv6 --subnet fd00:5::/64 six",
    "--subnet 172.28.6.0/24 -o com.docker.network.bridge.enable_ip_masquerade=false plain",
];

const CONTAINERS: [&str; 12] = [
    "web -p 8080:80 -p 203.0.113.11:8081:80 -p 127.0.0.1:8082:80 -p 8053:53/udp -p 9000-9001:80-81",
    "c2",
    "f1 --network front -p 8090:80 -p 203.0.113.10:8054:53/udp",
    "f2 --network front",
    "b1 --network back",
    "q1 --network quiet -p 8100:80",
    "q2 --network quiet",
    "i1 --network inner",
    "i2 --network inner",
    "s1 --network six -p 8200:80 -p 8253:53/udp",
    "s2 --network six",
    "p1 --network plain -p 8300:80",
];

#[test]
fn with_a_proxy() {
    if !can_run() {
        return;
    }
    let world = World::new(
        "proxy",
        &[
            "--live-restore",
            "--experimental",
            "--ip6tables",
            "--ipv6",
            "--fixed-cidr-v6",
            "fd00:d::/64",
        ],
    );
    let seen = populate(&world, &NETWORKS, &CONTAINERS);
    let mut tally = Tally::default();
    compare(&world, &seen, "as docker leaves it", &mut tally);
    try_edits(&world, &seen, &EDITS, &mut tally);
    // What the hand replaced comes back beside it when the daemon starts again.
    world.on_host(EDITS[0].lines);
    world.stop();
    world.start();
    compare(&world, &seen, "restarted after the edit", &mut tally);
    tally.finish("docker with its proxy");
}

#[test]
fn after_a_restart() {
    if !can_run() {
        return;
    }
    let ipv6 = ["--experimental", "--ip6tables", "--ipv6", "--fixed-cidr-v6", "fd00:d::/64"];
    restarted::compare(&World::new("restart", &ipv6));
}

#[test]
fn with_a_plan() {
    if !can_run() {
        return;
    }
    let world = World::new("plan", &["--live-restore", "--userland-proxy=false"]);
    let seen = populate(&world, &NETWORKS[..1], &["f1 --network front -p 8090:80"]);
    applied::survives_the_daemon(&world, &seen);
}

/// Plans that mend what fails, beside a daemon that is started anew. A part of the stories is told
/// on each of several hosts.
fn with_stories_on(backend: Backend, name: &str, part: Part) {
    if !can_run() {
        return;
    }
    let options = ["--live-restore", "--experimental", "--ip6tables", "--ipv6"];
    let options = [&options[..], &["--fixed-cidr-v6", "fd00:d::/64"]].concat();
    let world = World::on(backend, name, &options);
    let seen = populate(&world, &stories::NETWORKS, &stories::CONTAINERS);
    stories::are_told(&world, &seen, backend, part);
}

#[test]
fn with_stories() {
    with_stories_on(Backend::Nft, "stories", Part { number: 0, of: 3 });
}

#[test]
fn with_more_stories() {
    with_stories_on(Backend::Nft, "more", Part { number: 1, of: 3 });
}

#[test]
fn with_further_stories() {
    with_stories_on(Backend::Nft, "further", Part { number: 2, of: 3 });
}

#[test]
fn with_stories_on_legacy() {
    with_stories_on(Backend::Legacy, "legacy", Part { number: 0, of: 1 });
}

#[test]
fn without_a_proxy() {
    if !can_run() {
        return;
    }
    // Without ip6tables dockerd would hold the ports of IPv6 itself, and never answer.
    let options = ["--userland-proxy=false", "--icc=false", "--experimental", "--ip6tables"];
    let world = World::new("noproxy", &options);
    let seen = populate(&world, &NETWORKS, &CONTAINERS);
    let mut tally = Tally::default();
    compare(&world, &seen, "without docker-proxy", &mut tally);
    try_edits(&world, &seen, &EDITS_WITHOUT_PROXY, &mut tally);
    world.on_host("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
    compare(&world, &seen, "bridges unseen by the rules", &mut tally);
    tally.finish("docker without its proxy");
}

/// The edits of people, of which the first replaces a rule of Docker's own.
const EDITS: [Edit; 8] = [
    Edit {
        name: "masquerade replaced",
        lines: "iptables -t nat -D POSTROUTING -s 172.28.1.0/24 ! -o br-front -j MASQUERADE
                iptables -t nat -I POSTROUTING -s 172.28.1.0/24 -j SNAT --to-source 203.0.113.11",
    },
    Edit {
        name: "masquerade replaced with its exclusion",
        lines: "iptables -t nat -D POSTROUTING -s 172.28.1.0/24 ! -o br-front -j MASQUERADE
                iptables -t nat -I POSTROUTING -s 172.28.1.0/24 ! -o br-front -j SNAT --to-source 203.0.113.11",
    },
    Edit {
        name: "snat appended in vain",
        lines: "iptables -t nat -A POSTROUTING -s 172.28.1.0/24 -o eth0 -j SNAT --to-source 203.0.113.11",
    },
    Edit {
        name: "docker-user drops",
        lines: "iptables -I DOCKER-USER -i eth0 -p tcp --dport 8090 -j DROP
                iptables -I DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 8080 --ctdir ORIGINAL -j DROP
                iptables -I DOCKER-USER -i br-back -d 203.0.113.20 -j REJECT --reject-with icmp-host-prohibited",
    },
    Edit {
        name: "hand forwards",
        lines: "iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 9999 -j DNAT --to-destination 172.28.1.3:80
                iptables -t nat -A PREROUTING -p tcp --dport 9997 -j REDIRECT --to-ports 9090
                iptables -t nat -A PREROUTING -p tcp --dport 9996 -j DNAT --to-destination 203.0.113.20:80
                iptables -t nat -A OUTPUT -d 192.0.2.99 -p tcp --dport 80 -j DNAT --to-destination 172.28.1.2
                iptables -t nat -A POSTROUTING -d 203.0.113.20 -p tcp --dport 80 -m conntrack --ctstate DNAT -j MASQUERADE
                iptables -I DOCKER-USER -i eth0 -m conntrack --ctstate DNAT -j ACCEPT",
    },
    Edit {
        name: "notrack",
        lines: "iptables -t raw -A PREROUTING -i eth0 -p tcp --dport 8080 -j CT --notrack
                iptables -t raw -A OUTPUT -p tcp --sport 8080 -j CT --notrack",
    },
    Edit {
        name: "masquerade except the lan",
        lines: "iptables -t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
                iptables -t nat -A POSTROUTING -s 172.17.0.2 ! -d 203.0.113.0/24 -j MASQUERADE
                iptables -P FORWARD ACCEPT",
    },
    Edit { name: "nat flushed", lines: "iptables -t nat -F; ip6tables -t nat -F" },
];

const EDITS_WITHOUT_PROXY: [Edit; 2] = [
    Edit { name: "masquerade replaced without a proxy", lines: EDITS[0].lines },
    Edit {
        name: "an address is routed",
        lines: "iptables -t nat -I PREROUTING -d 203.0.113.11 -j DNAT --to-destination 172.28.2.2
                iptables -I DOCKER-USER -d 172.28.2.2 -j ACCEPT",
    },
];
