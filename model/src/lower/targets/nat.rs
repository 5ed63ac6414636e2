//! Targets that rewrite addresses and ports, or hand a packet to a local socket.

use std::net::IpAddr;

use nattrace_parser::syntax::{AddressMask, ExtensionUse, NatRange, Value};

use crate::address::Prefix;
use crate::lower::value::{masked, number, range};
use crate::target::{NatOptions, PrefixTranslation, Target};

fn options(given: &ExtensionUse<'_>) -> NatOptions {
    let has = |name| given.option(name).is_some();
    NatOptions { random: has("random") || has("random-fully"), persistent: has("persistent") }
}

/// The one range that a kernel of today takes. Old ones took several and chose among them.
fn only_range(given: &ExtensionUse<'_>, name: &str) -> Option<NatRange> {
    let mut ranges = given.options.iter().filter(|option| option.option.name == name);
    let (Some(first), None) = (ranges.next(), ranges.next()) else { return None };
    match first.value {
        Value::Nat(range) => Some(range),
        _ => None,
    }
}

/// `SNAT`.
pub(super) fn snat(given: &ExtensionUse<'_>) -> Option<Target> {
    let range = only_range(given, "to-source")?;
    Some(Target::Snat(Box::new(range), options(given)))
}

/// `DNAT`.
pub(super) fn dnat(given: &ExtensionUse<'_>) -> Option<Target> {
    let range = only_range(given, "to-destination")?;
    Some(Target::Dnat(Box::new(range), options(given)))
}

/// The ports of `--to-ports`, where they are given.
fn ports(given: &ExtensionUse<'_>) -> Option<Option<(u16, u16)>> {
    let Some(option) = given.option("to-ports") else { return Some(None) };
    match &option.value {
        // Only DNAT knows a base port.
        Value::Nat(NatRange { addresses: None, ports, base_port: None }) => Some(*ports),
        Value::Nat(_) => None,
        value => range(value).map(Some),
    }
}

/// `MASQUERADE`.
pub(super) fn masquerade(given: &ExtensionUse<'_>) -> Option<Target> {
    Some(Target::Masquerade(ports(given)?, options(given)))
}

/// `REDIRECT`.
pub(super) fn redirect(given: &ExtensionUse<'_>) -> Option<Target> {
    Some(Target::Redirect(ports(given)?, options(given)))
}

/// `NETMAP`.
pub(super) fn netmap(given: &ExtensionUse<'_>) -> Option<Target> {
    match given.option("to")?.value {
        Value::Address(network) => Some(Target::Netmap(Prefix::from(network))),
        _ => None,
    }
}

/// The prefixes of `SNPT` and `DNPT`.
pub(super) fn prefixes(given: &ExtensionUse<'_>) -> Option<Box<PrefixTranslation>> {
    let prefix = |name| match given.option(name).map(|option| &option.value) {
        None => Some((0, 0)),
        Some(Value::Address(AddressMask::V6(prefix, mask))) => Some((*prefix, mask.count_ones())),
        Some(_) => None,
    };
    Some(Box::new(PrefixTranslation { from: prefix("src-pfx")?, to: prefix("dst-pfx")? }))
}

/// `TPROXY`.
pub(super) fn tproxy(given: &ExtensionUse<'_>) -> Option<Target> {
    let port = given.option("on-port").map_or(Some(0), |option| number(&option.value))?;
    let address = match given.option("on-ip").map(|option| &option.value) {
        None => None,
        Some(Value::Address(address)) => Some(host(*address)),
        Some(_) => return None,
    };
    let (value, mask) = match given.option("tproxy-mark") {
        None => (0, 0),
        Some(option) => masked(&option.value, u32::MAX)?,
    };
    Some(Target::Tproxy { port, address, value, mask })
}

fn host(address: AddressMask) -> IpAddr {
    match address {
        AddressMask::V4(address, _) => IpAddr::V4(address.into()),
        AddressMask::V6(address, _) => IpAddr::V6(address.into()),
    }
}
