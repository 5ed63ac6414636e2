//! What the kernel checks of a packet on its way, and drops it for.

use nattrace_parser::syntax::Family;

use super::outside::Arrival;
use super::state::{Trip, end};
use super::{Decider, Encoder};
use crate::smt::term::{B, V};

impl<'s> Encoder<'s> {
    /// Packets of IPv6 that are dropped before any hook (kernel-facts J4).
    pub(super) fn check_header(&self, trip: &mut Trip, when: B) {
        if self.is_ipv4() {
            return;
        }
        let tuple = trip.packet.tuple;
        let off = self.refuses_ipv6(trip.in_interface);
        let impossible = self.t.any([
            off,
            self.is_loopback(tuple.source),
            self.is_loopback(tuple.destination),
            self.is_multicast(tuple.source),
            self.is_narrow_group6(tuple.destination),
        ]);
        self.stop(trip, self.t.and(when, impossible), end::MARTIAN);
    }

    /// What a bridge does not send back by the port it came from, nor between isolated ports
    /// (kernel-facts B24, E7).
    pub(super) fn check_ports(&self, trip: &mut Trip, arrival: &Arrival, when: B) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        let tuple = trip.packet.tuple;
        let receiver = self.container_of(tuple.destination);
        let known = t.and(self.has_interface(receiver), self.has_interface(arrival.container));
        let same_container = t.equal(receiver, arrival.container);
        let same_address = t.equal(tuple.destination, tuple.source);
        let same_port = t.and(when, t.either(known, same_container, same_address));
        let came = arrival.interface;
        let hairpin = self.port_flag(came, same_port, "hairpin_mode is on", |port| port.hairpin);
        self.stop(trip, t.minus(same_port, hairpin), end::DROPPED);
        let maybe_isolated = self
            .interface_is(came, |name| self.ports_of(name).any(|port| port.isolated == Some(true)));
        let asked = t.all([when, trip.alive, maybe_isolated]);
        let isolated = self.port_flag(came, asked, "the ports are isolated", |port| port.isolated);
        self.stop(trip, t.and(asked, isolated), end::DROPPED);
    }

    /// Neither a link-local source nor the unspecified one is forwarded to another link.
    pub(super) fn check_scope(&self, trip: &mut Trip, when: B, out: V) {
        if self.is_ipv4() {
            return;
        }
        let t = &self.t;
        let elsewhere = t.minus(when, t.equal(out, trip.in_interface));
        let source = trip.packet.tuple.source;
        self.stop(trip, t.and(elsewhere, self.is_unspecified(source)), end::MARTIAN);
        let link_local = t.and(elsewhere, self.is_link_local6(source));
        self.stop_with(trip, link_local, end::UNROUTABLE, (1, 2));
    }

    /// Sources and destinations that can't be (kernel-facts B20, D7).
    pub(super) fn check_martians(&self, trip: &mut Trip, when: B) {
        let t = &self.t;
        let (from, to) = (trip.packet.tuple.source, trip.packet.tuple.destination);
        let sysctls = &self.host.sysctls;
        let localnet = self.interface_is(trip.in_interface, |name| {
            sysctls.interface_or_all(Family::Ipv4, name, "route_localnet") == Some(true)
        });
        let limited = self.is_limited_broadcast(to);
        let group = t.or(limited, self.is_local_group(to));
        let impossible = t.any([
            self.is_multicast(from),
            self.is_limited_broadcast(from),
            t.minus(self.is_unspecified(from), group),
            self.is_unspecified(to),
            t.minus(self.is_loopback(to), localnet),
            t.minus(self.is_loopback(from), t.or(limited, localnet)),
        ]);
        self.stop(trip, t.and(when, impossible), end::MARTIAN);
    }

    pub(super) fn check_source(&self, trip: &mut Trip, when: B, onward: V) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        let (martian, reverse) = self.invalid_source(&trip.packet, trip.in_interface, onward);
        self.stop(trip, t.and(when, martian), end::MARTIAN);
        self.stop(trip, t.and(when, reverse), end::DROPPED);
    }

    /// The groups that the kernel itself joins (kernel-facts J4).
    pub(super) fn joined_by_kernel(&self, group: V, came: V) -> B {
        let t = &self.t;
        let is = |value: u128| t.is_number(group, value);
        let scoped = |scope: u128, last: u128| is((0xff00 | scope) << 112 | last);
        let nodes = t.or(scoped(1, 1), scoped(2, 1));
        let routers = t.any([scoped(1, 2), scoped(2, 2), scoped(5, 2)]);
        let forwards = self.interface_is(came, |name| self.forwarding(name) == Some(true));
        let solicited = t.any(self.host.interfaces.iter().flat_map(|own| {
            let here = self.interface_named(came, &own.name);
            own.addresses.iter().filter_map(move |address| match address.local {
                std::net::IpAddr::V6(local) => {
                    Some(self.t.and(here, self.is_solicited(group, local)))
                }
                std::net::IpAddr::V4(_) => None,
            })
        }));
        let plain = t.not(t.or(nodes, routers));
        t.any([nodes, t.and(routers, forwards), t.and(plain, solicited)])
    }

    /// Whether a process has joined a group, no part tells.
    pub(super) fn check_joined(&self, trip: &mut Trip, when: B) {
        let joined = self.decide(when, "a process has joined the group", Decider::Ignorance);
        self.stop(trip, self.t.minus(when, joined), end::DROPPED);
    }
}
