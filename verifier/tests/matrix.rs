//! The law of the matrix: what a cell says of its packets, the simulator says of each of them.
//!
//! `NATTRACE_LAW_PACKETS` sets how much is asked (a row of a matrix for each hundred),
//! `NATTRACE_LAW_SEED` what is drawn.

use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw as draw_host;
use nattrace_model::System;
use nattrace_model::address::Prefix;
use nattrace_model::answer::{Answer, Outcome, Verdict};
use nattrace_model::build::{Text, load};
use nattrace_model::simulate::why;
use nattrace_parser::policy::parse_expression;
use nattrace_parser::syntax::Family;
use nattrace_verifier::matrix::{
    Breadth, Kept, Landing, Matrix, Part, Reach, Scope, Service, Source, Target, matrix,
};
use nattrace_verifier::{Entry, Header, PacketSet, Question, Space};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Draws a packet of a set.
fn draw(set: &PacketSet, random: &mut fastrand::Rng) -> Option<Header> {
    let space: &Space = set.space();
    let (most, address): (u8, fn(&mut fastrand::Rng) -> std::net::IpAddr) = match space.family() {
        Family::Ipv4 => (32, |random| std::net::Ipv4Addr::from_bits(random.u32(..)).into()),
        Family::Ipv6 => (128, |random| std::net::Ipv6Addr::from_bits(random.u128(..)).into()),
    };
    let mut preferred = Vec::new();
    for _ in 0..2 {
        let length = random.u8(0..=most);
        preferred.push(space.source(&Prefix::new(address(random), length)));
        let length = random.u8(0..=most);
        preferred.push(space.destination(&Prefix::new(address(random), length)));
        let (low, high) = (random.u16(..), random.u16(..));
        preferred.push(space.source_ports(low.min(high), low.max(high)));
        let (low, high) = (random.u16(..), random.u16(..));
        preferred.push(space.destination_ports(low.min(high), low.max(high)));
    }
    random.shuffle(&mut preferred);
    set.sample(&preferred)
}

/// The ways that an answer may go.
fn ways(answer: &Answer) -> Vec<&Answer> {
    let single = answer.branches.is_empty().then_some(answer);
    answer.branches.iter().map(|branch| &branch.answer).chain(single).collect()
}

fn arrives(verdict: Verdict) -> bool {
    use Verdict::{Bridged, Delivered, Forwarded, Proxied};
    matches!(verdict, Forwarded | Delivered | Proxied | Bridged)
}

/// Whether a way lands in one of the places that are told.
fn lands(way: &Answer, landings: &[Landing]) -> bool {
    let Some(egress) = way.egress.as_ref() else { return true };
    let (mut interface, mut to) = (egress.out_interface.clone(), egress.packet.destination);
    let mut port = egress.packet.destination_port();
    let proxied = way.verdict == Verdict::Proxied;
    if let Some(proxy) = way.proxy.as_ref().filter(|_| proxied) {
        (interface, to) = (None, proxy.flow.destination);
        port = proxy.flow.destination_port;
    }
    landings.iter().any(|landing| {
        let there = match &landing.address {
            Target::AsAddressed => to == way.flow.destination,
            Target::Address(address) => to == *address,
            Target::Network(network) => network.contains(to),
        };
        let port = match landing.port {
            None => port == way.flow.destination_port,
            told => port == told,
        };
        there && port && landing.interface == interface && landing.proxied == proxied
    })
}

fn wears(way: &Answer, entry: &Entry, sources: &[Source]) -> bool {
    let proxy = way.proxy.as_ref().filter(|_| way.verdict == Verdict::Proxied);
    let Some(egress) = proxy.map_or(way.egress.as_ref(), |proxy| proxy.egress.as_ref()) else {
        return true;
    };
    let from_here_to_here = *entry == Entry::LocalAnySource && egress.out_interface.is_none();
    sources.iter().any(|source| match source {
        Source::Unknown => egress.source_unknown,
        Source::Unchanged => from_here_to_here || egress.packet.source == way.flow.source,
        Source::Address(address) => egress.packet.source == *address,
        Source::Network(network) => network.contains(egress.packet.source),
    })
}

/// Asks about packets of a part.
fn hold(system: &System, part: &Part, random: &mut fastrand::Rng, about: &str) -> u64 {
    let mut asked = 0;
    for (entry, set) in &part.packets() {
        let Some(header) = draw(set, random) else { panic!("{about}: no packet") };
        let flow = Question::new(set.clone(), entry.clone()).flow(&header);
        let answer = why(system, &flow);
        if answer.assumptions.iter().any(|found| found.code == "too-many-branches") {
            continue;
        }
        asked += 1;
        let told = (part.outcome, part.verdict);
        // What is left open is more than the simulator says of one packet.
        if part.outcome == Outcome::Undetermined {
            continue;
        }
        assert_eq!((answer.outcome, answer.verdict), told, "{about}: {flow:?}");
        for way in ways(&answer).into_iter().filter(|way| arrives(way.verdict)) {
            assert!(lands(way, &part.landings), "{about}: {flow:?} {part:?}");
            assert!(wears(way, entry, &part.sources), "{about}: {flow:?} {part:?}");
        }
    }
    asked
}

fn check(system: &System, matrix: &Matrix, random: &mut fastrand::Rng, about: &str) -> u64 {
    let mut asked = 0;
    for cell in &matrix.cells {
        let zones = (&matrix.from[cell.from].name, &matrix.to[cell.to].name);
        let about = format!("{about}: {zones:?} {:?}", cell.services);
        let connects = |part: &Part| part.outcome == Outcome::Connects;
        match cell.reach {
            Reach::Always => assert!(cell.parts.iter().all(connects), "{about}"),
            Reach::Never | Reach::Undetermined => {
                assert!(!cell.parts.iter().any(connects), "{about}");
            }
            Reach::Sometimes => {
                assert!(cell.parts.iter().any(connects), "{about}");
                assert!(!cell.parts.iter().all(connects), "{about}");
            }
        }
        for part in &cell.parts {
            asked += hold(system, part, random, &about);
        }
        // A packet is in one part only.
        let parts: Vec<&Part> = cell.parts.iter().collect();
        for (at, one) in parts.iter().enumerate() {
            for other in parts.iter().skip(at + 1) {
                for (entry, set) in &one.packets() {
                    let twice = other.packets().into_iter().find(|(own, _)| own == entry);
                    let twice = twice.is_some_and(|(_, own)| !own.intersection(set).is_empty());
                    assert!(!twice, "{about}: a packet in two parts");
                }
            }
        }
    }
    asked
}

/// One zone of a host, which sends; whole matrices of large hosts are for larger runs.
fn one_row(system: &System, random: &mut fastrand::Rng, family: Family) -> Option<Scope> {
    let host = &system.host;
    let mut names = vec!["internet".to_owned(), "host".to_owned(), "lan".to_owned()];
    names.extend(host.inventory.networks.iter().map(|network| format!("net:{}", network.name)));
    names.extend(host.interfaces.iter().map(|own| format!("iface:{}", own.name)));
    let from = parse_expression(random.choice(&names)?).ok()?;
    let to: Vec<_> = (0..3).filter_map(|_| parse_expression(random.choice(&names)?).ok()).collect();
    // Mostly a few services: all of them are for larger runs.
    let ports = [22, 53, 80, 443, 5432, 8080, 8081, 9090];
    let services = (0..random.usize(0..8).min(3)).map(|_| match random.u8(0..5) {
        0 => Service::Icmp,
        1 => Service::Ports(17, 1, *random.choice(&ports).unwrap_or(&53)),
        2 => Service::Ports(6, 8000, 9000),
        _ => {
            let port = *random.choice(&ports).unwrap_or(&80);
            Service::Ports(6, port, port)
        }
    });
    let services: Vec<Service> = services.collect();
    let services = if services.is_empty() { vec![Service::Ports(6, 80, 80)] } else { services };
    // Random rules have no end of ways.
    Some(Scope {
        from: vec![from],
        to,
        services,
        family: Some(family),
        most: Some(200),
        kept: Kept::Packets,
    })
}

#[test]
fn cells_say_what_the_simulator_says_on_the_hosts_of_the_corpus() {
    let mut random = fastrand::Rng::with_seed(number("NATTRACE_LAW_SEED", 5));
    let wanted = number("NATTRACE_LAW_PACKETS", 1500) / 100;
    let cases = Case::read_all(&cases_dir()).unwrap();
    let (mut asked, mut cells, mut rows) = (0, 0, 0);
    while rows < wanted {
        let case = random.choice(&cases).unwrap();
        // In this one a row takes long where nothing is optimized.
        if case.name.starts_with("12-scale") && wanted < 100 {
            continue;
        }
        let system = load(&case.texts(), &[]).system;
        let family = if random.u8(0..4) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let scope = one_row(&system, &mut random, family).unwrap();
        rows += 1;
        let found =
            matrix(&system, &scope).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
        cells += found.cells.len();
        asked += check(&system, &found, &mut random, &case.name);
    }
    eprintln!("{asked} packets of {cells} cells");
    assert!(cells > 0);
}

#[test]
fn cells_say_what_the_simulator_says_for_random_rules() {
    let seed = number("NATTRACE_LAW_SEED", 11);
    let mut random = fastrand::Rng::with_seed(seed);
    let wanted = number("NATTRACE_LAW_PACKETS", 1500) / 100;
    let (mut asked, mut cells, mut ruleset) = (0, 0, 0);
    while ruleset < wanted {
        ruleset += 1;
        let family = if random.u8(0..3) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let drawing = draw_host(seed + ruleset % 2, ruleset, family, 6).unwrap();
        let texts: Vec<Text<'_>> =
            drawing.texts.iter().map(|(name, text)| Text { name, text }).collect();
        let system = load(&texts, &[]).system;
        let Some(scope) = one_row(&system, &mut random, family) else { continue };
        let about = format!("seed {seed} ruleset {ruleset}");
        let found = matrix(&system, &scope).unwrap_or_else(|fault| panic!("{about}: {fault}"));
        cells += found.cells.len();
        asked += check(&system, &found, &mut random, &about);
    }
    eprintln!("{asked} packets of {cells} cells");
    assert!(cells > 0);
}

/// Everything that was asked about is told about, and nothing else.
#[test]
fn a_matrix_is_about_all_packets_of_its_zones() {
    let cases = Case::read_all(&cases_dir()).unwrap();
    let case = cases.iter().find(|case| case.name == "02-host-binding-ipv4").unwrap();
    let system = load(&case.texts(), &[]).system;
    let scope = Scope { family: Some(Family::Ipv4), ..Scope::default() };
    let found = matrix(&system, &scope).unwrap();
    let mut pairs: Vec<(usize, usize)> =
        found.cells.iter().map(|cell| (cell.from, cell.to)).collect();
    pairs.dedup();
    for (from, to) in pairs {
        let cells: Vec<_> = found.between(Family::Ipv4, from, to).collect();
        let whole = cells.iter().filter(|cell| cell.breadth != Breadth::Some).count();
        assert_eq!(whole, 1, "{from} {to}");
        // Each port is in one cell.
        for port in [1, 22, 80, 443, 8080, 65535] {
            let held = cells.iter().filter(|cell| {
                cell.services.iter().any(|service| match service {
                    Service::Ports(6, first, last) => (*first..=*last).contains(&port),
                    _ => false,
                })
            });
            assert_eq!(held.count(), 1, "{from} {to} {port}");
        }
    }
}
