//! Who answers, and who asks: real connections between namespaces.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nattrace_corpus::case::ProbeProtocol;
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::inside;

/// A packet that reached a socket.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    /// Whose socket.
    pub(crate) who: String,
    /// The source that it saw.
    pub(crate) source: SocketAddr,
    /// The destination that it saw.
    pub(crate) destination: SocketAddr,
}

/// What all servers saw since somebody looked.
pub(crate) type Sightings = Arc<Mutex<Vec<Sighting>>>;

fn domain(address: IpAddr) -> Domain {
    if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Answers TCP on ports of any address, and UDP on a port of each given address.
pub(crate) fn serve(
    who: &str,
    namespace: &Path,
    streams: &[u16],
    datagrams: &[SocketAddr],
    seen: &Sightings,
) {
    for port in streams {
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            let listener = inside(namespace, || listen(any, *port)).expect("the port is free");
            let (who, seen) = (who.to_owned(), Arc::clone(seen));
            std::thread::spawn(move || answer_streams(&who, &listener, &seen));
        }
    }
    for address in datagrams {
        let socket = inside(namespace, || UdpSocket::bind(address)).expect("the port is free");
        let (who, seen) = (who.to_owned(), Arc::clone(seen));
        std::thread::spawn(move || answer_datagrams(&who, &socket, &seen));
    }
}

fn listen(any: IpAddr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(domain(any), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if any.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(any, port).into())?;
    socket.listen(64)?;
    Ok(socket)
}

/// Ends with the process: the socket lives as long as it listens.
fn answer_streams(who: &str, listener: &Socket, seen: &Sightings) {
    while let Ok((mut stream, from)) = listener.accept() {
        let at = stream.local_addr().ok().and_then(|at| at.as_socket());
        if let (Some(source), Some(destination)) = (from.as_socket(), at) {
            let sighting = Sighting { who: who.to_owned(), source, destination };
            seen.lock().expect("nobody panics with it").push(sighting);
        }
        // Whoever asked may have gone away.
        drop(stream.write_all(b"nattrace\n"));
    }
}

fn answer_datagrams(who: &str, socket: &UdpSocket, seen: &Sightings) {
    let mut buffer = [0; 64];
    loop {
        // An error of an earlier answer is reported here, and of no interest.
        let Ok((length, source)) = socket.recv_from(&mut buffer) else { continue };
        if let Ok(destination) = socket.local_addr() {
            let sighting = Sighting { who: who.to_owned(), source, destination };
            seen.lock().expect("nobody panics with it").push(sighting);
        }
        drop(socket.send_to(&buffer[..length], source));
    }
}

/// The source address that a sender's own kernel picks; an error where it has no route.
pub(crate) fn source_for(namespace: &Path, destination: IpAddr) -> io::Result<IpAddr> {
    inside(namespace, || {
        let socket = UdpSocket::bind(SocketAddr::new(unspecified(destination), 0))?;
        socket.connect(SocketAddr::new(destination, 9))?;
        Ok(socket.local_addr()?.ip())
    })
}

/// What somebody asks whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The address that the socket is bound to, where it is.
    pub(crate) bound: Option<IpAddr>,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
    pub(crate) protocol: ProbeProtocol,
    /// How long to wait for an answer.
    pub(crate) patience: Duration,
}

/// Makes the call from a namespace, and says how it ends in the words of CLI.md's outcomes.
pub(crate) fn call(namespace: &Path, call: &Call) -> &'static str {
    let result = inside(namespace, || match call.protocol {
        ProbeProtocol::Tcp => stream(call),
        ProbeProtocol::Udp => datagram(call),
        ProbeProtocol::Icmp => echo(call),
    });
    match result {
        Ok(()) => "connects",
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => "refused",
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timeout",
            // What a proxy does to a connection that it can't pass on.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "cut off",
            _ => "unreachable",
        },
    }
}

fn bound(call: &Call, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain(call.destination), kind, None)?;
    socket.set_reuse_address(true)?;
    let address = call.bound.unwrap_or_else(|| unspecified(call.destination));
    socket.bind(&SocketAddr::new(address, call.source_port).into())?;
    socket.set_read_timeout(Some(call.patience))?;
    Ok(socket)
}

fn stream(call: &Call) -> io::Result<()> {
    let mut socket = bound(call, Type::STREAM)?;
    let to = SocketAddr::new(call.destination, call.destination_port);
    socket.connect_timeout(&to.into(), call.patience)?;
    let mut line = [0; 9];
    socket.read_exact(&mut line)?;
    // Up to the other end's FIN, so that nothing of this connection is under way afterwards.
    drop(socket.read(&mut line));
    Ok(())
}

fn datagram(call: &Call) -> io::Result<()> {
    let mut socket = bound(call, Type::DGRAM)?;
    socket.connect(&SocketAddr::new(call.destination, call.destination_port).into())?;
    socket.send(b"nattrace")?;
    socket.read(&mut [0; 64]).map(drop)
}

fn echo(call: &Call) -> io::Result<()> {
    let (protocol, request, reply) = match call.destination {
        IpAddr::V4(_) => (Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Protocol::ICMPV6, 128, 129),
    };
    let mut socket = Socket::new(domain(call.destination), Type::RAW, Some(protocol))?;
    let address = call.bound.unwrap_or_else(|| unspecified(call.destination));
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.connect(&SocketAddr::new(call.destination, 0).into())?;
    let [high, low] = call.source_port.to_be_bytes();
    let mut message = [request, 0, 0, 0, high, low, 0, 1];
    if call.destination.is_ipv4() {
        let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a sum of few words");
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    socket.send(&message)?;
    let end = Instant::now() + call.patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 256];
        let length = socket.read(&mut buffer)?;
        // An IPv4 raw socket gets the header too, and one of this host sees its own question.
        let header = if call.destination.is_ipv4() { 20 } else { 0 };
        let Some([kind, _, _, _, h, l, ..]) = buffer.get(header..length) else { continue };
        if (*kind, *h, *l) == (reply, high, low) {
            return Ok(());
        }
    }
}
