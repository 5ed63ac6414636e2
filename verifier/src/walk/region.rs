//! The packets that go the same way as one packet, narrowed down while that one is simulated.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use nattrace_model::address::Prefix;
use nattrace_model::condition::Condition;
use nattrace_model::packet::{Packet, protocol};
use nattrace_model::ruleset::{ChainId, Ruleset};
use nattrace_model::simulate::{Foresight, Mapped, MappedEnd, Stand, View, Witness};
use nattrace_model::target::TargetMap;
use oxidd::bdd::BDDFunction;

use crate::class::{AddressAfter, exchanged, mapped_within};
use crate::header::{Header, bits, has_ports, is_icmp};
use crate::space::{Field, Point, Relation, Tier};
use crate::walk::ground::Ground;

/// Where an address of a packet under way comes from.
#[derive(Clone, Debug)]
pub(crate) enum Provenance {
    /// A field as it was sent.
    Sent(Field),
    /// A field as it was sent, the network part exchanged.
    Mapped(Field, Prefix),
}

/// The packets that go the same way as one packet.
pub(crate) struct Region {
    pub(crate) ground: Rc<Ground>,
    header: Header,
    point: Option<Point>,
    /// What they have in common, by where it begins: kept apart, small things stay small.
    parts: [BDDFunction; 3],
    /// Addresses whose network part was exchanged.
    mapped: Vec<(IpAddr, Field, Prefix)>,
    /// Whether the function was restricted.
    pub(crate) touched: bool,
    /// Why other packets of the region may end otherwise than the one, where they may.
    pub(crate) unfollowed: Option<String>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("header", &self.header).finish_non_exhaustive()
    }
}

/// The region's ear.
#[derive(Debug)]
pub(crate) struct Testimony(pub(crate) Rc<RefCell<Region>>);

impl Witness for Testimony {
    fn foresee(
        &mut self,
        view: &View<'_>,
        rules: &Ruleset,
        base: ChainId,
        from: &Stand,
    ) -> Foresight {
        self.0.borrow_mut().foresee(view, rules, base, from)
    }

    fn weighed(&mut self, view: &View<'_>, conditions: &[Condition]) {
        self.0.borrow_mut().weigh(view, conditions);
    }

    fn mapped(&mut self, mapped: &Mapped<'_>) {
        self.0.borrow_mut().map(mapped);
    }

    fn looked_up(&mut self, view: &View<'_>, map: &TargetMap) {
        self.0.borrow_mut().look_up(view, map);
    }

    fn drawn(&mut self, port: u16) {
        self.0.borrow_mut().draw(port);
    }

    fn claimed(&mut self, port: u16, range: Option<(u16, u16)>) {
        self.0.borrow_mut().claim(port, range);
    }

    fn unfollowed(&mut self, why: &'static str) {
        self.0.borrow_mut().unfollowed = Some(why.to_owned());
    }

    fn received(&mut self, packet: &Packet) {
        self.0.borrow_mut().receive(packet);
    }
}

impl Region {
    /// The packets that no decision of the host alone tells apart from one.
    pub(crate) fn new(ground: &Rc<Ground>, header: Header, answering: Option<IpAddr>) -> Self {
        let mut region = Self {
            ground: Rc::clone(ground),
            header,
            point: ground.space.point(&header),
            parts: std::array::from_fn(|_| ground.space.anything()),
            mapped: Vec::new(),
            touched: false,
            unfollowed: None,
        };
        region.host_decisions(answering);
        region
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Whether they are what one of them is: nothing is said of them that it is not.
    pub(super) fn holds(&self) -> bool {
        self.parts.iter().all(|part| self.holds_here(part))
    }

    /// The packets as far as some fields tell; it may be more of them.
    pub(crate) fn roughly(&self, fields: &BTreeSet<Field>) -> BDDFunction {
        let [source, destination, rest] = &self.parts;
        let space = &self.ground.space;
        let mut all = rest.clone();
        if fields.contains(&Field::Destination) {
            all = space.and(destination, &all);
        }
        if fields.contains(&Field::Source) {
            all = space.and(source, &all);
        }
        all
    }

    /// What was restricted so far: the packets are those that are in all of it.
    pub(crate) fn parts(&self) -> [BDDFunction; 3] {
        self.parts.clone()
    }

    /// Forgets what was restricted since.
    pub(crate) fn reset(&mut self, parts: [BDDFunction; 3]) {
        self.parts = parts;
    }

    fn part(&mut self, tier: Tier) -> &mut BDDFunction {
        let [source, destination, rest] = &mut self.parts;
        match tier {
            Tier::Source => source,
            Tier::Destination => destination,
            Tier::Rest => rest,
        }
    }

    /// Whether a function holds of the packet itself.
    pub(crate) fn holds_here(&self, function: &BDDFunction) -> bool {
        self.point.is_some_and(|point| self.ground.space.holds_at(function, &point))
    }

    /// The cell of an address that was sent.
    pub(crate) fn cell_of(&self, field: Field) -> usize {
        match field {
            Field::Source => self.ground.sources.cell(self.header.source),
            _ => self.ground.destinations.cell(self.header.destination),
        }
    }

    /// The packets with an address of a cell.
    pub(crate) fn cell(&self, field: Field, cell: usize) -> BDDFunction {
        if field == Field::Source && !self.ground.sourced {
            return self.ground.space.anything();
        }
        let cells = match field {
            Field::Source => &self.ground.sources,
            _ => &self.ground.destinations,
        };
        cells.function(&self.ground.space, field, cell)
    }

    /// Only the packets of a function go the same way.
    pub(crate) fn restrict(&mut self, function: &BDDFunction) {
        self.agree(true, function);
    }

    /// Only the packets of which a function says what it says of this one.
    pub(crate) fn agree(&mut self, holds: bool, function: &BDDFunction) {
        self.touched = true;
        let ground = Rc::clone(&self.ground);
        let part = self.part(ground.space.tier(function));
        *part = match holds {
            true => ground.space.and(part, function),
            false => ground.space.minus(part, function),
        };
    }

    /// Only the packets with this very value.
    pub(crate) fn pin(&mut self, field: Field) {
        let value = field.of(&self.header);
        let function = self.ground.range(field, value, value);
        self.restrict(&function);
    }

    /// The packets whose protocol is treated like that of this one.
    pub(crate) fn alike_protocols(&self) -> BDDFunction {
        self.ground.alike_protocols(self.header.protocol)
    }

    fn host_decisions(&mut self, answering: Option<IpAddr>) {
        let ground = Rc::clone(&self.ground);
        let (space, header) = (&ground.space, self.header);
        let number = header.protocol;
        self.restrict(&self.alike_protocols());
        if is_icmp(number)
            && let Some(types) = ground.land.icmp_types.get(&number)
        {
            let (first, last) = types.cell(header.icmp.0.into(), 255);
            self.restrict(&ground.range(Field::IcmpType, first.into(), last.into()));
        }
        if number == protocol::TCP {
            use nattrace_model::packet::tcp_flag::{ACK, CWR, ECE, FIN, RST, SYN};
            let mask = SYN | ACK | RST | FIN;
            let flags = header.tcp_flags & mask;
            self.restrict(&space.masked(Field::TcpFlags, flags.into(), mask.into()));
            let both = ECE | CWR;
            if flags == SYN && ground.land.sees_congestion {
                let asks = space.masked(Field::TcpFlags, both.into(), both.into());
                self.agree(header.tcp_flags & both == both, &asks);
            }
        }
        if ground.land.routes_by_port && has_ports(number) {
            self.same_routed_port(Field::SourcePort);
            self.same_routed_port(Field::DestinationPort);
        }
        let destination = ground.destinations.cell(header.destination);
        self.restrict(&ground.destinations.function(space, Field::Destination, destination));
        if !ground.sourced {
            return;
        }
        let source = ground.sources.cell(header.source);
        self.restrict(&ground.sources.function(space, Field::Source, source));
        if let Some(own) = answering {
            // A datagram socket may answer from the address that routing chooses.
            self.compare(Field::Destination, bits(own));
        }
        let same = header.source == header.destination;
        let may_be_same = ground.destinations.cell(header.source) == destination;
        if may_be_same && !ground.destinations.is_single(destination) {
            self.restrict(&space.relation(Relation::SameAddress, same));
        }
        if same {
            self.same_ports();
        }
        let destination = ground.sources.cell(header.destination);
        if ground.sources.may_share_container(source, destination) && !same {
            let shared = ground.sources.same_container(space, source, destination);
            let own = space.only(&header);
            let shares = !own.intersection(&space.set(shared.clone())).is_empty();
            self.agree(shares, &shared);
            if shares {
                self.pin(Field::Source);
                self.pin(Field::Destination);
            }
        }
    }

    fn same_ports(&mut self) {
        let same = self.header.source_port == self.header.destination_port;
        let relation = self.ground.space.relation(Relation::SamePort, same);
        self.restrict(&relation);
    }

    fn same_routed_port(&mut self, field: Field) {
        let value = u32::try_from(field.of(&self.header)).unwrap_or(0);
        let (first, last) = self.ground.land.routed_ports.cell(value, u16::MAX.into());
        let function = self.ground.range(field, first.into(), last.into());
        self.restrict(&function);
    }

    /// Where an address of a packet under way may come from; nowhere if it is the same for every
    /// packet of the region.
    pub(crate) fn address_from(&self, address: IpAddr) -> Vec<Provenance> {
        let mut all = Vec::new();
        if address == self.header.source && self.ground.sourced {
            all.push(Provenance::Sent(Field::Source));
        }
        if address == self.header.destination {
            all.push(Provenance::Sent(Field::Destination));
        }
        for (mapped, field, prefix) in &self.mapped {
            if *mapped == address {
                all.push(Provenance::Mapped(*field, prefix.clone()));
            }
        }
        all
    }

    /// Where a port of a packet under way may come from.
    pub(crate) fn port_from(&self, port: u16) -> Vec<Field> {
        let mut all = Vec::new();
        if !has_ports(self.header.protocol) {
            return all;
        }
        if port == self.header.source_port {
            all.push(Field::SourcePort);
        }
        if port == self.header.destination_port {
            all.push(Field::DestinationPort);
        }
        all
    }

    /// The packets of which such an address lies in a prefix.
    pub(crate) fn lies_in(&self, from: &Provenance, prefix: &Prefix) -> BDDFunction {
        match from {
            Provenance::Sent(field) => self.ground.prefix(*field, prefix),
            Provenance::Mapped(field, to) => mapped_within(&self.ground.space, *field, to, prefix),
        }
    }

    /// What became of the source.
    pub(crate) fn source_after(&self, now: IpAddr) -> AddressAfter {
        if now == self.header.source && self.ground.sourced {
            return AddressAfter::Source;
        }
        let known =
            self.mapped.iter().find(|(mapped, field, _)| *mapped == now && *field == Field::Source);
        match known {
            Some((_, _, prefix)) => AddressAfter::SourceMapped(prefix.clone()),
            None => AddressAfter::Rewritten(now),
        }
    }

    /// What became of the destination.
    pub(crate) fn destination_after(&self, now: IpAddr) -> AddressAfter {
        if now == self.header.destination {
            return AddressAfter::Destination;
        }
        let known = self
            .mapped
            .iter()
            .find(|(mapped, field, _)| *mapped == now && *field == Field::Destination);
        match known {
            Some((_, _, prefix)) => AddressAfter::DestinationMapped(prefix.clone()),
            None => AddressAfter::Rewritten(now),
        }
    }

    /// A port chose who gets a packet.
    fn receive(&mut self, packet: &Packet) {
        let Some(port) = packet.destination_port() else { return };
        for field in self.port_from(port) {
            let function = self.ground.waiting(field, packet.protocol, port);
            self.restrict(&function);
        }
    }

    /// NAT picked an end of a connection anew.
    fn map(&mut self, mapped: &Mapped<'_>) {
        let (own, other, own_port, other_port) = match mapped.end {
            MappedEnd::Source => (
                mapped.before.0,
                mapped.before.1,
                mapped.ports_before.map(|ports| ports.0),
                mapped.ports_before.map(|ports| ports.1),
            ),
            MappedEnd::Destination => (
                mapped.before.1,
                mapped.before.0,
                mapped.ports_before.map(|ports| ports.1),
                mapped.ports_before.map(|ports| ports.0),
            ),
        };
        if let Some(prefix) = mapped.prefix {
            self.exchange(own, prefix, mapped.address);
        } else {
            self.pick_address(mapped, own);
        }
        self.pick_port(mapped, own_port);
        if mapped.address == other {
            // Both directions of the connection may now look the same.
            if let (Some(port), Some(other)) = (mapped.port, other_port) {
                for field in self.port_from(other) {
                    self.compare(field, port.into());
                }
            }
            self.same_ports();
        }
    }

    /// An address was picked from a range.
    fn pick_address(&mut self, mapped: &Mapped<'_>, own: IpAddr) {
        let Some((first, last)) = mapped.addresses else { return };
        if first != last {
            let within = |a: IpAddr| bits(first) <= bits(a) && bits(a) <= bits(last);
            for from in self.address_from(own) {
                match from {
                    Provenance::Sent(field) => {
                        let function = self.ground.range(field, bits(first), bits(last));
                        self.agree(within(own), &function);
                    }
                    Provenance::Mapped(field, _) => self.pin(field),
                }
            }
            if mapped.end == MappedEnd::Source
                && let (Some((first, last)), Some((port, _))) = (mapped.ports, mapped.ports_before)
            {
                self.port_in(port, first, last);
            }
            if mapped.address == own && within(own) && mapped.end == MappedEnd::Source {
                return;
            }
            // A hash over both addresses picks: nobody looks at each pair where they are many.
            if self.ground.follows_hash() {
                self.pin_address(mapped.before.0);
                self.pin_address(mapped.before.1);
            } else {
                let why = format!("a hash of both addresses picks one of {first} to {last}");
                self.unfollowed = Some(why);
            }
        }
        self.introduce(mapped.address);
    }

    fn pin_address(&mut self, address: IpAddr) {
        for from in self.address_from(address) {
            let (Provenance::Sent(field) | Provenance::Mapped(field, _)) = from;
            self.pin(field);
        }
    }

    /// An address comes in that was not in the packet, or was there by chance: packets that have
    /// it, or one of the same container, may go another way.
    fn introduce(&mut self, address: IpAddr) {
        let ground = Rc::clone(&self.ground);
        let alone = [address];
        for one in ground.land.siblings.get(&address).map_or(alone.as_slice(), Vec::as_slice) {
            let one = *one;
            if ground.sourced {
                self.compare(Field::Source, bits(one));
            }
            self.compare(Field::Destination, bits(one));
            for (now, field, prefix) in self.mapped.clone() {
                let function = mapped_within(&ground.space, field, &prefix, &Prefix::new(one, 128));
                self.agree(now == one, &function);
            }
        }
    }

    /// A field is this value, or it is not.
    fn compare(&mut self, field: Field, value: u128) {
        let function = self.ground.range(field, value, value);
        self.agree(field.of(&self.header) == value, &function);
    }

    /// The network part of an address is exchanged.
    fn exchange(&mut self, own: IpAddr, prefix: &Prefix, now: IpAddr) {
        let ground = Rc::clone(&self.ground);
        let from = self.address_from(own);
        let [Provenance::Sent(field)] = from.as_slice() else {
            // Of an address that was exchanged already, or is both: just these packets.
            self.pin_address(own);
            self.introduce(now);
            return;
        };
        let field = *field;
        let stays = ground.prefix(field, prefix);
        self.agree(prefix.contains(own), &stays);
        let cell = ground.sources.cell(now);
        let other = match field {
            Field::Source => self.header.destination,
            _ => self.header.source,
        };
        let wide = ground.destinations.cell(now);
        let shared = ground.sources.may_share_container(cell, ground.sources.cell(other))
            || (ground.destinations.cell(other) == wide && !ground.destinations.is_single(wide));
        let kept = match prefix {
            Prefix::V4(_, mask) => u128::from(!mask),
            Prefix::V6(prefix) => !prefix.1,
        };
        let contiguous = kept & kept.wrapping_add(1) == 0;
        if shared || !contiguous || exchanged(own, prefix) != now {
            self.pin(Field::Source);
            self.pin(Field::Destination);
            self.introduce(now);
            return;
        }
        let (low, high) = (bits(now) & !kept, bits(now) | kept);
        let mut parts = Vec::new();
        for (first, last) in ground.sources.intervals(cell) {
            let (first, last) = ((*first).max(low), (*last).min(high));
            if first <= last {
                parts.push(ground.space.low_range(
                    field,
                    first & kept,
                    last & kept,
                    kept.count_ones(),
                ));
            }
        }
        let function = ground.space.union(parts);
        self.restrict(&function);
        self.mapped.push((now, field, prefix.clone()));
    }

    fn port_in(&mut self, port: u16, first: u16, last: u16) {
        for field in self.port_from(port) {
            let function = self.ground.range(field, first.into(), last.into());
            self.agree((first..=last).contains(&port), &function);
        }
    }

    /// A port is drawn in place of one: of those that count like it.
    fn draw(&mut self, port: u16) {
        // kernel-facts B8
        let (first, last) = match port {
            0..512 => (0, 511),
            512..1024 => (512, 1023),
            1024.. => (1024, u16::MAX),
        };
        self.port_in(port, first, last);
    }

    /// Another connection has a port: one of those to pick from, or none of them. Where there is
    /// no range, what else may have been picked is the packet's own, and compared where it comes in.
    fn claim(&mut self, port: u16, range: Option<(u16, u16)>) {
        let Some((first, last)) = range else { return };
        if !(first..=last).contains(&port) {
            return self.port_in(port, first, last);
        }
        for field in self.port_from(port) {
            self.pin(field);
        }
    }

    /// A port was picked.
    fn pick_port(&mut self, mapped: &Mapped<'_>, own: Option<u16>) {
        let Some(own) = own else { return };
        let Some((first, last)) = mapped.ports else {
            if mapped.options.random {
                self.draw(own);
            }
            return;
        };
        if mapped.base_port.is_some() {
            // Each port gets another one.
            for field in self.port_from(own) {
                self.pin(field);
            }
            return;
        }
        // What lies in the range stays; what does not is none that is picked.
        self.port_in(own, first, last);
        if let (true, Some(port)) = (mapped.options.random, mapped.port) {
            // One that stands for all that may be drawn, which a packet may have by chance.
            for field in self.port_from(own) {
                self.compare(field, port.into());
            }
        }
    }
}
