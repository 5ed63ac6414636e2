//! A sender that is behind the interface by which it comes in, where no part lists the routes.

use std::net::IpAddr;

use nattrace_parser::syntax::Family;

use super::Sender;
use crate::address::is_host_address;
use crate::host::{Assumption, Host, InterfaceKind, Part};
use crate::simulate::routing::{Lookup, LookupResult, User, lookup};

/// The sender and its interface, if the only route to it is one that was assumed and leads
/// elsewhere: then the answer would get lost for no reason that anybody knows.
pub(super) fn sender(host: &Host, source: &Sender, in_interface: &str) -> Option<(String, IpAddr)> {
    let address = source.address;
    let loops = host.interface(in_interface).is_some_and(|i| i.kind == InterfaceKind::Loopback);
    if host.has(Part::routes(Family::of(address)))
        || source.any
        || !is_host_address(address)
        || loops
        || host.owner(address).is_some()
    {
        return None;
    }
    let key = Lookup { user: User::Root, ..Lookup::to(address) };
    let is_behind = match lookup(host, &key) {
        LookupResult::Found(found) => {
            found.route.destination.length() > 0
                || found.next_hops().any(|hop| hop.interface == in_interface)
        }
        LookupResult::Refused(_) | LookupResult::Unknown(_) => true,
        LookupResult::None => false,
    };
    (!is_behind).then(|| (in_interface.to_owned(), address))
}

/// What is assumed with it.
pub(super) fn assumption(interface: &str, address: IpAddr) -> Assumption {
    Assumption {
        code: "source-behind-interface",
        text: format!(
            "{address} is taken to be behind {interface}, by which it comes in: no part lists the \
             routes ({} settles it)",
            Part::routes(Family::of(address)).file_name()
        ),
    }
}
