//! One packet and what it sets off: its trip, who gets it, and the answer's trip back.

use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::syntax::Family;

use super::outside::Arrival;
use super::route::Key;
use super::state::{
    Error, Maybe, Merge, Packet, Tracking, Trip, Tuple, bound, delivery, end, maker, phase,
    tracking,
};
use super::{Encoder, Run};
use crate::smt::term::{B, Terms, V};

/// Numbers of [`Fate::outcome`].
pub(crate) mod outcome {
    pub(crate) const CONNECTS: u8 = 0;
    pub(crate) const REFUSED: u8 = 1;
    pub(crate) const UNREACHABLE: u8 = 2;
    pub(crate) const TIMEOUT: u8 = 3;
    pub(crate) const UNDETERMINED: u8 = 4;
}

/// The width of an outcome.
const OUTCOME: u32 = 3;

/// What becomes of a packet.
pub(crate) struct Fate {
    /// The packet as it ended.
    pub(crate) trip: Trip,
    /// The interface that it left by; 0 where it did not.
    pub(crate) egress: V,
    /// What its sender experiences: one of the numbers in [`outcome`].
    pub(crate) outcome: V,
    /// The connections of docker-proxy that it sets off.
    pub(crate) proxied: Vec<Proxied>,
}

/// A connection that docker-proxy opens.
#[derive(Clone, Copy)]
pub(crate) struct Proxied {
    pub(crate) when: B,
    pub(crate) to: std::net::SocketAddr,
    /// The interface that its first packet leaves by; none where it does not leave.
    pub(crate) egress: V,
}

/// Where a packet starts.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// In a local process, which may leave the choice of its source to the kernel.
    Local { any_source: bool },
    /// Outside, coming in by this interface.
    Wire(V),
}

/// How far exchanges that set off others are followed.
const DEEPEST: u32 = 1;

/// What is sent back, while it is put together: of several the conditions exclude one another.
pub(super) struct Answers {
    pub(super) trip: Trip,
    /// One of the numbers in [`answer`].
    pub(super) kind: V,
    /// What the sender experiences where nothing is sent, or what is sent does not arrive.
    pub(super) outcome: V,
}

/// Numbers of [`Answers::kind`].
pub(super) mod answer {
    pub(in crate::smt::encode) const ANSWER: u8 = 0;
    pub(in crate::smt::encode) const RESET: u8 = 1;
    pub(in crate::smt::encode) const ERROR: u8 = 2;
}

/// What an answer is about.
pub(super) struct About<'a> {
    pub(super) run: &'a Run,
    pub(super) forth: &'a Trip,
    pub(super) sent: &'a Packet,
    /// How the packet came in; `None` for one from here.
    pub(super) arrival: Option<&'a Arrival>,
}

impl<'s> Encoder<'s> {
    /// A packet about to start.
    pub(super) fn new_trip(&self, packet: &Packet, alive: B) -> Trip {
        let t = &self.t;
        let no = t.no;
        let none = self.no_interface();
        let drawn = self.not_drawn();
        let connection = self.no_connection(&packet.tuple);
        Trip {
            alive,
            local: no,
            end: t.number(4, end::UNDER_WAY),
            error: Error { is: no, kind: t.number(8, 0u8), code: t.number(8, 0u8) },
            at_first: no,
            packet: *packet,
            in_interface: none,
            noted: none,
            unrouted: no,
            out_interface: none,
            route: self.no_route(),
            physical_in: none,
            physical_out: none,
            bridged: no,
            tracking: Tracking {
                kind: self.tracking_kind(tracking::NONE),
                phase: t.number(2, phase::NEW),
                reply: no,
                second: no,
            },
            zone: t.number(16, 0u8),
            maker: t.number(3, maker::SENDER),
            delivery: t.number(2, delivery::UNICAST),
            bound: t.number(2, bound::BY_PACKET),
            bound_to: none,
            asked_interface: none,
            sourced: t.yes,
            quotes: no,
            mac: self.nothing(48),
            chosen: no,
            chosen_address: self.nothing(self.width()),
            chosen_port: t.number(16, 0u8),
            source_unknown: no,
            drawn_source: drawn,
            drawn_destination: drawn,
            first: connection,
            second: connection,
        }
    }

    /// The first packet of a connection with this tuple.
    pub(crate) fn first_packet_of(&self, tuple: Tuple) -> Packet {
        let t = &self.t;
        let tcp = t.is_number(tuple.protocol, protocol::TCP);
        Packet {
            tuple,
            flags: t.choice(tcp, t.number(8, tcp_flag::SYN), t.number(8, 0u8)),
            ttl: t.number(8, 64u8),
            tos: t.number(8, 0u8),
            mark: t.number(32, 0u8),
        }
    }

    /// The source that the kernel gives to a packet.
    pub(super) fn kernel_source(&self, packet: &Packet) -> V {
        let source = self.nothing(self.width());
        let found = self.lookup(&Key { source, ..self.key_of_made(packet, self.loopback()) });
        let chosen = self.source_for(&found, packet.tuple.destination);
        self.t.choice(chosen.is, chosen.value, self.nowhere())
    }

    /// What becomes of the first packet of a connection.
    pub(crate) fn exchange(&self, mut packet: Packet, start: Start, when: B) -> Fate {
        self.exchange_at(&mut packet, start, (when, 0))
    }

    fn exchange_at(&self, packet: &mut Packet, start: Start, (when, depth): (B, u32)) -> Fate {
        let t = &self.t;
        let (link, any_source) = match start {
            Start::Local { any_source } => (self.no_interface(), any_source),
            Start::Wire(interface) => (interface, false),
        };
        let run = self.run((link, packet.tuple.source), any_source);
        if any_source {
            packet.tuple.source = self.kernel_source(packet);
        }
        let mut forth = self.new_trip(packet, when);
        // The socket call of a container fails.
        let mut kept = t.no;
        let arrival = match start {
            Start::Local { .. } => {
                // TCP of IPv4 looks its route up again with the source that it got.
                let again = t.is_number(packet.tuple.protocol, protocol::TCP);
                let again = t.and(again, t.is(self.is_ipv4()));
                forth.sourced = t.or(t.is(!run.any_source), again);
                self.send(&run, &mut forth);
                None
            }
            Start::Wire(interface) => {
                let arrival = self.arrival(packet, interface);
                let (unroutable, absent) = self.stays_inside(packet, &arrival);
                self.stop(&mut forth, unroutable, end::UNROUTABLE);
                self.stop(&mut forth, absent, end::DROPPED);
                kept = unroutable;
                forth.mac = self.mac_of(packet.tuple.source, interface);
                self.arrive(&run, &mut forth, &arrival);
                Some(arrival)
            }
        };
        run.back.set(true);
        let about = About { run: &run, forth: &forth, sent: packet, arrival: arrival.as_ref() };
        let egress = self.egress_of(&forth, arrival.as_ref());
        let (mut outcome, proxied) = self.consequence(&about, egress);
        let mut connections = Vec::new();
        if proxied != t.no {
            connections = self.proxy(&forth, (proxied, depth), &mut outcome);
        }
        if let Some(arrival) = &arrival {
            let lost = self.unknown_to_sender(packet, arrival.interface);
            let known = t.not(t.is_number(outcome, outcome::UNDETERMINED));
            let timeout = t.number(OUTCOME, outcome::TIMEOUT);
            outcome = t.choice(t.and(lost, known), timeout, outcome);
        }
        outcome = t.choice(kept, t.number(OUTCOME, outcome::UNREACHABLE), outcome);
        Fate { trip: forth, egress, outcome, proxied: connections }
    }

    /// The interface that a packet left by.
    fn egress_of(&self, trip: &Trip, arrival: Option<&Arrival>) -> V {
        let t = &self.t;
        let bridge = arrival.map_or_else(|| self.no_interface(), |arrival| arrival.interface);
        let bridged = t.is_number(trip.end, end::BRIDGED);
        let left = t.is_number(trip.end, end::LEFT);
        let out = t.choice(left, trip.out_interface, self.no_interface());
        t.choice(bridged, bridge, out)
    }

    /// The connections that docker-proxy opens, and what they make of the outcome.
    fn proxy(&self, forth: &Trip, (when, depth): (B, u32), outcome: &mut V) -> Vec<Proxied> {
        let t = &self.t;
        if depth == DEEPEST {
            self.miss(when, "docker-proxy connects to docker-proxy");
            return Vec::new();
        }
        let number = |number: u8| t.number(OUTCOME, number);
        let mut targets: Vec<Proxied> = self
            .proxy_targets(forth)
            .into_iter()
            .map(|(at, to)| Proxied { when: t.and(when, at), to, egress: self.no_interface() })
            .filter(|proxied| proxied.when != t.no)
            .collect();
        let known = t.any(targets.iter().map(|proxied| proxied.when));
        *outcome = t.choice(t.minus(when, known), number(outcome::UNDETERMINED), *outcome);
        let own_family = self.family();
        for family in [Family::Ipv4, Family::Ipv6] {
            let of_family: Vec<&Proxied> =
                targets.iter().filter(|proxied| Family::of(proxied.to.ip()) == family).collect();
            let when = t.any(of_family.iter().map(|proxied| proxied.when));
            if when == t.no {
                continue;
            }
            self.of.set(family);
            let mut to = self.nowhere();
            let mut port = t.number(16, 0u8);
            for proxied in of_family {
                to = t.choice(proxied.when, self.address(proxied.to.ip()), to);
                port = t.choice(proxied.when, t.number(16, proxied.to.port()), port);
            }
            let mut packet = self.first_packet_of(Tuple {
                source: self.nowhere(),
                destination: to,
                protocol: forth.packet.tuple.protocol,
                from_port: t.number(16, 40000u16),
                to_port: port,
            });
            let start = Start::Local { any_source: true };
            let second = self.exchange_at(&mut packet, start, (when, depth + 1));
            self.of.set(own_family);
            let connects = t.is_number(*outcome, outcome::CONNECTS);
            *outcome = t.choice(t.and(when, connects), second.outcome, *outcome);
            for proxied in &mut targets {
                if Family::of(proxied.to.ip()) == family {
                    proxied.egress = second.egress;
                }
            }
        }
        targets
    }

    /// What a packet sets off where its trip ended, and whether docker-proxy got it.
    fn consequence(&self, about: &About<'_>, egress: V) -> (V, B) {
        let t = &self.t;
        let ended = |how: u8| t.is_number(about.forth.end, how);
        let mut local = Answers {
            trip: self.new_trip(about.sent, t.no),
            kind: t.number(2, answer::ANSWER),
            outcome: t.number(OUTCOME, outcome::TIMEOUT),
        };
        local.trip.first = about.forth.first;
        let delivered = ended(end::DELIVERED);
        let proxied = self.delivered(about, &mut local, delivered);
        self.stopped(about, &mut local);
        let answers = local.trip.alive;
        self.send(about.run, &mut local.trip);
        let interface = self.egress_of(&local.trip, None);
        let mut outcome = self.judged(about, &local, (answers, interface));
        outcome = self.reset_on_bridge(about, outcome);
        let left = t.or(ended(end::LEFT), ended(end::BRIDGED));
        if left != t.no {
            let remote = self.left(about, (left, egress));
            outcome = t.choice(left, remote, outcome);
        }
        // kernel-facts G15: the call fails whether or not the error arrives.
        let at_once = self.at_once(about);
        let tcp = self.is_protocol(about.forth, protocol::TCP);
        let fails = t.minus(t.and(at_once, ended(end::REJECTED)), tcp);
        let fails = t.and(fails, t.is_number(outcome, outcome::TIMEOUT));
        let unreachable = t.number(OUTCOME, outcome::UNREACHABLE);
        (t.choice(fails, unreachable, outcome), proxied)
    }

    /// Whether a packet did not get beyond its way out of a local process.
    pub(super) fn at_once(&self, about: &About<'_>) -> B {
        let here = self.t.is(about.arrival.is_none());
        self.t.minus(here, self.has_interface(about.forth.in_interface))
    }

    /// The packet left the host: somebody out there answers, or nobody.
    fn left(&self, about: &About<'_>, (when, interface): (B, V)) -> V {
        let t = &self.t;
        let packet = &about.forth.packet;
        let mut way = self.way_back(about.run, packet, interface);
        // Whatever own address it is, the answer comes back to it.
        let hidden = about.forth.source_unknown;
        let own = Arrival { neighbour: t.no, ..self.arrival(packet, interface) };
        way.arrives = t.or(way.arrives, hidden);
        way.arrival = Arrival::merge(t, hidden, &own, &way.arrival);
        for other in [&mut way.direct, &mut way.unreachable, &mut way.unknown] {
            *other = t.minus(*other, hidden);
        }
        let number = |number: u8| t.number(OUTCOME, number);
        let answers = t.and(when, way.arrives);
        let (back, answered) = self.answer_to(packet);
        let mut remote = Answers {
            trip: self.new_trip(&back, t.and(answers, answered)),
            kind: t.number(2, answer::ANSWER),
            outcome: number(outcome::TIMEOUT),
        };
        remote.trip.first = about.forth.first;
        remote.trip.drawn_source = about.forth.drawn_destination;
        remote.trip.drawn_destination = about.forth.drawn_source;
        remote.trip.mac = self.mac_of(back.tuple.source, way.arrival.interface);
        let answers = remote.trip.alive;
        self.arrive(about.run, &mut remote.trip, &way.arrival);
        let out = self.egress_of(&remote.trip, Some(&way.arrival));
        let judged = self.judged(about, &remote, (answers, out));
        let same = self.same_tuple(&packet.tuple, &about.sent.tuple);
        let connects = t.or(t.minus(way.arrives, answered), t.and(way.direct, same));
        let mut outcome = t.choice(answers, judged, number(outcome::TIMEOUT));
        outcome = t.choice(connects, number(outcome::CONNECTS), outcome);
        outcome = t.choice(way.unreachable, number(outcome::UNREACHABLE), outcome);
        t.choice(way.unknown, number(outcome::UNDETERMINED), outcome)
    }

    /// What the sender experiences of what was sent back.
    fn judged(&self, about: &About<'_>, answers: &Answers, (when, interface): (B, V)) -> V {
        let t = &self.t;
        let trip = &answers.trip;
        let number = |number: u8| t.number(OUTCOME, number);
        let kind = |number: u8| t.is_number(answers.kind, number);
        let tuple = &trip.packet.tuple;
        let expected = self.inverted(&about.sent.tuple);
        let known = t.either(
            kind(answer::ERROR),
            t.equal(tuple.destination, about.sent.tuple.source),
            self.same_tuple(tuple, &expected),
        );
        let left = t.or(t.is_number(trip.end, end::LEFT), t.is_number(trip.end, end::BRIDGED));
        let there = match about.arrival {
            None => t.is_number(trip.end, end::DELIVERED),
            Some(arrival) => {
                let reaches = self.reaches_by(&trip.packet, (arrival.interface, interface));
                t.and(left, reaches)
            }
        };
        let arrives = t.all([known, there, t.not(trip.drawn_destination.is)]);
        let error = t.concat(trip.error_sent().0, trip.error_sent().1);
        let port = t.or(t.is_number(error, 0x0303u16), t.is_number(error, 0x0104u16));
        let refused = t.or(kind(answer::RESET), t.and(kind(answer::ERROR), port));
        let failed = t.choice(refused, number(outcome::REFUSED), number(outcome::UNREACHABLE));
        let experienced = t.choice(kind(answer::ANSWER), number(outcome::CONNECTS), failed);
        let open = t.or(t.is_number(trip.end, end::QUEUED), t.is_number(trip.end, end::UNKNOWN));
        let lost = t.choice(open, number(outcome::UNDETERMINED), number(outcome::TIMEOUT));
        t.choice(when, t.choice(arrives, experienced, lost), answers.outcome)
    }

    /// Whether the sender is reached by the interface that the answer leaves by.
    pub(super) fn reaches_by(&self, packet: &Packet, (came, out): (V, V)) -> B {
        let t = &self.t;
        let to = packet.tuple.destination;
        let uplink = |interface: V| self.interface_is(interface, |name| self.is_uplink(name));
        let both = t.all([self.is_internet(to), uplink(out), uplink(came)]);
        let reaches = t.any([t.equal(out, came), self.is_on_link(to, out), both]);
        t.minus(reaches, self.lost_on_the_way(packet, out))
    }

    /// The answer that the receiver of a packet gives; none to ICMP that asks nothing.
    pub(super) fn answer_to(&self, packet: &Packet) -> (Packet, B) {
        let t = &self.t;
        let tuple = packet.tuple;
        let kind = t.extract(tuple.to_port, 15, 8);
        let asks = self.answer_type(tuple.protocol, kind).is;
        let begins = t.not(t.is_number(t.masked(packet.flags, tcp_flag::SYN), 0u8));
        let both = t.number(8, tcp_flag::SYN | tcp_flag::ACK);
        let flags = t.choice(begins, both, t.number(8, tcp_flag::ACK));
        let tcp = t.is_number(tuple.protocol, protocol::TCP);
        let back = Packet {
            flags: t.choice(tcp, flags, t.number(8, 0u8)),
            ..self.first_packet_of(self.inverted(&tuple))
        };
        (back, t.implies(self.is_icmp(tuple.protocol), asks))
    }
}

impl Trip {
    /// Type and code of the ICMP error that an answer is.
    fn error_sent(&self) -> (V, V) {
        (self.error.kind, self.error.code)
    }
}

impl Answers {
    /// Takes what is sent under a condition.
    pub(super) fn take(&mut self, t: &Terms, when: B, (trip, kind): (&Trip, u8)) {
        if when == t.no {
            return;
        }
        let alive = t.or(self.trip.alive, when);
        self.trip = Trip::merge(t, when, trip, &self.trip);
        self.trip.alive = alive;
        self.kind = t.choice(when, t.number(2, kind), self.kind);
    }

    /// Notes what the sender experiences where nothing is sent.
    pub(super) fn experience(&mut self, t: &Terms, when: B, outcome: u8) {
        self.outcome = t.choice(when, t.number(OUTCOME, outcome), self.outcome);
    }
}

/// A port that was drawn, or an address that was chosen, may be absent.
pub(super) fn unless(t: &Terms, one: Maybe, other: V) -> V {
    t.choice(one.is, one.value, other)
}
