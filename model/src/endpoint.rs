//! From words to a flow: `web:80`, `internet`, `[2001:db8::1]:53/udp`, and the options beside them.
//!
//! What a person leaves out is filled in as the command line documents it; whatever is filled in
//! by a guess comes back as an assumption.

mod address;
mod behind;
mod error;
mod ingress;
mod name;
mod options;
mod own;
mod place;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use crate::System;
use crate::flow::Flow;
use crate::host::Assumption;

pub use error::{Argument, EndpointError, Problem};

/// A question in words, as it stands on the command line or in a line of `--flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowRequest {
    /// Where the packet comes from.
    pub source: String,
    /// Where it goes.
    pub destination: String,
    /// `--in`.
    pub in_interface: Option<String>,
    /// `--sport`.
    pub source_port: Option<String>,
    /// The destination port where it is not part of the endpoint (`dport` of `--flows`).
    pub destination_port: Option<String>,
    /// `--proto`: a name or a number.
    pub protocol: Option<String>,
    /// `--state`.
    pub state: Option<String>,
    /// `--mark`: decimal, or hexadecimal with `0x`.
    pub mark: Option<String>,
    /// `--tcp-flags`: names with commas between them.
    pub tcp_flags: Option<String>,
    /// `--icmp-type`: a name, or `TYPE[/CODE]`.
    pub icmp_type: Option<String>,
    /// `--ttl`: TTL or hop limit.
    pub ttl: Option<String>,
    /// `--family`: names stand for addresses of this IP version only.
    pub family: Option<Family>,
}

impl FlowRequest {
    /// The text of an argument, into which the span of an [`EndpointError`] points.
    #[must_use]
    pub fn argument(&self, argument: Argument) -> &str {
        let option = match argument {
            Argument::Source => return &self.source,
            Argument::Destination => return &self.destination,
            Argument::InInterface => &self.in_interface,
            Argument::SourcePort => &self.source_port,
            Argument::DestinationPort => &self.destination_port,
            Argument::Protocol => &self.protocol,
            Argument::State => &self.state,
            Argument::Mark => &self.mark,
            Argument::TcpFlags => &self.tcp_flags,
            Argument::IcmpType => &self.icmp_type,
            Argument::Ttl => &self.ttl,
        };
        option.as_deref().unwrap_or("")
    }
}

/// The packet that a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The packet, and where it starts.
    pub flow: Flow,
    /// What was assumed to find it, besides what the host's parts rest on.
    pub assumptions: Vec<Assumption>,
    /// An address that has to be the host's own for the question to make sense, and its
    /// interface; only where no part lists the addresses.
    pub own: Option<(String, IpAddr)>,
    /// The interface that the sender is behind although no route says so, and its address; only
    /// where no part lists the routes.
    pub behind: Option<(String, IpAddr)>,
}

impl Question {
    /// The host that the question is about: the given one, with what the question itself shows
    /// of its addresses and routes.
    #[must_use]
    pub fn system<'s>(&self, system: &'s System) -> Cow<'s, System> {
        let mut system = Cow::Borrowed(system);
        if let Some((interface, address)) = &self.own {
            crate::infer::take_for_own(&mut system.to_mut().host, interface, *address);
        }
        if let Some((interface, address)) = &self.behind {
            crate::infer::take_behind(&mut system.to_mut().host, interface, *address);
        }
        system
    }
}

/// Finds the packet that a request means.
///
/// # Errors
///
/// An [`EndpointError`] names the argument, the place in it, and what would help.
pub fn resolve(system: &System, request: &FlowRequest) -> Result<Question, EndpointError> {
    let source = name::parse(Argument::Source, &request.source)?;
    let destination = name::parse(Argument::Destination, &request.destination)?;
    let places = [
        place::find(&system.host, &source, Argument::Source)?,
        place::find(&system.host, &destination, Argument::Destination)?,
    ];
    let given = ingress::given(&system.host, request.in_interface.as_deref())?;
    let ends = address::choose(&system.host, &places, given.as_deref(), request)?;
    let service = options::service(request, &source, &destination, Family::of(ends.destination))?;
    let mut assumptions = ends.assumptions;
    let in_interface = match given {
        Some(name) => {
            assumptions.extend(ingress::assumption(&system.host, &name));
            Some(name)
        }
        None => ingress::expected(&system.host, &ends.source, ends.destination, &mut assumptions)
            .map_err(|problem| error::at(Argument::Source, &request.source, problem))?,
    };
    let own = match &in_interface {
        Some(interface) => {
            match own::destination(&system.host, &places, &ends.source, ends.destination, interface)
            {
                // Who names the interface has said all that could be asked.
                Err(_) if request.in_interface.is_some() => None,
                found => found
                    .map_err(|problem| error::at(Argument::Source, &request.source, problem))?,
            }
        }
        None => None,
    };
    let behind = in_interface
        .as_deref()
        .and_then(|interface| behind::sender(&system.host, &ends.source, interface));
    assumptions.extend(own.iter().map(|(interface, address)| own::assumption(interface, *address)));
    assumptions
        .extend(behind.iter().map(|(interface, address)| behind::assumption(interface, *address)));
    let state = options::state(request)?;
    let flow = Flow {
        source: ends.source.address,
        destination: ends.destination,
        protocol: service.protocol,
        source_port: service.source_port,
        destination_port: service.destination_port,
        in_interface,
        state,
        mark: options::mark(request)?,
        tcp_flags: options::tcp_flags(request, service.protocol)?,
        icmp: options::icmp(request, service.protocol)?,
        ttl: options::ttl(request)?,
        any_source: ends.source.any,
    };
    Ok(Question { flow, assumptions, own, behind })
}

/// The source of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sender {
    /// Its address.
    address: IpAddr,
    /// Whether the kernel picks it: a local process that is not bound to an address.
    any: bool,
    /// The interface that it is behind, where the inventory says so.
    behind: Option<String>,
}
