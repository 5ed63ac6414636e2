//! What the simulator says beside what the kernel did.

mod handshake;
mod way;
mod words;

use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::answer::{Answer, Effect, Egress, Outcome, ReplyKind, Rewrite, Step, Verdict};
use nattrace_model::flow::FlowState;
use nattrace_model::packet::{Transport, protocol, tcp_flag};
use nattrace_model::simulate::why;
use nattrace_parser::syntax::Family;

use super::frame::Body;
use super::rules::{Counted, Counts};
use super::socket::Call;
use super::surroundings::Surroundings;
use super::trace;
use super::trial::{Answering, Observation, Seen, Start, Trial};
use super::wire::Departed;
use handshake::acknowledgements;
use way::{is_part, uncounted, way};
use words::{egress_text, steps_text, swallowed};

/// How simulator and kernel compare for one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// They agree, and the simulator knew one answer.
    Agrees,
    /// The simulator named several ways that things may go, and the kernel went one of them.
    AgreesInABranch,
    /// The simulator said that it does not know.
    Undetermined,
    /// They disagree; one line for each thing that differs.
    Disagrees(Vec<String>),
}

/// A question with the simulator's answer to it.
pub(crate) struct Prediction<'a> {
    surroundings: &'a dyn Surroundings,
    system: &'a System,
    trial: &'a Trial,
    answer: Answer,
}

impl<'a> Prediction<'a> {
    /// Asks the simulator.
    pub(crate) fn of(
        surroundings: &'a dyn Surroundings,
        system: &'a System,
        trial: &'a Trial,
    ) -> Self {
        Self { surroundings, system, trial, answer: why(system, &trial.flow) }
    }

    /// What the simulator says.
    pub(crate) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The ways that things may go.
    fn candidates(&self) -> Vec<&Answer> {
        if self.answer.branches.is_empty() {
            vec![&self.answer]
        } else {
            self.answer.branches.iter().map(|branch| &branch.answer).collect()
        }
    }

    /// Whether what leaves shall be answered: the simulator says what becomes of the answer.
    pub(crate) fn answering(&self) -> Answering {
        if self.trial.is_incomplete() {
            return Answering::No;
        }
        let answered = |answer: &&Answer| leaves(answer.verdict) && answer.reply.is_some();
        if self.candidates().iter().any(answered) { Answering::Yes } else { Answering::No }
    }

    /// Whether nothing puts the packet's fragments together before the rules: where no connections
    /// are tracked, and on a bridge whose frames no rules see (kernel-facts G9).
    pub(crate) fn is_apart(&self) -> bool {
        if self.trial.cut.is_none() || self.trial.start == Start::Local {
            return false;
        }
        let unseen = self.answer.verdict == Verdict::Bridged
            && !self.answer.steps.iter().any(|step| !matches!(step, Step::Route { .. }));
        let gathered = self.system.rules.tracks_connections(Family::of(self.trial.flow.source));
        let passes_on = unseen || is_flooded(self.trial);
        (passes_on && self.trial.is_incomplete()) || (!unseen && !gathered)
    }

    /// Compares with what the kernel did.
    pub(crate) fn judge(&self, observed: &Observation) -> Judgement {
        if self.trial.is_incomplete() {
            return match swallowed(&observed.forth) {
                differences if differences.is_empty() => Judgement::Agrees,
                differences => Judgement::Disagrees(differences),
            };
        }
        let mut least: Option<Vec<String>> = None;
        for candidate in self.candidates() {
            if candidate.verdict == Verdict::Undetermined {
                return Judgement::Undetermined;
            }
            let differences = self.differences(candidate, observed);
            if differences.is_empty() {
                return match self.answer.branches.as_slice() {
                    [] => Judgement::Agrees,
                    [..] => Judgement::AgreesInABranch,
                };
            }
            if least.as_ref().is_none_or(|least| differences.len() < least.len()) {
                least = Some(differences);
            }
        }
        Judgement::Disagrees(least.unwrap_or_default())
    }

    /// What the simulator says, for people.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (number, candidate) in self.candidates().into_iter().enumerate().take(4) {
            let Answer { verdict, outcome, egress, because, .. } = candidate;
            text += &format!(
                "  way {number}: {verdict:?}, {outcome:?}, egress {}, because {because:?}\n",
                egress.as_ref().map_or_else(|| "none".to_owned(), egress_text)
            );
            text += &steps_text(self.system, &candidate.steps);
            if let Some(reply) = &candidate.reply {
                text += &format!(
                    "  reply {:?}: {:?}, egress {}\n",
                    reply.kind,
                    reply.verdict,
                    reply.egress.as_ref().map_or_else(|| "none".to_owned(), egress_text)
                );
                text += &steps_text(self.system, &reply.steps);
            }
        }
        text
    }

    /// What differs; where the third packet of a handshake may go several ways, from the nearest.
    fn differences(&self, answer: &Answer, observed: &Observation) -> Vec<String> {
        let several = !self.answer.branches.is_empty();
        let expected = Expected::of(self.system, self.trial, answer, None, several);
        let alternatives = if is_handshake(self.trial, answer) {
            acknowledgements(self.system, self.trial, answer)
        } else {
            return self.differ(answer, &expected, observed);
        };
        let all = alternatives.into_iter().map(|acknowledgement| {
            let expected =
                Expected::of(self.system, self.trial, answer, Some(&acknowledgement), several);
            self.differ(answer, &expected, observed)
        });
        all.min_by_key(Vec::len).unwrap_or_default()
    }

    fn differ(&self, answer: &Answer, expected: &Expected, observed: &Observation) -> Vec<String> {
        let mut differences = Vec::new();
        expected.forth.compare("forth", &observed.forth, self.surroundings, &mut differences);
        if let (Some(expected), Some(observed)) = (&expected.back, &observed.back) {
            expected.compare("back", observed, self.surroundings, &mut differences);
        }
        let local = self.trial.start == Start::Local;
        if let (true, Call::Refused(why)) = (local, &observed.call)
            && !matches!(answer.outcome, Outcome::Unreachable | Outcome::Refused)
        {
            differences.push(format!(
                "the socket call fails ({why}), the simulator says {:?}",
                answer.outcome
            ));
        }
        differences
    }
}

fn leaves(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forwarded | Verdict::Bridged)
}

/// What is to be seen if the simulator is right.
struct Expected {
    forth: ExpectedSeen,
    back: Option<ExpectedSeen>,
}

/// How far counters and frames are determined by the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Nothing else is to be seen.
    Whole,
    /// The packet sets off more, of which the answer says nothing.
    AtLeast,
}

struct ExpectedSeen {
    counts: Counts,
    /// The rules and policies that each packet passes, in order.
    ways: Vec<Vec<Counted>>,
    departed: Vec<ExpectedDeparture>,
    extent: Extent,
    /// Those that the trace names although they do not count.
    uncounted: Counts,
    /// Whether what leaves is compared.
    visible: bool,
}

#[derive(Clone)]
struct ExpectedDeparture {
    egress: Egress,
    next_hop: Option<IpAddr>,
    kind: Option<ReplyKind>,
    destination_port_random: bool,
}

impl Expected {
    fn of(
        system: &System,
        trial: &Trial,
        answer: &Answer,
        acknowledgement: Option<&ExpectedSeen>,
        several: bool,
    ) -> Self {
        let out = leaves(answer.verdict);
        let drawn = answer.assumptions.iter().any(|a| a.code == "destination-port-random");
        let sent = || {
            let mut forth = ExpectedSeen::new(system, &answer.steps);
            if out {
                forth.depart(answer.egress.as_ref(), &answer.steps, None);
            }
            for departure in &mut forth.departed {
                departure.destination_port_random = drawn;
            }
            forth
        };
        let mut forth = sent();
        let out_interface = |egress: &Option<Egress>| {
            egress.as_ref().and_then(|egress| egress.out_interface.clone())
        };
        if is_redirected(trial, answer) {
            forth.extent = Extent::AtLeast;
        }
        let mut back = None;
        if let Some(reply) = &answer.reply {
            let mut seen = ExpectedSeen::new(system, &reply.steps);
            if leaves(reply.verdict) {
                seen.depart(reply.egress.as_ref(), &reply.steps, Some(reply.kind));
            }
            let known = answer.outcome != Outcome::Timeout;
            let unasked =
                reply.verdict == Verdict::Delivered && (trial.start != Start::Local || !known);
            let refused = matches!(
                reply.verdict,
                Verdict::Rejected | Verdict::Unroutable | Verdict::TtlExpired
            );
            if unasked || refused {
                // The kernel answers the answer, of which the simulator says nothing.
                seen.extent = Extent::AtLeast;
            }
            let untracks = |step: &Step| match step {
                Step::Rule { effect: Effect::Notrack, .. } => true,
                // In another zone there is another connection, or none.
                Step::Rule { effect: Effect::Other(name), .. } => **name == *"ct",
                _ => false,
            };
            // What an earlier packet marked depends on the way it went, where there are several.
            let marks = |step: &Step| match step {
                Step::Rule { effect, .. } => several && *effect == Effect::Connmark,
                _ => false,
            };
            let unseen = reply.steps.iter().chain(&answer.steps).any(|s| untracks(s) || marks(s));
            if unseen && acknowledgement.is_some() {
                // For connection tracking the handshake has no first or no second packet.
                seen.extent = Extent::AtLeast;
            } else if let Some(acknowledgement) = acknowledgement {
                seen.add(acknowledgement);
                if acknowledgement.extent == Extent::AtLeast {
                    seen.extent = Extent::AtLeast;
                }
            }
            for departure in &mut seen.departed {
                // What the answer quotes as its source is the port that was drawn.
                let chance = answer.egress.as_ref().is_some_and(|e| e.source_port_random);
                departure.destination_port_random = drawn || chance;
                departure.egress.source_port_random |= drawn;
            }
            // A redirect is sent before FORWARD, whatever that says then.
            let by = sought(&reply.steps);
            let turned = by.is_some() && out_interface(&answer.egress).as_deref() == by;
            if turned && trial.flow.source.is_ipv6() {
                // A redirect may go out, see below.
                seen.extent = Extent::AtLeast;
            }
            if out {
                back = Some(seen);
            } else {
                forth.merge(seen);
            }
        }
        if !is_answer_determined(trial, answer) {
            forth = sent();
            forth.extent = Extent::AtLeast;
            forth.visible = out;
        }
        if is_flooded(trial) {
            forth.extent = Extent::AtLeast;
            forth.visible = false;
        }
        Self { forth, back }
    }
}

/// Whether the kernel tells an IPv6 sender of a shorter way, once a second at most: by the
/// interface by which a packet came it is forwarded too.
fn is_redirected(trial: &Trial, answer: &Answer) -> bool {
    let out = sought(&answer.steps);
    trial.flow.source.is_ipv6() && out.is_some() && out == trial.flow.in_interface.as_deref()
}

/// Whether a bridge hands copies to its other ports, of which the answer says nothing: only that
/// for the host is followed.
fn is_flooded(trial: &Trial) -> bool {
    let Start::Wire(wire, [first, ..]) = trial.start else { return false };
    let by_port = trial.flow.in_interface.as_deref().is_some_and(|name| name != wire);
    by_port && first & 1 != 0
}

/// The interface to which a packet was routed last.
fn sought(steps: &[Step]) -> Option<&str> {
    steps.iter().rev().find_map(|step| match step {
        Step::Route { out_interface: Some(out), .. } => Some(out.as_str()),
        _ => None,
    })
}

/// Whether the simulator is to know what the host itself answers. It is not where the lab makes an
/// INVALID packet by a wrong checksum, which a receiver drops; for a segment without data, which
/// needs no answer; and for protocols whose sockets no part of a snapshot lists.
fn is_answer_determined(trial: &Trial, answer: &Answer) -> bool {
    let flow = &trial.flow;
    let delivered = matches!(answer.verdict, Verdict::Delivered | Verdict::Proxied);
    let has_listing =
        matches!(flow.protocol, protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6);
    let established = flow.state == FlowState::Established;
    let data = established && flow.protocol == protocol::TCP;
    // An answer that is none of the connection has begun one of its own before.
    let stray = established && answer.outcome == Outcome::Timeout;
    // The answer to a group or to all routers of a subnet has another source than the connection
    // knows, and leaves by the interface by which it was asked or not at all.
    let group = matches!(
        flow.destination,
        IpAddr::V6(to) if to.is_multicast() || to.to_bits().trailing_zeros() >= 64
    );
    let unknown = data || !has_listing || stray || group;
    // Of IPv6 the socket takes a longer datagram's checksum for wrong whose header was rewritten
    // after tracking verified it (`skb_postpull_rcsum`; docs/semantics.md, out of scope).
    let rewritten = |step: &Step| match step {
        Step::Rule { rewrites, .. } => {
            rewrites.iter().any(|one| matches!(one, Rewrite::Tos(..) | Rewrite::Ttl(..)))
        }
        _ => false,
    };
    let longer = trial.cut.is_some() && flow.source.is_ipv6();
    let unknown = unknown || (longer && answer.steps.iter().any(rewritten));
    // What goes to a broadcast address is looped back too.
    let to_all = matches!(flow.source, IpAddr::V4(from) if from.octets().last() == Some(&255));
    flow.state != FlowState::Invalid && !to_all && !(delivered && unknown)
}

/// Whether a local process completes a TCP handshake, so that its acknowledgement is seen too.
fn is_handshake(trial: &Trial, answer: &Answer) -> bool {
    trial.start == Start::Local
        && trial.flow.protocol == protocol::TCP
        && trial.flow.state == FlowState::New
        && (answer.outcome == Outcome::Connects || is_taken_by_proxy(trial, answer))
}

/// Whether docker-proxy's answer reaches the process, whatever becomes of its own connection.
fn is_taken_by_proxy(trial: &Trial, answer: &Answer) -> bool {
    let expected = |egress: &Egress| egress.packet.source == trial.flow.destination;
    let reply = answer.reply.as_ref().filter(|_| answer.verdict == Verdict::Proxied);
    reply.is_some_and(|reply| {
        reply.kind == ReplyKind::Answer
            && reply.verdict == Verdict::Delivered
            && reply.egress.as_ref().is_some_and(expected)
    })
}

impl ExpectedSeen {
    fn new(system: &System, steps: &[Step]) -> Self {
        let way = way(system, steps);
        let counts = trace::counts(&way);
        let uncounted = trace::counts(&uncounted(system, steps));
        Self {
            counts,
            ways: vec![way],
            departed: Vec::new(),
            extent: Extent::Whole,
            uncounted,
            visible: true,
        }
    }

    fn depart(&mut self, egress: Option<&Egress>, steps: &[Step], kind: Option<ReplyKind>) {
        let Some(egress) = egress else { return };
        let destination = egress.packet.destination;
        let hop = steps.iter().rev().find_map(|step| match step {
            Step::Route { out_interface: Some(_), gateway, .. } => {
                Some(gateway.unwrap_or(destination))
            }
            _ => None,
        });
        self.departed.push(ExpectedDeparture {
            egress: egress.clone(),
            next_hop: hop,
            kind,
            destination_port_random: false,
        });
    }

    fn add(&mut self, other: &Self) {
        for (counted, packets) in &other.counts {
            *self.counts.entry(counted.clone()).or_default() += packets;
        }
        for (counted, packets) in &other.uncounted {
            *self.uncounted.entry(counted.clone()).or_default() += packets;
        }
        self.ways.extend(other.ways.iter().cloned());
        self.visible &= other.visible;
        for departure in &other.departed {
            self.departed.push(departure.clone());
        }
    }

    fn merge(&mut self, other: Self) {
        self.add(&other);
        if other.extent == Extent::AtLeast {
            self.extent = Extent::AtLeast;
        }
    }

    fn compare(
        &self,
        phase: &str,
        seen: &Seen,
        surroundings: &dyn Surroundings,
        differences: &mut Vec<String>,
    ) {
        let all = self.counts.keys().chain(seen.counts.keys());
        let mut places: Vec<&Counted> = all.collect();
        places.sort();
        places.dedup();
        for place in places {
            let mut expected = self.counts.get(place).copied().unwrap_or(0);
            if seen.met.is_none() {
                expected -= self.uncounted.get(place).copied().unwrap_or(0);
            }
            let observed = seen.counts.get(place).copied().unwrap_or(0);
            let wrong = match self.extent {
                Extent::Whole => expected != observed,
                Extent::AtLeast => expected > observed,
            };
            if wrong {
                differences.push(format!(
                    "{phase}: {place} counts {observed}, the simulator says {expected}"
                ));
            }
        }
        let met = seen.met.iter();
        for way in met.flat_map(|met| self.ways.iter().filter(|way| !is_part(way, met))) {
            let way: Vec<String> = way.iter().map(Counted::to_string).collect();
            differences.push(format!("{phase}: not in this order: {}", way.join(", ")));
        }
        if !self.visible || self.departed.iter().any(|departure| !departure.is_seen(surroundings)) {
            return;
        }
        for (at, departure) in self.departed.iter().enumerate() {
            match seen.departed.get(at) {
                None => differences.push(format!(
                    "{phase}: nothing leaves, the simulator says {}",
                    egress_text(&departure.egress)
                )),
                Some(departed) => departure.compare(phase, departed, surroundings, differences),
            }
        }
        if self.extent == Extent::Whole {
            for extra in seen.departed.iter().skip(self.departed.len()) {
                differences.push(format!(
                    "{phase}: {} leaves by {}, the simulator says nothing of it",
                    extra.packet, extra.wire
                ));
            }
        }
    }
}

impl ExpectedDeparture {
    /// Whether it can be seen: nobody answers ARP for addresses that nobody has.
    fn is_seen(&self, surroundings: &dyn Surroundings) -> bool {
        let out = self.egress.out_interface.as_deref().unwrap_or("");
        surroundings.sees(out, self.next_hop)
    }

    fn compare(
        &self,
        phase: &str,
        departed: &Departed,
        surroundings: &dyn Surroundings,
        differences: &mut Vec<String>,
    ) {
        let expected = &self.egress.packet;
        let observed = &departed.packet;
        let out = self.egress.out_interface.as_deref().unwrap_or("");
        let mut wrong = |what: &str| {
            differences.push(format!(
                "{phase}: {what} differs: {observed} leaves by {}, the simulator says {}",
                departed.wire,
                egress_text(&self.egress)
            ));
        };
        if surroundings.interface_of(departed.wire) != out {
            return wrong("the interface");
        }
        if expected.protocol != observed.protocol {
            return wrong("the protocol");
        }
        if !self.egress.source_unknown && expected.source != observed.source {
            wrong("the source");
        }
        if expected.destination != observed.destination {
            wrong("the destination");
        }
        if expected.ttl != observed.ttl {
            wrong("the ttl");
        }
        if expected.tos != observed.tos {
            wrong("the tos");
        }
        if let (Some((source, destination)), Transport::Ports { source: s, destination: d }) =
            (observed.ports(), expected.transport)
        {
            if destination != d && !self.destination_port_random {
                wrong("the destination port");
            }
            if source != s && !self.egress.source_port_random {
                wrong("the source port");
            }
        }
        if let (Body::Icmp { kind, code, .. }, Transport::Icmp { kind: k, code: c, .. }) =
            (&observed.body, expected.transport)
            && (*kind, *code) != (k, c)
        {
            wrong("the type");
        }
        if let Body::Tcp { flags, .. } = observed.body {
            let mask = match self.kind {
                Some(ReplyKind::Reset) => tcp_flag::RST,
                Some(_) => tcp_flag::SYN | tcp_flag::RST | tcp_flag::ACK,
                None => 0xff,
            };
            if flags & mask != expected.tcp_flags & mask {
                wrong("the flags");
            }
        }
        if let Some(hop) = self.next_hop
            && surroundings.mac_of(hop) != departed.to
        {
            wrong(&format!("the next hop ({:02x?})", departed.to));
        }
    }
}
