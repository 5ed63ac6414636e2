//! The law of comparisons: if the simulator says different things of a packet on two hosts, a change
//! is about it; and of what no change is about, it says the same.
//!
//! `NATTRACE_LAW_PACKETS` sets how many packets are asked about, `NATTRACE_LAW_SEED` where the
//! drawing begins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::answer::{Answer, Step};
use nattrace_model::build::{Text, load};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::host::InterfaceKind;
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_model::simulate::why;
use nattrace_parser::policy::Families;
use nattrace_parser::syntax::Family;
use nattrace_verifier::diff::{Comparison, Depth, Scope, Status, compare};
use nattrace_verifier::{Entry, Header};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// One thing that may become of a packet, in words that can be compared.
fn ways_of(answer: &Answer) -> BTreeSet<String> {
    let branches = answer.branches.iter().map(|branch| &branch.answer);
    let single = answer.branches.is_empty().then_some(answer);
    let words = |answer: &Answer| {
        let egress = answer.egress.as_ref().map(|egress| {
            let unknown = (egress.source_unknown, egress.source_port_random);
            (egress.packet.clone(), egress.out_interface.clone(), unknown)
        });
        format!("{:?} {:?} {egress:?}", answer.verdict, answer.outcome)
    };
    branches.chain(single).map(words).collect()
}

fn system(texts: &[(String, String)]) -> Option<System> {
    let texts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, text }).collect();
    let loaded = load(&texts, &[]);
    (!loaded.has_errors()).then_some(loaded.system)
}

/// Where the rules stand that some packets meet: the text, and the line counted from 0.
fn met(system: &System, flows: &[Flow]) -> Vec<(String, usize)> {
    let mut all = BTreeSet::new();
    for flow in flows {
        let answer = why(system, flow);
        let steps = answer.branches.iter().flat_map(|branch| &branch.answer.steps);
        for step in steps.chain(&answer.steps) {
            let Step::Rule { rule, .. } = step else { continue };
            let Some(rule) = system.rules.rule(*rule) else { continue };
            let Some(source) = system.rules.sources.get(usize::from(rule.origin.source)) else {
                continue;
            };
            all.insert((source.name.clone(), rule.origin.line as usize - 1));
        }
    }
    all.into_iter().collect()
}

/// The texts with one rule gone, twice, at another place, or with another target; or with another
/// policy. More often than not it is a rule that some packet meets.
fn edited(
    texts: &[(String, String)],
    met: &[(String, usize)],
    random: &mut fastrand::Rng,
) -> Vec<(String, String)> {
    let mut texts = texts.to_vec();
    let with_rules: Vec<usize> = (0..texts.len())
        .filter(|at| texts[*at].1.lines().any(|line| line.contains("-A ")))
        .collect();
    let Some(mut at) = random.choice(&with_rules).copied() else { return texts };
    let known = random.choice(met).filter(|_| random.u8(0..4) != 0);
    if let Some((name, _)) = known
        && let Some(own) = texts.iter().position(|(own, _)| own == name)
    {
        at = own;
    }
    let mut lines: Vec<String> = texts[at].1.lines().map(str::to_owned).collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|line| lines[*line].contains("-A ")).collect();
    let rule = match known {
        Some((_, line)) if rules.contains(line) => *line,
        _ => *random.choice(&rules).unwrap(),
    };
    match random.u8(0..8) {
        0 | 1 => {
            lines.remove(rule);
        }
        2 => lines.insert(rule, lines[rule].clone()),
        3 => {
            let next = (rule + 1).min(lines.len() - 1);
            if lines[next].contains("-A ") {
                lines.swap(rule, next);
            }
        }
        4 => {
            let other = *random.choice(&rules).unwrap();
            // Of the same table and chain.
            let chain = |line: &str| {
                line.split_whitespace().skip_while(|w| *w != "-A").nth(1).map(str::to_owned)
            };
            let between = &lines[rule.min(other)..rule.max(other)];
            if chain(&lines[rule]) == chain(&lines[other]) && !between.iter().any(|l| l == "COMMIT")
            {
                let moved = lines.remove(rule);
                lines.insert(other.min(lines.len()), moved);
            }
        }
        5 => {
            let policies: Vec<usize> = (0..lines.len())
                .filter(|line| {
                    let line = &lines[*line];
                    line.starts_with(':') && (line.contains(" ACCEPT") || line.contains(" DROP"))
                })
                .collect();
            if let Some(line) = random.choice(&policies) {
                lines[*line] = swapped(&lines[*line], " ACCEPT", " DROP");
            }
        }
        6 => {
            // Other numbers: of marks, ports, addresses, whatever the target says.
            if let Some((head, target)) = lines[rule].clone().split_once(" -j ") {
                let digit = random.choice(['1', '2', '3']).unwrap().to_string();
                let other = random.choice(['4', '5', '0']).unwrap().to_string();
                lines[rule] = format!("{head} -j {}", swapped(target, &digit, &other));
            }
        }
        _ => lines[rule] = swapped(&lines[rule], "-j ACCEPT", "-j DROP"),
    }
    texts[at].1 = lines.join("\n") + "\n";
    texts
}

/// A text with some words for others, and the other way round.
fn swapped(text: &str, one: &str, other: &str) -> String {
    text.replace(one, "\u{1}").replace(other, one).replace('\u{1}', other)
}

/// The texts with another name for every chain that is not built in; none where there is none.
fn renamed(texts: &[(String, String)]) -> Option<Vec<(String, String)>> {
    let mut any = false;
    let all = texts.iter().map(|(part, text)| {
        let declared = text.lines().filter_map(|line| line.strip_prefix(':'));
        let own: Vec<&str> =
            declared.filter_map(|line| line.split_once(" - ")).map(|(name, _)| name).collect();
        any |= !own.is_empty();
        let line = |line: &str| {
            let mut names = line.starts_with(':');
            let words = line.split(' ').map(|word| {
                let bare = word.strip_prefix(':').unwrap_or(word);
                let other = (names && own.contains(&bare))
                    .then(|| word.replace(bare, &format!("x-{bare}")));
                names = ["-A", "-j", "-g"].contains(&word);
                other.unwrap_or_else(|| word.to_owned())
            });
            words.collect::<Vec<_>>().join(" ")
        };
        (part.clone(), text.lines().map(|own| line(own) + "\n").collect())
    });
    let all = all.collect();
    any.then_some(all)
}

/// The lines of a table.
fn of_table(texts: &[(String, String)], table: &str) -> String {
    let mut all = String::new();
    for (_, text) in texts {
        let begin = format!("*{table}\n");
        all.extend(text.split(&begin).skip(1).filter_map(|rest| rest.split("COMMIT").next()));
    }
    all
}

/// Where a flow starts, in the terms of a comparison.
fn entry(system: &System, flow: &Flow) -> Option<Entry> {
    match (&flow.in_interface, flow.any_source) {
        (Some(name), _) => {
            let own = system.host.interface(name)?;
            let usable = own.up && own.kind != InterfaceKind::Loopback && own.port.is_none();
            usable.then(|| Entry::Interface(name.clone()))
        }
        (None, true) => Some(Entry::LocalAnySource),
        (None, false) => {
            let own = system.host.owner(flow.source).is_some();
            own.then_some(Entry::Local)
        }
    }
}

fn header(flow: &Flow) -> Header {
    let usual = if flow.state == FlowState::Established { tcp_flag::ACK } else { tcp_flag::SYN };
    let echo = if flow.protocol == protocol::ICMP { (8, 0) } else { (128, 0) };
    Header {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        source_port: flow.source_port.unwrap_or(40000),
        destination_port: flow.destination_port.unwrap_or(0),
        icmp: flow.icmp.unwrap_or(echo),
        tcp_flags: flow.tcp_flags.unwrap_or(usual),
    }
    .normal()
}

/// A flow a little beside another one.
fn beside(flow: &Flow, others: &[Flow], random: &mut fastrand::Rng) -> Flow {
    let mut flow = flow.clone();
    let other = random.choice(others).unwrap();
    let same_family = |one: IpAddr, two: IpAddr| one.is_ipv4() == two.is_ipv4();
    match random.u8(0..6) {
        0 if same_family(flow.source, other.source) && flow.in_interface.is_some() => {
            flow.source = other.source;
        }
        1 if same_family(flow.destination, other.destination) => {
            flow.destination = other.destination;
        }
        2 if flow.destination_port.is_some() => {
            flow.destination_port = other.destination_port.or(Some(80))
        }
        3 if flow.source_port.is_some() => flow.source_port = Some(random.u16(1..)),
        4 => {
            flow.state = *random
                .choice(&[
                    FlowState::New,
                    FlowState::Established,
                    FlowState::Invalid,
                    FlowState::Related,
                ])
                .unwrap();
        }
        _ => {}
    }
    flow
}

fn covered(comparison: &Comparison, header: &Header, entry: &Entry, state: FlowState) -> bool {
    comparison.changes.iter().any(|change| change.covers(header, entry, state))
        || comparison.left.iter().any(|part| part.covers(header, entry, state))
}

#[test]
fn what_differs_is_told_and_what_is_told_differs() {
    let wanted = number("NATTRACE_LAW_PACKETS", 300);
    let seed = number("NATTRACE_LAW_SEED", 3);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut asked, mut differing, mut told, mut equal, mut pairs) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let mut drawn = 0;
    let (mut names, mut bridges, mut sixes) = (0u64, 0u64, 0u64);
    let mut tables: BTreeMap<&str, u64> = BTreeMap::new();
    while asked < wanted {
        drawn += 1;
        let family = if random.u8(0..3) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let drawing = draw_host(seed + drawn % 2, drawn, family, 12).unwrap();
        let texts: Vec<(String, String)> = drawing
            .texts
            .iter()
            .map(|(name, text)| ((*name).to_string(), (*text).to_string()))
            .collect();
        let Some(before) = system(&texts) else { continue };
        let met = met(&before, &drawing.flows);
        let edited = edited(&texts, &met, &mut random);
        let Some(after) = system(&edited) else { continue };
        let about = format!("seed {seed}, ruleset {drawn}");
        let scope = Scope { families: Families::One(family), depth: Depth::Needed, ways: 100 };
        let found =
            compare(&before, &after, scope).unwrap_or_else(|fault| panic!("{about}: {fault}"));
        assert!(compare(&after, &after, scope).unwrap().changes.is_empty(), "{about}");
        if let Some(same) = renamed(&texts).and_then(|texts| system(&texts)) {
            let found = compare(&before, &same, scope).unwrap();
            let told: Vec<String> = found
                .changes
                .iter()
                .map(|c| format!("{} -> {} {:?} {:?}", c.from, c.to, c.aspect, c.status))
                .collect();
            let left = found.left.len();
            assert!(told.is_empty() && left == 0, "{about}: names: {told:?}, {left} left");
            names += 1;
        }
        pairs += 1;
        bridges += u64::from(drawing.texts.iter().any(|(name, _)| name.starts_with("bridge")));
        sixes += u64::from(family == Family::Ipv6);
        for table in ["raw", "mangle", "nat", "filter"] {
            let differs = of_table(&texts, table) != of_table(&edited, table);
            *tables.entry(table).or_insert(0u64) += u64::from(differs);
        }
        equal += u64::from(found.changes.is_empty());
        for flow in &drawing.flows {
            for _ in 0..4 {
                let flow = beside(flow, &drawing.flows, &mut random);
                if flow.mark != 0 || flow.ttl.is_some() {
                    continue;
                }
                let Some(entry) = entry(&before, &flow) else { continue };
                asked += 1;
                let header = header(&flow);
                let (was, is) = (why(&before, &flow), why(&after, &flow));
                if ways_of(&was) != ways_of(&is) {
                    differing += 1;
                    assert!(
                        covered(&found, &header, &entry, flow.state),
                        "{about}: no change is about {flow:?}\n{:?}\n{:?}",
                        ways_of(&was),
                        ways_of(&is)
                    );
                } else if was.branches.is_empty() && is.branches.is_empty() {
                    let sure =
                        found.changes.iter().filter(|change| change.status == Status::Changed);
                    for change in sure {
                        assert!(
                            !change.covers(&header, &entry, flow.state),
                            "{about}: {} -> {} {:?} is about {flow:?}",
                            change.from,
                            change.to,
                            change.aspect
                        );
                    }
                }
                told += u64::from(covered(&found, &header, &entry, flow.state));
            }
        }
    }
    eprintln!(
        "{sixes} of IPv6, {bridges} with bridges, edits by table {tables:?}, {names} with other names"
    );
    eprintln!(
        "{pairs} pairs of rulesets ({equal} equal), {asked} packets, {differing} differ, {told} told"
    );
    assert!(asked > 0);
}
