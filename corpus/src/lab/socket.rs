//! Local processes of the host under test: sockets that listen and answer, and one that sends.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nattrace_model::flow::Flow;
use nattrace_model::host::{Listener, SocketProtocol};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::fragment::Cut;
use super::frame::{internet_checksum, put};

/// Ports on which TCP sockets listen, bound to no address.
pub(crate) const TCP_PORTS: [u16; 2] = [80, 8080];

/// The port on which datagrams to any address are answered.
pub(crate) const UDP_PORT: u16 = 53;

/// The port on which datagrams to one address are answered.
pub(crate) const UDP_BOUND_PORT: u16 = 5353;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: SocketAddr,
    /// The interface that it is bound to.
    interface: Option<String>,
}

impl Place {
    fn new(address: IpAddr, port: u16) -> Self {
        Self { address: SocketAddr::new(address, port), interface: None }
    }
}

/// The sockets that listen.
pub(crate) struct Listeners {
    places: Vec<Place>,
    streams: Vec<Socket>,
    datagrams: Vec<Socket>,
}

fn domain(address: IpAddr) -> Domain {
    if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

fn listen(place: &Place, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain(place.address.ip()), kind, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if place.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = &place.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&place.address.into())?;
    if kind == Type::STREAM {
        socket.listen(128)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How many datagrams are answered at once: more than a trial sends.
const MOST_ANSWERS: usize = 16;

impl Listeners {
    /// Opens the sockets of a family.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let (any, bound): (IpAddr, IpAddr) = match family {
            Family::Ipv4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(10, 0, 1, 1).into()),
            Family::Ipv6 => {
                let bound = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
                (Ipv6Addr::UNSPECIFIED.into(), bound.into())
            }
        };
        let places = TCP_PORTS.map(|port| Place::new(any, port)).to_vec();
        let streams = streams(&places)?;
        let datagrams = [Place::new(any, UDP_PORT), Place::new(bound, UDP_BOUND_PORT)]
            .iter()
            .map(|place| listen(place, Type::DGRAM))
            .collect::<Result<_, _>>()?;
        Ok(Self { places, streams, datagrams })
    }

    /// Opens the sockets of a described host; what can't be opened is told.
    pub(crate) fn of(listeners: &[Listener], not_opened: &mut Vec<String>) -> Self {
        let mut sockets = Self { places: Vec::new(), streams: Vec::new(), datagrams: Vec::new() };
        let mut places = BTreeSet::new();
        for listener in listeners {
            let kind = match listener.protocol {
                SocketProtocol::Tcp => protocol::TCP,
                SocketProtocol::Udp => protocol::UDP,
                SocketProtocol::Sctp => continue,
            };
            let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            let addresses = match (listener.address, listener.family) {
                (Some(address), _) => vec![address],
                (None, Family::Ipv4) => vec![any4],
                (None, Family::Ipv6) if listener.dual_stack => vec![any4, any6],
                (None, Family::Ipv6) => vec![any6],
            };
            for address in addresses {
                let interface = listener.interface.clone();
                let address = SocketAddr::new(address, listener.port);
                places.insert((kind, Place { address, interface }));
            }
        }
        for (number, place) in places {
            let kind = if number == protocol::TCP { Type::STREAM } else { Type::DGRAM };
            match listen(&place, kind) {
                Ok(socket) if number == protocol::TCP => {
                    sockets.streams.push(socket);
                    sockets.places.push(place);
                }
                Ok(socket) => sockets.datagrams.push(socket),
                Err(error) => not_opened.push(format!("a socket at {}: {error}", place.address)),
            }
        }
        sockets
    }

    /// Answers every datagram that waits; whether there was one.
    pub(crate) fn answer(&self) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        for socket in &self.datagrams {
            // An error of an earlier answer is reported here, and of no interest. Rules may lead an
            // answer back to the socket that sent it, so there is an end to answering.
            for _ in 0..MOST_ANSWERS {
                let Ok((_, from)) = socket.recv_from(&mut buffer) else { break };
                any = true;
                let _refused = socket.send_to(b"nattrace", &from);
            }
        }
        Ok(any)
    }

    /// Throws away what waits, so that an answer that rules lead back is not answered for ever.
    pub(crate) fn drain(&self) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        for socket in &self.datagrams {
            while socket.recv_from(&mut buffer).is_ok() {}
        }
    }

    /// Ends every connection that was accepted, with a reset, and forgets those that are half open:
    /// they are lost with the socket that listens.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        for socket in self.streams.drain(..) {
            while let Ok((connection, _)) = socket.accept() {
                connection.set_linger(Some(Duration::ZERO))?;
            }
        }
        self.streams = streams(&self.places)?;
        Ok(())
    }
}

fn streams(places: &[Place]) -> io::Result<Vec<Socket>> {
    places.iter().map(|place| listen(place, Type::STREAM)).collect()
}

/// A local process that sends the packet of a flow, and waits for the answer.
pub(crate) struct Sender {
    socket: Socket,
    flow: Flow,
    /// What a datagram carries.
    payload: Vec<u8>,
}

/// How a system call of the sender ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It went well, or waits for an answer.
    Done,
    /// The kernel refused, by the error's name.
    Refused(String),
}

impl Sender {
    /// Opens a socket and binds it to the flow's source.
    pub(crate) fn open(flow: &Flow, cut: Option<Cut>) -> io::Result<Self> {
        let domain = domain(flow.destination);
        let socket = match flow.protocol {
            protocol::TCP => Socket::new(domain, Type::STREAM, None)?,
            protocol::UDP => Socket::new(domain, Type::DGRAM, None)?,
            other => Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(other))))?,
        };
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if flow.mark != 0 {
            socket.set_mark(flow.mark)?;
        }
        if let Some(ttl) = flow.ttl {
            match flow.destination {
                IpAddr::V4(_) => socket.set_ttl_v4(u32::from(ttl))?,
                IpAddr::V6(_) => socket.set_unicast_hops_v6(u32::from(ttl))?,
            }
        }
        if flow.destination.is_ipv4() {
            socket.set_broadcast(true)?;
        }
        let raw = !matches!(flow.protocol, protocol::TCP | protocol::UDP);
        let port = if raw { 0 } else { flow.source_port.unwrap_or(0) };
        let address = match (flow.any_source, flow.destination) {
            (false, _) => flow.source,
            (true, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (true, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        if !(raw && flow.any_source) {
            socket.bind(&SocketAddr::new(address, port).into())?;
        }
        let payload = b"nattrace".repeat(if cut.is_some() { TOO_MUCH } else { 1 });
        Ok(Self { socket, flow: flow.clone(), payload })
    }

    /// Sends the first packet.
    pub(crate) fn send(&self) -> Call {
        let flow = &self.flow;
        let raw = !matches!(flow.protocol, protocol::TCP | protocol::UDP);
        let port = if raw { 0 } else { flow.destination_port.unwrap_or(0) };
        let to: SockAddr = SocketAddr::new(flow.destination, port).into();
        let result = match flow.protocol {
            protocol::TCP => self.socket.connect(&to),
            protocol::UDP => self.socket.send_to(&self.payload, &to).map(drop),
            protocol::ICMP | protocol::ICMPV6 => {
                let query = if flow.protocol == protocol::ICMP { 8 } else { 128 };
                let (kind, code) = flow.icmp.unwrap_or((query, 0));
                let message = echo(kind, code, &self.payload, flow.protocol == protocol::ICMP);
                self.socket.send_to(&message, &to).map(drop)
            }
            _ => self.socket.send_to(&self.payload, &to).map(drop),
        };
        match result {
            Ok(()) => Call::Done,
            // EINPROGRESS: the answer to the SYN is awaited.
            Err(error) if error.raw_os_error() == Some(115) => Call::Done,
            Err(error) => Call::Refused(error.to_string()),
        }
    }

    /// Whether something came back.
    pub(crate) fn was_answered(&self) -> bool {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        self.socket.recv_from(&mut buffer).is_ok()
    }

    /// Ends a connection without a word, or with a reset.
    pub(crate) fn close(self) {
        let _of_no_interest = self.socket.set_linger(Some(Duration::ZERO));
    }
}

/// How often the payload of a datagram is repeated to fit into no single packet.
const TOO_MUCH: usize = 400;

/// An ICMP query; the kernel fills in the checksum of ICMPv6 only.
fn echo(kind: u8, code: u8, payload: &[u8], sum: bool) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 1, 0, 1];
    message.extend(payload);
    if sum {
        let checksum = internet_checksum(&[&message]);
        put(&mut message, 2, checksum);
    }
    message
}
