//! Membership in ipsets (ipset(8), kernel-facts G18).

use nattrace_model::condition::{InterfacePattern, SetCondition};
use nattrace_model::host::set::{Dimension, Element, Entry, IpSet};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::SetDirection;

use super::Encoder;
use super::condition::{Truth, mac_number};
use super::state::Trip;

impl Encoder<'_> {
    pub(super) fn in_ipset(&self, trip: &Trip, asked: &SetCondition) -> Truth {
        if asked.asks_counters {
            return self.unsure();
        }
        self.in_one_set(trip, &asked.name, asked)
    }

    /// The test of one set; a list is true where one of its members is.
    fn in_one_set(&self, trip: &Trip, name: &str, asked: &SetCondition) -> Truth {
        let t = &self.t;
        match self.host.sets.get(name) {
            None => self.unsure(),
            Some(IpSet::List(members)) => {
                let (mut yes, mut may) = (t.no, t.no);
                for member in members {
                    if matches!(self.host.sets.get(member), Some(IpSet::List(_))) {
                        continue;
                    }
                    let truth = self.in_one_set(trip, member, asked);
                    yes = t.or(yes, truth.yes);
                    may = t.or(may, truth.may);
                }
                Truth { yes, may: t.minus(may, yes) }
            }
            Some(IpSet::Entries { kind, dimensions, ipv6, mark_mask, entries }) => {
                if dimensions.is_empty() {
                    return self.unsure();
                }
                let mut addressed = dimensions.iter();
                let has_address = addressed.any(|d| matches!(d, Dimension::Ip | Dimension::Net));
                let other_family = *ipv6 == self.is_ipv4();
                let few = asked.directions.len() < dimensions.len();
                if few || (has_address && other_family) {
                    return self.sure(t.no);
                }
                let set = Set { kind, mark_mask: *mark_mask, directions: &asked.directions };
                let inverted = asked.return_nomatch && knows_exceptions(kind);
                self.among(trip, &set, entries, inverted)
            }
        }
    }

    /// Whether the most specific entry is the kind of entry that counts.
    fn among(&self, trip: &Trip, set: &Set<'_>, entries: &[Entry], inverted: bool) -> Truth {
        let t = &self.t;
        let mut sorted: Vec<&Entry> = entries.iter().collect();
        // The sort is stable: of equals the first one is taken.
        sorted.sort_by_key(|entry| std::cmp::Reverse(specificity(entry)));
        let (mut yes, mut may, mut rest) = (t.no, t.no, t.yes);
        for entry in sorted {
            let covers = self.covers(trip, set, entry);
            may = t.or(may, covers.may);
            if entry.nomatch == inverted {
                yes = t.or(yes, t.and(rest, covers.yes));
            }
            rest = t.minus(rest, covers.yes);
        }
        Truth { yes: t.minus(yes, may), may }
    }

    fn covers(&self, trip: &Trip, set: &Set<'_>, entry: &Entry) -> Truth {
        let t = &self.t;
        let (mut yes, mut possible) = (t.yes, t.yes);
        for (element, direction) in entry.elements.iter().zip(set.directions) {
            let truth = self.covers_element(trip, set, element, *direction);
            yes = t.and(yes, truth.yes);
            possible = t.and(possible, t.or(truth.yes, truth.may));
        }
        Truth { yes, may: t.minus(possible, yes) }
    }

    fn covers_element(
        &self,
        trip: &Trip,
        set: &Set<'_>,
        element: &Element,
        direction: SetDirection,
    ) -> Truth {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let from = direction == SetDirection::Source;
        let address = if from { tuple.source } else { tuple.destination };
        match element {
            Element::Prefix(prefix) => self.sure(self.contains(prefix, address)),
            Element::Range(first, last) => self.sure(self.in_range(address, (*first, *last))),
            Element::Port { protocol: number, first, last } => {
                let fits = if set.kind == "bitmap:port" {
                    let known = [protocol::TCP, protocol::UDP];
                    t.any(known.map(|number| self.is_protocol(trip, number)))
                } else {
                    self.is_protocol(trip, *number)
                };
                let ranges = [(*first, *last)];
                let (port, drawn) = match direction {
                    SetDirection::Source => (tuple.from_port, trip.drawn_source),
                    SetDirection::Destination => (tuple.to_port, trip.drawn_destination),
                };
                let by_port = self.in_ranges(port, drawn, &ranges);
                // Of ICMP both directions mean type and code.
                let by_type = self.in_ranges(tuple.to_port, self.not_drawn(), &ranges);
                let icmp = self.is_icmp(tuple.protocol);
                let ported = self.has_ports(tuple.protocol);
                let yes = t.either(icmp, by_type.yes, by_port.yes);
                let may = t.all([fits, ported, by_port.may]);
                Truth { yes: t.and(fits, yes), may }
            }
            Element::Interface { name, physical } => {
                let (logical, port) = match direction {
                    SetDirection::Source => (trip.in_interface, trip.physical_in),
                    SetDirection::Destination => (trip.out_interface, trip.physical_out),
                };
                if *physical {
                    return Truth { yes: t.no, may: self.has_interface(port) };
                }
                self.sure(self.pattern(logical, &InterfacePattern::parse(name)))
            }
            Element::Mac(mac) if from => {
                let own = t.is_number(trip.mac.value, mac_number(*mac));
                Truth { yes: t.and(trip.mac.is, own), may: t.not(trip.mac.is) }
            }
            Element::Mac(_) => self.unsure(),
            Element::Mark(mark) => {
                let own = t.masked(trip.packet.mark, set.mark_mask);
                self.sure(t.is_number(own, *mark))
            }
        }
    }
}

/// What is asked of a set's entries.
struct Set<'a> {
    kind: &'a str,
    mark_mask: u32,
    directions: &'a [SetDirection],
}

/// Whether entries of a type may be exceptions (`IPSET_TYPE_NOMATCH`): the types with networks.
fn knows_exceptions(kind: &str) -> bool {
    kind.starts_with("hash:") && kind.split([':', ',']).any(|dimension| dimension == "net")
}

fn specificity(entry: &Entry) -> u32 {
    let each = entry.elements.iter().map(|element| match element {
        Element::Prefix(prefix) => prefix.length(),
        _ => 0,
    });
    each.sum()
}
