//! Which local socket gets a packet.

use std::net::{IpAddr, SocketAddr};

use nattrace_parser::syntax::{Family, TableName};

use crate::System;
use crate::condition::{Condition, PortSide, Sense};
use crate::host::{Host, Listener, SocketProtocol};
use crate::packet::{Packet, protocol};
use crate::target::Target;

/// What waits for a packet that is delivered to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Receiver<'s> {
    /// The kernel itself answers an echo.
    Kernel,
    /// A listening socket.
    Listener(&'s Listener),
    /// No part says which sockets there are.
    Unknown,
    /// Nobody.
    Nobody,
}

/// The protocol of a socket for packets of this kind.
pub(crate) fn socket_protocol(number: u8) -> Option<SocketProtocol> {
    match number {
        protocol::TCP => Some(SocketProtocol::Tcp),
        protocol::UDP => Some(SocketProtocol::Udp),
        protocol::SCTP => Some(SocketProtocol::Sctp),
        _ => None,
    }
}

/// The receiver of a packet, or of the socket that TPROXY chose.
pub(crate) fn receiver<'s>(
    host: &'s Host,
    packet: &Packet,
    in_interface: &str,
    chosen: Option<(Option<IpAddr>, u16)>,
) -> Receiver<'s> {
    if matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
        return Receiver::Kernel;
    }
    let Some(wanted) = socket_protocol(packet.protocol) else { return Receiver::Unknown };
    let Some(listeners) = &host.listeners else { return Receiver::Unknown };
    let (address, port) = match chosen {
        Some((address, port)) => (address.unwrap_or(packet.destination), port),
        None => (packet.destination, packet.destination_port().unwrap_or(0)),
    };
    let candidates = listeners.iter().filter(|listener| {
        listener.protocol == wanted
            && listener.port == port
            && listener.interface.as_deref().is_none_or(|name| name == in_interface)
            && (takes(listener, address) || chosen.is_some())
    });
    // A socket bound to the address goes before one bound to any.
    match candidates
        .max_by_key(|listener| (listener.address.is_some(), listener.family == Family::of(address)))
    {
        Some(listener) => Receiver::Listener(listener),
        None => Receiver::Nobody,
    }
}

fn takes(listener: &Listener, address: IpAddr) -> bool {
    match listener.address {
        Some(bound) => bound == address,
        None => {
            listener.family == Family::of(address) || (listener.dual_stack && address.is_ipv4())
        }
    }
}

/// Whether a listener is docker's userland proxy.
pub(crate) fn is_docker_proxy(listener: &Listener) -> bool {
    listener.processes.iter().any(|process| process == "docker-proxy")
}

/// Whether docker publishes the port that a packet is for.
pub(crate) fn is_published(host: &Host, packet: &Packet) -> bool {
    socket_protocol(packet.protocol).zip(packet.destination_port()).is_some_and(|(wanted, port)| {
        host.inventory.published(wanted, packet.destination, port).is_some()
    })
}

/// Where docker-proxy connects to for a published port: the inventory says, else a DNAT rule for
/// the same port.
pub(crate) fn proxy_target(system: &System, packet: &Packet) -> Option<SocketAddr> {
    let wanted = socket_protocol(packet.protocol)?;
    let port = packet.destination_port()?;
    if let Some((_, target)) = system.host.inventory.published(wanted, packet.destination, port) {
        return Some(target);
    }
    let nat = system.rules.chains.iter().filter(|chain| {
        let nat = chain.table.of_iptables().is_none_or(|table| table == TableName::Nat);
        nat && chain.family == packet.family()
    });
    nat.flat_map(|chain| &chain.rules).find_map(|rule| {
        let Target::Dnat(range, _) = &rule.target else { return None };
        let asks = |condition: Condition| rule.conditions.contains(&condition);
        let for_port = asks(Condition::Port(Sense::Is, PortSide::Destination, port, port));
        let for_protocol = asks(Condition::Protocol(Sense::Is, packet.protocol));
        let (first, last) = range.addresses?;
        let (low, high) = range.ports?;
        (for_port && for_protocol && first == last && low == high)
            .then(|| SocketAddr::new(first, low))
    })
}
