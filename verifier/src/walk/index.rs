//! The rules of a chain by what they ask for, so that a packet meets only those that may match it.

use std::collections::HashMap;
use std::net::IpAddr;

use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense, Undecided};
use nattrace_model::packet::Transport;
use nattrace_model::ruleset::Rule;
use nattrace_model::simulate::View;

/// The rules of a chain, each under the one thing that it asks for and fewest packets have.
#[derive(Default)]
pub(crate) struct Index {
    to: Keyed<IpAddr>,
    from: Keyed<IpAddr>,
    port: Keyed<u16>,
    out: Keyed<Box<str>>,
    /// Those that ask for nothing of the kind.
    others: Vec<u32>,
}

/// The rules under the values of one thing.
struct Keyed<K> {
    of: HashMap<K, Vec<u32>>,
    all: Vec<u32>,
}

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), all: Vec::new() }
    }
}

impl<K: Eq + std::hash::Hash> Keyed<K> {
    fn add(&mut self, key: K, rule: u32) {
        self.of.entry(key).or_default().push(rule);
        self.all.push(rule);
    }

    /// Those that may match: of a known value those under it, else all.
    fn may_match<Q>(&self, known: Option<&Q>) -> &[u32]
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        match known {
            Some(key) => self.of.get(key).map_or(&[], Vec::as_slice),
            None => &self.all,
        }
    }
}

/// What is known of a packet, as rules see it; `None` where packets differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    pub(crate) destination_port: Option<u16>,
}

impl Known {
    /// Everything, of one packet.
    pub(crate) fn all(view: &View<'_>) -> Self {
        let packet = view.packet();
        let port = match packet.transport {
            // Of a port that was drawn rules ask the range.
            Transport::Ports { destination, .. } if !view.is_drawn(PortSide::Destination) => {
                Some(destination)
            }
            _ => None,
        };
        Self {
            source: Some(packet.source),
            destination: Some(packet.destination),
            destination_port: port,
        }
    }
}

impl Index {
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut all = Self::default();
        for (index, rule) in (0u32..).zip(rules) {
            all.add(rule, index);
        }
        all
    }

    fn add(&mut self, rule: &Rule, index: u32) {
        if rule.conditions.iter().any(is_count) {
            // It may drop what it does not match.
            self.others.push(index);
            return;
        }
        let (mut from, mut port, mut out) = (None, None, None);
        for condition in &rule.conditions {
            match condition {
                Condition::Destination(Sense::Is, prefix) if prefix.is_single() => {
                    self.to.add(prefix.network(), index);
                    return;
                }
                Condition::Source(Sense::Is, prefix) if prefix.is_single() => {
                    from = Some(prefix.network());
                }
                Condition::Port(Sense::Is, PortSide::Destination, first, last) if first == last => {
                    port = Some(*first);
                }
                Condition::OutInterface(Sense::Is, InterfacePattern::Name(name)) => {
                    out = Some(name.clone());
                }
                _ => {}
            }
        }
        match (out, from, port) {
            (Some(name), ..) => self.out.add(name, index),
            (None, Some(address), _) => self.from.add(address, index),
            (None, None, Some(port)) => self.port.add(port, index),
            (None, None, None) => self.others.push(index),
        }
    }

    /// The rules that may match, in order.
    pub(crate) fn candidates(&self, view: &View<'_>, known: &Known) -> Vec<u32> {
        let mut all = [
            self.to.may_match(known.destination.as_ref()),
            self.from.may_match(known.source.as_ref()),
            self.port.may_match(known.destination_port.as_ref()),
            self.out.may_match(Some(view.out_interface())),
            &self.others,
        ]
        .concat();
        all.sort_unstable();
        all
    }
}

/// Whether a condition counts connections.
pub(crate) fn is_count(condition: &Condition) -> bool {
    matches!(condition, Condition::Undecided(Undecided::Count { .. }))
}
