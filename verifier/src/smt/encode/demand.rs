//! A question of a policy: which packets it is about, and when it is answered otherwise than
//! demanded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::System;
use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::policy::Protocol;
use nattrace_parser::syntax::Family;

use super::Encoder;
use super::exchange::{Fate, Start, outcome};
use super::state::{Tuple, end};
use crate::policy::{AddressSet, Demand, Landing, Question, Service, Spot, Unchanged, Where};
use crate::smt::term::{B, V};

/// The fields that a packet of a question may choose.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) source: V,
    pub(crate) destination: V,
    pub(crate) protocol: V,
    pub(crate) source_port: V,
    pub(crate) destination_port: V,
}

/// A question as terms.
pub(crate) struct Obligation<'s> {
    pub(crate) encoder: Encoder<'s>,
    pub(crate) fields: Fields,
    /// The packets of the question.
    pub(crate) packets: B,
    /// Those that the demand is about.
    pub(crate) concerned: B,
    /// Those that break it.
    pub(crate) broken: B,
    /// Those of which nobody knows.
    pub(crate) open: B,
    /// Those that meet what is not encoded, with what that is.
    pub(crate) missing: Vec<(B, String)>,
}

/// What was encoded of a question, in the terms of an encoder.
pub(crate) struct Encoded {
    pub(crate) fields: Fields,
    pub(crate) packets: B,
    pub(crate) concerned: B,
    pub(crate) broken: B,
    pub(crate) open: B,
    pub(crate) missing: Vec<(B, String)>,
}

/// Encodes a question.
pub(crate) fn obligation<'s>(
    system: &'s System,
    question: &Question,
    most_terms: usize,
) -> Obligation<'s> {
    let encoder = Encoder::new(system, question.from.sources.family(), most_terms);
    let Encoded { fields, packets, concerned, broken, open, missing } =
        encoded(&encoder, question, 1);
    Obligation { packets, concerned, broken, open, missing, fields, encoder }
}

/// Encodes a question with the terms of an encoder; the fields of the packets of each question of
/// an encoder have names of their own.
pub(crate) fn encoded(encoder: &Encoder<'_>, question: &Question, number: usize) -> Encoded {
    let t = &encoder.t;
    let name = |field: &str| {
        if number == 1 { field.to_owned() } else { format!("{field}_{number}") }
    };
    let fields = Fields {
        source: t.variable(&name("source"), encoder.width()),
        destination: t.variable(&name("destination"), encoder.width()),
        protocol: t.variable(&name("protocol"), 8),
        source_port: t.variable(&name("source_port"), 16),
        destination_port: t.variable(&name("destination_port"), 16),
    };
    let packets = encoder.packets(question, &fields);
    let (tuple, start) = encoder.start(question, &fields);
    let bound = question.from.at == Where::Bound;
    let elsewhere = t.not(t.or(encoder.is_own(fields.source), encoder.is_loopback(fields.source)));
    let before = encoder.missing().len();
    encoder.miss(t.and(t.is(bound), elsewhere), "a process bound to an address of another host");
    let packet = encoder.first_packet_of(tuple);
    let fate = encoder.exchange(packet, start, t.yes);
    let (concerned, broken, open) = encoder.demanded(question, (&packet, &fate));
    let missing = encoder.missing().into_iter().skip(before);
    let missing = missing.map(|(when, why)| (t.and(packets, when), why));
    let missing: Vec<_> = missing.filter(|(when, _)| *when != t.no).collect();
    Encoded {
        fields,
        packets,
        concerned: t.and(packets, concerned),
        broken: t.and(packets, broken),
        open: t.and(packets, open),
        missing,
    }
}

/// The question about one packet, for the simulator.
pub(crate) fn flow(question: &Question, header: &[u128; 5]) -> Flow {
    let family = question.from.sources.family();
    let [source, destination, number, from_port, to_port] = *header;
    let address = |bits: u128| -> IpAddr {
        match family {
            Family::Ipv4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(bits).into(),
        }
    };
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    let ported = crate::header::has_ports(number);
    let icmp = crate::header::is_icmp(number);
    let port = |port: u128| ported.then(|| u16::try_from(port).unwrap_or(u16::MAX));
    let echo = if family == Family::Ipv4 { 8 } else { 128 };
    Flow {
        source: address(source),
        destination: address(destination),
        protocol: number,
        source_port: port(from_port),
        destination_port: port(to_port),
        in_interface: match &question.from.at {
            Where::Behind(interface) => Some(interface.clone()),
            Where::Unbound | Where::Bound => None,
        },
        state: FlowState::New,
        mark: 0,
        tcp_flags: (number == protocol::TCP).then_some(tcp_flag::SYN),
        icmp: icmp.then_some((echo, 0)),
        ttl: None,
        any_source: question.from.at == Where::Unbound,
    }
}

impl Encoder<'_> {
    /// The packets of a question as they are sent: the first ones of connections.
    fn packets(&self, question: &Question, fields: &Fields) -> B {
        let t = &self.t;
        let mut all = vec![self.well_formed(fields)];
        if let Some(to) = &question.to {
            all.push(self.in_set(to, fields.destination));
        }
        all.push(self.served(&question.service, fields.protocol, fields.destination_port));
        let unbound = question.from.at == Where::Unbound;
        if !unbound || !question.from.sources.is_empty() {
            all.push(self.in_set(&question.from.sources, fields.source));
        }
        if question.leaves_out_udplite() {
            all.push(t.not(t.is_number(fields.protocol, protocol::UDPLITE)));
        }
        if let Where::Behind(_) = question.from.at {
            // What one sends to oneself is on no wire.
            all.push(t.not(t.equal(fields.source, fields.destination)));
        }
        let pair = |from: &AddressSet, to: &AddressSet| {
            t.and(self.in_set(from, fields.source), self.in_set(to, fields.destination))
        };
        all.extend(question.without.iter().map(|(who, what)| t.not(pair(who, what))));
        for exception in &question.except {
            let to = self.in_set(&exception.to, fields.destination);
            let served = self.served(&exception.service, fields.protocol, fields.destination_port);
            let from = if unbound { t.yes } else { self.in_set(&exception.sources, fields.source) };
            all.push(t.not(t.all([to, served, from])));
        }
        t.all(all)
    }

    /// Ports where the protocol has some, and none else; the ICMP of the family only.
    fn well_formed(&self, fields: &Fields) -> B {
        let t = &self.t;
        let zero = |port: V| t.is_number(port, 0u8);
        let (from, to) = (zero(fields.source_port), zero(fields.destination_port));
        let ported = self.has_ports(fields.protocol);
        let ports = t.either(ported, t.not(t.or(from, to)), t.and(from, to));
        let foreign = match self.family() {
            Family::Ipv4 => protocol::ICMPV6,
            Family::Ipv6 => protocol::ICMP,
        };
        t.minus(ports, t.is_number(fields.protocol, foreign))
    }

    /// The tuple of a packet, and where it starts.
    fn start(&self, question: &Question, fields: &Fields) -> (Tuple, Start) {
        let t = &self.t;
        let icmp = self.is_icmp(fields.protocol);
        let echo: u16 = if self.is_ipv4() { 8 << 8 } else { 128 << 8 };
        let tuple = Tuple {
            source: fields.source,
            destination: fields.destination,
            protocol: fields.protocol,
            from_port: t.choice(icmp, t.number(16, 1u8), fields.source_port),
            to_port: t.choice(icmp, t.number(16, echo), fields.destination_port),
        };
        let start = match &question.from.at {
            Where::Unbound => Start::Local { any_source: true },
            Where::Bound => Start::Local { any_source: false },
            Where::Behind(interface) => Start::Wire(self.interface(interface)),
        };
        (tuple, start)
    }

    /// Whether a service means packets of a protocol with a destination port.
    fn served(&self, service: &Service, number: V, port: V) -> B {
        let t = &self.t;
        let protocols = self.of_protocols(&service.protocols, number);
        if service.ports.is_empty() {
            return protocols;
        }
        let ports = service.ports.iter().map(|(first, last)| t.within(port, *first, *last));
        t.all([protocols, self.has_ports(number), t.any(ports)])
    }

    fn of_protocols(&self, protocols: &[Protocol], number: V) -> B {
        let t = &self.t;
        if protocols.is_empty() {
            return t.yes;
        }
        t.any(protocols.iter().map(|wanted| match wanted {
            Protocol::Icmp => self.is_icmp(number),
            Protocol::Number(known) => t.is_number(number, *known),
        }))
    }

    /// The packets that a demand is about, those that break it, and those of which nobody knows.
    fn demanded(
        &self,
        question: &Question,
        (sent, fate): (&super::state::Packet, &Fate),
    ) -> (B, B, B) {
        let t = &self.t;
        let ended = |how: u8| t.is_number(fate.trip.end, how);
        let undecided = t.or(ended(end::UNKNOWN), ended(end::QUEUED));
        match &question.demand {
            Demand::Leaves { landing, sources, unchanged } => {
                let concerned = self.landed(fate, landing);
                let source = fate.trip.packet.tuple.source;
                let known = t.not(fate.trip.source_unknown);
                let mut kept = self.in_set(sources, source);
                if *unchanged == Unchanged::Allowed {
                    kept = t.or(kept, t.equal(source, self.asked_source(sent, question)));
                }
                let open = t.or(undecided, t.minus(concerned, known));
                (concerned, t.minus(t.and(concerned, known), kept), open)
            }
            Demand::Arrives(landing) => {
                let open = t.is_number(fate.outcome, outcome::UNDETERMINED);
                let connects = t.is_number(fate.outcome, outcome::CONNECTS);
                let there = if landing.is_empty() { t.yes } else { self.arrived(fate, landing) };
                let kept = t.and(connects, there);
                (t.yes, t.not(t.or(open, kept)), open)
            }
            Demand::NeverLands(landing) => {
                (t.yes, t.minus(self.arrived(fate, landing), undecided), undecided)
            }
        }
    }

    /// The source that the packet came with: the one that the kernel picked where it did.
    fn asked_source(&self, sent: &super::state::Packet, question: &Question) -> V {
        match question.from.at {
            Where::Unbound => self.kernel_source(sent),
            Where::Bound | Where::Behind(_) => sent.tuple.source,
        }
    }

    /// The packets that arrive in a landing, docker-proxy's doing included.
    fn arrived(&self, fate: &Fate, landing: &[Landing]) -> B {
        let t = &self.t;
        let mut arrived = self.landed(fate, landing);
        let number = fate.trip.packet.tuple.protocol;
        for landing in landing {
            let meant = self.of_protocols(&landing.service.protocols, number);
            for proxied in &fate.proxied {
                let ports = &landing.service.ports;
                let port = proxied.to.port();
                let fits = ports.is_empty() || ports.iter().any(|(a, b)| (*a..=*b).contains(&port));
                let there = t.any(landing.spots.iter().map(|spot| match spot {
                    Spot::Beyond { addresses, interface }
                        if addresses.contains(proxied.to.ip()) =>
                    {
                        // What does not leave is as near to one interface as to another.
                        let stays = t.not(self.has_interface(proxied.egress));
                        let is = |name: &String| self.interface_named(proxied.egress, name);
                        interface.as_ref().map_or(t.yes, |name| t.or(stays, is(name)))
                    }
                    Spot::Beyond { .. } | Spot::Local(_) => t.no,
                }));
                if fits {
                    arrived = t.or(arrived, t.all([proxied.when, meant, there]));
                }
            }
        }
        arrived
    }

    /// The packets that leave, or are delivered, into a landing.
    fn landed(&self, fate: &Fate, landing: &[Landing]) -> B {
        let t = &self.t;
        let tuple = fate.trip.packet.tuple;
        let ended = |how: u8| t.is_number(fate.trip.end, how);
        let delivered = ended(end::DELIVERED);
        let left = t.or(ended(end::LEFT), ended(end::BRIDGED));
        t.any(landing.iter().map(|landing| {
            let served = self.served(&landing.service, tuple.protocol, tuple.to_port);
            let spots = t.any(landing.spots.iter().map(|spot| {
                let inside = self.in_set(spot.addresses(), tuple.destination);
                let there = match spot {
                    Spot::Local(_) => delivered,
                    Spot::Beyond { interface: None, .. } => left,
                    Spot::Beyond { interface: Some(name), .. } => {
                        t.and(left, self.interface_named(fate.egress, name))
                    }
                };
                t.and(there, inside)
            }));
            t.and(served, spots)
        }))
    }
}
