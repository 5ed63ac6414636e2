//! Which local socket gets a packet, and where docker-proxy connects to.

use std::cmp::Reverse;
use std::net::SocketAddr;

use nattrace_model::condition::{Condition, PortSide, Sense};
use nattrace_model::host::{Listener, SocketProtocol};
use nattrace_model::packet::protocol;
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Family, TableName};

use super::Encoder;
use super::state::Trip;
use crate::smt::term::{B, V};

/// Who waits for packets that are delivered; the conditions exclude one another.
pub(super) struct Receivers<'s> {
    /// The kernel itself.
    pub(super) kernel: B,
    pub(super) listeners: Vec<(B, &'s Listener)>,
    /// No part says which sockets there are.
    pub(super) unknown: B,
    pub(super) nobody: B,
}

impl<'s> Encoder<'s> {
    fn is_of(&self, number: V, wanted: SocketProtocol) -> B {
        let known = match wanted {
            SocketProtocol::Tcp => protocol::TCP,
            SocketProtocol::Udp => protocol::UDP,
            SocketProtocol::Sctp => protocol::SCTP,
        };
        self.t.is_number(number, known)
    }

    pub(super) fn receivers(&self, trip: &Trip) -> Receivers<'s> {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let number = tuple.protocol;
        let kernel = self.is_icmp(number);
        let socketed = t.any(
            [SocketProtocol::Tcp, SocketProtocol::Udp, SocketProtocol::Sctp]
                .map(|wanted| self.is_of(number, wanted)),
        );
        let Some(listeners) = &self.host.listeners else {
            let none = Vec::new();
            return Receivers { kernel, listeners: none, unknown: t.not(kernel), nobody: t.no };
        };
        let unknown = t.not(t.or(kernel, socketed));
        let own = t.and(trip.chosen, trip.chosen_address.is);
        let address = t.choice(own, trip.chosen_address.value, tuple.destination);
        let port = t.choice(trip.chosen, trip.chosen_port, tuple.to_port);
        // Of equals the last one gets it.
        let rank = |(index, listener): &(usize, &'s Listener)| {
            Reverse((listener.address.is_some(), listener.family == self.family(), *index))
        };
        let mut sorted: Vec<(usize, &Listener)> = listeners.iter().enumerate().collect();
        sorted.sort_by_key(rank);
        let mut rest = socketed;
        let mut found = Vec::new();
        for (_, listener) in sorted {
            let near = self.interface_is(trip.in_interface, |name| {
                listener.interface.as_deref().is_none_or(|own| own == name)
            });
            let waits = t.all([
                self.is_of(number, listener.protocol),
                t.is_number(port, listener.port),
                near,
                t.or(self.takes(listener, address), trip.chosen),
            ]);
            let gets = t.and(rest, waits);
            if gets != t.no {
                found.push((gets, listener));
                rest = t.minus(rest, waits);
            }
        }
        Receivers { kernel, listeners: found, unknown, nobody: rest }
    }

    fn takes(&self, listener: &Listener, address: V) -> B {
        match listener.address {
            Some(bound) => self.is_address(address, bound),
            None => self
                .t
                .is(listener.family == self.family() || (listener.dual_stack && self.is_ipv4())),
        }
    }

    /// Where docker-proxy connects to, each with its condition: the inventory says, else a DNAT
    /// rule for the same port. What is left is not known.
    pub(super) fn proxy_targets(&self, trip: &Trip) -> Vec<(B, SocketAddr)> {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let mut rest = t.yes;
        let mut targets = Vec::new();
        let mut add = |when: B, target: SocketAddr, rest: &mut B| {
            targets.push((t.and(*rest, when), target));
            *rest = t.minus(*rest, when);
        };
        for (when, target) in self.published(trip) {
            add(when, target, &mut rest);
        }
        let chains = self.system.rules.chains.iter().filter(|chain| {
            let nat = chain.table.of_iptables().is_none_or(|table| table == TableName::Nat);
            nat && chain.family == self.family()
        });
        for rule in chains.flat_map(|chain| &chain.rules) {
            let Target::Dnat(range, _) = &rule.target else { continue };
            let (Some((first, last)), Some((low, high))) = (range.addresses, range.ports) else {
                continue;
            };
            if first != last || low != high {
                continue;
            }
            let target = SocketAddr::new(first, low);
            let ports = rule.conditions.iter().filter_map(|condition| match condition {
                Condition::Port(Sense::Is, PortSide::Destination, one, other) if one == other => {
                    Some(t.is_number(tuple.to_port, *one))
                }
                _ => None,
            });
            let protocols = rule.conditions.iter().filter_map(|condition| match condition {
                Condition::Protocol(Sense::Is, number) => {
                    Some(t.is_number(tuple.protocol, *number))
                }
                _ => None,
            });
            let when = t.and(t.any(ports), t.any(protocols));
            add(when, target, &mut rest);
        }
        targets.retain(|(when, _)| *when != t.no);
        targets
    }

    /// The containers' sockets behind published ports of the host, in the inventory's order.
    fn published(&self, trip: &Trip) -> Vec<(B, SocketAddr)> {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let mut all = Vec::new();
        for container in self.host.inventory.containers.iter().filter(|c| c.running) {
            let addresses = || container.endpoints.iter().flat_map(|e| &e.addresses);
            let same = addresses().find(|(a, _)| Family::of(*a) == self.family());
            let target = same.or_else(|| addresses().next());
            let mut rest = t.yes;
            for published in &container.published {
                let here = match published.host_address {
                    None => t.yes,
                    Some(bound) if bound.is_unspecified() && Family::of(bound) == self.family() => {
                        t.yes
                    }
                    Some(bound) => self.is_address(tuple.destination, bound),
                };
                let when = t.all([
                    rest,
                    self.is_of(tuple.protocol, published.protocol),
                    t.is_number(tuple.to_port, published.host_port),
                    here,
                ]);
                rest = t.minus(rest, when);
                // A container without an address is passed over.
                if let Some((target, _)) = target {
                    all.push((when, SocketAddr::new(*target, published.container_port)));
                }
            }
        }
        all
    }

    /// Whether docker publishes the port that a packet is for.
    pub(super) fn is_published(&self, trip: &Trip) -> B {
        self.t.any(self.published(trip).into_iter().map(|(when, _)| when))
    }
}
