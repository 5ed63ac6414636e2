//! Listening sockets, from `ss`.

use std::collections::BTreeSet;

use nattrace_parser::host::listener::{Bound, Socket};
use nattrace_parser::syntax::Family;

use crate::host::{Assumption, Listener, SocketProtocol};

/// The sockets that take packets of new flows.
pub(super) fn listeners(sockets: &[Socket], assumptions: &mut Vec<Assumption>) -> Vec<Listener> {
    let any4: BTreeSet<(&str, u16)> = sockets
        .iter()
        .filter(|socket| socket.address == Bound::AnyIpv4)
        .map(|socket| (socket.protocol.as_str(), socket.port))
        .collect();
    let mut guessed = false;
    let mut listeners = Vec::new();
    for socket in sockets.iter().filter(|socket| socket.is_open()) {
        let Some(protocol) = protocol(&socket.protocol) else { continue };
        let (address, family, dual_stack) = match socket.address {
            Bound::Address(address) => (Some(address), Family::of(address), false),
            Bound::AnyIpv4 => (None, Family::Ipv4, false),
            Bound::AnyIpv6 => (None, Family::Ipv6, false),
            Bound::Any => (None, Family::Ipv6, true),
            // Where another socket has the port of IPv4, this one can't have it too.
            Bound::AnyIpv6MaybeIpv4 => {
                let dual = !any4.contains(&(socket.protocol.as_str(), socket.port));
                guessed |= dual;
                (None, Family::Ipv6, dual)
            }
        };
        listeners.push(Listener {
            protocol,
            address,
            family,
            dual_stack,
            port: socket.port,
            interface: socket.interface.clone(),
            processes: socket.processes.iter().map(|process| process.name.clone()).collect(),
        });
    }
    if guessed {
        assumptions.push(Assumption {
            code: "dual-stack-assumed",
            text: "sockets of IPv6 that the listing shows as `:::PORT` are taken to take IPv4 too \
                   (`ss -Hlntup` settles it)"
                .to_owned(),
        });
    }
    listeners
}

fn protocol(name: &str) -> Option<SocketProtocol> {
    match name {
        "tcp" | "mptcp" => Some(SocketProtocol::Tcp),
        "udp" => Some(SocketProtocol::Udp),
        "sctp" => Some(SocketProtocol::Sctp),
        _ => None,
    }
}
