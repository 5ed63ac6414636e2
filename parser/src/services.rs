//! The services of `--dport` by name (IANA's names, as Debian's netbase lists them).

use crate::protocols::{DCCP, SCTP, TCP, UDP};

/// A line each: name, port, and the protocols that it is known for.
const TABLE: &str = include_str!("services.txt");

fn lines() -> impl Iterator<Item = (&'static str, u16, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?.parse().ok()?, fields.next()?))
    })
}

/// The port of a service that is known for this protocol; of any protocol where none is given.
#[must_use]
pub fn port(name: &str, protocol: Option<u8>) -> Option<u16> {
    if !name.as_bytes().first()?.is_ascii_alphanumeric() {
        return None;
    }
    let protocol = match protocol {
        None => None,
        Some(TCP) => Some("tcp"),
        Some(UDP) => Some("udp"),
        Some(SCTP) => Some("sctp"),
        Some(DCCP) => Some("dccp"),
        Some(_) => return None,
    };
    lines()
        .find(|(known, _, protocols)| {
            *known == name
                && protocol.is_none_or(|protocol| protocols.split(',').any(|one| one == protocol))
        })
        .map(|(_, port, _)| port)
}

/// The service whose name is nearest to a mistyped one.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    crate::diagnostic::nearest(name, lines().map(|(known, ..)| known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_for_its_protocols_only() {
        assert_eq!(port("http", Some(TCP)), Some(80));
        assert_eq!(port("http", Some(UDP)), None);
        assert_eq!(port("domain", Some(UDP)), Some(53));
        assert_eq!(port("https", None), Some(443));
        assert_eq!(port("nosuch", None), None);
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        assert_eq!(lines().count(), TABLE.lines().count());
    }
}
