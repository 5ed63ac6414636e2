//! What travels back: answers and resets, and whether they and ICMP errors reach the sender as
//! something it knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::address::is_internet;
use crate::answer::{Outcome, Reply, ReplyKind, RouteDecision, Step};
use crate::condition::{Direction, LinkDelivery};
use crate::host::Host;
use crate::packet::{Packet, Transport, protocol, tcp_flag};
use crate::simulate::address_type;
use crate::simulate::connection::{TrackedState, Tracking, Tuple, answer_type};
use crate::simulate::consequence::Consequence;
use crate::simulate::drawn::Drawn;
use crate::simulate::exchange::{Travelled, deciding_step, travel};
use crate::simulate::matching::PhysicalPort;
use crate::simulate::outside;
use crate::simulate::path::{Arrival, End};
use crate::simulate::question::Origin;
use crate::simulate::routing::{self, Bound, Lookup, LookupResult, User};
use crate::simulate::settings;
use crate::simulate::trip::{HeldRoute, Leg, Maker, Run, Stop, Trip};

/// The packet that an ICMP error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'s> {
    pub(crate) tracking: Tracking,
    /// The interface by which it came; empty for a local packet.
    pub(crate) in_interface: &'s str,
    /// The interface that an error of IPv6 takes it to have come by; empty for none.
    pub(crate) noted_interface: &'s str,
    pub(crate) held_route: HeldRoute,
    pub(crate) progress: Progress,
}

/// How far a packet got before an ICMP error is made about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// Still in the network layer: the error is attached to its connection at once
    /// (`nf_ct_attach`), so that the raw table sees the state, and can't untrack it.
    UnderWay,
    /// Delivered, its connection put aside: tracking finds that by the packet that the error
    /// quotes, as for any other error (measured with RELATED in raw OUTPUT).
    Delivered,
}

impl<'s> Run<'s, '_> {
    /// Nobody listens: a reset for TCP, an ICMP port-unreachable for UDP, a
    /// protocol-unreachable for the rest.
    pub(crate) fn nobody(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let about = travelled.about(Progress::Delivered);
        let why = match packet.destination_port() {
            Some(port) => format!("nothing listens on port {port} of {}", packet.destination),
            None => format!("nothing takes this protocol at {}", packet.destination),
        };
        let family = packet.family();
        let mut consequence = match packet.protocol {
            // `tcp_v6_send_reset` without a socket.
            protocol::TCP if !address_type::is_one_host(&self.system.host, packet.destination) => {
                Consequence::of(Outcome::Timeout)
            }
            protocol::TCP => self.reset(travelled, sent, origin, Maker::TcpReset),
            protocol::UDP | protocol::UDPLITE => {
                self.icmp_error(packet, sent, origin, about, port_unreachable(family))
            }
            _ => {
                let error = if family == Family::Ipv4 { (3, 2) } else { (4, 1) };
                self.icmp_error(packet, sent, origin, about, error)
            }
        };
        consequence.because.get_or_insert(why);
        consequence
    }

    /// The reset of this host's TCP: with the type of service of what it answers
    /// (`tcp_v4_send_reset`).
    pub(crate) fn reset(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        maker: Maker,
    ) -> Consequence {
        let packet = &travelled.packet;
        let Some(mut back) = reset_of(&self.system.host, packet, HeldRoute::Own) else {
            return Consequence::of(Outcome::Timeout);
        };
        back.tos = packet.tos & !ECN;
        back.mark = self.reflected_mark(packet);
        let bound = self.reset_bound(packet, origin);
        let mut trip = Trip::new(self, Leg::Back, back);
        trip.drawn = travelled.drawn.of_answer();
        trip.bound = bound;
        trip.maker = maker;
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Reset, sent, origin)
    }

    /// The interface that a reset of IPv6 is held to: what answers a link-local address or `::1`
    /// goes back by the interface by which the segment came, which for a local one is that of the
    /// address it was sent to (`tcp_v6_send_response`, `tcp_v6_iif`; measured with `::1` that was
    /// translated in OUTPUT).
    fn reset_bound(&self, packet: &Packet, origin: Origin<'s>) -> Bound<'s> {
        let IpAddr::V6(to) = packet.source else { return Bound::ByPacket };
        if !to.is_loopback() && !to.is_unicast_link_local() {
            return Bound::ByPacket;
        }
        match origin {
            Origin::Wire(arrival) => Bound::To(arrival.interface),
            Origin::Local => match self.system.host.owner(packet.destination) {
                Some(owner) => Bound::To(&owner.name),
                None => Bound::ByPacket,
            },
        }
    }

    /// The reset that REJECT makes (`nf_send_reset`).
    pub(crate) fn reject_with_reset(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        // `nf_reject_ip6_tcphdr_get`
        let anybody = travelled.packet.source == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let held = travelled.held_route;
        let reset = reset_of(&self.system.host, &travelled.packet, held).filter(|_| !anybody);
        let Some(mut back) = reset else { return Consequence::of(Outcome::Timeout) };
        back.mark = self.reflected_mark(&travelled.packet);
        if let PhysicalPort::Of(bridge) = travelled.physical_in {
            return self.reset_on_bridge(back, travelled.drawn.of_answer(), bridge, (sent, origin));
        }
        let mut trip = Trip::new(self, Leg::Back, back);
        trip.drawn = travelled.drawn.of_answer();
        trip.maker = Maker::RejectReset;
        // It is sought by no interface in particular, even where a link-local address is answered
        // (`nf_send_reset6`; measured: by the first interface with such a route).
        trip.bound = Bound::Free;
        if let Tracking::Tracked { connection, .. } = travelled.tracking {
            // kernel-facts A8: what REJECT makes is attached to the packet's connection.
            trip.tracking = Tracking::Tracked {
                connection,
                state: TrackedState::Related,
                direction: Direction::Reply,
            };
        } else {
            trip.tracking = attached_to_nothing(travelled.tracking);
        }
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Reset, sent, origin)
    }

    /// What came in by a port of a bridge with br_netfilter on is reset by a frame that goes
    /// straight to that port: no chain sees it, and nothing translates it back (measured).
    fn reset_on_bridge(
        &mut self,
        mut back: Packet,
        drawn: Drawn,
        bridge: &'s str,
        (sent, origin): (&Packet, Origin<'s>),
    ) -> Consequence {
        back.ttl = self.ttl_of_reset(&back, bridge);
        let why = "br_netfilter puts the reset on the port by which the packet came: no chain sees it, and nothing translates it back";
        let step = Step::Route {
            decision: RouteDecision::Bridge,
            route: None,
            out_interface: Some(bridge.to_owned()),
            gateway: None,
            because: Some(why.to_owned()),
        };
        let travelled = Travelled {
            result: Ok(End::Left { interface: bridge }),
            packet: back,
            tracking: Tracking::None,
            in_interface: "",
            noted_interface: "",
            held_route: HeldRoute::Own,
            physical_in: PhysicalPort::None,
            delivery: LinkDelivery::Unicast,
            proxy_socket: None,
            source_unknown: false,
            drawn,
            steps: vec![step],
            decided_by: None,
        };
        self.judge(travelled, ReplyKind::Reset, sent, origin)
    }

    /// The TTL or hop limit of such a reset: that of a route to its receiver (`nf_send_reset6`).
    fn ttl_of_reset(&self, back: &Packet, bridge: &str) -> u8 {
        let host = &self.system.host;
        let interface = match routing::lookup(host, &Lookup::of(back, "lo")) {
            LookupResult::Found(found) => found.next_hops().next().map(|hop| &*hop.interface),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        settings::default_ttl(host, back.destination, interface.unwrap_or(bridge))
    }

    /// Whether what travelled back reached the sender as something it knows.
    pub(crate) fn judge(
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

    pub(crate) fn reaches(
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
        if travelled.drawn.destination.is_some() {
            return Err(format!(
                "the answer reaches {} at the port that NAT drew, and is not translated back",
                packet.destination
            ));
        }
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
    pub(crate) fn reaches_by(
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
        let both_uplinks = || {
            is_internet(packet.destination)
                && outside::is_uplink(self.system, interface, family)
                && outside::is_uplink(self.system, arrival.interface, family)
        };
        if interface == arrival.interface
            || host.is_on_link(packet.destination, interface)
            || both_uplinks()
        {
            return Ok(());
        }
        Err(format!(
            "the answer leaves by `{interface}`, but {} is behind `{}`",
            packet.destination, arrival.interface
        ))
    }
}

/// The answer that the receiver of a packet gives; none to ICMP that asks nothing.
pub(crate) fn answer_to(packet: &Packet) -> Option<Packet> {
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

/// The bits of the type of service that are no part of the DSCP.
const ECN: u8 = 0x03;

/// The reset that answers a segment; none answers a reset or what was sent to a group.
fn reset_of(host: &Host, packet: &Packet, held: HeldRoute) -> Option<Packet> {
    let unroutable = held == HeldRoute::None && !has_route_to_sender(host, packet);
    if packet.tcp_flags & tcp_flag::RST != 0 || unroutable || leads_to_group(host, packet, held) {
        return None;
    }
    let back = answer_to(packet)?;
    // RFC 9293 section 3.10.7.1: what acknowledges something is not acknowledged.
    let acknowledges = packet.tcp_flags & tcp_flag::ACK != 0;
    let flags = if acknowledges { tcp_flag::RST } else { tcp_flag::RST | tcp_flag::ACK };
    Some(Packet { tcp_flags: flags, ..back })
}

/// How tracking stands for what is made about a packet that has no connection
/// (`nf_conntrack_attach`).
pub(crate) fn attached_to_nothing(about: Tracking) -> Tracking {
    match about {
        Tracking::Untracked => Tracking::Attached,
        Tracking::None
        | Tracking::Attached
        | Tracking::Template
        | Tracking::Invalid
        | Tracking::Tracked { .. } => Tracking::None,
    }
}

/// What the sender experiences when this arrives.
pub(crate) fn experienced(kind: ReplyKind) -> Outcome {
    match kind {
        ReplyKind::Answer => Outcome::Connects,
        ReplyKind::Reset
        | ReplyKind::Error { kind: 3, code: 3 }
        | ReplyKind::Error { kind: 1, code: 4 } => Outcome::Refused,
        ReplyKind::Error { .. } => Outcome::Unreachable,
    }
}

pub(crate) fn port_unreachable(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 => (3, 3),
        Family::Ipv6 => (1, 4),
    }
}

/// Whether a route leads to a packet's sender, sought by the address alone
/// (`nf_reject_fill_skb_dst`, `nf_reject6_fill_skb_dst`; kernel-facts K31).
pub(crate) fn has_route_to_sender(host: &Host, packet: &Packet) -> bool {
    let key = Lookup { user: User::Root, ..Lookup::to(packet.source) };
    match routing::lookup(host, &key) {
        LookupResult::Found(found) => !found.route.kind.refuses(),
        LookupResult::None => packet.source == IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        LookupResult::Refused(_) => false,
        LookupResult::Unknown(_) => true,
    }
}

/// Whether the route that a packet has is one to a group: before routing, that to its sender
/// (`RTCF_BROADCAST`; kernel-facts K31).
pub(crate) fn leads_to_group(host: &Host, packet: &Packet, held: HeldRoute) -> bool {
    match (packet.source, held) {
        (IpAddr::V4(from), HeldRoute::None) => {
            !from.is_unspecified() && address_type::is_group(host, packet.source)
        }
        _ => address_type::is_group(host, packet.destination),
    }
}
