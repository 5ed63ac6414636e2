//! Routes, as `ip route` prints them.

mod json;
mod legacy;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::scope::Scope;
use super::{Read, json as values};
use crate::arguments::dscp;
use crate::span::Span;
use crate::syntax::Family;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The family of its prefix.
    pub family: Family,
    /// What it does with packets.
    pub kind: RouteKind,
    /// The prefix; `0.0.0.0/0` or `::/0` for `default`.
    pub destination: IpNet,
    /// The prefix of sources it is for (`from`, IPv6 only); absent for all.
    pub source: Option<IpNet>,
    /// The TOS it is for; 0 for any.
    pub tos: u8,
    /// The table it stands in.
    pub table: Table,
    /// How far it reaches. Always global for IPv6.
    pub scope: Scope,
    /// Who set it (`proto`), such as `kernel`, `static`, `dhcp`; absent for `boot`.
    pub protocol: Option<String>,
    /// The lower, the better (`metric`); 0 where none is printed.
    pub metric: u32,
    /// The source address that local packets take (`src`).
    pub preferred_source: Option<IpAddr>,
    /// The number of its next hop object.
    pub next_hop_id: Option<u32>,
    /// Where to: one, several for multipath, none for `blackhole` and its like of IPv4.
    pub next_hops: Vec<NextHop>,
    /// The preference of a router of IPv6 (`pref`).
    pub preference: Option<Preference>,
    /// The MTU of packets that take it.
    pub mtu: Option<u32>,
    /// What was not understood, such as an encapsulation; nothing may rely on where such a route
    /// leads. Each is a warning too.
    pub unsupported: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// One way a route leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// The next router; absent where the destination is on-link. May be IPv6 for an IPv4 route.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub device: Option<String>,
    /// The share of a multipath route, from 1.
    pub weight: u32,
    /// Whether its interface has no carrier (`linkdown`).
    pub link_down: bool,
    /// Whether it can't be used (`dead`).
    pub dead: bool,
    /// Whether the gateway counts as directly attached whatever the addresses say (`onlink`).
    pub on_link: bool,
}

/// What a route does with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Sends them on.
    #[default]
    Unicast,
    /// Delivers them here.
    Local,
    /// Delivers them here, and sends as link broadcast.
    Broadcast,
    /// Delivers them here, as one of several hosts.
    Anycast,
    /// Sends them to a group.
    Multicast,
    /// Drops them.
    Blackhole,
    /// Answers that the host is unreachable.
    Unreachable,
    /// Answers that it is prohibited.
    Prohibit,
    /// Leaves the table; the next routing rule decides.
    Throw,
}

/// The preference of a router that an IPv6 route was learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of ip(8)")]
pub enum Preference {
    Low,
    Medium,
    High,
}

/// A routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `main`, 254: the one without a name in listings.
    #[default]
    Main,
    /// `local`, 255: the addresses of the host.
    Local,
    /// `default`, 253.
    Default,
    /// Another one, by its number.
    Id(u32),
    /// Another one, by its name in `/etc/iproute2/rt_tables`, which tells nothing of its number.
    Name(String),
}

impl FromStr for Table {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "main" | "254" => Self::Main,
            "local" | "255" => Self::Local,
            "default" | "253" => Self::Default,
            other => other.parse().map_or_else(|_| Self::Name(other.to_owned()), Self::Id),
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => formatter.write_str("main"),
            Self::Local => formatter.write_str("local"),
            Self::Default => formatter.write_str("default"),
            Self::Id(id) => write!(formatter, "{id}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

impl RouteKind {
    /// The word of ip(8).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
        }
    }
}

impl FromStr for RouteKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The numbers are those of `ip -N`.
        Ok(match text {
            "unicast" | "1" => Self::Unicast,
            "local" | "2" => Self::Local,
            "broadcast" | "3" => Self::Broadcast,
            "anycast" | "4" => Self::Anycast,
            "multicast" | "5" => Self::Multicast,
            "blackhole" | "6" => Self::Blackhole,
            "unreachable" | "7" => Self::Unreachable,
            "prohibit" | "8" => Self::Prohibit,
            "throw" | "9" => Self::Throw,
            _ => return Err(()),
        })
    }
}

impl FromStr for Preference {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "low" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// Reads what `ip route` printed: JSON (`-j`) or text, of one family or of both behind each other;
/// also what `route -n` and `netstat -rn` print.
///
/// A route to `default` without a gateway does not show its family. `family` is the one that the
/// name of the part tells (`ip6-route`); without it such a route is IPv6 where it has a `pref`,
/// which ip(8) prints for every route of IPv6, else IPv4.
#[must_use]
pub fn parse(text: &str, family: Option<Family>) -> Read<Vec<Route>> {
    let mut diagnostics = Vec::new();
    let routes = match values::start(text) {
        Some(start) => json::routes(text, start, family, &mut diagnostics),
        None if legacy::is_legacy(text) => legacy::routes(text, &mut diagnostics),
        None => text::routes(text, family, &mut diagnostics),
    };
    (routes, diagnostics)
}

/// A route as it is read, before its family is known.
#[derive(Clone, Debug, Default)]
struct Draft {
    kind: RouteKind,
    /// `None` for `default`.
    destination: Option<IpNet>,
    source: Option<IpNet>,
    tos: u8,
    table: Option<Table>,
    scope: Scope,
    protocol: Option<String>,
    metric: u32,
    preferred_source: Option<IpAddr>,
    next_hop_id: Option<u32>,
    /// The next hop of the route itself.
    next_hop: NextHop,
    /// Whether a gateway is given with its family (`via inet6`).
    via: bool,
    /// Those of a multipath route.
    next_hops: Vec<NextHop>,
    preference: Option<Preference>,
    mtu: Option<u32>,
    unsupported: Vec<String>,
    span: Span,
}

impl Draft {
    /// The route, with its family from its prefix, its addresses, or the part it stands in.
    fn finish(self, family: Option<Family>) -> Route {
        let shown = self.destination.map(|net| net.addr()).or(self.preferred_source);
        let gateway = self.next_hops.iter().chain([&self.next_hop]).find_map(|hop| hop.gateway);
        let seen = match (shown, self.preference, gateway) {
            (Some(address), ..) => Some(Family::of(address)),
            (None, Some(_), _) => Some(Family::Ipv6),
            // Only IPv4 routes have a gateway of the other family.
            (None, None, Some(_)) if self.via => Some(Family::Ipv4),
            (None, None, gateway) => gateway.map(Family::of).or(family),
        };
        let family = seen.unwrap_or(Family::Ipv4);
        let any = match family {
            Family::Ipv4 => IpNet::V4(Ipv4Net::default()),
            Family::Ipv6 => IpNet::V6(Ipv6Net::default()),
        };
        let mut next_hops = self.next_hops;
        let single = NextHop { weight: 1, ..self.next_hop };
        let leads = single.gateway.is_some() || single.device.is_some();
        if next_hops.is_empty() && leads {
            next_hops.push(single);
        }
        Route {
            family,
            kind: self.kind,
            destination: self.destination.unwrap_or(any),
            source: self.source,
            tos: self.tos,
            table: self.table.unwrap_or_default(),
            scope: if family == Family::Ipv6 { Scope::Global } else { self.scope },
            protocol: self.protocol.and_then(named_protocol),
            metric: self.metric,
            preferred_source: self.preferred_source,
            next_hop_id: self.next_hop_id,
            next_hops,
            preference: self.preference,
            mtu: self.mtu,
            unsupported: self.unsupported,
            span: self.span,
        }
    }
}

impl fmt::Display for Route {
    /// Writes it as `ip route show table T` prints it, on one line; `{:#}` names the table too,
    /// unless it is `main`, as `ip route show table all` does.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(out, "{} ", self.kind.as_str())?;
        }
        write_prefix(out, self.destination)?;
        if let Some(source) = self.source {
            out.write_str(" from ")?;
            write_prefix(out, source)?;
        }
        if self.tos != 0 {
            write!(out, " tos 0x{:02x}", self.tos)?;
        }
        if let Some(id) = self.next_hop_id {
            write!(out, " nhid {id}")?;
        }
        let single = match self.next_hops.as_slice() {
            [hop] => Some(hop),
            _ => None,
        };
        if let Some(hop) = single {
            hop.write_place(out, self.family)?;
        }
        if out.alternate() && self.table != Table::Main {
            write!(out, " table {}", self.table)?;
        }
        if let Some(protocol) = &self.protocol {
            write!(out, " proto {protocol}")?;
        }
        if self.scope != Scope::Global {
            write!(out, " scope {}", self.scope)?;
        }
        if let Some(source) = self.preferred_source {
            write!(out, " src {source}")?;
        }
        if self.metric != 0 || self.family == Family::Ipv6 {
            write!(out, " metric {}", self.metric)?;
        }
        if let Some(hop) = single {
            hop.write_flags(out)?;
        }
        if let Some(mtu) = self.mtu {
            write!(out, " mtu {mtu}")?;
        }
        if let Some(preference) = self.preference {
            write!(out, " pref {preference}")?;
        }
        for hop in self.next_hops.iter().filter(|_| single.is_none()) {
            out.write_str(" nexthop")?;
            hop.write_place(out, self.family)?;
            write!(out, " weight {}", hop.weight)?;
            hop.write_flags(out)?;
        }
        Ok(())
    }
}

impl NextHop {
    fn write_place(&self, out: &mut fmt::Formatter<'_>, family: Family) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            let other = if Family::of(gateway) == family { "" } else { "inet6 " };
            write!(out, " via {other}{gateway}")?;
        }
        self.device.iter().try_for_each(|device| write!(out, " dev {device}"))
    }

    fn write_flags(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags =
            [(self.dead, " dead"), (self.on_link, " onlink"), (self.link_down, " linkdown")];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| out.write_str(word))
    }

    /// Sets a flag by its word; false if there is no such flag.
    fn set_flag(&mut self, word: &str) -> bool {
        match word {
            "linkdown" => self.link_down = true,
            "dead" => self.dead = true,
            "onlink" => self.on_link = true,
            // They tell of the hardware, or of how the route came about.
            "pervasive" | "offload" | "offload_failed" | "rt_offload" | "rt_offload_failed"
            | "trap" | "rt_trap" | "rt_notify" | "notify" | "unresolved" => {}
            _ => return false,
        }
        true
    }
}

/// The name of a protocol that `ip -N` prints as a number; none for `boot`, which ip(8) leaves out.
fn named_protocol(protocol: String) -> Option<String> {
    let name = match protocol.as_str() {
        "boot" | "3" => return None,
        "0" => "unspec",
        "1" => "redirect",
        "2" => "kernel",
        "4" => "static",
        "9" => "ra",
        "16" => "dhcp",
        _ => return Some(protocol),
    };
    Some(name.to_owned())
}

/// Writes a prefix as ip(8) does: `default`, or without the length of a host.
fn write_prefix(out: &mut fmt::Formatter<'_>, net: IpNet) -> fmt::Result {
    match net.prefix_len() {
        0 => out.write_str("default"),
        length if length == net.max_prefix_len() => write!(out, "{}", net.addr()),
        _ => write!(out, "{net}"),
    }
}

/// Reads a prefix as ip(8) writes it; `None` for `default`.
fn parse_prefix(text: &str) -> Result<Option<IpNet>, ()> {
    if matches!(text, "default" | "all" | "any") {
        return Ok(None);
    }
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).map(Some).map_err(|_| ())
}

/// Reads a TOS, which ip(8) prints in hexadecimal, or by its name in `rt_dsfield`.
pub(super) fn parse_tos(text: &str) -> Option<u8> {
    match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => match text {
            "lowdelay" => Some(0x10),
            "throughput" => Some(0x08),
            "reliability" => Some(0x04),
            "default" => Some(0),
            name => dscp::class_named(name)
                .map(|class| class << 2)
                .or_else(|| u8::from_str_radix(name, 16).ok()),
        },
    }
}

#[cfg(test)]
mod tests;
