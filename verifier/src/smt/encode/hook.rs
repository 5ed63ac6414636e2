//! A hook: its base chains in the kernel's order, and what nobody shows of it.

use std::collections::BTreeSet;

use nattrace_model::hook::{self, Hook};
use nattrace_model::host::{ForeignLayer, InterfaceKind, Part};
use nattrace_model::ruleset::{Base, ChainId, ChainKind};
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};

use super::state::{Merge, Packet, Trip, end};
use super::{Decider, Encoder, Run};
use crate::smt::term::B;

impl Encoder<'_> {
    /// Some packets pass a hook.
    pub(super) fn hook(&self, run: &Run, trip: &mut Trip, hook: Hook, when: B) {
        let when = self.t.and(when, trip.alive);
        if when == self.t.no {
            return;
        }
        self.unseen(run, trip, hook, when);
        let chains = self.system.rules.base_chains(self.family(), hook);
        match self.orders(chains) {
            None => self.chains(run, trip, (hook, chains), when),
            Some([nft_first, legacy_first]) => {
                let asked = "iptables-legacy runs before iptables-nft";
                let legacy = self.decide_once(&run.legacy_first, when, asked);
                let mut other = *trip;
                self.chains(run, trip, (hook, &legacy_first), self.t.and(when, legacy));
                self.chains(run, &mut other, (hook, &nft_first), self.t.minus(when, legacy));
                *trip = Trip::merge(&self.t, legacy, trip, &other);
            }
        }
    }

    fn chains(&self, run: &Run, trip: &mut Trip, (hook, chains): (Hook, &[ChainId]), when: B) {
        let t = &self.t;
        let is_first = matches!(hook, Hook::Prerouting | Hook::Output);
        let mut track = t.and(when, t.is(is_first));
        let mut nat = t.and(when, t.is(hook != Hook::Forward));
        let nat_priority = hook::priority(Backend::Nft, TableName::Nat, hook);
        for id in chains {
            let Some(base) = self.system.rules.chain(*id).and_then(|chain| chain.base) else {
                continue;
            };
            if base.kind == ChainKind::Nat {
                continue;
            }
            let asked = t.and(track, trip.alive);
            let now = self.is_behind(*id, base, hook::CONNTRACK_PRIORITY, asked);
            self.track(run, trip, t.and(track, now));
            track = t.minus(track, now);
            let asked = t.and(nat, trip.alive);
            let now = self.is_behind(*id, base, nat_priority, asked);
            self.nat(run, trip, (hook, chains), t.and(nat, now));
            nat = t.minus(nat, now);
            let before = trip.packet;
            self.base_chain(run, trip, hook, (*id, when));
            if hook == Hook::Output && base.kind == ChainKind::Route {
                let changed = t.all([when, trip.alive, self.is_changed(&before, &trip.packet)]);
                self.reroute(run, trip, changed);
            }
        }
        self.track(run, trip, track);
        self.nat(run, trip, (hook, chains), nat);
        if matches!(hook, Hook::Postrouting | Hook::Input) {
            self.confirm(trip, when);
        }
    }

    /// Whether something changed that the route depends on (kernel-facts D11).
    fn is_changed(&self, before: &Packet, after: &Packet) -> B {
        let t = &self.t;
        let mut same = vec![
            t.equal(before.mark, after.mark),
            t.equal(before.tos, after.tos),
            t.equal(before.tuple.source, after.tuple.source),
            t.equal(before.tuple.destination, after.tuple.destination),
        ];
        if !self.is_ipv4() {
            same.push(t.equal(before.ttl, after.ttl));
        }
        t.not(t.all(same))
    }

    /// Whether a chain comes behind what the kernel itself does at a priority; among equals nobody
    /// knows.
    fn is_behind(&self, id: ChainId, base: Base, priority: i32, asked: B) -> B {
        if base.priority != priority {
            return self.t.is(base.priority > priority);
        }
        let Some(chain) = self.system.rules.chain(id) else { return self.t.yes };
        if chain.rules.is_empty() && base.policy == Policy::Accept {
            return self.t.yes;
        }
        let question = format!("the kernel comes before {}/{}", chain.table, chain.name);
        self.decide(asked, &question, Decider::Ignorance)
    }

    /// The chains in the two orders that are possible where both backends have rules at one
    /// priority: nft first, and legacy first (kernel-facts A13).
    fn orders(&self, chains: &[ChainId]) -> Option<[Vec<ChainId>; 2]> {
        let rules = &self.system.rules;
        let backend = |id: &ChainId| rules.chain(*id).map(|chain| chain.backend);
        let first = chains.first().and_then(backend)?;
        if chains.iter().all(|id| backend(id) == Some(first)) {
            return None;
        }
        let priority =
            |id: &ChainId| rules.chain(*id).and_then(|c| c.base).map_or(0, |base| base.priority);
        let has_rules = |id: &ChainId| rules.chain(*id).is_some_and(|c| !c.rules.is_empty());
        let ties = chains.windows(2).any(|pair| match pair {
            [a, b] => priority(a) == priority(b) && has_rules(a) && has_rules(b),
            _ => false,
        });
        let ordered = |early: Backend| {
            let mut order = chains.to_vec();
            order.sort_by_key(|id| (priority(id), backend(id) != Some(early)));
            order
        };
        ties.then(|| [ordered(Backend::Nft), ordered(Backend::Legacy)])
    }

    /// Rules that no part holds, and chains that are not modelled, may do anything.
    fn unseen(&self, run: &Run, trip: &mut Trip, hook: Hook, when: B) {
        let (nft, legacy) = match self.family() {
            Family::Ipv4 => (Part::Rules4, Part::LegacyRules4),
            Family::Ipv6 => (Part::Rules6, Part::LegacyRules6),
        };
        let host = self.host;
        if !host.has(nft) && !host.has(legacy) && !host.has(Part::Nft) {
            return self.doubt(run, trip, when, "rules that no part shows leave the packet alone");
        }
        let t = &self.t;
        let interface =
            if hook == Hook::Postrouting { trip.out_interface } else { trip.in_interface };
        let is_bridge =
            |name: &str| host.interface(name).is_some_and(|own| own.kind == InterfaceKind::Bridge);
        let mut sees = t.no;
        for chain in &host.foreign_chains {
            if chain.hook != hook || chain.family.is_some_and(|own| own != self.family()) {
                continue;
            }
            let concerned = match chain.layer {
                ForeignLayer::Device => self.interface_is(interface, |name| {
                    chain.devices.is_empty()
                        || is_bridge(name)
                        || chain.devices.iter().any(|device| device == name)
                }),
                ForeignLayer::Bridge if hook == Hook::Forward => trip.bridged,
                ForeignLayer::Bridge => self.interface_is(interface, is_bridge),
            };
            sees = t.or(sees, t.and(concerned, self.has_interface(interface)));
        }
        self.doubt(run, trip, t.and(when, sees), "nftables leaves the packet alone");
    }

    /// The same for a frame that a bridge hands on without asking the hooks.
    pub(super) fn unseen_on_bridge(&self, run: &Run, trip: &mut Trip, when: B) {
        let tables: BTreeSet<&str> =
            self.host.foreign_chains.iter().map(|chain| &*chain.table).collect();
        if !tables.is_empty() {
            self.doubt(run, trip, when, "nftables leaves the packet alone");
        }
    }

    fn doubt(&self, run: &Run, trip: &mut Trip, when: B, asked: &str) {
        if when == self.t.no {
            return;
        }
        let quiet = self.decide_once(&run.quiet, when, asked);
        self.stop(trip, self.t.minus(when, quiet), end::UNKNOWN);
    }
}
