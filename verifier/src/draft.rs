//! `check --init`: a policy written from what holds on a host today, to be edited.
//!
//! Candidates are made of the host's networks, published ports, sockets and addresses; each is
//! checked, and only those that hold are kept. What nobody knows of is listed with the reason.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nattrace_model::System;
use nattrace_model::endpoint::{FlowRequest, resolve};
use nattrace_model::host::inventory::{Container, Network, PublishedPort};
use nattrace_model::host::{InterfaceKind, Listener, Scope, SocketProtocol};
use nattrace_model::simulate::why;
use nattrace_parser::policy::{Given, Kind, parse};
use nattrace_parser::syntax::Family;

use crate::check::{Reason, Status, check_some};

/// How many networks are asked about pair by pair.
const MOST_NETWORKS: usize = 12;

/// An entry that may hold.
struct Candidate {
    kind: Kind,
    name: String,
    lines: String,
}

impl Candidate {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), lines: String::new() }
    }

    /// The same with another key.
    fn key(mut self, key: &str, value: &str) -> Self {
        // Writing into a string can't fail.
        let _ = writeln!(self.lines, "{key} = {value}");
        self
    }

    fn text(&self) -> String {
        format!("[[{}]]\nname = {}\n{}", self.kind.as_str(), quoted(&self.name), self.lines)
    }
}

/// Writes a policy of what holds.
#[must_use]
pub fn draft(system: &System) -> String {
    let mut entries = egresses(system);
    entries.extend(published(system));
    entries.extend(listeners(system));
    unite(&mut entries);
    let mut unsaid = unsayable(&mut entries, "");
    let mut unknown = Vec::new();
    let mut kept = holding(system, entries, "", &mut unknown);
    // What is closed is closed but for what is open.
    let open: Vec<&str> =
        kept.iter().filter(|entry| entry.kind == Kind::Allow).map(|e| e.name.as_str()).collect();
    let except: Vec<String> = open.iter().map(|name| quoted(name)).collect();
    let except = format!("[{}]", except.join(", "));
    let context: String = kept.iter().map(|entry| entry.text() + "\n").collect();
    let mut closed = vec![
        Candidate::new(Kind::Deny, "nothing else reaches a container from the internet")
            .key("from", "\"internet\"")
            .key("lands", "\"net:*\"")
            .key("except", &except),
        Candidate::new(Kind::Deny, "nothing else reaches the host from the internet")
            .key("from", "\"internet\"")
            .key("lands", "\"host\"")
            .key("except", &except),
    ];
    if networks(system).next().is_none() {
        closed.remove(0);
    }
    closed.extend(isolations(system));
    unsaid.extend(unsayable(&mut closed, &context));
    kept.extend(holding(system, closed, &context, &mut unknown));
    page(&kept, &unsaid, &unknown)
}

/// Takes out the candidates that no policy can say, each beside the entries that it may refer to:
/// a name that Docker allows may be none that a zone can have, such as `a:b`. Returns their names.
fn unsayable(candidates: &mut Vec<Candidate>, context: &str) -> Vec<String> {
    let sayable = |text: &str| parse(&format!("version = 1\n{context}{text}")).1.is_empty();
    let all: String = candidates.iter().map(|entry| entry.text() + "\n").collect();
    if sayable(&all) {
        return Vec::new();
    }
    let (kept, lost): (Vec<Candidate>, Vec<Candidate>) =
        candidates.drain(..).partition(|entry| sayable(&entry.text()));
    *candidates = kept;
    lost.into_iter().map(|entry| entry.name).collect()
}

/// The candidates that hold, each beside the entries that it may refer to. Those that nobody knows
/// of join the unknown ones, with the reason.
fn holding(
    system: &System,
    candidates: Vec<Candidate>,
    context: &str,
    unknown: &mut Vec<(String, String)>,
) -> Vec<Candidate> {
    let texts: String = candidates.iter().map(|entry| entry.text() + "\n").collect();
    let (mut policy, complaints) = parse(&format!("version = 1\n{context}{texts}"));
    debug_assert!(complaints.is_empty(), "{complaints:?} in {context}{texts}");
    let asked: BTreeSet<&str> = candidates.iter().map(|entry| entry.name.as_str()).collect();
    let name = |entry: &nattrace_parser::policy::Entry| {
        entry.name.as_ref().map(|name| name.value.clone()).unwrap_or_default()
    };
    let mut wanted = policy.clone();
    wanted.entries.retain(|entry| asked.contains(name(entry).as_str()));
    // The others are only referred to.
    let referred: Vec<_> =
        policy.entries.drain(..).filter(|entry| !asked.contains(name(entry).as_str())).collect();
    let mut broken: BTreeSet<String> = BTreeSet::new();
    for finding in check_some(&wanted, &referred, system, &Given::default()) {
        if let (Status::Unknown, Some(Reason::Undetermined(why))) = (finding.status, finding.reason)
        {
            unknown.push((finding.name.clone(), why));
        }
        if finding.status != Status::Holds {
            broken.insert(finding.name);
        }
    }
    candidates.into_iter().filter(|entry| !broken.contains(&entry.name)).collect()
}

/// Entries of one name are one: published for both families, say.
fn unite(entries: &mut Vec<Candidate>) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for entry in entries {
        let plain = entry.name.clone();
        let mut number = 2;
        while !seen.insert(entry.name.clone()) {
            entry.name = format!("{plain} ({number})");
            number += 1;
        }
    }
}

fn networks(system: &System) -> impl Iterator<Item = &Network> {
    let networks = system.host.inventory.networks.iter();
    networks.filter(|network| !["host", "null", "none"].contains(&network.driver.as_str()))
}

/// The source that packets of each network, and of the host, wear on the internet.
fn egresses(system: &System) -> Vec<Candidate> {
    let names = networks(system).map(|network| format!("net:{}", network.name));
    let mut candidates = Vec::new();
    for zone in names.chain(["host".to_owned()]) {
        for family in [Family::Ipv4, Family::Ipv6] {
            let Some(source) = worn_by(system, &zone, family) else { continue };
            let version = if family == Family::Ipv4 { "ipv4" } else { "ipv6" };
            candidates.push(
                Candidate::new(Kind::Egress, format!("{zone} wears {source}"))
                    .key("from", &quoted(&zone))
                    .key("to", "\"internet\"")
                    .key("source", &quoted(&source.to_string()))
                    .key("family", &quoted(version)),
            );
        }
    }
    candidates
}

/// The source that a packet of a zone has when it leaves for the internet.
fn worn_by(system: &System, zone: &str, family: Family) -> Option<IpAddr> {
    let request = FlowRequest {
        source: zone.to_owned(),
        destination: "internet:443".to_owned(),
        family: Some(family),
        ..FlowRequest::default()
    };
    let question = resolve(system, &request).ok()?;
    let egress = why(system, &question.flow).egress?;
    egress.out_interface.as_ref()?;
    Some(egress.packet.source)
}

/// The addresses by which the internet knows the host.
fn public_addresses(system: &System) -> Vec<IpAddr> {
    let internet = [
        IpAddr::from(Ipv4Addr::new(1, 1, 1, 1)),
        Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111).into(),
    ];
    let mut addresses = Vec::new();
    for to in internet {
        use nattrace_model::simulate::{Expected, expected};
        let Expected::Behind(interface) = expected(system, to) else { continue };
        let own = system.host.interface(interface).map_or(&[][..], |own| &own.addresses);
        let fits = own.iter().filter(|own| {
            own.scope == Scope::Global && own.local.is_ipv4() == to.is_ipv4() && !own.deprecated
        });
        addresses.extend(fits.map(|own| own.local));
    }
    addresses
}

/// What the internet reaches by a published port.
fn published(system: &System) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let containers = system.host.inventory.containers.iter().filter(|container| container.running);
    for container in containers {
        for port in &container.published {
            let bound = |address: &IpAddr| {
                port.host_address.is_none_or(|host| {
                    host == *address
                        || (host.is_unspecified() && host.is_ipv4() == address.is_ipv4())
                })
            };
            for address in public_addresses(system).into_iter().filter(bound) {
                candidates.push(publication(container, port, address));
            }
        }
    }
    let mut seen = BTreeSet::new();
    candidates.retain(|entry| seen.insert(entry.lines.clone()));
    candidates
}

fn publication(container: &Container, port: &PublishedPort, address: IpAddr) -> Candidate {
    let protocol = protocol(port.protocol);
    let to = SocketAddr::new(address, port.host_port);
    Candidate::new(Kind::Allow, format!("{} is published at {to}/{protocol}", container.name))
        .key("from", "\"internet\"")
        .key("to", &quoted(&format!("{to}/{protocol}")))
        .key(
            "lands",
            &quoted(&format!("container:{}:{}/{protocol}", container.name, port.container_port)),
        )
}

/// What the internet reaches at the host itself.
fn listeners(system: &System) -> Vec<Candidate> {
    let proxy =
        |listener: &&Listener| !listener.processes.iter().any(|process| process == "docker-proxy");
    let mut sockets: BTreeSet<(&str, u16, IpAddr)> = BTreeSet::new();
    let addresses = public_addresses(system);
    for listener in system.host.listeners.iter().flatten().filter(proxy) {
        for address in &addresses {
            let takes = match listener.address {
                Some(bound) => bound == *address,
                None => {
                    listener.family == Family::of(*address)
                        || (listener.dual_stack && address.is_ipv4())
                }
            };
            let on_loopback = listener.interface.as_deref().is_some_and(|name| {
                system.host.interface(name).is_some_and(|own| own.kind == InterfaceKind::Loopback)
            });
            if takes && !on_loopback {
                sockets.insert((protocol(listener.protocol), listener.port, *address));
            }
        }
    }
    let candidate = |(protocol, port, address): (&str, u16, IpAddr)| {
        let to = SocketAddr::new(address, port);
        Candidate::new(Kind::Allow, format!("the host answers at {to}/{protocol}"))
            .key("from", "\"internet\"")
            .key("to", &quoted(&format!("{to}/{protocol}")))
            .key("lands", "\"host\"")
    };
    sockets.into_iter().map(candidate).collect()
}

/// Networks that nothing passes between.
fn isolations(system: &System) -> Vec<Candidate> {
    let names: Vec<&str> = networks(system).map(|network| network.name.as_str()).collect();
    let mut candidates = Vec::new();
    if names.len() > MOST_NETWORKS {
        return candidates;
    }
    for (index, one) in names.iter().enumerate() {
        for other in names.iter().skip(index + 1) {
            let zones = [format!("net:{one}"), format!("net:{other}")].map(|zone| quoted(&zone));
            candidates.push(
                Candidate::new(Kind::Isolate, format!("{one} and {other} are apart"))
                    .key("zones", &format!("[{}]", zones.join(", "))),
            );
        }
    }
    candidates
}

fn protocol(protocol: SocketProtocol) -> &'static str {
    match protocol {
        SocketProtocol::Tcp => "tcp",
        SocketProtocol::Udp => "udp",
        SocketProtocol::Sctp => "sctp",
    }
}

/// A string as TOML has it; its escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn page(entries: &[Candidate], unsaid: &[String], unknown: &[(String, String)]) -> String {
    let mut text = String::from(
        "# What holds on this host today, as nattrace found it: keep what is meant, and say the rest.\n\
         # `nattrace check` proves it for every packet; docs/policy.md tells what can be said.\n\
         version = 1\n",
    );
    for entry in entries {
        text.push('\n');
        text.push_str(&entry.text());
    }
    if !unsaid.is_empty() {
        text.push_str("\n# Not looked at, because no zone can be called like that:\n");
    }
    for name in unsaid {
        // Quoted, so that no line break gets out of the comment.
        let _ = writeln!(text, "#   {}", quoted(name));
    }
    if !unknown.is_empty() {
        text.push_str("\n# Not known, and so left out:\n");
    }
    for (name, why) in unknown {
        let _ = writeln!(text, "#   {}: {}", quoted(name), why.replace(char::is_control, " "));
    }
    text
}
