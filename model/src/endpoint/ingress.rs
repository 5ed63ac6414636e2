//! The interface by which a packet comes in.

use std::net::IpAddr;

use nattrace_parser::diagnostic::nearest;
use nattrace_parser::syntax::Family;

use super::Sender;
use super::error::{Advised, Argument, EndpointError, Problem, at};
use crate::address::is_internet;
use crate::host::route::RouteKind;
use crate::host::{Assumption, Host, InterfaceKind, Part};
use crate::simulate::routing::{Lookup, LookupResult, User, lookup};

/// The interface of `--in`, as the rules see it: a port of a bridge stands for the bridge
/// (kernel-facts E2).
pub(super) fn given(host: &Host, name: Option<&str>) -> Result<Option<String>, EndpointError> {
    let Some(name) = name else { return Ok(None) };
    known(host, name).map(Some).map_err(|problem| at(Argument::InInterface, name, problem))
}

/// An interface that exists, or that may where no part lists the interfaces.
pub(super) fn known(host: &Host, name: &str) -> Result<String, Advised> {
    if let Some(interface) = host.interface(name) {
        let port = interface.port.as_ref();
        return Ok(port.map_or_else(|| name.to_owned(), |port| port.bridge.clone()));
    }
    let names = host.interfaces.iter().map(|interface| interface.name.as_str());
    let near = nearest(name, names.clone());
    if !host.has(Part::Addresses) && near.is_none() && !name.is_empty() {
        return Ok(name.to_owned());
    }
    let help = near.map_or_else(
        || format!("known are {}", names.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Problem::UnknownInterface(name.to_owned()).help(help))
}

/// The assumption behind an interface that no part lists.
pub(super) fn assumption(host: &Host, name: &str) -> Option<Assumption> {
    host.interface(name).is_none().then(|| Assumption {
        code: "interface-exists",
        text: format!(
            "the host is taken to have an interface {name}; no part lists its interfaces ({} \
             settles it)",
            Part::Addresses.file_name()
        ),
    })
}

/// The interface behind which the host expects a source; `None` for a local process.
pub(super) fn expected(
    host: &Host,
    source: &Sender,
    destination: IpAddr,
    assumptions: &mut Vec<Assumption>,
) -> Result<Option<String>, Advised> {
    let address = source.address;
    if source.any || address.is_loopback() || host.owner(address).is_some() {
        return Ok(None);
    }
    if source.behind.is_some() {
        return Ok(source.behind.clone());
    }
    // The way back, as the reverse path filter looks it up (kernel-facts D5).
    let key = Lookup { source: Some(destination), user: User::Root, ..Lookup::to(address) };
    let routes_known = host.has(Part::routes(Family::of(address)));
    let found = match lookup(host, &key) {
        LookupResult::Found(found) => found,
        LookupResult::None if !routes_known => return Err(ask(host, address)),
        LookupResult::None | LookupResult::Refused(_) | LookupResult::Unknown(_) => {
            return Err(not_routable(host, address));
        }
    };
    match found.route.kind {
        RouteKind::Local => return Ok(None),
        RouteKind::Unicast => {}
        _ => return Err(not_routable(host, address)),
    }
    let Some(hop) = found.next_hops().next() else { return Err(not_routable(host, address)) };
    // A private address that no known prefix covers is hardly one of the internet.
    let by_default = found.route.destination.length() == 0;
    if !routes_known && by_default && !is_internet(address) {
        return inner(host, address, &hop.interface, assumptions).map(Some);
    }
    Ok(Some(hop.interface.clone()))
}

fn not_routable(host: &Host, address: IpAddr) -> Advised {
    Problem::NotRoutable(address).help(format!("name its interface: {}", choices(host)))
}

fn ask(host: &Host, address: IpAddr) -> Advised {
    Problem::UnknownIngress(address).help(format!("name its interface: {}", choices(host)))
}

/// `--in eth0` or `--in eth1`.
fn choices(host: &Host) -> String {
    let names: Vec<String> = host
        .interfaces
        .iter()
        .filter(|interface| interface.kind != InterfaceKind::Loopback && interface.port.is_none())
        .map(|interface| format!("`--in {}`", interface.name))
        .collect();
    if names.is_empty() { "`--in IFACE`".to_owned() } else { names.join(" or ") }
}

/// Where a private source comes from if nobody knows the routes: an interface whose subnet is not
/// known, if there is just one, else the one with the default route.
fn inner(
    host: &Host,
    address: IpAddr,
    uplink: &str,
    assumptions: &mut Vec<Assumption>,
) -> Result<String, Advised> {
    let same_family = |own: IpAddr| own.is_ipv4() == address.is_ipv4();
    let width = if address.is_ipv4() { 32 } else { 128 };
    let routed = |name: &str| {
        let tables = host.routing.tables(Family::of(address)).values();
        tables.flat_map(|table| table.routes()).any(|route| {
            // A single neighbour tells nothing of the network around it.
            route.kind == RouteKind::Unicast
                && route.destination.length() < width
                && route.next_hops.iter().any(|hop| hop.interface == name)
        })
    };
    let unknown: Vec<&str> = host
        .interfaces
        .iter()
        .filter(|interface| {
            interface.name != uplink
                && interface.kind != InterfaceKind::Loopback
                && interface.port.is_none()
                && !interface.addresses.iter().any(|own| same_family(own.local))
                && !routed(&interface.name)
        })
        .map(|interface| interface.name.as_str())
        .collect();
    let chosen = match unknown.as_slice() {
        [] => uplink,
        [only] => only,
        _ => return Err(ask(host, address)),
    };
    assumptions.push(Assumption {
        code: "ingress-assumed",
        text: format!(
            "{address} is taken to come in by {chosen}: no known subnet covers it ({}, {} or \
             `--in` settles it)",
            Part::Addresses.file_name(),
            Part::routes(Family::of(address)).file_name()
        ),
    });
    Ok(chosen.to_owned())
}
