//! Both engines say the same of every policy: on the cases of the corpus, and on random rules.
//!
//! `NATTRACE_ENGINE_PROPERTIES` sets how many random properties are asked about,
//! `NATTRACE_ENGINE_SEED` which, `NATTRACE_ENGINE_RULES` how many rules there may be, and
//! `NATTRACE_ENGINE_SECONDS` how long the solver may take for each. `NATTRACE_ENGINE_ALL` asks
//! about everything in the cases, else it is a part of it.
#![cfg(feature = "z3")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::build::{Text, load};
use nattrace_model::flow::Flow;
use nattrace_parser::policy::{Claim, Given, Policy, parse};
use nattrace_parser::syntax::Family;
use nattrace_verifier::check::{Disagreement, Engine, Finding, Status, check_with};
use nattrace_verifier::draft;
use nattrace_verifier::policy::unknown_names;
use nattrace_verifier::smt::{Declared, Solution, Solver, Z3};
use rayon::prelude::*;

/// A solver with so much time for all questions of a property.
#[derive(Debug)]
struct Hurried {
    milliseconds: AtomicU64,
}

impl Solver for Hurried {
    fn name(&self) -> String {
        Z3 { seconds: 1 }.name()
    }

    fn solve(&self, script: &str, declared: &[Declared]) -> Solution {
        let left = self.milliseconds.load(Relaxed);
        let Ok(seconds @ 1..) = u32::try_from(left / 1000) else {
            return Solution::Unknown("no time is left".to_owned());
        };
        let begun = Instant::now();
        let solution = Z3 { seconds }.solve(script, declared);
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        self.milliseconds.store(left.saturating_sub(took), Relaxed);
        solution
    }
}

/// What was found.
#[derive(Default)]
struct Tally {
    agreed: [usize; 3],
    alone: Vec<String>,
    at_odds: Vec<String>,
}

/// Asks both engines about a policy.
fn ask(tally: &Mutex<Tally>, about: &str, policy: &Policy, system: &System) {
    let begun = Instant::now();
    let seconds = number("SECONDS").unwrap_or(10);
    let solver = Hurried { milliseconds: AtomicU64::new(1000 * seconds) };
    let found = check_with(policy, system, &Given::default(), Engine::Both(&solver));
    tally.lock().unwrap().add(about, found);
    if begun.elapsed().as_secs() > 9 {
        println!("slow: {} s: {about}", begun.elapsed().as_secs());
    }
}

impl Tally {
    fn add(&mut self, about: &str, findings: Result<Vec<Finding>, Disagreement>) {
        let findings = findings.unwrap_or_else(|fault| {
            println!("at odds: {about}: {fault}");
            self.at_odds.push(format!("{about}: {fault}"));
            Vec::new()
        });
        for finding in findings {
            if finding.proved_by.len() == 2 {
                self.agreed[finding.status as usize] += 1;
            } else {
                let (name, by) = (&finding.name, &finding.proved_by);
                self.alone.push(format!("{about}: {name}: {:?} by {by:?}", finding.status));
            }
        }
        let all = self.agreements() + self.alone.len();
        if all.is_multiple_of(50) {
            println!("{all} answered, {} agree", self.agreements());
        }
    }

    fn agreements(&self) -> usize {
        self.agreed.iter().sum()
    }

    fn tell(&self, what: &str) {
        let [holds, unknown, fails] = self.agreed;
        println!(
            "{what}: {} agree ({holds} hold, {fails} fail, {unknown} unknown), {} by one engine \
             alone, {} at odds",
            self.agreements(),
            self.alone.len(),
            self.at_odds.len()
        );
        for line in &self.alone {
            println!("alone: {line}");
        }
        assert_eq!(Status::Fails as usize, 2);
        assert!(self.at_odds.is_empty(), "{}", self.at_odds.join("\n"));
        // How far the solver gets depends on the machine, but mostly it gets there.
        assert!(self.alone.len() < self.agreements(), "{} alone", self.alone.len());
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(format!("NATTRACE_ENGINE_{name}")).ok()?.parse().ok()
}

fn is_everything_wanted() -> bool {
    std::env::var_os("NATTRACE_ENGINE_ALL").is_some()
}

fn read(text: &str) -> Policy {
    let (policy, complaints) = parse(text);
    assert_eq!(complaints, [], "{text}");
    policy
}

/// The cases that are asked about where not all are.
const SAMPLE: [&str; 8] = ["01-", "03-", "05", "07a-", "11a-", "15a-", "17a-", "19c-"];

/// Whether a case is one that is asked for.
fn is_wanted(name: &str) -> bool {
    match std::env::var("NATTRACE_CASE") {
        Ok(wanted) => name.starts_with(wanted.as_str()),
        Err(_) => is_everything_wanted() || SAMPLE.iter().any(|begin| name.starts_with(begin)),
    }
}

/// The entries of a policy, each with what it refers to and nothing else.
fn single(policy: &Policy) -> Vec<Policy> {
    let refers = |claim: &Claim| matches!(claim, Claim::Deny { except, .. } if !except.is_empty());
    let mut each = Vec::new();
    for entry in policy.entries.iter().filter(|entry| !refers(&entry.claim)) {
        let mut one = policy.clone();
        one.entries.retain(|other| other.name == entry.name && other.span == entry.span);
        each.push(one);
    }
    each
}

/// Asks about the policies that a function makes of each case.
fn compare(what: &str, most: usize, policy_of: impl Fn(&Case, &System) -> Option<Policy> + Sync) {
    let tally = Mutex::new(Tally::default());
    let cases = Case::read_all(&cases_dir()).unwrap();
    let all = is_everything_wanted();
    let cases: Vec<&Case> = cases.iter().filter(|case| is_wanted(&case.name)).collect();
    cases.par_iter().for_each(|case| {
        let system = load(&case.texts(), &[]).system;
        let Some(policy) = policy_of(case, &system) else { return };
        let each = single(&policy);
        let most = if all { each.len() } else { most };
        each.par_iter().take(most).for_each(|one| ask(&tally, &case.name, one, &system));
    });
    tally.into_inner().unwrap().tell(what);
}

#[test]
fn both_engines_say_the_same_of_what_holds_today() {
    compare("drafts", 1, |_, system| Some(read(&draft::draft(system).unwrap())));
}

#[test]
fn both_engines_say_the_same_of_the_policies_of_cases() {
    compare("policies", 2, |case, _| {
        let text = std::fs::read_to_string(cases_dir().join(&case.name).join("policy.toml"));
        text.ok().map(|text| read(&text))
    });
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
    let seed = number("SEED").unwrap_or(2);
    let wanted = number("PROPERTIES").unwrap_or(8);
    // The classes of many rules that have nothing to do with one another are too many to wait for.
    let most_rules = usize::try_from(number("RULES").unwrap_or(12)).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drawn = Vec::new();
    let mut ruleset = 0;
    while (drawn.len() as u64) < wanted {
        ruleset += 1;
        let family = if random.u8(0..3) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let drawing = draw_host(seed + ruleset % 2, ruleset, family, 4).unwrap();
        let lines = drawing.texts.iter().flat_map(|(_, text)| text.lines());
        if lines.filter(|line| line.starts_with("-A ")).count() > most_rules {
            continue;
        }
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let loaded = load(&texts, &[]);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let system = Arc::new(loaded.system);
        for flow in &drawing.flows {
            let text = format!("version = 1\n{}", property(&system, flow, &mut random));
            let policy = read(&text);
            assert_eq!(unknown_names(&policy, &system), [], "{text}");
            let about = format!("seed {seed} ruleset {ruleset}: {text}");
            drawn.push((about, policy, Arc::clone(&system)));
        }
    }
    let tally = Mutex::new(Tally::default());
    drawn.par_iter().for_each(|(about, policy, system)| ask(&tally, about, policy, system));
    tally.into_inner().unwrap().tell("random rules");
}
