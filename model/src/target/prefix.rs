//! Translation of prefixes without state (RFC 6296, kernel-facts J7).

use std::net::Ipv6Addr;

/// What `SNPT` and `DNPT` make of an address: another prefix, and a word behind it changed so that
/// checksums stay right (`ip6t_npt_map_pfx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixTranslation {
    /// The prefix that comes in, and its length.
    pub from: (u128, u32),
    /// The prefix that goes out, and its length.
    pub to: (u128, u32),
}

impl PrefixTranslation {
    /// Whether an address has the prefix that comes in, as far as bits are replaced: no other keeps
    /// its checksum.
    #[must_use]
    pub fn is_from(&self, address: Ipv6Addr) -> bool {
        let same = (address.to_bits() ^ self.from.0).leading_zeros();
        same >= self.from.1.max(self.to.1)
    }

    /// The address afterwards; `None` where no word is left that could be changed, and the kernel
    /// drops the packet. The kernel does not ask whether the address has the prefix that comes in.
    #[must_use]
    pub fn apply(&self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        let length = self.from.1.max(self.to.1);
        let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
        let exchanged = address.to_bits() & !mask | self.to.0 & mask;
        let mut words = Ipv6Addr::from_bits(exchanged).segments();
        let word = if length <= 48 {
            words.get_mut(3)?
        } else {
            words.get_mut(4..)?.iter_mut().find(|word| **word != 0xffff)?
        };
        let changed = add(*word, self.adjustment());
        *word = if changed == 0xffff { 0 } else { changed };
        Some(Ipv6Addr::from(words))
    }

    /// What the word behind the prefix makes up for: the sum of the one less that of the other.
    fn adjustment(&self) -> u16 {
        let sum = |prefix: u128| Ipv6Addr::from_bits(prefix).segments().into_iter().fold(0, add);
        add(sum(self.from.0), !sum(self.to.0))
    }
}

/// The sum of two words of a checksum.
fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum.wrapping_add(u16::from(carry))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 made of source addresses: the address, both prefixes, the address that left.
    const MEASURED: &str = "
        fd00:1::2 fd00:1::/64 2001:db8:99::/64 2001:db8:99:0:ceaf::2
        fd00:1::2 fd00:1::/48 2001:db8:99::/48 2001:db8:99:ceaf::2
        fd00:1::2 fd00:1::/32 2001:db8::/48 2001:db8:0:cf48::2
        fd00:1::2 fd00:1::/56 2001:db8:99:aa00::/56 2001:db8:99:aa00:24af::2
        fd00:1::2 fd00:1::/60 2001:db8:99::/52 2001:db8:99:0:ceaf::2
        fd00:1::2 ::/0 2001:db8::/32 2001:db8:0:d246::2
        fd00:1::2 fd00::/8 fd00::/8 fd00:1::2
        fd00:1::ffff:2:3:4 fd00::/8 fd00::/8 fd00:1::ffff:2:3:4
        fd00:1:0:5:ffff:ffff:ffff:9 fd00:1::/64 2001:db8:99::/64 2001:db8:99:0:ffff:ffff:ffff:ceb8
        fd00:1:0:5:ffff:ffff:ffff:9 fd00:1::/48 2001:db8:99::/48 2001:db8:99:ceb4:ffff:ffff:ffff:9
        fd00:1:0:5:ffff:ffff:ffff:9 fd00:1::/32 2001:db8::/48 2001:db8:0:cf4d:ffff:ffff:ffff:9
        fd00:1:0:5:ffff:ffff:ffff:9 fd00:1::/56 2001:db8:99:aa00::/56 2001:db8:99:aa05:ffff:ffff:ffff:24b8
        fd00:1:0:5:ffff:ffff:ffff:9 fd00:1::/60 2001:db8:99::/52 2001:db8:99:5:ffff:ffff:ffff:ceb8
        fd00:1:0:5:ffff:ffff:ffff:9 ::/0 2001:db8::/32 2001:db8:0:d24b:ffff:ffff:ffff:9
        fd00:1:0:5:ffff:ffff:ffff:9 fd00::/8 fd00::/8 fd00:1:0:5:ffff:ffff:ffff:9
        fd00:1::ffff:ffff:ffff:ffff fd00:1::/64 2001:db8:99::/64 -
        fd00:1::ffff:ffff:ffff:ffff fd00:1::/56 2001:db8:99:aa00::/56 -
        fd00:1::ffff:ffff:ffff:ffff fd00:1::/60 2001:db8:99::/52 -
        fd00:1::ffff:ffff:ffff:ffff fd00::/8 fd00::/8 fd00:1::ffff:ffff:ffff:ffff
        fd00:9::2 fd00:1::/64 2001:db8:99::/64 2001:db8:99:0:ceaf::2
        fd00:1:2:3:4:5:6:7 fd00:1::/64 2001:db8:99::/64 2001:db8:99:0:ceb3:5:6:7
        fd00:1:2:3:4:5:6:7 fd00:1::/48 2001:db8:99::/48 2001:db8:99:ceb2:4:5:6:7
        fd00:1:2:3:4:5:6:7 fd00:1::/32 2001:db8::/48 2001:db8:0:cf4b:4:5:6:7
        fd00:1:2:3:4:5:6:7 fd00:1::/56 2001:db8:99:aa00::/56 2001:db8:99:aa03:24b3:5:6:7
        fd00:1:2:3:4:5:6:7 fd00:1::/60 2001:db8:99::/52 2001:db8:99:3:ceb3:5:6:7
        fd00:1:2:3:4:5:6:7 ::/0 2001:db8::/32 2001:db8:2:d249:4:5:6:7
        fd00:1:2:3:4:5:6:7 fd00::/8 fd00::/8 fd00:1:2:3:4:5:6:7
        fd00:1:0:ffff:1:2:3:4 fd00::/8 fd00::/8 fd00:1::1:2:3:4
    ";

    fn prefix(text: &str) -> (u128, u32) {
        let (network, length) = text.split_once('/').unwrap();
        (network.parse::<Ipv6Addr>().unwrap().to_bits(), length.parse().unwrap())
    }

    #[test]
    fn addresses_are_exchanged_as_the_kernel_does() {
        let rows: Vec<&str> = MEASURED.trim().lines().map(str::trim).collect();
        assert!(rows.len() > 20);
        for row in rows {
            let [address, from, to, left] = row.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{row}");
            };
            let translation = PrefixTranslation { from: prefix(from), to: prefix(to) };
            let made = translation.apply(address.parse().unwrap());
            assert_eq!(made.map_or("-".to_owned(), |made| made.to_string()), left, "{row}");
        }
    }

    // Without state, the way back is the same with the prefixes turned around.
    #[test]
    fn the_way_back_is_the_way_there() {
        let (inside, outside) = (prefix("fd00:1::/64"), prefix("2001:db8:99::/64"));
        let there = PrefixTranslation { from: inside, to: outside };
        let back = PrefixTranslation { from: outside, to: inside };
        for number in 0..20_000_u64 {
            let identifier = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let address = Ipv6Addr::from_bits(inside.0 | u128::from(identifier));
            assert_eq!(there.apply(address).and_then(|left| back.apply(left)), Some(address));
        }
    }
}
