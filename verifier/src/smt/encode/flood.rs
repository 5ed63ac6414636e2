//! What a bridge hands to its other ports before the host gets its own copy.

use nattrace_model::hook::Hook;
use nattrace_model::simulate::MOST_COPIES;
use nattrace_model::target::Target;

use super::state::{Connection, Merge as _, Trip, end};
use super::{Decider, Encoder, Run};
use crate::smt::term::{B, V};

impl Encoder<'_> {
    /// A frame for everybody with br_netfilter: first the copies for the other ports, then the host's
    /// own, of which the bridge confirms the connection before the IP layer sees it (kernel-facts K29).
    pub(super) fn receive_from_flood(&self, run: &Run, trip: &mut Trip, bridge: V, when: B) {
        self.flood(run, trip, bridge, when);
        self.confirm(trip, when);
    }

    /// The copies of a frame for everybody, of which nothing is left but what they did to the
    /// connection (kernel-facts K17).
    fn flood(&self, run: &Run, trip: &mut Trip, bridge: V, when: B) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        let some = |wanted: fn(&nattrace_model::host::BridgePort) -> bool| {
            self.interface_is(bridge, |name| self.ports_of(name).any(wanted))
        };
        let known = some(|_| true);
        let unknown = t.minus(when, known);
        let other = self.decide(unknown, "the bridge has another port", Decider::Ignorance);
        let apart = t.all([when, some(|port| port.isolated == Some(true))]);
        let isolated = self.port_flag(bridge, apart, "the ports are isolated", |p| p.isolated);
        let when = t.minus(when, t.and(apart, isolated));
        let back = t.all([when, some(|port| port.hairpin == Some(true))]);
        let hairpin = self.port_flag(bridge, back, "hairpin_mode is on", |port| port.hairpin);
        let back = t.and(back, hairpin);
        // Without marks to be written the second copy does nothing that the first has not done.
        let copies = if self.marks_connections() { MOST_COPIES } else { 1 };
        for number in 0..copies {
            let ports = |least: usize| {
                self.interface_is(bridge, |name| self.ports_of(name).count() > least)
            };
            let copied = t.or(ports(number + 1), t.and(back, ports(number)));
            let first = t.and(t.is(number == 0), t.and(unknown, other));
            self.copy(run, trip, bridge, t.and(when, t.or(copied, first)));
        }
    }

    fn marks_connections(&self) -> bool {
        let mut rules = self.system.rules.chains.iter().flat_map(|chain| &chain.rules);
        // What native nft does in a sequence or a map is not looked into.
        rules.any(|rule| {
            matches!(rule.target, Target::Connmark(..) | Target::Sequence(_) | Target::Map(_))
        })
    }

    fn copy(&self, run: &Run, trip: &mut Trip, bridge: V, when: B) {
        let t = &self.t;
        let when = t.and(when, trip.alive);
        if when == t.no {
            return;
        }
        let mut copy = *trip;
        copy.alive = when;
        copy.out_interface = bridge;
        copy.physical_out = bridge;
        copy.bridged = t.yes;
        self.hook(run, &mut copy, Hook::Forward, when);
        copy.in_interface = self.no_interface();
        let passed = copy.alive;
        self.hook(run, &mut copy, Hook::Postrouting, passed);
        trip.first = Connection::merge(t, when, &copy.first, &trip.first);
        trip.second = Connection::merge(t, when, &copy.second, &trip.second);
        let unknown = t.is_number(copy.end, end::UNKNOWN);
        self.stop(trip, t.and(when, unknown), end::UNKNOWN);
    }
}
