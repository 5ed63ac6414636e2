//! One packet and what it sets off: its trip, who gets it, and the answer's trip back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::System;
use crate::answer::{Answer, Effect, Egress, Outcome, RouteDecision, Step, Verdict};
use crate::condition::LinkDelivery;
use crate::flow::{Flow, FlowState};
use crate::hook::Hook;
use crate::host::Assumption;
use crate::packet::{Packet, protocol, tcp_flag};
use crate::simulate::connection::{Assured, Connection, Tracking};
use crate::simulate::consequence::Consequence;
use crate::simulate::departure::{Departure, Kept, kept_of_unlisted};
use crate::simulate::drawn::Drawn;
use crate::simulate::matching::PhysicalPort;
use crate::simulate::oracle::Oracle;
use crate::simulate::outside;
use crate::simulate::path::{End, decision};
use crate::simulate::question::{Origin, filled_in, first_packet_of, origin};
use crate::simulate::reply::{About, Progress};
use crate::simulate::trip::{Answerers, HeldRoute, Leg, Run, Stop, Trip};

/// In how many ways the answer to a connection's first packet is tried where chance decides, before
/// the question is left open.
const MOST_REHEARSALS: usize = 32;

/// The code of the assumption that a program let a packet pass.
const QUEUE_PASSED: &str = "queue-passed";

/// A trip that is over.
pub(crate) struct Travelled<'s> {
    pub(crate) result: Result<End<'s>, Stop>,
    pub(crate) packet: Packet,
    pub(crate) tracking: Tracking,
    pub(crate) in_interface: &'s str,
    pub(crate) noted_interface: &'s str,
    pub(crate) held_route: HeldRoute,
    pub(crate) physical_in: PhysicalPort<'s>,
    pub(crate) delivery: LinkDelivery,
    pub(crate) proxy_socket: Option<(Option<IpAddr>, u16)>,
    pub(crate) source_unknown: bool,
    pub(crate) drawn: Drawn,
    pub(crate) steps: Vec<Step>,
    pub(crate) decided_by: Option<usize>,
}

impl<'s> Travelled<'s> {
    /// The packet, for an ICMP error about it.
    pub(crate) fn about(&self, progress: Progress) -> About<'s> {
        About {
            tracking: self.tracking,
            in_interface: self.in_interface,
            noted_interface: self.noted_interface,
            held_route: self.held_route,
            progress,
        }
    }

    pub(crate) fn egress(&self) -> Option<Egress> {
        let out_interface = match self.result {
            Ok(End::Left { interface }) => Some(interface.to_owned()),
            Ok(End::Bridged { bridge }) => Some(bridge.to_owned()),
            Ok(End::Delivered) => None,
            Err(_) => return None,
        };
        Some(Egress {
            packet: self.packet.clone(),
            out_interface,
            source_unknown: self.source_unknown,
            source_port_random: self.drawn.source.is_some(),
        })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.result {
            Ok(End::Left { .. }) => Verdict::Forwarded,
            Ok(End::Bridged { .. }) => Verdict::Bridged,
            Ok(End::Delivered) => Verdict::Delivered,
            Err(Stop::Dropped) => Verdict::Dropped,
            Err(Stop::Rejected(_)) => Verdict::Rejected,
            Err(Stop::Queued) => Verdict::Queued,
            Err(Stop::Unroutable { .. }) => Verdict::Unroutable,
            Err(Stop::Martian) => Verdict::Martian,
            Err(Stop::TtlExpired) => Verdict::TtlExpired,
            Err(Stop::Unknown) => Verdict::Undetermined,
        }
    }
}

/// Answers one question with the decisions that the oracle makes.
pub(crate) fn answer<'s>(system: &'s System, flow: &'s Flow, oracle: &mut Oracle) -> Answer {
    let mut run = Run {
        system,
        oracle,
        connections: Vec::new(),
        assumptions: BTreeSet::new(),
        legacy_first: None,
        bridge_filter: None,
        unseen_is_quiet: None,
        link: None,
        asker: None,
        pardoned: None,
        answerers: Answerers::AsTold,
        established: flow.state == FlowState::Established,
        any_source: flow.any_source,
        any_ttl: flow.ttl.is_none(),
        opened_with: None,
    };
    let flow_asked = filled_in(system, flow);
    let packet = first_packet_of(&flow_asked);
    run.name_limits(&flow_asked);
    let origin = match origin(system, flow, &packet) {
        Ok(origin) => origin,
        Err(why) => {
            return not_here(flow_asked, (RouteDecision::Unknown, Verdict::Undetermined), why);
        }
    };
    let mut flow_asked = flow_asked;
    if let Origin::Wire(arrival) = origin {
        run.link = Some(arrival.interface);
        run.asker = Some(packet.source);
        flow_asked.in_interface = Some(arrival.interface.to_owned());
        let departure = Departure::of(&system.host, &packet, arrival);
        let kept = match &departure {
            Some(own) => own.kept(packet.destination, arrival),
            None => kept_of_unlisted(&system.host, &packet, arrival),
        };
        if let Some(kept) = kept {
            return run.kept(flow_asked, kept);
        }
        run.note_sender(&packet, departure);
    }
    if flow.state == FlowState::Established
        && let Err(why) = run.establish(&flow_asked, origin)
    {
        let unknown = not_here(flow_asked, (RouteDecision::Unknown, Verdict::Undetermined), why);
        let assumptions = run.assumptions.into_iter().collect();
        return Answer { assumptions, ..unknown };
    }
    let travelled = run.forth(packet.clone(), flow.state, origin);
    let mut consequence = run.consequence(&travelled, &packet, origin);
    if let Origin::Wire(arrival) = origin
        && let Some(why) = outside::unknown_to_sender(&system.host, &packet, arrival.interface)
        && consequence.outcome != Outcome::Undetermined
    {
        consequence.outcome = Outcome::Timeout;
        consequence.because = Some(why);
    }
    let next = run.what_next(&travelled, &packet, flow.state, origin);
    assemble(run, flow_asked, travelled, consequence, next)
}

pub(crate) fn assemble(
    run: Run<'_, '_>,
    flow: Flow,
    travelled: Travelled<'_>,
    consequence: Consequence,
    next: Vec<Step>,
) -> Answer {
    let verdict = if consequence.proxied { Verdict::Proxied } else { travelled.verdict() };
    let egress = travelled.egress();
    let mut steps = travelled.steps;
    let decided_by = travelled.decided_by.or_else(|| deciding_step(&steps));
    steps.extend(consequence.socket);
    let mut assumptions = inferences(run.system, &flow, egress.as_ref(), &steps);
    assumptions.extend(run.assumptions);
    if let Some(proxy) = &consequence.proxy {
        assumptions.extend(proxy.assumptions.iter().cloned());
    }
    Answer {
        flow,
        verdict,
        outcome: consequence.outcome,
        egress,
        steps,
        decided_by,
        because: consequence.because,
        next,
        reply: consequence.reply,
        proxy: consequence.proxy.map(Box::new),
        branches: Vec::new(),
        assumptions: assumptions.into_iter().collect(),
    }
}

/// What was inferred about the host, as far as it is about an interface or address that the packet
/// met.
fn inferences(
    system: &System,
    flow: &Flow,
    egress: Option<&Egress>,
    steps: &[Step],
) -> BTreeSet<Assumption> {
    let mut interfaces: Vec<&str> = flow.in_interface.as_deref().into_iter().collect();
    interfaces.extend(steps.iter().filter_map(|step| match step {
        Step::Route { out_interface, .. } => out_interface.as_deref(),
        _ => None,
    }));
    let mut addresses = vec![flow.source, flow.destination];
    if let Some(Egress { packet, .. }) = egress {
        addresses.extend([packet.source, packet.destination]);
    }
    system.host.assumptions_about(&interfaces, &addresses).into_iter().cloned().collect()
}

/// The step that let a packet pass: the last rule or policy that said ACCEPT, else the last step.
pub(crate) fn deciding_step(steps: &[Step]) -> Option<usize> {
    let accepts = |step: &Step| match step {
        Step::Rule { effect: Effect::Accept, hook, .. }
        | Step::Rule { effect: Effect::Queue, hook, .. } => {
            !matches!(hook, Hook::Prerouting | Hook::Postrouting)
        }
        _ => false,
    };
    steps.iter().rposition(accepts).or_else(|| steps.len().checked_sub(1))
}

/// The answer for a packet that no hook of this host sees.
fn not_here(flow: Flow, (what, verdict): (RouteDecision, Verdict), why: String) -> Answer {
    let outcome = match verdict {
        Verdict::Undetermined => Outcome::Undetermined,
        Verdict::Unroutable => Outcome::Unreachable,
        _ => Outcome::Timeout,
    };
    Answer {
        flow,
        verdict,
        outcome,
        egress: None,
        steps: vec![decision(what, Some(why.clone()))],
        decided_by: Some(0),
        because: Some(why),
        next: Vec::new(),
        reply: None,
        proxy: None,
        branches: Vec::new(),
        assumptions: Vec::new(),
    }
}

impl<'s> Run<'s, '_> {
    /// Notes that the sender of a packet would not send it so.
    fn note_sender(&mut self, packet: &Packet, departure: Option<Departure<'_>>) {
        let to = packet.destination;
        if packet.source == to || departure.as_ref().is_some_and(|own| own.owns(to)) {
            self.assume(
                "sent-to-itself",
                format!(
                    "{to} is the sender's own: it delivers such a packet itself, and none comes in here but a forged one"
                ),
            );
        } else if let Some(own) = departure
            && let Some(by) = own.elsewhere(to)
        {
            self.assume(
                "sent-by-another-network",
                format!(
                    "the container `{}` sends what is for {to} by its network `{}`, not by `{}` (`--in {}` asks about that)",
                    own.container.name, by.name, own.network.name, by.bridge
                ),
            );
        }
    }

    /// The answer for a packet that does not leave its container.
    fn kept(&mut self, flow: Flow, kept: Kept) -> Answer {
        let (what, why) = match kept {
            Kept::NoRoute { why, assumed } => {
                if assumed {
                    self.assume(
                        "internal-gateway-assumed",
                        "no part says whether the sender has a default route (docker-inspect.json): Docker gives none on an internal network since 25.0",
                    );
                }
                ((RouteDecision::NoRoute, Verdict::Unroutable), why)
            }
            Kept::NoNeighbour(why) => ((RouteDecision::NoNeighbour, Verdict::Dropped), why),
        };
        let assumptions = std::mem::take(&mut self.assumptions).into_iter().collect();
        Answer { assumptions, ..not_here(flow, what, why) }
    }

    /// The trip of the packet that was asked about.
    pub(crate) fn forth(
        &mut self,
        packet: Packet,
        state: FlowState,
        origin: Origin<'s>,
    ) -> Travelled<'s> {
        let mac = self.mac_of(&packet, origin);
        // TCP looks its route up again with the source that the first lookup gave it
        // (`ip_route_connect`), that of IPv6 does not (`ip6_dst_lookup_tail`; measured); a datagram
        // has no source before it has a route.
        let again = packet.protocol == protocol::TCP && packet.source.is_ipv4();
        let sourced = !self.any_source || again;
        let mut trip = Trip::new(self, Leg::Forth, packet);
        trip.demanded = Some(state);
        trip.mac = mac;
        trip.sourced = sourced;
        travel(trip, origin)
    }

    /// The hardware address of the container that sends a packet, where the packet comes from the
    /// container's own bridge.
    pub(crate) fn mac_of(&self, packet: &Packet, origin: Origin<'_>) -> Option<[u8; 6]> {
        let Origin::Wire(arrival) = origin else { return None };
        let inventory = &self.system.host.inventory;
        let (_, endpoint) = inventory.owner(packet.source)?;
        let network = inventory.network(&endpoint.network)?;
        if network.bridge == arrival.interface { endpoint.mac } else { None }
    }

    /// The connection that a later packet belongs to: its first packet and the answer to it are
    /// simulated; where they would not get through, the connection is taken to be there all the
    /// same, without NAT.
    ///
    /// # Errors
    ///
    /// Why nobody can say what was made of the connection: one of the two met what is not known.
    pub(crate) fn establish(&mut self, flow: &Flow, origin: Origin<'s>) -> Result<(), String> {
        let mut first = first_packet_of(&Flow { state: FlowState::New, ..flow.clone() });
        if flow.tcp_flags.is_some() {
            first.tcp_flags = tcp_flag::SYN;
        }
        let mac = self.mac_of(&first, origin);
        let mut trip = Trip::new(self, Leg::Earlier, first.clone());
        trip.mac = mac;
        let travelled = travel(trip, origin);
        if let Err(Stop::Unknown) = travelled.result {
            let met = self.met(&travelled.steps, travelled.decided_by);
            return Err(format!(
                "what NAT made of the connection is not known: its first packet met {met}"
            ));
        }
        if travelled.result.is_err() {
            self.connections.clear();
            let mut connection = Connection::begin(&first, 0);
            connection.confirmed = true;
            self.connections.push(connection);
            self.assume(
                "established-anyway",
                "the rules would not let such a connection begin: it is taken to be there, without NAT",
            );
        }
        let begun = self.connections.len();
        if let Ok(End::Delivered) = travelled.result {
            self.opened_with = Some(travelled.packet.mark);
        }
        if travelled.result.is_ok() {
            self.rehearse_answer(&travelled, &first, origin)?;
        }
        for connection in self.connections.iter_mut().take(begun) {
            connection.seen_reply = true;
            connection.assured = Assured::of_established(connection.original.protocol);
        }
        Ok(())
    }

    /// A program has let a packet of a connection that is there pass, which goes on behind the chain
    /// that queued it (`nf_reinject`; kernel-facts K34).
    pub(crate) fn passed_queue(&mut self) {
        self.assume(
            QUEUE_PASSED,
            "the first packets of the connection met NFQUEUE: the program is taken to have let them pass as they were",
        );
    }

    /// What an earlier packet met of which nobody knows what it does.
    fn met(&self, steps: &[Step], at: Option<usize>) -> String {
        let rules = &self.system.rules;
        match at.and_then(|at| steps.get(at)) {
            Some(Step::Rule { rule: id, .. }) => match (rules.chain(id.chain), rules.rule(*id)) {
                (Some(chain), Some(rule)) => {
                    let (number, place) = (id.number(), rules.place(rule));
                    format!(
                        "{}/{}/{number} ({place}), which is not modelled",
                        chain.table, chain.name
                    )
                }
                _ => "a rule that is not modelled".to_owned(),
            },
            Some(Step::Route { because: Some(because), .. }) => {
                format!("what is not known: {because}")
            }
            _ => "what is not modelled".to_owned(),
        }
    }

    /// Lets the answer to a connection's first packet pass, for the marks that it leaves on the
    /// connection: tracking has seen it, so it came this way, whatever is known of the hosts around
    /// (kernel-facts K20). Of the ways that it may take, those count by which it arrives; where they
    /// leave other marks, each of these is tried (kernel-facts K30).
    fn rehearse_answer(
        &mut self,
        travelled: &Travelled<'s>,
        first: &Packet,
        origin: Origin<'s>,
    ) -> Result<(), String> {
        let mut oracle = Oracle::default();
        oracle.witness = self.oracle.witness.take();
        let begun = std::mem::take(&mut self.connections);
        let one_is_enough = !self.system.rules.moves_connection_marks();
        let (mut arrived, mut lost): (Vec<Vec<Connection>>, Vec<_>) = (Vec::new(), Vec::new());
        let (mut met_unknown, mut queued) = (None, None);
        for tried in 1.. {
            let mut run = Run {
                system: self.system,
                oracle: &mut oracle,
                connections: begun.clone(),
                assumptions: BTreeSet::new(),
                legacy_first: self.legacy_first,
                bridge_filter: self.bridge_filter,
                unseen_is_quiet: self.unseen_is_quiet,
                pardoned: None,
                answerers: Answerers::AllThisWay,
                established: false,
                any_source: self.any_source,
                any_ttl: self.any_ttl,
                opened_with: None,
                link: self.link,
                asker: self.asker,
            };
            let consequence = run.consequence(travelled, first, origin);
            let arrives = consequence.outcome == Outcome::Connects;
            let stopped = consequence.reply.filter(|own| own.verdict == Verdict::Undetermined);
            if let Some(reply) = stopped {
                met_unknown.get_or_insert_with(|| run.met(&reply.steps, reply.decided_by));
            }
            queued =
                queued.or_else(|| run.assumptions.into_iter().find(|a| a.code == QUEUE_PASSED));
            let left = run.connections;
            let ways = if arrives { &mut arrived } else { &mut lost };
            if !ways.iter().any(|known| marks(known, begun.len()) == marks(&left, begun.len())) {
                ways.push(left);
            }
            if (arrives && one_is_enough) || !oracle.advance() {
                break;
            }
            if tried == MOST_REHEARSALS {
                self.oracle.cut |= !one_is_enough;
                break;
            }
        }
        self.oracle.witness = oracle.witness;
        if !one_is_enough {
            self.assumptions.extend(queued);
            let known = || "the answer to the first packet met what is modelled alone".to_owned();
            if let Some(met) = met_unknown
                && (arrived.is_empty() || !self.oracle.decide(known, true))
            {
                return Err(format!(
                    "which mark the connection has is not known: the answer to its first packet met {met}"
                ));
            }
        }
        let mut ways = if arrived.is_empty() { lost } else { arrived }.into_iter();
        let mut left = ways.next().unwrap_or_default();
        for other in ways {
            let marks = marks(&left, begun.len());
            let question = || {
                let marks: Vec<String> = marks.iter().map(|mark| format!("{mark:#x}")).collect();
                format!("the answer to the first packet left connection mark {}", marks.join(", "))
            };
            if self.oracle.decide(question, true) {
                break;
            }
            left = other;
        }
        self.connections = left;
        Ok(())
    }

    /// What the packet would have met had the step that stopped it let it pass.
    pub(crate) fn what_next(
        &mut self,
        travelled: &Travelled<'s>,
        packet: &Packet,
        state: FlowState,
        origin: Origin<'s>,
    ) -> Vec<Step> {
        let (Err(_), Some(at)) = (travelled.result, travelled.decided_by) else {
            return Vec::new();
        };
        if self.oracle.witness.as_ref().is_some_and(|witness| !witness.watches_refused()) {
            // What would have been is not what the witness is asked about.
            return Vec::new();
        }
        let mut oracle = self.oracle.replay();
        oracle.witness = self.oracle.witness.take();
        let mut run = Run {
            system: self.system,
            oracle: &mut oracle,
            connections: Vec::new(),
            assumptions: BTreeSet::new(),
            legacy_first: None,
            bridge_filter: None,
            unseen_is_quiet: None,
            link: self.link,
            asker: self.asker,
            pardoned: Some(at),
            answerers: self.answerers,
            established: self.established,
            any_source: self.any_source,
            any_ttl: self.any_ttl,
            opened_with: self.opened_with,
        };
        if state == FlowState::Established {
            run.connections = self.connections.clone();
        }
        let pardoned = run.forth(packet.clone(), state, origin);
        self.oracle.witness = oracle.witness;
        pardoned.steps.get(at + 1..).map(<[Step]>::to_vec).unwrap_or_default()
    }
}

/// The marks of the connections that a first packet began.
fn marks(connections: &[Connection], begun: usize) -> Vec<u32> {
    connections.iter().take(begun).map(|connection| connection.mark).collect()
}

pub(crate) fn travel<'s>(mut trip: Trip<'_, 's, '_>, origin: Origin<'s>) -> Travelled<'s> {
    let result = match origin {
        Origin::Local => trip.send(),
        Origin::Wire(arrival) => trip.arrive(arrival),
    };
    Travelled {
        result,
        packet: trip.packet,
        tracking: trip.tracking,
        in_interface: trip.in_interface,
        noted_interface: trip.noted_interface,
        held_route: trip.held_route,
        physical_in: trip.physical_in,
        delivery: trip.delivery,
        proxy_socket: trip.proxy_socket,
        source_unknown: trip.source_unknown,
        drawn: trip.drawn,
        steps: trip.steps,
        decided_by: trip.decided_by,
    }
}
