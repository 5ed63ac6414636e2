//! Random rules such as firewalls are made of: no chance, nothing rare, all tables.

use std::fmt::Write;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use nattrace_model::address::Prefix;
use nattrace_model::flow::Flow;
use nattrace_parser::syntax::{Family, TableName};

/// The interfaces of the lab's host.
const INTERFACES: [&str; 5] = ["w0", "w1", "lan", "br0", "br1"];

/// Chains with what may stand in them, and how often they are chosen.
const PLACES: [(TableName, &str, usize); 18] = [
    (TableName::Raw, "PREROUTING", 1),
    (TableName::Raw, "OUTPUT", 1),
    (TableName::Mangle, "PREROUTING", 2),
    (TableName::Mangle, "INPUT", 1),
    (TableName::Mangle, "FORWARD", 1),
    (TableName::Mangle, "OUTPUT", 1),
    (TableName::Mangle, "POSTROUTING", 1),
    (TableName::Nat, "PREROUTING", 4),
    (TableName::Nat, "OUTPUT", 2),
    (TableName::Nat, "POSTROUTING", 4),
    (TableName::Nat, "D0", 2),
    (TableName::Filter, "INPUT", 4),
    (TableName::Filter, "FORWARD", 6),
    (TableName::Filter, "OUTPUT", 3),
    (TableName::Filter, "F0", 3),
    (TableName::Filter, "F1", 3),
    (TableName::Security, "FORWARD", 1),
    (TableName::Security, "INPUT", 1),
];

struct Generator<'r> {
    random: &'r mut fastrand::Rng,
    family: Family,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

/// Rules around packets, as iptables-restore reads them.
pub(crate) fn rules(
    family: Family,
    flows: &[Flow],
    count: RangeInclusive<usize>,
    random: &mut fastrand::Rng,
) -> String {
    let count = random.usize(count);
    let addresses = flows.iter().flat_map(|flow| [flow.source, flow.destination]).collect();
    let mut ports: Vec<u16> = flows.iter().filter_map(|flow| flow.destination_port).collect();
    ports.extend([22, 80, 443]);
    ports.retain(|port| *port != 0);
    let mut generator = Generator { random, family, addresses, ports };
    let all: usize = PLACES.iter().map(|(.., weight)| weight).sum();
    let mut chosen = vec![0; PLACES.len()];
    for _ in 0..count {
        let mut left = generator.random.usize(0..all);
        let found = PLACES.iter().position(|(.., weight)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        chosen[found.unwrap()] += 1;
    }
    let mut text = String::new();
    for table in TableName::ALL {
        writeln!(text, "*{}", table.as_str()).unwrap();
        for chain in table.builtin_chains() {
            let drops = table == TableName::Filter && generator.random.u8(0..4) == 0;
            writeln!(text, ":{chain} {} [0:0]", if drops { "DROP" } else { "ACCEPT" }).unwrap();
        }
        let own: Vec<(&str, usize)> = PLACES
            .iter()
            .zip(&chosen)
            .filter(|((of, ..), _)| *of == table)
            .map(|((_, chain, _), count)| (*chain, *count))
            .collect();
        for (chain, _) in own.iter().filter(|(chain, _)| chain.len() == 2) {
            writeln!(text, ":{chain} - [0:0]").unwrap();
        }
        for (chain, count) in own {
            for _ in 0..count {
                let rule = generator.rule(table, chain);
                writeln!(text, "-A {chain}{rule}").unwrap();
            }
        }
        text += "COMMIT\n";
    }
    text
}

impl Generator<'_> {
    fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(0..100) < percent
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.random.usize(0..values.len())].clone()
    }

    fn not(&mut self) -> &'static str {
        if self.chance(15) { "! " } else { "" }
    }

    fn net(&mut self) -> Prefix {
        let address = self.pick(&self.addresses.clone());
        let most = if address.is_ipv4() { 32u8 } else { 128 };
        let less = self.pick(&[0, 0, 4, 8, 8, 16]);
        Prefix::new(address, most - less)
    }

    fn port(&mut self) -> u16 {
        self.pick(&self.ports.clone())
    }

    fn rule(&mut self, table: TableName, chain: &str) -> String {
        let mut words = String::new();
        let incoming = ["PREROUTING", "INPUT", "FORWARD"].contains(&chain);
        let outgoing = ["POSTROUTING", "OUTPUT", "FORWARD"].contains(&chain);
        if self.chance(35) {
            write!(words, " {}-s {}", self.not(), self.net()).unwrap();
        }
        if self.chance(35) {
            write!(words, " {}-d {}", self.not(), self.net()).unwrap();
        }
        if incoming && self.chance(30) {
            write!(words, " {}-i {}", self.not(), self.pick(&INTERFACES)).unwrap();
        }
        if outgoing && self.chance(30) {
            write!(words, " {}-o {}", self.not(), self.pick(&INTERFACES)).unwrap();
        }
        let mut protocol = "";
        if self.chance(55) {
            let icmp = if self.family == Family::Ipv4 { "icmp" } else { "ipv6-icmp" };
            protocol = self.pick(&["tcp", "tcp", "udp", icmp]);
            write!(words, " -p {protocol}").unwrap();
            if ["tcp", "udp"].contains(&protocol) && self.chance(75) {
                words += &self.ports_of(protocol);
            }
        }
        if self.chance(20) {
            let kept = [
                " -m conntrack --ctstate RELATED,ESTABLISHED",
                " -m conntrack --ctstate NEW",
                " -m conntrack --ctstate INVALID",
                " -m conntrack --ctstate DNAT",
            ];
            words += self.pick(&kept);
        }
        if self.chance(10) {
            let bits = self.random.u8(0..4);
            write!(words, " -m mark {}--mark 0x{bits:x}/0x3", self.not()).unwrap();
        }
        if self.chance(10) {
            write!(words, " -m addrtype {}--dst-type LOCAL", self.not()).unwrap();
        }
        words + &self.target(table, chain, protocol)
    }

    fn ports_of(&mut self, protocol: &str) -> String {
        let (port, other) = (self.port(), self.port());
        match self.random.u8(0..5) {
            0 => format!(" -m {protocol} --dport {port}:{}", port.saturating_add(100)),
            1 if port != other => format!(" -m multiport --dports {port},{other}"),
            2 => format!(" -m {protocol} --sport 1024:65535 --dport {port}"),
            _ => format!(" -m {protocol} --dport {port}"),
        }
    }

    fn target(&mut self, table: TableName, chain: &str, protocol: &str) -> String {
        let has_ports = ["tcp", "udp"].contains(&protocol);
        let closes =
            |generator: &mut Self| generator.pick(&[" -j DROP", " -j ACCEPT", " -j RETURN"]);
        match (table, chain) {
            (TableName::Raw, _) if self.chance(40) => " -j NOTRACK".to_owned(),
            (TableName::Raw | TableName::Security, _) => closes(self).to_owned(),
            (TableName::Mangle, _) if self.chance(60) => {
                format!(" -j MARK --set-xmark 0x{:x}/0x3", self.random.u8(0..4))
            }
            (TableName::Mangle, _) => closes(self).to_owned(),
            (TableName::Nat, _) if self.chance(15) => {
                self.pick(&[" -j ACCEPT", " -j RETURN"]).to_owned()
            }
            (TableName::Nat, "POSTROUTING") => match self.chance(50) {
                true => " -j MASQUERADE".to_owned(),
                false => format!(" -j SNAT --to-source {}", self.pick(&self.addresses.clone())),
            },
            (TableName::Nat, "PREROUTING" | "OUTPUT") if self.chance(30) => " -j D0".to_owned(),
            (TableName::Nat, _) if has_ports && self.chance(25) => {
                format!(" -j REDIRECT --to-ports {}", self.port())
            }
            (TableName::Nat, _) => {
                let address = self.pick(&self.addresses.clone());
                match (has_ports && self.chance(60), address) {
                    (true, IpAddr::V4(to)) => {
                        format!(" -j DNAT --to-destination {to}:{}", self.port())
                    }
                    (true, IpAddr::V6(to)) => {
                        format!(" -j DNAT --to-destination [{to}]:{}", self.port())
                    }
                    (false, to) => format!(" -j DNAT --to-destination {to}"),
                }
            }
            (TableName::Filter, "F1") => self.verdict(),
            (TableName::Filter, "F0") if self.chance(25) => {
                self.pick(&[" -j F1", " -g F1"]).to_owned()
            }
            (TableName::Filter, "INPUT" | "FORWARD" | "OUTPUT") if self.chance(30) => {
                self.pick(&[" -j F0", " -j F1", " -g F0"]).to_owned()
            }
            (TableName::Filter, _) => self.verdict(),
        }
    }

    fn verdict(&mut self) -> String {
        match (self.random.u8(0..8), self.family) {
            (0..3, _) => " -j ACCEPT".to_owned(),
            (3..6, _) => " -j DROP".to_owned(),
            (6, _) => " -j RETURN".to_owned(),
            (_, Family::Ipv4) => " -j REJECT --reject-with icmp-port-unreachable".to_owned(),
            (_, Family::Ipv6) => " -j REJECT --reject-with icmp6-port-unreachable".to_owned(),
        }
    }
}
