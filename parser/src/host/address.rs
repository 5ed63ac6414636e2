//! Interfaces and their addresses, as `ip addr` and `ip link` print them.

mod json;
mod text;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::scope::Scope;
use super::{Read, is_complete, json as values};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// One network interface.
///
/// What a form of the listing does not show is `None`: `ip -o addr` has neither flags nor MTU, and
/// only `-d` tells the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number; `ip -br` does not print it.
    pub index: Option<u32>,
    /// The other names it answers to.
    pub alternative_names: Vec<String>,
    /// What stands behind `@`: its lower device, or the other end of a veth pair.
    pub link: Option<Link>,
    /// The words between `<` and `>`, such as `UP` and `LOWER_UP`.
    pub flags: Option<Vec<String>>,
    /// The word behind `state`, such as `UP`, `DOWN` or `UNKNOWN`.
    pub state: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The bridge, bond or VRF it is a port of.
    pub master: Option<String>,
    /// The word behind `link/`, such as `ether`, `loopback` or `none`.
    pub link_type: Option<String>,
    /// Its hardware address, where that has six bytes.
    pub mac: Option<[u8; 6]>,
    /// The number or name of its group, as printed.
    pub group: Option<String>,
    /// What kind of device it is, such as `bridge`, `veth`, `vlan` or `wireguard`; needs `-d`.
    pub kind: Option<String>,
    /// What kind of master it is a port of, such as `bridge`; needs `-d`.
    pub port_kind: Option<String>,
    /// What `-d` tells about a bridge.
    pub bridge: Option<BridgeSettings>,
    /// The VLAN identifier of a VLAN device; needs `-d`.
    pub vlan: Option<u16>,
    /// The routing table of a VRF device; needs `-d`.
    pub vrf_table: Option<u32>,
    /// Its addresses in the order of the kernel, the primary ones of IPv4 first.
    pub addresses: Vec<Address>,
    /// Where it stands.
    pub span: Span,
}

/// What stands behind `@` of an interface name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A device of this host, by its name.
    Here(String),
    /// A device in another network namespace, by its number there. For a veth device this is the
    /// other end, in a container.
    Elsewhere(u32),
}

impl Link {
    /// Reads `if5` as a number in another network namespace.
    fn elsewhere(self) -> Self {
        let index = match &self {
            Self::Here(name) => name.strip_prefix("if").and_then(|index| index.parse().ok()),
            Self::Elsewhere(_) => None,
        };
        index.map_or(self, Self::Elsewhere)
    }
}

/// Settings of a bridge that `ip -d link` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Whether it keeps VLANs apart.
    pub vlan_filtering: bool,
    /// Whether bridged IPv4 packets pass iptables on this bridge, whatever the sysctl says.
    pub nf_call_iptables: bool,
    /// Whether bridged IPv6 packets pass ip6tables on this bridge, whatever the sysctl says.
    pub nf_call_ip6tables: bool,
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address of this host.
    pub local: IpAddr,
    /// The address of the other end, where one is set; the prefix is then one around the peer.
    pub peer: Option<IpAddr>,
    /// The prefix length.
    pub prefix_len: u8,
    /// The broadcast address of IPv4, where one is set.
    pub broadcast: Option<Ipv4Addr>,
    /// The anycast address of IPv6, where one is set.
    pub anycast: Option<IpAddr>,
    /// How far it reaches; `ip -br` does not print it.
    pub scope: Option<Scope>,
    /// The label of IPv4, such as `eth0:1`.
    pub label: Option<String>,
    /// The further words, as the kernel sets them.
    pub flags: AddressFlags,
    /// Where it stands.
    pub span: Span,
}

/// Flags of an address that bear on whether and how it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags {
    /// A further IPv4 address of a prefix, never chosen as a source by itself.
    pub secondary: bool,
    /// No longer preferred as a source.
    pub deprecated: bool,
    /// Not usable yet: the check for duplicates runs.
    pub tentative: bool,
    /// Not usable: another host has it.
    pub dad_failed: bool,
    /// A temporary address of the privacy extensions.
    pub temporary: bool,
    /// Usable although the check for duplicates runs.
    pub optimistic: bool,
    /// Set without a route to its prefix.
    pub no_prefix_route: bool,
    /// Has a lifetime.
    pub dynamic: bool,
}

impl Interface {
    /// Whether it is administratively up, where the listing tells.
    #[must_use]
    pub fn is_up(&self) -> Option<bool> {
        match (&self.flags, self.state.as_deref()) {
            (Some(flags), _) => Some(flags.iter().any(|flag| flag == "UP")),
            (None, Some("UP" | "UNKNOWN" | "DORMANT")) => Some(true),
            (None, _) => None,
        }
    }

    /// Whether it has a carrier (`LOWER_UP`), where the listing tells.
    #[must_use]
    pub fn has_carrier(&self) -> Option<bool> {
        match (&self.flags, self.state.as_deref()) {
            (Some(flags), _) => Some(flags.iter().any(|flag| flag == "LOWER_UP")),
            (None, Some("UP")) => Some(true),
            (None, Some("LOWERLAYERDOWN")) => Some(false),
            (None, _) => None,
        }
    }

    /// Whether it is the loopback interface.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let flag = self.flags.iter().flatten().any(|flag| flag == "LOOPBACK");
        flag || self.link_type.as_deref() == Some("loopback") || self.name == "lo"
    }

    /// Takes over what another mention of the same interface adds.
    fn merge(&mut self, other: Self) {
        fn keep<T>(known: &mut Option<T>, new: Option<T>) {
            if known.is_none() {
                *known = new;
            }
        }
        keep(&mut self.index, other.index);
        keep(&mut self.link, other.link);
        keep(&mut self.flags, other.flags);
        keep(&mut self.state, other.state);
        keep(&mut self.mtu, other.mtu);
        keep(&mut self.master, other.master);
        keep(&mut self.link_type, other.link_type);
        keep(&mut self.mac, other.mac);
        keep(&mut self.group, other.group);
        keep(&mut self.kind, other.kind);
        keep(&mut self.port_kind, other.port_kind);
        keep(&mut self.bridge, other.bridge);
        keep(&mut self.vlan, other.vlan);
        keep(&mut self.vrf_table, other.vrf_table);
        for name in other.alternative_names {
            if !self.alternative_names.contains(&name) {
                self.alternative_names.push(name);
            }
        }
        for address in other.addresses {
            let known =
                |known: &Address| Address { span: address.span, ..known.clone() } == address;
            if !self.addresses.iter().any(known) {
                self.addresses.push(address);
            }
        }
    }
}

/// Reads what `ip addr` or `ip link` printed: JSON (`-j`, with or without `-d`) or text (plain,
/// `-d`, `-s`, `-o`, `-br`).
///
/// Interfaces and addresses keep the order of the kernel. An interface that is listed twice, as in
/// `ip -4 addr; ip -6 addr`, is one interface with the addresses of both.
#[must_use]
pub fn parse(text: &str) -> Read<Vec<Interface>> {
    let mut diagnostics = Vec::new();
    let listed = match values::start(text) {
        Some(start) => json::interfaces(text, start, &mut diagnostics),
        None => text::interfaces(text, &mut diagnostics),
    };
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for interface in listed {
        let place = by_name.get(&interface.name);
        match place.and_then(|place| interfaces.get_mut(*place)) {
            Some(known) if same_index(known.index, interface.index) => known.merge(interface),
            Some(known) => {
                let message = format!("`{}` is listed with two different numbers", known.name);
                diagnostics.push(
                    Diagnostic::warning("duplicate-interface", message, interface.span)
                        .help("paste the listing of one host at one time"),
                );
            }
            None => {
                by_name.insert(interface.name.clone(), interfaces.len());
                interfaces.push(interface);
            }
        }
    }
    // `@if5` is a number in another namespace, unless an interface has that very name.
    for interface in &mut interfaces {
        interface.link = interface.link.take().map(|link| match &link {
            Link::Here(name) if by_name.contains_key(name) => link,
            _ => link.elsewhere(),
        });
    }
    if interfaces.is_empty() && is_complete(&diagnostics) {
        let message = "expected interfaces, as `ip addr` prints, found none";
        let span = Span::new(0, text.trim_end().len());
        diagnostics.push(Diagnostic::warning("empty-part", message, span));
    }
    (interfaces, diagnostics)
}

/// Whether two mentions may be of one interface; an absent number fits any.
fn same_index(one: Option<u32>, other: Option<u32>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Reads a hardware address of six bytes.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut bytes = text.split([':', '-']);
    for byte in &mut mac {
        let digits = bytes.next()?;
        let digits = Some(digits).filter(|d| matches!(d.len(), 1 | 2) && !d.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    bytes.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests;
