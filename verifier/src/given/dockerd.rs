//! `systemctl restart docker`: what dockerd does to rules while it starts.
//!
//! It makes its own chains anew, and what others put there is lost. Rules of its networks that are
//! still where they were stay; missing ones are inserted before all others, as are those of the
//! default network, which is made anew. Jumps from `FORWARD` come first again, those from nat last.
//! Measured with Docker 20.10 (`tests/docker`), and what 28 does otherwise taken from its sources.

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::SocketProtocol;
use nattrace_model::host::inventory::{Container, Network, PublishedPort};
use nattrace_model::ruleset::Ruleset;
use nattrace_parser::host::docker::GatewayMode;
use nattrace_parser::policy::Switch;
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::lists::{Line, Lists};

/// Chains by which Docker is known to keep rules here.
const SIGNS: [&str; 4] = ["DOCKER", "DOCKER-USER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-FORWARD"];

/// Chains of Docker 28 and later besides `DOCKER`.
const FORWARDING: [&str; 4] = ["DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-FORWARD", "DOCKER-INTERNAL"];

const ISOLATION: [&str; 2] = ["DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"];

/// The host after dockerd was restarted and its containers run again with their addresses. Where
/// Docker keeps no rules nothing changes.
pub(super) fn restart(system: &mut System) {
    for (backend, family) in keeps_rules(&system.rules) {
        let mut lists = Lists::of(system, backend, family);
        Docker::of(system, family, &lists).start(&mut lists);
        // dockerd that turns forwarding on lets nothing through but what a rule accepts.
        let forwards = system.host.sysctls.get("net.ipv4.ip_forward");
        if family == Family::Ipv4 && forwards == Some(0) {
            super::forward(&mut system.host, Family::Ipv4, Switch::On);
            lists.set_policy(TableName::Filter, "FORWARD", Policy::Drop);
        }
        lists.put_back(system);
    }
}

/// Through which backends, and for which families, Docker keeps rules.
fn keeps_rules(rules: &Ruleset) -> Vec<(Backend, Family)> {
    let mut found: Vec<(Backend, Family)> = Vec::new();
    for chain in &rules.chains {
        let is_iptables = chain.table.of_iptables().is_some();
        let set = (chain.backend, chain.family);
        if is_iptables && SIGNS.contains(&&*chain.name) && !found.contains(&set) {
            found.push(set);
        }
    }
    found
}

/// How Docker writes its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// In `FORWARD`, with isolation in two stages: up to 27.
    Stages,
    /// In chains of its own behind `DOCKER-FORWARD`: 28 and later.
    Forwarding,
}

/// Whether published ports are reached from the host itself by NAT or by docker-proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Used,
    /// `--userland-proxy=false`.
    Unused,
}

/// A published port behind a bridge.
struct Publication<'a> {
    bridge: &'a str,
    protocol: &'static str,
    host_address: Option<IpAddr>,
    host_port: u16,
    to: IpAddr,
    port: u16,
}

/// What Docker makes rules of.
struct Docker<'a> {
    family: Family,
    style: Style,
    proxy: Proxy,
    networks: Vec<&'a Network>,
    /// Bridges that Docker lets everybody reach, whatever the inventory says: the daemon's own
    /// options may say so.
    unprotected: Vec<&'a str>,
    publications: Vec<Publication<'a>>,
}

impl<'a> Docker<'a> {
    fn of(system: &'a System, family: Family, lists: &Lists) -> Self {
        let style = match lists.has(TableName::Filter, "DOCKER-FORWARD") {
            true => Style::Forwarding,
            false => Style::Stages,
        };
        let inventory = &system.host.inventory;
        let all = inventory.networks.iter().filter(|network| network.driver == "bridge");
        let networks: Vec<&Network> = all
            .filter(|network| {
                !network.bridge.is_empty() && subnets(network, family).next().is_some()
            })
            .collect();
        let running = inventory.containers.iter().filter(|container| container.running);
        let publications: Vec<Publication<'_>> =
            running.flat_map(|container| published(container, family, &networks)).collect();
        let is_proxied =
            |line: &Line| line.text.contains(" ! -i ") || line.text.contains(" ! -d 127");
        let nat = [(TableName::Nat, "DOCKER"), (TableName::Nat, "OUTPUT")];
        let mut rules = nat.into_iter().flat_map(|(table, chain)| lists.lines(table, chain));
        let is_known = lists.lines(TableName::Nat, "OUTPUT").iter().any(is_jump);
        let listeners = system.host.listeners.iter().flatten();
        let mut processes = listeners.flat_map(|listener| &listener.processes);
        let is_used = match is_known {
            true => rules.any(is_proxied),
            false => {
                let is_unlisted = system.host.listeners.is_none() || publications.is_empty();
                is_unlisted || processes.any(|process| process == "docker-proxy")
            }
        };
        let proxy = if is_used { Proxy::Used } else { Proxy::Unused };
        let open = |network: &&&Network| {
            let bridge = &network.bridge;
            let text = format!("-A DOCKER ! -i {bridge} -o {bridge} -j ACCEPT");
            lists.lines(TableName::Filter, "DOCKER").iter().any(|line| line.text == text)
        };
        let unprotected = networks.iter().filter(open).map(|own| own.bridge.as_str()).collect();
        Self { family, style, proxy, networks, unprotected, publications }
    }

    fn start(&self, lists: &mut Lists) {
        self.translate(lists);
        match self.style {
            Style::Stages => self.filter_in_stages(lists),
            Style::Forwarding => self.filter_in_chains(lists),
        }
        if self.family == Family::Ipv4 && !lists.has(TableName::Filter, "DOCKER-USER") {
            lists.set(
                TableName::Filter,
                "DOCKER-USER",
                vec![Line::new("-A DOCKER-USER -j RETURN")],
            );
        }
        let first = match self.style {
            Style::Stages => "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
            Style::Forwarding => "-A FORWARD -j DOCKER-FORWARD",
        };
        let user = "-A FORWARD -j DOCKER-USER";
        let mut jumps = vec![Line::new(first)];
        if lists.has(TableName::Filter, "DOCKER-USER") {
            jumps.insert(0, Line::new(user));
        }
        let forward = lists.take(TableName::Filter, "FORWARD");
        let others = forward.into_iter().filter(|line| line.text != first && line.text != user);
        jumps.extend(others);
        lists.set(TableName::Filter, "FORWARD", jumps);
    }

    /// The table nat.
    fn translate(&self, lists: &mut Lists) {
        let jumps = match (self.family, self.proxy) {
            (_, Proxy::Unused) => "-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER",
            (Family::Ipv4, _) => {
                "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER"
            }
            (Family::Ipv6, _) => "-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER",
        };
        let incoming = "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER";
        for (chain, jump) in [("PREROUTING", incoming), ("OUTPUT", jumps)] {
            let mut rules = lists.take(TableName::Nat, chain);
            rules.retain(|line| !is_jump(line));
            rules.push(Line::new(jump));
            lists.set(TableName::Nat, chain, rules);
        }
        let (defaults, others): (Vec<&Network>, Vec<&Network>) =
            self.networks.iter().partition(|network| network.options.is_default);
        let of = |networks: &[&Network]| -> Vec<String> {
            networks.iter().flat_map(|network| self.leaving(network)).collect()
        };
        let mut rules = lists.take(TableName::Nat, "POSTROUTING");
        let mut returning: Vec<String> = Vec::new();
        for text in self.publications.iter().map(Publication::returning) {
            // A port that is published twice calls itself by one rule.
            if !returning.contains(&text) {
                returning.push(text);
            }
        }
        let own = remove(&mut rules, |line| returning.contains(&line.text));
        rules = inserted(rules, &of(&defaults), &of(&others));
        // Those come last again.
        match self.style {
            Style::Stages => rules.extend(returning.iter().map(|text| Line::new(text))),
            Style::Forwarding => rules.extend(own),
        }
        lists.set(TableName::Nat, "POSTROUTING", rules);
        let before = match (self.style, self.proxy) {
            (Style::Stages, Proxy::Used) => self
                .networks
                .iter()
                .filter(|network| network.options.masquerades && !network.internal)
                .map(|network| format!("-A DOCKER -i {} -j RETURN", network.bridge))
                .collect(),
            _ => Vec::new(),
        };
        let old = lists.take(TableName::Nat, "DOCKER");
        let mut rules = self.renewed(old, |line| {
            before.contains(&line.text) || self.publications.iter().any(|p| p.is_made_by(line))
        });
        let missing: Vec<Line> = self
            .publications
            .iter()
            .filter(|publication| !rules.iter().any(|line| publication.is_made_by(line)))
            .map(|publication| Line::new(&publication.translation(self.proxy)))
            .collect();
        rules.extend(missing);
        lists.set(TableName::Nat, "DOCKER", inserted(rules, &[], &before));
    }

    /// What a network's packets are masqueraded by, from above.
    fn leaving(&self, network: &Network) -> Vec<String> {
        let mut rules = Vec::new();
        if network.internal {
            return rules;
        }
        let bridge = &network.bridge;
        if self.proxy == Proxy::Unused {
            rules.push(format!(
                "-A POSTROUTING -o {bridge} -m addrtype --src-type LOCAL -j MASQUERADE"
            ));
        }
        let is_translated =
            !matches!(self.mode(network), Some(GatewayMode::Routed | GatewayMode::Isolated));
        if network.options.masquerades && is_translated {
            let mut sources = network.options.sources.iter();
            let source = sources.find(|source| Family::of(**source) == self.family);
            let target = match source {
                Some(source) => format!("SNAT --to-source {source}"),
                None => "MASQUERADE".to_owned(),
            };
            for subnet in subnets(network, self.family) {
                rules.push(format!("-A POSTROUTING -s {subnet} ! -o {bridge} -j {target}"));
            }
        }
        rules
    }

    /// The table filter up to Docker 27.
    fn filter_in_stages(&self, lists: &mut Lists) {
        let filter = TableName::Filter;
        let (mut anew, mut kept) = (Vec::new(), Vec::new());
        let (mut first, mut second, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for network in &self.networks {
            let bridge = &network.bridge;
            let rules = if network.options.is_default { &mut anew } else { &mut kept };
            if network.internal {
                for subnet in subnets(network, self.family) {
                    first.push(format!("-A {} ! -s {subnet} -o {bridge} -j DROP", ISOLATION[0]));
                    first.push(format!("-A {} ! -d {subnet} -i {bridge} -j DROP", ISOLATION[0]));
                }
            } else {
                rules.push(format!(
                    "-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
                ));
                rules.push(format!("-A FORWARD -o {bridge} -j DOCKER"));
                rules.push(format!("-A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT"));
                first.push(format!(
                    "-A {} -i {bridge} ! -o {bridge} -j {}",
                    ISOLATION[0], ISOLATION[1]
                ));
                second.push(format!("-A {} -o {bridge} -j DROP", ISOLATION[1]));
            }
            match network.options.inter_container {
                true => rules.push(format!("-A FORWARD -i {bridge} -o {bridge} -j ACCEPT")),
                false => last.push(format!("-A FORWARD -i {bridge} -o {bridge} -j DROP")),
            }
        }
        let mut forward = inserted(lists.take(filter, "FORWARD"), &anew, &kept);
        for text in last {
            if !forward.iter().any(|line| line.text == text) {
                forward.push(Line::new(&text));
            }
        }
        lists.set(filter, "FORWARD", forward);
        for (chain, made) in ISOLATION.into_iter().zip([first, second]) {
            let back = format!("-A {chain} -j RETURN");
            let old = lists.take(filter, chain);
            let mut rules = self.renewed(old, |line| made.contains(&line.text));
            rules.retain(|line| line.text != back);
            rules = inserted(rules, &[], &made);
            rules.push(Line::new(&back));
            lists.set(filter, chain, rules);
        }
        self.accept_published(lists);
    }

    /// The table filter since Docker 28. Rules of kinds that are not known here stay.
    fn filter_in_chains(&self, lists: &mut Lists) {
        let filter = TableName::Filter;
        for chain in FORWARDING {
            let old = lists.take(filter, chain);
            let mut rules = self.renewed(old, |line| self.mentions_own(line));
            let mut made: Vec<String> = match chain {
                "DOCKER-FORWARD" => ["DOCKER-CT", "DOCKER-INTERNAL", "DOCKER-BRIDGE"]
                    .map(|to| format!("-A DOCKER-FORWARD -j {to}"))
                    .to_vec(),
                _ => Vec::new(),
            };
            rules.retain(|line| !made.contains(&line.text));
            let mut all: Vec<Line> = made.drain(..).map(|text| Line::new(&text)).collect();
            all.append(&mut rules);
            for network in &self.networks {
                let text = self.forwarding(chain, network);
                let missing = text.filter(|text| !all.iter().any(|line| line.text == *text));
                all.extend(missing.map(|text| Line::new(&text)));
            }
            lists.set(filter, chain, all);
        }
        self.accept_published(lists);
        let mut rules = lists.take(filter, "DOCKER");
        for network in &self.networks {
            let bridge = &network.bridge;
            let target = match self.mode(network) {
                Some(GatewayMode::Nat) => "DROP",
                Some(GatewayMode::NatUnprotected) => "ACCEPT",
                _ => continue,
            };
            let text = format!("-A DOCKER ! -i {bridge} -o {bridge} -j {target}");
            if !network.internal && !rules.iter().any(|line| line.text == text) {
                rules.push(Line::new(&text));
            }
        }
        lists.set(filter, "DOCKER", rules);
    }

    /// The rule of a network in one of the chains since Docker 28, where it is sure.
    fn forwarding(&self, chain: &str, network: &Network) -> Option<String> {
        let bridge = &network.bridge;
        if network.internal || !network.options.inter_container || self.mode(network).is_none() {
            return None;
        }
        match chain {
            "DOCKER-CT" => Some(format!(
                "-A {chain} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            )),
            "DOCKER-BRIDGE" => Some(format!("-A {chain} -o {bridge} -j DOCKER")),
            "DOCKER-FORWARD" => Some(format!("-A {chain} -i {bridge} -j ACCEPT")),
            _ => None,
        }
    }

    /// `DOCKER` of the table filter: published ports.
    fn accept_published(&self, lists: &mut Lists) {
        let is_open = |publication: &&Publication<'_>| {
            let network = self.networks.iter().find(|own| own.bridge == publication.bridge);
            let mode = network.and_then(|network| self.mode(network));
            self.style == Style::Stages || mode == Some(GatewayMode::Nat)
        };
        let open = self.publications.iter().filter(is_open);
        let made: Vec<String> = open.map(Publication::admission).collect();
        let old = lists.take(TableName::Filter, "DOCKER");
        let mut rules = self.renewed(old, |line| {
            let is_general = self.style == Style::Forwarding && !line.text.contains(" -d ");
            made.contains(&line.text) || (is_general && self.mentions_own(line))
        });
        let mut missing: Vec<String> = Vec::new();
        for text in made {
            if !missing.contains(&text) && !rules.iter().any(|line| line.text == text) {
                missing.push(text);
            }
        }
        match self.style {
            Style::Stages => rules.extend(missing.iter().map(|text| Line::new(text))),
            Style::Forwarding => rules = inserted(rules, &[], &missing),
        }
        lists.set(TableName::Filter, "DOCKER", rules);
    }

    fn mode(&self, network: &Network) -> Option<GatewayMode> {
        if self.unprotected.contains(&network.bridge.as_str()) {
            return Some(GatewayMode::NatUnprotected);
        }
        let [ipv4, ipv6] = network.options.gateway_modes;
        match self.family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// The rules of an own chain without those that others put there. What is about a network that
    /// the inventory does not have (a swarm's, say) stays.
    fn renewed(&self, rules: Vec<Line>, is_own: impl Fn(&Line) -> bool) -> Vec<Line> {
        let about_unknown = |line: &Line| {
            let mut bridges = line.interfaces();
            bridges.any(|name| !self.networks.iter().any(|network| network.bridge == name))
        };
        rules.into_iter().filter(|line| is_own(line) || about_unknown(line)).collect()
    }

    /// Whether a rule names one of the bridges, and no other interface.
    fn mentions_own(&self, line: &Line) -> bool {
        let known = |name| self.networks.iter().any(|network| network.bridge == name);
        line.interfaces().next().is_some() && line.interfaces().all(known)
    }
}

impl Publication<'_> {
    /// The rule of nat that leads to it.
    fn translation(&self, proxy: Proxy) -> String {
        let Self { bridge, protocol, host_port, .. } = self;
        let address = match self.host_address {
            Some(IpAddr::V4(address)) => format!(" -d {address}/32"),
            Some(IpAddr::V6(address)) => format!(" -d {address}/128"),
            None => String::new(),
        };
        let from = match proxy {
            Proxy::Used => format!(" ! -i {bridge}"),
            Proxy::Unused => String::new(),
        };
        format!(
            "-A DOCKER{address}{from} -p {protocol} -m {protocol} --dport {host_port} -j DNAT \
             --to-destination {}",
            self.destination()
        )
    }

    fn destination(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::new(self.to, self.port)
    }

    /// Whether a rule of nat is the one that leads to it, however this version writes it.
    fn is_made_by(&self, line: &Line) -> bool {
        let Self { protocol, host_port, .. } = self;
        let ends = format!(" --dport {host_port} -j DNAT --to-destination {}", self.destination());
        let address = match self.host_address {
            Some(address) => line.text.contains(&format!(" -d {address}/")),
            None => !line.text.contains(" -d "),
        };
        address && line.text.contains(&format!(" -p {protocol} ")) && line.text.ends_with(&ends)
    }

    /// The rule by which it calls itself.
    fn returning(&self) -> String {
        let Self { protocol, port, .. } = self;
        let own = self.own();
        format!(
            "-A POSTROUTING -s {own} -d {own} -p {protocol} -m {protocol} --dport {port} -j MASQUERADE"
        )
    }

    /// The rule that lets it through.
    fn admission(&self) -> String {
        let Self { bridge, protocol, port, .. } = self;
        format!(
            "-A DOCKER -d {} ! -i {bridge} -o {bridge} -p {protocol} -m {protocol} --dport {port} \
             -j ACCEPT",
            self.own()
        )
    }

    fn own(&self) -> String {
        format!("{}/{}", self.to, if self.to.is_ipv4() { 32 } else { 128 })
    }
}

/// The published ports of a container in a family.
fn published<'a>(
    container: &'a Container,
    family: Family,
    networks: &[&'a Network],
) -> Vec<Publication<'a>> {
    // Ports are published by the network of the default route.
    let by = container.default_network.as_ref();
    let leads = |endpoint: &&nattrace_model::host::inventory::Endpoint| {
        by.is_none_or(|name| *name == endpoint.network)
            && networks.iter().any(|own| own.name == endpoint.network && !own.internal)
    };
    let Some(endpoint) = container.endpoints.iter().find(leads) else { return Vec::new() };
    let Some(network) = networks.iter().find(|own| own.name == endpoint.network) else {
        return Vec::new();
    };
    let mut addresses = endpoint.addresses.iter().map(|(address, _)| *address);
    let Some(to) = addresses.find(|address| Family::of(*address) == family) else {
        return Vec::new();
    };
    let is_of_family = |port: &&PublishedPort| {
        port.host_address.is_none_or(|address| Family::of(address) == family)
    };
    let publication = |port: &PublishedPort| Publication {
        bridge: &network.bridge,
        protocol: match port.protocol {
            SocketProtocol::Tcp => "tcp",
            SocketProtocol::Udp => "udp",
            SocketProtocol::Sctp => "sctp",
        },
        host_address: port.host_address.filter(|address| !address.is_unspecified()),
        host_port: port.host_port,
        to,
        port: port.container_port,
    };
    container.published.iter().filter(is_of_family).map(publication).collect()
}

fn subnets(network: &Network, family: Family) -> impl Iterator<Item = String> {
    let own = network.subnets.iter().filter(move |net| Family::of(net.network()) == family);
    own.map(ToString::to_string)
}

/// Whether a rule of a built-in chain of nat leads into Docker's.
fn is_jump(line: &Line) -> bool {
    line.text.ends_with(" -m addrtype --dst-type LOCAL -j DOCKER")
}

/// Rules with those that were made anew first, then the missing ones, then the others as they were.
fn inserted(mut rules: Vec<Line>, anew: &[String], kept: &[String]) -> Vec<Line> {
    rules.retain(|line| !anew.contains(&line.text));
    let missing = kept.iter().filter(|text| !rules.iter().any(|line| line.text == **text));
    let mut all: Vec<Line> = anew.iter().chain(missing).map(|text| Line::new(text)).collect();
    all.append(&mut rules);
    all
}

/// Takes out the rules of a kind.
fn remove(rules: &mut Vec<Line>, is_one: impl Fn(&Line) -> bool) -> Vec<Line> {
    let (taken, left) = std::mem::take(rules).into_iter().partition(|line| is_one(line));
    *rules = left;
    taken
}
