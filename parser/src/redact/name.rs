//! Numbered pseudonyms for names that people give.

use std::collections::{BTreeMap, BTreeSet};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Container,
    Network,
    Chain,
    Set,
    Zone,
    User,
    Process,
    List,
    Text,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Chain => "CHAIN",
            Self::Set => "set",
            Self::Zone => "zone",
            Self::User => "user",
            Self::Process => "process",
            Self::List => "list",
            Self::Text => "text",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            other => other.word(),
        }
    }
}

/// How names of chains begin that a program makes; they tell whose a rule is.
const PROGRAMS: [&str; 26] = [
    "DOCKER",
    "KUBE-",
    "ufw-",
    "ufw6-",
    "f2b-",
    "fail2ban",
    "LIBVIRT_",
    "cali-",
    "CILIUM_",
    "OLD_CILIUM_",
    "FLANNEL-",
    "CNI-",
    "NETAVARK",
    "ts-",
    "IN_",
    "FWDI_",
    "FWDO_",
    "POST_",
    "PRE_",
    "OUTPUT_",
    "INPUT_",
    "FORWARD_",
    "PREROUTING_",
    "POSTROUTING_",
    "ISTIO_",
    "nixos-fw",
];

/// Names that mean the same on every host.
const COMMON: [&str; 12] = [
    "PREROUTING",
    "INPUT",
    "FORWARD",
    "OUTPUT",
    "POSTROUTING",
    "bridge",
    "host",
    "none",
    "docker-proxy",
    "default",
    "root",
    "container",
];

/// Names and their pseudonyms.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: BTreeSet<(Kind, String)>,
    pseudonyms: BTreeMap<(Kind, String), String>,
}

impl Names {
    /// Notes a name.
    pub(super) fn note(&mut self, kind: Kind, name: &str) {
        let by_a_program =
            kind == Kind::Chain && PROGRAMS.iter().any(|beginning| name.starts_with(beginning));
        if !name.is_empty() && !by_a_program && !COMMON.contains(&name) {
            self.seen.insert((kind, name.to_owned()));
        }
    }

    /// Gives every name its number, in the order of the names: Docker sorts networks by name.
    pub(super) fn number(&mut self, is_taken: impl Fn(&str) -> bool) {
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for (kind, _) in &self.seen {
            *counts.entry(*kind).or_default() += 1;
        }
        let mut next: BTreeMap<Kind, usize> = BTreeMap::new();
        for (kind, name) in &self.seen {
            let digits = counts.get(kind).copied().unwrap_or_default().to_string().len();
            let number = next.entry(*kind).or_insert(1);
            let mut pseudonym = format!("{}-{number:0digits$}", kind.word());
            while is_taken(&pseudonym) {
                pseudonym.push('x');
            }
            *number += 1;
            self.pseudonyms.insert((*kind, name.clone()), pseudonym);
        }
    }

    /// The pseudonym of a name; itself if it has none.
    pub(super) fn pseudonym(&self, kind: Kind, name: &str) -> String {
        let key = (kind, name.to_owned());
        self.pseudonyms.get(&key).cloned().unwrap_or(key.1)
    }

    pub(super) fn table(&self) -> impl Iterator<Item = ((&'static str, String), String)> {
        let entries = self.pseudonyms.iter();
        entries.map(|((kind, name), it)| ((kind.title(), name.clone()), it.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_order_and_avoid_what_is_there() {
        let mut names = Names::default();
        for network in ["zeta", "alpha", "bridge"] {
            names.note(Kind::Network, network);
        }
        names.note(Kind::Chain, "DOCKER-USER");
        names.note(Kind::Chain, "acme-in");
        names.number(|candidate| candidate == "network-1");
        assert_eq!(names.pseudonym(Kind::Network, "alpha"), "network-1x");
        assert_eq!(names.pseudonym(Kind::Network, "zeta"), "network-2");
        assert_eq!(names.pseudonym(Kind::Network, "bridge"), "bridge");
        assert_eq!(names.pseudonym(Kind::Chain, "DOCKER-USER"), "DOCKER-USER");
        assert_eq!(names.pseudonym(Kind::Chain, "acme-in"), "CHAIN-1");
    }
}
