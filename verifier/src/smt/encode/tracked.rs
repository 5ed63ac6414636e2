//! Connection tracking and NAT at their places among the chains of a hook.

use nattrace_model::hook::Hook;
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_model::ruleset::{ChainId, ChainKind};

use super::nat::Manip;
use super::state::{Connection, Merge, Tracking, Trip, Tuple, end, maker, phase, tracking};
use super::translation::manip_of;
use super::{Encoder, Run};
use crate::smt::term::{B, V};

impl Encoder<'_> {
    /// A connection that there is not.
    pub(super) fn no_connection(&self, tuple: &Tuple) -> Connection {
        let no = self.t.no;
        let drawn = self.not_drawn();
        Connection {
            begun: no,
            original: *tuple,
            reply: *tuple,
            source_translated: no,
            destination_translated: no,
            source_settled: no,
            destination_settled: no,
            seen_reply: no,
            confirmed: no,
            drawn_source: drawn,
            drawn_destination: drawn,
            begun_source: drawn,
            begun_destination: drawn,
            mark: self.t.number(32, 0u8),
            zone: self.t.number(16, 0u8),
            masqueraded_by: self.no_interface(),
        }
    }

    /// Connection tracking looks at packets that it has not seen (`nf_conntrack_in`).
    pub(super) fn track(&self, run: &Run, trip: &mut Trip, when: B) {
        let t = &self.t;
        if !self.system.rules.tracks_connections(self.family()) {
            return;
        }
        let kind = |number: u8| t.is_number(trip.tracking.kind, number);
        let attached = kind(tracking::ATTACHED);
        let fresh = t.any([kind(tracking::NONE), attached, kind(tracking::TEMPLATE)]);
        let when = t.all([when, trip.alive, fresh]);
        if when == t.no {
            return;
        }
        let same_zone = t.equal(trip.first.zone, trip.zone);
        let quoted = t.and(trip.quotes, same_zone);
        let tuple = trip.packet.tuple;
        let settled = t.all([trip.first.begun, trip.first.confirmed, same_zone]);
        let forwards = t.and(settled, self.same_tuple(&tuple, &trip.first.original));
        let backwards = t.and(settled, self.same_tuple(&tuple, &trip.first.reply));
        // kernel-facts K32
        let forwards = t.minus(forwards, backwards);
        let known = t.minus(t.or(forwards, backwards), quoted);
        let misjudged = self.is_misjudged(trip);
        let (quoted, known) = (t.minus(quoted, misjudged), t.minus(known, misjudged));
        let backwards = t.minus(backwards, misjudged);
        let (begins, untracked) = self.first_packet(run, trip);
        let begins = t.minus(begins, misjudged);
        let unknown = t.not(t.or(quoted, known));
        let seen = t.or(trip.first.seen_reply, backwards);
        let number = |number: u8| t.number(2, number);
        let stands = Tracking {
            kind: t.number(3, tracking::TRACKED),
            phase: t.choice(
                quoted,
                number(phase::RELATED),
                t.choice(t.and(known, seen), number(phase::ESTABLISHED), number(phase::NEW)),
            ),
            reply: t.or(quoted, t.and(known, backwards)),
            second: t.and(unknown, t.is(run.back.get())),
        };
        let found = t.or(t.not(unknown), begins);
        let invalid = t.choice(
            untracked,
            t.number(3, tracking::UNTRACKED),
            t.choice(attached, trip.tracking.kind, t.number(3, tracking::INVALID)),
        );
        let other = Tracking { kind: invalid, ..trip.tracking };
        let now = Tracking::merge(t, found, &stands, &other);
        let replied = t.all([when, known, backwards]);
        trip.first.seen_reply = t.or(trip.first.seen_reply, replied);
        trip.tracking = Tracking::merge(t, when, &now, &trip.tracking);
        let begun = Connection {
            begun: t.yes,
            reply: self.inverted(&tuple),
            zone: trip.zone,
            drawn_source: trip.drawn_source,
            drawn_destination: trip.drawn_destination,
            begun_source: trip.drawn_source,
            begun_destination: trip.drawn_destination,
            ..self.no_connection(&tuple)
        };
        let begins = t.all([when, unknown, begins]);
        let place = if run.back.get() { &mut trip.second } else { &mut trip.first };
        *place = Connection::merge(t, begins, &begun, place);
    }

    /// UDP-Lite from a wire, whose checksum tracking verifies as if it were UDP's (kernel-facts K16).
    fn is_misjudged(&self, trip: &Trip) -> B {
        let t = &self.t;
        let verified = self.host.sysctls.get("net.netfilter.nf_conntrack_checksum") != Some(0);
        let lite = t.is_number(trip.packet.tuple.protocol, protocol::UDPLITE);
        t.minus(t.and(lite, t.is(verified)), trip.local)
    }

    /// The packets that begin a connection, and those that are not tracked (kernel-facts F3, F5,
    /// J2).
    fn first_packet(&self, run: &Run, trip: &Trip) -> (B, B) {
        let t = &self.t;
        let tuple = trip.packet.tuple;
        let is = |number: u8| t.is_number(tuple.protocol, number);
        let flags = tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN;
        let asks = t.masked(trip.packet.flags, flags);
        let loose = self.host.sysctls.get("net.netfilter.nf_conntrack_tcp_loose") != Some(0);
        let picked_up = t.and(t.is(loose), t.is_number(asks, tcp_flag::ACK));
        let segment = t.or(t.is_number(asks, tcp_flag::SYN), picked_up);
        let kind = t.extract(tuple.to_port, 15, 8);
        let one_of = |kinds: &[u8]| t.any(kinds.iter().map(|known| t.is_number(kind, *known)));
        let query = t.and(is(protocol::ICMP), one_of(&[8, 13, 15, 17]));
        let query6 = t.and(is(protocol::ICMPV6), one_of(&[128, 139]));
        let discovery = t.or(t.within(kind, 130u8, 136u8), one_of(&[143]));
        let icmp = self.is_icmp(tuple.protocol);
        let other = t.not(t.or(is(protocol::TCP), icmp));
        // What answers over SCTP begins nothing.
        let other = t.minus(other, t.and(is(protocol::SCTP), t.is(run.back.get())));
        let begins = t.any([t.and(is(protocol::TCP), segment), query, query6, other]);
        (begins, t.and(is(protocol::ICMPV6), discovery))
    }

    fn is_settled(&self, own: &Connection, manip: Manip) -> B {
        match manip {
            Manip::Source => own.source_settled,
            Manip::Destination => own.destination_settled,
        }
    }

    /// NAT at a hook (`nf_nat_inet_fn`).
    pub(super) fn nat(
        &self,
        run: &Run,
        trip: &mut Trip,
        (hook, chains): (Hook, &[ChainId]),
        when: B,
    ) {
        let t = &self.t;
        let when = t.all([when, trip.alive, self.is_tracked(trip)]);
        if when == t.no {
            return;
        }
        let manip = manip_of(hook);
        let made_by = |number: u8| t.is_number(trip.maker, number);
        let later = t.is_number(trip.tracking.phase, phase::ESTABLISHED);
        let first = t.not(t.or(trip.tracking.reply, later));
        let refused = made_by(maker::REJECT_RESET);
        let own = t.minus(first, t.or(made_by(maker::ICMP_ERROR), refused));
        let settled = self.is_settled(&self.connection(trip), manip);
        let asks = t.minus(t.and(when, t.or(own, refused)), settled);
        for id in chains {
            let base = self.system.rules.chain(*id).and_then(|chain| chain.base);
            if base.is_none_or(|base| base.kind != ChainKind::Nat) {
                continue;
            }
            let open = t.not(self.is_settled(&self.connection(trip), manip));
            self.base_chain(run, trip, hook, (*id, t.and(asks, open)));
        }
        let open = t.not(self.is_settled(&self.connection(trip), manip));
        let open = t.all([asks, open, trip.alive]);
        self.bind_to_itself(trip, manip, open);
        self.translate(run, trip, hook, t.and(when, trip.alive));
        if hook == Hook::Postrouting {
            self.keep_interface(trip, when);
        }
    }

    /// What MASQUERADE translated goes on leaving by the interface of the first packet, or not at
    /// all (kernel-facts K15).
    fn keep_interface(&self, trip: &mut Trip, when: B) {
        let t = &self.t;
        let by = self.connection(trip).masqueraded_by;
        let elsewhere = t.minus(self.has_interface(by), t.equal(by, trip.out_interface));
        let error = t.is_number(trip.maker, maker::ICMP_ERROR);
        let held = t.minus(elsewhere, t.or(error, trip.tracking.reply));
        self.stop(trip, t.and(when, held), end::DROPPED);
    }

    /// Confirms the connections that packets begin, where they leave the hooks; a second one whose
    /// answers would be taken for those of the first is not, and its packet dropped
    /// (kernel-facts K19).
    pub(super) fn confirm(&self, trip: &mut Trip, when: B) {
        let t = &self.t;
        let begins = t.minus(self.is_tracked(trip), trip.tracking.reply);
        let when = t.all([when, trip.alive, begins]);
        let claims = self.claims(trip);
        let clash = self.taken(&claims, &self.inverted(&trip.second.reply));
        // What is drawn, is free.
        let settled = t.or(trip.second.confirmed, trip.second.drawn_source.is);
        let clash = t.all([when, clash, t.not(settled)]);
        self.stop(trip, clash, end::DROPPED);
        let when = t.minus(when, clash);
        self.change_connection(trip, when, |own| Connection { confirmed: t.yes, ..*own });
    }

    /// The number of a kind of tracking.
    pub(super) fn tracking_kind(&self, number: u8) -> V {
        self.t.number(3, number)
    }
}
