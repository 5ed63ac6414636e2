//! Random native nft tables.

mod translation;

use nattrace_parser::syntax::Family;

use super::Generator;
use super::value::values;

/// Where a rule stands: which statements the kernel takes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    /// `prerouting`, …; a chain that is only called has `None`.
    hook: Option<&'static str>,
    nat: bool,
    /// Whether the table is of both families.
    both: bool,
}

const PORTS: [&str; 7] = ["80", "53", "443", "8080", "22", "5353", "600"];
const NAMES: [&str; 8] = ["lan", "w0", "w1", "br0", "br1", "lo", "w*", "br*"];

/// Sets that rules add to, and no rule asks for.
const SEEN: &str = "  set seen4 {
    type ipv4_addr; flags dynamic;
  }
  set seen6 {
    type ipv6_addr; flags dynamic;
  }
  set served {
    type inet_proto . inet_service; flags dynamic;
  }
";

impl Generator {
    /// Native tables as `nft -f` reads them; every rule is a line that begins with two tabs.
    pub(crate) fn native_tables(&mut self) -> String {
        let mut text = self.native_filter();
        if self.chance(70) {
            text += &self.native_nat();
        }
        text
    }

    fn word(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    fn table_family(&mut self) -> (&'static str, bool) {
        if self.chance(55) { ("inet", true) } else { (self.word(), false) }
    }

    fn native_filter(&mut self) -> String {
        let (family, both) = self.table_family();
        let (address, prefixes) = self.addresses(3);
        let mut text = format!("table {family} own {{\n");
        text += &format!(
            "  set addrs {{\n    type {address}; flags interval; elements = {{ {prefixes} }}\n  }}\n"
        );
        let pairs = self.pairs();
        text += &format!(
            "  set pairs {{\n    type {address} . inet_service; flags interval; elements = {{ {pairs} }}\n  }}\n"
        );
        text += SEEN;
        let users = self.random.usize(0..3);
        for number in (0..users).rev() {
            text += &format!("  chain u{number} {{\n");
            let onward: Vec<String> = (number + 1..users).map(|user| format!("u{user}")).collect();
            let spot = Spot { hook: None, nat: false, both };
            text += &self.native_rules(spot, &onward, 4);
            text += "  }\n";
        }
        let called: Vec<String> = (0..users).map(|user| format!("u{user}")).collect();
        let places: [(&'static str, &str); 6] = [
            ("prerouting", "filter"),
            ("input", "filter"),
            ("forward", "filter"),
            ("output", "filter"),
            ("output", "route"),
            ("postrouting", "filter"),
        ];
        for (hook, kind) in places {
            let chains = self.random.choice([0usize, 1, 1, 2]).unwrap_or(1);
            for number in 0..chains {
                let priorities = [
                    "-310", "-250", "-160", "-150", "-110", "-50", "0", "0", "10", "60", "110",
                    "150",
                ];
                let priority = self.pick(&priorities);
                let policy = if self.chance(8) { "drop" } else { "accept" };
                text += &format!(
                    "  chain {hook}_{kind}{number} {{\n    type {kind} hook {hook} priority {priority}; policy {policy};\n"
                );
                let spot = Spot { hook: Some(hook), nat: false, both };
                text += &self.native_rules(spot, &called, 5);
                text += "  }\n";
            }
        }
        text + "}\n"
    }

    fn native_nat(&mut self) -> String {
        let (family, both) = self.table_family();
        let mut text = format!("table {family} nat2 {{\n");
        let places: [(&'static str, &[&str]); 4] = [
            ("prerouting", &["-150", "-101", "-100", "-99", "50"]),
            ("output", &["-150", "-101", "-100", "-99", "300"]),
            ("input", &["-50", "99", "100", "101"]),
            ("postrouting", &["-50", "99", "100", "101"]),
        ];
        for (hook, priorities) in places {
            let chains = self.random.choice([0usize, 1, 1, 2]).unwrap_or(1);
            for number in 0..chains {
                let priority = self.pick(priorities);
                text += &format!(
                    "  chain {hook}{number} {{\n    type nat hook {hook} priority {priority}; policy accept;\n"
                );
                let spot = Spot { hook: Some(hook), nat: true, both };
                text += &self.native_rules(spot, &[], 4);
                text += "  }\n";
            }
        }
        text + "}\n"
    }

    fn native_rules(&mut self, spot: Spot, onward: &[String], most: usize) -> String {
        let count = self.random.usize(0..most);
        (0..count).map(|_| format!("\t\t{}\n", self.native_rule(spot, onward))).collect()
    }

    fn native_rule(&mut self, spot: Spot, onward: &[String]) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut upper = None;
        let count = self.random.choice([0usize, 1, 1, 2, 2, 3]).unwrap_or(1);
        for _ in 0..count {
            let asked = self.native_match(spot, &mut upper);
            // `ip ttl < 3 ip ttl > 10` is listed as `ip ttl != 3-10`, and so is `sport` then `dport`
            // (nft 1.0.6; kernel-facts K33).
            let same = |other: &String| {
                is_about_the_same(&asked, other) || is_order(&asked) && is_order(other)
            };
            if !words.iter().any(same) {
                words.push(asked);
            }
            if self.chance(8) {
                words.push(self.native_side_effect(spot));
            }
        }
        let side_effects = self.random.choice([0usize, 0, 1, 1, 2]).unwrap_or(0);
        for _ in 0..side_effects {
            words.push(self.native_side_effect(spot));
        }
        let end = self.native_end(spot, onward, upper);
        words.push(end);
        let text = words.join(" ");
        if text.trim().is_empty() { "counter".to_owned() } else { text }
    }

    fn neq(&mut self) -> &'static str {
        if self.chance(20) { "!= " } else { "" }
    }

    /// The type of addresses, and some of them that do not overlap.
    fn addresses(&mut self, most: usize) -> (&'static str, String) {
        let values = values(self.family);
        let mut drawn: Vec<&str> = Vec::new();
        for _ in 0..most {
            let address = self.pick(values.lan);
            if !drawn.contains(&address) {
                drawn.push(address);
            }
        }
        let (kind, prefix) = match self.family {
            Family::Ipv4 => ("ipv4_addr", "172.16.0.0/12"),
            Family::Ipv6 => ("ipv6_addr", "fd17::/64"),
        };
        drawn.push(prefix);
        (kind, drawn.join(", "))
    }

    fn pairs(&mut self) -> String {
        let (first, second, prefix) = match self.family {
            Family::Ipv4 => ("203.0.113.2", "172.17.0.2", "8.8.0.0/16"),
            Family::Ipv6 => ("2001:db8:1::2", "fd17::2", "2001:4860::/32"),
        };
        format!("{first} . 80, {second} . 53-443, {prefix} . 1-65535")
    }

    /// A prefix as nft takes it: without masks that are no prefix.
    fn native_prefix(&mut self) -> &'static str {
        let all = values(self.family).prefixes;
        let usable: Vec<&'static str> = all
            .iter()
            .copied()
            .filter(|prefix| {
                prefix.split_once('/').is_some_and(|(_, length)| length.parse::<u8>().is_ok())
            })
            .collect();
        self.random.choice(usable).unwrap_or("")
    }

    fn native_range(&mut self) -> &'static str {
        match self.family {
            Family::Ipv4 => {
                self.pick(&["10.0.1.1-10.0.1.9", "172.17.0.2-172.17.0.3", "8.0.0.0-9.0.0.0"])
            }
            Family::Ipv6 => self.pick(&["fd01::1-fd01::9", "fd17::2-fd17::3", "2001::-2002::"]),
        }
    }

    fn native_match(&mut self, spot: Spot, upper: &mut Option<&'static str>) -> String {
        let (ip, not) = (self.word(), self.neq());
        let side = self.pick(&["saddr", "daddr"]);
        match self.random.u8(0..40) {
            0..4 => format!("{ip} {side} {not}{}", self.native_prefix()),
            4 => format!("{ip} {side} {not}{}", self.native_range()),
            5 => format!("{ip} {side} {not}{{ {} }}", self.addresses(3).1),
            6 if !spot.nat => format!("{ip} {side} {not}@addrs"),
            7..10 => self.native_interface(spot),
            10..14 => self.native_upper(upper),
            14..18 => self.native_port(upper),
            18..22 => self.native_connection(),
            22 => format!("meta mark {not}{}", self.pick(&["0x1", "{ 0x0, 0x3 }", "1-7", "0"])),
            23 => format!(
                "meta mark & {} {} {}",
                self.pick(&["0xf", "0x3", "0xff"]),
                self.pick(&["==", "!="]),
                self.pick(&["0x1", "0", "0x3"])
            ),
            24 => format!("meta mark ^ 0x1 == {}", self.pick(&["0x0", "0x1", "0x2"])),
            25 => format!("meta pkttype {not}{}", self.pick(&["host", "broadcast", "multicast"])),
            26 => match self.family {
                Family::Ipv4 => {
                    format!("ip ttl {}", self.pick(&["< 3", "> 10", "64", ">= 64", "!= 64"]))
                }
                Family::Ipv6 => {
                    format!("ip6 hoplimit {}", self.pick(&["< 3", "> 10", "64", "<= 63"]))
                }
            },
            27 => format!("{ip} dscp {not}{}", self.pick(&["cs0", "cs1", "{ cs0, cs1 }"])),
            28 => format!(
                "fib {side} type {not}{}",
                self.pick(&["local", "unicast", "{ local, broadcast }"])
            ),
            29 => match spot.hook {
                Some("prerouting" | "input" | "forward") => {
                    format!("fib saddr . iif oif {}", self.pick(&["missing", "exists"]))
                }
                _ => "meta mark 0".to_owned(),
            },
            30 if !spot.nat && upper.is_none() => {
                *upper = Some("tcp");
                format!("{ip} daddr . tcp dport {not}@pairs")
            }
            31 => "meta l4proto . th dport { tcp . 80, udp . 53, udp . 5353 }".to_owned(),
            32 => {
                let first = self.pick(&["lan", "br0", "lo"]);
                let second = self.pick(&["w0", "br1", "lan"]);
                match spot.hook {
                    Some("forward") | None => {
                        format!("iifname . oifname {{ \"{first}\" . \"{second}\" }}")
                    }
                    _ => format!(
                        "{ip} saddr . meta mark {{ {} . 0 }}",
                        self.pick(values(self.family).lan)
                    ),
                }
            }
            // That of the other family is left out of a listing where the rule asks for something
            // of this one (nft 1.0.6), so it is negated.
            33 if spot.both => match self.family {
                Family::Ipv4 => format!("meta nfproto {}", self.pick(&["ipv4", "!= ipv6"])),
                Family::Ipv6 => format!("meta nfproto {}", self.pick(&["ipv6", "!= ipv4"])),
            },
            34 if spot.both => match self.family {
                Family::Ipv4 => format!("meta protocol {}", self.pick(&["ip", "!= ip6"])),
                Family::Ipv6 => format!("meta protocol {}", self.pick(&["ip6", "!= ip"])),
            },
            35 if self.family == Family::Ipv4 => "ip frag-off & 0x1fff != 0".to_owned(),
            36 if self.family == Family::Ipv6 => "exthdr frag missing".to_owned(),
            37 => format!("meta l4proto {not}{{ tcp, udp }}"),
            // The protocol and the first word of an address, as programs write them that do not go
            // by names; in the other family they are other bits.
            38 if self.family == Family::Ipv4 => format!(
                "{} {not}{}",
                self.pick(&["@nh,72,8", "@nh,64,8"]),
                self.pick(&["6", "17", "1", "64"])
            ),
            39 if self.family == Family::Ipv4 => format!("@nh,128,32 {not}0x0a000102"),
            _ => String::new(),
        }
    }

    fn native_interface(&mut self, spot: Spot) -> String {
        let not = self.neq();
        let way = match spot.hook {
            Some("prerouting" | "input") => "iifname",
            Some("output" | "postrouting") => "oifname",
            _ => self.pick(&["iifname", "oifname"]),
        };
        match self.random.u8(0..4) {
            0 => format!("{way} {not}{{ \"lan\", \"br*\" }}"),
            1 => {
                let index = way.trim_end_matches("name");
                format!("{index} {not}\"{}\"", self.pick(&["lan", "w0", "lo", "br0"]))
            }
            _ => format!("{way} {not}\"{}\"", self.pick(&NAMES)),
        }
    }

    fn native_upper(&mut self, upper: &mut Option<&'static str>) -> String {
        if upper.is_some() {
            return String::new();
        }
        let (icmp, types) = match self.family {
            Family::Ipv4 => (
                "icmp",
                ["echo-request", "{ echo-request, destination-unreachable }", "!= echo-reply"],
            ),
            Family::Ipv6 => (
                "icmpv6",
                ["echo-request", "{ echo-request, destination-unreachable }", "!= echo-reply"],
            ),
        };
        match self.random.u8(0..6) {
            0 => {
                *upper = Some("tcp");
                "meta l4proto tcp".to_owned()
            }
            1 => {
                *upper = Some("udp");
                "meta l4proto udp".to_owned()
            }
            2 => {
                *upper = Some("tcp");
                let forms = [
                    "tcp flags syn",
                    "tcp flags & (fin|syn|rst|ack) == syn",
                    "tcp flags != syn",
                    "tcp flags syn,ack",
                    "tcp flags { syn, syn | ack, ack }",
                ];
                self.pick(&forms).to_owned()
            }
            3 => {
                *upper = Some(icmp);
                format!("{icmp} type {}", self.pick(&types))
            }
            4 => {
                *upper = Some(icmp);
                format!("{icmp} code 0")
            }
            _ => {
                *upper = Some(icmp);
                match self.family {
                    Family::Ipv4 => "ip protocol icmp".to_owned(),
                    Family::Ipv6 => "ip6 nexthdr icmpv6".to_owned(),
                }
            }
        }
    }

    fn native_port(&mut self, upper: &mut Option<&'static str>) -> String {
        let protocol = match *upper {
            Some(protocol @ ("tcp" | "udp")) => protocol,
            Some(_) => return String::new(),
            None => self.pick(&["tcp", "udp"]),
        };
        *upper = Some(if protocol == "tcp" { "tcp" } else { "udp" });
        let side = self.pick(&["dport", "dport", "sport"]);
        let not = self.neq();
        let port = self.pick(&PORTS);
        match self.random.u8(0..5) {
            0 => format!("{protocol} {side} {not}{{ {port}, 1000-2000, 40000-50000 }}"),
            1 => format!("{protocol} {side} {}", self.pick(&["< 1024", "> 500", ">= 80", "<= 53"])),
            2 => format!("{protocol} {side} {not}1-1023"),
            _ => format!("{protocol} {side} {not}{port}"),
        }
    }

    fn native_connection(&mut self) -> String {
        let not = self.neq();
        let ip = self.word();
        let port = self.pick(&PORTS);
        match self.random.u8(0..12) {
            0 => "ct state established,related".to_owned(),
            1 => format!("ct state {not}new"),
            2 => format!("ct state {not}{{ new, untracked }}"),
            3 => format!("ct state {not}invalid"),
            4 => format!(
                "ct status {}",
                self.pick(&["dnat", "snat", "snat,dnat", "seen-reply", "confirmed"])
            ),
            5 => format!("ct direction {not}{}", self.pick(&["original", "reply"])),
            6 => format!("ct mark {not}{}", self.pick(&["0", "0x1", "{ 0x1, 0x7 }"])),
            7 => format!("ct mark & 0xf {} 0x1", self.pick(&["==", "!="])),
            8 => format!("ct original {ip} saddr {not}{}", self.native_prefix()),
            9 => format!("ct reply {ip} saddr {not}{}", self.native_prefix()),
            10 => format!("meta l4proto tcp ct original proto-dst {not}{port}"),
            _ => "ct state new,related".to_owned(),
        }
    }

    fn native_side_effect(&mut self, spot: Spot) -> String {
        if !spot.nat && self.chance(15) {
            let forms = [
                "add @seen4 { ip saddr }",
                "update @seen4 { ip daddr }",
                "add @seen6 { ip6 saddr }",
                "update @seen6 { ip6 daddr }",
                // Before `th dport`, nft 1.0.6 does not list what was asked of the protocol.
                "add @served { meta l4proto . tcp dport }",
                "update @served { ip protocol . tcp dport }",
                "update @served { meta l4proto . udp dport }",
            ];
            return self.pick(&forms).to_owned();
        }
        let forms = [
            "counter",
            "counter",
            "log prefix \"lab \"",
            "meta mark set 0x1",
            "meta mark set 0x3",
            "meta mark set meta mark | 0x4",
            "meta mark set meta mark & 0xfe",
            "meta mark set meta mark ^ 0x3",
            "meta mark set ct mark",
            "meta mark set ct mark & 0xf",
            "ct mark set 0x1",
            "ct mark set meta mark",
            "ct mark set ct mark | 0x2",
            "meta mark set meta pkttype map { host : 0x2, broadcast : 0x5 }",
        ];
        self.pick(&forms).to_owned()
    }

    fn native_end(&mut self, spot: Spot, onward: &[String], upper: Option<&'static str>) -> String {
        if spot.nat && self.chance(75) {
            return self.native_translation(spot, upper);
        }
        if let (true, Some(chain)) = (self.chance(25), self.random.choice(onward)) {
            let word = self.pick(&["jump", "jump", "goto"]);
            return format!("{word} {chain}");
        }
        match self.random.u8(0..24) {
            0..5 => "accept".to_owned(),
            5..7 => "return".to_owned(),
            7..9 if !spot.nat => "drop".to_owned(),
            9..12
                if matches!(spot.hook, Some("prerouting" | "input" | "forward" | "output"))
                    && !spot.nat =>
            {
                self.native_reject(spot, upper)
            }
            12 => "notrack".to_owned(),
            13 => match self.family {
                Family::Ipv4 => "ip ttl set 9".to_owned(),
                Family::Ipv6 => "ip6 hoplimit set 9".to_owned(),
            },
            14 => format!("{} dscp set cs1", self.word()),
            15..18 => self.native_verdict_map(spot, onward),
            18 => "continue".to_owned(),
            _ => String::new(),
        }
    }

    fn native_reject(&mut self, spot: Spot, upper: Option<&'static str>) -> String {
        let icmp = match self.family {
            Family::Ipv4 => {
                ["icmp port-unreachable", "icmp host-prohibited", "icmp net-unreachable"]
            }
            Family::Ipv6 => {
                ["icmpv6 port-unreachable", "icmpv6 admin-prohibited", "icmpv6 no-route"]
            }
        };
        match self.random.u8(0..4) {
            0 if upper == Some("tcp") => "reject with tcp reset".to_owned(),
            1 => format!("reject with {}", self.pick(&icmp)),
            2 if spot.both => format!(
                "reject with icmpx {}",
                self.pick(&[
                    "admin-prohibited",
                    "host-unreachable",
                    "no-route",
                    "port-unreachable"
                ])
            ),
            _ => "reject".to_owned(),
        }
    }

    fn native_verdict_map(&mut self, spot: Spot, onward: &[String]) -> String {
        let call = match self.random.choice(onward) {
            Some(chain) => format!("jump {chain}"),
            None => "continue".to_owned(),
        };
        let last = if spot.nat { "accept" } else { "drop" };
        match self.random.u8(0..4) {
            0 => {
                format!("ct state vmap {{ established : accept, related : return, new : {call} }}")
            }
            1 => format!(
                "meta l4proto . th dport vmap {{ tcp . 80 : accept, udp . 53 : {call}, tcp . 22 : {last} }}"
            ),
            2 => {
                let prefix = match self.family {
                    Family::Ipv4 => "10.0.1.0/24",
                    Family::Ipv6 => "fd01::/64",
                };
                format!("{} saddr vmap {{ {prefix} : {call} }}", self.word())
            }
            _ => format!("meta mark vmap {{ 0x0 : {call}, 0x1-0x7 : return }}"),
        }
    }
}

/// Whether two matches ask for the same field.
fn is_about_the_same(one: &str, other: &str) -> bool {
    let field = |text: &str| {
        let mut words = text.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    field(one).is_some_and(|found| field(other) == Some(found))
}

/// Whether a match asks for what is below or above a number.
fn is_order(text: &str) -> bool {
    text.contains(" < ") || text.contains(" > ") || text.contains("= ") && !text.contains("!= ")
}
