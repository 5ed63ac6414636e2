//! The question, filled in: the packet that is sent, and where it starts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::System;
use crate::flow::{Flow, FlowState};
use crate::packet::{Packet, Transport, protocol, tcp_flag};
use crate::simulate::outside;
use crate::simulate::path::Arrival;
use crate::simulate::routing::{self, Lookup, LookupResult, User};
use crate::simulate::selection;
use crate::simulate::trip::Run;

/// Where a packet starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'s> {
    /// In a local process.
    Local,
    /// Outside, coming in.
    Wire(Arrival<'s>),
}

/// The question with everything that was left open filled in.
pub(crate) fn filled_in(system: &System, flow: &Flow) -> Flow {
    let mut flow = flow.clone();
    let has_ports = matches!(
        flow.protocol,
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE
    );
    if has_ports {
        flow.source_port.get_or_insert(40000);
        flow.destination_port.get_or_insert(0);
    }
    if flow.any_source {
        let mut packet = first_packet_of(&flow);
        packet.mark = flow.mark;
        let key = Lookup { source: None, ..Lookup::made(&packet, "lo") };
        let source = match routing::lookup(&system.host, &key) {
            LookupResult::Found(found) => {
                selection::source_for(&system.host, &found, flow.destination)
            }
            LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => None,
        };
        // Without a route there is no source, and a rule `from` one does not help.
        flow.source = source.unwrap_or(match flow.destination {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
    }
    flow
}

/// Headers of IPv6 that stand between it and what a packet carries (`ipv6_ext_hdr`).
const EXTENSION_HEADERS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

impl Run<'_, '_> {
    /// Notes what a question has no words for.
    pub(crate) fn name_limits(&mut self, flow: &Flow) {
        if flow.state == FlowState::Related {
            self.assume(
                "related-untranslated",
                "no word of a question says which connection a packet is related to: it is taken to \
                 be one that NAT leaves alone, else its addresses would be translated back",
            );
        }
        if flow.source.is_ipv6() && EXTENSION_HEADERS.contains(&flow.protocol) {
            self.assume(
                "extension-header",
                format!(
                    "{} is an extension header of IPv6: rules and connection tracking look behind \
                     it, at what no word of a question tells; here it is taken for the protocol",
                    flow.protocol
                ),
            );
        }
    }
}

pub(crate) fn first_packet_of(flow: &Flow) -> Packet {
    let transport = match flow.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            let echo = if flow.protocol == protocol::ICMP { 8 } else { 128 };
            let (kind, code) = flow.icmp.unwrap_or((echo, 0));
            Transport::Icmp { kind, code, id: 1 }
        }
        _ => match (flow.source_port, flow.destination_port) {
            (Some(source), Some(destination)) => Transport::Ports { source, destination },
            _ => Transport::Opaque,
        },
    };
    let default_flags = match flow.state {
        FlowState::Established => tcp_flag::ACK,
        FlowState::New | FlowState::Related | FlowState::Invalid | FlowState::Untracked => {
            tcp_flag::SYN
        }
    };
    let tcp = flow.protocol == protocol::TCP;
    Packet {
        source: flow.source,
        destination: flow.destination,
        protocol: flow.protocol,
        transport,
        tcp_flags: if tcp { flow.tcp_flags.unwrap_or(default_flags) } else { 0 },
        ttl: flow.ttl.unwrap_or(64),
        tos: 0,
        length: None,
        mark: flow.mark,
    }
}

/// Where the packet starts: in a local process if its source is an own address and no interface is
/// named, else behind the interface that is named, or where routing expects the source.
pub(crate) fn origin<'s>(
    system: &'s System,
    flow: &'s Flow,
    packet: &Packet,
) -> Result<Origin<'s>, String> {
    let host = &system.host;
    if let Some(name) = &flow.in_interface {
        return Ok(Origin::Wire(outside::arrival(host, packet, name)));
    }
    if flow.any_source || is_local_source(system, packet.source) {
        return Ok(Origin::Local);
    }
    // As somebody outside is reached, so he is expected.
    let key = Lookup { user: User::Root, ..Lookup::to(packet.source) };
    match routing::lookup(host, &key) {
        LookupResult::Found(found) => match found.next_hops().next() {
            Some(hop) => Ok(Origin::Wire(outside::arrival(host, packet, &hop.interface))),
            None => {
                Err(format!("the route to {} leads nowhere; name the interface", packet.source))
            }
        },
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => {
            Err(format!("no route tells behind which interface {} is; name it", packet.source))
        }
    }
}

pub(crate) fn is_local_source(system: &System, source: IpAddr) -> bool {
    source.is_loopback() || routing::is_own_address(&system.host, source)
}
