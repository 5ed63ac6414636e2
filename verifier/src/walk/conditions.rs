//! What a rule's conditions say of other packets than the one that is simulated.

use nattrace_model::condition::{Condition, ConnectionCondition, PortSide, Sense, TupleField};
use nattrace_model::packet::{Transport, protocol};
use nattrace_model::simulate::View;
use oxidd::bdd::BDDFunction;

use crate::header::bits;
use crate::space::Field;
use crate::walk::region::{Provenance, Region};

/// Of which packets of a region a condition holds.
pub(crate) enum Extent {
    /// Of all or of none, as of the one that is simulated.
    Same,
    /// Of those of the first function; of those of the second nobody can say.
    Of(BDDFunction, Option<BDDFunction>),
}

impl Region {
    /// A rule's conditions were weighed: only packets of which they say the same go the same way.
    pub(crate) fn weigh(&mut self, view: &View<'_>, conditions: &[Condition]) {
        let ground = std::rc::Rc::clone(&self.ground);
        let space = &ground.space;
        if view.may_drop(conditions) {
            return self.weigh_each(view, conditions);
        }
        let mut varying = Vec::new();
        // Where a condition fails for every packet alike, the others do not matter.
        let mut unsure = false;
        for condition in conditions {
            if varies(condition) {
                varying.push(condition);
                continue;
            }
            match view.says(condition) {
                Some(true) => {}
                Some(false) => return,
                None => unsure = true,
            }
        }
        let (mut surely, mut perhaps) = (space.anything(), space.anything());
        let mut result = if unsure { None } else { Some(true) };
        let mut fails = false;
        for condition in varying {
            let says = view.says(condition);
            match self.extent(view, condition) {
                Extent::Same if says == Some(false) => return,
                Extent::Same => {
                    if says.is_none() {
                        (unsure, result) = (true, None);
                    }
                }
                Extent::Of(holds, may) => {
                    surely = space.and(&surely, &holds);
                    let either = may.map_or_else(|| holds.clone(), |may| space.or(&holds, &may));
                    perhaps = space.and(&perhaps, &either);
                    match says {
                        Some(true) => {}
                        Some(false) => fails = true,
                        None => result = None,
                    }
                }
            }
        }
        if fails {
            self.agree(false, &perhaps);
            return;
        }
        self.restrict(&perhaps);
        if !unsure {
            self.agree(result == Some(true), &surely);
        }
    }

    /// A rule that may drop the packet by its count, where a condition behind fails too: only
    /// packets of which every condition says the same go the same way.
    fn weigh_each(&mut self, view: &View<'_>, conditions: &[Condition]) {
        let ground = std::rc::Rc::clone(&self.ground);
        for condition in conditions.iter().filter(|one| varies(one)) {
            let Extent::Of(holds, may) = self.extent(view, condition) else { continue };
            match (view.says(condition), may) {
                (Some(true), _) => self.agree(true, &holds),
                (Some(false), None) => self.agree(false, &holds),
                (Some(false), Some(may)) => self.agree(false, &ground.space.or(&holds, &may)),
                (None, may) => {
                    if let Some(may) = may {
                        self.agree(true, &may);
                    }
                }
            }
        }
    }

    /// Of which packets a condition holds, without the `!` of those that are not said of
    /// everything.
    pub(crate) fn extent(&mut self, view: &View<'_>, condition: &Condition) -> Extent {
        let packet = view.packet();
        match condition {
            Condition::Source(sense, prefix) => {
                let from = self.address_from(packet.source);
                self.one(view, condition, *sense, &from, |region, from| {
                    region.lies_in(from, prefix)
                })
            }
            Condition::Destination(sense, prefix) => {
                let from = self.address_from(packet.destination);
                self.one(view, condition, *sense, &from, |region, from| {
                    region.lies_in(from, prefix)
                })
            }
            Condition::SourceRange(sense, range) => {
                let from = self.address_from(packet.source);
                self.address_range(view, condition, *sense, &from, range)
            }
            Condition::DestinationRange(sense, range) => {
                let from = self.address_from(packet.destination);
                self.address_range(view, condition, *sense, &from, range)
            }
            Condition::Protocol(sense, number) => {
                let from: &[Field] = if packet.protocol == self.header().protocol {
                    &[Field::Protocol]
                } else {
                    &[]
                };
                let number = u128::from(*number);
                self.one(view, condition, *sense, from, |region, field| {
                    region.ground.range(*field, number, number)
                })
            }
            Condition::Port(sense, side, first, last) => {
                self.port(view, condition, *sense, *side, &[(*first, *last)])
            }
            Condition::Ports(sense, side, ranges) => {
                self.port(view, condition, *sense, *side, ranges)
            }
            Condition::TcpFlags { sense, mask, compare } => {
                let sent = packet.protocol == protocol::TCP
                    && self.header().protocol == protocol::TCP
                    && packet.tcp_flags == self.header().tcp_flags;
                let from: &[Field] = if sent { &[Field::TcpFlags] } else { &[] };
                self.one(view, condition, *sense, from, |region, field| {
                    if compare & !mask != 0 {
                        return region.ground.space.nothing();
                    }
                    region.ground.space.masked(*field, (*compare).into(), (*mask).into())
                })
            }
            Condition::Icmp { sense, kind, codes } => {
                self.icmp(view, condition, *sense, *kind, *codes)
            }
            Condition::Connection(sense, asked) => self.connection(view, condition, *sense, asked),
            Condition::Value(sense, asked) => self.value(view, *sense, asked),
            Condition::Set(sense, set) => self.membership(view, *sense, set),
            _ => Extent::Same,
        }
    }

    /// A condition about one thing, which is the same for all packets, or comes from a field. If
    /// it may come from several, only packets go along of which each says the same.
    pub(crate) fn one<T>(
        &mut self,
        view: &View<'_>,
        condition: &Condition,
        sense: Sense,
        from: &[T],
        function: impl Fn(&Self, &T) -> BDDFunction,
    ) -> Extent {
        let space = self.ground.space.clone();
        match from {
            [] => Extent::Same,
            [field] => Extent::Of(space.when(sense.apply(true), &function(self, field)), None),
            several => {
                let holds = view.says(condition) == Some(sense.apply(true));
                for field in several {
                    let function = function(self, field);
                    self.agree(holds, &function);
                }
                Extent::Same
            }
        }
    }

    fn address_range(
        &mut self,
        view: &View<'_>,
        condition: &Condition,
        sense: Sense,
        from: &[Provenance],
        range: &(std::net::IpAddr, std::net::IpAddr),
    ) -> Extent {
        if from.iter().any(|from| matches!(from, Provenance::Mapped(..))) {
            // Ranges of what was exchanged are no ranges of what was sent.
            for from in from {
                let (Provenance::Sent(field) | Provenance::Mapped(field, _)) = from;
                self.pin(*field);
            }
            return Extent::Same;
        }
        let family = self.ground.space.family();
        let own = |address| nattrace_parser::syntax::Family::of(address) == family;
        let (first, last) = *range;
        self.one(view, condition, sense, from, |region, from| match from {
            Provenance::Sent(field) if own(first) && own(last) => {
                region.ground.range(*field, bits(first), bits(last))
            }
            _ => region.ground.space.nothing(),
        })
    }

    fn port(
        &mut self,
        view: &View<'_>,
        condition: &Condition,
        sense: Sense,
        side: PortSide,
        ranges: &[(u16, u16)],
    ) -> Extent {
        let Transport::Ports { source, destination } = view.packet().transport else {
            return Extent::Same;
        };
        let within = |region: &Self, field: &Field| {
            let each = ranges
                .iter()
                .map(|(first, last)| region.ground.range(*field, (*first).into(), (*last).into()));
            region.ground.space.union(each.collect())
        };
        if view.is_drawn(side) {
            // Of a port that was drawn the range is asked, and that is the same for all.
            if side == PortSide::Either {
                self.pin(Field::SourcePort);
                self.pin(Field::DestinationPort);
            }
            return Extent::Same;
        }
        let port = match side {
            PortSide::Source => source,
            PortSide::Destination => destination,
            PortSide::Either => {
                return self.either_port(sense, [source, destination], ranges, within);
            }
        };
        let from = self.port_from(port);
        self.one(view, condition, sense, &from, within)
    }

    /// Either of two ports lies in a range.
    fn either_port(
        &mut self,
        sense: Sense,
        ports: [u16; 2],
        ranges: &[(u16, u16)],
        within: impl Fn(&Self, &Field) -> BDDFunction,
    ) -> Extent {
        let space = self.ground.space.clone();
        let from = ports.map(|port| (port, self.port_from(port)));
        if from.iter().any(|(_, fields)| fields.len() > 1) {
            self.pin(Field::SourcePort);
            self.pin(Field::DestinationPort);
            return Extent::Same;
        }
        let mut holds = space.nothing();
        for (port, fields) in from {
            let one = match fields.first() {
                Some(field) => within(self, field),
                None if ranges.iter().any(|(a, b)| (*a..=*b).contains(&port)) => space.anything(),
                None => space.nothing(),
            };
            holds = space.or(&holds, &one);
        }
        Extent::Of(space.when(sense.apply(true), &holds), None)
    }

    fn icmp(
        &mut self,
        view: &View<'_>,
        condition: &Condition,
        sense: Sense,
        kind: Option<u8>,
        codes: (u8, u8),
    ) -> Extent {
        let Transport::Icmp { kind: own, code, .. } = view.packet().transport else {
            return Extent::Same;
        };
        let sent = *self.header();
        let (sent_kind, sent_code) = (own == sent.icmp.0, code == sent.icmp.1);
        if !crate::header::is_icmp(sent.protocol) || !(sent_kind || sent_code) {
            return Extent::Same;
        }
        let from: &[()] = &[()];
        self.one(view, condition, sense, from, |region, ()| {
            let space = &region.ground.space;
            let truth = |holds: bool| if holds { space.anything() } else { space.nothing() };
            let kinds = match kind {
                None => space.anything(),
                Some(kind) if sent_kind => {
                    region.ground.range(Field::IcmpType, kind.into(), kind.into())
                }
                Some(kind) => truth(kind == own),
            };
            let coded = if sent_code {
                region.ground.range(Field::IcmpCode, codes.0.into(), codes.1.into())
            } else {
                truth((codes.0..=codes.1).contains(&code))
            };
            space.and(&kinds, &coded)
        })
    }

    fn connection(
        &mut self,
        view: &View<'_>,
        condition: &Condition,
        sense: Sense,
        asked: &ConnectionCondition,
    ) -> Extent {
        match asked {
            ConnectionCondition::OrUntracked(inner_sense, inner) => {
                if view.connection_protocol().is_none() {
                    return Extent::Same;
                }
                // Both negations are of the same thing.
                let both = if sense == *inner_sense { Sense::Is } else { Sense::IsNot };
                let plain = Condition::Connection(both, inner.clone());
                self.connection(view, &plain, both, inner)
            }
            ConnectionCondition::Address(field, prefix) => {
                let from = view.connection_address(*field);
                let from = from.map(|address| self.address_from(address)).unwrap_or_default();
                self.one(view, condition, sense, &from, |region, from| region.lies_in(from, prefix))
            }
            ConnectionCondition::Port(field, first, last) => {
                let Some((source, destination)) = view.connection_ports(*field) else {
                    if crate::header::is_icmp(self.header().protocol) {
                        self.pin(Field::IcmpType);
                        self.pin(Field::IcmpCode);
                    }
                    return Extent::Same;
                };
                if view.is_drawn_for(*field) {
                    return Extent::Same;
                }
                let port = match field {
                    TupleField::OriginalSource | TupleField::ReplySource => source,
                    TupleField::OriginalDestination | TupleField::ReplyDestination => destination,
                };
                let from = self.port_from(port);
                self.one(view, condition, sense, &from, |region, field| {
                    region.ground.range(*field, (*first).into(), (*last).into())
                })
            }
            ConnectionCondition::Protocol(number) => {
                let sent = view.connection_protocol() == Some(self.header().protocol);
                let from: &[Field] = if sent { &[Field::Protocol] } else { &[] };
                let number = u128::from(*number);
                self.one(view, condition, sense, from, |region, field| {
                    region.ground.range(*field, number, number)
                })
            }
            ConnectionCondition::State(_)
            | ConnectionCondition::Status(_)
            | ConnectionCondition::Direction(_)
            | ConnectionCondition::Expire(..) => Extent::Same,
        }
    }
}

/// Whether what a condition says may vary within a region.
pub(crate) fn varies(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::Source(..)
            | Condition::Destination(..)
            | Condition::SourceRange(..)
            | Condition::DestinationRange(..)
            | Condition::Protocol(..)
            | Condition::Port(..)
            | Condition::Ports(..)
            | Condition::TcpFlags { .. }
            | Condition::Icmp { .. }
            | Condition::Connection(..)
            | Condition::Set(..)
            | Condition::Value(..)
    )
}
