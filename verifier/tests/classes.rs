//! The law of classes: whatever class a packet is in, the simulator says the same of the packet.
//!
//! `NATTRACE_LAW_PACKETS` sets how many packets are asked about in all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::answer::Answer;
use nattrace_model::build::{Text, load};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::{Packet, protocol, tcp_flag};
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;
use nattrace_verifier::{Class, Entry, Header, PacketSet, Question, Space, walk};

/// One thing that may become of a packet, in words that can be compared.
fn ways_of(answer: &Answer) -> BTreeSet<String> {
    let branches = answer.branches.iter().map(|branch| &branch.answer);
    let single = answer.branches.is_empty().then_some(answer);
    branches
        .chain(single)
        .map(|answer| {
            let egress = answer.egress.as_ref().map(|egress| {
                let unknown = (egress.source_unknown, egress.source_port_random);
                (egress.packet.clone(), egress.out_interface.clone(), unknown)
            });
            in_words(answer.verdict, answer.outcome, egress)
        })
        .collect()
}

type Left = (Packet, Option<String>, (bool, bool));

fn in_words(
    verdict: nattrace_model::answer::Verdict,
    outcome: nattrace_model::answer::Outcome,
    left: Option<Left>,
) -> String {
    format!("{verdict:?} {outcome:?} {left:?}")
}

fn ways_in(class: &Class, header: &Header) -> BTreeSet<String> {
    let ways = class.ways.iter().map(|way| {
        let left = way.egress.as_ref().map(|egress| {
            let unknown = (egress.source_unknown, egress.source_port_random);
            (egress.of(header), egress.out_interface.clone(), unknown)
        });
        in_words(way.verdict, way.outcome, left)
    });
    ways.collect()
}

/// What was found about a question.
#[derive(Default)]
struct Tally {
    packets: usize,
    classes: usize,
    asked: usize,
    left_open: usize,
    questions: usize,
}

/// Draws a packet of a set.
fn draw(set: &PacketSet, random: &mut fastrand::Rng) -> Option<Header> {
    let space = set.space();
    let most = match space.family() {
        Family::Ipv4 => 32u8,
        Family::Ipv6 => 128,
    };
    let mut preferred = Vec::new();
    let address = |random: &mut fastrand::Rng| -> IpAddr {
        match space.family() {
            Family::Ipv4 => std::net::Ipv4Addr::from_bits(random.u32(..)).into(),
            Family::Ipv6 => std::net::Ipv6Addr::from_bits(random.u128(..)).into(),
        }
    };
    // Bit by bit, so that wherever the set leaves room it is used.
    for _ in 0..3 {
        let (from, to) = (address(random), address(random));
        preferred.push(space.source(&Prefix::new(from, random.u8(0..=most))));
        preferred.push(space.destination(&Prefix::new(to, random.u8(0..=most))));
    }
    for _ in 0..2 {
        let (low, high) = (random.u16(..), random.u16(..));
        preferred.push(space.source_ports(low.min(high), low.max(high)));
        let (low, high) = (random.u16(..), random.u16(..));
        preferred.push(space.destination_ports(low.min(high), low.max(high)));
        let port = random.u16(..);
        preferred.push(space.destination_ports(port, port));
        preferred.push(space.source_ports(random.u16(..2000), 65535));
    }
    preferred.push(space.tcp_flags(random.u8(..), random.u8(..)));
    preferred.push(space.protocol(random.u8(..)));
    preferred.push(space.icmp(random.u8(..20), 0, random.u8(..)));
    random.shuffle(&mut preferred);
    set.sample(&preferred)
}

fn agrees(system: &System, question: &Question, class: &Class, header: &Header, about: &str) {
    if class.undetermined.is_some() {
        return;
    }
    let said = why(system, &question.flow(header));
    if said.assumptions.iter().any(|found| found.code == "too-many-branches") {
        return;
    }
    let (simulated, classed) = (ways_of(&said), ways_in(class, header));
    assert_eq!(
        simulated, classed,
        "{about}: {header:?} entering {:?} {:?}",
        question.entry, question.state
    );
}

/// Divides the packets of a question, and holds packets of each class against the simulator.
fn hold(system: &System, question: &Question, random: &mut fastrand::Rng, about: &str) -> Tally {
    let found = walk(system, question);
    let mut tally = Tally {
        classes: found.classes.len(),
        asked: found.asked,
        questions: 1,
        ..Tally::default()
    };
    for class in &found.classes {
        tally.left_open += usize::from(class.undetermined.is_some());
        let times = if class.set.size() < 30 { 2 } else { 6 };
        for _ in 0..times {
            let Some(header) = draw(&class.set, random) else { break };
            agrees(system, question, class, &header, about);
            tally.packets += 1;
        }
    }
    // No packet is lost, and none is in two classes.
    for _ in 0..4 {
        let Some(header) = draw(&question.packets, random) else { break };
        let mut holding = found.classes.iter().filter(|class| class.set.contains(&header));
        assert!(holding.next().is_some(), "{about}: {header:?} is in no class");
        assert!(holding.next().is_none(), "{about}: {header:?} is in two classes");
    }
    tally
}

/// Addresses that mean something to a host, and some that do not.
fn addresses(system: &System, family: Family) -> Vec<IpAddr> {
    let host = &system.host;
    let own = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    let mut all: Vec<IpAddr> = own.map(|own| own.local).collect();
    let containers = host.inventory.containers.iter().flat_map(|c| &c.endpoints);
    all.extend(containers.flat_map(|endpoint| &endpoint.addresses).map(|(own, _)| *own));
    let odd = [
        "8.8.8.8",
        "1.2.3.4",
        "10.9.9.9",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "172.17.0.99",
        "172.18.0.99",
        "192.168.1.9",
        "203.0.113.77",
        "10.0.1.77",
        "2001:db8::9",
        "fe80::1",
        "ff02::1",
        "::1",
        "fd00:1::9",
        "2001:4860:4860::8888",
        "::",
    ];
    all.extend(odd.iter().map(|text| text.parse::<IpAddr>().unwrap()));
    all.retain(|address| Family::of(*address) == family);
    all
}

/// A box of packets around addresses of the host.
fn question(system: &System, space: &Space, random: &mut fastrand::Rng) -> Question {
    let family = space.family();
    let known = addresses(system, family);
    let most = match family {
        Family::Ipv4 => 32u8,
        Family::Ipv6 => 128,
    };
    let wide = |random: &mut fastrand::Rng| match random.u8(0..10) {
        0..4 => most,
        4..8 => most - random.u8(1..=8),
        _ => random.u8(most / 4..=most),
    };
    let from = *random.choice(&known).unwrap();
    let to = *random.choice(&known).unwrap();
    let source = space.source(&Prefix::new(from, wide(random)));
    let destination = space.destination(&Prefix::new(to, wide(random)));
    let mut packets = source.intersection(&destination);
    let icmp = match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    packets = packets.intersection(&match random.u8(0..10) {
        0..5 => {
            let flags = *random.choice(&[tcp_flag::SYN, tcp_flag::ACK, 0x12, 0x04]).unwrap();
            space.tcp_flags(0xff, if random.bool() { tcp_flag::SYN } else { flags })
        }
        5..8 => space.protocol(protocol::UDP),
        8 => space.protocol(icmp),
        _ => space.all(),
    });
    let interfaces: Vec<&str> =
        system.host.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let entry = match random.u8(0..10) {
        0 => Entry::Local,
        1 => Entry::LocalAnySource,
        _ => match random.choice(&interfaces) {
            Some(name) => Entry::Interface((*name).to_owned()),
            None => Entry::Interface("eth0".to_owned()),
        },
    };
    let state = match random.u8(0..12) {
        0 => FlowState::Established,
        1 => FlowState::Related,
        2 => FlowState::Invalid,
        3 => FlowState::Untracked,
        _ => FlowState::New,
    };
    let ttl = (random.u8(0..15) == 0).then(|| random.u8(0..3));
    let mark = if random.u8(0..10) == 0 { random.u32(0..4) } else { 0 };
    Question { state, ttl, mark, most: 300, ..Question::new(packets, entry) }
}

fn packets_wanted() -> usize {
    let wanted = std::env::var("NATTRACE_LAW_PACKETS").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(1500)
}

/// A host whose internal network gives its containers no gateway, as Docker does since 25.0.
fn without_gateways(folder: &Path) -> Case {
    let mut case = Case::read(folder).unwrap();
    let part = case.parts.iter_mut().find(|(name, _)| name == "docker-inspect.json").unwrap();
    part.1 = part.1.replace("\"Gateway\": \"172.20.0.1\"", "\"Gateway\": \"\"");
    case.name += " without gateways";
    case
}

#[test]
fn every_class_is_what_the_simulator_says_on_the_hosts_of_the_corpus() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut cases = Case::read_all(&cases_dir()).unwrap();
    cases.push(without_gateways(&cases_dir().join("04-networks")));
    let each = packets_wanted() / cases.len() + 1;
    let mut total = Tally::default();
    for case in &cases {
        let loaded = load(&case.texts(), &[]);
        let system = loaded.system;
        let spaces = [Space::new(Family::Ipv4), Space::new(Family::Ipv6)];
        let mut here = 0;
        while here < each {
            let space = &spaces[usize::from(random.u8(0..4) == 0)];
            let question = question(&system, space, &mut random);
            let tally = hold(&system, &question, &mut random, &case.name);
            here += tally.packets.max(1);
            total.add(&tally);
        }
    }
    total.tell("hosts of the corpus");
}

/// A box around a packet that the lab would send.
fn around(space: &Space, flow: &Flow, random: &mut fastrand::Rng) -> Option<(Header, Question)> {
    let entry = match (&flow.in_interface, flow.any_source) {
        (Some(name), _) => Entry::Interface(name.clone()),
        (None, true) => Entry::LocalAnySource,
        (None, false) => Entry::Local,
    };
    let syn = if flow.state == FlowState::Established { tcp_flag::ACK } else { tcp_flag::SYN };
    let echo = if flow.protocol == protocol::ICMP { (8, 0) } else { (128, 0) };
    let header = Header {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: flow.source_port.unwrap_or(40000),
        destination_port: flow.destination_port.unwrap_or(0),
        icmp: flow.icmp.unwrap_or(echo),
        tcp_flags: flow.tcp_flags.unwrap_or(syn),
    }
    .normal();
    if header.family() != space.family() {
        return None;
    }
    let most = if header.source.is_ipv4() { 32u8 } else { 128 };
    let length = |random: &mut fastrand::Rng| match random.u8(0..4) {
        0 => most,
        1 => most - random.u8(0..8),
        2 => most / 2,
        _ => random.u8(0..=most),
    };
    let mut packets = space
        .source(&Prefix::new(header.source, length(random)))
        .intersection(&space.destination(&Prefix::new(header.destination, length(random))));
    if random.u8(0..8) != 0 {
        packets = packets.intersection(&space.protocol(header.protocol));
    }
    if random.bool() && header.protocol == protocol::TCP {
        packets = packets.intersection(&space.tcp_flags(0xff, header.tcp_flags));
    }
    let question = Question {
        state: flow.state,
        ttl: flow.ttl,
        mark: flow.mark,
        most: 250,
        ..Question::new(packets, entry)
    };
    Some((header, question))
}

#[test]
fn every_class_is_what_the_simulator_says_for_random_rules() {
    let seed = std::env::var("NATTRACE_LAW_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(11);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut total = Tally::default();
    let spaces =
        [(Space::new(Family::Ipv4), Family::Ipv4), (Space::new(Family::Ipv6), Family::Ipv6)];
    let mut ruleset = 0;
    while total.packets < packets_wanted() {
        ruleset += 1;
        let (space, family) = &spaces[usize::from(random.u8(0..3) == 0)];
        let drawing = draw_host(seed + ruleset % 2, ruleset, *family, 6).unwrap();
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&texts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let about = format!("seed {seed} ruleset {ruleset}");
        for flow in &drawing.flows {
            let Some((header, question)) = around(space, flow, &mut random) else { continue };
            let found = hold(&loaded.system, &question, &mut random, &about);
            total.add(&found);
            let single = Question { packets: space.only(&header), ..question };
            total.add(&hold(&loaded.system, &single, &mut random, &about));
        }
    }
    total.tell("random rules");
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.classes += other.classes;
        self.asked += other.asked;
        self.left_open += other.left_open;
        self.questions += other.questions;
    }

    fn tell(&self, what: &str) {
        eprintln!(
            "{what}: {} packets of {} classes ({} left open) of {} questions, {} ways looked at",
            self.packets, self.classes, self.left_open, self.questions, self.asked
        );
        assert!(self.packets > 0);
    }
}
