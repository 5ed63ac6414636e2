//! What NAT targets and CONNMARK write into a connection, and what that makes of its packets.

use nattrace_model::hook::Hook;
use nattrace_model::host::{InterfaceAddress, Part};
use nattrace_model::target::{ConnmarkAction, MarkShift, NatOptions, Target};
use nattrace_parser::syntax::Family;

use super::nat::{Manip, Mapping, Ports};
use super::state::{Connection, Maybe, Merge, Trip, Tuple, end};
use super::{Encoder, Run};
use crate::smt::term::{B, Operation, V};

/// Which end is rewritten at a hook.
pub(super) fn manip_of(hook: Hook) -> Manip {
    match hook {
        Hook::Postrouting | Hook::Input => Manip::Source,
        Hook::Prerouting | Hook::Output | Hook::Forward => Manip::Destination,
    }
}

impl Encoder<'_> {
    /// The tuple of an answer.
    pub(super) fn inverted(&self, tuple: &Tuple) -> Tuple {
        let t = &self.t;
        let icmp = self.is_icmp(tuple.protocol);
        let kind = t.extract(tuple.to_port, 15, 8);
        let code = t.extract(tuple.to_port, 7, 0);
        let answer = t.concat(self.answer_type(tuple.protocol, kind).value, code);
        Tuple {
            source: tuple.destination,
            destination: tuple.source,
            protocol: tuple.protocol,
            from_port: t.choice(icmp, tuple.from_port, tuple.to_port),
            to_port: t.choice(icmp, answer, tuple.from_port),
        }
    }

    /// The type of the answer to a query, itself where there is none (`invmap`).
    pub(super) fn answer_type(&self, protocol: V, kind: V) -> Maybe {
        let t = &self.t;
        let pairs: &[(u8, u8, u8)] = &[
            (1, 8, 0),
            (1, 0, 8),
            (1, 13, 14),
            (1, 15, 16),
            (1, 17, 18),
            (1, 14, 13),
            (1, 16, 15),
            (1, 18, 17),
            (58, 128, 129),
            (58, 129, 128),
            (58, 139, 140),
            (58, 140, 139),
        ];
        let mut answer = Maybe { is: t.no, value: kind };
        for (of, asked, answered) in pairs {
            let when = t.and(t.is_number(protocol, *of), t.is_number(kind, *asked));
            let one = Maybe { is: t.yes, value: t.number(8, *answered) };
            answer = Maybe::merge(t, when, &one, &answer);
        }
        answer
    }

    pub(super) fn same_tuple(&self, one: &Tuple, other: &Tuple) -> B {
        let t = &self.t;
        t.all([
            t.equal(one.source, other.source),
            t.equal(one.destination, other.destination),
            t.equal(one.protocol, other.protocol),
            t.equal(one.from_port, other.from_port),
            t.equal(one.to_port, other.to_port),
        ])
    }

    /// Changes the connection of some packets.
    pub(super) fn change_connection(
        &self,
        trip: &mut Trip,
        when: B,
        change: impl Fn(&Connection) -> Connection,
    ) {
        let t = &self.t;
        let (first, second) =
            (t.minus(when, trip.tracking.second), t.and(when, trip.tracking.second));
        if first != t.no {
            trip.first = Connection::merge(t, first, &change(&trip.first), &trip.first);
        }
        if second != t.no {
            trip.second = Connection::merge(t, second, &change(&trip.second), &trip.second);
        }
    }

    // kernel-facts G14
    pub(super) fn connmark(
        &self,
        trip: &mut Trip,
        (action, shift): (ConnmarkAction, MarkShift),
        when: B,
    ) {
        let t = &self.t;
        let when = t.and(when, self.is_tracked(trip));
        let mark = trip.packet.mark;
        let shifted = |mark: V| match shift {
            MarkShift::None => mark,
            MarkShift::Left(by) => t.shifted_left(mark, by),
            MarkShift::Right(by) => t.shifted_right(mark, by),
        };
        match action {
            ConnmarkAction::Set { value, mask } => {
                self.change_connection(trip, when, |own| Connection {
                    mark: shifted(self.exchanged(own.mark, value, mask.into())),
                    ..*own
                });
            }
            ConnmarkAction::Save { nfmask, ctmask } => {
                let saved = shifted(t.masked(mark, nfmask));
                self.change_connection(trip, when, |own| {
                    let kept = t.masked(own.mark, !ctmask);
                    Connection { mark: t.binary(Operation::Xor, kept, saved), ..*own }
                });
            }
            ConnmarkAction::Restore { nfmask, ctmask } => {
                let own = shifted(t.masked(self.connection(trip).mark, ctmask));
                let restored = t.binary(Operation::Xor, t.masked(mark, !nfmask), own);
                trip.packet.mark = t.choice(when, restored, mark);
            }
        }
    }

    /// Maps one end of the connections of some packets as a target says.
    pub(super) fn translate_by(&self, trip: &mut Trip, hook: Hook, target: &Target, when: B) {
        let t = &self.t;
        let mut when = t.and(when, self.is_tracked(trip));
        if when == t.no {
            return;
        }
        let manip = manip_of(hook);
        let current = self.inverted(&self.connection(trip).reply);
        let zone = trip.zone;
        let claims = self.claims(trip);
        let mapping = match target {
            Target::Snat(range, options) | Target::Dnat(range, options) => {
                let ports = Ports { range: range.ports, base: range.base_port };
                self.choose(manip, &current, range.addresses, ports, (*options, zone, &claims))
            }
            Target::Masquerade(ports, options) => {
                let source = self.masquerade_source(trip, when);
                self.stop(trip, t.minus(when, source.is), end::DROPPED);
                when = t.and(when, source.is);
                let ports = Ports { range: *ports, base: None };
                self.with_ports(manip, &current, source.value, (ports, *options, &claims))
            }
            Target::Redirect(ports, options) => {
                let address = self.redirect_address(trip, hook);
                self.stop(trip, t.minus(when, address.is), end::DROPPED);
                when = t.and(when, address.is);
                let ports = Ports { range: *ports, base: None };
                self.with_ports(manip, &current, address.value, (ports, *options, &claims))
            }
            Target::Netmap(prefix) => {
                let own = match manip {
                    Manip::Source => current.source,
                    Manip::Destination => current.destination,
                };
                let (network, mask) = match prefix {
                    nattrace_model::address::Prefix::V4(network, mask) => {
                        (u128::from(*network), u128::from(*mask))
                    }
                    nattrace_model::address::Prefix::V6(prefix) => **prefix,
                };
                let kept = t.masked(own, !mask & u128::MAX >> (128 - self.width()));
                let network = t.number(self.width(), network);
                let address = t.binary(Operation::Or, kept, network);
                let options = NatOptions::default();
                self.with_ports(manip, &current, address, (Ports::default(), options, &claims))
            }
            _ => return,
        };
        // kernel-facts K29
        let open = self.t.minus(when, self.connection(trip).confirmed);
        self.change_connection(trip, open, |own| self.mapped(own, manip, &mapping));
        if matches!(target, Target::Masquerade(..)) {
            let masqueraded_by = trip.out_interface;
            self.change_connection(trip, when, |own| Connection { masqueraded_by, ..*own });
        }
    }

    /// Leaves an end as it is where no rule has mapped it; its source gets another port all the same
    /// where its answers would be taken for those of the first connection
    /// (`nf_nat_alloc_null_binding`; kernel-facts K19).
    pub(super) fn bind_to_itself(&self, trip: &mut Trip, manip: Manip, when: B) {
        // kernel-facts K29
        let when = self.t.minus(when, self.connection(trip).confirmed);
        let claims = self.claims(trip);
        if claims.when == self.t.no {
            return self.change_connection(trip, when, |own| self.settled(own, manip));
        }
        let current = self.inverted(&self.connection(trip).reply);
        let own = match manip {
            Manip::Source => current.source,
            Manip::Destination => current.destination,
        };
        let nothing = (Ports::default(), NatOptions::default(), &claims);
        let mapping = self.with_ports(manip, &current, own, nothing);
        self.change_connection(trip, when, |own| self.mapped(own, manip, &mapping));
    }

    /// A connection of which an end is mapped (`nf_nat_setup_info`).
    fn mapped(&self, own: &Connection, manip: Manip, mapping: &Mapping) -> Connection {
        let t = &self.t;
        let before = self.inverted(&own.reply);
        let mut after = before;
        let mut now = self.settled(own, manip);
        let drawn = mapping.drawn;
        match manip {
            Manip::Source => {
                after.source = mapping.address;
                after.from_port = t.choice(mapping.port.is, mapping.port.value, before.from_port);
            }
            Manip::Destination => {
                after.destination = mapping.address;
                after.to_port = t.choice(mapping.port.is, mapping.port.value, before.to_port);
            }
        }
        let changed = t.not(self.same_tuple(&before, &after));
        now.reply = Tuple::merge(t, changed, &self.inverted(&after), &own.reply);
        match manip {
            Manip::Source => {
                let given = t.or(drawn.is, mapping.port.is);
                now.drawn_source = Merge::merge(t, given, &drawn, &own.drawn_source);
                now.source_translated = t.any([own.source_translated, changed, drawn.is]);
            }
            Manip::Destination => {
                let given = t.or(drawn.is, mapping.port.is);
                now.drawn_destination = Merge::merge(t, given, &drawn, &own.drawn_destination);
                // Whichever identifier is drawn, the end counts as translated.
                let identifier = t.minus(drawn.is, mapping.port.is);
                now.destination_translated =
                    t.any([own.destination_translated, changed, identifier]);
            }
        }
        now
    }

    /// A connection of which an end is not mapped any more.
    pub(super) fn settled(&self, own: &Connection, manip: Manip) -> Connection {
        let yes = self.t.yes;
        match manip {
            Manip::Source => Connection { source_settled: yes, ..*own },
            Manip::Destination => Connection { destination_settled: yes, ..*own },
        }
    }

    /// What MASQUERADE gives (kernel-facts B1 to B5, J3).
    fn masquerade_source(&self, trip: &mut Trip, when: B) -> Maybe {
        let t = &self.t;
        let known = self.interface_is(trip.out_interface, |name| {
            self.host.has(Part::Addresses)
                || self.host.interface(name).is_some_and(|own| {
                    own.addresses.iter().any(|address| {
                        Family::of(address.local) == self.family() && !address.secondary
                    })
                })
        });
        trip.source_unknown = t.or(trip.source_unknown, t.minus(when, known));
        let destination = trip.packet.tuple.destination;
        let gateway = trip.route.gateway;
        let mut source = self.nothing(self.width());
        for name in self.ways_out(trip.out_interface) {
            let own = match self.family() {
                Family::Ipv4 => {
                    self.select4(name, t.choice(gateway.is, gateway.value, destination))
                }
                Family::Ipv6 => self.select6(name, destination),
            };
            let here = self.interface_named(trip.out_interface, name);
            source = Maybe::merge(t, here, &own, &source);
        }
        let unknown = Maybe { is: t.yes, value: self.nowhere() };
        Maybe::merge(t, known, &source, &unknown)
    }

    /// The names that an interface by which a packet leaves may have.
    pub(super) fn ways_out(&self, interface: V) -> Vec<&str> {
        match self.t.value(interface) {
            Some(number) => vec![self.interface_name(number).unwrap_or("")],
            None => {
                let is_way = |name: &&&str| {
                    let own = self.host.interface(name);
                    own.is_none_or(|own| own.port.is_none())
                };
                let names = self.interfaces.iter().filter(is_way).copied();
                std::iter::once("").chain(names).collect()
            }
        }
    }

    /// What REDIRECT gives (kernel-facts B16, B17).
    fn redirect_address(&self, trip: &Trip, hook: Hook) -> Maybe {
        let t = &self.t;
        let yes = t.yes;
        if hook == Hook::Output {
            let here: u128 = if self.is_ipv4() { 0x7f00_0001 } else { 1 };
            return Maybe { is: yes, value: t.number(self.width(), here) };
        }
        let asked = trip.packet.tuple.destination;
        let mut found = self.nothing(self.width());
        for interface in &self.host.interfaces {
            let here = self.interface_named(trip.in_interface, &interface.name);
            if here == t.no {
                continue;
            }
            if let Some(stand_in) = self.host.stand_in(&interface.name, self.family()) {
                let stand_in = Maybe { is: yes, value: self.address(stand_in) };
                found = Maybe::merge(t, here, &stand_in, &found);
            }
            // The first that fits: so they are tried from the last one on.
            for own in interface.addresses.iter().rev() {
                let fits = t.and(here, self.fits_redirect(own, asked));
                let own = match Family::of(own.local) == self.family() {
                    true => Maybe { is: yes, value: self.address(own.local) },
                    false => continue,
                };
                found = Maybe::merge(t, fits, &own, &found);
            }
        }
        found
    }

    /// Whether an address is one that REDIRECT takes for a destination (`nf_nat_redirect_ipv6`).
    fn fits_redirect(&self, own: &InterfaceAddress, asked: V) -> B {
        let t = &self.t;
        let own = match own.local {
            std::net::IpAddr::V4(_) => return t.is(self.is_ipv4() && !own.secondary),
            std::net::IpAddr::V6(_) if self.is_ipv4() => return t.no,
            std::net::IpAddr::V6(own) => own,
        };
        let link_local = t.is(own.is_unicast_link_local());
        let site = |first: u16| first & 0xffc0 == 0xfec0;
        let own_site = t.is(own.segments().first().is_some_and(|first| site(*first)));
        let first = self.first_segment(asked);
        let scope = t.extract(first, 3, 0);
        let scope_is = |number: u8| t.is_number(scope, number);
        let of_link = t.either(scope_is(2), link_local, t.yes);
        let of_group = t.minus(of_link, t.or(scope_is(1), scope_is(5)));
        let asked_site = t.is_number(t.masked(first, 0xffc0u16), 0xfec0u16);
        let alone = t.all([
            t.implies(self.is_link_local6(asked), link_local),
            t.implies(self.is_loopback(asked), t.is(own.is_loopback())),
            t.implies(asked_site, own_site),
        ]);
        t.either(self.is_multicast(asked), of_group, alone)
    }

    /// Rewrites some packets as their connections say (`nf_nat_packet`).
    pub(super) fn translate(&self, run: &Run, trip: &mut Trip, hook: Hook, when: B) {
        let t = &self.t;
        let own = self.connection(trip);
        let reply = trip.tracking.reply;
        let manip = manip_of(hook);
        let original = match manip {
            Manip::Source => own.source_translated,
            Manip::Destination => own.destination_translated,
        };
        let backwards = match manip {
            Manip::Source => own.destination_translated,
            Manip::Destination => own.source_translated,
        };
        let concerned = t.and(when, t.either(reply, backwards, original));
        let there = self.inverted(&own.reply);
        let back = self.inverted(&own.original);
        let target = Tuple::merge(t, reply, &back, &there);
        let tuple = &mut trip.packet.tuple;
        let same = t.equal(tuple.protocol, target.protocol);
        let ports = t.all([concerned, same, self.has_ports(tuple.protocol)]);
        let addressed = tuple.destination;
        match manip {
            Manip::Source => {
                tuple.source = t.choice(concerned, target.source, tuple.source);
                tuple.from_port = t.choice(ports, target.from_port, tuple.from_port);
                let drawn = Merge::merge(t, reply, &own.begun_destination, &own.drawn_source);
                trip.drawn_source = Merge::merge(t, when, &drawn, &trip.drawn_source);
            }
            Manip::Destination => {
                tuple.destination = t.choice(concerned, target.destination, tuple.destination);
                tuple.to_port = t.choice(ports, target.to_port, tuple.to_port);
                let drawn = Merge::merge(t, reply, &own.begun_source, &own.drawn_destination);
                trip.drawn_destination = Merge::merge(t, when, &drawn, &trip.drawn_destination);
            }
        }
        if hook == Hook::Output {
            let changed = t.not(t.equal(addressed, trip.packet.tuple.destination));
            self.reroute(run, trip, t.and(when, changed));
        }
    }
}
