//! One packet and what it sets off: its trip, who gets it, and the answer's trip back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::System;
use crate::answer::{
    Answer, Effect, Egress, Outcome, Reply, ReplyKind, RouteDecision, Step, Verdict,
};
use crate::condition::Direction;
use crate::flow::{Flow, FlowState};
use crate::host::Listener;
use crate::packet::{Packet, Transport, protocol, tcp_flag};
use crate::simulate::connection::{Connection, TrackedState, Tracking, Tuple, answer_type};
use crate::simulate::oracle::Oracle;
use crate::simulate::outside::{self, WayBack};
use crate::simulate::path::{Arrival, End, decision};
use crate::simulate::routing::{self, Lookup, LookupResult};
use crate::simulate::socket::{self, Receiver};
use crate::simulate::trip::{Leg, Run, Stop, Trip};
use crate::target::RejectWith;

/// Where a packet starts.
#[derive(Clone, Copy, Debug)]
enum Origin<'s> {
    /// In a local process.
    Local,
    /// Outside, coming in.
    Wire(Arrival<'s>),
}

/// A trip that is over.
struct Travelled<'s> {
    result: Result<End<'s>, Stop>,
    packet: Packet,
    tracking: Tracking,
    in_interface: &'s str,
    proxy_socket: Option<(Option<IpAddr>, u16)>,
    source_unknown: bool,
    source_port_random: bool,
    steps: Vec<Step>,
    decided_by: Option<usize>,
}

impl Travelled<'_> {
    fn egress(&self) -> Option<Egress> {
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
            source_port_random: self.source_port_random,
        })
    }

    fn verdict(&self) -> Verdict {
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

/// What came of the whole exchange, besides the first packet's own trip.
struct Consequence {
    outcome: Outcome,
    because: Option<String>,
    reply: Option<Reply>,
    proxy: Option<Answer>,
    socket: Option<Step>,
    proxied: bool,
}

impl Consequence {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, because: None, reply: None, proxy: None, socket: None, proxied: false }
    }

    fn because(outcome: Outcome, why: String) -> Self {
        Self { because: Some(why), ..Self::of(outcome) }
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
        pardoned: None,
    };
    let flow_asked = filled_in(system, flow);
    let packet = first_packet_of(&flow_asked);
    let origin = match origin(system, flow, &packet) {
        Ok(origin) => origin,
        Err(why) => return unanswerable(flow_asked, why),
    };
    let mut flow_asked = flow_asked;
    if let Origin::Wire(arrival) = origin {
        flow_asked.in_interface = Some(arrival.interface.to_owned());
    }
    if flow.state == FlowState::Established {
        run.establish(&flow_asked, origin);
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

fn assemble(
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
    let mut assumptions: BTreeSet<_> = run.system.host.assumptions.iter().cloned().collect();
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

/// The step that let a packet pass: the last rule or policy that said ACCEPT, else the last step.
fn deciding_step(steps: &[Step]) -> Option<usize> {
    let accepts = |step: &Step| match step {
        Step::Rule { effect: Effect::Accept, hook, .. }
        | Step::Rule { effect: Effect::Queue, hook, .. } => {
            !matches!(hook, crate::hook::Hook::Prerouting | crate::hook::Hook::Postrouting)
        }
        _ => false,
    };
    steps.iter().rposition(accepts).or_else(|| steps.len().checked_sub(1))
}

/// The question with everything that was left open filled in.
fn filled_in(system: &System, flow: &Flow) -> Flow {
    let mut flow = flow.clone();
    let has_ports = matches!(
        flow.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    );
    if has_ports {
        flow.source_port.get_or_insert(40000);
        flow.destination_port.get_or_insert(0);
    }
    if flow.any_source {
        let mut packet = first_packet_of(&flow);
        packet.mark = flow.mark;
        let key = Lookup { source: None, ..Lookup::of(&packet, "lo") };
        if let LookupResult::Found(found) = routing::lookup(&system.host, &key)
            && let Some(source) = routing::source_for(&system.host, &found, flow.destination)
        {
            flow.source = source;
        }
    }
    flow
}

fn first_packet_of(flow: &Flow) -> Packet {
    let transport = match flow.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            let echo = if flow.protocol == protocol::ICMP { 8 } else { 128 };
            let (kind, code) = flow.icmp.unwrap_or((echo, 0));
            Transport::Icmp { kind, code, id: 1 }
        }
        _ => match (flow.source_port, flow.destination_port) {
            (Some(source), Some(destination)) => Transport::Ports { source, destination },
            _ => Transport::Opaque,
        },
    };
    let default_flags = match flow.state {
        FlowState::Established => tcp_flag::ACK,
        FlowState::New | FlowState::Related | FlowState::Invalid | FlowState::Untracked => {
            tcp_flag::SYN
        }
    };
    let tcp = flow.protocol == protocol::TCP;
    Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        transport,
        tcp_flags: if tcp { flow.tcp_flags.unwrap_or(default_flags) } else { 0 },
        ttl: flow.ttl.unwrap_or(64),
        tos: 0,
        length: None,
        mark: flow.mark,
    }
}

/// Where the packet starts: in a local process if its source is an own address and no interface is
/// named, else behind the interface that is named, or where routing expects the source.
fn origin<'s>(system: &'s System, flow: &'s Flow, packet: &Packet) -> Result<Origin<'s>, String> {
    let host = &system.host;
    if let Some(name) = &flow.in_interface {
        return Ok(Origin::Wire(outside::arrival(host, packet, name)));
    }
    if flow.any_source || is_local_source(system, packet.source) {
        return Ok(Origin::Local);
    }
    // As somebody outside is reached, so he is expected.
    let key = Lookup {
        source: None,
        destination: packet.source,
        in_interface: "lo",
        mark: 0,
        tos: 0,
        protocol: 0,
        ports: None,
    };
    match routing::lookup(host, &key) {
        LookupResult::Found(found) => match found.next_hops().next() {
            Some(hop) => Ok(Origin::Wire(outside::arrival(host, packet, &hop.interface))),
            None => {
                Err(format!("the route to {} leads nowhere; name the interface", packet.source))
            }
        },
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => {
            Err(format!("no route tells behind which interface {} is; name it", packet.source))
        }
    }
}

fn is_local_source(system: &System, source: IpAddr) -> bool {
    source.is_loopback() || routing::is_own_address(&system.host, source)
}

/// The answer where it is not even known where the packet comes in.
fn unanswerable(flow: Flow, why: String) -> Answer {
    Answer {
        flow,
        verdict: Verdict::Undetermined,
        outcome: Outcome::Undetermined,
        egress: None,
        steps: vec![decision(RouteDecision::Unknown, Some(why.clone()))],
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
    /// The trip of the packet that was asked about.
    fn forth(&mut self, packet: Packet, state: FlowState, origin: Origin<'s>) -> Travelled<'s> {
        let mac = self.mac_of(&packet);
        let mut trip = Trip::new(self, Leg::Forth, packet);
        trip.demanded = Some(state);
        trip.mac = mac;
        travel(trip, origin)
    }

    fn mac_of(&self, packet: &Packet) -> Option<[u8; 6]> {
        self.system.host.inventory.owner(packet.source).and_then(|(_, endpoint)| endpoint.mac)
    }

    /// The connection that a later packet belongs to: its first packet and the answer to it are
    /// simulated; where they would not get through, the connection is taken to be there all the
    /// same, without NAT.
    fn establish(&mut self, flow: &Flow, origin: Origin<'s>) {
        let mut first = first_packet_of(&Flow { state: FlowState::New, ..flow.clone() });
        if flow.tcp_flags.is_some() {
            first.tcp_flags = tcp_flag::SYN;
        }
        let mac = self.mac_of(&first);
        let mut trip = Trip::new(self, Leg::Earlier, first.clone());
        trip.mac = mac;
        let travelled = travel(trip, origin);
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
        for connection in &mut self.connections {
            connection.seen_reply = true;
            connection.assured = true;
        }
    }

    /// What the packet would have met had the step that stopped it let it pass.
    fn what_next(
        &mut self,
        travelled: &Travelled<'s>,
        packet: &Packet,
        state: FlowState,
        origin: Origin<'s>,
    ) -> Vec<Step> {
        let (Err(_), Some(at)) = (travelled.result, travelled.decided_by) else {
            return Vec::new();
        };
        let mut oracle = self.oracle.replay();
        let mut run = Run {
            system: self.system,
            oracle: &mut oracle,
            connections: Vec::new(),
            assumptions: BTreeSet::new(),
            legacy_first: None,
            bridge_filter: None,
            pardoned: Some(at),
        };
        if state == FlowState::Established {
            run.connections = self.connections.clone();
        }
        let pardoned = run.forth(packet.clone(), state, origin);
        pardoned.steps.get(at + 1..).map(<[Step]>::to_vec).unwrap_or_default()
    }

    /// What the packet sets off where its trip ended.
    fn consequence(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        match travelled.result {
            Ok(End::Delivered) => self.delivered(travelled, sent, origin),
            Ok(End::Left { interface } | End::Bridged { bridge: interface }) => {
                self.left(travelled, sent, origin, interface)
            }
            Err(stop) => self.stopped(travelled, sent, origin, stop),
        }
    }

    fn delivered(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let host = &self.system.host;
        let receiver =
            socket::receiver(host, packet, travelled.in_interface, travelled.proxy_socket);
        match receiver {
            Receiver::Kernel => self.kernel_answer(packet, sent, origin),
            Receiver::Unknown => {
                self.assume(
                    "listeners-assumed",
                    "no part says which sockets listen (listeners): a local process is taken to answer",
                );
                self.local_answer(packet, sent, origin, packet.destination)
            }
            Receiver::Nobody => {
                let mut consequence = self.nobody(packet, sent, origin, travelled.tracking);
                consequence.socket = Some(Step::Socket { listening: false, processes: Vec::new() });
                consequence
            }
            Receiver::Listener(listener) => {
                let mut consequence = self.listener_answer(listener, packet, sent, origin);
                consequence.socket =
                    Some(Step::Socket { listening: true, processes: listener.processes.clone() });
                consequence
            }
        }
    }

    /// An echo is answered by the kernel; other ICMP asks for no answer.
    fn kernel_answer(&mut self, packet: &Packet, sent: &Packet, origin: Origin<'s>) -> Consequence {
        let Transport::Icmp { kind, .. } = packet.transport else {
            return Consequence::of(Outcome::Timeout);
        };
        let query =
            matches!((packet.protocol, kind), (protocol::ICMP, 8 | 13) | (protocol::ICMPV6, 128));
        if !query {
            let why = "the kernel sends no answer to this type".to_owned();
            return Consequence::because(Outcome::Timeout, why);
        }
        let source =
            if packet.destination.is_multicast() { None } else { Some(packet.destination) };
        match source {
            Some(source) => self.local_answer(packet, sent, origin, source),
            None => Consequence::of(Outcome::Timeout),
        }
    }

    fn listener_answer(
        &mut self,
        listener: &'s Listener,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let source = self.answering_address(listener, packet);
        let mut consequence = self.local_answer(packet, sent, origin, source);
        if !socket::is_docker_proxy(listener) {
            return consequence;
        }
        consequence.proxied = true;
        let Some(target) = socket::proxy_target(self.system, packet) else {
            self.assume(
                "proxy-target-unknown",
                "no part says which container docker-proxy connects to (docker-inspect.json)",
            );
            consequence.outcome = Outcome::Undetermined;
            return consequence;
        };
        let second = Flow {
            source: target.ip(),
            destination: target.ip(),
            protocol: packet.protocol,
            source_port: None,
            destination_port: Some(target.port()),
            in_interface: None,
            state: FlowState::New,
            mark: 0,
            tcp_flags: None,
            icmp: None,
            ttl: None,
            any_source: true,
        };
        let proxy = answer(self.system, &second, self.oracle);
        if consequence.outcome == Outcome::Connects && proxy.outcome != Outcome::Connects {
            consequence.outcome = proxy.outcome;
            consequence.because = Some(
                "docker-proxy accepts the connection, but does not reach the container".into(),
            );
        }
        consequence.proxy = Some(proxy);
        consequence
    }

    /// The address that a listener's answer carries: a datagram socket bound to no address lets
    /// routing choose.
    fn answering_address(&mut self, listener: &Listener, packet: &Packet) -> IpAddr {
        let datagram = packet.protocol == protocol::UDP && listener.address.is_none();
        if !datagram {
            return packet.destination;
        }
        let back =
            Packet { source: packet.destination, destination: packet.source, ..packet.clone() };
        let key = Lookup { source: None, mark: 0, ports: None, ..Lookup::of(&back, "lo") };
        let chosen = match routing::lookup(&self.system.host, &key) {
            LookupResult::Found(found) => {
                routing::source_for(&self.system.host, &found, packet.source)
            }
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        let chosen = chosen.unwrap_or(packet.destination);
        if chosen != packet.destination && !socket::is_docker_proxy(listener) {
            self.assume(
                "datagram-source",
                format!("a datagram socket bound to no address answers from the address that routing chooses, {chosen}"),
            );
        }
        chosen
    }

    /// A local process answers from an address of its own.
    fn local_answer(
        &mut self,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
        source: IpAddr,
    ) -> Consequence {
        let Some(mut back) = answer_to(packet) else {
            return Consequence::of(Outcome::Connects);
        };
        back.source = source;
        let trip = Trip::new(self, Leg::Back, back);
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Answer, sent, origin)
    }

    /// Nobody listens: a reset for TCP, an ICMP port-unreachable for UDP, a
    /// protocol-unreachable for the rest.
    fn nobody(
        &mut self,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
        tracking: Tracking,
    ) -> Consequence {
        let why = match packet.destination_port() {
            Some(port) => format!("nothing listens on port {port} of {}", packet.destination),
            None => format!("nothing takes this protocol at {}", packet.destination),
        };
        let family = packet.family();
        let mut consequence = match packet.protocol {
            protocol::TCP => self.reset(packet, sent, origin, Tracking::None),
            protocol::UDP | protocol::UDPLITE => {
                self.icmp_error(packet, sent, origin, tracking, port_unreachable(family))
            }
            _ => {
                let error = if family == Family::Ipv4 { (3, 2) } else { (4, 1) };
                self.icmp_error(packet, sent, origin, tracking, error)
            }
        };
        consequence.because.get_or_insert(why);
        consequence
    }

    /// A TCP reset from this host to the packet's sender.
    fn reset(
        &mut self,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
        tracking: Tracking,
    ) -> Consequence {
        let Some(mut back) = answer_to(packet) else { return Consequence::of(Outcome::Timeout) };
        back.tcp_flags = tcp_flag::RST | tcp_flag::ACK;
        let mut trip = Trip::new(self, Leg::Back, back);
        if let Tracking::Tracked { connection, .. } = tracking {
            // kernel-facts A8: what REJECT makes is attached to the packet's connection.
            trip.tracking = Tracking::Tracked {
                connection,
                state: TrackedState::Related,
                direction: Direction::Reply,
            };
            trip.kernel_made = true;
        }
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Reset, sent, origin)
    }

    /// An ICMP error from this host to the packet's sender (kernel-facts A8, D15, G15).
    fn icmp_error(
        &mut self,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
        tracking: Tracking,
        (kind, code): (u8, u8),
    ) -> Consequence {
        if let Some(why) = no_error_for(self.system, packet) {
            return Consequence::because(Outcome::Timeout, why);
        }
        let source = self.error_source(packet);
        let back = Packet {
            source,
            destination: packet.source,
            protocol: routing::icmp_protocol(packet.family()),
            transport: Transport::Icmp { kind, code, id: 0 },
            tcp_flags: 0,
            ttl: 64,
            tos: 0xc0,
            length: None,
            mark: 0,
        };
        let mut trip = Trip::new(self, Leg::Back, back);
        if let Tracking::Tracked { connection, .. } = tracking {
            trip.tracking = Tracking::Tracked {
                connection,
                state: TrackedState::Related,
                direction: Direction::Reply,
            };
        }
        trip.kernel_made = true;
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Error { kind, code }, sent, origin)
    }

    /// kernel-facts D15: the address of the interface by which the error leaves, or the local
    /// address that the packet was sent to.
    fn error_source(&self, packet: &Packet) -> IpAddr {
        let host = &self.system.host;
        if routing::is_own_address(host, packet.destination) || packet.destination.is_loopback() {
            return packet.destination;
        }
        let back =
            Packet { source: packet.destination, destination: packet.source, ..packet.clone() };
        let key = Lookup { source: None, mark: 0, ports: None, ..Lookup::of(&back, "lo") };
        let chosen = match routing::lookup(host, &key) {
            LookupResult::Found(found) => routing::source_for(host, &found, packet.source),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        chosen.unwrap_or(packet.destination)
    }

    /// The packet left the host: somebody out there answers, or nobody.
    fn left(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        interface: &'s str,
    ) -> Consequence {
        let packet = &travelled.packet;
        let way = if travelled.source_unknown {
            // Whatever own address it is, the answer comes back to it.
            let link = outside::arrival(&self.system.host, packet, interface);
            WayBack::Arrives(Arrival { link: crate::simulate::path::LinkTarget::Host, ..link })
        } else {
            outside::way_back(self.system, packet, interface)
        };
        match way {
            WayBack::Arrives(arrival) => {
                let Some(back) = answer_to(packet) else {
                    return Consequence::of(Outcome::Connects);
                };
                let mac = self.mac_of(&back);
                let mut trip = Trip::new(self, Leg::Back, back);
                trip.mac = mac;
                let travelled = travel(trip, Origin::Wire(arrival));
                self.judge(travelled, ReplyKind::Answer, sent, origin)
            }
            WayBack::Direct => {
                let expected = Tuple::of(sent);
                if Tuple::of(packet) == expected {
                    Consequence::of(Outcome::Connects)
                } else {
                    let why = format!(
                        "{} answers {} directly, past this host, so the answer is not translated back and the sender does not know it",
                        packet.destination, packet.source
                    );
                    Consequence::because(Outcome::Timeout, why)
                }
            }
            WayBack::Lost(why) => Consequence::because(Outcome::Timeout, why),
            WayBack::Nobody(why) | WayBack::Refused(why) => {
                Consequence::because(Outcome::Unreachable, why)
            }
        }
    }

    fn stopped(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        stop: Stop,
    ) -> Consequence {
        let packet = &travelled.packet;
        let local = matches!(origin, Origin::Local);
        let at_once = local && travelled.in_interface.is_empty();
        match stop {
            Stop::Queued | Stop::Unknown => Consequence::of(Outcome::Undetermined),
            // kernel-facts G15, B6: a datagram that is dropped on its way out fails the call.
            Stop::Dropped | Stop::Martian if at_once && packet.protocol != protocol::TCP => {
                Consequence::because(Outcome::Unreachable, "the socket call fails (EPERM)".into())
            }
            Stop::Dropped | Stop::Martian => Consequence::of(Outcome::Timeout),
            Stop::Unroutable { .. } if at_once => {
                let first = travelled.steps.len() == 1;
                if first || packet.protocol != protocol::TCP {
                    Consequence::because(Outcome::Unreachable, "the socket call fails".into())
                } else {
                    Consequence::of(Outcome::Timeout)
                }
            }
            Stop::Unroutable { error: Some(error) } => {
                self.icmp_error(packet, sent, origin, travelled.tracking, error)
            }
            Stop::Unroutable { error: None } => Consequence::of(Outcome::Timeout),
            Stop::TtlExpired => {
                let error = if packet.source.is_ipv4() { (11, 0) } else { (3, 0) };
                self.icmp_error(packet, sent, origin, travelled.tracking, error)
            }
            Stop::Rejected(RejectWith::TcpReset) => {
                self.reset(packet, sent, origin, travelled.tracking)
            }
            Stop::Rejected(RejectWith::Icmp { kind, code }) => {
                self.icmp_error(packet, sent, origin, travelled.tracking, (kind, code))
            }
        }
    }

    /// Whether what travelled back reached the sender as something it knows.
    fn judge(
        &mut self,
        travelled: Travelled<'s>,
        kind: ReplyKind,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let arrived = self.reaches(&travelled, kind, sent, origin);
        let (outcome, because) = match (arrived, travelled.result) {
            (Ok(()), _) => (experienced(kind), None),
            (Err(_), Err(Stop::Queued | Stop::Unknown)) => (Outcome::Undetermined, None),
            (Err(why), _) => (Outcome::Timeout, Some(why)),
        };
        let reply = Reply {
            kind,
            verdict: travelled.verdict(),
            egress: travelled.egress(),
            decided_by: travelled.decided_by.or_else(|| deciding_step(&travelled.steps)),
            steps: travelled.steps,
        };
        Consequence { because, reply: Some(reply), ..Consequence::of(outcome) }
    }

    fn reaches(
        &self,
        travelled: &Travelled<'s>,
        kind: ReplyKind,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Result<(), String> {
        let packet = &travelled.packet;
        let end = match travelled.result {
            Ok(end) => end,
            Err(_) => return Err("the answer does not get through this host".to_owned()),
        };
        let known = match kind {
            ReplyKind::Answer | ReplyKind::Reset => Tuple::of(packet) == Tuple::of(sent).inverted(),
            ReplyKind::Error { .. } => packet.destination == sent.source,
        };
        if !known {
            return Err(format!(
                "the answer reaches {} from {}, not from {} as the sender expects",
                packet.destination, packet.source, sent.destination
            ));
        }
        match (origin, end) {
            (Origin::Local, End::Delivered) => Ok(()),
            (
                Origin::Wire(arrival),
                End::Left { interface } | End::Bridged { bridge: interface },
            ) => self.reaches_by(packet, arrival, interface),
            (Origin::Local, End::Left { interface } | End::Bridged { bridge: interface }) => Err(
                format!("the answer leaves by `{interface}` instead of reaching the local process"),
            ),
            (Origin::Wire(_), End::Delivered) => {
                Err("the answer ends at a local process instead of leaving".to_owned())
            }
        }
    }

    /// Whether the sender is reached by the interface that the answer leaves by.
    fn reaches_by(
        &self,
        packet: &Packet,
        arrival: Arrival<'s>,
        interface: &str,
    ) -> Result<(), String> {
        let host = &self.system.host;
        if let Some(why) = outside::lost_on_the_way(self.system, packet, interface) {
            return Err(format!("the answer is lost: {why}"));
        }
        let family = packet.family();
        let both_uplinks = outside::is_uplink(self.system, interface, family)
            && outside::is_uplink(self.system, arrival.interface, family)
            && crate::address::is_internet(packet.destination);
        if interface == arrival.interface
            || both_uplinks
            || host.is_on_link(packet.destination, interface)
        {
            return Ok(());
        }
        Err(format!(
            "the answer leaves by `{interface}`, but {} is behind `{}`",
            packet.destination, arrival.interface
        ))
    }
}

fn travel<'s>(mut trip: Trip<'_, 's, '_>, origin: Origin<'s>) -> Travelled<'s> {
    let result = match origin {
        Origin::Local => trip.send(),
        Origin::Wire(arrival) => trip.arrive(arrival),
    };
    Travelled {
        result,
        packet: trip.packet,
        tracking: trip.tracking,
        in_interface: trip.in_interface,
        proxy_socket: trip.proxy_socket,
        source_unknown: trip.source_unknown,
        source_port_random: trip.source_port_random,
        steps: trip.steps,
        decided_by: trip.decided_by,
    }
}

/// The answer that the receiver of a packet gives; none to ICMP that asks nothing.
fn answer_to(packet: &Packet) -> Option<Packet> {
    if let Transport::Icmp { kind, .. } = packet.transport {
        answer_type(packet.protocol, kind)?;
    }
    let tuple = Tuple::of(packet).inverted();
    let flags = if packet.tcp_flags & tcp_flag::SYN != 0 {
        tcp_flag::SYN | tcp_flag::ACK
    } else {
        tcp_flag::ACK
    };
    Some(Packet {
        source: tuple.source,
        destination: tuple.destination,
        protocol: packet.protocol,
        transport: tuple.transport,
        tcp_flags: if packet.protocol == protocol::TCP { flags } else { 0 },
        ttl: 64,
        tos: 0,
        length: None,
        mark: 0,
    })
}

/// What the sender experiences when this arrives.
fn experienced(kind: ReplyKind) -> Outcome {
    match kind {
        ReplyKind::Answer => Outcome::Connects,
        ReplyKind::Reset
        | ReplyKind::Error { kind: 3, code: 3 }
        | ReplyKind::Error { kind: 1, code: 4 } => Outcome::Refused,
        ReplyKind::Error { .. } => Outcome::Unreachable,
    }
}

fn port_unreachable(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 => (3, 3),
        Family::Ipv6 => (1, 4),
    }
}

/// Packets that no ICMP error answers (RFC 1122 section 3.2.2, kernel-facts G15).
fn no_error_for(system: &System, packet: &Packet) -> Option<String> {
    let group = match packet.destination {
        IpAddr::V4(to) => {
            to.is_multicast() || crate::simulate::address_type::is_broadcast(&system.host, to)
        }
        IpAddr::V6(to) => to.is_multicast(),
    };
    let is_error = match (packet.protocol, packet.transport) {
        (protocol::ICMP, Transport::Icmp { kind: 3 | 4 | 5 | 11 | 12, .. }) => true,
        (protocol::ICMPV6, Transport::Icmp { kind, .. }) => kind < 128,
        _ => false,
    };
    if group {
        Some("no ICMP error answers a packet to a group".to_owned())
    } else if is_error {
        Some("no ICMP error answers an ICMP error".to_owned())
    } else {
        None
    }
}
