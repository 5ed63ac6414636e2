//! The protocols of `-p` by name and number (IANA's names, as Debian's netbase lists them).

/// `icmp`.
pub const ICMP: u8 = 1;
/// `tcp`.
pub const TCP: u8 = 6;
/// `udp`.
pub const UDP: u8 = 17;
/// `dccp`.
pub const DCCP: u8 = 33;
/// `esp`.
pub const ESP: u8 = 50;
/// `ah`.
pub const AH: u8 = 51;
/// `ipv6-icmp`.
pub const ICMPV6: u8 = 58;
/// `ipcomp`.
pub const IPCOMP: u8 = 108;
/// `sctp`.
pub const SCTP: u8 = 132;
/// `mobility-header`.
pub const MOBILITY: u8 = 135;
/// `udplite`.
pub const UDPLITE: u8 = 136;

/// The names as iptables-save prints them (kernel-facts H4), by number.
const NAMES: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
];

/// Other names that `-p` takes.
const ALIASES: &[(u8, &str)] = &[(ICMPV6, "icmpv6"), (MOBILITY, "mh"), (MOBILITY, "ipv6-mh")];

/// The number of a protocol by its name; `all` and its like are 0. Case does not count.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    match name {
        "tcp" => return Some(TCP),
        "udp" => return Some(UDP),
        "all" | "ip" | "hopopt" => return Some(0),
        _ => {}
    }
    let all = NAMES.iter().chain(ALIASES).chain(&[(0, "all"), (0, "ip"), (0, "hopopt")]);
    all.clone().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
}

/// The name that iptables-save prints for a protocol, if it has one.
#[must_use]
pub fn name(number: u8) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// All names that `-p` takes, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().chain(ALIASES).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (number_, name_) in NAMES {
            assert_eq!(number(name_), Some(*number_));
            assert_eq!(name(*number_), Some(*name_));
        }
        assert_eq!(number("TCP"), Some(TCP));
        assert_eq!(number("icmpv6"), Some(ICMPV6));
        assert_eq!(name(99), None);
        assert_eq!(number("nosuch"), None);
    }
}
