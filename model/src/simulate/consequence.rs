//! What a packet sets off where its trip ended: a local socket, somebody outside, or a refusal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::is_internet;
use crate::answer::{Answer, Outcome, Reply, ReplyKind, Step};
use crate::condition::LinkDelivery;
use crate::flow::{Flow, FlowState};
use crate::host::{Host, Listener};
use crate::packet::{Packet, Transport, protocol, tcp_flag};
use crate::simulate::address_type;
use crate::simulate::connection::Tuple;
use crate::simulate::exchange::{self, Travelled, travel};
use crate::simulate::outside::{self, WayBack};
use crate::simulate::path::{Arrival, End, LinkTarget};
use crate::simulate::question::Origin;
use crate::simulate::reply::{Progress, answer_to};
use crate::simulate::routing::{self, Bound, Lookup, LookupResult, User};
use crate::simulate::selection;
use crate::simulate::settings;
use crate::simulate::socket::{self, Receiver};
use crate::simulate::trip::{Answerers, Leg, Maker, Run, Stop, Trip};
use crate::target::RejectWith;

/// The address that a local process, or the kernel for it, answers from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnswerSource {
    /// The one that was asked.
    Addressed,
    /// One that the socket is bound to.
    Bound(IpAddr),
    /// One that is chosen with the route, which is sought without it.
    Chosen(IpAddr),
}

/// What came of the whole exchange, besides the first packet's own trip.
pub(crate) struct Consequence {
    pub(crate) outcome: Outcome,
    pub(crate) because: Option<String>,
    pub(crate) reply: Option<Reply>,
    pub(crate) proxy: Option<Answer>,
    pub(crate) socket: Option<Step>,
    pub(crate) proxied: bool,
}

impl Consequence {
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self { outcome, because: None, reply: None, proxy: None, socket: None, proxied: false }
    }

    pub(crate) fn because(outcome: Outcome, why: String) -> Self {
        Self { because: Some(why), ..Self::of(outcome) }
    }
}

impl<'s> Run<'s, '_> {
    /// What the packet sets off where its trip ended.
    pub(crate) fn consequence(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let to_all = travelled.delivery != LinkDelivery::Unicast;
        match travelled.result {
            // `tcp_v4_rcv` and `icmp_send` ask for PACKET_HOST.
            Ok(End::Delivered) if to_all && travelled.packet.protocol == protocol::TCP => {
                let why = "TCP takes nothing from a broadcast or multicast frame".to_owned();
                Consequence::because(Outcome::Timeout, why)
            }
            Err(
                Stop::Unroutable { error: Some(_) }
                | Stop::TtlExpired
                | Stop::Rejected(RejectWith::Icmp { .. }),
            ) if to_all => {
                let why = "no ICMP error answers a broadcast or multicast frame".to_owned();
                Consequence::because(Outcome::Timeout, why)
            }
            Ok(End::Delivered) => self.delivered(travelled, sent, origin),
            Ok(End::Left { interface } | End::Bridged { bridge: interface }) => {
                self.left(travelled, sent, origin, interface)
            }
            Err(stop) => self.stopped(travelled, sent, origin, stop),
        }
    }

    pub(crate) fn delivered(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let host = &self.system.host;
        if let Some(witness) = &mut self.oracle.witness {
            witness.received(packet);
        }
        let receiver =
            socket::receiver(host, packet, travelled.in_interface, travelled.proxy_socket);
        match receiver {
            Receiver::Kernel => self.kernel_answer(travelled, sent, origin),
            Receiver::Listener(_) | Receiver::Unknown if !self.begins(packet) => {
                self.stray_segment(travelled, sent, origin)
            }
            Receiver::Unknown if socket::is_published(host, packet) => {
                self.assume(
                    "docker-proxy-assumed",
                    "no part says which sockets listen (listeners): docker-proxy is taken to, for docker publishes the port",
                );
                let source = self.routed_address(packet);
                let source = AnswerSource::Bound(source);
                let answered = self.local_answer(travelled, sent, origin, source);
                self.proxied(answered, packet)
            }
            Receiver::Unknown => {
                self.assume(
                    "listeners-assumed",
                    "no part says which sockets listen (listeners): a local process is taken to answer",
                );
                self.local_answer(travelled, sent, origin, AnswerSource::Addressed)
            }
            Receiver::Nobody if travelled.delivery != LinkDelivery::Unicast => Consequence {
                socket: Some(Step::Socket { listening: false, processes: Vec::new() }),
                ..Consequence::of(Outcome::Timeout)
            },
            Receiver::Nobody => {
                let mut consequence = self.nobody(travelled, sent, origin);
                consequence.socket = Some(Step::Socket { listening: false, processes: Vec::new() });
                consequence
            }
            Receiver::Listener(listener) => {
                let mut consequence = self.listener_answer(listener, travelled, sent, origin);
                consequence.socket =
                    Some(Step::Socket { listening: true, processes: listener.processes.clone() });
                consequence
            }
        }
    }

    /// An echo is answered by the kernel; other ICMP asks for no answer.
    pub(crate) fn kernel_answer(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let Transport::Icmp { kind, .. } = packet.transport else {
            return Consequence::of(Outcome::Timeout);
        };
        let query =
            matches!((packet.protocol, kind), (protocol::ICMP, 8 | 13) | (protocol::ICMPV6, 128));
        let deaf = address_type::is_group(&self.system.host, packet.destination)
            && packet.destination.is_ipv4()
            && self.system.host.sysctls.get("net.ipv4.icmp_echo_ignore_broadcasts") != Some(0);
        if !query || deaf || settings::ignores_echo(&self.system.host, packet) {
            let why = "the kernel sends no answer to this type".to_owned();
            return Consequence::because(Outcome::Timeout, why);
        }
        if address_type::is_one_host(&self.system.host, packet.destination) {
            return self.local_answer(travelled, sent, origin, AnswerSource::Addressed);
        }
        // An IPv6 query to a group or to an anycast address is answered by an own address, and by
        // the interface by which it came alone (`icmpv6_echo_reply`; kernel-facts K28).
        match self.source_towards(travelled) {
            Some(source) => {
                self.local_answer(travelled, sent, origin, AnswerSource::Chosen(source))
            }
            None => Consequence::of(Outcome::Timeout),
        }
    }

    /// The address that routing chooses for the answer to a query of IPv6.
    fn source_towards(&self, travelled: &Travelled<'s>) -> Option<IpAddr> {
        let (host, packet) = (&self.system.host, &travelled.packet);
        let back = Packet { mark: self.reflected_mark(packet), ..answer_to(packet)? };
        let out_interface = self.asked_interface(travelled);
        let link = self.link_to(Leg::Back, packet.source);
        let user = User::Root;
        let key = Lookup::of_echo_answer(&back, "lo").by_link(link);
        let key = Lookup { source: None, tos: 0, out_interface, user, ..key };
        let bound = out_interface.map_or(Bound::ByPacket, Bound::To);
        match routing::lookup_bound(host, &key, bound) {
            LookupResult::Found(found) => selection::source_for(host, &found, packet.source),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        }
    }

    /// The interface that the route of an echo answer of IPv6 is asked to lead to: that by which the
    /// query came, which for a local one is that of the address (`icmp6_iif`; kernel-facts K28).
    fn asked_interface(&self, travelled: &Travelled<'s>) -> Option<&'s str> {
        if travelled.packet.source.is_ipv4() {
            return None;
        }
        match travelled.in_interface {
            "lo" => address_type::interface_of_own(&self.system.host, travelled.packet.destination),
            name => Some(name),
        }
    }

    pub(crate) fn listener_answer(
        &mut self,
        listener: &'s Listener,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let source = self.answering_address(listener, packet);
        let sourced = packet.protocol != protocol::UDP || listener.address.is_some();
        let source =
            if sourced { AnswerSource::Bound(source) } else { AnswerSource::Chosen(source) };
        let answered = self.local_answer(travelled, sent, origin, source);
        if socket::is_docker_proxy(listener) { self.proxied(answered, packet) } else { answered }
    }

    /// docker-proxy has accepted the connection, and opens one of its own to the container.
    fn proxied(&mut self, mut consequence: Consequence, packet: &Packet) -> Consequence {
        consequence.proxied = true;
        let Some(target) = socket::proxy_target(self.system, packet) else {
            self.assume(
                "proxy-target-unknown",
                "no part says which container docker-proxy connects to (docker-inspect.json)",
            );
            consequence.outcome = Outcome::Undetermined;
            return consequence;
        };
        let second = Flow {
            source: target.ip(),
            destination: target.ip(),
            protocol: packet.protocol,
            source_port: None,
            destination_port: Some(target.port()),
            in_interface: None,
            state: FlowState::New,
            mark: 0,
            tcp_flags: None,
            icmp: None,
            ttl: None,
            any_source: true,
        };
        let proxy = exchange::answer(self.system, &second, self.oracle);
        if consequence.outcome == Outcome::Connects && proxy.outcome != Outcome::Connects {
            consequence.outcome = proxy.outcome;
            consequence.because = Some(
                "docker-proxy accepts the connection, but does not reach the container".into(),
            );
        }
        consequence.proxy = Some(proxy);
        consequence
    }

    /// The address that a listener's answer carries: a datagram socket bound to no address lets
    /// routing choose.
    pub(crate) fn answering_address(&mut self, listener: &Listener, packet: &Packet) -> IpAddr {
        if listener.address.is_some() {
            return packet.destination;
        }
        let chosen = self.routed_address(packet);
        if chosen != packet.destination && !socket::is_docker_proxy(listener) {
            self.assume(
                "datagram-source",
                format!("a datagram socket bound to no address answers from the address that routing chooses, {chosen}"),
            );
        }
        chosen
    }

    /// The address that a socket bound to none answers from: a stream's is the one that was asked,
    /// a datagram's the one that routing chooses.
    fn routed_address(&self, packet: &Packet) -> IpAddr {
        if packet.protocol != protocol::UDP {
            return packet.destination;
        }
        let asker = asker(packet);
        let key = Lookup {
            protocol: packet.protocol,
            ports: packet.destination_port().zip(packet.source_port()),
            ..Lookup::to(asker).by_link(self.link_to(Leg::Back, asker))
        };
        let host = &self.system.host;
        let chosen = match routing::lookup(host, &key) {
            LookupResult::Found(found) => selection::source_for(host, &found, asker),
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        chosen.unwrap_or(packet.destination)
    }

    /// A local process answers from an address of its own: one that it is bound to, or one that was
    /// chosen with the route.
    pub(crate) fn local_answer(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        source: AnswerSource,
    ) -> Consequence {
        let packet = &travelled.packet;
        let Some(mut back) = answer_to(packet) else {
            return Consequence::of(Outcome::Connects);
        };
        if let AnswerSource::Bound(source) | AnswerSource::Chosen(source) = source {
            back.source = source;
        }
        if packet.protocol == protocol::UDP && packet.source.is_unspecified() {
            back.destination = asker(packet);
        }
        if asks_for_ecn(&self.system.host, packet) {
            back.tcp_flags |= tcp_flag::ECE;
        }
        let by_kernel = matches!(packet.transport, Transport::Icmp { .. });
        if by_kernel {
            // The kernel's answer to a query copies it (`icmp_reply`).
            back.tos = packet.tos;
            back.mark = self.reflected_mark(packet);
        } else {
            back.mark = self.accepted_mark(packet);
        }
        let asked = self.asked_interface(travelled);
        let mut trip = Trip::new(self, Leg::Back, back);
        trip.drawn = travelled.drawn.of_answer();
        trip.sourced = !matches!(source, AnswerSource::Chosen(_));
        if by_kernel {
            trip.maker = Maker::IcmpAnswer;
            trip.asked_interface = asked;
            if let (AnswerSource::Chosen(_), Some(name)) = (source, asked) {
                trip.bound = Bound::To(name);
            }
        }
        let travelled = travel(trip, Origin::Local);
        self.judge(travelled, ReplyKind::Answer, sent, origin)
    }

    /// Whether a segment for a listening socket begins a connection, or belongs to one; all
    /// packets of other protocols do.
    fn begins(&self, packet: &Packet) -> bool {
        use tcp_flag::{ACK, FIN, RST, SYN};
        let flags = packet.tcp_flags & (SYN | ACK | RST | FIN);
        packet.protocol != protocol::TCP
            || self.established
            || (flags == SYN && address_type::is_one_host(&self.system.host, packet.destination))
    }

    /// A segment that a listening socket can't make anything of (`tcp_rcv_state_process`): an
    /// acknowledgement is reset, everything else is dropped.
    fn stray_segment(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
    ) -> Consequence {
        let packet = &travelled.packet;
        let mut consequence = if packet.tcp_flags & tcp_flag::ACK != 0 {
            // It has the listener's socket.
            self.reset(travelled, sent, origin, Maker::Sender)
        } else {
            Consequence::of(Outcome::Timeout)
        };
        consequence.because.get_or_insert_with(|| "the segment begins no connection".to_owned());
        consequence
    }

    /// The packet left the host: somebody out there answers, or nobody.
    pub(crate) fn left(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        interface: &'s str,
    ) -> Consequence {
        let packet = &travelled.packet;
        let way = if travelled.source_unknown {
            // Whatever own address it is, the answer comes back to it.
            let link = outside::arrival(&self.system.host, packet, interface);
            WayBack::Arrives(Arrival { link: LinkTarget::Host, ..link })
        } else {
            match outside::way_back(self, packet, interface) {
                WayBack::Arrives(arrival) => WayBack::Arrives(arrival),
                other if self.answerers == Answerers::AsTold => other,
                _ => {
                    WayBack::Arrives(outside::answer_arrival(&self.system.host, packet, interface))
                }
            }
        };
        match way {
            WayBack::Arrives(arrival) => {
                let Some(back) = answer_to(packet) else {
                    return Consequence::of(Outcome::Connects);
                };
                let mac = self.mac_of(&back, Origin::Wire(arrival));
                let mut trip = Trip::new(self, Leg::Back, back);
                trip.drawn = travelled.drawn.of_answer();
                trip.mac = mac;
                let travelled = travel(trip, Origin::Wire(arrival));
                self.judge(travelled, ReplyKind::Answer, sent, origin)
            }
            WayBack::Direct => {
                let expected = Tuple::of(sent);
                if Tuple::of(packet) == expected {
                    Consequence::of(Outcome::Connects)
                } else {
                    let why = format!(
                        "{} answers {} directly, past this host, so the answer is not translated back and the sender does not know it",
                        packet.destination, packet.source
                    );
                    Consequence::because(Outcome::Timeout, why)
                }
            }
            WayBack::Lost(why) => {
                let host = &self.system.host;
                // A host of the internet never learns a private prefix; one inside may.
                let near = host.is_on_link(packet.destination, interface)
                    || !is_internet(packet.destination);
                let neighbour = near && !host.is_container_bridge(interface);
                if neighbour
                    && !host.zones.values().any(|z| z.contains(packet.destination, interface))
                {
                    self.assume(
                        "way-back-assumed",
                        format!(
                            "no part says whether {} sends answers for {} to this host (zones.toml): it is taken not to",
                            packet.destination, packet.source
                        ),
                    );
                }
                Consequence::because(Outcome::Timeout, why)
            }
            WayBack::Nobody(why) | WayBack::Refused(why) => {
                Consequence::because(Outcome::Unreachable, why)
            }
            WayBack::Unknown(why) => Consequence::because(Outcome::Undetermined, why),
        }
    }

    pub(crate) fn stopped(
        &mut self,
        travelled: &Travelled<'s>,
        sent: &Packet,
        origin: Origin<'s>,
        stop: Stop,
    ) -> Consequence {
        let packet = &travelled.packet;
        let local = matches!(origin, Origin::Local);
        let at_once = local && travelled.in_interface.is_empty();
        match stop {
            Stop::Queued | Stop::Unknown => Consequence::of(Outcome::Undetermined),
            // kernel-facts G15, B6: a datagram that is dropped on its way out fails the call.
            Stop::Dropped | Stop::Martian if at_once && packet.protocol != protocol::TCP => {
                Consequence::because(Outcome::Unreachable, "the socket call fails (EPERM)".into())
            }
            Stop::Dropped | Stop::Martian => Consequence::of(Outcome::Timeout),
            Stop::Unroutable { .. } if at_once => {
                let first = travelled.steps.len() == 1;
                if first || packet.protocol != protocol::TCP {
                    Consequence::because(Outcome::Unreachable, "the socket call fails".into())
                } else {
                    Consequence::of(Outcome::Timeout)
                }
            }
            Stop::Unroutable { error: Some(error) } => {
                let about = travelled.about(Progress::UnderWay);
                self.icmp_error(packet, sent, origin, about, error)
            }
            Stop::Unroutable { error: None } => Consequence::of(Outcome::Timeout),
            Stop::TtlExpired => {
                let error = if packet.source.is_ipv4() { (11, 0) } else { (3, 0) };
                let about = travelled.about(Progress::UnderWay);
                self.icmp_error(packet, sent, origin, about, error)
            }
            Stop::Rejected(RejectWith::TcpReset) => self.reject_with_reset(travelled, sent, origin),
            Stop::Rejected(RejectWith::Icmp { kind, code }) => {
                let mut consequence = self.reject_with_error(travelled, sent, origin, (kind, code));
                if at_once
                    && packet.protocol != protocol::TCP
                    && consequence.outcome == Outcome::Timeout
                {
                    // kernel-facts G15: the call fails whether or not the error arrives.
                    consequence.outcome = Outcome::Unreachable;
                    consequence.because = Some("the socket call fails (EPERM)".into());
                }
                consequence
            }
        }
    }
}

/// Whom a datagram is answered: to send to no address is to send to oneself (`udpv6_sendmsg`,
/// `ip_route_output_key_hash_rcu`; measured for IPv6).
fn asker(packet: &Packet) -> IpAddr {
    match packet.source {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// Whether a segment asks to be told of congestion, and the host's TCP agrees
/// (`tcp_ecn_create_request`; seen by nft alone, for iptables never looks at these flags).
fn asks_for_ecn(host: &Host, packet: &Packet) -> bool {
    const BOTH: u8 = tcp_flag::ECE | tcp_flag::CWR;
    let begins = packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
    packet.protocol == protocol::TCP
        && begins
        && packet.tcp_flags & BOTH == BOTH
        && packet.tos & 0x03 == 0
        && host.sysctls.get("net.ipv4.tcp_ecn") != Some(0)
}
