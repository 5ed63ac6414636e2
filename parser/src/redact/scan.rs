//! Finds addresses in any text.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Pseudonyms;
use super::address::Addresses;
use crate::span::Span;

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Address(IpAddr),
    Hardware,
}

/// The runs of letters, digits, dots and colons of a text.
fn runs(text: &str) -> impl Iterator<Item = Span> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':');
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes.get(at..)?.iter().position(|byte| inside(*byte))?;
        let rest = bytes.get(start..)?;
        let length = rest.iter().position(|byte| !inside(*byte)).unwrap_or(rest.len());
        at = start + length;
        Some(Span::new(start, at))
    })
}

fn is_hardware(word: &str) -> bool {
    let mut bytes = 0;
    let all = word.split(':').all(|byte| {
        bytes += 1;
        byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    all && bytes == 6
}

/// Every address of a text with its place.
fn find(text: &str) -> Vec<(Span, Found)> {
    let mut found = Vec::new();
    for run in runs(text) {
        let word = run.slice(text);
        if !word.contains([':', '.']) {
            continue;
        }
        let (start, end) = (run.start as usize, run.end as usize);
        if is_hardware(word) {
            found.push((run, Found::Hardware));
        } else if let Ok(address) = word.parse() {
            found.push((run, Found::Address(IpAddr::V6(address))));
        } else if let Some((label, Ok(address))) =
            word.split_once(':').map(|(label, rest)| (label, rest.parse()))
        {
            // `to:fd00::2` of a listing.
            let place = Span::new(start + label.len() + 1, end);
            found.push((place, Found::Address(IpAddr::V6(address))));
        } else {
            // `to:172.17.0.2:80`, and an address at the end of a sentence.
            let mut at = start;
            for piece in word.split(':') {
                let bare = piece.trim_end_matches('.');
                if let Ok(address) = bare.parse() {
                    let place = Span::new(at, at + bare.len());
                    found.push((place, Found::Address(IpAddr::V4(address))));
                }
                at += piece.len() + 1;
            }
        }
    }
    found
}

/// Notes every prefix and range of a text.
pub(super) fn prefixes(text: &str, addresses: &mut Addresses) {
    let mut before: Option<(usize, IpAddr)> = None;
    for (place, found) in find(text) {
        let Found::Address(address) = found else { continue };
        let behind = text.get(place.end as usize..).unwrap_or_default();
        if let Some((end, from)) = before
            && text.get(end..place.start as usize) == Some("-")
        {
            addresses.freeze_between(from, address);
        }
        if let Some(mask) = behind.strip_prefix('/') {
            note_prefix(address, mask, addresses);
        }
        before = Some((place.end as usize, address));
    }
    for line in text.lines().filter(|line| renumbers(line)) {
        for (place, found) in find(line) {
            if let Found::Address(address) = found
                && let Some(mask) =
                    line.get(place.end as usize..).and_then(|rest| rest.strip_prefix('/'))
                && let Some(Ok(prefix)) = length(mask, address).map(|it| IpNet::new(address, it))
            {
                addresses.freeze(prefix.trunc());
            }
        }
    }
}

/// Whether a rule copies host bits from one network to another: both keep theirs.
fn renumbers(line: &str) -> bool {
    ["NETMAP", "SNPT", "DNPT"].iter().any(|target| line.contains(target))
}

fn note_prefix(address: IpAddr, mask: &str, addresses: &mut Addresses) {
    match length(mask, address) {
        Some(length) => {
            if let Ok(prefix) = IpNet::new(address, length) {
                addresses.note(prefix);
            }
        }
        None if mask_word(mask).parse::<IpAddr>().is_ok() => addresses.freeze_all(address),
        None => {}
    }
}

fn mask_word(mask: &str) -> &str {
    let inside = |char: char| char.is_ascii_hexdigit() || matches!(char, '.' | ':');
    mask.split(|char| !inside(char)).next().unwrap_or_default()
}

/// The length that stands behind a `/`, as a number or as a mask without holes.
fn length(mask: &str, address: IpAddr) -> Option<u8> {
    let digits = mask.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
    let word = mask_word(mask);
    if !word.contains(['.', ':']) {
        return digits
            .parse()
            .ok()
            .filter(|length| *length <= if address.is_ipv4() { 32 } else { 128 });
    }
    ipnet::ip_mask_to_prefix(word.parse().ok()?).ok()
}

/// The text with every address replaced.
pub(super) fn replace(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut written = String::with_capacity(text.len());
    let mut at = 0;
    for (place, found) in find(text) {
        written.push_str(text.get(at..place.start as usize).unwrap_or_default());
        match found {
            Found::Address(address) => {
                written.push_str(&pseudonyms.addresses.pseudonym(address).to_string());
            }
            Found::Hardware => written.push_str(&pseudonyms.hardware_address(place.slice(text))),
        }
        at = place.end as usize;
    }
    written.push_str(text.get(at..).unwrap_or_default());
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = find(text).into_iter().map(|(place, _)| place.slice(text)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        check("-s 10.0.0.0/8 --to 1.2.3.4:80-90", &["10.0.0.0", "1.2.3.4"]);
        check("to:172.17.0.2:80", &["172.17.0.2"]);
        check("to:fd00::2", &["fd00::2"]);
        check("[fd00::1]:80 *:80 [::]:*", &["fd00::1", "::"]);
        check("inet6 fe80::42:acff:fe11:2%eth0/64", &["fe80::42:acff:fe11:2"]);
        check(r#"{"address":"02:42:ac:11:00:02","t":"10:20:30"}"#, &["02:42:ac:11:00:02"]);
        check("v1.2.3 iptables 1.8.9 1.2.3.4.5 x10.0.0.1 at 10.0.0.1.", &["10.0.0.1"]);
        check("[12:3456] :INPUT ACCEPT [0:0]", &[]);
        check(
            "10.0.0.1-10.0.0.9,02:42:ac:11:00:02",
            &["10.0.0.1", "10.0.0.9", "02:42:ac:11:00:02"],
        );
    }
}
