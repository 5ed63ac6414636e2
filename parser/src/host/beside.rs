//! What describes the host in a text of rules: people paste it below them.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::save::{Line, lines};

/// What a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Addresses,
    Routes,
    Sysctls,
    Containers,
}

impl Listing {
    const ALL: [Self; 4] = [Self::Addresses, Self::Routes, Self::Sysctls, Self::Containers];

    /// What every line of it holds, by which texts without it are passed over.
    fn needles(self) -> &'static [&'static str] {
        match self {
            Self::Addresses => &["inet ", "inet6 ", "  UP  ", "UNKNOWN  "],
            Self::Routes => &["default via ", "default dev ", "Kernel IP"],
            Self::Sysctls => &["net."],
            Self::Containers => &["CONTAINER ID", "NETWORK ID"],
        }
    }

    fn is(self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match self {
            Self::Addresses => {
                matches!(first, "inet" | "inet6") && is_address(second)
                    || matches!(second, "UP" | "DOWN" | "UNKNOWN")
                        && words.next().is_some_and(is_address)
            }
            Self::Routes => {
                first == "default" && matches!(second, "via" | "dev")
                    || line.starts_with("Kernel IP") && line.ends_with("routing table")
            }
            Self::Sysctls => {
                let (name, value) = line.split_once('=').unwrap_or_default();
                name.starts_with("net.ipv") && !value.trim().is_empty()
            }
            Self::Containers => matches!((first, second), ("CONTAINER" | "NETWORK", "ID")),
        }
    }

    /// What it shows, and how it becomes a part of a snapshot.
    fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::Addresses => ("addresses", "#@ nattrace ip-addr"),
            Self::Routes => ("routes", "#@ nattrace ip-route"),
            Self::Sysctls => ("settings of the kernel", "#@ nattrace sysctl"),
            Self::Containers => ("containers", "#@ nattrace docker-inspect.json"),
        }
    }
}

fn is_address(word: &str) -> bool {
    let address = word.split(['/', '%']).next().unwrap_or_default();
    address.parse::<IpAddr>().is_ok()
}

/// A note for each kind of listing that stands in a text of rules. Nobody can tell whether it is
/// whole, and what is missing in a part of a snapshot is taken not to be there.
pub(crate) fn not_read(text: &str) -> Vec<Diagnostic> {
    let has = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
    let kinds = Listing::ALL.into_iter().filter(|kind| kind.needles().iter().any(|one| has(one)));
    let first =
        |kind: Listing| lines(text).find(|line| kind.is(line.text)).map(|line| (kind, line));
    let found: Vec<_> = kinds.filter_map(first).collect();
    let prompted = !found.is_empty() && super::transcript::is_transcript(text);
    found.into_iter().map(|(kind, line)| note(kind, line, prompted)).collect()
}

fn note(kind: Listing, line: Line<'_>, prompted: bool) -> Diagnostic {
    let (what, header) = kind.advice();
    let message = format!("{what} of the host stand among the rules, and are not read");
    let help = match kind {
        Listing::Containers => {
            "`docker inspect` and `docker network inspect` tell all of them: see `nattrace snapshot`"
                .to_owned()
        }
        _ if prompted => {
            "`--snapshot` instead of `--rules` reads what stands behind each prompt".to_owned()
        }
        _ => format!(
            "where they are whole, put `{header}` above them and `#@ nattrace iptables-save` above \
             the rules, and use `--snapshot`"
        ),
    };
    Diagnostic::note("host-not-read", message, line.span()).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        not_read(text).into_iter().map(|one| one.span.slice(text).trim().to_owned()).collect()
    }

    #[test]
    fn listings_of_the_host_are_named() {
        let text = "-A INPUT -j ACCEPT\n$ ip a\n2: eth0: <UP> mtu 1500\n    inet 192.0.2.1/24 scope \
                    global eth0\n    inet 10.0.0.1/8\ndefault via 192.0.2.254 dev eth0\n\
                    net.ipv4.ip_forward = 1\nCONTAINER ID   IMAGE\n";
        assert_eq!(
            found(text),
            [
                "inet 192.0.2.1/24 scope global eth0",
                "default via 192.0.2.254 dev eth0",
                "net.ipv4.ip_forward = 1",
                "CONTAINER ID   IMAGE"
            ]
        );
        assert_eq!(found("eth0             UP             192.0.2.1/24 fe80::1/64\n").len(), 1);
        assert_eq!(found("  inet6 fe80::1/64 scope link\n").len(), 1);
    }

    #[test]
    fn rules_and_prose_are_not_named() {
        for text in [
            "-A INPUT -m comment --comment \"default via inet 192.0.2.1\" -j ACCEPT\n",
            "see inet 192.0.2.1/24, or default via it\n",
            "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n",
            "sysctl -w net.ipv4.ip_forward=1\n",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
