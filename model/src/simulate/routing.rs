//! The kernel's route lookups: policy rules, longest prefix, source validation, source selection.
//!
//! IPv4 follows `fib_lookup`, `ip_route_input_slow` and `fib_validate_source`; IPv6 follows
//! `ip6_route_input`. Sources: net/ipv4/route.c, net/ipv4/fib_frontend.c, kernel-facts D and J.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::host::Host;
use crate::host::route::{NextHop, PolicyRule, Route, RouteKind, RouteTable, RuleAction, TableId};
use crate::packet::{Packet, Transport, protocol};
use crate::simulate::drawn::{self, Drawn, PortRange};
use crate::simulate::matching::Ternary;

/// What is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: IpAddr,
    /// The interface by which the packet comes; `lo` for a local one.
    pub(crate) in_interface: &'a str,
    pub(crate) mark: u32,
    pub(crate) tos: u8,
    pub(crate) protocol: u8,
    pub(crate) ports: Option<(u16, u16)>,
    /// The interface that is asked for (`flowi_oif`).
    pub(crate) out_interface: Option<&'a str>,
    pub(crate) user: User,
    /// Which of the ports NAT has drawn.
    pub(crate) drawn: Drawn,
}

/// In whose name a packet is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// In the kernel's, which is root's: what comes in, and what the kernel makes itself
    /// (`sock_net_uid`; kernel-facts K28).
    Root,
    /// In that of a process that no question names.
    OfProcess,
}

impl<'a> Lookup<'a> {
    /// The lookup for a packet that comes in by an interface, or by `lo` from a local process.
    pub(crate) fn of(packet: &Packet, in_interface: &'a str) -> Self {
        Self {
            source: Some(packet.source),
            in_interface,
            mark: packet.mark,
            tos: packet.tos,
            protocol: packet.protocol,
            ports: packet.source_port().zip(packet.destination_port()),
            user: if in_interface == "lo" { User::OfProcess } else { User::Root },
            ..Self::to(packet.destination)
        }
    }

    /// The lookup for a packet that a local process makes, as far as the packet itself goes: that of
    /// ICMP has its type and code where others have their ports (`flowi_uli`; kernel-facts K28).
    pub(crate) fn made(packet: &Packet, in_interface: &'a str) -> Self {
        let own = Self::of(packet, in_interface);
        match packet.transport {
            Transport::Icmp { kind, code, .. } => {
                Self { ports: Some((0, u16::from_be_bytes([kind, code]))), ..own }
            }
            Transport::Ports { .. } | Transport::Opaque => own,
        }
    }

    /// The lookup for the kernel's answer to a query: IPv4 names neither type nor code, IPv6 the type
    /// alone (`icmp_reply`, `icmpv6_echo_reply`; measured).
    pub(crate) fn of_echo_answer(packet: &Packet, in_interface: &'a str) -> Self {
        let own = Self::of(packet, in_interface);
        match packet.transport {
            Transport::Icmp { kind, .. } if packet.source.is_ipv6() => {
                Self { ports: Some((0, u16::from_be_bytes([kind, 0]))), ..own }
            }
            _ => own,
        }
    }

    /// The lookup for an address alone, in the name of a local process.
    pub(crate) fn to(destination: IpAddr) -> Self {
        Self {
            source: None,
            destination,
            in_interface: "lo",
            mark: 0,
            tos: 0,
            protocol: 0,
            ports: None,
            out_interface: None,
            user: User::OfProcess,
            drawn: Drawn::default(),
        }
    }

    /// The same for what goes back by the link that a question of a link-local address came by,
    /// which is asked for then (`flowi6_oif`); `lo` for no such link.
    pub(crate) fn by_link(self, link: &'a str) -> Self {
        if link == "lo" { self } else { Self { out_interface: Some(link), ..self } }
    }

    /// The type of service as policy rules and routes see it: of IPv4 without what was the
    /// precedence (`fib_dscp_masked_match`; kernel-facts K28).
    fn service(&self) -> u8 {
        match self.family() {
            Family::Ipv4 => self.tos & 0x1c,
            Family::Ipv6 => self.tos & 0xfc,
        }
    }

    fn family(&self) -> Family {
        Family::of(self.destination)
    }

    /// The only interface that a route may lead to (`rt6_need_strict`): link-local and loopback
    /// destinations of IPv6 are sought where the packet came in, or for a local packet where its
    /// own link-local source is (kernel-facts J4, J6).
    fn link(&self, host: &'a Host) -> Option<&'a str> {
        let IpAddr::V6(to) = self.destination else { return None };
        if self.in_interface != "lo" {
            let strict = to.is_unicast_link_local() || to.is_loopback();
            return strict.then_some(self.in_interface);
        }
        if !to.is_unicast_link_local() {
            return None;
        }
        if self.out_interface.is_some() {
            return self.out_interface;
        }
        let Some(IpAddr::V6(source)) = self.source else { return None };
        if !source.is_unicast_link_local() {
            return None;
        }
        host.owner(source.into()).map(|interface| interface.name.as_str())
    }
}

/// The interfaces that a route may lead to (`flowi6_oif`, `rt6_need_strict`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<'a> {
    /// What the packet itself says: see [`Lookup::link`].
    ByPacket,
    /// One alone.
    To(&'a str),
    /// All of them, for a link-local destination too.
    Free,
}

/// A route that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'s> {
    pub(crate) table: TableId,
    pub(crate) index: u32,
    pub(crate) route: &'s Route,
}

impl<'s> Found<'s> {
    /// The next hops that can be used.
    pub(crate) fn next_hops(&self) -> impl Iterator<Item = &'s NextHop> + use<'s> {
        self.route.next_hops.iter().filter(|hop| !hop.dead)
    }
}

/// The protocol with which `rpfilter` looks the way back up: that of IPv4 names none
/// (`rpfilter_mt`; kernel-facts K28).
pub(crate) fn protocol_of_rpfilter(packet: &Packet) -> u8 {
    match packet.family() {
        Family::Ipv4 => 0,
        Family::Ipv6 => packet.protocol,
    }
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LookupResult<'s> {
    /// A route. It may be one that refuses, such as a blackhole.
    Found(Found<'s>),
    /// No rule led to a route.
    None,
    /// A policy rule refuses.
    Refused(&'s PolicyRule),
    /// A policy rule that is not modelled would decide.
    Unknown(&'s PolicyRule),
}

/// Looks up a route (`fib_rules_lookup`, `fib_table_lookup`).
pub(crate) fn lookup<'s>(host: &'s Host, key: &Lookup<'_>) -> LookupResult<'s> {
    lookup_bound(host, key, Bound::ByPacket)
}

/// Looks up a route that leads to certain interfaces.
pub(crate) fn lookup_bound<'s>(
    host: &'s Host,
    key: &Lookup<'_>,
    bound: Bound<'_>,
) -> LookupResult<'s> {
    lookup_by(host, key, bound, &mut |_, likely| likely)
}

/// Looks up a route; whether a policy rule selects a port that NAT draws, `decide` says.
pub(crate) fn lookup_by<'s>(
    host: &'s Host,
    key: &Lookup<'_>,
    bound: Bound<'_>,
    decide: &mut dyn FnMut(&PolicyRule, bool) -> bool,
) -> LookupResult<'s> {
    let rules = host.routing.rules(key.family());
    let mut at_least = 0;
    for rule in rules {
        if rule.priority < at_least {
            continue;
        }
        let selected = match selects(rule, key) {
            Selection::Yes => true,
            Selection::No => false,
            Selection::Unknown => return LookupResult::Unknown(rule),
            Selection::Chance(likely) => decide(rule, likely),
        };
        if !selected {
            continue;
        }
        match rule.action {
            RuleAction::Lookup { table, suppress_prefix_length } => {
                let Some(found) = table_lookup_bound(host, table, key, bound) else { continue };
                let suppressed = suppress_prefix_length
                    .is_some_and(|longest| found.route.destination.length() <= longest);
                if !suppressed && found.route.kind != RouteKind::Throw {
                    return LookupResult::Found(found);
                }
            }
            RuleAction::Goto(priority) => at_least = priority,
            RuleAction::Nop => {}
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                return LookupResult::Refused(rule);
            }
            RuleAction::Unsupported => return LookupResult::Unknown(rule),
        }
    }
    LookupResult::None
}

enum Selection {
    Yes,
    No,
    Unknown,
    /// It depends on a port that NAT draws; whether that is likely.
    Chance(bool),
}

/// Whether a policy rule is for this lookup (`fib_rule_match`, `fib4_rule_match`).
fn selects(rule: &PolicyRule, key: &Lookup<'_>) -> Selection {
    let (from, to) = (key.ports.map(|(source, _)| source), key.ports.map(|(_, to)| to));
    let from = within(rule.source_port, from, key.drawn.source);
    let to = within(rule.destination_port, to, key.drawn.destination);
    let excluded = matches!(from, Ternary::No) || matches!(to, Ternary::No);
    let sure = matches!((from, to), (Ternary::Yes, Ternary::Yes));
    // An unset source is 0.0.0.0, which only `from all` or a prefix of length 0 covers.
    let source = |prefix: &crate::address::Prefix| match key.source {
        Some(source) => prefix.contains(source),
        None => prefix.length() == 0,
    };
    if rule.inverted && rule.action == RuleAction::Unsupported {
        // What it asks besides is not modelled, and may well not hold.
        return Selection::Yes;
    }
    let all = rule.source.as_ref().is_none_or(source)
        && rule.destination.as_ref().is_none_or(|prefix| prefix.contains(key.destination))
        && rule.in_interface.as_deref().is_none_or(|name| name == key.in_interface)
        // No process is taken to be bound to an interface.
        && rule.out_interface.as_deref().is_none_or(|name| key.out_interface == Some(name))
        && rule.mark.is_none_or(|(value, mask)| key.mark & mask == value & mask)
        && rule.tos.is_none_or(|tos| tos == 0 || tos == key.service())
        && rule.protocol.is_none_or(|protocol| protocol == key.protocol)
        && !excluded;
    let all = match (rule.users, key.user) {
        (None | Some((0, u32::MAX)), _) => all,
        (Some((first, _)), User::Root) => all && first == 0,
        (Some(_), User::OfProcess) if all => return Selection::Unknown,
        (Some(_), User::OfProcess) => false,
    };
    match (all && !sure, all != rule.inverted) {
        (true, _) => Selection::Chance(rule.inverted),
        (false, true) => Selection::Yes,
        (false, false) => Selection::No,
    }
}

/// Whether a port is in the range that a policy rule asks for.
fn within(range: Option<(u16, u16)>, port: Option<u16>, drawn: Option<PortRange>) -> Ternary {
    match (range, port) {
        (None, _) => Ternary::Yes,
        (Some(_), None) => Ternary::No,
        (Some(range), Some(port)) => drawn::within(port, drawn, &[range]),
    }
}

/// The best route of a table: longest prefix, then lowest metric (`fib_table_lookup`).
pub(crate) fn table_lookup<'s>(
    host: &'s Host,
    table: TableId,
    key: &Lookup<'_>,
) -> Option<Found<'s>> {
    table_lookup_bound(host, table, key, Bound::ByPacket)
}

fn table_lookup_bound<'s>(
    host: &'s Host,
    table: TableId,
    key: &Lookup<'_>,
    bound: Bound<'_>,
) -> Option<Found<'s>> {
    let routes = host.routing.tables(key.family()).get(&table)?.routes();
    let link = match bound {
        Bound::ByPacket => key.link(host),
        Bound::To(interface) => Some(interface),
        Bound::Free => None,
    };
    let usable = |route: &Route| {
        route.destination.contains(key.destination)
            && link.is_none_or(|name| route.next_hops.iter().any(|hop| hop.interface == name))
            && (route.tos == 0 || route.tos == key.service())
            && (route.next_hops.is_empty() || route.next_hops.iter().any(|hop| !hop.dead))
    };
    let mut usable = (0u32..).zip(routes).filter(|(_, route)| usable(route));
    let (index, first) = usable.next()?;
    // Of equal routes IPv6 takes that by the interface asked for (`rt6_score_route`).
    let asked = |route: &Route| {
        let by = |name| route.next_hops.iter().any(|hop| hop.interface == name);
        key.out_interface.is_some_and(by)
    };
    let alike = |route: &Route| {
        route.destination == first.destination && route.metric == first.metric && asked(route)
    };
    let better = if asked(first) { None } else { usable.find(|(_, route)| alike(route)) };
    let (index, route) = better.unwrap_or((index, first));
    Some(Found { table, index, route })
}

/// Whether a family has policy rules beyond local, main and default (`fib4_has_custom_rules`).
pub(crate) fn has_custom_rules(host: &Host, family: Family) -> bool {
    host.routing.rules(family).iter().any(|rule| {
        let plain = matches!(
            rule.action,
            RuleAction::Lookup { table: 253..=255, suppress_prefix_length: None }
        );
        let unconditional = rule.source.is_none()
            && rule.destination.is_none()
            && rule.in_interface.is_none()
            && rule.out_interface.is_none()
            && rule.mark.is_none();
        !(plain && unconditional && matches!(rule.priority, 0 | 32766 | 32767))
    })
}

/// Whether somebody added a `local` route beside those that addresses bring along
/// (`fib_has_custom_local_routes`; measured: sources are then checked against the routes even
/// where rp_filter is off).
fn has_custom_local_routes(host: &Host) -> bool {
    let tables = host.routing.tables(Family::Ipv4).values();
    let local = |route: &&Route| {
        route.kind == RouteKind::Local && !route.destination.network().is_loopback()
    };
    tables.flat_map(RouteTable::routes).filter(local).any(|route| {
        route.destination.length() < 32 || !is_own_address(host, route.destination.network())
    })
}

/// How the check of a packet's source against the routes ended (`fib_validate_source`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceCheck {
    /// The source may come in here.
    Pass,
    /// The source is an own address, or none that can send (martian).
    Martian,
    /// The way back is by another interface, or there is none (rp_filter).
    ReversePath,
}

/// The settings that the source check depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceSettings {
    /// Effective rp_filter: 0 off, 1 strict, 2 loose (kernel-facts D5).
    pub(crate) rp_filter: i64,
    /// accept_local.
    pub(crate) accept_local: bool,
    /// src_valid_mark (kernel-facts D6).
    pub(crate) valid_mark: bool,
}

/// Checks whether a packet's source may come in by an interface, where the packet goes on by
/// another one, or by `lo`; IPv4 only (kernel-facts J4).
pub(crate) fn validate_source(
    host: &Host,
    packet: &Packet,
    (in_interface, onward): (&str, &str),
    settings: SourceSettings,
) -> SourceCheck {
    let plain = !has_custom_rules(host, Family::Ipv4) && !has_custom_local_routes(host);
    if settings.rp_filter == 0 && plain {
        let own = !settings.accept_local && is_own_address(host, packet.source);
        return if own { SourceCheck::Martian } else { SourceCheck::Pass };
    }
    if settings.rp_filter == 0 && settings.accept_local {
        return SourceCheck::Pass;
    }
    let key = Lookup {
        source: Some(packet.destination),
        destination: packet.source,
        in_interface: onward,
        mark: if settings.valid_mark { packet.mark } else { 0 },
        tos: packet.tos,
        protocol: packet.protocol,
        ports: packet.destination_port().zip(packet.source_port()),
        out_interface: None,
        user: User::Root,
        drawn: Drawn::default(),
    };
    let LookupResult::Found(found) = lookup(host, &key) else {
        let strict = settings.rp_filter != 0;
        return if strict { SourceCheck::ReversePath } else { SourceCheck::Pass };
    };
    match found.route.kind {
        RouteKind::Unicast => {}
        RouteKind::Local if settings.accept_local => {}
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw => {
            let strict = settings.rp_filter != 0;
            return if strict { SourceCheck::ReversePath } else { SourceCheck::Pass };
        }
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast => {
            return SourceCheck::Martian;
        }
    }
    let back = found.next_hops().any(|hop| hop.interface == in_interface);
    if back || settings.rp_filter == 0 {
        return SourceCheck::Pass;
    }
    let has_address = host
        .interface(in_interface)
        .is_some_and(|interface| interface.addresses.iter().any(|a| a.local.is_ipv4()));
    if settings.rp_filter == 1 || !has_address {
        SourceCheck::ReversePath
    } else {
        SourceCheck::Pass
    }
}

/// Whether an address is one of the host's own (`inet_lookup_ifaddr_rcu`): of any interface, up
/// or down.
pub(crate) fn is_own_address(host: &Host, address: IpAddr) -> bool {
    host.owner(address).is_some()
}

/// The ICMP or ICMPv6 error that refuses a packet for a route's sake, as type and code
/// (kernel-facts D3, J5). `None`: silence.
pub(crate) fn route_error(family: Family, kind: RouteKind) -> Option<(u8, u8)> {
    match (family, kind) {
        (Family::Ipv4, RouteKind::Unreachable) => Some((3, 1)),
        (Family::Ipv4, RouteKind::Prohibit) => Some((3, 13)),
        (Family::Ipv6, RouteKind::Unreachable) => Some((1, 0)),
        (Family::Ipv6, RouteKind::Prohibit) => Some((1, 1)),
        _ => None,
    }
}

/// The ICMP or ICMPv6 error where there is no route at all.
pub(crate) fn no_route_error(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 => (3, 0),
        Family::Ipv6 => (1, 0),
    }
}

/// The number of ICMP in a family.
pub(crate) fn icmp_protocol(family: Family) -> u8 {
    match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    }
}
