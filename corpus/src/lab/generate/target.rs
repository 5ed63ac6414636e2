//! Targets of random rules.

use nattrace_parser::syntax::{Backend, Family, TableName};

use super::condition::Upper;
use super::value::values;
use super::{Generator, Mood, Place};

/// A target, and the protocol that it needs.
pub(super) struct Drawn {
    pub(super) text: String,
    pub(super) protocol: Option<Upper>,
}

impl Drawn {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), protocol: None }
    }
}

impl Generator {
    pub(super) fn target(&mut self, place: &Place, onward: &[&str]) -> Drawn {
        if !onward.is_empty() && self.chance(25) {
            let word = self.pick(&["-j", "-j", "-g"]);
            return Drawn::plain(format!(" {word} {}", self.pick(onward)));
        }
        let calm = self.mood == Mood::Calm && self.chance(85);
        match (place.table, self.random.u8(0..100)) {
            (_, 0..10) => Drawn::plain(""),
            (_, 10..22) => Drawn::plain(" -j ACCEPT"),
            (_, 22..28) => Drawn::plain(" -j RETURN"),
            (_, 28..33) => Drawn::plain(" -j LOG --log-prefix \"lab \""),
            (_, 33..45) => Drawn::plain(self.mark()),
            (_, 45..55) => Drawn::plain(self.connection_mark()),
            (TableName::Nat, _) => self.nat(place),
            (_, 55..62) | (TableName::Filter, 62..80) if calm => Drawn::plain(""),
            (_, 55..62) => Drawn::plain(" -j DROP"),
            (TableName::Filter, 62..80) => self.reject(),
            (TableName::Raw, 78..83) => Drawn::plain(" -j CT --zone 1"),
            (TableName::Raw, 83..85) => Drawn::plain(" -j CT --ctevents new,destroy"),
            (TableName::Raw, 85..87) => Drawn::plain(" -j TRACE"),
            (_, 95..97) => {
                let set = if self.family == Family::Ipv4 { "added" } else { "added6" };
                Drawn::plain(format!(" -j SET --add-set {set} src"))
            }
            (_, 97..98) => Drawn::plain(" -j NFLOG --nflog-group 5"),
            (TableName::Raw, 62..78) => {
                Drawn::plain(self.pick(&[" -j CT --notrack", " -j NOTRACK", " -j CT --notrack"]))
            }
            (TableName::Mangle, 62..95) => Drawn::plain(self.header(place)),
            (_, _) => Drawn::plain(""),
        }
    }

    fn mark(&mut self) -> String {
        let forms = [
            "--set-xmark 0x1/0xffffffff",
            "--set-xmark 0x2/0xffffffff",
            "--set-mark 0x10/0xf0",
            "--and-mark 0xfe",
            "--or-mark 0x4",
            "--xor-mark 0x3",
            "--set-xmark 0x1/0x0",
            "--set-mark 0x3",
            "--set-xmark 0x11/0x5",
            "--set-mark 0x13/0x3",
            "--xor-mark 0xff",
        ];
        format!(" -j MARK {}", self.pick(&forms))
    }

    fn connection_mark(&mut self) -> String {
        let forms = [
            "--set-xmark 0x1/0xffffffff",
            "--set-xmark 0x7/0xf",
            "--save-mark",
            "--save-mark --nfmask 0xf --ctmask 0xff",
            "--restore-mark",
            "--restore-mark --nfmask 0xf0 --ctmask 0xff",
            "--restore-mark --mask 0x3",
            "--set-mark 0x2/0x2",
            "--and-mark 0xf",
            "--or-mark 0x10",
            "--save-mark --mask 0x5",
            "--restore-mark --nfmask 0x3 --ctmask 0xf",
        ];
        format!(" -j CONNMARK {}", self.pick(&forms))
    }

    /// A rule that asks little and changes much: other routes by marks, other zones by interfaces.
    pub(super) fn steering(&mut self, table: TableName, chain: &str) -> String {
        let later = "-m conntrack --ctstate ESTABLISHED";
        match (table, chain) {
            // Later packets are routed elsewhere than the first one, which was masqueraded
            // (kernel-facts K15).
            (TableName::Mangle, "OUTPUT" | "PREROUTING") if self.turns => {
                format!("-A {chain} {later} -j MARK --set-mark 1\n")
            }
            (TableName::Nat, "POSTROUTING") if self.turns || self.chance(8) => {
                format!("-A {chain} -j MASQUERADE\n")
            }
            (TableName::Mangle, "OUTPUT" | "PREROUTING") if self.chance(40) => {
                let asked = self.pick(&["", "-p tcp", "-p udp", later, later]);
                let mark = self.random.choice([1, 1, 1, 2, 3, 4]).unwrap_or(1);
                format!("-A {chain} {asked} -j MARK --set-mark {mark}\n")
            }
            (TableName::Raw, "PREROUTING") if self.chance(25) => {
                let interface = self.pick(&["lan", "w0", "br0"]);
                format!("-A {chain} -i {interface} -j CT --zone 1\n")
            }
            _ => String::new(),
        }
    }

    /// Marks that are set, saved and restored under masks, and rules that tell what became of them:
    /// no wire shows a mark.
    pub(super) fn mark_sequence(&mut self, chain: &str) -> String {
        let byte = |generator: &mut Self| generator.random.u8(1..=u8::MAX);
        let (value, packets, connections) = (byte(self), byte(self), byte(self));
        // No bits beyond those that are written: they would be turned with every packet.
        let both = packets | connections;
        let mut targets = match self.random.u8(0..3) {
            0 => vec![
                format!(" -j CONNMARK --set-xmark {value:#x}/0xff"),
                format!(" -j CONNMARK --restore-mark --nfmask {both:#x} --ctmask {connections:#x}"),
            ],
            1 => vec![
                format!(" -j MARK --set-xmark {value:#x}/0xff"),
                format!(" -j CONNMARK --save-mark --nfmask {packets:#x} --ctmask {both:#x}"),
            ],
            _ => Vec::new(),
        };
        while targets.len() < 3 {
            let mark = if self.random.bool() { self.mark() } else { self.connection_mark() };
            targets.push(mark);
        }
        let name = self.pick(&["mark", "mark", "connmark"]);
        for bit in 0..8u8 {
            targets.push(format!(" -m {name} --mark 0x0/{:#x}", 1u32 << bit));
        }
        targets.into_iter().map(|target| format!("-A {chain}{target}\n")).collect()
    }

    fn reject(&mut self) -> Drawn {
        let types: &[&str] = match self.family {
            Family::Ipv4 => &[
                "icmp-host-unreachable",
                "icmp-net-prohibited",
                "icmp-port-unreachable",
                "icmp-net-unreachable",
                "icmp-host-prohibited",
                "icmp-admin-prohibited",
                "icmp-proto-unreachable",
            ],
            Family::Ipv6 => &[
                "icmp6-policy-fail",
                "icmp6-reject-route",
                "icmp6-port-unreachable",
                "icmp6-no-route",
                "icmp6-adm-prohibited",
                "icmp6-addr-unreachable",
            ],
        };
        if self.chance(30) {
            let text = " -j REJECT --reject-with tcp-reset".to_owned();
            return Drawn { text, protocol: Some(Upper::Tcp) };
        }
        Drawn::plain(format!(" -j REJECT --reject-with {}", self.pick(types)))
    }

    fn header(&mut self, place: &Place) -> String {
        let (target, option) = match self.family {
            Family::Ipv4 => ("TTL", "ttl"),
            Family::Ipv6 => ("HL", "hl"),
        };
        match self.random.u8(0..6) {
            0..2 => {
                let forms = ["set 1", "set 64", "inc 1", "dec 1", "set 200", "inc 200", "dec 60"];
                format!(" -j {target} --{option}-{}", self.pick(&forms))
            }
            2..4 => {
                let forms = ["0x10/0xff", "0x08/0x1e", "0x04/0x3f", "0xc0/0xff", "0x00/0xff"];
                format!(" -j TOS --set-tos {}", self.pick(&forms))
            }
            4 => format!(" -j DSCP --set-dscp {}", self.pick(&["0x0a", "0x30", "0x00", "0x04"])),
            _ if place.only(&["POSTROUTING"]) => " -j CLASSIFY --set-class 1:10".to_owned(),
            _ => " -j CHECKSUM --checksum-fill".to_owned(),
        }
    }

    fn nat(&mut self, place: &Place) -> Drawn {
        let options = self.pick(&["", "", "", "", " --random", " --persistent", " --random-fully"]);
        if place.only(&["PREROUTING", "OUTPUT"]) {
            match self.random.u8(0..10) {
                0..6 => self.dnat(options.trim_end_matches("-fully")),
                6..9 => self.redirect(options.trim_end_matches("-fully")),
                _ => self.netmap(),
            }
        } else if place.only(&["POSTROUTING"]) {
            match self.random.u8(0..10) {
                0..5 => self.masquerade(options),
                5..9 => self.snat(options),
                _ => self.netmap(),
            }
        } else if place.only(&["INPUT"]) {
            let options = if options.contains("random") { "" } else { options };
            self.snat(options)
        } else {
            Drawn::plain(" -j ACCEPT")
        }
    }

    fn netmap(&mut self) -> Drawn {
        Drawn::plain(format!(" -j NETMAP --to {}", self.pick(values(self.family).networks)))
    }

    fn upper(&mut self) -> Option<Upper> {
        Some(match self.random.u8(0..16) {
            0 => Upper::Sctp,
            1..9 => Upper::Tcp,
            _ => Upper::Udp,
        })
    }

    fn with_port(&self, address: &str, port: &str) -> String {
        match self.family {
            Family::Ipv4 => format!("{address}:{port}"),
            Family::Ipv6 => format!("[{address}]:{port}"),
        }
    }

    fn dnat(&mut self, options: &str) -> Drawn {
        let values = values(self.family);
        let (to, protocol) = match self.random.u8(0..10) {
            0..4 => (self.pick(values.destinations).to_owned(), None),
            4..7 => {
                let ports = ["80", "8080", "53", "5000-5010", "50-100", "5300-8100", "5353"];
                let port = self.pick(&ports);
                let address = self.pick(values.destinations);
                (self.with_port(address, port), self.upper())
            }
            7 | 8 if self.backend == Backend::Nft && self.family == Family::Ipv4 => {
                let shifted = ["172.17.0.2:80-90/8080", "10.0.1.9:1000-1100/50"];
                (self.pick(&shifted).to_owned(), self.upper())
            }
            7 => (format!(":{}", self.pick(&["8080", "53", "70-90", "5000-5003"])), self.upper()),
            _ => (self.pick(values.destination_ranges).to_owned(), None),
        };
        Drawn { text: format!(" -j DNAT --to-destination {to}{options}"), protocol }
    }

    fn redirect(&mut self, options: &str) -> Drawn {
        let options = options.replace(" --persistent", "");
        if self.chance(40) {
            return Drawn::plain(format!(" -j REDIRECT{options}"));
        }
        let ports = self.pick(&["80", "8080", "53", "50-600", "5000-5010"]);
        let text = format!(" -j REDIRECT --to-ports {ports}{options}");
        Drawn { text, protocol: self.upper() }
    }

    fn masquerade(&mut self, options: &str) -> Drawn {
        let options = options.replace(" --persistent", "");
        if self.chance(75) {
            return Drawn::plain(format!(" -j MASQUERADE{options}"));
        }
        let ports = self.pick(&["1024-65535", "5000-5002", "2000", "600-700"]);
        let text = format!(" -j MASQUERADE --to-ports {ports}{options}");
        Drawn { text, protocol: self.upper() }
    }

    fn snat(&mut self, options: &str) -> Drawn {
        let values = values(self.family);
        let (to, protocol) = match self.random.u8(0..10) {
            0..5 => (self.pick(values.sources).to_owned(), None),
            5..7 => {
                let port = self.pick(&["1024-65535", "2000", "5000-5002", "600"]);
                let address = self.pick(values.sources);
                (self.with_port(address, port), self.upper())
            }
            7 => (format!(":{}", self.pick(&["2000", "40000-50000"])), self.upper()),
            _ => (self.pick(values.source_ranges).to_owned(), None),
        };
        Drawn { text: format!(" -j SNAT --to-source {to}{options}"), protocol }
    }
}
