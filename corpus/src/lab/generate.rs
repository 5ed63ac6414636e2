//! Random rulesets, hosts and packets: of everything that means something, from values that meet.

mod condition;
mod native;
mod target;
mod traffic;
mod value;

use nattrace_parser::syntax::{Backend, Family, TableName};

use super::topology::{OWN_SYSCTLS, Variation, WIRES};
use super::trial::Trial;

/// Draws rulesets and packets; the same seed draws the same.
pub(crate) struct Generator {
    seed: u64,
    random: fastrand::Rng,
    family: Family,
    backend: Backend,
    bridge_nf: Option<bool>,
    mood: Mood,
    /// Whether later packets of masqueraded connections are routed by another interface.
    turns: bool,
    /// The interface on which IPv6 is off.
    without6: Option<&'static str>,
}

/// How many of its rules end a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// As many as there are targets that do.
    Wild,
    /// Few, and NAT asks little: packets and their answers get to the last chain, and there is
    /// something to be seen of them.
    Calm,
}

/// Which packets a chain may see, as far as the kernel restricts rules by it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    table: TableName,
    chain: String,
    /// The built-in chains from which packets come here.
    hooks: Vec<&'static str>,
    builtin: bool,
}

impl Place {
    fn only(&self, hooks: &[&str]) -> bool {
        self.hooks.iter().all(|hook| hooks.contains(hook))
    }
}

impl Generator {
    /// A generator for one ruleset.
    pub(crate) fn new(
        seed: u64,
        ruleset: u64,
        family: Family,
        backend: Backend,
        bridge_nf: Option<bool>,
    ) -> Self {
        let own = ruleset << 2
            | u64::from(family == Family::Ipv6) << 1
            | u64::from(backend == Backend::Nft);
        let mixed =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ own.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mut random = fastrand::Rng::with_seed(mixed);
        let mood = if random.bool() { Mood::Wild } else { Mood::Calm };
        let turns = has_routing_of_its_own(seed, backend, family) && random.u8(0..100) < 15;
        Self { seed, random, family, backend, bridge_nf, mood, turns, without6: None }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(0..100) < percent
    }

    fn pick<'a>(&mut self, values: &[&'a str]) -> &'a str {
        self.random.choice(values.iter().copied()).unwrap_or("")
    }

    /// `! ` now and then.
    fn not(&mut self) -> &'static str {
        if self.chance(18) { "! " } else { "" }
    }

    /// Rules for every table, as iptables-restore reads them.
    pub(crate) fn ruleset(&mut self) -> String {
        let mut text = String::new();
        for table in TableName::ALL {
            let needed = matches!(table, TableName::Filter | TableName::Nat);
            if needed || self.chance(70) {
                text += &self.table(table);
            } else {
                // What an earlier ruleset left in the table goes.
                text += &format!("*{}\nCOMMIT\n", table.as_str());
            }
        }
        if text.contains("--save-mark") { without_turns(&text) } else { text }
    }

    fn table(&mut self, table: TableName) -> String {
        let mut text = format!("*{}\n", table.as_str());
        let mut places: Vec<Place> = Vec::new();
        for chain in table.builtin_chains() {
            let drops = match table {
                _ if self.mood == Mood::Calm => false,
                TableName::Filter => self.chance(12),
                // The tool refuses it.
                TableName::Nat => false,
                TableName::Raw | TableName::Mangle | TableName::Security => self.chance(2),
            };
            text += &format!(":{chain} {} [0:0]\n", if drops { "DROP" } else { "ACCEPT" });
            places.push(Place {
                table,
                chain: (*chain).to_owned(),
                hooks: vec![chain],
                builtin: true,
            });
        }
        let user_chains = self.random.usize(0..4);
        for number in 0..user_chains {
            let chain = format!("U{number}");
            text += &format!(":{chain} - [0:0]\n");
            let hooks = self.hooks(table);
            places.push(Place { table, chain, hooks, builtin: false });
        }
        for at in 0..places.len() {
            text += &self.steering(table, places.get(at).map_or("", |place| &place.chain));
            let count = self.random.usize(0..5);
            for _ in 0..count {
                text += &self.rule(&places, at);
                text.push('\n');
            }
            if table != TableName::Raw && self.chance(12) {
                text += &self.mark_sequence(places.get(at).map_or("", |place| &place.chain));
            }
        }
        text += "COMMIT\n";
        text
    }

    /// Built-in chains that may lead to a user chain of a table.
    fn hooks(&mut self, table: TableName) -> Vec<&'static str> {
        let nat: [&[&'static str]; 3] =
            [&["PREROUTING", "OUTPUT"], &["POSTROUTING"], &["PREROUTING"]];
        let all = table.builtin_chains();
        match (table, self.random.usize(0..3)) {
            (TableName::Nat, draw) => nat.get(draw).map_or_else(Vec::new, |hooks| hooks.to_vec()),
            (_, 0) => all.to_vec(),
            (_, _) => all.iter().copied().filter(|_| self.random.bool()).collect(),
        }
    }

    fn rule(&mut self, places: &[Place], at: usize) -> String {
        let Some(place) = places.get(at) else { return String::new() };
        let onward: Vec<&str> = places
            .iter()
            .skip(at + 1)
            .filter(|other| {
                !other.builtin && place.hooks.iter().all(|hook| other.hooks.contains(hook))
            })
            .map(|other| other.chain.as_str())
            .collect();
        let target = self.target(place, &onward);
        let plain = self.mood == Mood::Calm && place.table == TableName::Nat && self.chance(60);
        let conditions = if plain {
            target.protocol.map_or_else(String::new, |upper| format!(" -p {}", upper.name()))
        } else {
            self.conditions(place, target.protocol)
        };
        format!("-A {}{conditions}{}", place.chain, target.text)
    }

    /// What varies of the host.
    pub(crate) fn variation(&mut self) -> Variation {
        let mut sysctls = Vec::new();
        let bridge_nf = self.bridge_nf.unwrap_or_else(|| self.random.bool());
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            sysctls.push((format!("net/bridge/{name}"), flag(bridge_nf)));
        }
        let loose = !self.chance(15);
        sysctls.push(("net/netfilter/nf_conntrack_tcp_loose".to_owned(), flag(loose)));
        if self.family == Family::Ipv4 {
            let interfaces = WIRES.into_iter().chain(["br0", "br1", "all"]);
            for interface in interfaces {
                let mut set = |setting: &str, value: String| {
                    sysctls.push((format!("net/ipv4/conf/{interface}/{setting}"), value));
                };
                let filter = if self.chance(70) { 0 } else { self.random.u8(1..3) };
                let everywhere = interface == "all";
                // That of `all` holds for every interface whose own is lower.
                let filter = if everywhere && self.random.bool() { 0 } else { filter };
                set("rp_filter", filter.to_string());
                set("route_localnet", flag(self.chance(if everywhere { 5 } else { 30 })));
                set("accept_local", flag(self.chance(if everywhere { 4 } else { 30 })));
                set("src_valid_mark", flag(self.chance(if everywhere { 2 } else { 15 })));
                if !everywhere {
                    set("forwarding", flag(!self.chance(7)));
                }
            }
        }
        sysctls.extend(self.own_settings());
        let off = self.family == Family::Ipv6 && self.chance(8);
        // Without the bridge's address no container has a way out.
        self.without6 = off.then(|| self.pick(&["w1", "lan"]));
        let bridges = ["br0", "br1"].into_iter().filter(|_| self.chance(12));
        let filtering: Vec<String> = bridges.map(str::to_owned).collect();
        Variation {
            sysctls,
            hairpin: self.chance(50),
            isolated: self.chance(12),
            policy_rules: self.policy_rules(),
            filtering,
            without6: self.without6.map(str::to_owned),
        }
    }

    /// Settings of what the host itself sends (kernel-facts K21 to K24).
    fn own_settings(&mut self) -> Vec<(String, String)> {
        let mut drawn = Vec::new();
        for path in OWN_SYSCTLS {
            let value = match path.rsplit('/').next().unwrap_or("") {
                "ip_default_ttl" if self.chance(20) => self.random.choice([1, 63, 128, 255]),
                "ip_default_ttl" => Some(64),
                name if name.ends_with("ignore_all") => Some(u8::from(self.chance(6))),
                name if name.contains("echo_ignore") => Some(u8::from(self.chance(50))),
                _ => Some(u8::from(self.chance(25))),
            };
            drawn.push((path.to_owned(), value.unwrap_or(64).to_string()));
        }
        for interface in WIRES.into_iter().chain(["br0", "br1", "lo"]) {
            let limit = if self.chance(10) { 63 } else { 64 };
            drawn.push((format!("net/ipv6/conf/{interface}/hop_limit"), limit.to_string()));
        }
        drawn
    }

    /// Policy rules for one backend of each family, by turns: where there ever was one, the kernel
    /// checks sources differently for good (`fib_has_custom_rules`), and no snapshot tells.
    fn policy_rules(&mut self) -> Vec<String> {
        let all: &[&'static str] = match self.family {
            Family::Ipv4 => &[
                "pref 100 fwmark 0x1/0xff lookup 100",
                "pref 110 from 10.0.1.3 lookup 100",
                "pref 120 to 8.8.4.4 lookup 100",
                "pref 130 iif br0 lookup 100",
                "pref 140 not from 10.0.0.0/8 fwmark 0x10 lookup 100",
                "pref 150 fwmark 0x2/0xf blackhole",
                "pref 160 fwmark 0x3/0xf prohibit",
                "pref 170 fwmark 0x4/0xf unreachable",
                "pref 175 tos 0x10 lookup 100",
                "pref 180 ipproto udp dport 443 lookup 100",
                "pref 181 ipproto gre lookup 100",
                "pref 182 dport 770-1100 lookup 100",
                "pref 183 dport 2048 blackhole",
                "pref 184 sport 33000-39999 lookup 100",
                "pref 185 iif lan uidrange 0-10 lookup 100",
                "pref 186 iif w1 uidrange 1-2000 lookup 100",
                "pref 187 oif br0 lookup 100",
                "pref 190 from 192.0.2.2 lookup 100",
            ],
            Family::Ipv6 => &[
                "pref 100 fwmark 0x1/0xff lookup 100",
                "pref 110 from fd01::3 lookup 100",
                "pref 120 to 2001:4860::44 lookup 100",
                "pref 130 iif br0 lookup 100",
                "pref 150 fwmark 0x2/0xf blackhole",
                "pref 160 fwmark 0x3/0xf prohibit",
                "pref 170 fwmark 0x4/0xf unreachable",
                "pref 175 tos 0x10 lookup 100",
                "pref 176 tos 0x48 prohibit",
                "pref 180 ipproto udp dport 443 lookup 100",
                "pref 181 ipproto gre lookup 100",
                "pref 182 dport 257-1100 lookup 100",
                "pref 183 dport 32768 blackhole",
                "pref 184 sport 33000-39999 lookup 100",
                "pref 185 iif lan uidrange 0-10 lookup 100",
                "pref 186 iif w1 uidrange 1-2000 lookup 100",
                "pref 187 oif br0 lookup 100",
                "pref 188 dport 33024 lookup 100",
                "pref 190 from 2001:db8:5::2 lookup 100",
            ],
        };
        if !has_routing_of_its_own(self.seed, self.backend, self.family) {
            return Vec::new();
        }
        let Some((always, others)) = all.split_last() else { return Vec::new() };
        let turns = self.turns;
        let by_mark = |rule: &str| turns && rule.contains("fwmark 0x1/");
        let drawn = others.iter().copied().filter(|rule| self.random.u8(0..4) < 1 || by_mark(rule));
        drawn.chain([*always]).map(str::to_owned).collect()
    }

    /// A packet.
    pub(crate) fn trial(&mut self) -> Trial {
        traffic::draw(self)
    }
}

/// Whether a run has policy rules and `local` routes, beside those that every host has.
pub(crate) fn has_routing_of_its_own(seed: u64, backend: Backend, family: Family) -> bool {
    let turn = seed ^ u64::from(backend == Backend::Nft) ^ u64::from(family == Family::Ipv6);
    !turn.is_multiple_of(2)
}

/// The rules without those that turn bits of the mark: saved, the connection's mark would depend on
/// how many packets it has seen, which is no part of a question.
fn without_turns(text: &str) -> String {
    let turns = |line: &str| line.contains("--xor-mark") || line.ends_with("--set-xmark 0x1/0x0");
    text.lines().filter(|line| !turns(line)).map(|line| format!("{line}\n")).collect()
}
