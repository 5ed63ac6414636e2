//! Random packets that are likely to matter.

use std::net::{IpAddr, Ipv4Addr};

use nattrace_model::flow::{Flow, FlowState};
use nattrace_model::packet::{protocol, tcp_flag};
use nattrace_parser::syntax::Family;

use super::Generator;
use super::value::{PORTS, SOURCE_PORTS, values};
use crate::lab::fragment::{Cut, Order};
use crate::lab::surroundings::{Surroundings as _, WireName};
use crate::lab::topology::{self, Around, CONTAINERS};
use crate::lab::trial::{Start, Trial};

/// Draws a packet.
pub(super) fn draw(generator: &mut Generator) -> Trial {
    loop {
        let trial = if generator.chance(22) { local(generator) } else { foreign(generator) };
        if let Some(trial) = trial {
            return trial;
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn foreign(generator: &mut Generator) -> Option<Trial> {
    let wire: WireName = match generator.random.u8(0..100) {
        0..28 => "lan",
        28..52 => "w0",
        52..62 => "w1",
        62..78 => "c1",
        78..84 => "c2",
        84..88 => "c3",
        _ => "d1",
    };
    let source = source(generator, wire)?;
    let destination = destination(generator)?;
    // Nobody talks to himself by a wire.
    if source == destination {
        return None;
    }
    let mut flow = flow(generator, source, destination);
    flow.in_interface = Some(topology::interface_of(wire).to_owned());
    let tracked = matches!(
        flow.protocol,
        protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 | protocol::UDPLITE
    );
    let sums = tracked || flow.protocol == protocol::SCTP;
    let plain = flow.tcp_flags.is_none() && flow.icmp.is_none();
    flow.state = match generator.random.u8(0..100) {
        0..4 if sums && plain => FlowState::Invalid,
        4..22 if tracked && plain => FlowState::Established,
        22..60 if tracked && plain && generator.turns => FlowState::Established,
        _ => FlowState::New,
    };
    if (flow.protocol, flow.state) == (protocol::TCP, FlowState::Established)
        && generator.chance(30)
    {
        // It is the third packet of the handshake: FIN or a reset would not complete it.
        flow.tcp_flags = Some(tcp_flag::ACK | tcp_flag::PSH);
    }
    let mac = link_address(wire, destination);
    let cut = generator.chance(9).then(|| cut(generator));
    Some(Trial { flow, start: Start::Wire(wire, mac), cut })
}

/// How a packet is cut; of IPv6 one fragment is not smaller than any link must carry, for a bridge
/// passes on no others (`br_ip6_fragment`).
fn cut(generator: &mut Generator) -> Cut {
    let sizes: &[u16] = match generator.family {
        Family::Ipv4 => &[24, 64, 1400],
        Family::Ipv6 => &[1232, 1400],
    };
    let orders = [Order::Forward, Order::Backward, Order::Rotated];
    let pieces = generator.random.u8(2..5);
    Cut {
        pieces,
        size: generator.random.choice(sizes).copied().unwrap_or(24),
        order: generator.random.choice(orders).unwrap_or(Order::Forward),
        lost: generator.chance(20).then(|| generator.random.u8(0..pieces)),
    }
}

/// The hardware address that a sender at a wire puts on a packet.
fn link_address(wire: WireName, destination: IpAddr) -> [u8; 6] {
    match destination {
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, b, c, d] = to.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V4(to) if to == Ipv4Addr::BROADCAST || is_broadcast_at(wire, to) => [0xff; 6],
        IpAddr::V6(to) if to.is_multicast() => {
            let [.., a, b, c, d] = to.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => Around.next_mac(wire, destination),
    }
}

fn is_broadcast_at(wire: WireName, to: Ipv4Addr) -> bool {
    to.octets().last() == Some(&255) && topology::on_link(topology::interface_of(wire), to.into())
}

fn source(generator: &mut Generator, wire: WireName) -> Option<IpAddr> {
    let values = values(generator.family);
    if let Some(container) = topology::container_at(wire) {
        return Some(container.address(generator.family));
    }
    if generator.chance(15) {
        return address(generator.pick(values.odd_sources));
    }
    let pool = match wire {
        "lan" => values.lan,
        _ if generator.chance(25) => values.near,
        _ => values.remote,
    };
    if generator.chance(40) {
        // Somebody of his own, behind a router.
        let (a, b) = (generator.random.u8(1..255), generator.random.u8(1..255));
        return match (generator.family, wire) {
            (Family::Ipv4, "lan") => address(&format!("10.50.{a}.{b}")),
            (Family::Ipv4, _) => address(&format!("8.8.{a}.{b}")),
            (Family::Ipv6, "lan") => address(&format!("fd50::{a}:{b}")),
            (Family::Ipv6, _) => address(&format!("2001:4860::{a}:{b}")),
        };
    }
    address(generator.pick(pool))
}

fn container(generator: &mut Generator) -> IpAddr {
    let family = generator.family;
    let drawn = generator.random.choice(CONTAINERS);
    drawn.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |container| container.address(family))
}

fn destination(generator: &mut Generator) -> Option<IpAddr> {
    let values = values(generator.family);
    let drawn = match generator.random.u8(0..100) {
        0..28 => own(generator)?,
        28..48 => container(generator),
        48..65 => address(generator.pick(values.remote))?,
        65..72 => address(generator.pick(values.lan))?,
        72..85 => address(generator.pick(values.near))?,
        85..92 => address(generator.pick(values.special))?,
        _ => address(generator.pick(values.odd_destinations))?,
    };
    Some(drawn)
}

fn own(generator: &mut Generator) -> Option<IpAddr> {
    let own = topology::own_addresses(generator.family);
    let off = generator.without6;
    let gone = |address| off.is_some_and(|name| topology::is_own_of(name, address));
    let reachable = own.into_iter().filter(|address| !address.is_loopback() && !gone(*address));
    let reachable: Vec<IpAddr> = reachable.collect();
    generator.random.choice(reachable)
}

fn flow(generator: &mut Generator, source: IpAddr, destination: IpAddr) -> Flow {
    let icmp = match generator.family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    let protocol = match generator.random.u8(0..100) {
        0..44 => protocol::TCP,
        44..73 => protocol::UDP,
        73..91 => icmp,
        91..94 => protocol::SCTP,
        94..96 => protocol::UDPLITE,
        96..98 => 47,
        _ => 200,
    };
    let has_ports =
        matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDPLITE);
    let tcp_flags = (protocol == protocol::TCP && generator.chance(25)).then(|| {
        use tcp_flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
        let valid = [SYN | ECE | CWR, SYN | PSH, ACK | PSH, ACK];
        let odd = [SYN | ACK, RST, FIN | ACK, 0, FIN | PSH | URG, SYN | FIN, RST | ACK];
        let drawn = if generator.chance(40) {
            generator.random.choice(valid)
        } else {
            generator.random.choice(odd)
        };
        drawn.unwrap_or(SYN)
    });
    let kinds: &[(u8, u8)] = match generator.family {
        Family::Ipv4 => {
            &[(0, 0), (3, 1), (3, 3), (13, 0), (14, 0), (17, 0), (8, 5), (11, 0), (40, 0)]
        }
        Family::Ipv6 => &[(129, 0), (1, 4), (3, 0), (128, 3), (139, 0), (200, 0)],
    };
    let odd_icmp = protocol == icmp && generator.chance(30);
    let icmp = odd_icmp.then(|| generator.random.choice(kinds).copied()).flatten();
    Flow {
        source,
        destination,
        protocol,
        source_port: generator.random.choice(SOURCE_PORTS).filter(|_| has_ports),
        destination_port: generator.random.choice(PORTS).filter(|_| has_ports),
        in_interface: None,
        state: FlowState::New,
        mark: 0,
        tcp_flags,
        icmp,
        ttl: match generator.random.u8(0..100) {
            0..5 => Some(1),
            5..8 => Some(2),
            8..11 => Some(255),
            _ => None,
        },
        any_source: false,
    }
}

fn local(generator: &mut Generator) -> Option<Trial> {
    let values = values(generator.family);
    let destination = match generator.random.u8(0..100) {
        0..35 => address(generator.pick(values.remote))?,
        35..55 => container(generator),
        55..75 => own(generator)?,
        75..82 => match generator.family {
            Family::Ipv4 => address("127.0.0.1")?,
            Family::Ipv6 => address("::1")?,
        },
        82..86 => address(generator.pick(values.lan))?,
        86..91 => address(generator.pick(values.near))?,
        _ => address(generator.pick(values.special))?,
    };
    let any_source = generator.chance(50);
    let loopback = match generator.family {
        Family::Ipv4 => address("127.0.0.1")?,
        Family::Ipv6 => address("::1")?,
    };
    let source = if generator.chance(8) { loopback } else { own(generator)? };
    let mut flow = flow(generator, source, destination);
    let own = matches!(flow.protocol, protocol::TCP | protocol::ICMP | protocol::ICMPV6);
    if !own && flow.protocol != protocol::UDP {
        flow.protocol = protocol::UDP;
        flow.source_port = Some(40000);
        flow.destination_port = Some(53);
    }
    flow.tcp_flags = None;
    flow.icmp = None;
    // Ports that a listener holds can't be bound.
    if flow.source_port == Some(53) {
        flow.source_port = Some(40000);
    }
    // What comes back to a loopback address from outside finds the socket, and is dropped with it.
    // To another own address it is answered by that one's interface, or not at all.
    if flow.source.is_ipv6() && source.is_loopback() && !destination.is_loopback() {
        return None;
    }
    // A TCP socket that connects to itself opens from both ends.
    if flow.source_port == flow.destination_port {
        return None;
    }
    flow.any_source = any_source;
    flow.mark = if generator.chance(15) {
        generator.random.choice([1, 2, 3, 0x10]).unwrap_or(1)
    } else {
        0
    };
    if flow.protocol == protocol::UDP && generator.chance(12) {
        flow.state = FlowState::Established;
    }
    let cut = (flow.protocol != protocol::TCP && generator.chance(6)).then(|| cut(generator));
    let cut = cut.map(|cut| Cut { lost: None, ..cut });
    Some(Trial { flow, start: Start::Local, cut })
}
