//! The parts of an entry of a set, by the dimensions of the set's type.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::arguments::Argument;
use crate::arguments::icmp::icmp;
use crate::diagnostic::Diagnostic;
use crate::extension::{self, ExtensionKind};
use crate::host::address::parse_mac;
use crate::host::line::Word;
use crate::syntax::{Family, Value};
use crate::{protocols, services};

/// What one part of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// An address (`ip`).
    Address,
    /// A prefix (`net`).
    Net,
    /// A protocol and a port (`port`).
    Port,
    /// An interface (`iface`).
    Interface,
    /// A hardware address (`mac`).
    Mac,
    /// A packet mark (`mark`).
    Mark,
    /// The name of another set (`set`).
    Set,
}

/// One part of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A prefix; a host is one of full length.
    Net(IpNet),
    /// A range of addresses, both ends inclusive.
    AddressRange(IpAddr, IpAddr),
    /// A range of ports, both ends inclusive.
    Port {
        /// The protocol; absent in `bitmap:port`, where any protocol with ports is meant.
        protocol: Option<u8>,
        /// The lowest port. For ICMP and ICMPv6 it is the type times 256, plus the code; for
        /// protocols without ports 0.
        low: u16,
        /// The highest port.
        high: u16,
    },
    /// An interface.
    Interface {
        /// Its name.
        name: String,
        /// Whether any interface whose name starts so is meant.
        wildcard: bool,
        /// Whether a port of a bridge is meant (`physdev:`).
        physical: bool,
    },
    /// A hardware address.
    Mac([u8; 6]),
    /// A packet mark.
    Mark(u32),
    /// The name of another set.
    Set(String),
}

impl Dimension {
    /// The dimensions of a type such as `hash:ip,port`; `None` for a type that ipset(8) has not.
    pub(super) fn of_type(kind: &str) -> Option<Vec<Self>> {
        let (method, dimensions) = kind.split_once(':')?;
        if !matches!(method, "bitmap" | "hash" | "list") {
            return None;
        }
        let dimension = |word: &str| {
            Some(match word {
                "ip" => Self::Address,
                "net" => Self::Net,
                "port" => Self::Port,
                "iface" => Self::Interface,
                "mac" => Self::Mac,
                "mark" => Self::Mark,
                "set" if method == "list" => Self::Set,
                _ => return None,
            })
        };
        dimensions.split(',').map(dimension).collect()
    }

    /// The family of a set that names none.
    pub(super) fn default_family(dimensions: &[Self]) -> Option<Family> {
        let addresses =
            dimensions.iter().any(|dimension| matches!(dimension, Self::Address | Self::Net));
        addresses.then_some(Family::Ipv4)
    }

    /// What is expected of it, for messages.
    fn expected(self) -> &'static str {
        match self {
            Self::Address | Self::Net => "an address, a prefix or a range of addresses",
            Self::Port => "a port, such as `tcp:80`",
            Self::Interface => "an interface",
            Self::Mac => "a hardware address",
            Self::Mark => "a mark",
            Self::Set => "the name of a set",
        }
    }
}

/// The elements of an entry, which stand between commas.
pub(super) fn parse(
    word: Word<'_>,
    dimensions: &[Dimension],
    family: Option<Family>,
) -> Result<Vec<Element>, Diagnostic> {
    let mut parts = word.text.split(',');
    let mut elements = Vec::with_capacity(dimensions.len());
    for (at, &dimension) in dimensions.iter().enumerate() {
        match parts.next() {
            Some(part) => {
                let read = element(part, dimension, family);
                elements.push(read.ok_or_else(|| {
                    let message = format!("expected {}, found `{part}`", dimension.expected());
                    Diagnostic::warning("unexpected-value", message, word.span)
                })?);
            }
            // `bitmap:ip,mac`: an address that was not seen yet has no hardware address.
            None if at > 0 && dimension == Dimension::Mac => {}
            None => {
                return Err(word.unexpected(&format!("an entry with {} parts", dimensions.len())));
            }
        }
    }
    match parts.next() {
        Some(_) => Err(word.unexpected(&format!("an entry with {} parts", dimensions.len()))),
        None => Ok(elements),
    }
}

/// One element.
fn element(text: &str, dimension: Dimension, family: Option<Family>) -> Option<Element> {
    Some(match dimension {
        Dimension::Address | Dimension::Net => addresses(text, family)?,
        Dimension::Port => port(text)?,
        Dimension::Interface => {
            let name = text.strip_prefix("physdev:");
            let physical = name.is_some();
            let name = name.unwrap_or(text).to_owned();
            (!name.is_empty()).then_some(Element::Interface { name, wildcard: false, physical })?
        }
        Dimension::Mac => Element::Mac(parse_mac(text)?),
        Dimension::Mark => Element::Mark(match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => text.parse().ok()?,
        }),
        Dimension::Set => Element::Set(text.to_owned()),
    })
}

/// `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1-10.0.0.9`.
fn addresses(text: &str, family: Option<Family>) -> Option<Element> {
    let fits = |address: IpAddr| family.is_none_or(|family| family == Family::of(address));
    if let Ok(net) = text.parse::<IpNet>() {
        return fits(net.addr()).then_some(Element::Net(net.trunc()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return fits(address).then(|| Element::Net(IpNet::from(address)));
    }
    let (low, high) = text.split_once('-')?;
    let (low, high): (IpAddr, IpAddr) = (low.parse().ok()?, high.parse().ok()?);
    let ordered = low <= high && low.is_ipv4() == high.is_ipv4();
    (fits(low) && ordered).then_some(Element::AddressRange(low, high))
}

/// `80`, `tcp:80`, `tcp:80-90`, `icmp:echo-request`, `ipv6-icmp:128/0`, `gre:0`.
fn port(text: &str) -> Option<Element> {
    let Some((protocol, port)) = text.split_once(':') else {
        let (low, high) = range(text, None)?;
        return Some(Element::Port { protocol: None, low, high });
    };
    let protocol = protocol.parse().ok().or_else(|| protocols::number(protocol))?;
    let (low, high) = match protocol {
        protocols::ICMP | protocols::ICMPV6 => {
            let number = icmp_port(port, protocol)?;
            (number, number)
        }
        _ => range(port, Some(protocol))?,
    };
    Some(Element::Port { protocol: Some(protocol), low, high })
}

/// One port or a range of them.
fn range(text: &str, protocol: Option<u8>) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse().ok().or_else(|| services::port(text, protocol));
    if let Some(port) = port(text) {
        return Some((port, port));
    }
    let (low, high) = text.split_once('-')?;
    let (low, high) = (port(low)?, port(high)?);
    (low <= high).then_some((low, high))
}

/// A type and code of ICMP, which ipset stores as a port. Its names are those of iptables; a name
/// of a type alone has code 0 in ipset.
fn icmp_port(text: &str, protocol: u8) -> Option<u16> {
    let (extension, option) = match protocol {
        protocols::ICMP => ("icmp", "icmp-type"),
        _ => ("icmp6", "icmpv6-type"),
    };
    let extension = extension::find(ExtensionKind::Match, extension)?;
    let option = extension.options.iter().find(|known| known.name == option)?;
    let Argument::Icmp(names) = option.argument else { return None };
    match icmp(text, names).ok()? {
        Value::Icmp { kind: Some(kind), codes: (code, _) } => {
            Some(u16::from(kind) << 8 | u16::from(code))
        }
        _ => None,
    }
}
