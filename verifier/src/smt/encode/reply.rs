//! What this host sends back: answers, resets and ICMP errors.

use nattrace_model::host::Scope;
use nattrace_model::host::route::RouteKind;
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::syntax::Family;

use super::Encoder;
use super::exchange::{About, Answers, answer, outcome, unless};
use super::route::{Bound, Key};
use super::state::{
    Error, Maybe, Merge, Packet, Tracking, Trip, Tuple, bound, delivery, end, maker, phase,
    tracking,
};
use crate::smt::term::{B, Operation, V};

/// How far a packet got before an ICMP error is made about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The error is attached to its connection at once.
    UnderWay,
    /// Tracking finds its connection by the packet that the error quotes.
    Delivered,
}

impl Encoder<'_> {
    /// What packets set off that are delivered here; those that docker-proxy gets.
    pub(super) fn delivered(&self, about: &About<'_>, answers: &mut Answers, when: B) -> B {
        let t = &self.t;
        if when == t.no {
            return t.no;
        }
        let forth = about.forth;
        let packet = &forth.packet;
        let tuple = packet.tuple;
        let is = |number: u8| t.is_number(tuple.protocol, number);
        let to_all = t.not(t.is_number(forth.delivery, delivery::UNICAST));
        let when = t.minus(when, t.and(to_all, is(protocol::TCP)));
        let receivers = self.receivers(forth);
        self.kernel_answer(about, answers, t.and(when, receivers.kernel));
        let one_host = self.is_one_host(tuple.destination);
        let all = tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN;
        let plain = t.is_number(t.masked(packet.flags, all), tcp_flag::SYN);
        let begins = t.or(t.not(is(protocol::TCP)), t.and(plain, one_host));
        let acknowledges = t.not(t.is_number(t.masked(packet.flags, tcp_flag::ACK), 0u8));
        let stray = t.minus(when, t.or(begins, receivers.kernel));
        self.miss(t.and(stray, acknowledges), "a segment amid a connection");
        let here = t.and(when, begins);
        let routed = self.routed_address(about);
        let unknown = t.and(here, receivers.unknown);
        let published = t.and(unknown, self.is_published(forth));
        let mut proxied = published;
        self.local_answer(about, answers, published, (routed, t.yes));
        let plain = t.minus(unknown, published);
        self.local_answer(about, answers, plain, (tuple.destination, t.yes));
        let datagram = is(protocol::UDP);
        let (mut bound, mut free) = (t.no, t.no);
        for (gets, listener) in &receivers.listeners {
            let gets = t.and(here, *gets);
            match listener.address {
                Some(_) => bound = t.or(bound, gets),
                None => free = t.or(free, gets),
            }
            if listener.processes.iter().any(|process| process == "docker-proxy") {
                proxied = t.or(proxied, gets);
            }
        }
        self.local_answer(about, answers, bound, (tuple.destination, t.yes));
        self.local_answer(about, answers, free, (routed, t.not(datagram)));
        let nobody = t.minus(t.and(when, receivers.nobody), to_all);
        let tcp = t.and(nobody, is(protocol::TCP));
        self.reset(about, answers, t.and(tcp, one_host));
        let (port, other) = match self.family() {
            Family::Ipv4 => ((3, 3), (3, 2)),
            Family::Ipv6 => ((1, 4), (4, 1)),
        };
        let datagram = t.and(nobody, t.or(datagram, is(protocol::UDPLITE)));
        let error = |(kind, code): (u8, u8)| (t.number(8, kind), t.number(8, code));
        self.icmp_error(about, answers, (datagram, Progress::Delivered), error(port));
        let rest = t.minus(nobody, t.or(tcp, datagram));
        self.icmp_error(about, answers, (rest, Progress::Delivered), error(other));
        proxied
    }

    /// An echo is answered by the kernel; other ICMP asks for no answer.
    fn kernel_answer(&self, about: &About<'_>, answers: &mut Answers, when: B) {
        let t = &self.t;
        let tuple = about.forth.packet.tuple;
        let kind = t.extract(tuple.to_port, 15, 8);
        let is = |number: u8| t.is_number(kind, number);
        let of = |number: u8| t.is_number(tuple.protocol, number);
        let query = t.and(of(protocol::ICMP), t.or(is(8), is(13)));
        let query = t.or(query, t.and(of(protocol::ICMPV6), is(128)));
        let query = t.minus(query, self.ignores_echo(&about.forth.packet));
        let sysctls = &self.host.sysctls;
        let ignores = sysctls.get("net.ipv4.icmp_echo_ignore_broadcasts") != Some(0);
        let deaf = t.and(t.is(self.is_ipv4() && ignores), self.is_group(tuple.destination));
        let one_host = self.is_one_host(tuple.destination);
        let when = t.and(when, t.minus(query, deaf));
        let addressed = t.and(when, one_host);
        self.local_answer(about, answers, addressed, (tuple.destination, t.yes));
        let when = t.minus(when, one_host);
        if when == t.no {
            return;
        }
        // An IPv6 query to a group or to an anycast address is answered by an own address, and by
        // the interface by which it came alone (kernel-facts K28).
        let here = t.equal(about.forth.in_interface, self.loopback());
        self.miss(
            t.and(when, here),
            "a local process that asks an anycast address of its own host",
        );
        let towards = self.source_towards(about);
        self.local_answer(about, answers, t.and(when, towards.is), (towards.value, t.no));
    }

    /// The address that routing chooses for the answer to a query.
    fn source_towards(&self, about: &About<'_>) -> Maybe {
        let t = &self.t;
        let packet = &about.forth.packet;
        let source = packet.tuple.source;
        let (back, _) = self.answer_to(packet);
        let back = Packet { mark: self.reflected_mark(packet), ..back };
        let out_interface = self.asked_interface(about);
        let key = Key {
            source: self.nothing(self.width()),
            tos: t.number(8, 0u8),
            out_interface,
            root: t.yes,
            ..self.key_of_made(&back, self.loopback())
        };
        let key = self.key_of_answer(key, t.yes);
        let held = Bound { kind: t.number(2, bound::TO), to: out_interface };
        let held = if self.is_ipv4() { self.by_packet() } else { held };
        self.source_for(&self.lookup_bound(&key, held), source)
    }

    /// The interface that the route of an echo answer of IPv6 is asked to lead to.
    fn asked_interface(&self, about: &About<'_>) -> V {
        let t = &self.t;
        if self.is_ipv4() {
            return self.no_interface();
        }
        let came = about.forth.in_interface;
        let own = self.owner(about.forth.packet.tuple.destination);
        t.choice(t.equal(came, self.loopback()), own, came)
    }

    /// Whom a datagram is answered: to send to no address is to send to oneself.
    fn asker(&self, packet: &Packet) -> V {
        let here: u128 = if self.is_ipv4() { 0x7f00_0001 } else { 1 };
        let source = packet.tuple.source;
        self.t.choice(self.is_unspecified(source), self.t.number(self.width(), here), source)
    }

    /// The address that a socket bound to none answers from: for a datagram routing chooses it.
    fn routed_address(&self, about: &About<'_>) -> V {
        let t = &self.t;
        let packet = &about.forth.packet;
        let tuple = packet.tuple;
        let asker = self.asker(packet);
        let key = Key {
            protocol: tuple.protocol,
            ported: self.has_ports(tuple.protocol),
            from_port: tuple.to_port,
            to_port: tuple.from_port,
            ..self.key_to(asker, self.loopback())
        };
        let key = self.key_by_link(key, self.link_to(about.run, asker));
        let chosen = self.source_for(&self.lookup(&key), asker);
        let datagram = t.is_number(tuple.protocol, protocol::UDP);
        t.choice(datagram, unless(t, chosen, tuple.destination), tuple.destination)
    }

    /// A packet that goes back, with what it takes from the one that it answers.
    fn back(&self, about: &About<'_>, packet: &Packet) -> Trip {
        let mut trip = self.new_trip(packet, self.t.yes);
        trip.first = about.forth.first;
        trip.drawn_source = about.forth.drawn_destination;
        trip.drawn_destination = about.forth.drawn_source;
        trip
    }

    /// A local process answers from an address.
    fn local_answer(
        &self,
        about: &About<'_>,
        answers: &mut Answers,
        when: B,
        (source, sourced): (V, B),
    ) {
        let t = &self.t;
        if when == t.no {
            return;
        }
        let packet = &about.forth.packet;
        let tuple = packet.tuple;
        let (mut back, answered) = self.answer_to(packet);
        answers.experience(t, t.minus(when, answered), outcome::CONNECTS);
        let when = t.and(when, answered);
        back.tuple.source = source;
        let datagram = t.is_number(tuple.protocol, protocol::UDP);
        let asker = self.asker(packet);
        back.tuple.destination = t.choice(datagram, asker, back.tuple.destination);
        let by_kernel = self.is_icmp(tuple.protocol);
        back.tos = t.choice(by_kernel, packet.tos, back.tos);
        let accepts = t.is(self.is_on("net.ipv4.tcp_fwmark_accept"));
        let accepts = t.and(accepts, t.is_number(tuple.protocol, protocol::TCP));
        let accepted = t.choice(accepts, packet.mark, back.mark);
        back.mark = t.choice(by_kernel, self.reflected_mark(packet), accepted);
        let mut trip = self.back(about, &back);
        trip.sourced = sourced;
        let asked = self.asked_interface(about);
        trip.asked_interface = t.choice(by_kernel, asked, trip.asked_interface);
        if !self.is_ipv4() {
            let held = t.minus(by_kernel, sourced);
            trip.bound = t.choice(held, t.number(2, bound::TO), trip.bound);
            trip.bound_to = t.choice(held, asked, trip.bound_to);
        }
        let number = |number: u8| t.number(3, number);
        trip.maker = t.choice(by_kernel, number(maker::ICMP_ANSWER), number(maker::SENDER));
        answers.take(t, when, (&trip, answer::ANSWER));
    }

    /// The reset that answers a segment, and the packets that none answers.
    fn reset_of(&self, forth: &Trip) -> (Packet, B) {
        let t = &self.t;
        let packet = &forth.packet;
        let has = |flag: u8| t.not(t.is_number(t.masked(packet.flags, flag), 0u8));
        let (back, answered) = self.answer_to(packet);
        let both = t.number(8, tcp_flag::RST | tcp_flag::ACK);
        let flags = t.choice(has(tcp_flag::ACK), t.number(8, tcp_flag::RST), both);
        let group = self.leads_to_group(forth);
        let lost = self.lacks_route_to_sender(forth);
        let silent = t.any([has(tcp_flag::RST), lost, group, t.not(answered)]);
        (Packet { flags, ..back }, silent)
    }

    /// The reset of this host's TCP.
    fn reset(&self, about: &About<'_>, answers: &mut Answers, when: B) {
        let t = &self.t;
        let packet = &about.forth.packet;
        let (mut back, silent) = self.reset_of(about.forth);
        back.tos = t.masked(packet.tos, !0x03u8);
        back.mark = self.reflected_mark(packet);
        let mut trip = self.back(about, &back);
        trip.maker = t.number(3, maker::TCP_RESET);
        if !self.is_ipv4() {
            let to = packet.tuple.source;
            let narrow = t.or(self.is_loopback(to), self.is_link_local6(to));
            let interface = match about.arrival {
                Some(arrival) => arrival.interface,
                None => self.owner(packet.tuple.destination),
            };
            let narrow = t.and(narrow, self.has_interface(interface));
            let number = |number: u8| t.number(2, number);
            trip.bound = t.choice(narrow, number(bound::TO), number(bound::BY_PACKET));
            trip.bound_to = interface;
        }
        answers.take(t, t.minus(when, silent), (&trip, answer::RESET));
    }

    /// What packets set off that were stopped on their way.
    pub(super) fn stopped(&self, about: &About<'_>, answers: &mut Answers) {
        let t = &self.t;
        let forth = about.forth;
        let ended = |how: u8| t.is_number(forth.end, how);
        let to_all = t.not(t.is_number(forth.delivery, delivery::UNICAST));
        let tcp = self.is_protocol(forth, protocol::TCP);
        let at_once = self.at_once(about);
        let open = t.or(ended(end::QUEUED), ended(end::UNKNOWN));
        answers.experience(t, open, outcome::UNDETERMINED);
        let dropped = t.or(ended(end::DROPPED), ended(end::MARTIAN));
        let fails = t.minus(t.and(dropped, at_once), tcp);
        answers.experience(t, fails, outcome::UNREACHABLE);
        let unroutable = ended(end::UNROUTABLE);
        let refused = t.and(unroutable, at_once);
        let fails = t.and(refused, t.or(forth.at_first, t.not(tcp)));
        answers.experience(t, fails, outcome::UNREACHABLE);
        let error = (forth.error.kind, forth.error.code);
        let number = |number: u8| t.number(8, number);
        let sends = t.minus(t.and(unroutable, forth.error.is), t.or(at_once, to_all));
        self.icmp_error(about, answers, (sends, Progress::UnderWay), error);
        let expired = if self.is_ipv4() { 11 } else { 3 };
        let expires = t.minus(ended(end::TTL_EXPIRED), to_all);
        let time = (number(expired), number(0));
        self.icmp_error(about, answers, (expires, Progress::UnderWay), time);
        let rejected = t.minus(ended(end::REJECTED), to_all);
        let verified = [1u8, 2, 6, 17, 33, 47, 50, 51, 58, 89, 112, 132, 136];
        let verified = t.any(verified.map(|known| self.is_protocol(forth, known)));
        let sends = (t.and(rejected, verified), Progress::UnderWay);
        self.icmp_error(about, answers, sends, error);
        self.reject_with_reset(about, answers, ended(end::RESET));
    }

    /// How the packet that is answered stands with its connection, as one of the way back.
    fn related(&self, forth: &Trip) -> Tracking {
        Tracking {
            kind: self.tracking_kind(tracking::TRACKED),
            phase: self.t.number(2, phase::RELATED),
            reply: self.t.yes,
            second: forth.tracking.second,
        }
    }

    /// How tracking stands for what is made about a packet under way.
    fn tracking_of(&self, forth: &Trip, trip: &Trip) -> Tracking {
        let t = &self.t;
        let untracked = t.is_number(forth.tracking.kind, tracking::UNTRACKED);
        let kind = |number: u8| self.tracking_kind(number);
        let other = Tracking {
            kind: t.choice(untracked, kind(tracking::ATTACHED), kind(tracking::NONE)),
            ..trip.tracking
        };
        Tracking::merge(t, self.is_tracked(forth), &self.related(forth), &other)
    }

    /// The reset that REJECT makes (`nf_send_reset`); what came in by a port of a bridge is
    /// answered elsewhere.
    fn reject_with_reset(&self, about: &About<'_>, answers: &mut Answers, when: B) {
        let t = &self.t;
        let forth = about.forth;
        let (mut back, silent) = self.reset_of(forth);
        back.mark = self.reflected_mark(&forth.packet);
        let anybody = t.and(t.is(!self.is_ipv4()), self.is_unspecified(forth.packet.tuple.source));
        let when = t.minus(when, t.or(silent, anybody));
        let when = t.minus(when, self.has_interface(forth.physical_in));
        let mut trip = self.back(about, &back);
        trip.maker = t.number(3, maker::REJECT_RESET);
        trip.bound = t.number(2, bound::FREE);
        trip.tracking = self.tracking_of(forth, &trip);
        answers.take(t, when, (&trip, answer::RESET));
    }

    /// What came in by a port of a bridge with br_netfilter on is reset by a frame that goes
    /// straight to that port.
    pub(super) fn reset_on_bridge(&self, about: &About<'_>, other: V) -> V {
        let t = &self.t;
        let forth = about.forth;
        let bridge = forth.physical_in;
        let when = t.and(t.is_number(forth.end, end::RESET), self.has_interface(bridge));
        let Some(arrival) = about.arrival.filter(|_| when != t.no) else { return other };
        let (back, silent) = self.reset_of(forth);
        let expected = self.inverted(&about.sent.tuple);
        let arrives = t.all([
            t.not(silent),
            t.not(t.and(t.is(!self.is_ipv4()), self.is_unspecified(forth.packet.tuple.source))),
            t.not(forth.drawn_source.is),
            self.same_tuple(&back.tuple, &expected),
            self.reaches_by(&back, (arrival.interface, bridge)),
        ]);
        let number = |number: u8| t.number(3, number);
        let outcome = t.choice(arrives, number(outcome::REFUSED), number(outcome::TIMEOUT));
        t.choice(when, outcome, other)
    }

    /// An ICMP error from this host to the packet's sender (kernel-facts A8, D15, G15).
    fn icmp_error(
        &self,
        about: &About<'_>,
        answers: &mut Answers,
        (when, progress): (B, Progress),
        (kind, code): (V, V),
    ) {
        let t = &self.t;
        let when = t.minus(when, self.no_error_for(about.forth));
        if when == t.no {
            return;
        }
        let forth = about.forth;
        let packet = &forth.packet;
        let number = if self.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        let tos = match self.family() {
            Family::Ipv4 => {
                let kept = t.masked(packet.tos, 0x1eu8);
                t.binary(Operation::Or, kept, t.number(8, 0xc0u8))
            }
            Family::Ipv6 => t.number(8, 0u8),
        };
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let nobody = t.and(t.is(self.is_ipv4()), self.is_unspecified(from));
        let tuple = Tuple {
            source: to,
            destination: t.choice(nobody, to, from),
            protocol: t.number(8, number),
            from_port: t.number(16, 0u8),
            to_port: t.concat(kind, code),
        };
        let mark = self.reflected_mark(packet);
        let mut back = Packet { tos, mark, ..self.first_packet_of(tuple) };
        let (source, sourced) = self.error_source(about, &back);
        back.tuple.source = source;
        let mut trip = self.new_trip(&back, t.yes);
        trip.first = forth.first;
        trip.error = Error { is: t.yes, kind, code };
        trip.maker = t.number(3, maker::ICMP_ERROR);
        trip.sourced = sourced;
        match progress {
            Progress::UnderWay => trip.tracking = self.tracking_of(forth, &trip),
            Progress::Delivered => trip.quotes = self.is_tracked(forth),
        }
        answers.take(t, when, (&trip, answer::ERROR));
    }

    /// The source of an ICMP error, and whether its route is sought with it.
    fn error_source(&self, about: &About<'_>, back: &Packet) -> (V, B) {
        let t = &self.t;
        let forth = about.forth;
        let packet = &forth.packet;
        let (from, to) = (packet.tuple.source, packet.tuple.destination);
        let (came, noted) = (forth.in_interface, forth.noted);
        let addressed = match self.family() {
            Family::Ipv4 => {
                let own = t.or(self.is_local(to), self.is_loopback(to));
                let here = t.minus(self.is_from_here(from), self.is_unspecified(to));
                let own = t.either(forth.unrouted, here, own);
                t.minus(own, t.and(forth.unrouted, forth.bridged))
            }
            Family::Ipv6 => {
                let narrow = t.or(self.is_loopback(to), self.is_link_local6(to));
                let owner = self.owner(to);
                let near =
                    t.any([t.not(narrow), t.not(self.has_interface(came)), t.equal(owner, came)]);
                t.or(t.and(self.has_interface(owner), near), self.is_anycast(to))
            }
        };
        let key = Key {
            source: self.nothing(self.width()),
            root: t.yes,
            ..self.key_of_made(back, self.loopback())
        };
        let key = self.key_by_link(key, self.link_to(about.run, from));
        let found = self.lookup(&key);
        let chosen = self.source_for(&found, from);
        if self.is_ipv4() && self.is_on("net.ipv4.icmp_errors_use_inbound_ifaddr") {
            // kernel-facts K24
            let looped = t.equal(came, self.loopback());
            let unnamed = t.any([looped, addressed, forth.unrouted]);
            let named = t.minus(self.has_interface(came), unnamed);
            let mut own = self.nothing(self.width());
            for name in self.ways_out(came) {
                let here = self.interface_named(came, name);
                let within = self.select_within4(name, from, Scope::Link);
                own = Maybe::merge(t, here, &within, &own);
            }
            let chosen = t.choice(named, unless(t, own, to), unless(t, chosen, to));
            return (t.choice(addressed, to, chosen), t.or(addressed, named));
        }
        if !self.is_ipv4() {
            // kernel-facts K27, K31
            let unmarked = Key { mark: t.number(32, 0u8), ported: t.no, ..key };
            let found = self.lookup(&unmarked);
            let routed = found.routes.iter();
            let named = routed.filter(|(_, route)| route.preferred_source.is_some());
            let named = t.any(named.map(|(when, _)| *when));
            let by_interface = t.minus(self.has_interface(noted), named);
            let mut own = self.nothing(self.width());
            for name in self.ways_out(noted) {
                let here = self.interface_named(noted, name);
                if here != t.no && by_interface != t.no {
                    own = Maybe::merge(t, here, &self.select6(name, from), &own);
                }
            }
            let by_interface = t.and(by_interface, own.is);
            let sourced = t.or(addressed, by_interface);
            let chosen = t.choice(by_interface, own.value, unless(t, chosen, to));
            return (t.choice(addressed, to, chosen), sourced);
        }
        (t.choice(addressed, to, unless(t, chosen, to)), addressed)
    }

    /// Packets that no ICMP error answers (RFC 1122 section 3.2.2, kernel-facts G15).
    fn no_error_for(&self, forth: &Trip) -> B {
        let t = &self.t;
        let tuple = forth.packet.tuple;
        let kind = t.extract(tuple.to_port, 15, 8);
        let is_error = match self.family() {
            Family::Ipv4 => {
                let queries = [0u8, 8, 13, 14, 15, 16, 17, 18];
                let query = t.any(queries.map(|known| t.is_number(kind, known)));
                t.minus(t.is_number(tuple.protocol, protocol::ICMP), query)
            }
            Family::Ipv6 => {
                let error = t.within(kind, 0u8, 127u8);
                t.and(t.is_number(tuple.protocol, protocol::ICMPV6), error)
            }
        };
        let anybody = t.and(t.is(!self.is_ipv4()), self.is_unspecified(tuple.source));
        // kernel-facts K31
        let here = t.and(self.is_before_routing(forth), self.is_from_here(tuple.source));
        let to = tuple.destination;
        let foreign = t.minus(here, t.or(self.is_local(to), self.is_unspecified(to)));
        let lost = self.lacks_route_to_sender(forth);
        t.any([anybody, lost, foreign, self.leads_to_group(forth), is_error])
    }

    /// Whether a packet of IPv4 has no route but that to its sender.
    fn is_before_routing(&self, forth: &Trip) -> B {
        let t = &self.t;
        t.all([t.is(self.is_ipv4()), forth.unrouted, t.not(forth.bridged)])
    }

    /// Whether what is refused before routing has no route to its sender, sought by the address
    /// alone.
    fn lacks_route_to_sender(&self, forth: &Trip) -> B {
        let t = &self.t;
        let before = t.minus(forth.unrouted, forth.bridged);
        if before == t.no {
            return t.no;
        }
        let from = forth.packet.tuple.source;
        let key = Key { root: t.yes, ..self.key_to(from, self.loopback()) };
        let found = self.lookup(&key);
        let refused = found.refused.iter().map(|(when, _)| *when);
        let refused = refused.chain(found.of_kind(RouteKind::refuses).map(|(when, _)| when));
        let nobody = t.and(t.is(self.is_ipv4()), self.is_unspecified(from));
        t.and(before, t.or(t.any(refused), t.minus(found.none, nobody)))
    }

    /// Whether the route that a packet has is one to a group.
    fn leads_to_group(&self, forth: &Trip) -> B {
        let t = &self.t;
        let tuple = forth.packet.tuple;
        let sender = t.minus(self.is_group(tuple.source), self.is_unspecified(tuple.source));
        let receiver = self.is_group(tuple.destination);
        t.either(self.is_before_routing(forth), sender, receiver)
    }

    /// Whether a route to the sender of a packet of IPv4 leads to the host itself.
    fn is_from_here(&self, from: V) -> B {
        self.t.any([self.is_local(from), self.is_loopback(from), self.is_unspecified(from)])
    }
}
