//! Who asks whom.

use std::net::{IpAddr, SocketAddr};

use nattrace_corpus::case::{ProbeProtocol, Sender};

use crate::probe::{Place, Question};
use crate::world::{self, Container, World};

/// Published ports and others, with the protocol.
const HOST_PORTS: [(u16, ProbeProtocol); 17] = [
    (8080, ProbeProtocol::Tcp),
    (8081, ProbeProtocol::Tcp),
    (8082, ProbeProtocol::Tcp),
    (9000, ProbeProtocol::Tcp),
    (9001, ProbeProtocol::Tcp),
    (8090, ProbeProtocol::Tcp),
    (8100, ProbeProtocol::Tcp),
    (8200, ProbeProtocol::Tcp),
    (8300, ProbeProtocol::Tcp),
    (8053, ProbeProtocol::Udp),
    (8054, ProbeProtocol::Udp),
    (9090, ProbeProtocol::Tcp),
    (5300, ProbeProtocol::Udp),
    (7777, ProbeProtocol::Tcp),
    (9999, ProbeProtocol::Tcp),
    (9997, ProbeProtocol::Tcp),
    (9996, ProbeProtocol::Tcp),
];

/// Whose connections to one another are tried, beside those of neighbours in a network.
const PAIRS: [(&str, &str); 13] = [
    ("web", "f1"),
    ("f1", "web"),
    ("f1", "b1"),
    ("b1", "f2"),
    ("q1", "f1"),
    ("f1", "q1"),
    ("i1", "f1"),
    ("f1", "i1"),
    ("s1", "f1"),
    ("web", "s1"),
    ("p1", "b1"),
    ("b1", "p1"),
    ("b1", "i1"),
];

const NEIGHBOURS: [(&str, &str); 6] =
    [("c2", "web"), ("f2", "f1"), ("q2", "q1"), ("i2", "i1"), ("s2", "s1"), ("web", "c2")];

struct Asker<'a> {
    world: &'a World,
    containers: Vec<Container>,
    questions: Vec<Question>,
}

/// Every question.
pub(crate) fn all(world: &World) -> Vec<Question> {
    let containers = world.containers();
    let mut asker = Asker { world, containers, questions: Vec::new() };
    asker.ask_from_containers();
    asker.ask_between_containers();
    asker.ask_the_host();
    asker.ask_from_the_host();
    asker.ask_containers();
    asker.questions
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Asker<'_> {
    fn ask(&mut self, what: &str, from: &Place, to: IpAddr, port: u16, protocol: ProbeProtocol) {
        let what = format!("{what}: {} to {}", from.name, SocketAddr::new(to, port));
        let to = SocketAddr::new(to, port);
        self.questions.push(Question { what, from: from.clone(), to, protocol });
    }

    fn container(&self, name: &str) -> Option<(Place, Container)> {
        let container = self.containers.iter().find(|container| container.name == name)?;
        let place = Place {
            name: name.to_owned(),
            namespace: container.namespace.clone(),
            kind: Sender::Container,
            bound: Vec::new(),
            container: Some(container.clone()),
        };
        Some((place, container.clone()))
    }

    fn machine(&self, name: &str) -> Place {
        let (machine, kind, bound) = match name {
            "host" => ("host", Sender::Host, Vec::new()),
            "peer" => ("peer", Sender::Outside, Vec::new()),
            _ => ("gw", Sender::Outside, world::INTERNET.map(address).to_vec()),
        };
        Place {
            name: name.to_owned(),
            namespace: self.world.namespace(machine),
            kind,
            bound,
            container: None,
        }
    }

    fn ask_from_containers(&mut self) {
        for name in ["web", "f1", "b1", "q1", "i1", "s1", "p1"] {
            let Some((place, _)) = self.container(name) else { continue };
            for to in world::INTERNET.map(address) {
                self.ask("container to internet", &place, to, 80, ProbeProtocol::Tcp);
                self.ask("container to internet", &place, to, 53, ProbeProtocol::Udp);
                self.ask("container to internet", &place, to, 0, ProbeProtocol::Icmp);
            }
            for to in world::PEER.map(address) {
                self.ask("container to LAN", &place, to, 80, ProbeProtocol::Tcp);
            }
            self.ask(
                "container to host",
                &place,
                address(world::HOST[0]),
                9090,
                ProbeProtocol::Tcp,
            );
        }
    }

    fn ask_between_containers(&mut self) {
        for (from, to) in NEIGHBOURS.into_iter().chain(PAIRS) {
            let Some((place, _)) = self.container(from) else { continue };
            let Some((_, target)) = self.container(to) else { continue };
            let near = NEIGHBOURS.contains(&(from, to));
            for (to, _) in target.addresses {
                let what = if near { "container to neighbour" } else { "to another network" };
                self.ask(what, &place, to, 80, ProbeProtocol::Tcp);
                if near {
                    self.ask(what, &place, to, 53, ProbeProtocol::Udp);
                    self.ask(what, &place, to, 0, ProbeProtocol::Icmp);
                }
            }
        }
    }

    fn ask_the_host(&mut self) {
        for from in ["internet", "peer", "host"] {
            let place = self.machine(from);
            for (port, protocol) in HOST_PORTS {
                self.ask("to the host", &place, address(world::HOST[0]), port, protocol);
            }
            let second = address(world::HOST_SECOND);
            self.ask("to its second address", &place, second, 8081, ProbeProtocol::Tcp);
            self.ask("to its second address", &place, second, 8080, ProbeProtocol::Tcp);
            let sixth = address(world::HOST[1]);
            for port in [8080, 8200, 8090, 9090] {
                self.ask("to the host by IPv6", &place, sixth, port, ProbeProtocol::Tcp);
            }
            self.ask("to the host by IPv6", &place, sixth, 8253, ProbeProtocol::Udp);
        }
        // Hairpin: by way of the host, back to where it came from.
        for (name, port) in [
            ("web", 8080),
            ("c2", 8080),
            ("f1", 8090),
            ("f2", 8090),
            ("b1", 8080),
            ("q2", 8100),
            ("s1", 8200),
            ("i1", 8090),
        ] {
            let Some((place, _)) = self.container(name) else { continue };
            self.ask("hairpin", &place, address(world::HOST[0]), port, ProbeProtocol::Tcp);
            self.ask("hairpin by IPv6", &place, address(world::HOST[1]), port, ProbeProtocol::Tcp);
        }
        for name in ["web", "c2", "f2"] {
            let Some((place, _)) = self.container(name) else { continue };
            self.ask("hairpin", &place, address(world::HOST[0]), 8054, ProbeProtocol::Udp);
        }
    }

    fn ask_from_the_host(&mut self) {
        let host = self.machine("host");
        for port in [8080, 8082, 8090, 8100, 9000, 9090, 7777] {
            self.ask("localhost", &host, address("127.0.0.1"), port, ProbeProtocol::Tcp);
        }
        self.ask("localhost", &host, address("127.0.0.1"), 8053, ProbeProtocol::Udp);
        for port in [8080, 8200, 9090] {
            self.ask("localhost by IPv6", &host, address("::1"), port, ProbeProtocol::Tcp);
        }
        self.ask("host to internet", &host, address(world::INTERNET[0]), 80, ProbeProtocol::Tcp);
        self.ask("host to internet", &host, address(world::INTERNET[1]), 80, ProbeProtocol::Tcp);
        self.ask("host to LAN", &host, address(world::PEER[0]), 53, ProbeProtocol::Udp);
        self.ask("host to a far address", &host, address("192.0.2.99"), 80, ProbeProtocol::Tcp);
    }

    fn ask_containers(&mut self) {
        for name in ["web", "f1", "b1", "q1", "i1", "s1", "p1"] {
            let Some((_, container)) = self.container(name) else { continue };
            for from in ["host", "peer"] {
                let place = self.machine(from);
                for (to, _) in &container.addresses {
                    self.ask("straight to a container", &place, *to, 80, ProbeProtocol::Tcp);
                    if name == "f1" {
                        self.ask("straight to a container", &place, *to, 0, ProbeProtocol::Icmp);
                        self.ask("straight to a container", &place, *to, 81, ProbeProtocol::Tcp);
                    }
                }
            }
        }
    }
}
