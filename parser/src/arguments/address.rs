//! Addresses, masks and ranges.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fault, number};
use crate::syntax::{AddressMask, Family, Value};

/// `ADDRESS[/MASK]` with its host bits as written.
pub(crate) fn address(text: &str, family: Option<Family>) -> Result<AddressMask, Fault> {
    if family != Some(Family::Ipv6)
        && let Some(address) = plain_v4(text.as_bytes())
    {
        return Ok(address);
    }
    let (host, mask) = match text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (text, None),
    };
    if let Some(any) = mask.and_then(|mask| no_mask(mask, family)) {
        return Ok(any);
    }
    match of_family(resolve(host, family, mask.is_some())?, family, text)? {
        IpAddr::V4(address) => {
            let mask = mask.map_or(Ok(u32::MAX), mask_v4)?;
            Ok(AddressMask::V4(address.to_bits(), mask))
        }
        IpAddr::V6(address) => {
            let mask = mask.map_or(Ok(u128::MAX), mask_v6)?;
            Ok(AddressMask::V6(address.to_bits(), mask))
        }
    }
}

/// Any address, where the mask is none: then the address does not count, as in `any/0`
/// (`xtables_ipparse_any`).
fn no_mask(mask: &str, family: Option<Family>) -> Option<AddressMask> {
    match family? {
        Family::Ipv4 => (mask_v4(mask).ok()? == 0).then_some(AddressMask::V4(0, 0)),
        Family::Ipv6 => (mask_v6(mask).ok()? == 0).then_some(AddressMask::V6(0, 0)),
    }
}

/// A network: an address with its host bits cleared (kernel-facts H3).
pub(crate) fn network(text: &str, family: Option<Family>) -> Result<AddressMask, Fault> {
    Ok(match address(text, family)? {
        AddressMask::V4(address, mask) => AddressMask::V4(address & mask, mask),
        AddressMask::V6(address, mask) => AddressMask::V6(address & mask, mask),
    })
}

/// `ADDRESS[/MASK]` as getaddrinfo(3) reads it: the last part of an IPv4 address fills what is left,
/// and a mask that stands for no prefix for the whole address.
pub(crate) fn guided(text: &str, family: Option<Family>) -> Result<AddressMask, Fault> {
    let (host, mask) = match text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (text, None),
    };
    let plain = !host.contains(|char: char| char.is_whitespace() || char == '+');
    let filled = filled_v4(host).filter(|_| plain && family != Some(Family::Ipv6));
    if !plain {
        return Err(Fault::expected("invalid-address", "an address", text));
    }
    let host = filled.map_or_else(|| host.to_owned(), |bits| Ipv4Addr::from_bits(bits).to_string());
    let whole = address(&host, family)?;
    let Some(mask) = mask else { return Ok(whole) };
    let length = number::parse(mask).and_then(|length| u32::try_from(length).ok());
    Ok(match whole {
        AddressMask::V4(host, full) => {
            let mask = match length.and_then(length_mask_v4).or_else(|| loose_v4(mask)) {
                Some(mask) => mask,
                None => mask_v4(mask)?,
            };
            let is_prefix = mask.leading_ones() == mask.count_ones();
            AddressMask::V4(host, if is_prefix { mask } else { full })
        }
        AddressMask::V6(host, full) => {
            let mask = mask_v6(mask)?;
            let is_prefix = mask.leading_ones() == mask.count_ones();
            AddressMask::V6(host, if is_prefix { mask } else { full })
        }
    })
}

/// The same with its host bits cleared.
pub(crate) fn guided_network(text: &str, family: Option<Family>) -> Result<AddressMask, Fault> {
    Ok(match guided(text, family)? {
        AddressMask::V4(address, mask) => AddressMask::V4(address & mask, mask),
        AddressMask::V6(address, mask) => AddressMask::V6(address & mask, mask),
    })
}

/// One address without a mask.
pub(crate) fn host(text: &str, family: Option<Family>) -> Result<Value<'static>, Fault> {
    if text.contains('/') {
        return Err(Fault::expected("invalid-address", "one address without a mask", text));
    }
    guided(text, family).map(Value::Address)
}

/// `ADDRESS[-ADDRESS]`. A reversed range is accepted and never matches (kernel-facts G10).
pub(crate) fn range(text: &str, family: Option<Family>) -> Result<Value<'static>, Fault> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let one = |part: &str| {
        // The last part does not fill what is left here.
        if family != Some(Family::Ipv6)
            && part.parse::<Ipv6Addr>().is_err()
            && part.split('.').any(|byte| number::parse(byte).is_none_or(|byte| byte > 255))
        {
            return Err(Fault::expected("invalid-address", "an address", part));
        }
        of_family(resolve(part, family, true)?, family, part)
    };
    Ok(Value::AddressRange(one(first)?, one(last)?))
}

/// An address, if it is of the family of the rules.
pub(crate) fn of_family(
    address: IpAddr,
    family: Option<Family>,
    text: &str,
) -> Result<IpAddr, Fault> {
    if family.is_none_or(|family| family == Family::of(address)) {
        return Ok(address);
    }
    let (found, rules) = match address {
        IpAddr::V4(_) => ("an IPv4", "IPv6 rules of ip6tables"),
        IpAddr::V6(_) => ("an IPv6", "IPv4 rules of iptables"),
    };
    let message =
        format!("`{}` is {found} address, but these are the {rules}", crate::words::clip(text));
    Err(Fault::new("wrong-family", message))
}

/// `a.b.c.d` or `a.b.c.d/n`, all decimal: nearly every address there is.
fn plain_v4(text: &[u8]) -> Option<AddressMask> {
    let mut address = 0_u32;
    let mut rest = text;
    for last in [false, false, false, true] {
        let (octet, after) = octet(rest)?;
        address = address << 8 | octet;
        rest = match (last, after) {
            (false, [b'.', after @ ..]) => after,
            (true, after) => after,
            (false, _) => return None,
        };
    }
    let length = match rest {
        [] => 32,
        [b'/', one @ b'0'..=b'9'] => one - b'0',
        [b'/', ten @ b'1'..=b'3', one @ b'0'..=b'9'] => (ten - b'0') * 10 + (one - b'0'),
        _ => return None,
    };
    let mask = length_mask_v4(u32::from(length))?;
    Some(AddressMask::V4(address, mask))
}

/// A decimal octet without leading zeros, which would make it octal.
fn octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if digits == 0 || digits > 1 && number.first() == Some(&b'0') {
        return None;
    }
    let value = number.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (value < 256).then_some((value, rest))
}

fn length_mask_v4(length: u32) -> Option<u32> {
    match length {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - length)),
        _ => None,
    }
}

fn length_mask_v6(length: u64) -> Option<u128> {
    match length {
        0 => Some(0),
        1..=128 => Some(u128::MAX << (128 - length)),
        _ => None,
    }
}

fn invalid_mask(text: &str, expected: &str) -> Fault {
    Fault::expected("invalid-mask", expected, text)
}

fn mask_v4(text: &str) -> Result<u32, Fault> {
    let mask = match number::parse(text) {
        Some(length) => u32::try_from(length).ok().and_then(length_mask_v4),
        None => text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits),
    };
    mask.ok_or_else(|| invalid_mask(text, "a prefix length from 0 to 32 or a dotted mask"))
}

fn mask_v6(text: &str) -> Result<u128, Fault> {
    let mask = match number::parse(text) {
        Some(length) => length_mask_v6(length),
        None => text.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits),
    };
    mask.ok_or_else(|| invalid_mask(text, "a prefix length from 0 to 128 or a mask"))
}

/// The address that a name or an unusual spelling stands for.
fn resolve(text: &str, family: Option<Family>, masked: bool) -> Result<IpAddr, Fault> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(IpAddr::V6(address));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(IpAddr::V4(address));
    }
    if family != Some(Family::Ipv6)
        && let Some(address) = loose_v4(text)
    {
        return Ok(IpAddr::V4(Ipv4Addr::from_bits(address)));
    }
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(match family {
            Some(Family::Ipv6) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        });
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let last = text.rsplit('.').next().unwrap_or_default();
    if !masked && text.bytes().all(name) && last.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        let message = format!("the name `{}` is not looked up", crate::words::clip(text));
        return Err(Fault::new("host-name", message).help("write its address").unsure());
    }
    Err(Fault::expected("invalid-address", "an address", text))
}

/// What iptables reads as an address: octal and hexadecimal parts, of which missing ones are zero
/// (kernel-facts G10); failing that, what inet_aton(3) reads.
fn loose_v4(text: &str) -> Option<u32> {
    let parts = text.split('.').count();
    if parts > 4 {
        return None;
    }
    let mut numbers = [0; 4];
    for (number, part) in numbers.iter_mut().zip(text.split('.')) {
        *number = number::parse(part).and_then(|number| u32::try_from(number).ok())?;
    }
    if numbers.iter().all(|&number| number < 256) {
        return Some(numbers.iter().fold(0, |address, number| address << 8 | number));
    }
    filled_v4(text)
}

/// What inet_aton(3) reads: the last part fills all the bytes that are left.
fn filled_v4(text: &str) -> Option<u32> {
    let parts = text.split('.').count();
    let mut numbers = [0; 4];
    for (number, part) in numbers.iter_mut().zip(text.split('.')) {
        *number = number::parse(part).and_then(|number| u32::try_from(number).ok())?;
    }
    let (last, leading) = numbers.get(..parts)?.split_last()?;
    let left = 8 * (5 - u32::try_from(parts).ok()?);
    let fits = u64::from(*last) < 1 << left && leading.iter().all(|&number| number < 256);
    let front = leading.iter().fold(0_u64, |address, &number| address << 8 | u64::from(number));
    fits.then_some(front << left | u64::from(*last)).and_then(|address| u32::try_from(address).ok())
}

/// Prints an address as inet_ntop(3) of glibc does.
pub(crate) fn print_ip(address: IpAddr, out: &mut String) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push('.');
                }
                print_octet(octet, out);
            }
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            // glibc also writes the obsolete IPv4-compatible addresses with dots.
            let _ = match u32::try_from(bits) {
                Ok(low) if low > 0xffff => write!(out, "::{}", Ipv4Addr::from_bits(low)),
                _ => write!(out, "{address}"),
            };
        }
    }
}

/// Prints a number without the machinery of `fmt`: most of what a dump prints are addresses.
fn print_octet(octet: u8, out: &mut String) {
    if octet >= 100 {
        out.push(char::from(b'0' + octet / 100));
    }
    if octet >= 10 {
        out.push(char::from(b'0' + octet / 10 % 10));
    }
    out.push(char::from(b'0' + octet % 10));
}

/// The length of a contiguous mask.
fn prefix_length(mask: AddressMask) -> Option<u32> {
    match mask {
        AddressMask::V4(_, mask) => {
            (mask.leading_ones() == mask.count_ones()).then_some(mask.count_ones())
        }
        AddressMask::V6(_, mask) => {
            (mask.leading_ones() == mask.count_ones()).then_some(mask.count_ones())
        }
    }
}

fn parts(address: AddressMask) -> (IpAddr, IpAddr) {
    match address {
        AddressMask::V4(address, mask) => {
            (Ipv4Addr::from_bits(address).into(), Ipv4Addr::from_bits(mask).into())
        }
        AddressMask::V6(address, mask) => {
            (Ipv6Addr::from_bits(address).into(), Ipv6Addr::from_bits(mask).into())
        }
    }
}

/// Prints a network with its mask (kernel-facts H3).
pub(crate) fn print_network(network: AddressMask, out: &mut String) {
    let (address, mask) = parts(network);
    print_ip(address, out);
    out.push('/');
    match prefix_length(network) {
        Some(length) => number::print(u64::from(length), out),
        None => print_ip(mask, out),
    }
}

/// Prints an address, with its mask unless that is full.
pub(crate) fn print_address(address: AddressMask, out: &mut String) {
    match address {
        AddressMask::V4(_, u32::MAX) | AddressMask::V6(_, u128::MAX) => {
            print_ip(parts(address).0, out);
        }
        _ => print_network(address, out),
    }
}

/// Prints both ends of a range, equal or not.
pub(crate) fn print_range(first: IpAddr, last: IpAddr, out: &mut String) {
    print_ip(first, out);
    out.push('-');
    print_ip(last, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut out = String::new();
        print_network(network(text, None).expect(text), &mut out);
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn addresses_are_read_as_by_iptables() {
        check("192.168.12.1/24", "192.168.12.0/24");
        check("10", "10.0.0.0/32");
        check("10/8", "10.0.0.0/8");
        check("10.1/16", "10.1.0.0/16");
        check("0x0a000001", "10.0.0.1/32");
        check("010.0.0.1", "8.0.0.1/32");
        check("0/0", "0.0.0.0/0");
        check("10.0.0.0/255.0.255.0", "10.0.0.0/255.0.255.0");
        check("300", "0.0.1.44/32");
        check("10.1.300", "10.1.1.44/32");
        check("1.2.3.4/010", "1.0.0.0/8");
        check("localhost", "127.0.0.1/32");
        check("2001:DB8::1/64", "2001:db8::/64");
        check("::ffff:1.2.3.4", "::ffff:1.2.3.4/128");
        check("::1.2.3.4", "::1.2.3.4/128");
        check("::1", "::1/128");
        check("fe80::/ffff:0:ffff::", "fe80::/ffff:0:ffff::");
    }

    #[test]
    fn bad_addresses_are_refused() {
        for bad in [
            "10.0.0.256",
            "10.0.0.1/33",
            "10.0.0.1/x",
            "1.2.3.4.5",
            "1.2.3.4/08",
            "",
            "::1/129",
            "10/",
        ] {
            let fault = network(bad, None).expect_err(bad);
            assert_eq!(fault.severity, crate::Severity::Error, "{bad}");
        }
        let fault = network("example.com", None).expect_err("a name");
        assert_eq!(fault.severity, crate::Severity::Warning);
        assert_eq!(network("::1", Some(Family::Ipv4)).expect_err("v6").code, "wrong-family");
        assert_eq!(network("1.2.3.4", Some(Family::Ipv6)).expect_err("v4").code, "wrong-family");
    }
}
