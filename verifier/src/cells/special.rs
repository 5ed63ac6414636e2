//! The ranges of addresses that the kernel, or the model of hosts around, treats in a way of its
//! own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::address::Prefix;
use nattrace_model::host::Host;
use nattrace_parser::syntax::Family;

/// The ranges of a family, each with a name that ranges which are treated alike share.
pub(crate) fn ranges(host: &Host, family: Family) -> Vec<(Prefix, u32)> {
    let plain = match family {
        Family::Ipv4 => ipv4(),
        Family::Ipv6 => ipv6(),
    };
    let mut all: Vec<(Prefix, u32)> = (0u32..).zip(plain).map(|(at, p)| (p, at)).collect();
    if family == Family::Ipv6 {
        all.extend(scopes());
        let own = own6(host);
        all.extend((5000u32..).zip(solicited(&own)).map(|(at, p)| (p, at)));
        all.extend((100_000u32..).zip(nearest(&own)).map(|(at, p)| (p, at)));
    }
    all
}

fn ipv4() -> Vec<Prefix> {
    let prefix = |a, b, c, d, length| Prefix::new(Ipv4Addr::new(a, b, c, d).into(), length);
    vec![
        prefix(0, 0, 0, 0, 32),
        prefix(127, 0, 0, 0, 8),
        prefix(127, 0, 0, 1, 32),
        prefix(224, 0, 0, 0, 4),
        prefix(224, 0, 0, 0, 24),
        prefix(224, 0, 0, 1, 32),
        prefix(255, 255, 255, 255, 32),
        // `is_internet`
        prefix(10, 0, 0, 0, 8),
        prefix(172, 16, 0, 0, 12),
        prefix(192, 168, 0, 0, 16),
        prefix(100, 64, 0, 0, 10),
        prefix(169, 254, 0, 0, 16),
    ]
}

fn ipv6() -> Vec<Prefix> {
    let prefix = |segments: [u16; 8], length| Prefix::new(Ipv6Addr::from(segments).into(), length);
    vec![
        prefix([0, 0, 0, 0, 0, 0, 0, 0], 128),
        prefix([0, 0, 0, 0, 0, 0, 0, 1], 128),
        prefix([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
        prefix([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        prefix([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
        prefix([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        prefix([0xff01, 0, 0, 0, 0, 0, 0, 1], 128),
        prefix([0xff02, 0, 0, 0, 0, 0, 0, 1], 128),
        prefix([0xff01, 0, 0, 0, 0, 0, 0, 2], 128),
        prefix([0xff02, 0, 0, 0, 0, 0, 0, 2], 128),
        prefix([0xff05, 0, 0, 0, 0, 0, 0, 2], 128),
        // Labels of source selection (RFC 6724).
        prefix([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
        prefix([0, 0, 0, 0, 0, 0, 0, 0], 96),
        prefix([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        prefix([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
        prefix([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),
        prefix([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16),
    ]
}

/// Groups by their scope, whatever their flags are.
fn scopes() -> impl Iterator<Item = (Prefix, u32)> {
    (0u16..256).map(|low| {
        let group = Ipv6Addr::new(0xff00 | low, 0, 0, 0, 0, 0, 0, 0);
        (Prefix::new(group.into(), 16), 1000 + u32::from(low & 0xf))
    })
}

fn own6(host: &Host) -> Vec<(Ipv6Addr, u32)> {
    let all = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    all.filter_map(|own| match own.local {
        IpAddr::V6(local) => Some((local, own.subnet.length())),
        IpAddr::V4(_) => None,
    })
    .collect()
}

/// The groups that own addresses are solicited by.
fn solicited(own: &[(Ipv6Addr, u32)]) -> impl Iterator<Item = Prefix> {
    own.iter().map(|(own, _)| {
        let group = 0xff02_0000_0000_0000_0000_0001_ff00_0000 | (own.to_bits() & 0xff_ffff);
        Prefix::new(Ipv6Addr::from_bits(group).into(), 128)
    })
}

/// Where source selection changes its mind about which of two own addresses shares the longer
/// prefix with a destination.
fn nearest(own: &[(Ipv6Addr, u32)]) -> Vec<Prefix> {
    let mut all: Vec<(u128, u32)> = Vec::new();
    let mut add = |address: Ipv6Addr, length: u32| {
        let length = length.min(128);
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        all.push((address.to_bits() & mask, length));
    };
    for (index, (one, one_most)) in own.iter().enumerate() {
        for (other, other_most) in own.iter().skip(index + 1) {
            let common = (one.to_bits() ^ other.to_bits()).leading_zeros();
            for length in [common + 1, one_most + 1, other_most + 1] {
                add(*one, length);
                add(*other, length);
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    let length = |length: u32| u8::try_from(length).unwrap_or(128);
    all.into_iter()
        .map(|(bits, l)| Prefix::new(Ipv6Addr::from_bits(bits).into(), length(l)))
        .collect()
}
