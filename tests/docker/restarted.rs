//! `--given restarted=dockerd` against dockerd itself: the rules that were foretold, and those that
//! are there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nattrace_corpus::case::Case;
use nattrace_model::System;
use nattrace_model::build::load;
use nattrace_parser::policy::parse_given;
use nattrace_verifier::given::apply;

use crate::world::World;
use crate::{CONTAINERS, IMAGE, NETWORKS};

/// What a hand may have done, in all places where Docker keeps rules.
const EDITS: &str = "\
iptables -t nat -I POSTROUTING 1 -s 172.28.1.0/24 -o eth0 -j SNAT --to-source 203.0.113.11
number=$(iptables -t nat -S POSTROUTING | grep -n -- '-s 172.28.2.0/24' | cut -d: -f1)
iptables -t nat -R POSTROUTING $((number - 1)) -s 172.28.2.0/24 -j SNAT --to-source 203.0.113.11
iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.10
iptables -t nat -I DOCKER 1 -s 10.5.0.0/16 -j RETURN
iptables -t nat -I PREROUTING 1 -s 10.6.0.0/16 -j ACCEPT
iptables -t nat -A PREROUTING -s 10.7.0.0/16 -j ACCEPT
iptables -I FORWARD 1 -s 10.0.0.0/8 -j DROP
iptables -A FORWARD -s 10.1.0.0/16 -j ACCEPT
iptables -I FORWARD 6 -s 10.2.0.0/16 -j ACCEPT
iptables -D FORWARD -i br-front ! -o br-front -j ACCEPT
iptables -I DOCKER-USER 1 -s 10.3.0.0/16 -j DROP
iptables -A DOCKER -s 10.4.0.0/16 -j ACCEPT
iptables -A DOCKER-ISOLATION-STAGE-1 -s 10.8.0.0/16 -j ACCEPT
ip6tables -I FORWARD 1 -s fd99::/64 -j DROP
ip6tables -t nat -I POSTROUTING 1 -s fd00:5::/64 -j RETURN
ip6tables -t nat -A PREROUTING -s fd99::/64 -j ACCEPT
sysctl -qw net.ipv4.ip_forward=0
";

/// The rules of each chain, and its policy. Which container was started first shows in the order of
/// chains where the order decides nothing.
fn rules(system: &System) -> BTreeMap<String, Vec<String>> {
    let mut chains = BTreeMap::new();
    for chain in &system.rules.chains {
        let words = |rule| {
            let text = system.rules.text(rule);
            text[text.find("-A ").unwrap_or(0)..].to_owned()
        };
        let mut rules: Vec<String> = chain.rules.iter().map(words).collect();
        if ["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"]
            .contains(&&*chain.name)
        {
            rules.sort();
        }
        // The rules by which containers call themselves.
        let own = |text: &String| {
            let source = text.split(" -s ").nth(1).and_then(|rest| rest.split(' ').next());
            source.is_some_and(|source| text.contains(&format!(" -d {source} ")))
        };
        let (mut last, first): (Vec<String>, Vec<String>) = rules.into_iter().partition(own);
        last.sort();
        rules = [first, last].concat();
        rules.extend(chain.base.map(|base| format!("policy {:?}", base.policy)));
        chains.insert(format!("{:?} {} {}", chain.family, chain.table, chain.name), rules);
    }
    chains
}

fn system(world: &World, name: &str) -> System {
    let case = Case::read(&world.snapshot(name)).expect("the snapshot is there");
    load(&case.texts(), &[]).system
}

/// Starts containers that come back with the daemon, edits, and compares.
pub(crate) fn compare(world: &World) {
    world.import_image(IMAGE);
    for network in NETWORKS {
        world.docker_run(&format!("network create {network}"));
    }
    // Where a network has one container, it comes back with the same address.
    let alone = || {
        CONTAINERS
            .iter()
            .filter(|container| !container.split(' ').next().unwrap_or("").ends_with('2'))
    };
    for container in alone() {
        let (name, options) = container.split_once(' ').unwrap_or((container, ""));
        world.docker_run(&format!(
            "run -d --restart always --name {name} {options} {IMAGE} /bin/busybox sleep 100000"
        ));
    }
    world.on_host(EDITS);
    let before = system(world, "edited");
    let (given, complaints) = parse_given("restarted=dockerd");
    assert_eq!(complaints, []);
    let foretold = rules(&apply(&before, &given));
    world.stop();
    world.start();
    let end = Instant::now() + Duration::from_secs(60);
    while world.docker_run("ps -q").lines().count() < alone().count() {
        assert!(Instant::now() < end, "not all containers came back");
        std::thread::sleep(Duration::from_millis(200));
    }
    let after = system(world, "restarted");
    let found = rules(&after);
    let mut differences = Vec::new();
    for (chain, rules) in &found {
        let expected = foretold.get(chain).cloned().unwrap_or_default();
        if *rules != expected {
            differences.push(format!(
                "{chain}: foretold\n  {}\nand found\n  {}",
                expected.join("\n  "),
                rules.join("\n  ")
            ));
        }
    }
    assert_eq!(differences, Vec::<String>::new(), "{}", differences.join("\n"));
    assert_ne!(found, rules(&before), "the edits changed nothing");
    assert_eq!(after.host.sysctls.get("net.ipv4.ip_forward"), Some(1));
    let all: usize = found.values().map(Vec::len).sum();
    println!("{all} rules and policies after a restart of dockerd were foretold");
}
