//! Route lookups: policy rules in order, and in each table the longest prefix.

use nattrace_model::host::Part;
use nattrace_model::host::route::{NextHop, PolicyRule, Route, RouteKind, RuleAction, TableId};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

use super::state::{Maybe, Packet, Trip, bound};
use super::{Decider, Encoder};
use crate::smt::term::{B, V};

/// What is looked up.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) source: Maybe,
    pub(super) destination: V,
    pub(super) in_interface: V,
    pub(super) mark: V,
    pub(super) tos: V,
    pub(super) protocol: V,
    /// Whether there are ports to be looked at.
    pub(super) ported: B,
    pub(super) from_port: V,
    pub(super) to_port: V,
    /// The interface that is asked for; none but for echo answers of IPv6.
    pub(super) out_interface: V,
    /// Whether it is in root's name: the kernel's own (kernel-facts K28).
    pub(super) root: B,
}

/// To which interfaces a route may lead.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) kind: V,
    pub(super) to: V,
}

/// How a lookup ends, each way with its condition; one of them always holds.
pub(super) struct Found<'s> {
    pub(super) routes: Vec<(B, &'s Route)>,
    pub(super) refused: Vec<(B, RuleAction)>,
    pub(super) unknown: B,
    pub(super) none: B,
}

impl<'s> Found<'s> {
    /// The routes of some kinds.
    pub(super) fn of_kind(
        &self,
        wanted: impl Fn(RouteKind) -> bool,
    ) -> impl Iterator<Item = (B, &'s Route)> {
        self.routes.iter().filter(move |(_, route)| wanted(route.kind)).copied()
    }
}

/// The next hops of a route that can be used.
pub(super) fn usable(route: &Route) -> impl Iterator<Item = &NextHop> {
    route.next_hops.iter().filter(|hop| !hop.dead)
}

impl<'s> Encoder<'s> {
    /// The lookup for a packet that comes in by an interface.
    pub(super) fn key(&self, packet: &Packet, in_interface: V) -> Key {
        let tuple = packet.tuple;
        Key {
            source: Maybe { is: self.t.yes, value: tuple.source },
            destination: tuple.destination,
            in_interface,
            mark: packet.mark,
            tos: packet.tos,
            protocol: tuple.protocol,
            ported: self.has_ports(tuple.protocol),
            from_port: tuple.from_port,
            to_port: tuple.to_port,
            out_interface: self.no_interface(),
            root: self.t.not(self.interface_named(in_interface, "lo")),
        }
    }

    /// The lookup for a packet that is made here: that of ICMP has its type and code where others
    /// have their ports (kernel-facts K28).
    pub(super) fn key_of_made(&self, packet: &Packet, in_interface: V) -> Key {
        let t = &self.t;
        let key = self.key(packet, in_interface);
        let number = if self.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let icmp = t.is_number(key.protocol, number);
        let from_port = t.choice(icmp, t.number(16, 0u8), key.from_port);
        Key { ported: t.or(key.ported, icmp), from_port, ..key }
    }

    /// The lookup for the kernel's answer to a query, of which IPv4 names neither type nor code, IPv6
    /// the type alone.
    pub(super) fn key_of_answer(&self, key: Key, answers: B) -> Key {
        let t = &self.t;
        if self.is_ipv4() {
            return Key { ported: t.minus(key.ported, answers), ..key };
        }
        let typed = t.masked(key.to_port, 0xff00u16);
        Key { to_port: t.choice(answers, typed, key.to_port), ..key }
    }

    /// The lookup for what goes back by the link that a question of a link-local address came by; the
    /// loopback for no such link.
    pub(super) fn key_by_link(&self, key: Key, link: V) -> Key {
        let none = self.t.equal(link, self.loopback());
        let out_interface = self.t.choice(none, key.out_interface, link);
        Key { out_interface, ..key }
    }

    /// Notes packets whose ports NAT draws where policy rules ask for ports.
    pub(super) fn miss_drawn(&self, trip: &Trip, when: B) {
        let rules = self.host.routing.rules(self.family());
        let from = rules.iter().any(|rule| rule.source_port.is_some());
        let to = rules.iter().any(|rule| rule.destination_port.is_some());
        let t = &self.t;
        let drawn = t.or(
            t.and(t.is(from), trip.drawn_source.is),
            t.and(t.is(to), trip.drawn_destination.is),
        );
        self.miss(t.and(when, drawn), "policy rules by a port that NAT draws");
    }

    /// The lookup for an address alone.
    pub(super) fn key_to(&self, destination: V, in_interface: V) -> Key {
        let zero = |width| self.t.number(width, 0u8);
        Key {
            source: self.nothing(self.width()),
            destination,
            in_interface,
            mark: zero(32),
            tos: zero(8),
            protocol: zero(8),
            ported: self.t.no,
            from_port: zero(16),
            to_port: zero(16),
            out_interface: self.no_interface(),
            root: self.t.not(self.interface_named(in_interface, "lo")),
        }
    }

    /// The protocol with which `rpfilter` looks the way back up: that of IPv4 names none.
    pub(super) fn protocol_of_rpfilter(&self, packet: &Packet) -> V {
        if self.is_ipv4() { self.t.number(8, 0u8) } else { packet.tuple.protocol }
    }

    /// The type of service as policy rules and routes see it.
    fn service(&self, key: &Key) -> V {
        self.t.masked(key.tos, if self.is_ipv4() { 0x1cu8 } else { 0xfcu8 })
    }

    /// Something that is not there.
    pub(super) fn nothing(&self, width: u32) -> Maybe {
        Maybe { is: self.t.no, value: self.t.number(width, 0u8) }
    }

    pub(super) fn loopback(&self) -> V {
        self.interface("lo")
    }

    /// The interfaces that the packet itself says.
    pub(super) fn by_packet(&self) -> Bound {
        Bound { kind: self.t.number(2, bound::BY_PACKET), to: self.no_interface() }
    }

    /// The only interface that a route may lead to, where there is one (`rt6_need_strict`).
    fn link(&self, key: &Key, bound: Bound) -> Maybe {
        let t = &self.t;
        let mut link = self.nothing(super::INTERFACE);
        if !self.is_ipv4() {
            let from_here = self.interface_named(key.in_interface, "lo");
            let link_local = self.is_link_local6(key.destination);
            let strict = t.or(link_local, self.is_loopback(key.destination));
            let own = self.owner(key.source.value);
            let asked = t.and(link_local, self.has_interface(key.out_interface));
            let sends = t.all([
                link_local,
                key.source.is,
                self.is_link_local6(key.source.value),
                self.has_interface(own),
            ]);
            let own = t.choice(asked, key.out_interface, own);
            link.is = t.either(from_here, t.or(asked, sends), strict);
            link.value = t.choice(from_here, own, key.in_interface);
        }
        let to = t.is_number(bound.kind, bound::TO);
        let by_packet = t.is_number(bound.kind, bound::BY_PACKET);
        Maybe { is: t.or(to, t.and(by_packet, link.is)), value: t.choice(to, bound.to, link.value) }
    }

    pub(super) fn lookup(&self, key: &Key) -> Found<'s> {
        self.lookup_bound(key, self.by_packet())
    }

    /// `fib_rules_lookup`: the first rule that selects the packet and leads to a route.
    pub(super) fn lookup_bound(&self, key: &Key, bound: Bound) -> Found<'s> {
        let t = &self.t;
        let link = self.link(key, bound);
        let mut found =
            Found { routes: Vec::new(), refused: Vec::new(), unknown: t.no, none: t.no };
        let mut live = t.yes;
        let mut skips: Vec<(B, u32)> = Vec::new();
        for rule in self.host.routing.rules(self.family()) {
            let skipped = skips.iter().filter(|(_, to)| rule.priority < *to);
            let skipped = t.any(skipped.map(|(when, _)| *when));
            let here = t.minus(live, skipped);
            let (selected, unknown) = self.selects(rule, key);
            found.unknown = t.or(found.unknown, t.and(here, unknown));
            live = t.minus(live, t.and(here, unknown));
            let taken = t.minus(t.and(here, selected), unknown);
            if taken == t.no {
                continue;
            }
            match rule.action {
                RuleAction::Lookup { table, suppress_prefix_length } => {
                    for (when, route) in self.table(table, key, link) {
                        let suppressed = suppress_prefix_length
                            .is_some_and(|longest| route.destination.length() <= longest);
                        if suppressed || route.kind == RouteKind::Throw {
                            continue;
                        }
                        let hit = t.and(taken, when);
                        found.routes.push((hit, route));
                        live = t.minus(live, hit);
                    }
                }
                RuleAction::Goto(priority) => skips.push((taken, priority)),
                RuleAction::Nop => {}
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                    found.refused.push((taken, rule.action));
                    live = t.minus(live, taken);
                }
                RuleAction::Unsupported => {
                    found.unknown = t.or(found.unknown, taken);
                    live = t.minus(live, taken);
                }
            }
        }
        found.routes.retain(|(when, _)| *when != t.no);
        found.none = live;
        found
    }

    /// Whether a policy rule is for this lookup, and whether nobody knows.
    fn selects(&self, rule: &PolicyRule, key: &Key) -> (B, B) {
        let t = &self.t;
        if rule.inverted && rule.action == RuleAction::Unsupported {
            return (t.yes, t.no);
        }
        let source = rule.source.as_ref().map_or(t.yes, |prefix| {
            let unset = t.is(prefix.length() == 0);
            t.either(key.source.is, self.contains(prefix, key.source.value), unset)
        });
        let destination = rule
            .destination
            .as_ref()
            .map_or(t.yes, |prefix| self.contains(prefix, key.destination));
        let came = rule
            .in_interface
            .as_deref()
            .map_or(t.yes, |name| self.interface_named(key.in_interface, name));
        // No process is taken to be bound to an interface.
        let goes = rule
            .out_interface
            .as_deref()
            .map_or(t.yes, |name| self.interface_named(key.out_interface, name));
        let mark = rule
            .mark
            .map_or(t.yes, |(value, mask)| t.is_number(t.masked(key.mark, mask), value & mask));
        let tos = match rule.tos {
            None | Some(0) => t.yes,
            Some(tos) => t.is_number(self.service(key), tos),
        };
        let protocol = rule.protocol.map_or(t.yes, |number| t.is_number(key.protocol, number));
        let port = |range: Option<(u16, u16)>, port: V| match range {
            None => t.yes,
            Some((first, last)) => t.and(key.ported, t.within(port, first, last)),
        };
        let from = port(rule.source_port, key.from_port);
        let to = port(rule.destination_port, key.to_port);
        let all = t.all([source, destination, came, goes, mark, tos, protocol, from, to]);
        let (all, unknown) = match rule.users {
            None | Some((0, u32::MAX)) => (all, t.no),
            Some((first, _)) => {
                let of_root = if first == 0 { t.and(all, key.root) } else { t.no };
                (of_root, t.minus(all, key.root))
            }
        };
        (if rule.inverted { t.not(all) } else { all }, unknown)
    }

    /// The routes of a table that the lookup may find, each with its condition.
    fn table(&self, table: TableId, key: &Key, link: Maybe) -> Vec<(B, &'s Route)> {
        let t = &self.t;
        let Some(table) = self.host.routing.tables(self.family()).get(&table) else {
            return Vec::new();
        };
        let mut rest = t.yes;
        let mut found = Vec::new();
        for route in table.routes() {
            if !route.next_hops.is_empty() && usable(route).next().is_none() {
                continue;
            }
            let leads = self.interface_is(link.value, |name| {
                route.next_hops.iter().any(|hop| hop.interface == name)
            });
            let tos = match route.tos {
                0 => t.yes,
                tos => t.is_number(self.service(key), tos),
            };
            let inside = self.contains(&route.destination, key.destination);
            let usable = t.all([inside, t.implies(link.is, leads), tos]);
            let hit = t.and(rest, usable);
            if hit != t.no {
                found.push((hit, route));
                rest = t.minus(rest, usable);
            }
        }
        found
    }

    /// A next hop for each route: of several, nobody knows which (a hash over the flow decides).
    /// What is left has none.
    pub(super) fn hops(
        &self,
        when: B,
        routes: impl Iterator<Item = (B, &'s Route)>,
    ) -> Vec<(B, &'s NextHop)> {
        let t = &self.t;
        let mut hops = Vec::new();
        for (hit, route) in routes {
            let mut rest = t.and(when, hit);
            let usable: Vec<&NextHop> = usable(route).collect();
            let Some((last, others)) = usable.split_last() else { continue };
            for hop in others {
                let asked = format!("the route leads by {}", hop.interface);
                let chosen = self.decide(rest, &asked, Decider::Ignorance);
                hops.push((t.and(rest, chosen), *hop));
                rest = t.minus(rest, chosen);
            }
            hops.push((rest, *last));
        }
        hops
    }

    /// Whether the routes of the family are known well enough to say that there is none.
    pub(super) fn routes_known(&self) -> bool {
        self.host.has(Part::routes(self.family()))
    }

    /// Whether there are policy rules beyond those of every host.
    fn has_custom_rules(&self) -> bool {
        self.host.routing.rules(self.family()).iter().any(|rule| {
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

    /// Whether somebody added a local route of IPv4 beside those of addresses.
    fn has_custom_local_routes(&self) -> bool {
        let tables = self.host.routing.tables4.values();
        tables.flat_map(|table| table.routes()).any(|route| {
            let network = route.destination.network();
            let of_address = route.destination.length() == 32 && self.host.owner(network).is_some();
            route.kind == RouteKind::Local && !of_address && !network.is_loopback()
        })
    }

    /// The packets that the check of the source stops when they go on by an interface: those whose
    /// source can't be, and those whose way back is another one (`fib_validate_source`,
    /// kernel-facts D5 to D7).
    pub(super) fn invalid_source(&self, packet: &Packet, came: V, onward: V) -> (B, B) {
        let t = &self.t;
        let known = self.host.has(Part::Addresses) || self.host.has(Part::Routes4);
        if !self.is_ipv4() || !known {
            return (t.no, t.no);
        }
        let sysctls = &self.host.sysctls;
        let max = |name: &str| sysctls.interface_max(Family::Ipv4, name, "rp_filter");
        let flag = |setting: &'static str| {
            self.interface_is(came, |name| {
                sysctls.interface_or_all(Family::Ipv4, name, setting) == Some(true)
            })
        };
        let off = self.setting_is(came, max, |value| value.unwrap_or(0) == 0);
        let strict = self.setting_is(came, max, |value| value == Some(1));
        let (accept_local, valid_mark) = (flag("accept_local"), flag("src_valid_mark"));
        let own = self.is_own(packet.tuple.source);
        if !self.has_custom_rules() && !self.has_custom_local_routes() && off == t.yes {
            return (t.minus(own, accept_local), t.no);
        }
        let plain = t.is(!self.has_custom_rules() && !self.has_custom_local_routes());
        let by_address = t.and(off, plain);
        let asks = t.not(t.or(by_address, t.and(off, accept_local)));
        let tuple = packet.tuple;
        let key = Key {
            source: Maybe { is: t.yes, value: tuple.destination },
            destination: tuple.source,
            in_interface: onward,
            mark: t.choice(valid_mark, packet.mark, t.number(32, 0u8)),
            from_port: tuple.to_port,
            to_port: tuple.from_port,
            root: t.yes,
            ..self.key(packet, onward)
        };
        let found = self.lookup(&key);
        let refuses = found.of_kind(|kind| {
            use RouteKind as Kind;
            matches!(kind, Kind::Blackhole | Kind::Unreachable | Kind::Prohibit | Kind::Throw)
        });
        let lost =
            t.any(refuses.chain(std::iter::empty()).map(|(when, _)| when).chain(
                found.refused.iter().map(|(when, _)| *when).chain([found.unknown, found.none]),
            ));
        let martian = t.any(found.of_kind(|_| true).map(|(when, route)| match route.kind {
            RouteKind::Local => t.minus(when, accept_local),
            RouteKind::Broadcast | RouteKind::Anycast | RouteKind::Multicast => when,
            _ => t.no,
        }));
        let back = t.any(found.of_kind(|_| true).map(|(when, route)| {
            let leads = self.interface_is(came, |name| usable(route).any(|h| h.interface == name));
            t.and(when, leads)
        }));
        let has_address = self.interface_is(came, |name| {
            let own = self.host.interface(name);
            own.is_some_and(|own| own.addresses.iter().any(|a| a.local.is_ipv4()))
        });
        let on = t.not(off);
        let away =
            t.all([t.not(lost), t.not(martian), t.not(back), on, t.or(strict, t.not(has_address))]);
        let reverse = t.or(t.and(lost, on), away);
        let impossible = t.and(by_address, t.minus(own, accept_local));
        (t.or(impossible, t.and(asks, martian)), t.and(asks, reverse))
    }
}
