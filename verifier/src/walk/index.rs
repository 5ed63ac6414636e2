//! The rules of a chain by what they ask for, so that a packet meets only those that may match it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use nattrace_model::address::Prefix;
use nattrace_model::condition::{Condition, InterfacePattern, PortSide, Sense, Undecided};
use nattrace_model::packet::Transport;
use nattrace_model::ruleset::Rule;
use nattrace_model::simulate::View;

use super::filter::prefix_length;
use crate::header::bits;

/// Shorter prefixes tell too few rules apart.
const TELLING: u32 = 4;

/// The rules of a chain, each under the one thing that it asks for and fewest packets have.
#[derive(Default)]
pub(crate) struct Index {
    to: Prefixed,
    from: Prefixed,
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

    /// Adds those that may match: of a known value those under it, else all.
    fn may_match<Q>(&self, known: Option<&Q>, found: &mut Vec<u32>)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        found.extend_from_slice(match known {
            Some(key) => self.of.get(key).map_or(&[], Vec::as_slice),
            None => &self.all,
        });
    }
}

/// The rules under prefixes of an address, by how long these are.
#[derive(Default)]
struct Prefixed {
    lengths: BTreeMap<u32, HashMap<u128, Vec<u32>>>,
    all: Vec<u32>,
}

impl Prefixed {
    fn add(&mut self, prefix: &Prefix, length: u32, rule: u32) {
        let of = self.lengths.entry(length).or_default();
        of.entry(first_bits(prefix.network(), length)).or_default().push(rule);
        self.all.push(rule);
    }

    /// Adds those that may match: of a known address those under it, else all.
    fn may_match(&self, known: Option<IpAddr>, found: &mut Vec<u32>) {
        let Some(address) = known else { return found.extend_from_slice(&self.all) };
        for (length, of) in &self.lengths {
            found.extend(of.get(&first_bits(address, *length)).into_iter().flatten());
        }
    }
}

/// So many of the first bits of an address.
fn first_bits(address: IpAddr, length: u32) -> u128 {
    let width = if address.is_ipv4() { 32 } else { 128 };
    bits(address).checked_shr(width - length.min(width)).unwrap_or(0)
}

/// What is known of a packet, as rules see it; `None` where packets differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        let (mut single, mut port, mut out) = (None, None, None);
        let mut longest: Option<(u32, &Prefix, bool)> = None;
        for condition in &rule.conditions {
            match condition {
                Condition::Destination(Sense::Is, prefix)
                | Condition::Source(Sense::Is, prefix) => {
                    let to = matches!(condition, Condition::Destination(..));
                    let Some(length) = prefix_length(prefix) else { continue };
                    if prefix.is_single() {
                        if to {
                            self.to.add(prefix, length, index);
                            return;
                        }
                        single = Some((length, prefix));
                    }
                    if length >= TELLING && longest.is_none_or(|(most, ..)| length > most) {
                        longest = Some((length, prefix, to));
                    }
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
        match (out, single, port, longest) {
            (Some(name), ..) => self.out.add(name, index),
            (None, Some((length, prefix)), ..) => self.from.add(prefix, length, index),
            (None, None, Some(port), _) => self.port.add(port, index),
            (None, None, None, Some((length, prefix, true))) => self.to.add(prefix, length, index),
            (None, None, None, Some((length, prefix, false))) => {
                self.from.add(prefix, length, index);
            }
            (None, None, None, None) => self.others.push(index),
        }
    }

    /// The rules that may match, in order.
    pub(crate) fn candidates(&self, view: &View<'_>, known: &Known) -> Vec<u32> {
        let mut all = self.others.clone();
        self.to.may_match(known.destination, &mut all);
        self.from.may_match(known.source, &mut all);
        self.port.may_match(known.destination_port.as_ref(), &mut all);
        self.out.may_match(Some(view.out_interface()), &mut all);
        all.sort_unstable();
        all
    }
}

/// Whether a condition counts connections.
pub(crate) fn is_count(condition: &Condition) -> bool {
    matches!(condition, Condition::Undecided(Undecided::Count { .. }))
}
