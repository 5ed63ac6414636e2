//! Which addresses the two ends of a flow get: of one family, and fit for each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::Family;

use super::error::{Advised, Argument, EndpointError, Problem, at};
use super::place::{Found, Member, first_free};
use super::{FlowRequest, Sender};
use crate::address::{Prefix, is_internet};
use crate::host::{Assumption, Host, Interface, InterfaceKind, Part, Scope};
use crate::simulate::routing::{Lookup, LookupResult, lookup};
use crate::simulate::selection::source_for;

/// The internet in one address of each family (CLI.md).
pub(super) const INTERNET4: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
pub(super) const INTERNET6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111);

/// The ends of a flow.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) source: Sender,
    pub(super) destination: IpAddr,
    pub(super) assumptions: Vec<Assumption>,
}

/// Chooses the addresses: IPv4 unless only IPv6 fits both ends.
pub(super) fn choose(
    host: &Host,
    places: &[Found; 2],
    given: Option<&str>,
    request: &FlowRequest,
) -> Result<Ends, EndpointError> {
    let [source, destination] = places;
    let mut refused = None;
    for family in [Family::Ipv4, Family::Ipv6] {
        let asked = request.family.is_none_or(|asked| asked == family);
        if !asked || !may_be(source, family) || !may_be(destination, family) {
            continue;
        }
        match pair(host, source, destination, family, given) {
            Ok(ends) => return Ok(ends),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let (argument, problem) = refused.unwrap_or_else(|| {
        let help = "both ends need an address of the same IP version";
        (Argument::Destination, Problem::MixedFamilies.help(help))
    });
    let text = match argument {
        Argument::Source => &request.source,
        _ => &request.destination,
    };
    Err(at(argument, text, problem))
}

fn may_be(place: &Found, family: Family) -> bool {
    match place {
        Found::Address(address, _) => Family::of(*address) == family,
        Found::Members(members) => members.iter().any(|m| Family::of(m.address) == family),
        Found::Host | Found::Internet | Found::Lan(_) => true,
    }
}

type Refusal = (Argument, Advised);

/// The addresses of both ends in one family.
fn pair(
    host: &Host,
    source: &Found,
    destination: &Found,
    family: Family,
    given: Option<&str>,
) -> Result<Ends, Refusal> {
    let mut assumptions = Vec::new();
    // What does not depend on the other end comes first.
    let senders = concrete(host, source, family, given, None)
        .map_err(|problem| (Argument::Source, problem))?;
    let first_sender = senders.first().map(|sender| sender.address);
    let receivers = concrete(host, destination, family, None, first_sender)
        .map_err(|problem| (Argument::Destination, problem))?;
    let (sender, receiver) = match (senders.is_empty(), receivers.is_empty()) {
        (false, false) => best_pair(&senders, &receivers),
        (false, true) => {
            let sender = senders.into_iter().next();
            let own = sender.as_ref().and_then(|sender| {
                let interface = given.map(str::to_owned).or_else(|| side_of(host, sender));
                host_address(host, interface.as_deref(), family)
            });
            (sender, own)
        }
        (true, receivers_empty) => {
            // The host talks to itself over loopback.
            let loopback = match family {
                Family::Ipv4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
                Family::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            let receiver =
                if receivers_empty { Some(loopback) } else { receivers.first().map(|r| r.address) };
            let own = receiver.and_then(|to| local_source(host, to, &mut assumptions));
            (own.map(|address| Candidate::sender(address, true)), receiver)
        }
    };
    let version = if family == Family::Ipv4 { 4 } else { 6 };
    let unknown = |argument| {
        let help = format!("`{}` would list it; or give an address", Part::Addresses.file_name());
        (argument, Problem::NoHostAddress(version).help(help))
    };
    let sender = sender.ok_or_else(|| unknown(Argument::Source))?;
    let destination = receiver.ok_or_else(|| unknown(Argument::Destination))?;
    let source = Sender { address: sender.address, any: sender.any, behind: sender.behind };
    Ok(Ends { source, destination, assumptions })
}

/// An address that an end may get.
#[derive(Clone, Debug)]
struct Candidate {
    address: IpAddr,
    any: bool,
    behind: Option<String>,
    network: Option<String>,
    subnets: Vec<Prefix>,
}

impl Candidate {
    fn sender(address: IpAddr, any: bool) -> Self {
        Self { address, any, behind: None, network: None, subnets: Vec::new() }
    }

    fn of_member(member: &Member) -> Self {
        Self {
            address: member.address,
            any: false,
            behind: member.bridge.clone(),
            network: Some(member.network.clone()),
            subnets: member.subnets.clone(),
        }
    }
}

/// The addresses that an end may get whatever the other one is; empty for the host itself.
fn concrete(
    host: &Host,
    place: &Found,
    family: Family,
    at: Option<&str>,
    taken: Option<IpAddr>,
) -> Result<Vec<Candidate>, Advised> {
    Ok(match place {
        Found::Address(address, zone) => {
            let mut candidate = Candidate::sender(*address, false);
            candidate.behind.clone_from(zone);
            if zone.is_none()
                && let Some((_, endpoint)) = host.inventory.owner(*address)
            {
                let network = host.inventory.network(&endpoint.network);
                candidate.behind = network
                    .map(|network| network.bridge.clone())
                    .filter(|bridge| !bridge.is_empty());
                candidate.network = Some(endpoint.network.clone());
            }
            vec![candidate]
        }
        Found::Members(members) => members
            .iter()
            .filter(|member| Family::of(member.address) == family)
            .map(Candidate::of_member)
            .collect(),
        Found::Internet => vec![Candidate::sender(
            match family {
                Family::Ipv4 => INTERNET4.into(),
                Family::Ipv6 => INTERNET6.into(),
            },
            false,
        )],
        Found::Lan(interface) => {
            let interface = interface.as_deref().or(at);
            let (address, interface) = lan(host, interface, family, taken).ok_or_else(|| {
                Problem::NoLan.help("give an address of the LAN, or name the interface: `lan:eth1`")
            })?;
            let mut candidate = Candidate::sender(address, false);
            candidate.behind = Some(interface);
            vec![candidate]
        }
        Found::Host => Vec::new(),
    })
}

/// The likeliest addresses of two ends: on one network if they have one in common, else the
/// attachment from which the other end is on-link, else the first of each.
fn best_pair(
    senders: &[Candidate],
    receivers: &[Candidate],
) -> (Option<Candidate>, Option<IpAddr>) {
    let pairs = || senders.iter().flat_map(|s| receivers.iter().map(move |r| (s, r)));
    let differ = |(s, r): &(&Candidate, &Candidate)| s.address != r.address;
    let share = |(s, r): &(&Candidate, &Candidate)| s.network.is_some() && s.network == r.network;
    let on_link = |(s, r): &(&Candidate, &Candidate)| {
        s.subnets.iter().any(|subnet| subnet.contains(r.address))
            || r.subnets.iter().any(|subnet| subnet.contains(s.address))
    };
    let best = pairs()
        .filter(differ)
        .find(share)
        .or_else(|| pairs().filter(differ).find(on_link))
        .or_else(|| pairs().find(differ))
        .or_else(|| pairs().next());
    (best.map(|(sender, _)| sender.clone()), best.map(|(_, receiver)| receiver.address))
}

/// The interface of the host that a sender is behind.
fn side_of(host: &Host, sender: &Candidate) -> Option<String> {
    if sender.behind.is_some() {
        return sender.behind.clone();
    }
    let LookupResult::Found(found) = lookup(host, &Lookup::to(sender.address)) else {
        return None;
    };
    found.next_hops().next().map(|hop| hop.interface.clone())
}

/// The host's own address on the side of an interface: the interface's first, else that of
/// another one that is no container bridge.
fn host_address(host: &Host, interface: Option<&str>, family: Family) -> Option<IpAddr> {
    let named = interface
        .and_then(|name| host.interface(name))
        .filter(|i| i.kind != InterfaceKind::Loopback);
    let others = host.interfaces.iter().filter(|other| {
        other.kind != InterfaceKind::Loopback && !host.is_container_bridge(&other.name)
    });
    let on_loopback = host.interfaces.iter().filter(|i| i.kind == InterfaceKind::Loopback);
    named.into_iter().chain(others).chain(on_loopback).find_map(|i| own_address(i, family))
}

/// The address that an interface is known by.
fn own_address(interface: &Interface, family: Family) -> Option<IpAddr> {
    let fits = |secondary: bool| {
        let mut addresses = interface.addresses.iter().filter(|address| {
            Family::of(address.local) == family && address.scope == Scope::Global
        });
        addresses
            .find(|address| address.secondary == secondary && !address.deprecated)
            .map(|address| address.local)
    };
    fits(false).or_else(|| fits(true))
}

/// The source that the kernel would pick for a packet of a local process.
fn local_source(
    host: &Host,
    destination: IpAddr,
    assumptions: &mut Vec<Assumption>,
) -> Option<IpAddr> {
    let family = Family::of(destination);
    let LookupResult::Found(found) = lookup(host, &Lookup::to(destination)) else {
        // The kernel would refuse to send; the packet still needs a source to ask about.
        return host_address(host, None, family);
    };
    let out_interface = found.next_hops().next().map(|hop| hop.interface.as_str());
    // Of an interface whose addresses no part lists, only those are known that rules name; what
    // the kernel would pick instead is not (kernel-facts B3 does not apply).
    let guess = out_interface.filter(|name| !host.knows_addresses_of(name, family));
    if let Some(name) = guess
        && found.route.preferred_source.is_none()
    {
        let address = host.stand_in(name, family)?;
        assumptions.push(Assumption {
            code: "source-assumed",
            text: format!(
                "the host is taken to send from {address}; the addresses of {name} are not known \
                 ({} settles it)",
                Part::Addresses.file_name()
            ),
        });
        return Some(address);
    }
    source_for(host, &found, destination).or_else(|| host_address(host, out_interface, family))
}

/// An address of a LAN that is not the host's own, and the interface it is behind: of a private
/// subnet rather than a public one.
fn lan(
    host: &Host,
    interface: Option<&str>,
    family: Family,
    taken: Option<IpAddr>,
) -> Option<(IpAddr, String)> {
    let tables = host.routing.tables(family).values();
    let gateways: Vec<IpAddr> = tables
        .flat_map(|table| table.routes())
        .flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway))
        .collect();
    let is_lan = |candidate: &&Interface| {
        candidate.up
            && candidate.kind != InterfaceKind::Loopback
            && candidate.port.is_none()
            && interface.map_or_else(
                || !host.is_container_bridge(&candidate.name),
                |name| candidate.name == name,
            )
    };
    let subnets = host.interfaces.iter().filter(is_lan).flat_map(|interface| {
        let usable = interface.addresses.iter().filter(|address| {
            Family::of(address.local) == family && address.scope == Scope::Global
        });
        usable.map(move |address| (interface, address))
    });
    let free = |subnet: &Prefix| {
        first_free(subnet, |address| {
            host.owner(address).is_some() || gateways.contains(&address) || taken == Some(address)
        })
    };
    let mut found: Vec<(IpAddr, String)> = subnets
        .filter_map(|(interface, own)| Some((free(&own.subnet)?, interface.name.clone())))
        .collect();
    found.sort_by_key(|(address, _)| is_internet(*address));
    found.into_iter().next()
}
