//! The ways through the host: in from a wire, out from a local process, over a bridge.

use nattrace_model::hook::Hook;
use nattrace_model::host::route::{RouteKind, RuleAction};
use nattrace_model::host::{InterfaceKind, Part};
use nattrace_parser::syntax::Family;

use super::outside::Arrival;
use super::route::{Bound, Found, Key};
use super::state::{Maybe, Merge, OutRoute, Trip, bound, delivery, end, maker, tracking};
use super::{Decider, Encoder, Run};
use crate::smt::term::{B, Operation, V};

/// The ICMP error where there is no route.
fn no_route_error(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 => (3, 0),
        Family::Ipv6 => (1, 0),
    }
}

/// The ICMP error that refuses a packet for a route's sake (kernel-facts D3, J5).
fn route_error(family: Family, kind: RouteKind) -> Option<(u8, u8)> {
    match (family, kind) {
        (Family::Ipv4, RouteKind::Unreachable) => Some((3, 1)),
        (Family::Ipv4, RouteKind::Prohibit) => Some((3, 13)),
        (Family::Ipv6, RouteKind::Unreachable) => Some((1, 0)),
        (Family::Ipv6, RouteKind::Prohibit) => Some((1, 1)),
        _ => None,
    }
}

/// How a packet that came in goes on.
struct Onward {
    local: B,
    forward: B,
    route: OutRoute,
}

impl<'s> Encoder<'s> {
    /// A packet comes in.
    pub(super) fn arrive(&self, run: &Run, trip: &mut Trip, arrival: &Arrival) {
        let t = &self.t;
        let came = arrival.interface;
        trip.in_interface = came;
        trip.unrouted = t.yes;
        trip.delivery = self.link_delivery(trip.packet.tuple.destination, came);
        let on_bridge = self.interface_is(came, |name| self.is_bridge(name));
        let neighbour = t.and(on_bridge, arrival.neighbour);
        let filtered = {
            let matters = t.or(neighbour, t.is(self.system.rules.asks_physdev()));
            // kernel-facts K26
            let own = self.filters_itself(came);
            let asks = match self.bridge_filters_known() {
                Some(_) => on_bridge,
                None => t.minus(t.all([trip.alive, on_bridge, matters]), own),
            };
            t.or(t.and(on_bridge, own), t.and(asks, self.bridge_filters(run, asks)))
        };
        let unseen = t.minus(neighbour, filtered);
        let quiet = t.and(trip.alive, unseen);
        self.unseen_on_bridge(run, trip, quiet);
        self.check_ports(trip, arrival, quiet);
        self.stop(trip, quiet, end::BRIDGED);
        trip.physical_in = t.choice(filtered, came, self.no_interface());
        trip.noted = t.choice(filtered, self.no_interface(), came);
        self.check_header(trip, t.minus(trip.alive, filtered));
        let addressed = trip.packet.tuple.destination;
        self.hook(run, trip, Hook::Prerouting, trip.alive);
        let rewritten = t.not(t.equal(addressed, trip.packet.tuple.destination));
        let bridged = t.minus(t.and(trip.alive, neighbour), rewritten);
        let routed = t.minus(trip.alive, bridged);
        trip.unrouted = t.minus(trip.unrouted, routed);
        trip.noted = t.choice(routed, came, trip.noted);
        let to_all = t.not(t.is_number(trip.delivery, delivery::UNICAST));
        let flooded = t.minus(t.all([routed, filtered, to_all]), rewritten);
        self.receive_from_flood(run, trip, came, flooded);
        let routed = t.and(routed, trip.alive);
        self.check_header(trip, t.and(routed, filtered));
        let silent = t.all([filtered, rewritten, t.is(!self.is_ipv4())]);
        // kernel-facts K6: what the bridge has rewritten is a frame for the host.
        let frame = trip.delivery;
        let for_host = t.and(filtered, rewritten);
        trip.delivery = t.choice(for_host, t.number(2, delivery::UNICAST), frame);
        let onward = self.route_input(trip, t.and(routed, trip.alive), silent);
        // kernel-facts B24, E3: rewritten to a host on the same bridge, it stays on the bridge.
        let returns = t.all([
            trip.alive,
            onward.forward,
            on_bridge,
            rewritten,
            t.equal(onward.route.interface, came),
        ]);
        let own = t.and(returns, self.filters_itself(came));
        let asks = t.minus(returns, own);
        let returns = t.or(own, t.and(asks, self.bridge_filters(run, asks)));
        trip.delivery = t.choice(returns, frame, trip.delivery);
        trip.noted = t.choice(returns, self.no_interface(), trip.noted);
        let waits = t.and(returns, self.nobody_has(run, trip.packet.tuple.destination, came));
        self.stop(trip, waits, end::BRIDGED);
        let bridged = t.and(trip.alive, t.or(bridged, returns));
        let forward = t.minus(t.and(trip.alive, onward.forward), bridged);
        let noted = t.and(forward, silent);
        trip.noted = t.choice(noted, onward.route.interface, trip.noted);
        let local = t.and(trip.alive, onward.local);
        self.hook(run, trip, Hook::Input, local);
        self.stop(trip, local, end::DELIVERED);
        self.pass_on(run, trip, (forward, &onward.route), (bridged, arrival));
    }

    /// What is routed on to another interface, and what a bridge hands on while the hooks see it.
    fn pass_on(
        &self,
        run: &Run,
        trip: &mut Trip,
        (forward, route): (B, &OutRoute),
        (bridged, arrival): (B, &Arrival),
    ) {
        let t = &self.t;
        self.check_ports(trip, arrival, bridged);
        let bridged = t.and(bridged, trip.alive);
        let to_all = t.not(t.is_number(trip.delivery, delivery::UNICAST));
        // kernel-facts D8
        self.stop(trip, t.and(forward, to_all), end::DROPPED);
        let expired = t.at_most(trip.packet.ttl, t.number(8, 1u8));
        self.stop(trip, t.and(forward, expired), end::TTL_EXPIRED);
        self.check_scope(trip, forward, route.interface);
        let forward = t.and(forward, trip.alive);
        let one = t.number(8, 1u8);
        let ttl = t.binary(Operation::Sub, trip.packet.ttl, one);
        trip.packet.ttl = t.choice(forward, ttl, trip.packet.ttl);
        trip.route = OutRoute::merge(t, forward, route, &trip.route);
        let out = t.choice(forward, route.interface, arrival.interface);
        let both = t.or(forward, bridged);
        trip.out_interface = t.choice(both, out, trip.out_interface);
        trip.physical_out = t.choice(bridged, arrival.interface, trip.physical_out);
        trip.bridged = t.or(trip.bridged, bridged);
        self.hook(run, trip, Hook::Forward, both);
        let bridged = t.and(bridged, trip.alive);
        trip.in_interface = t.choice(bridged, self.no_interface(), trip.in_interface);
        self.hook(run, trip, Hook::Postrouting, both);
        self.stop(trip, bridged, end::BRIDGED);
        self.stop(trip, forward, end::LEFT);
    }

    /// A local process sends packets, or the kernel on its own behalf.
    pub(super) fn send(&self, run: &Run, trip: &mut Trip) {
        let t = &self.t;
        trip.local = t.yes;
        let all = trip.alive;
        self.route_output(run, trip, all);
        trip.at_first = t.minus(all, trip.alive);
        trip.packet.ttl = self.default_ttl(trip);
        trip.out_interface = trip.route.interface;
        self.hook(run, trip, Hook::Output, trip.alive);
        trip.out_interface = trip.route.interface;
        self.hook(run, trip, Hook::Postrouting, trip.alive);
        let leaves = t.minus(trip.alive, trip.route.local);
        self.stop(trip, leaves, end::LEFT);
        // kernel-facts A7: the same packet comes in again by loopback, already routed.
        let again = trip.alive;
        if again == t.no {
            return;
        }
        trip.in_interface = t.choice(again, self.loopback(), trip.in_interface);
        trip.noted = t.choice(again, self.loopback(), trip.noted);
        trip.out_interface = t.choice(again, self.no_interface(), trip.out_interface);
        let invalid = t.is_number(trip.tracking.kind, tracking::INVALID);
        let invalid = t.and(again, invalid);
        let none = self.tracking_kind(tracking::NONE);
        trip.tracking.kind = t.choice(invalid, none, trip.tracking.kind);
        trip.zone = t.choice(invalid, t.number(16, 0u8), trip.zone);
        let addressed = trip.packet.tuple.destination;
        self.hook(run, trip, Hook::Prerouting, again);
        let rewritten = t.not(t.equal(addressed, trip.packet.tuple.destination));
        let rewritten = t.and(trip.alive, rewritten);
        let mut forward = t.no;
        if rewritten != t.no {
            let onward = self.route_input(trip, rewritten, t.no);
            forward = t.and(trip.alive, onward.forward);
            let nobody = Arrival {
                interface: self.no_interface(),
                neighbour: t.no,
                container: self.no_interface(),
            };
            let local = t.minus(trip.alive, forward);
            self.pass_on(run, trip, (forward, &onward.route), (t.no, &nobody));
            self.hook(run, trip, Hook::Input, local);
        } else {
            self.hook(run, trip, Hook::Input, trip.alive);
        }
        self.stop(trip, t.minus(trip.alive, forward), end::DELIVERED);
    }

    pub(super) fn is_bridge(&self, name: &str) -> bool {
        self.host.interface(name).is_some_and(|own| own.kind == InterfaceKind::Bridge)
    }

    /// The bridges whose own frames pass the hooks of the IP layer.
    fn filters_itself(&self, bridge: V) -> B {
        self.interface_is(bridge, |name| {
            self.host.interface(name).is_some_and(|own| own.bridge_filter.of(self.family()))
        })
    }

    /// Whether bridged frames pass the hooks of the IP layer, where a part says it.
    fn bridge_filters_known(&self) -> Option<bool> {
        let name = match self.family() {
            Family::Ipv4 => "net.bridge.bridge-nf-call-iptables",
            Family::Ipv6 => "net.bridge.bridge-nf-call-ip6tables",
        };
        match self.host.sysctls.get(name) {
            Some(value) => Some(value != 0),
            None => self.host.has(Part::Sysctl).then_some(false),
        }
    }

    fn bridge_filters(&self, run: &Run, when: B) -> B {
        match self.bridge_filters_known() {
            Some(known) => self.t.is(known),
            None => self.decide_once(&run.bridge_filter, when, "bridged packets pass the rules"),
        }
    }

    fn link_delivery(&self, to: V, interface: V) -> V {
        let t = &self.t;
        let broadcast = self.is_broadcast_at(to, interface);
        let number = |number: u8| t.number(2, number);
        let other = t.choice(broadcast, number(delivery::BROADCAST), number(delivery::UNICAST));
        t.choice(self.is_multicast(to), number(delivery::MULTICAST), other)
    }

    pub(super) fn ports_of(
        &self,
        bridge: &str,
    ) -> impl Iterator<Item = &'s nattrace_model::host::BridgePort> {
        let ports = self.host.interfaces.iter().filter_map(|own| own.port.as_ref());
        ports.filter(move |port| port.bridge == bridge)
    }

    /// A flag that is the same on every port of a bridge, else a question.
    pub(super) fn port_flag(
        &self,
        bridge: V,
        when: B,
        question: &str,
        flag: impl Fn(&nattrace_model::host::BridgePort) -> Option<bool>,
    ) -> B {
        let all_are = |name: &str, wanted: bool| {
            let mut ports = self.ports_of(name).peekable();
            ports.peek().is_some() && ports.all(|port| flag(port) == Some(wanted))
        };
        let on = self.interface_is(bridge, |name| all_are(name, true));
        let off = self.interface_is(bridge, |name| all_are(name, false));
        let asked = self.t.minus(when, self.t.or(on, off));
        let decided = self.decide(asked, question, Decider::Ignorance);
        self.t.or(on, self.t.and(asked, decided))
    }

    /// Routes packets that came in (kernel-facts D1). Those that can't be routed go without an
    /// error where that is `silent`.
    fn route_input(&self, trip: &mut Trip, when: B, silent: B) -> Onward {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let group = match self.family() {
            Family::Ipv4 => {
                self.check_martians(trip, when);
                let group = t.or(
                    self.is_limited_broadcast(tuple.destination),
                    self.is_multicast(tuple.destination),
                );
                let group = t.all([when, trip.alive, group]);
                let named = t.minus(group, self.is_unspecified(tuple.source));
                self.check_source(trip, named, self.loopback());
                self.check_group_routes(trip, group);
                let joins = t.minus(
                    self.is_multicast(tuple.destination),
                    t.is_number(tuple.destination, 0xe000_0001u32),
                );
                self.check_joined(trip, t.all([group, trip.alive, joins]));
                group
            }
            Family::Ipv6 => {
                let group = t.and(when, self.is_multicast(tuple.destination));
                self.check_group_routes(trip, group);
                let joined = self.joined_by_kernel(tuple.destination, trip.in_interface);
                self.check_joined(trip, t.minus(t.and(group, trip.alive), joined));
                group
            }
        };
        let ordinary = t.minus(t.and(when, trip.alive), group);
        // What comes in by loopback seeks a link-local address there alone.
        let by_loopback = t.equal(trip.in_interface, self.loopback());
        let narrow = t.and(by_loopback, self.is_link_local6(trip.packet.tuple.destination));
        let kind = |kind: u8| t.number(2, kind);
        let held = Bound {
            kind: t.choice(narrow, kind(bound::TO), kind(bound::BY_PACKET)),
            to: t.choice(narrow, self.loopback(), self.no_interface()),
        };
        self.miss_drawn(trip, ordinary);
        let key = Key { root: t.yes, ..self.key(&trip.packet, trip.in_interface) };
        let found = self.lookup_bound(&key, held);
        self.stop(trip, t.and(ordinary, found.unknown), end::UNKNOWN);
        let (local, hops) = self.routed_input(trip, ordinary, &found, silent);
        let local = t.and(trip.alive, t.or(local, t.and(group, trip.alive)));
        let route = self.out_route(&hops);
        let forward = t.and(trip.alive, t.any(hops.iter().map(|(when, _)| *when)));
        let onward = t.choice(forward, route.interface, self.loopback());
        let of_group_route = t.any(found.of_kind(|k| k == RouteKind::Multicast).map(|(w, _)| w));
        let checked = t.minus(t.minus(t.or(local, forward), group), of_group_route);
        self.check_source(trip, checked, onward);
        Onward { local: t.and(local, trip.alive), forward: t.and(forward, trip.alive), route }
    }

    /// What the route says: the packets for this host, and the next hops of the others.
    fn routed_input(
        &self,
        trip: &mut Trip,
        when: B,
        found: &Found<'s>,
        silent: B,
    ) -> (B, Vec<(B, &'s nattrace_model::host::route::NextHop)>) {
        let t = &self.t;
        use RouteKind as Kind;
        let here = found.of_kind(|kind| {
            matches!(kind, Kind::Local | Kind::Broadcast | Kind::Anycast | Kind::Multicast)
        });
        let local = t.and(when, t.any(here.map(|(when, _)| when)));
        let refused = t.all([when, trip.alive, t.not(local)]);
        // kernel-facts D2, J5: the setting of the interface by which the packet came counts. It
        // comes before any error.
        let off = self.interface_is(trip.in_interface, |name| self.forwarding(name) == Some(false));
        let refuses = found
            .of_kind(|kind| matches!(kind, Kind::Blackhole | Kind::Unreachable | Kind::Prohibit));
        let by_route: Vec<(B, Option<(u8, u8)>)> =
            refuses.map(|(when, route)| (when, route_error(self.family(), route.kind))).collect();
        let by_rule = found.refused.iter().map(|(when, action)| {
            let error = match action {
                RuleAction::Unreachable => Some(no_route_error(self.family())),
                RuleAction::Prohibit => route_error(self.family(), Kind::Prohibit),
                _ => None,
            };
            (*when, error)
        });
        let unicast = found.of_kind(|kind| kind == Kind::Unicast);
        let onward = t.any(found.of_kind(|kind| kind == Kind::Unicast).map(|(when, _)| when));
        let nowhere = t.or(found.none, t.any(found.of_kind(|k| k == Kind::Throw).map(|(w, _)| w)));
        let nowhere = t.and(refused, nowhere);
        if !self.routes_known() {
            self.stop(trip, nowhere, end::UNKNOWN);
        }
        self.stop(trip, t.and(refused, off), end::DROPPED);
        let errors = by_route.into_iter().chain(by_rule);
        let errors: Vec<_> =
            errors.chain([(nowhere, Some(no_route_error(self.family())))]).collect();
        for (when, error) in errors {
            let when = t.and(refused, when);
            self.refuse(trip, when, error, silent);
        }
        let forward = t.all([refused, trip.alive, onward]);
        let hops = self.hops(forward, unicast);
        let led = t.any(hops.iter().map(|(when, _)| *when));
        let lost = t.minus(forward, led);
        if !self.routes_known() {
            self.stop(trip, lost, end::UNKNOWN);
        }
        self.refuse(trip, lost, Some(no_route_error(self.family())), silent);
        (local, hops)
    }

    fn refuse(&self, trip: &mut Trip, when: B, error: Option<(u8, u8)>, silent: B) {
        let t = &self.t;
        if let Some(error) = error {
            self.stop_with(trip, t.minus(when, silent), end::UNROUTABLE, error);
        }
        self.stop(trip, when, end::UNROUTABLE);
    }

    /// Where next hops lead.
    fn out_route(&self, hops: &[(B, &nattrace_model::host::route::NextHop)]) -> OutRoute {
        let mut all = self.no_route();
        for (when, hop) in hops {
            let gateway = match hop.gateway {
                Some(gateway) if Family::of(gateway) == self.family() => {
                    Maybe { is: self.t.yes, value: self.address(gateway) }
                }
                _ => self.nothing(self.width()),
            };
            let interface = self.interface(&hop.interface);
            let own = OutRoute { interface, gateway, local: self.t.no };
            all = OutRoute::merge(&self.t, *when, &own, &all);
        }
        all
    }

    /// The route of a packet that has none.
    pub(super) fn no_route(&self) -> OutRoute {
        OutRoute {
            interface: self.no_interface(),
            gateway: self.nothing(self.width()),
            local: self.t.no,
        }
    }

    /// Whether forwarding is on for packets that come in by an interface, where settings say.
    pub(super) fn forwarding(&self, interface: &str) -> Option<bool> {
        let sysctls = &self.host.sysctls;
        let family = self.family();
        let own = |name: &str| sysctls.interface(family, interface, name);
        let all = sysctls.interface(family, "all", "forwarding");
        match family {
            Family::Ipv4 => own("forwarding")
                .or_else(|| sysctls.get("net.ipv4.ip_forward"))
                .or(all)
                .map(|value| value != 0),
            Family::Ipv6 if own("force_forwarding") == Some(1) => Some(true),
            Family::Ipv6 => all.map(|value| value != 0),
        }
    }

    /// The interface in whose name a local packet is routed.
    pub(super) fn link_to(&self, run: &Run, destination: V) -> V {
        let t = &self.t;
        if !run.back.get() {
            return self.loopback();
        }
        let narrow = t.and(self.has_interface(run.link), self.is_link_local6(destination));
        t.choice(narrow, run.link, self.loopback())
    }

    /// Routes packets of local processes.
    fn route_output(&self, run: &Run, trip: &mut Trip, when: B) {
        let t = &self.t;
        let link = self.link_to(run, trip.packet.tuple.destination);
        let made = self.key_of_made(&trip.packet, self.loopback());
        // The traffic class of IPv6 comes into the packet after its route.
        let tos = if self.is_ipv4() { made.tos } else { t.number(8, 0u8) };
        let free = t.is_number(trip.bound, bound::FREE);
        let link = t.choice(free, self.loopback(), link);
        let key = self.key_by_link(Key { tos, out_interface: trip.asked_interface, ..made }, link);
        let answers = t.is_number(trip.maker, maker::ICMP_ANSWER);
        let key = self.key_of_answer(key, answers);
        self.route_output_by(key, trip, when);
    }

    /// Routes packets that are sent from here by a lookup.
    fn route_output_by(&self, key: Key, trip: &mut Trip, when: B) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        use RouteKind as Kind;
        self.miss_drawn(trip, when);
        let key = Key { root: t.not(t.is_number(trip.maker, maker::SENDER)), ..key };
        let source = Maybe { is: trip.sourced, value: key.source.value };
        let held = Bound { kind: trip.bound, to: trip.bound_to };
        let found = self.lookup_bound(&Key { source, ..key }, held);
        self.stop(trip, t.and(when, found.unknown), end::UNKNOWN);
        let local = t
            .any(found.of_kind(|kind| matches!(kind, Kind::Local | Kind::Anycast)).map(|(w, _)| w));
        let onward =
            found.of_kind(|kind| matches!(kind, Kind::Unicast | Kind::Broadcast | Kind::Multicast));
        let hops = self.hops(when, onward);
        let led = t.any(hops.iter().map(|(when, _)| *when));
        let refuses = found
            .of_kind(|kind| matches!(kind, Kind::Blackhole | Kind::Unreachable | Kind::Prohibit));
        let refused = t.any(refuses.map(|(when, _)| when));
        let refused = t.or(refused, t.any(found.refused.iter().map(|(when, _)| *when)));
        let nowhere = t.minus(when, t.any([local, led, refused]));
        if !self.routes_known() {
            self.stop(trip, nowhere, end::UNKNOWN);
        }
        self.stop(trip, t.and(when, refused), end::UNROUTABLE);
        self.stop(trip, nowhere, end::UNROUTABLE);
        let mut route = self.out_route(&hops);
        route.interface = t.choice(local, self.loopback(), route.interface);
        route.local = local;
        if self.is_ipv4() {
            // A loopback source leaves by no other interface (kernel-facts B22).
            let sysctls = &self.host.sysctls;
            let free = self.interface_is(route.interface, |name| {
                let localnet = sysctls.interface_or_all(Family::Ipv4, name, "route_localnet");
                name == "lo" || localnet == Some(true)
            });
            let held = t.minus(self.is_loopback(trip.packet.tuple.source), free);
            self.stop(trip, t.and(when, t.and(led, held)), end::UNROUTABLE);
        }
        trip.route = OutRoute::merge(t, t.and(when, trip.alive), &route, &trip.route);
    }

    /// Routes local packets again after OUTPUT changed them (`ip_route_me_harder`).
    pub(super) fn reroute(&self, run: &Run, trip: &mut Trip, when: B) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        let to = trip.packet.tuple.destination;
        let narrow = match self.family() {
            Family::Ipv4 => t.no,
            Family::Ipv6 => t.or(self.is_multicast(to), self.is_link_local6(to)),
        };
        let number = |number: u8| t.number(2, number);
        let held = t.choice(narrow, number(bound::TO), number(bound::FREE));
        trip.sourced = t.or(trip.sourced, when);
        trip.bound = t.choice(when, held, trip.bound);
        trip.bound_to = t.choice(when, trip.route.interface, trip.bound_to);
        let link = self.link_to(run, to);
        let key = self.key_by_link(self.key(&trip.packet, self.loopback()), link);
        self.route_output_by(key, trip, when);
    }
}
