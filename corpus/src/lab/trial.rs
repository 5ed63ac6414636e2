//! One packet sent into the kernel, and everything that it is seen to do with it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::{protocol, tcp_flag};

use super::conntrack::Connections;
use super::fragment::Cut;
use super::frame::{Body, Checksum, Content, Frame, Mac, WirePacket};
use super::rules::{Counted, Counts};
use super::socket::{Call, Listeners, Sender};
use super::surroundings::{Surroundings, WireName};
use super::trace::Meter;
use super::wire::{Departed, Patience, Wires};

/// Where a packet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// On a wire, in a frame to this hardware address.
    Wire(WireName, Mac),
    /// In a local process.
    Local,
}

/// A packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) flow: Flow,
    pub(crate) start: Start,
    /// How it is cut into fragments; a local process sends more then than fits into one packet.
    pub(crate) cut: Option<Cut>,
}

impl Trial {
    /// A packet that is whole.
    pub(crate) fn whole(flow: Flow, start: Start) -> Self {
        Self { flow, start, cut: None }
    }

    /// Whether a part of it never comes.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.cut.is_some_and(|cut| cut.lost.is_some())
    }
}

/// How often the sockets of the host are asked whether more has come.
const MOST_ROUNDS: usize = 8;

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = &self.flow;
        match self.start {
            Start::Wire(wire, _) => write!(f, "in by {wire}: ")?,
            Start::Local if flow.any_source => write!(f, "local, unbound: ")?,
            Start::Local => write!(f, "local: ")?,
        }
        write!(f, "{} > {} protocol {}", flow.source, flow.destination, flow.protocol)?;
        if let (Some(source), Some(destination)) = (flow.source_port, flow.destination_port) {
            write!(f, " ports {source} > {destination}")?;
        }
        if let Some(flags) = flow.tcp_flags {
            write!(f, " flags {flags:#04x}")?;
        }
        if let Some((kind, code)) = flow.icmp {
            write!(f, " icmp {kind}/{code}")?;
        }
        if let Some(ttl) = flow.ttl {
            write!(f, " ttl {ttl}")?;
        }
        if flow.mark != 0 {
            write!(f, " mark {:#x}", flow.mark)?;
        }
        write!(f, " state {:?}", flow.state)?;
        match self.cut {
            Some(cut) => write!(f, " {cut}"),
            None => Ok(()),
        }
    }
}

/// What was seen since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Every rule and policy that was met, in order, where the kernel tells.
    pub(crate) met: Option<Vec<Counted>>,
    /// How often each was.
    pub(crate) counts: Counts,
    pub(crate) departed: Vec<Departed>,
}

/// What the kernel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// With the packet, and with what the host itself answered.
    pub(crate) forth: Seen,
    /// With the answer that was sent to it from outside, if one was.
    pub(crate) back: Option<Seen>,
    /// How the local process's call ended.
    pub(crate) call: Call,
}

/// Why a trial could not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skipped {
    /// The socket can't be bound as the flow wants.
    Bind,
    /// The connection that the packet should belong to does not come about.
    NoConnection,
    /// It met more rules than the kernel could tell.
    Overrun,
    /// Nothing puts its fragments together, and a question has no word for one of them.
    Apart,
}

/// Which part of an exchange a frame is.
const SEQUENCE: u32 = 1000;
const ANSWER_SEQUENCE: u32 = 5000;

/// Chunks of SCTP that begin an association, and the tags of both sides.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const TAG: u32 = 0x6e61_7474;
const ANSWER_TAG: u32 = 0x7261_6365;

/// The host under test, ready for packets.
pub(crate) struct Bench {
    pub(crate) wires: Wires,
    pub(crate) listeners: RefCell<Listeners>,
    pub(crate) meter: Meter,
    pub(crate) connections: Connections,
    pub(crate) patience: Cell<Patience>,
    pub(crate) surroundings: Rc<dyn Surroundings>,
}

impl Bench {
    /// Sends the packet, answers what leaves if `answer` says so, and takes the trace.
    pub(crate) fn run(
        &self,
        trial: &Trial,
        answer: Answering,
    ) -> io::Result<Result<Observation, Skipped>> {
        self.connections.forget()?;
        let observed = match trial.start {
            Start::Wire(wire, to) => self.run_from_wire(trial, wire, to, answer),
            Start::Local => self.run_from_process(trial, answer),
        };
        let mut listeners = self.listeners.borrow_mut();
        listeners.drain();
        if trial.flow.protocol == protocol::TCP {
            // A connection that is half open would not answer a second SYN.
            listeners.renew()?;
        }
        self.collect()?;
        if self.meter.has_overrun() { Ok(Err(Skipped::Overrun)) } else { observed }
    }

    /// Takes away what the kernel has still to say about earlier packets.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.listeners.borrow_mut().drain();
        self.settle()?;
        self.meter.forget()
    }

    fn collect(&self) -> io::Result<Vec<Departed>> {
        self.wires.collect(self.patience.get())
    }

    fn settle(&self) -> io::Result<Vec<Departed>> {
        let mut departed = self.collect()?;
        for _ in 0..MOST_ROUNDS {
            if !self.listeners.borrow().answer()? {
                break;
            }
            departed.extend(self.collect()?);
        }
        Ok(departed)
    }

    /// What happened since the last look.
    fn look(&self) -> io::Result<Seen> {
        let departed = self.settle()?;
        let (counts, met) = self.meter.take()?;
        Ok(Seen { counts, met, departed })
    }

    fn run_from_wire(
        &self,
        trial: &Trial,
        wire: WireName,
        to: Mac,
        answer: Answering,
    ) -> io::Result<Result<Observation, Skipped>> {
        let flow = &trial.flow;
        let source = self.surroundings.sender_mac(wire, flow.source);
        let frame = |packet: WirePacket| Frame {
            destination: to,
            source,
            content: Content::Packet(packet),
        };
        let mut packet = first_packet(flow);
        if flow.state == FlowState::Established {
            let Some(later) = self.establish(wire, frame(opening(flow)))? else {
                return Ok(Err(Skipped::NoConnection));
            };
            if self.connections.are_unreplied()? {
                return Ok(Err(Skipped::NoConnection));
            }
            packet = WirePacket { ttl: packet.ttl, ..later };
            if let (Body::Tcp { flags, .. }, Some(asked)) = (&mut packet.body, flow.tcp_flags) {
                *flags = asked;
            }
        }
        let checksum = match flow.state {
            FlowState::Invalid => Checksum::Wrong,
            _ => Checksum::Right,
        };
        self.meter.forget()?;
        self.wires.send_cut(wire, &frame(packet), checksum, trial.cut)?;
        let forth = self.look()?;
        let back = self.answer(&forth, answer, trial.cut)?;
        Ok(Ok(Observation { forth, back, call: Call::Done }))
    }

    fn run_from_process(
        &self,
        trial: &Trial,
        answer: Answering,
    ) -> io::Result<Result<Observation, Skipped>> {
        let Ok(sender) = Sender::open(&trial.flow, trial.cut) else {
            return Ok(Err(Skipped::Bind));
        };
        if trial.flow.state == FlowState::Established {
            sender.send();
            let seen = Seen { departed: self.settle()?, ..Seen::default() };
            self.answer(&seen, Answering::Yes, None)?;
            if !sender.was_answered() || self.connections.are_unreplied()? {
                return Ok(Err(Skipped::NoConnection));
            }
        }
        self.meter.forget()?;
        let call = sender.send();
        let forth = self.look()?;
        let back = self.answer(&forth, answer, None)?;
        sender.close();
        Ok(Ok(Observation { forth, back, call }))
    }

    /// Sends the answer to the one packet that left, from where it went.
    fn answer(
        &self,
        forth: &Seen,
        answer: Answering,
        cut: Option<Cut>,
    ) -> io::Result<Option<Seen>> {
        let (Answering::Yes, [departed]) = (answer, forth.departed.as_slice()) else {
            return Ok(None);
        };
        let Some(frame) = answering(departed, &*self.surroundings) else { return Ok(None) };
        self.wires.send_cut(departed.wire, &frame, Checksum::Right, cut)?;
        self.look().map(Some)
    }

    /// Opens a connection from outside, and gives the next packet of it; `None` where no answer
    /// comes back.
    fn establish(&self, wire: WireName, first: Frame) -> io::Result<Option<WirePacket>> {
        self.wires.send(wire, &first, Checksum::Right)?;
        let mut left = self.settle()?;
        let came_back = |left: &[Departed]| {
            left.iter()
                .find(|departed| departed.wire == wire && departed.to == first.source)
                .cloned()
        };
        let direct = match left.as_slice() {
            [departed] => is_answer_to(&first, departed),
            _ => false,
        };
        if !direct {
            let [departed] = left.as_slice() else { return Ok(None) };
            let Some(frame) = answering(departed, &*self.surroundings) else { return Ok(None) };
            self.wires.send(departed.wire, &frame, Checksum::Right)?;
            left = self.settle()?;
        }
        let (Some(back), Content::Packet(sent)) = (came_back(&left), &first.content) else {
            return Ok(None);
        };
        if !is_answer_to(&first, &back) {
            return Ok(None);
        }
        let mut next = sent.clone();
        if let (
            Body::Tcp { flags, sequence, acknowledgement, .. },
            Body::Tcp { sequence: theirs, flags: their_flags, .. },
        ) = (&mut next.body, &back.packet.body)
        {
            if their_flags & tcp_flag::RST != 0 {
                return Ok(None);
            }
            *flags = tcp_flag::ACK;
            *sequence = SEQUENCE + 1;
            *acknowledgement = theirs.wrapping_add(1);
        }
        Ok(Some(next))
    }
}

/// Whether a packet that leaves is the answer to one that came, as its sender expects it.
fn is_answer_to(sent: &Frame, departed: &Departed) -> bool {
    let Content::Packet(sent) = &sent.content else { return false };
    let packet = &departed.packet;
    let error = matches!(&packet.body, Body::Icmp { about: Some(_), .. });
    !error
        && packet.source == sent.destination
        && packet.destination == sent.source
        && packet.protocol == sent.protocol
        && packet.ports() == sent.ports().map(|(source, destination)| (destination, source))
}

/// Whether the lab answers what leaves the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    Yes,
    No,
}

/// The packet of a flow on a wire.
fn first_packet(flow: &Flow) -> WirePacket {
    let ports = (flow.source_port.unwrap_or(40000), flow.destination_port.unwrap_or(0));
    let body = match flow.protocol {
        protocol::TCP => Body::Tcp {
            ports,
            flags: flow.tcp_flags.unwrap_or(tcp_flag::SYN),
            sequence: SEQUENCE,
            acknowledgement: 0,
        },
        protocol::UDP => Body::Udp { ports },
        protocol::UDPLITE => Body::UdpLite { ports },
        protocol::SCTP => Body::Sctp { ports, tag: 0, chunk: INIT, initiate: TAG },
        protocol::ICMP | protocol::ICMPV6 => {
            let query = if flow.protocol == protocol::ICMP { 8 } else { 128 };
            let (kind, code) = flow.icmp.unwrap_or((query, 0));
            Body::Icmp { kind, code, rest: (1, 1), about: None }
        }
        _ => Body::Opaque,
    };
    WirePacket {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        ttl: flow.ttl.unwrap_or(64),
        tos: 0,
        body,
    }
}

/// The first packet of the connection that a flow's packet belongs to.
fn opening(flow: &Flow) -> WirePacket {
    first_packet(&Flow { tcp_flags: None, state: FlowState::New, ..flow.clone() })
}

/// The answer of whoever got a packet, in a frame.
fn answering(departed: &Departed, surroundings: &dyn Surroundings) -> Option<Frame> {
    let packet = &departed.packet;
    let body = match packet.body.clone() {
        Body::Tcp { ports, flags, sequence, .. } => {
            let syn = flags & tcp_flag::SYN;
            Body::Tcp {
                ports: (ports.1, ports.0),
                flags: syn | tcp_flag::ACK,
                sequence: ANSWER_SEQUENCE,
                acknowledgement: sequence.wrapping_add(u32::from(syn != 0)),
            }
        }
        Body::Udp { ports } => Body::Udp { ports: (ports.1, ports.0) },
        Body::UdpLite { ports } => Body::UdpLite { ports: (ports.1, ports.0) },
        Body::Sctp { ports, initiate, .. } => Body::Sctp {
            ports: (ports.1, ports.0),
            tag: initiate,
            chunk: INIT_ACK,
            initiate: ANSWER_TAG,
        },
        Body::Icmp { kind, code, rest, .. } => {
            let kind = match (packet.protocol, kind) {
                (protocol::ICMP, 8) => 0,
                (protocol::ICMP, 13 | 15 | 17) => kind + 1,
                (protocol::ICMPV6, 128) => 129,
                _ => return None,
            };
            Body::Icmp { kind, code, rest, about: None }
        }
        Body::Opaque => Body::Opaque,
    };
    let answer = WirePacket {
        source: packet.destination,
        destination: packet.source,
        protocol: packet.protocol,
        ttl: 64,
        tos: 0,
        body,
    };
    let destination = surroundings.next_mac(departed.wire, answer.destination);
    let content = Content::Packet(answer);
    Some(Frame { destination, source: departed.to, content })
}
