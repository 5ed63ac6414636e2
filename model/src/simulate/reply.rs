//! What travels back: answers, resets and ICMP errors, and whether they reach the sender as
//! something it knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::System;
use crate::address::is_internet;
use crate::answer::{Outcome, Reply, ReplyKind, RouteDecision, Step};
use crate::condition::{Direction, LinkDelivery};
use crate::host::{Host, Scope};
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
use crate::simulate::selection;
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

/// The source of an ICMP error.
#[derive(Clone, Copy, Debug)]
enum ErrorSource {
    /// The address that the packet was sent to.
    Addressed(IpAddr),
    /// One of the interface by which it came.
    Named(IpAddr),
    /// One that was chosen for the error.
    Chosen(IpAddr),
}

impl ErrorSource {
    fn address(self) -> IpAddr {
        match self {
            Self::Addressed(address) | Self::Named(address) | Self::Chosen(address) => address,
        }
    }
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

    /// The ICMP error that REJECT makes. It verifies the packet's checksum first, and takes what
    /// it does not know for a sum over the whole payload, which hardly ever comes out
    /// (`nf_reject_verify_csum`; measured with protocol 200).
    pub(crate) fn reject_with_error(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        error: (u8, u8),
    ) -> Consequence {
        let packet = &travelled.packet;
        // IGMP, OSPF and VRRP have such a sum; GRE, ESP, AH and the last ones are not verified.
        let verified = matches!(
            packet.protocol,
            protocol::ICMP
                | 2
                | protocol::TCP
                | protocol::UDP
                | protocol::DCCP
                | 47
                | 50
                | 51
                | protocol::ICMPV6
                | 89
                | 112
                | protocol::SCTP
                | protocol::UDPLITE
        );
        if !verified {
            let why = format!(
                "REJECT drops packets of protocol {} without an answer: it can't verify their checksum",
                packet.protocol
            );
            return Consequence::because(Outcome::Timeout, why);
        }
        self.icmp_error(packet, sent, origin, travelled.about(Progress::UnderWay), error)
    }

    /// An ICMP error from this host to the packet's sender (kernel-facts A8, D15, G15).
    pub(crate) fn icmp_error(
        &mut self,
        packet: &Packet,
        sent: &Packet,
        origin: Origin<'s>,
        about: About<'s>,
        (kind, code): (u8, u8),
    ) -> Consequence {
        if let Some(why) = no_error_for(self.system, packet, about.held_route) {
            return Consequence::because(Outcome::Timeout, why);
        }
        let mut back = Packet {
            source: packet.destination,
            // `ip_route_output_key_hash_rcu`: to nobody is to oneself.
            destination: match packet.source {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => packet.destination,
                source => source,
            },
            protocol: routing::icmp_protocol(packet.family()),
            transport: Transport::Icmp { kind, code, id: 0 },
            tcp_flags: 0,
            ttl: 64,
            tos: error_tos(packet),
            length: None,
            mark: self.reflected_mark(packet),
        };
        let source = self.error_source(packet, about, &back);
        back.source = source.address();
        let mut trip = Trip::new(self, Leg::Back, back);
        let related = |tracking| match tracking {
            Tracking::Tracked { connection, .. } => Some(Tracking::Tracked {
                connection,
                state: TrackedState::Related,
                direction: Direction::Reply,
            }),
            Tracking::None
            | Tracking::Attached
            | Tracking::Template
            | Tracking::Invalid
            | Tracking::Untracked => None,
        };
        match about.progress {
            Progress::UnderWay => {
                let nothing = attached_to_nothing(about.tracking);
                trip.tracking = related(about.tracking).unwrap_or(nothing);
            }
            Progress::Delivered => trip.quoted = related(about.tracking),
        }
        // The route of an error is looked up before it has a source of its own, so that a policy
        // rule `from` that does not choose it (`icmp_route_lookup`; measured).
        trip.sourced = !matches!(source, ErrorSource::Chosen(_));
        trip.maker = Maker::IcmpError;
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Error { kind, code }, sent, origin)
    }

    /// kernel-facts D15: the address of the interface by which the error leaves, or the local
    /// address that the packet was sent to.
    fn error_source(&self, packet: &Packet, about: About<'s>, back: &Packet) -> ErrorSource {
        let in_interface = about.in_interface;
        let host = &self.system.host;
        let addressed = match packet.destination {
            // `RTCF_LOCAL` (kernel-facts K31).
            IpAddr::V4(to) => match about.held_route {
                HeldRoute::Own => address_type::is_local(host, to.into()) || to.is_loopback(),
                HeldRoute::None => !to.is_unspecified() && is_from_here(host, packet),
                HeldRoute::Lent => false,
            },
            // `ipv6_chk_addr`, `ipv6_chk_acast_addr_src`: what is of the link or the host alone
            // counts on its own interface.
            IpAddr::V6(to) => {
                let narrow = to.is_loopback() || to.is_unicast_link_local();
                let owner = host.owner(packet.destination);
                owner.is_some_and(|owner| {
                    !narrow || in_interface.is_empty() || owner.name == in_interface
                }) || address_type::is_anycast(host, packet.destination)
            }
        };
        if addressed {
            return ErrorSource::Addressed(packet.destination);
        }
        // kernel-facts K24, K31
        let came = !matches!(in_interface, "" | "lo") && matches!(about.held_route, HeldRoute::Own);
        if came && packet.source.is_ipv4() && settings::errors_by_interface(host) {
            let own = selection::select_within4(host, in_interface, packet.source, Scope::Link);
            return own.map_or(ErrorSource::Chosen(packet.destination), ErrorSource::Named);
        }
        // kernel-facts K27, K31
        let noted = about.noted_interface;
        if packet.source.is_ipv6()
            && !noted.is_empty()
            && !self.route_names_source(back)
            && let Some(own) = selection::select_source6(host, noted, packet.source)
        {
            return ErrorSource::Named(own);
        }
        let chosen = match self.error_route(back) {
            LookupResult::Found(found) => selection::source_for(host, &found, packet.source),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        ErrorSource::Chosen(chosen.unwrap_or(packet.destination))
    }

    /// The route that an ICMP error has before it has a source.
    fn error_route(&self, back: &Packet) -> LookupResult<'s> {
        let link = self.link_to(Leg::Back, back.destination);
        let key = Lookup::made(back, "lo").by_link(link);
        let key = Lookup { source: None, user: User::Root, ..key };
        routing::lookup(&self.system.host, &key)
    }

    /// Whether the route of an error of IPv6 names the error's source, the route being sought
    /// without the mark that the error has (`icmpv6_rt_has_prefsrc`; kernel-facts K27).
    fn route_names_source(&self, back: &Packet) -> bool {
        let transport = Transport::Opaque;
        let unmarked = Packet { mark: 0, transport, ..back.clone() };
        match self.error_route(&unmarked) {
            LookupResult::Found(found) => found.route.preferred_source.is_some(),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => false,
        }
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

/// The type of service of an ICMP error: of the packet that it is about, with the precedence of
/// network control (`__icmp_send`; measured). ICMPv6 errors have none.
fn error_tos(about: &Packet) -> u8 {
    match about.family() {
        Family::Ipv4 => about.tos & 0x1e | 0xc0,
        Family::Ipv6 => 0,
    }
}

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
fn attached_to_nothing(about: Tracking) -> Tracking {
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
fn has_route_to_sender(host: &Host, packet: &Packet) -> bool {
    let key = Lookup { user: User::Root, ..Lookup::to(packet.source) };
    match routing::lookup(host, &key) {
        LookupResult::Found(found) => !found.route.kind.refuses(),
        LookupResult::None => packet.source == IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        LookupResult::Refused(_) => false,
        LookupResult::Unknown(_) => true,
    }
}

/// Whether a route to the sender of a packet of IPv4 leads to the host itself.
fn is_from_here(host: &Host, packet: &Packet) -> bool {
    let from = packet.source;
    address_type::is_local(host, from) || from.is_loopback() || from.is_unspecified()
}

/// Whether the route that a packet has is one to a group: before routing, that to its sender
/// (`RTCF_BROADCAST`; kernel-facts K31).
fn leads_to_group(host: &Host, packet: &Packet, held: HeldRoute) -> bool {
    match (packet.source, held) {
        (IpAddr::V4(from), HeldRoute::None) => {
            !from.is_unspecified() && address_type::is_group(host, packet.source)
        }
        _ => address_type::is_group(host, packet.destination),
    }
}

/// Packets that no ICMP error answers (RFC 1122 section 3.2.2, kernel-facts G15).
fn no_error_for(system: &System, packet: &Packet, held: HeldRoute) -> Option<String> {
    let host = &system.host;
    let to = packet.destination;
    // kernel-facts K31
    if held == HeldRoute::None && !has_route_to_sender(host, packet) {
        return Some(format!("no route leads back to {}", packet.source));
    }
    // Of an unspecified address the route chooses another one.
    let by_sender = packet.source.is_ipv4() && held == HeldRoute::None;
    let foreign = !to.is_unspecified() && !address_type::is_local(host, to);
    if by_sender && foreign && is_from_here(host, packet) {
        return Some(format!("the ICMP error would come from {to}, no address of this host"));
    }
    let is_error = match (packet.protocol, packet.transport) {
        // `icmp_pointers`; what is not known is taken for an error.
        (protocol::ICMP, Transport::Icmp { kind: 1..=7 | 9..=12 | 19.., .. }) => true,
        (protocol::ICMPV6, Transport::Icmp { kind, .. }) => kind < 128,
        _ => false,
    };
    if packet.source == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        Some("the unspecified address can't be answered".to_owned())
    } else if leads_to_group(host, packet, held) {
        Some("no ICMP error answers a packet to a group".to_owned())
    } else if is_error {
        Some("no ICMP error answers an ICMP error".to_owned())
    } else {
        None
    }
}
