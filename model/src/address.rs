//! Addresses under masks, and what kind of network an address belongs to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nattrace_parser::syntax::{AddressMask, Family};

/// An address under a mask, host bits cleared. The mask need not be contiguous (kernel-facts G10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// IPv4: network and mask in host byte order.
    V4(u32, u32),
    /// IPv6: network and mask in host byte order; boxed, because rules hold many prefixes.
    V6(Box<(u128, u128)>),
}

impl Prefix {
    /// A prefix of this length; a length beyond the family's width counts as the full width.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
                Self::V4(address.to_bits() & mask, mask)
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
                Self::V6(Box::new((address.to_bits() & mask, mask)))
            }
        }
    }

    /// Whether the address is covered. An address of the other family never is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(network, mask), IpAddr::V4(address)) => address.to_bits() & mask == *network,
            (Self::V6(prefix), IpAddr::V6(address)) => address.to_bits() & prefix.1 == prefix.0,
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::V4(..) => Family::Ipv4,
            Self::V6(_) => Family::Ipv6,
        }
    }

    /// The lowest address.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match self {
            Self::V4(network, _) => IpAddr::V4(Ipv4Addr::from_bits(*network)),
            Self::V6(prefix) => IpAddr::V6(Ipv6Addr::from_bits(prefix.0)),
        }
    }

    /// The number of mask bits; the prefix length where the mask is contiguous.
    #[must_use]
    pub fn length(&self) -> u32 {
        match self {
            Self::V4(_, mask) => mask.count_ones(),
            Self::V6(prefix) => prefix.1.count_ones(),
        }
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.length() == if self.family() == Family::Ipv4 { 32 } else { 128 }
    }
}

impl From<AddressMask> for Prefix {
    fn from(given: AddressMask) -> Self {
        match given {
            AddressMask::V4(address, mask) => Self::V4(address & mask, mask),
            AddressMask::V6(address, mask) => Self::V6(Box::new((address & mask, mask))),
        }
    }
}

impl From<ipnet::IpNet> for Prefix {
    fn from(net: ipnet::IpNet) -> Self {
        Self::new(net.addr(), net.prefix_len())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contiguous = match self {
            Self::V4(_, mask) => mask.leading_ones() == mask.count_ones(),
            Self::V6(prefix) => prefix.1.leading_ones() == prefix.1.count_ones(),
        };
        match self {
            Self::V4(_, mask) if !contiguous => {
                write!(f, "{}/{}", self.network(), Ipv4Addr::from_bits(*mask))
            }
            Self::V6(prefix) if !contiguous => {
                write!(f, "{}/{}", self.network(), Ipv6Addr::from_bits(prefix.1))
            }
            Self::V4(..) | Self::V6(_) => write!(f, "{}/{}", self.network(), self.length()),
        }
    }
}

/// Whether an address can be a single host's out there: none of loopback, groups and broadcast, and
/// not the unspecified one.
#[must_use]
pub fn is_host_address(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || broadcast)
}

/// Whether an address can be reached over the internet: not private (RFC 1918, RFC 4193), shared
/// (RFC 6598), link-local, loopback, multicast, broadcast or unspecified. The documentation
/// prefixes count as internet.
#[must_use]
pub fn is_internet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = Prefix::V4(0x6440_0000, 0xffc0_0000);
            !(address.is_private()
                || shared.contains(address.into())
                || address.is_link_local()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_unspecified())
        }
        IpAddr::V6(address) => {
            !(address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_covers_its_addresses_only() {
        let prefix = Prefix::new(address("10.0.1.7"), 24);
        assert!(prefix.contains(address("10.0.1.255")));
        assert!(!prefix.contains(address("10.0.2.0")));
        assert!(!prefix.contains(address("::1")));
        assert!(Prefix::new(address("0.0.0.0"), 0).contains(address("9.9.9.9")));
        assert!(Prefix::new(address("fd00::"), 8).contains(address("fdff::1")));
    }

    // kernel-facts G10: a mask with holes is a mask like any other.
    #[test]
    fn a_mask_may_have_holes() {
        let prefix = Prefix::from(AddressMask::V4(0x0a00_0102, 0x0000_00ff));
        assert!(prefix.contains(address("192.168.77.2")));
        assert!(!prefix.contains(address("192.168.77.3")));
        assert_eq!(prefix.to_string(), "0.0.0.2/0.0.0.255");
    }

    #[test]
    fn documentation_prefixes_count_as_internet() {
        for internet in ["203.0.113.7", "1.1.1.1", "2001:db8::1", "2606:4700:4700::1111"] {
            assert!(is_internet(address(internet)), "{internet}");
        }
        for local in ["10.1.2.3", "100.64.0.1", "169.254.1.1", "127.0.0.1", "224.0.0.1", "fd00::1"]
        {
            assert!(!is_internet(address(local)), "{local}");
        }
    }
}
