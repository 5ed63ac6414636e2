//! Cells of destination ports: ports at which the same waits for a packet that is delivered here.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use nattrace_model::System;
use nattrace_model::host::{Listener, SocketProtocol};
use nattrace_model::packet::protocol;
use nattrace_parser::syntax::Family;

/// What waits at a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    /// A socket: what it is bound to.
    Socket { family: Family, address: Option<IpAddr>, interface: Option<String>, dual_stack: bool },
    /// Where docker-proxy waits, no two ports are alike.
    Proxy(u16),
}

/// The ports of one protocol, by what waits there.
#[derive(Debug, Default)]
struct Cells {
    /// The ports at which something waits, with their cells.
    of: BTreeMap<u16, usize>,
    ports: Vec<Vec<u16>>,
}

/// The ports that sockets and published ports tell apart.
#[derive(Debug)]
pub(crate) struct PortCells {
    tcp: Cells,
    udp: Cells,
    sctp: Cells,
}

/// The ports of a cell.
pub(crate) enum PortCell<'c> {
    /// All of them: there are no sockets of the protocol.
    All,
    /// Just these.
    These(&'c [u16]),
    /// Those at which nothing waits.
    NoneOf(Vec<u16>),
}

impl PortCells {
    pub(crate) fn of(system: &System) -> Self {
        let cells = |wanted| Cells::of(system, wanted);
        Self {
            tcp: cells(SocketProtocol::Tcp),
            udp: cells(SocketProtocol::Udp),
            sctp: cells(SocketProtocol::Sctp),
        }
    }

    /// The name of the cell of a port; `None` for those at which nothing waits.
    pub(crate) fn name(&self, number: u8, port: u16) -> Option<usize> {
        self.cells(number)?.of.get(&port).copied()
    }

    /// The ports of the cell of a port.
    pub(crate) fn cell(&self, number: u8, port: u16) -> PortCell<'_> {
        let Some(cells) = self.cells(number) else { return PortCell::All };
        match cells.of.get(&port).and_then(|at| cells.ports.get(*at)) {
            Some(ports) => PortCell::These(ports),
            None => PortCell::NoneOf(cells.of.keys().copied().collect()),
        }
    }

    fn cells(&self, number: u8) -> Option<&Cells> {
        match number {
            protocol::TCP => Some(&self.tcp),
            protocol::UDP => Some(&self.udp),
            protocol::SCTP => Some(&self.sctp),
            _ => None,
        }
    }
}

impl Cells {
    fn of(system: &System, wanted: SocketProtocol) -> Self {
        let host = &system.host;
        let mut waiting: BTreeMap<u16, Vec<Waiting>> = BTreeMap::new();
        let listeners = host.listeners.iter().flatten();
        for listener in listeners.filter(|listener| listener.protocol == wanted) {
            waiting.entry(listener.port).or_default().push(waits(listener));
        }
        if host.listeners.is_none() {
            // Where no sockets are known, docker-proxy is taken to wait at published ports.
            let published = host.inventory.containers.iter().flat_map(|c| &c.published);
            for published in published.filter(|published| published.protocol == wanted) {
                let port = published.host_port;
                waiting.entry(port).or_default().push(Waiting::Proxy(port));
            }
        }
        let mut cells = Self::default();
        let mut known: HashMap<Vec<String>, usize> = HashMap::new();
        for (port, mut all) in waiting {
            all.sort();
            all.dedup();
            let key: Vec<String> = all.iter().map(|one| format!("{one:?}")).collect();
            let at = *known.entry(key).or_insert_with(|| {
                cells.ports.push(Vec::new());
                cells.ports.len() - 1
            });
            if let Some(ports) = cells.ports.get_mut(at) {
                ports.push(port);
            }
            cells.of.insert(port, at);
        }
        cells
    }
}

fn waits(listener: &Listener) -> Waiting {
    if listener.processes.iter().any(|process| process == "docker-proxy") {
        return Waiting::Proxy(listener.port);
    }
    Waiting::Socket {
        family: listener.family,
        address: listener.address,
        interface: listener.interface.clone(),
        dual_stack: listener.dual_stack,
    }
}
