//! Hosts and policies as they are drawn: the lab's random rules, and Docker hosts whose rules
//! somebody edited.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use nattrace_corpus::case::{Case, cases_dir};
use nattrace_corpus::lab::draw;
use nattrace_model::System;
use nattrace_model::answer::Outcome;
use nattrace_model::build::{Text, load};
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::host::Scope;
use nattrace_model::packet::protocol;
use nattrace_model::simulate::why;
use nattrace_parser::syntax::{Backend, Family};
use tempfile::TempDir;

/// How many packets are drawn for a host of the lab.
const FLOWS: usize = 40;

/// Up to how many rules a host may have.
const MOST_RULES: usize = 200;

/// A host and a policy, in a folder.
pub(crate) struct Drawn {
    folder: TempDir,
    family: Family,
    number: u64,
}

impl Drawn {
    /// The same numbers draw the same.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let family = if random.u8(0..4) == 0 { Family::Ipv6 } else { Family::Ipv4 };
        let (family, texts, entries) = match number % 2 {
            0 => {
                let drawing = draw(seed, number, family, FLOWS).unwrap();
                let system = loaded(&drawing.texts);
                let entries = wishes(&drawing.flows, &system, &mut random);
                (family, drawing.texts, entries)
            }
            _ => {
                let (family, texts) = of_docker(&mut random);
                let system = loaded(&texts);
                let entries = (0..random.usize(1..=3)).map(|_| entry(&system, family, &mut random));
                (family, texts, entries.collect())
            }
        };
        let folder = TempDir::new().unwrap();
        let host = folder.path().join("host");
        fs::create_dir(&host).unwrap();
        for (name, text) in texts {
            fs::write(host.join(name), text).unwrap();
        }
        let name = if family == Family::Ipv4 { "ipv4" } else { "ipv6" };
        let mut policy = "version = 1\n".to_owned();
        for (number, entry) in entries.iter().enumerate() {
            let (kind, keys) = entry.split_once('\n').unwrap();
            let _ = writeln!(
                policy,
                "[[{kind}]]\nname = \"{number}\"\nfamily = \"{name}\"\n{}",
                keys.trim_end()
            );
        }
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        Self { folder, family, number }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn family_name(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }

    /// The name of the part with the rules.
    pub(crate) fn rules(&self) -> &'static str {
        self.save()
    }

    /// The program that prints them.
    pub(crate) fn save(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "iptables-save",
            Family::Ipv6 => "ip6tables-save",
        }
    }

    /// The program that reads them.
    pub(crate) fn restore(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "iptables-restore",
            Family::Ipv6 => "ip6tables-restore",
        }
    }

    /// Leaves a copy of everything where `NATTRACE_LAW_KEEP` says.
    pub(crate) fn keep(&self) {
        let Some(folder) = std::env::var_os("NATTRACE_LAW_KEEP") else { return };
        let to = Path::new(&folder).join(self.number.to_string());
        fs::create_dir_all(&to).unwrap();
        copy(self.folder(), &to);
    }
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        match file.path().is_dir() {
            true => {
                fs::create_dir_all(&to).unwrap();
                copy(&file.path(), &to);
            }
            false => _ = fs::copy(file.path(), to).unwrap(),
        }
    }
}

fn loaded(texts: &[(String, String)]) -> System {
    let texts: Vec<Text<'_>> = texts.iter().map(|(name, text)| Text { name, text }).collect();
    load(&texts, &[]).system
}

fn protocol_name(number: u8) -> Option<&'static str> {
    match number {
        protocol::TCP => Some("tcp"),
        protocol::UDP => Some("udp"),
        _ => None,
    }
}

/// The on-link network of an address, or itself.
fn around(address: IpAddr, system: &System, random: &mut Rng) -> String {
    let on_link = system.host.interfaces.iter().flat_map(|own| &own.addresses);
    let mut here = on_link.filter(|own| own.subnet.contains(address) && !own.subnet.is_single());
    match here.next().filter(|_| random.u8(0..3) == 0) {
        Some(own) => own.subnet.to_string(),
        None => address.to_string(),
    }
}

fn socket(address: IpAddr, port: u16, protocol: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}/{protocol}"),
        IpAddr::V6(address) => format!("[{address}]:{port}/{protocol}"),
    }
}

/// Policies that want of packets what does not become of them, and some that are content.
fn wishes(flows: &[Flow], system: &System, random: &mut Rng) -> Vec<String> {
    let wanted = random.usize(1..=2);
    let mut found = Vec::new();
    for flow in flows {
        let content = found.len() + 1 == wanted && wanted > 1 && random.bool();
        found.extend(wish(flow, system, content, random));
        if found.len() == wanted {
            break;
        }
    }
    if found.is_empty() {
        found.push("deny\nfrom = \"internet\"\nlands = \"host:22/tcp\"\n".to_owned());
    }
    found
}

fn wish(flow: &Flow, system: &System, content: bool, random: &mut Rng) -> Option<String> {
    let (Some(port), Some(name)) = (flow.destination_port, protocol_name(flow.protocol)) else {
        return None;
    };
    let answer = why(system, flow);
    if flow.state != FlowState::New || !answer.branches.is_empty() {
        return None;
    }
    let from = match flow.in_interface {
        None => "host".to_owned(),
        Some(_) => around(flow.source, system, random),
    };
    let egress = answer.egress.as_ref();
    let connects = answer.outcome == Outcome::Connects;
    if connects == content {
        let to = socket(flow.destination, port, name);
        return Some(format!("allow\nfrom = \"{from}\"\nto = \"{to}\"\n"));
    }
    let egress = egress.filter(|_| connects)?;
    let landed = egress.packet.destination;
    match (random.u8(0..3), &egress.out_interface) {
        (0, _) => {
            let lands = socket(landed, egress.packet.destination_port()?, name);
            Some(format!("deny\nfrom = \"{from}\"\nlands = \"{lands}\"\n"))
        }
        (1, _) => Some(format!(
            "isolate\nzones = [\"{from}\", \"{}\"]\nproto = \"{name}\"\n",
            around(landed, system, random)
        )),
        (_, Some(out)) => {
            let source = own_source(system, out, flow, random)?;
            let to = around(landed, system, random);
            Some(format!("egress\nfrom = \"{from}\"\nto = \"{to}\"\nsource = \"{source}\"\n"))
        }
        (_, None) => None,
    }
}

/// An address that packets may leave by an interface with.
fn own_source(system: &System, out: &str, flow: &Flow, random: &mut Rng) -> Option<String> {
    if random.u8(0..3) == 0 {
        return Some("unchanged".to_owned());
    }
    let own = system.host.interfaces.iter().find(|own| own.name == out)?;
    let addresses = own.addresses.iter().filter(|a| a.scope == Scope::Global).map(|a| a.local);
    let addresses: Vec<IpAddr> =
        addresses.filter(|local| local.is_ipv4() == flow.source.is_ipv4()).collect();
    random.choice(&addresses).map(IpAddr::to_string)
}

/// A Docker host of the corpus, with a rule gone, twice, at another place, or with another target.
fn of_docker(random: &mut Rng) -> (Family, Vec<(String, String)>) {
    let cases = Case::read_all(&cases_dir()).unwrap();
    loop {
        let case = random.choice(&cases).unwrap();
        let mut texts: Vec<(String, String)> =
            case.texts().iter().map(|text| (text.name.to_owned(), text.text.to_owned())).collect();
        let family = match random.u8(0..4) {
            0 => Family::Ipv6,
            _ => Family::Ipv4,
        };
        // What is asked is iptables-nft.
        if loaded(&texts).rules.chains.iter().any(|chain| chain.backend == Backend::Legacy) {
            continue;
        }
        let name = if family == Family::Ipv4 { "iptables-save" } else { "ip6tables-save" };
        let Some(rules) = texts.iter_mut().find(|(own, text)| own == name && !text.is_empty())
        else {
            continue;
        };
        if rules.1.lines().filter(|line| line.contains("-A ")).count() > MOST_RULES {
            continue;
        }
        for _ in 0..random.usize(0..=2) {
            rules.1 = edited(&rules.1, random);
        }
        // Rules of the other tables of nftables are not in the kernel that is asked.
        return (family, texts);
    }
}

fn edited(text: &str, random: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|line| lines[*line].contains("-A ")).collect();
    let Some(rule) = random.choice(&rules).copied() else { return text.to_owned() };
    match random.u8(0..5) {
        0 | 1 => _ = lines.remove(rule),
        2 => lines.insert(rule, lines[rule].clone()),
        3 if lines[rule + 1].contains("-A ") => lines.swap(rule, rule + 1),
        _ => {
            for (from, to) in [(" -j ACCEPT", " -j DROP"), (" -j DROP", " -j ACCEPT")] {
                if let Some(head) = lines[rule].strip_suffix(from) {
                    lines[rule] = format!("{head}{to}");
                    break;
                }
            }
        }
    }
    lines.join("\n") + "\n"
}

/// An entry about the networks, containers and ports of a Docker host.
fn entry(system: &System, family: Family, random: &mut Rng) -> String {
    let inventory = &system.host.inventory;
    let mut inside: Vec<String> = inventory
        .networks
        .iter()
        .filter(|network| network.driver == "bridge")
        .map(|network| format!("net:{}", network.name))
        .collect();
    let networks = inside.clone();
    let containers = inventory.containers.iter().filter(|container| container.running);
    inside.extend(containers.clone().map(|container| format!("container:{}", container.name)));
    let outside = ["internet".to_owned(), "lan".to_owned()];
    let own: Vec<IpAddr> = system
        .host
        .interfaces
        .iter()
        .filter(|own| own.name.starts_with("eth"))
        .flat_map(|own| &own.addresses)
        .filter(|address| address.scope == Scope::Global)
        .map(|address| address.local)
        .filter(|local| local.is_ipv4() == (family == Family::Ipv4))
        .collect();
    let published: Vec<(u16, &str)> = containers
        .flat_map(|container| {
            container.published.iter().map(|port| (port.host_port, container.name.as_str()))
        })
        .collect();
    let one = |of: &[String], random: &mut Rng| random.choice(of).cloned().unwrap_or_default();
    let source = |random: &mut Rng| match random.choice(&own) {
        Some(address) if random.u8(0..3) != 0 => address.to_string(),
        _ => "unchanged".to_owned(),
    };
    match random.u8(0..8) {
        0 | 1 => {
            let to = if random.bool() { one(&outside, random) } else { one(&inside, random) };
            let (from, source) = (one(&inside, random), source(random));
            format!("egress\nfrom = \"{from}\"\nto = \"{to}\"\nsource = \"{source}\"\n")
        }
        2 | 3 => {
            let from = one(if random.bool() { &outside } else { &inside }, random);
            match (random.choice(&published), random.choice(&own)) {
                (Some((port, name)), Some(address)) if random.u8(0..4) != 0 => {
                    let to = socket(*address, *port, "tcp");
                    let lands = match random.bool() {
                        true => format!("lands = \"container:{name}:80\"\n"),
                        false => String::new(),
                    };
                    format!("allow\nfrom = \"{from}\"\nto = \"{to}\"\n{lands}")
                }
                _ => {
                    let to = one(&inside, random);
                    format!("allow\nfrom = \"{from}\"\nto = \"{to}:80/tcp\"\n")
                }
            }
        }
        4 => format!("allow\nfrom = \"{}\"\nto = \"internet:443/tcp\"\n", one(&inside, random)),
        5 | 6 => {
            let from = one(if random.bool() { &outside } else { &inside }, random);
            let port = if random.bool() { ":80/tcp" } else { "" };
            format!("deny\nfrom = \"{from}\"\nlands = \"{}{port}\"\n", one(&inside, random))
        }
        _ => {
            let zones = (one(&networks, random), one(&networks, random));
            match zones.0 == zones.1 {
                true => "deny\nfrom = \"internet\"\nlands = \"host:22/tcp\"\n".to_owned(),
                false => format!("isolate\nzones = [\"{}\", \"{}\"]\n", zones.0, zones.1),
            }
        }
    }
}
