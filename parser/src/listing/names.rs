//! What names stand for in a listing without `-n`.
//!
//! A listing names a service or an address as the host that printed it does. What is the same on
//! every host is known here; anything else stays a name, and the rule is kept as not understood.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::services;
use crate::syntax::Family;

/// Services as other distributions name them (IANA's registry); Debian's are in [`services`].
const SERVICES: &[(&str, u16)] = &[
    ("arcp", 7070),
    ("blackjack", 1025),
    ("commplex-link", 5001),
    ("commplex-main", 5000),
    ("cslistener", 9000),
    ("ddi-tcp-1", 8888),
    ("distinct", 9999),
    ("docker", 2375),
    ("docker-s", 2376),
    ("etcd-client", 2379),
    ("etcd-server", 2380),
    ("fmtp", 8500),
    ("hbci", 3000),
    ("hp-pdl-datastr", 9100),
    ("irdmi", 8000),
    ("llmnr", 5355),
    ("mongodb", 27017),
    ("mountd", 20048),
    ("mqtt", 1883),
    ("ndl-aas", 3128),
    ("pcsync-https", 8443),
    ("pdl-datastream", 9100),
    ("personal-agent", 5555),
    ("pptp", 1723),
    ("radan-http", 8088),
    ("remoteware-cl", 3000),
    ("rfb", 5900),
    ("secure-mqtt", 8883),
    ("simplifymedia", 8087),
    ("squid", 3128),
    ("ssdp", 1900),
    ("stun", 3478),
    ("sun-sr-https", 6443),
    ("sunproxyadmin", 8081),
    ("swarm", 2377),
    ("traceroute", 33434),
    ("trivnet1", 8200),
    ("tungsten-https", 9443),
    ("us-cli", 8082),
    ("us-srv", 8083),
    ("vnc-server", 5900),
    ("vxlan", 4789),
    ("wap-wsp", 9200),
    ("websm", 9090),
    ("ws-discovery", 3702),
    ("wsman", 5985),
    ("wsmans", 5986),
];

/// Hosts and networks of IPv4: hosts(5), networks(5) of Debian, and IANA's multicast names.
const HOSTS_V4: &[(&str, Ipv4Addr)] = &[
    ("localhost", Ipv4Addr::LOCALHOST),
    ("localhost.localdomain", Ipv4Addr::LOCALHOST),
    ("loopback", Ipv4Addr::new(127, 0, 0, 0)),
    ("default", Ipv4Addr::UNSPECIFIED),
    ("link-local", Ipv4Addr::new(169, 254, 0, 0)),
    ("broadcasthost", Ipv4Addr::BROADCAST),
    ("base-address.mcast.net", Ipv4Addr::new(224, 0, 0, 0)),
    ("all-systems.mcast.net", Ipv4Addr::new(224, 0, 0, 1)),
    ("all-routers.mcast.net", Ipv4Addr::new(224, 0, 0, 2)),
    ("igmp.mcast.net", Ipv4Addr::new(224, 0, 0, 22)),
    ("mdns.mcast.net", Ipv4Addr::new(224, 0, 0, 251)),
];

/// Hosts of IPv6: hosts(5) of Debian.
const HOSTS_V6: &[(&str, Ipv6Addr)] = &[
    ("localhost", Ipv6Addr::LOCALHOST),
    ("localhost6", Ipv6Addr::LOCALHOST),
    ("ip6-localhost", Ipv6Addr::LOCALHOST),
    ("ip6-loopback", Ipv6Addr::LOCALHOST),
    ("ip6-localnet", Ipv6Addr::new(0xfe00, 0, 0, 0, 0, 0, 0, 0)),
    ("ip6-mcastprefix", Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
    ("ip6-allnodes", Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
    ("ip6-allrouters", Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2)),
    ("ip6-allhosts", Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 3)),
];

/// What the address column of a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Any address.
    Any,
    /// An address as written.
    Address(&'a str),
    /// An address that was written as a name.
    Named(String),
    /// A name that only the host that printed it can look up.
    Unknown,
}

/// What an address, or the name of a host or network, stands for; `None` if it can be neither.
pub(super) fn place(text: &str, family: Option<Family>) -> Option<Place<'_>> {
    if matches!(text, "anywhere" | "0.0.0.0/0" | "::/0") {
        return Some(Place::Any);
    }
    let (host, mask) = match text.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (text, None),
    };
    let mask_fits = mask.is_none_or(|mask| {
        mask.parse::<u8>().is_ok_and(|length| length <= 128)
            || mask.parse::<Ipv4Addr>().is_ok()
            || mask.parse::<Ipv6Addr>().is_ok()
    });
    if !mask_fits {
        return None;
    }
    if host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok() {
        return Some(Place::Address(text));
    }
    if let Some(address) = known_host(host, family) {
        return Some(Place::Named(match mask {
            Some(mask) => format!("{address}/{mask}"),
            None => address,
        }));
    }
    let labels = |char: char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_');
    let name = host.starts_with(|char: char| char.is_alphanumeric() || char == '_')
        && host.chars().all(labels)
        && host.chars().any(char::is_alphabetic);
    name.then_some(Place::Unknown)
}

fn known_host(name: &str, family: Option<Family>) -> Option<String> {
    let v4 = HOSTS_V4.iter().find(|(known, _)| *known == name).map(|(_, host)| host.to_string());
    let v6 = HOSTS_V6.iter().find(|(known, _)| *known == name).map(|(_, host)| host.to_string());
    match family {
        Some(Family::Ipv4) => v4,
        Some(Family::Ipv6) => v6,
        None => v4.or(v6),
    }
}

/// A port, a range or a list of these in numbers; `None` if a name in it is not known.
pub(super) fn ports(text: &str, protocol: Option<u8>) -> Option<Cow<'_, str>> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b',')) {
        return Some(Cow::Borrowed(text));
    }
    let mut numbers = String::with_capacity(text.len());
    for item in text.split_inclusive([':', ',']) {
        let name = item.trim_end_matches([':', ',']);
        match port(name, protocol) {
            Some(port) => numbers.push_str(&port.to_string()),
            None => return None,
        }
        numbers.push_str(item.get(name.len()..).unwrap_or_default());
    }
    Some(Cow::Owned(numbers))
}

fn port(name: &str, protocol: Option<u8>) -> Option<u16> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    services::port(name, protocol)
        .or_else(|| services::port(name, None))
        .or_else(|| SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_same_on_every_host_is_looked_up() {
        let named = |address: &str| Some(Place::Named(address.to_owned()));
        assert_eq!(place("localhost", None), named("127.0.0.1"));
        assert_eq!(place("localhost", Some(Family::Ipv6)), named("::1"));
        assert_eq!(place("localhost/8", None), named("127.0.0.1/8"));
        assert_eq!(place("link-local/16", None), named("169.254.0.0/16"));
        assert_eq!(place("base-address.mcast.net/4", None), named("224.0.0.0/4"));
        assert_eq!(place("ip6-allnodes", None), named("ff02::1"));
        assert_eq!(place("dns.google", None), Some(Place::Unknown));
        assert_eq!(
            place("10.0.0.0/255.0.255.0", None),
            Some(Place::Address("10.0.0.0/255.0.255.0"))
        );
        assert_eq!(place("anywhere", None), Some(Place::Any));
        for neither in ["--", "*", "tcp,udp", "10.0.0.1/x", "foo/bar", "(none)"] {
            assert_eq!(place(neither, None), None, "{neither}");
        }
    }

    #[test]
    fn services_become_numbers() {
        let udp = Some(crate::protocols::UDP);
        assert_eq!(ports("http", udp).as_deref(), Some("80"));
        assert_eq!(ports("http,https,1000:cisco-sccp", None).as_deref(), Some("80,443,1000:2000"));
        assert_eq!(ports("90:100", None).as_deref(), Some("90:100"));
        assert_eq!(ports("nosuch", None), None);
    }
}
