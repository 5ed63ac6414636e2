//! Of which packets an ipset's membership holds: the twin of the model's own.

use nattrace_model::condition::{Sense, SetCondition};
use nattrace_model::host::set::{Dimension, Element, Entry, IpSet};
use nattrace_model::packet::Transport;
use nattrace_model::simulate::View;
use nattrace_parser::syntax::{Family, SetDirection};
use oxidd::bdd::BDDFunction;

use crate::space::Field;
use crate::walk::conditions::Extent;
use crate::walk::region::{Provenance, Region};

/// Of which packets something holds, and of which nobody can say; apart from one another.
pub(crate) struct Both {
    pub(crate) yes: BDDFunction,
    pub(crate) may: BDDFunction,
}

impl Region {
    pub(crate) fn membership(
        &mut self,
        view: &View<'_>,
        sense: Sense,
        asked: &SetCondition,
    ) -> Extent {
        if asked.asks_counters || !self.ground.land.sets.contains_key(&*asked.name) {
            return Extent::Same;
        }
        if !self.is_plain(view) {
            self.pin_everything();
            return Extent::Same;
        }
        let space = self.ground.space.clone();
        let both = self.test(view, &asked.name, asked);
        let neither = space.or(&both.yes, &both.may);
        let holds = if sense.apply(true) { both.yes } else { space.not(&neither) };
        Extent::Of(holds, Some(both.may))
    }

    /// Whether each field of the packet comes from one field that was sent, at most.
    fn is_plain(&self, view: &View<'_>) -> bool {
        let packet = view.packet();
        let mut ports = Vec::new();
        if let Transport::Ports { source, destination } = packet.transport {
            ports = vec![source, destination];
        }
        [packet.source, packet.destination].iter().all(|address| {
            matches!(self.address_from(*address).as_slice(), [] | [Provenance::Sent(_)])
        }) && ports.iter().all(|port| self.port_from(*port).len() <= 1)
    }

    fn pin_everything(&mut self) {
        for field in Field::ALL {
            self.pin(field);
        }
    }

    fn test(&self, view: &View<'_>, name: &str, asked: &SetCondition) -> Both {
        let space = &self.ground.space;
        let none = || Both { yes: space.nothing(), may: space.nothing() };
        match self.ground.land.sets.get(name) {
            None => Both { yes: space.nothing(), may: space.anything() },
            Some(IpSet::List(members)) => {
                let mut all = none();
                for member in members {
                    let list = self.ground.land.sets.get(member);
                    if matches!(list, Some(IpSet::List(_))) {
                        continue;
                    }
                    let one = self.test(view, member, asked);
                    all.yes = space.or(&all.yes, &one.yes);
                    all.may = space.or(&all.may, &one.may);
                }
                all.may = space.minus(&all.may, &all.yes);
                all
            }
            Some(set @ IpSet::Entries { .. }) => self.entries(view, set, asked),
        }
    }

    fn entries(&self, view: &View<'_>, set: &IpSet, asked: &SetCondition) -> Both {
        let space = &self.ground.space;
        let none = Both { yes: space.nothing(), may: space.nothing() };
        let IpSet::Entries { kind, dimensions, ipv6, mark_mask, entries } = set else {
            return none;
        };
        if dimensions.is_empty() {
            return Both { yes: space.nothing(), may: space.anything() };
        }
        let has_address = dimensions.iter().any(|d| matches!(d, Dimension::Ip | Dimension::Net));
        let family = if *ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        if asked.directions.len() < dimensions.len() || (has_address && family != space.family()) {
            return none;
        }
        let nets = kind.starts_with("hash:") && kind.split([':', ',']).any(|part| part == "net");
        let inverted = asked.return_nomatch && nets;
        // The most specific entry wins, among equals the first.
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by_key(|entry| std::cmp::Reverse(specificity(entry)));
        let mut unknown = Vec::new();
        let mut layers: Vec<(bool, Vec<BDDFunction>)> = Vec::new();
        for entry in order {
            let Both { yes, may } = self.entry(view, entry, kind, *mark_mask, asked);
            unknown.push(may);
            let matches = entry.nomatch == inverted;
            match layers.last_mut() {
                Some((same, functions)) if *same == matches => functions.push(yes),
                _ => layers.push((matches, vec![yes])),
            }
        }
        let mut yes = space.nothing();
        for (matches, functions) in layers.into_iter().rev() {
            let covered = space.union(functions);
            yes = if matches { space.or(&yes, &covered) } else { space.minus(&yes, &covered) };
        }
        let may = space.union(unknown);
        Both { yes: space.minus(&yes, &may), may }
    }

    fn entry(
        &self,
        view: &View<'_>,
        entry: &Entry,
        kind: &str,
        mark_mask: u32,
        asked: &SetCondition,
    ) -> Both {
        let space = &self.ground.space;
        let (mut yes, mut either) = (space.anything(), space.anything());
        for (element, direction) in entry.elements.iter().zip(&asked.directions) {
            match self.element(view, element, *direction, kind) {
                Some(function) => {
                    yes = space.and(&yes, &function);
                    either = space.and(&either, &function);
                }
                None => match view.covers(element, *direction, kind, mark_mask) {
                    Some(true) => {}
                    Some(false) => (yes, either) = (space.nothing(), space.nothing()),
                    None => yes = space.nothing(),
                },
            }
        }
        Both { may: space.minus(&either, &yes), yes }
    }

    /// Of which packets a dimension covers; `None` where of all or none.
    fn element(
        &self,
        view: &View<'_>,
        element: &Element,
        direction: SetDirection,
        kind: &str,
    ) -> Option<BDDFunction> {
        let (space, packet) = (&self.ground.space, view.packet());
        let address = match direction {
            SetDirection::Source => packet.source,
            SetDirection::Destination => packet.destination,
        };
        match element {
            Element::Prefix(prefix) => {
                let from = self.address_from(address);
                from.first().map(|from| self.lies_in(from, prefix))
            }
            Element::Range(first, last) => match self.address_from(address).first()? {
                Provenance::Sent(field) => Some(space.addresses(*field, *first, *last)),
                Provenance::Mapped(..) => None,
            },
            Element::Port { protocol, first, last } => {
                self.port_element(view, direction, kind, (*protocol, *first, *last))
            }
            Element::Interface { .. } | Element::Mac(_) | Element::Mark(_) => None,
        }
    }

    fn port_element(
        &self,
        view: &View<'_>,
        direction: SetDirection,
        kind: &str,
        (asked, first, last): (u8, u16, u16),
    ) -> Option<BDDFunction> {
        let (space, packet) = (&self.ground.space, view.packet());
        let sent = packet.protocol == self.header().protocol;
        let fits = if kind == "bitmap:port" {
            matches!(packet.protocol, 6 | 17)
        } else {
            packet.protocol == asked
        };
        let of_protocol = if sent && kind != "bitmap:port" {
            space.equals(Field::Protocol, asked.into())
        } else if fits {
            space.anything()
        } else {
            space.nothing()
        };
        let truth = |holds: bool| if holds { space.anything() } else { space.nothing() };
        let within = match (packet.transport, direction) {
            (Transport::Ports { source, destination }, direction) => {
                let port = match direction {
                    SetDirection::Source => source,
                    SetDirection::Destination => destination,
                };
                match self.port_from(port).first() {
                    Some(field) => self.ground.range(*field, first.into(), last.into()),
                    None => truth((first..=last).contains(&port)),
                }
            }
            (Transport::Icmp { kind: own, code, .. }, _) => {
                if (own, code) == self.header().icmp {
                    self.icmp_range(first, last)
                } else {
                    truth((first..=last).contains(&u16::from_be_bytes([own, code])))
                }
            }
            (Transport::Opaque, _) => truth(first == 0),
        };
        Some(space.and(&of_protocol, &within))
    }

    /// Of which packets type and code, as one number, lie in a range.
    fn icmp_range(&self, first: u16, last: u16) -> BDDFunction {
        let space = &self.ground.space;
        let ([low, low_code], [high, high_code]) = (first.to_be_bytes(), last.to_be_bytes());
        let of = |kinds: (u8, u8), codes: (u8, u8)| {
            if kinds.0 > kinds.1 || codes.0 > codes.1 {
                return space.nothing();
            }
            space.and(
                &space.range(Field::IcmpType, kinds.0.into(), kinds.1.into()),
                &space.range(Field::IcmpCode, codes.0.into(), codes.1.into()),
            )
        };
        if low == high {
            return of((low, low), (low_code, high_code));
        }
        let between = match (low.checked_add(1), high.checked_sub(1)) {
            (Some(low), Some(high)) => of((low, high), (0, 255)),
            _ => space.nothing(),
        };
        let ends = space.or(&of((low, low), (low_code, 255)), &of((high, high), (0, high_code)));
        space.or(&between, &ends)
    }
}

fn specificity(entry: &Entry) -> u32 {
    let length = |element: &Element| match element {
        Element::Prefix(prefix) => prefix.length(),
        _ => 0,
    };
    entry.elements.iter().map(length).sum()
}
