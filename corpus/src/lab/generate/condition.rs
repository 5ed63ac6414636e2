//! Conditions of random rules.

use nattrace_parser::syntax::{Family, TableName};

use super::value::values;
use super::{Generator, Place};

/// The upper-layer protocol of a rule, as far as other options need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upper {
    Tcp,
    Udp,
    Sctp,
}

impl Upper {
    /// As a rule names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// What the other matches may need.
enum Kind {
    None,
    Tcp,
    Udp,
    Sctp,
    UdpLite,
    Icmp,
}

impl Generator {
    /// The conditions of a rule; `needed` is the protocol that its target needs.
    pub(super) fn conditions(&mut self, place: &Place, needed: Option<Upper>) -> String {
        let mut text = String::new();
        let prefixes = values(self.family).prefixes;
        if self.family == Family::Ipv4 && self.chance(2) {
            text += &format!(" {}-f", self.not());
        }
        if self.chance(18) {
            text += &format!(" {}-s {}", self.not(), self.pick(prefixes));
        }
        if self.chance(18) {
            text += &format!(" {}-d {}", self.not(), self.pick(prefixes));
        }
        let interfaces = ["lan", "w0", "w1", "br0", "br1", "lo", "w+", "br+", "l+", "c1", "nope"];
        // The tool refuses -i and -o by the built-in chain's name.
        let named = |hooks: &[&str]| place.builtin && hooks.contains(&place.chain.as_str());
        if !named(&["OUTPUT", "POSTROUTING"]) && self.chance(15) {
            text += &format!(" {}-i {}", self.not(), self.pick(&interfaces));
        }
        if !named(&["INPUT", "PREROUTING"]) && self.chance(15) {
            text += &format!(" {}-o {}", self.not(), self.pick(&interfaces));
        }
        let (protocol, kind) = self.protocol(needed);
        text += &protocol;
        let count = [0, 0, 1, 1, 1, 2, 3];
        for _ in 0..self.random.choice(count).unwrap_or(0) {
            if let Some(condition) = self.condition(place, &kind) {
                let name = condition.split(' ').nth(2).unwrap_or("").to_owned();
                // One use of each match is enough: some options may be given once only.
                if !text.contains(&format!(" -m {name} ")) {
                    text += &condition;
                }
            }
        }
        text
    }

    fn protocol(&mut self, needed: Option<Upper>) -> (String, Kind) {
        let icmp = match self.family {
            Family::Ipv4 => "icmp",
            Family::Ipv6 => "ipv6-icmp",
        };
        match (needed, self.random.u8(0..100)) {
            (Some(Upper::Tcp), _) | (None, 0..22) => (" -p tcp".to_owned(), Kind::Tcp),
            (Some(Upper::Udp), _) | (None, 22..36) => (" -p udp".to_owned(), Kind::Udp),
            (Some(Upper::Sctp), _) | (None, 54..56) => (" -p sctp".to_owned(), Kind::Sctp),
            (None, 56..58) => (" -p udplite".to_owned(), Kind::UdpLite),
            (None, 36..46) => (format!(" -p {icmp}"), Kind::Icmp),
            (None, 46..50) => (" ! -p tcp".to_owned(), Kind::None),
            (None, 50..52) => (" -p 47".to_owned(), Kind::None),
            (None, 52..54) => (" ! -p udp".to_owned(), Kind::None),
            (None, _) => (String::new(), Kind::None),
        }
    }

    fn condition(&mut self, place: &Place, kind: &Kind) -> Option<String> {
        if self.chance(45) {
            match kind {
                Kind::Tcp => return Some(self.tcp()),
                Kind::Udp => return Some(self.udp()),
                Kind::Icmp => return Some(self.icmp()),
                Kind::Sctp => return Some(self.sctp()),
                Kind::UdpLite => return Some(self.multiport()),
                Kind::None => {}
            }
        }
        let text = match self.random.u8(0..34) {
            0 | 1 => format!(" -m conntrack {}", self.state()),
            2 => format!(" -m conntrack {}", self.connection()),
            3 => format!(" -m state {}--state {}", self.not(), self.states()),
            4 | 5 => self.address_type(place),
            6 | 7 => {
                let marks =
                    ["0x1", "0x0", "0x1/0x1", "0x0/0xff", "0x10/0xf0", "0x5/0x3", "0x2/0xf"];
                format!(" -m mark {}--mark {}", self.not(), self.pick(&marks))
            }
            8 => {
                let marks = ["0x1", "0x0", "0x2/0x2", "0x0/0xff", "0x7/0xf"];
                format!(" -m connmark {}--mark {}", self.not(), self.pick(&marks))
            }
            9 | 10 => self.set(),
            11 | 12 => self.physdev(place),
            13 => self.range(),
            14 => {
                let name = if self.family == Family::Ipv4 { "ttl" } else { "hl" };
                let forms = ["eq 64", "eq 63", "lt 64", "gt 63", "gt 100", "eq 1"];
                let [form, negated] = [self.pick(&forms), self.not()];
                let negated = if form.starts_with("eq") { negated } else { "" };
                format!(" -m {name} {negated}--{name}-{form}")
            }
            15 => {
                let values = ["0x00", "0x10", "0x08/0x1e", "0xc0"];
                format!(" -m tos {}--tos {}", self.not(), self.pick(&values))
            }
            16 => {
                let values = ["0x00", "0x0a", "0x30", "0x04"];
                format!(" -m dscp {}--dscp {}", self.not(), self.pick(&values))
            }
            17 => {
                let kinds = ["unicast", "broadcast", "multicast"];
                format!(" -m pkttype {}--pkt-type {}", self.not(), self.pick(&kinds))
            }
            18 if place.only(&["PREROUTING", "INPUT", "FORWARD"]) => {
                let macs = ["02:42:ac:11:00:02", "02:42:ac:11:00:03", "02:04:0a:00:01:02"];
                format!(" -m mac {}--mac-source {}", self.not(), self.pick(&macs))
            }
            19 if place.only(&["PREROUTING"])
                && matches!(place.table, TableName::Raw | TableName::Mangle) =>
            {
                let options = ["--loose", "--invert", "--validmark", "--accept-local", ""];
                let option = self.pick(&options);
                // A match without options ends the words.
                format!(" -m rpfilter {option}").trim_end().to_owned()
            }
            20 => " -m comment --comment \"a word\"".to_owned(),
            // How long a packet is, no question says: only what holds for all can be told.
            21 => format!(" -m length {}--length 0:65535", self.not()),
            22 | 31..=33 if matches!(kind, Kind::Tcp | Kind::Udp | Kind::Sctp) => self.multiport(),
            23 if place.only(&["OUTPUT", "POSTROUTING"]) => {
                format!(" -m owner {}--socket-exists", self.not())
            }
            24 => format!(" -m conntrack {}--ctstate {}", self.not(), self.states()),
            25 => " -m statistic --mode random --probability 1".to_owned(),
            26 => self.chance_match(),
            27 if place.only(&["OUTPUT", "POSTROUTING"]) => {
                let asked = self.pick(&["--uid-owner 0", "--gid-owner 0", "--uid-owner 1-99"]);
                format!(" -m owner {}{asked}", self.not())
            }
            28 if self.family == Family::Ipv6 => self.extension_header(),
            28 if matches!(kind, Kind::Tcp) => {
                let asked = self.pick(&["--ecn-tcp-cwr", "--ecn-tcp-ece", "--ecn-ip-ect 0"]);
                format!(" -m ecn {}{asked}", self.not())
            }
            28 => format!(" -m ecn {}--ecn-ip-ect {}", self.not(), self.pick(&["0", "1", "2"])),
            29 => self.tuple(),
            30 => self.address_types(place),
            _ => return None,
        };
        Some(text)
    }

    /// What only chance or history decides; rarely, for each doubles the ways that things may go.
    fn chance_match(&mut self) -> String {
        if !self.chance(35) {
            return String::new();
        }
        let forms = [
            "statistic --mode random --probability 0.5",
            "statistic --mode nth --every 2 --packet 0",
            "limit --limit 1/hour --limit-burst 1",
            "length --length 0:64",
            "conntrack --ctexpire 100:200",
            "connlimit --connlimit-above 1",
        ];
        format!(" -m {}", self.pick(&forms))
    }

    /// Headers that no packet of the lab carries, and those that it does.
    fn extension_header(&mut self) -> String {
        let forms = ["frag --fragid 0:99", "rt --rt-type 0", "hbh", "dst", "ipv6header --soft"];
        match self.pick(&forms) {
            "ipv6header --soft" => {
                let header = self.pick(&["hop", "frag", "dst", "route,dst"]);
                format!(" -m ipv6header {}--header {header} --soft", self.not())
            }
            form => format!(" -m {form}"),
        }
    }

    /// Several things at once about the two tuples of a connection.
    fn tuple(&mut self) -> String {
        let (first, second) = (self.not(), self.not());
        let state = self.states();
        let prefix = self.pick(values(self.family).prefixes);
        let port = self.pick(&["80", "53", "1024:65535", "600"]);
        match self.random.u8(0..5) {
            0 => format!(" -m conntrack {first}--ctstate {state} --ctproto 6"),
            1 => {
                format!(" -m conntrack {first}--ctorigsrc {prefix} {second}--ctorigdstport {port}")
            }
            2 => format!(" -m conntrack --ctdir REPLY {first}--ctrepldst {prefix}"),
            3 => format!(" -m conntrack {first}--ctstate {state} {second}--ctstatus SEEN_REPLY"),
            _ => format!(
                " -m conntrack --ctdir ORIGINAL {first}--ctreplsrc {prefix} --ctreplsrcport {port}"
            ),
        }
    }

    /// Types of both addresses.
    fn address_types(&mut self, place: &Place) -> String {
        // ip6tables refuses the other types.
        let special = match self.family {
            Family::Ipv4 => "PROHIBIT,THROW",
            Family::Ipv6 => "UNREACHABLE,LOCAL",
        };
        let types = ["LOCAL", "UNICAST", "MULTICAST", "UNICAST,LOCAL", special];
        let limit = match self.random.u8(0..8) {
            0 if place.only(&["PREROUTING", "INPUT", "FORWARD"]) => " --limit-iface-in",
            1 if place.only(&["OUTPUT", "POSTROUTING", "FORWARD"]) => " --limit-iface-out",
            _ => "",
        };
        let (first, second) = (self.not(), self.not());
        let (from, to) = (self.pick(&types), self.pick(&types));
        format!(" -m addrtype {first}--src-type {from} {second}--dst-type {to}{limit}")
    }

    fn tcp(&mut self) -> String {
        let ports = ["80", "443", "8080", "22", "1:1023", "40000:65535", "5353"];
        match self.random.u8(0..6) {
            0..3 => format!(" -m tcp {}--dport {}", self.not(), self.pick(&ports)),
            3 => format!(" -m tcp {}--sport {}", self.not(), self.pick(&ports)),
            4 => format!(" -m tcp {}--syn", self.not()),
            _ => {
                let flags =
                    ["SYN,ACK SYN,ACK", "RST RST", "ALL NONE", "FIN,SYN FIN,SYN", "ACK,FIN ACK"];
                format!(" -m tcp {}--tcp-flags {}", self.not(), self.pick(&flags))
            }
        }
    }

    fn udp(&mut self) -> String {
        let ports = ["53", "5353", "443", "1:1023", "40000:65535", "600"];
        let side = self.pick(&["--dport", "--dport", "--sport"]);
        format!(" -m udp {}{side} {}", self.not(), self.pick(&ports))
    }

    fn sctp(&mut self) -> String {
        let ports = ["80", "53", "1:1023", "40000:65535"];
        let side = self.pick(&["--dport", "--dport", "--sport"]);
        format!(" -m sctp {}{side} {}", self.not(), self.pick(&ports))
    }

    fn icmp(&mut self) -> String {
        match self.family {
            Family::Ipv4 => {
                let types = ["8", "0", "3", "3/3", "8/0", "any", "13", "11", "255", "3/9", "11/0"];
                format!(" -m icmp {}--icmp-type {}", self.not(), self.pick(&types))
            }
            Family::Ipv6 => {
                let types = ["128", "129", "1", "1/4", "128/0", "3", "1/1", "3/0", "135"];
                format!(" -m icmp6 {}--icmpv6-type {}", self.not(), self.pick(&types))
            }
        }
    }

    /// Of lists that know one port of a packet and not the other, so that the side shows.
    fn multiport(&mut self) -> String {
        let ports = [
            "80,443",
            "80,40000",
            "53,5353,600",
            "22,8000:9000",
            "22,5001,40000:40001",
            "1:1023,40000",
        ];
        let side = self.pick(&["--dports", "--sports", "--ports", "--ports"]);
        let negated = if self.chance(40) { "! " } else { "" };
        format!(" -m multiport {negated}{side} {}", self.pick(&ports))
    }

    fn states(&mut self) -> &'static str {
        self.pick(&[
            "NEW",
            "ESTABLISHED",
            "RELATED,ESTABLISHED",
            "INVALID",
            "UNTRACKED",
            "NEW,INVALID",
            "RELATED",
        ])
    }

    fn state(&mut self) -> String {
        let states =
            ["SNAT", "DNAT", "NEW", "DNAT,SNAT", "NEW,DNAT", "ESTABLISHED", "INVALID,SNAT"];
        format!("{}--ctstate {}", self.not(), self.pick(&states))
    }

    fn connection(&mut self) -> String {
        let negated = self.not();
        let prefix = self.pick(values(self.family).prefixes);
        let status = ["NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED", "EXPECTED"];
        let port = self.pick(&["80", "53", "40000", "8080:8090"]);
        match self.random.u8(0..12) {
            0 => format!("{negated}--ctstatus {}", self.pick(&status)),
            1 => format!("--ctdir {}", self.pick(&["ORIGINAL", "REPLY"])),
            2 => format!("{negated}--ctproto {}", self.pick(&["6", "17", "1"])),
            3 => format!("{negated}--ctorigsrc {prefix}"),
            4 => format!("{negated}--ctorigdst {prefix}"),
            5 => format!("{negated}--ctreplsrc {prefix}"),
            6 => format!("{negated}--ctrepldst {prefix}"),
            7 => format!("{negated}--ctorigsrcport {port}"),
            8 => format!("{negated}--ctorigdstport {port}"),
            9 => format!("{negated}--ctreplsrcport {port}"),
            10 => format!("{negated}--ctrepldstport {port}"),
            _ => format!("--ctstate {} {negated}--ctorigdst {prefix}", self.states()),
        }
    }

    fn address_type(&mut self, place: &Place) -> String {
        let types: &[&str] = match self.family {
            Family::Ipv4 => {
                &["LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "LOCAL,BROADCAST", "BLACKHOLE"]
            }
            Family::Ipv6 => &["LOCAL", "UNICAST", "MULTICAST", "UNREACHABLE", "ANYCAST"],
        };
        let side = self.pick(&["--dst-type", "--dst-type", "--src-type"]);
        let limit = match self.random.u8(0..6) {
            0 if place.only(&["PREROUTING", "INPUT", "FORWARD"]) => " --limit-iface-in",
            1 if place.only(&["OUTPUT", "POSTROUTING", "FORWARD"]) => " --limit-iface-out",
            _ => "",
        };
        format!(" -m addrtype {}{side} {}{limit}", self.not(), self.pick(types))
    }

    fn set(&mut self) -> String {
        let sets = values(self.family).sets;
        let (name, dimensions) = self.random.choice(sets).copied().unwrap_or(("ports", 1));
        let mut directions = vec![self.pick(&["src", "dst"])];
        for _ in 1..dimensions {
            directions.push(self.pick(&["src", "dst"]));
        }
        if name == "pairs" {
            // hash:net,iface knows the incoming interface as src only.
            directions = vec![self.pick(&["src", "dst"]), "src"];
        }
        if self.chance(8) {
            directions.pop();
        }
        if directions.is_empty() {
            directions.push("dst");
        }
        let option = if self.chance(10) { " --return-nomatch" } else { "" };
        format!(" -m set {}--match-set {name} {}{option}", self.not(), directions.join(","))
    }

    fn physdev(&mut self, place: &Place) -> String {
        let ports = self.pick(&["c1", "c2", "c+", "d1", "w0"]);
        match self.random.u8(0..7) {
            0 | 1 => format!(" -m physdev {}--physdev-in {ports}", self.not()),
            5 if place.only(&["POSTROUTING", "FORWARD"]) => {
                format!(" -m physdev --physdev-is-bridged {}--physdev-is-out", self.not())
            }
            2 if place.only(&["POSTROUTING", "FORWARD"]) => {
                format!(" -m physdev --physdev-is-bridged {}--physdev-out {ports}", self.not())
            }
            3 => format!(" -m physdev {}--physdev-is-in", self.not()),
            _ => format!(" -m physdev {}--physdev-is-bridged", self.not()),
        }
    }

    fn range(&mut self) -> String {
        let side = self.pick(&["--src-range", "--dst-range"]);
        format!(" -m iprange {}{side} {}", self.not(), self.pick(values(self.family).ranges))
    }
}
