//! Both engines say the same of every policy: on the cases of the corpus, and on random rules.
//!
//! `NATTRACE_ENGINE_PROPERTIES` sets how many random properties are asked about, and
//! `NATTRACE_ENGINE_SEED` which; with a thousand or more, every entry of each
//! case is asked about, else the first two.
#![cfg(feature = "z3")]

use std::net::IpAddr;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::build::{Text, load};
use nattrace_model::flow::Flow;
use nattrace_parser::policy::{Given, Policy, parse};
use nattrace_parser::syntax::Family;
use nattrace_verifier::check::{Engine, Finding, Status, check_with};
use nattrace_verifier::draft;
use nattrace_verifier::policy::unknown_names;
use nattrace_verifier::smt::Z3;

const SOLVER: Z3 = Z3 { seconds: 30 };

/// What was found.
#[derive(Default)]
struct Tally {
    agreed: [usize; 3],
    alone: Vec<String>,
    at_odds: Vec<String>,
}

impl Tally {
    fn add(&mut self, about: &str, findings: Vec<Finding>) {
        for finding in findings {
            if finding.proved_by.len() == 2 {
                self.agreed[finding.status as usize] += 1;
            } else {
                let (name, by) = (&finding.name, &finding.proved_by);
                self.alone.push(format!("{about}: {name}: {:?} by {by:?}", finding.status));
            }
        }
    }

    /// Asks both engines about each entry on its own.
    fn ask(&mut self, about: &str, policy: &Policy, system: &System) {
        match check_with(policy, system, &Given::default(), Engine::Both(&SOLVER)) {
            Ok(findings) => self.add(about, findings),
            Err(fault) => {
                println!("at odds: {about}: {fault}");
                self.at_odds.push(format!("{about}: {fault}"));
            }
        }
    }

    fn agreements(&self) -> usize {
        self.agreed.iter().sum()
    }

    fn tell(&self, what: &str) {
        let [holds, unknown, fails] = self.agreed;
        println!(
            "{what}: {} agree ({holds} hold, {fails} fail, {unknown} unknown), {} by one engine alone",
            self.agreements(),
            self.alone.len()
        );
        for line in &self.alone {
            println!("alone: {line}");
        }
        assert_eq!(Status::Fails as usize, 2);
        assert!(self.at_odds.is_empty(), "{}", self.at_odds.join("\n"));
        // What one engine gives up on is the exception.
        assert!(self.alone.len() * 10 <= self.agreements(), "{} alone", self.alone.len());
    }
}

fn read(text: &str) -> Policy {
    let (policy, complaints) = parse(text);
    assert_eq!(complaints, [], "{text}");
    policy
}

/// Whether a case is one that is asked for.
fn is_wanted(name: &str) -> bool {
    let wanted = std::env::var("NATTRACE_CASE").ok();
    wanted.is_none_or(|wanted| name.starts_with(wanted.as_str()))
}

#[test]
fn both_engines_say_the_same_of_what_holds_today() {
    let mut tally = Tally::default();
    for case in Case::read_all(&cases_dir()).unwrap() {
        // Each container of the largest one asks the same.
        if !is_wanted(&case.name) || (case.name.starts_with("12-") && !is_long()) {
            println!("skipped: {}", case.name);
            continue;
        }
        let system = load(&case.texts(), &[]).system;
        let drafted = read(&draft::draft(&system).unwrap());
        let most = if is_long() { usize::MAX } else { 2 };
        for entry in drafted.entries.iter().take(most) {
            let mut one = drafted.clone();
            one.entries.retain(|other| other.name == entry.name && other.span == entry.span);
            let refers = matches!(&entry.claim, nattrace_parser::policy::Claim::Deny { except, .. } if !except.is_empty());
            if refers {
                continue;
            }
            tally.ask(&case.name, &one, &system);
        }
        println!("{}: {}", case.name, tally.agreements());
    }
    tally.tell("cases");
}

fn wanted() -> usize {
    let wanted = std::env::var("NATTRACE_ENGINE_PROPERTIES").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(8)
}

fn is_long() -> bool {
    wanted() >= 1000
}

/// A zone of the lab's host, perhaps around an address that a packet of the lab has.
fn zone(system: &System, address: IpAddr, random: &mut fastrand::Rng) -> String {
    let interfaces = &system.host.interfaces;
    let most = if address.is_ipv4() { 32u8 } else { 128 };
    match random.u8(0..12) {
        0 => "internet".to_owned(),
        1 => "lan".to_owned(),
        2 => "host".to_owned(),
        3 | 4 => match random.choice(interfaces) {
            Some(own) => format!("iface:{}", own.name),
            None => "internet".to_owned(),
        },
        5 => address.to_string(),
        _ => {
            let length = if random.bool() { most - random.u8(0..9) } else { random.u8(1..=most) };
            Prefix::new(address, length).to_string()
        }
    }
}

/// A zone with a port, perhaps.
fn service(zone: String, flow: &Flow, random: &mut fastrand::Rng) -> String {
    let protocol = match flow.protocol {
        6 => "tcp",
        17 => "udp",
        132 => "sctp",
        _ => return zone,
    };
    let Some(port) = flow.destination_port.filter(|port| *port != 0) else { return zone };
    let zone =
        if zone.contains(':') && !zone.starts_with("iface:") { format!("[{zone}]") } else { zone };
    let whole = zone.trim_start_matches('[').trim_end_matches(']').to_owned();
    match random.u8(0..4) {
        0 => whole,
        1 => format!("{zone}:{port}-{}/{protocol}", port.saturating_add(random.u16(0..9))),
        _ => format!("{zone}:{port}/{protocol}"),
    }
}

/// A property that a packet of the lab has to do with.
fn property(system: &System, flow: &Flow, random: &mut fastrand::Rng) -> String {
    let family = if flow.source.is_ipv4() { "ipv4" } else { "ipv6" };
    let from = zone(system, flow.source, random);
    let to = zone(system, flow.destination, random);
    let to_service = service(to.clone(), flow, random);
    let proto = match (random.u8(0..6), flow.protocol) {
        _ if to_service != to => "",
        (0, 6) => "proto = \"tcp\"\n",
        (1, 17) => "proto = \"udp\"\n",
        (2, _) => "proto = \"icmp\"\n",
        _ => "",
    };
    let vacuous = if random.bool() { "vacuous = \"ok\"\n" } else { "" };
    let rest = format!("family = \"{family}\"\n{proto}{vacuous}");
    match random.u8(0..8) {
        0 | 1 => {
            let source = match random.u8(0..3) {
                0 => "unchanged".to_owned(),
                1 => {
                    let own = system.host.interfaces.iter().flat_map(|own| &own.addresses);
                    let own = own.filter(|own| own.local.is_ipv4() == flow.source.is_ipv4());
                    match random.choice(own.collect::<Vec<_>>()) {
                        Some(own) => own.local.to_string(),
                        None => flow.source.to_string(),
                    }
                }
                _ => flow.source.to_string(),
            };
            format!("[[egress]]\nfrom = \"{from}\"\nto = \"{to}\"\nsource = \"{source}\"\n{rest}")
        }
        2 | 3 => {
            let lands = match random.u8(0..3) {
                0 => format!("lands = \"{}\"\n", zone(system, flow.destination, random)),
                _ => String::new(),
            };
            format!("[[allow]]\nfrom = \"{from}\"\nto = \"{to_service}\"\n{lands}{rest}")
        }
        4..7 => format!("[[deny]]\nfrom = \"{from}\"\nlands = \"{to_service}\"\n{rest}"),
        _ => format!("[[isolate]]\nzones = [\"{from}\", \"{to}\"]\n{rest}"),
    }
}

#[test]
fn both_engines_say_the_same_of_random_rules() {
    let seed = std::env::var("NATTRACE_ENGINE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(2);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut ruleset = 0;
    let mut asked = 0;
    while asked < wanted() {
        ruleset += 1;
        let family = if random.u8(0..3) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let drawing = draw_host(seed + ruleset % 2, ruleset, family, 4).unwrap();
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&texts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        for flow in &drawing.flows {
            let text = format!("version = 1\n{}", property(&loaded.system, flow, &mut random));
            let policy = read(&text);
            assert_eq!(unknown_names(&policy, &loaded.system), [], "{text}");
            asked += 1;
            let about = format!("seed {seed} ruleset {ruleset}: {text}");
            tally.ask(&about, &policy, &loaded.system);
            if asked.is_multiple_of(50) {
                println!("{asked} asked, {} agree", tally.agreements());
            }
        }
    }
    tally.tell("random rules");
}
