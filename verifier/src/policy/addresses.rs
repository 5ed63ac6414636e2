//! Sets of addresses, as ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_model::address::Prefix;
use nattrace_parser::syntax::Family;

/// A set of addresses of one family.
///
/// INVARIANT (sorted): ranges are sorted, both ends inclusive, and neither touch nor overlap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressSet {
    family: Family,
    ranges: Vec<(u128, u128)>,
}

impl AddressSet {
    /// No address.
    #[must_use]
    pub fn none(family: Family) -> Self {
        Self { family, ranges: Vec::new() }
    }

    /// Every address of a family.
    #[must_use]
    pub fn all(family: Family) -> Self {
        Self { family, ranges: vec![(0, highest(family))] }
    }

    /// One address.
    #[must_use]
    pub fn one(address: IpAddr) -> Self {
        let bits = bits(address);
        Self { family: Family::of(address), ranges: vec![(bits, bits)] }
    }

    /// Those of some addresses that are of a family.
    #[must_use]
    pub fn of(family: Family, addresses: impl Iterator<Item = IpAddr>) -> Self {
        let own = addresses.filter(|address| Family::of(*address) == family).map(bits);
        Self { family, ranges: merged(own.map(|bits| (bits, bits)).collect()) }
    }

    /// The addresses from one to another, both inclusive; none where they are of two families or
    /// in the wrong order.
    #[must_use]
    pub fn range(first: IpAddr, last: IpAddr) -> Self {
        let family = Family::of(first);
        let fits = Family::of(last) == family && first <= last;
        let ranges = if fits { vec![(bits(first), bits(last))] } else { Vec::new() };
        Self { family, ranges }
    }

    /// The addresses of a prefix; none of a prefix whose mask has holes.
    #[must_use]
    pub fn prefix(prefix: &Prefix) -> Self {
        let (network, mask) = match *prefix {
            Prefix::V4(network, mask) => (u128::from(network), u128::from(mask)),
            Prefix::V6(ref prefix) => **prefix,
        };
        let family = prefix.family();
        let hosts = highest(family) & !mask;
        let plain = hosts & hosts.wrapping_add(1) == 0;
        let ranges = if plain { vec![(network, network | hosts)] } else { Vec::new() };
        Self { family, ranges }
    }

    /// The addresses of these ranges of numbers, both ends inclusive.
    pub(crate) fn of_ranges(family: Family, ranges: Vec<(u128, u128)>) -> Self {
        Self { family, ranges: merged(ranges) }
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether there is no address in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether an address is in it; one of the other family never is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        Family::of(address) == self.family
            && self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&bits))
    }

    /// The addresses of both; sets of two families have no union, and the first one stays.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut ranges = self.ranges.clone();
        if other.family == self.family {
            ranges.extend(&other.ranges);
        }
        Self { family: self.family, ranges: merged(ranges) }
    }

    /// The addresses that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        if self.family == other.family {
            let (mut own, mut theirs) =
                (self.ranges.iter().peekable(), other.ranges.iter().peekable());
            while let (Some((first, last)), Some((other_first, other_last))) =
                (own.peek(), theirs.peek())
            {
                let (from, to) = (*first.max(other_first), *last.min(other_last));
                if from <= to {
                    ranges.push((from, to));
                }
                if last <= other_last {
                    own.next()
                } else {
                    theirs.next()
                };
            }
        }
        Self { family: self.family, ranges: merged(ranges) }
    }

    /// The addresses that are not in the other set.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if self.family == other.family {
            self.intersection(&other.complement())
        } else {
            self.clone()
        }
    }

    /// Whether every address of the other set is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.difference(self).is_empty()
    }

    /// The addresses of the family that are not in it.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = Some(0);
        for (first, last) in &self.ranges {
            if let Some(from) = next
                && from < *first
            {
                ranges.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= highest(self.family)) {
            ranges.push((from, highest(self.family)));
        }
        Self { family: self.family, ranges }
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> Option<IpAddr> {
        self.ranges.first().map(|(first, _)| address(self.family, *first))
    }

    /// The addresses one by one, as many as asked for at most; `None` where there are more.
    #[must_use]
    pub fn each(&self, at_most: u32) -> Option<Vec<IpAddr>> {
        let most = u128::from(at_most);
        let mut addresses = Vec::new();
        for (first, last) in &self.ranges {
            if last - first >= most.checked_sub(addresses.len() as u128)? {
                return None;
            }
            addresses.extend((*first..=*last).map(|bits| address(self.family, bits)));
        }
        Some(addresses)
    }

    /// The ranges, both ends inclusive, as numbers in host byte order.
    #[must_use]
    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.ranges
    }

    /// The ranges, both ends inclusive.
    pub fn each_range(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let family = self.family;
        self.ranges
            .iter()
            .map(move |(first, last)| (address(family, *first), address(family, *last)))
    }

    /// The fewest prefixes that cover just these addresses.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Prefix> {
        let width = width(self.family);
        let mut prefixes = Vec::new();
        for (first, last) in &self.ranges {
            let mut from = *first;
            loop {
                let room = last - from;
                // The largest block that starts here and does not reach beyond the last address.
                let aligned = if from == 0 { width } else { from.trailing_zeros().min(width) };
                let fits = room.checked_add(1).map_or(width, |count| count.ilog2());
                let size = aligned.min(fits);
                let length = u8::try_from(width - size).unwrap_or(u8::MAX);
                prefixes.push(Prefix::new(address(self.family, from), length));
                let step = 1u128.checked_shl(size).unwrap_or(0);
                match from.checked_add(step).filter(|next| step != 0 && next <= last) {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        prefixes
    }
}

/// An address as a number.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A number as an address.
pub(super) fn address(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(bits).into(),
    }
}

fn width(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    }
}

fn highest(family: Family) -> u128 {
    match family {
        Family::Ipv4 => u128::from(u32::MAX),
        Family::Ipv6 => u128::MAX,
    }
}

/// Restores the invariant.
fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                *end = (*end).max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(prefixes: &[&str]) -> AddressSet {
        let family = if prefixes.iter().any(|prefix| prefix.contains(':')) {
            Family::Ipv6
        } else {
            Family::Ipv4
        };
        prefixes.iter().fold(AddressSet::none(family), |set, prefix| {
            let (address, length) = prefix.split_once('/').unwrap();
            let prefix = Prefix::new(address.parse().unwrap(), length.parse().unwrap());
            set.union(&AddressSet::prefix(&prefix))
        })
    }

    fn shown(set: &AddressSet) -> Vec<String> {
        set.prefixes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_set_is_the_fewest_prefixes() {
        assert_eq!(shown(&set(&["10.0.0.0/25", "10.0.0.128/25"])), ["10.0.0.0/24"]);
        assert_eq!(shown(&set(&["0.0.0.0/0"])), ["0.0.0.0/0"]);
        assert_eq!(shown(&set(&["::/0"])), ["::/0"]);
        let holes = set(&["10.0.0.0/30"]).difference(&set(&["10.0.0.1/32"]));
        assert_eq!(shown(&holes), ["10.0.0.0/32", "10.0.0.2/31"]);
        assert_eq!(shown(&set(&["255.255.255.255/32"])), ["255.255.255.255/32"]);
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128";
        assert_eq!(shown(&set(&[last])), [last]);
    }

    /// The laws of sets, on sets with holes and at both ends of the numbers.
    #[test]
    fn sets_obey_their_laws() {
        let sets = [
            set(&["0.0.0.0/0"]),
            AddressSet::none(Family::Ipv4),
            set(&["0.0.0.0/8", "255.255.255.254/31"]),
            set(&["10.0.0.0/8"]).difference(&set(&["10.1.0.0/16", "10.200.0.7/32"])),
            set(&["10.1.0.0/17", "192.168.0.0/16"]),
        ];
        let probes =
            ["0.0.0.0", "10.0.0.1", "10.1.0.1", "10.200.0.7", "192.168.3.4", "255.255.255.255"];
        let probes = probes.map(|probe| probe.parse::<IpAddr>().unwrap());
        for one in &sets {
            assert_eq!(one.complement().complement(), *one);
            for other in &sets {
                let (either, both) = (one.union(other), one.intersection(other));
                assert_eq!(one.difference(other).union(&both), *one);
                assert_eq!(either.complement(), one.complement().intersection(&other.complement()));
                for probe in probes {
                    let (in_one, in_other) = (one.contains(probe), other.contains(probe));
                    assert_eq!(either.contains(probe), in_one || in_other);
                    assert_eq!(both.contains(probe), in_one && in_other);
                    let covered = either.prefixes().iter().any(|prefix| prefix.contains(probe));
                    assert_eq!(covered, in_one || in_other);
                }
            }
        }
        assert!(!sets[0].contains("::1".parse().unwrap()));
        assert_eq!(AddressSet::all(Family::Ipv6).complement(), AddressSet::none(Family::Ipv6));
    }

    #[test]
    fn few_addresses_are_listed() {
        assert_eq!(set(&["10.0.0.0/30"]).each(4).map(|all| all.len()), Some(4));
        assert_eq!(set(&["10.0.0.0/30"]).each(3), None);
        assert_eq!(set(&["::/0"]).each(9), None);
    }
}
