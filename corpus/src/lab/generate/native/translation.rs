//! Random NAT of native tables.

use nattrace_parser::syntax::Family;

use super::Spot;
use crate::lab::generate::Generator;
use crate::lab::generate::value::values;

impl Generator {
    /// Exchanges the network part of an address.
    fn native_netmap(&mut self, spot: Spot) -> String {
        let word = self.word();
        let family = if spot.both { word } else { "" };
        let (inner, outer) = match self.family {
            Family::Ipv4 => ("10.0.1.0/24", "203.0.113.0/24"),
            Family::Ipv6 => ("fd01::/64", "2001:db8:1::/64"),
        };
        match spot.hook {
            Some("prerouting" | "output") => {
                format!("dnat {family} prefix to {word} daddr map {{ {outer} : {inner} }}")
            }
            _ => format!("snat {family} prefix to {word} saddr map {{ {inner} : {outer} }}"),
        }
    }

    /// NAT of packets of the other family, which leaves those of this one alone.
    fn translation_of_others(&mut self, spot: Spot) -> String {
        let (word, address) = match self.family {
            Family::Ipv4 => ("ip6", "fd01::2"),
            Family::Ipv6 => ("ip", "10.0.1.2"),
        };
        let statement = match spot.hook {
            Some("prerouting" | "output") => "dnat",
            _ => "snat",
        };
        match self.random.u8(0..3) {
            0 => format!("{statement} {word} to {address}"),
            1 => format!("{statement} {word} to tcp dport map {{ 80 : {address} }}"),
            _ => format!("{statement} {word} to meta mark map {{ 0x0 : {address} }}"),
        }
    }

    /// `snat`, `dnat` and their kin, as the hook takes them.
    pub(super) fn native_translation(&mut self, spot: Spot, upper: Option<&'static str>) -> String {
        if spot.both && self.chance(8) {
            return self.translation_of_others(spot);
        }
        if self.chance(8) {
            return self.native_netmap(spot);
        }
        let ported = matches!(upper, Some("tcp" | "udp"));
        let ip = if spot.both { self.word() } else { "" };
        let values = values(self.family);
        let port = self.pick(&["80", "8080", "53", "5353"]);
        let with_port = |address: &str, family: Family| match family {
            Family::Ipv4 => format!("{address}:{port}"),
            Family::Ipv6 => format!("[{address}]:{port}"),
        };
        let family = self.family;
        match spot.hook {
            Some("prerouting" | "output") => {
                let address = self.pick(values.destinations);
                match self.random.u8(0..8) {
                    0 if ported => format!("redirect to :{port}"),
                    1 => "redirect".to_owned(),
                    2 if ported => format!("dnat {ip} to {}", with_port(address, family)),
                    3 => format!("dnat {ip} to {}", self.pick(values.destination_ranges)),
                    4 if upper == Some("tcp") => {
                        let other = self.pick(values.destinations);
                        format!("dnat {ip} to tcp dport map {{ 80 : {address}, 443 : {other} }}")
                    }
                    5 => {
                        let source = self.pick(values.lan);
                        format!("dnat {ip} to {} saddr map {{ {source} : {address} }}", self.word())
                    }
                    _ => format!("dnat {ip} to {address}"),
                }
            }
            Some("postrouting") if self.chance(45) => {
                let flags = self.pick(&["", "", " random", " persistent"]);
                format!("masquerade{flags}")
            }
            _ => {
                let address = self.pick(values.sources);
                match self.random.u8(0..6) {
                    0 if ported => format!("snat {ip} to {}", with_port(address, family)),
                    1 => format!("snat {ip} to {}", self.pick(values.source_ranges)),
                    2 => format!("snat {ip} to {address} persistent"),
                    3 => {
                        let source = self.pick(values.lan);
                        format!("snat {ip} to {} saddr map {{ {source} : {address} }}", self.word())
                    }
                    _ => format!("snat {ip} to {address}"),
                }
            }
        }
    }
}
