//! A destination that can only be the host's own, where no part lists its addresses.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use super::Sender;
use super::address::{INTERNET4, INTERNET6};
use super::error::{Advised, Problem};
use super::place::Found;
use crate::address::is_internet;
use crate::host::route::RouteKind;
use crate::host::{Assumption, Host, InterfaceKind, Part};
use crate::simulate::routing::{Lookup, LookupResult, User, lookup};

/// The destination, if it must be an own address of the interface by which the packet comes in:
/// otherwise the host would send the packet back where it came from.
///
/// # Errors
///
/// The destination is surely somebody else's, such as the internet's for a private source: then
/// the source must be the host's own, or come in elsewhere, and nobody can tell which.
pub(super) fn destination(
    host: &Host,
    places: &[Found; 2],
    source: &Sender,
    destination: IpAddr,
    in_interface: &str,
) -> Result<Option<(String, IpAddr)>, Advised> {
    let routes = Part::routes(Family::of(destination));
    let listed = host.has(Part::Addresses) || host.has(routes);
    let inner = host.interface(in_interface).is_none_or(|i| i.kind == InterfaceKind::Bridge);
    let broadcast = matches!(destination, IpAddr::V4(v4) if v4.is_broadcast());
    let no_host = destination.is_loopback() || destination.is_multicast() || broadcast;
    if listed || inner || no_host || host.owner(destination).is_some() {
        return Ok(None);
    }
    let key = Lookup {
        source: Some(source.address),
        in_interface,
        user: User::Root,
        ..Lookup::to(destination)
    };
    let LookupResult::Found(found) = lookup(host, &key) else { return Ok(None) };
    let by_default = found.route.destination.length() == 0;
    let returns = found.next_hops().any(|hop| hop.interface == in_interface);
    if !(by_default && returns && found.route.kind == RouteKind::Unicast) {
        return Ok(None);
    }
    let [_, to] = places;
    let internet = [IpAddr::from(INTERNET4), IpAddr::from(INTERNET6)].contains(&destination);
    let inside_out = !is_internet(source.address) && is_internet(destination);
    if internet || inside_out || !matches!(to, Found::Address(..)) {
        let help = format!(
            "write `host` if {} is the host's own, or name the interface that it comes in by with \
             `--in`",
            source.address
        );
        return Err(Problem::UnknownIngress(source.address).help(help));
    }
    Ok(Some((in_interface.to_owned(), destination)))
}

/// What is assumed with it.
pub(super) fn assumption(interface: &str, address: IpAddr) -> Assumption {
    Assumption {
        code: "destination-assumed-own",
        text: format!(
            "{address} is taken to be the host's own: what comes in by {interface} for anybody \
             else would go out by {interface} again ({} settles it)",
            Part::Addresses.file_name()
        ),
    }
}
