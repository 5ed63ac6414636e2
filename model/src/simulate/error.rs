//! ICMP errors that this host sends: about which packets, from which address, by which route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use crate::System;
use crate::answer::{Outcome, ReplyKind};
use crate::condition::Direction;
use crate::host::{Host, Scope};
use crate::packet::{Packet, Transport, protocol};
use crate::simulate::address_type;
use crate::simulate::connection::{TrackedState, Tracking};
use crate::simulate::consequence::Consequence;
use crate::simulate::exchange::{Travelled, travel};
use crate::simulate::question::Origin;
use crate::simulate::reply::{
    About, Progress, attached_to_nothing, has_route_to_sender, leads_to_group,
};
use crate::simulate::routing::{self, Lookup, LookupResult, User};
use crate::simulate::selection;
use crate::simulate::settings;
use crate::simulate::trip::{HeldRoute, Leg, Maker, Run, Trip};

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
}

/// The type of service of an ICMP error: of the packet that it is about, with the precedence of
/// network control (`__icmp_send`; measured). ICMPv6 errors have none.
fn error_tos(about: &Packet) -> u8 {
    match about.family() {
        Family::Ipv4 => about.tos & 0x1e | 0xc0,
        Family::Ipv6 => 0,
    }
}
/// Whether a route to the sender of a packet of IPv4 leads to the host itself.
fn is_from_here(host: &Host, packet: &Packet) -> bool {
    let from = packet.source;
    address_type::is_local(host, from) || from.is_loopback() || from.is_unspecified()
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
