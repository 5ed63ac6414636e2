//! Pseudonyms for addresses that keep prefixes.
//!
//! A bit is flipped or not depending on the bits before it, so two addresses share as many leading
//! bits after as before. Nothing is flipped above a block that means something (private, loopback,
//! multicast, …), inside of what must keep its order, and along the first and the last address of
//! any prefix that occurs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::key::Key;

/// Blocks whose members mean something: an address stays inside or outside of each.
const BLOCKS: [&str; 22] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    // What `internet` stands for.
    "1.1.1.1/32",
    "2606:4700:4700::1111/128",
    "fe80::/10",
    "fec0::/10",
    "fc00::/7",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "3ffe::/16",
    "64:ff9b::/96",
    // Documentation, which people paste on purpose.
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "198.18.0.0/15",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "2000::/3",
];

/// Blocks that stay as they are.
const FIXED: [&str; 5] = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/8", "ff00::/8"];

/// A prefix as bits: the address with its host bits cleared, left-aligned, and the length.
type Node = (u128, u8);

/// Addresses and their pseudonyms.
pub(super) struct Addresses {
    key: Key,
    /// Prefixes that occur, for each family.
    prefixes: [BTreeSet<Node>; 2],
    /// Prefixes whose inside is not touched.
    frozen: [BTreeSet<Node>; 2],
    /// Proper beginnings of blocks.
    above_blocks: [BTreeSet<Node>; 2],
    odd_masks: bool,
    known: BTreeMap<IpAddr, IpAddr>,
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The bits of an address, left-aligned.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => {
            let word = u32::try_from(bits >> 96).unwrap_or_default();
            IpAddr::V4(word.into())
        }
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

/// The first bits of a word.
fn beginning(bits: u128, length: u8) -> u128 {
    if length == 0 { 0 } else { bits & (u128::MAX << (128 - u32::from(length))) }
}

fn node(prefix: IpNet) -> Node {
    (beginning(bits(prefix.addr()), prefix.prefix_len()), prefix.prefix_len())
}

impl Addresses {
    pub(super) fn new(key: Key) -> Self {
        let mut addresses = Self {
            key,
            prefixes: Default::default(),
            frozen: Default::default(),
            above_blocks: Default::default(),
            odd_masks: false,
            known: BTreeMap::new(),
        };
        for block in BLOCKS.iter().chain(&FIXED).filter_map(|text| text.parse::<IpNet>().ok()) {
            let (bits, length) = node(block);
            if let Some(above) = addresses.above_blocks.get_mut(family(block.addr())) {
                above.extend((0..length).map(|shorter| (beginning(bits, shorter), shorter)));
            }
        }
        for fixed in FIXED.iter().filter_map(|text| text.parse().ok()) {
            addresses.freeze(fixed);
        }
        addresses
    }

    /// Notes a prefix: its first and last address are to stay what they are.
    pub(super) fn note(&mut self, prefix: IpNet) {
        if let Some(prefixes) = self.prefixes.get_mut(family(prefix.addr())) {
            prefixes.insert(node(prefix));
        }
    }

    /// Keeps everything inside of a prefix as it is, relative to the prefix.
    pub(super) fn freeze(&mut self, prefix: IpNet) {
        if let Some(frozen) = self.frozen.get_mut(family(prefix.addr())) {
            frozen.insert(node(prefix));
        }
    }

    /// Keeps the order of the addresses between two.
    pub(super) fn freeze_between(&mut self, from: IpAddr, to: IpAddr) {
        if family(from) != family(to) {
            return;
        }
        let most = if from.is_ipv4() { 32 } else { 128 };
        let common = (bits(from) ^ bits(to)).leading_zeros().min(most);
        let length = u8::try_from(common).unwrap_or(128);
        if let Ok(prefix) = IpNet::new(from, length) {
            self.freeze(prefix.trunc());
        }
    }

    /// Keeps all addresses of a family: a mask with holes asks for single bits.
    pub(super) fn freeze_all(&mut self, like: IpAddr) {
        self.odd_masks = true;
        if let Ok(all) = IpNet::new(like, 0) {
            self.freeze(all.trunc());
        }
    }

    /// The pseudonym of an address.
    pub(super) fn pseudonym(&mut self, original: IpAddr) -> IpAddr {
        if let Some(known) = self.known.get(&original) {
            return *known;
        }
        let pseudonym = match original {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => match self.pseudonym(v4.into()) {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
                    other @ IpAddr::V6(_) => other,
                },
                None => self.flipped(original),
            },
            IpAddr::V4(_) => self.flipped(original),
        };
        self.known.insert(original, pseudonym);
        pseudonym
    }

    fn flipped(&self, original: IpAddr) -> IpAddr {
        let before = bits(original);
        let length: u8 = if original.is_ipv4() { 32 } else { 128 };
        let mut after = before;
        for at in 0..length {
            if self.flips(family(original), beginning(before, at), at) {
                after ^= 1 << (127 - at);
            }
        }
        address(after, original)
    }

    fn flips(&self, family: usize, prefix: u128, length: u8) -> bool {
        let node = (prefix, length);
        let holds = |sets: &[BTreeSet<Node>; 2], node: &Node| {
            sets.get(family).is_some_and(|set| set.contains(node))
        };
        if holds(&self.above_blocks, &node) {
            return false;
        }
        for shorter in 0..=length {
            let ancestor = (beginning(prefix, shorter), shorter);
            if holds(&self.frozen, &ancestor) {
                return false;
            }
            let rest = (prefix ^ ancestor.0) >> (128 - u32::from(length)).min(127);
            let ones = (1u128 << u32::from(length - shorter).min(127)) - 1;
            let at_an_end = length == 0 || rest == 0 || rest == ones;
            if at_an_end && holds(&self.prefixes, &ancestor) {
                return false;
            }
        }
        let mut subject = [0; 18];
        subject[..16].copy_from_slice(&prefix.to_be_bytes());
        subject[16] = length;
        subject[17] = u8::try_from(family).unwrap_or_default();
        self.key.draw(b'a', &subject).first().is_some_and(|byte| byte & 1 == 1)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let odd = "a mask with holes asks for single bits of addresses: the addresses of its \
                   family are kept";
        if self.odd_masks { vec![odd.to_owned()] } else { Vec::new() }
    }

    pub(super) fn table(&self) -> impl Iterator<Item = (String, String)> {
        self.known.iter().map(|(original, pseudonym)| (original.to_string(), pseudonym.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(prefixes: &[&str]) -> Addresses {
        let mut addresses = Addresses::new(Key::of(["test"].into_iter()));
        for prefix in prefixes {
            addresses.note(prefix.parse().unwrap());
        }
        addresses
    }

    fn common(one: IpAddr, other: IpAddr) -> u32 {
        (bits(one) ^ bits(other)).leading_zeros()
    }

    #[test]
    fn addresses_share_as_many_bits_after_as_before() {
        let mut addresses = addresses(&["173.208.194.200/29", "10.3.0.0/16", "2a01:4f8:1:2::/64"]);
        let all: Vec<IpAddr> = [
            "173.208.194.202",
            "173.208.194.205",
            "173.208.1.1",
            "8.8.8.8",
            "10.3.0.7",
            "10.3.9.1",
            "10.200.1.1",
            "172.17.0.2",
            "172.18.0.2",
            "192.168.1.1",
            "2a01:4f8:1:2::5",
            "2a01:4f8:1:3::5",
            "fd00::1",
            "fe80::42:acff:fe11:2",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        for one in &all {
            for other in all.iter().filter(|other| other.is_ipv4() == one.is_ipv4()) {
                let (a, b) = (addresses.pseudonym(*one), addresses.pseudonym(*other));
                assert_eq!(common(*one, *other), common(a, b), "{one} {other} {a} {b}");
            }
        }
        assert!(all.iter().any(|one| addresses.pseudonym(*one) != *one));
    }

    #[test]
    fn blocks_stay_blocks_and_ends_stay_ends() {
        let mut addresses = addresses(&["172.18.0.0/16", "85.10.3.128/26"]);
        for (original, inside) in
            [("172.18.0.0", "172.16.0.0/12"), ("172.18.255.255", "172.16.0.0/12")]
        {
            let pseudonym = addresses.pseudonym(original.parse().unwrap());
            assert!(inside.parse::<IpNet>().unwrap().contains(&pseudonym), "{pseudonym}");
        }
        let network: IpAddr = addresses.pseudonym("85.10.3.128".parse().unwrap());
        let last: IpAddr = addresses.pseudonym("85.10.3.191".parse().unwrap());
        let first: IpAddr = addresses.pseudonym("85.10.3.129".parse().unwrap());
        let prefix = IpNet::new(network, 26).unwrap();
        assert_eq!((prefix.network(), prefix.broadcast()), (network, last));
        assert!(prefix.contains(&first) && network.to_string() != "85.10.3.128");
        for fixed in
            ["127.0.0.53", "0.0.0.0", "255.255.255.255", "239.1.2.3", "1.1.1.1", "::1", "ff02::1"]
        {
            assert_eq!(addresses.pseudonym(fixed.parse().unwrap()).to_string(), fixed);
        }
    }

    #[test]
    fn a_range_keeps_its_order() {
        let mut addresses = addresses(&[]);
        addresses.freeze_between("85.1.2.10".parse().unwrap(), "85.1.2.20".parse().unwrap());
        let after: Vec<IpAddr> = (10..=20)
            .map(|last| addresses.pseudonym(format!("85.1.2.{last}").parse().unwrap()))
            .collect();
        assert!(after.is_sorted());
    }
}
