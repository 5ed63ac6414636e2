//! Pseudonyms for interface names that keep what a pattern such as `acme+` matches.
//!
//! Names that the kernel or a program gives stay. In others each letter is replaced depending on
//! the letters before it, so two names share as long a beginning after as before.

use std::collections::BTreeSet;

use super::key::Key;

/// How names begin that the kernel, systemd or a program gives.
const GIVEN: [&str; 38] = [
    "lo",
    "eth",
    "eno",
    "ens",
    "enp",
    "enx",
    "wlan",
    "wlp",
    "wlx",
    "ww",
    "docker",
    "br",
    "br-",
    "veth",
    "wg",
    "tun",
    "tap",
    "bond",
    "team",
    "virbr",
    "vnet",
    "ppp",
    "cni",
    "flannel.",
    "cali",
    "tailscale",
    "lxcbr",
    "lxdbr",
    "kube-ipvs",
    "vxlan.calico",
    "tunl",
    "dummy",
    "ifb",
    "sit",
    "podman",
    "cilium_",
    "zt",
    "vlan",
];

/// Interface names and their pseudonyms.
pub(super) struct Interfaces {
    key: Key,
    /// Names and beginnings that get a pseudonym.
    own: BTreeSet<String>,
    /// Names that stay, and all their beginnings.
    kept: BTreeSet<String>,
}

/// Whether a program gives such names: a known beginning, and then only digits and the like.
fn is_given(name: &str) -> bool {
    GIVEN.iter().any(|beginning| {
        name.strip_prefix(beginning).is_some_and(|rest| {
            let hexadecimal = matches!(*beginning, "br-" | "veth" | "cali" | "enx" | "wlx" | "zt");
            let places = matches!(*beginning, "eno" | "ens" | "enp" | "wlp" | "ww");
            rest.chars().all(|char| {
                char.is_ascii_digit()
                    || matches!(char, '.' | '_')
                    || (hexadecimal && char.is_ascii_hexdigit())
                    || (places
                        && matches!(char, 's' | 'f' | 'n' | 'p' | 'd' | 'v' | 'u' | 'a' | 'b'))
            })
        })
    })
}

impl Interfaces {
    pub(super) fn new(key: Key) -> Self {
        Self { key, own: BTreeSet::new(), kept: BTreeSet::new() }
    }

    /// Notes a name, or a pattern that ends in `+`.
    pub(super) fn note(&mut self, name: &str) {
        let beginning = name.strip_suffix('+').unwrap_or(name);
        if beginning.is_empty() || beginning.len() > 15 {
            return;
        }
        if is_given(beginning) {
            let ends = beginning.char_indices().map(|(at, char)| at + char.len_utf8());
            self.kept.extend(ends.filter_map(|end| beginning.get(..end).map(str::to_owned)));
        } else {
            self.own.insert(beginning.to_owned());
        }
    }

    /// Whether a word is a name, or the beginning of a pattern, that gets a pseudonym.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.own.contains(name.strip_suffix('+').unwrap_or(name))
    }

    /// The pseudonym of a name or a pattern; others stay.
    pub(super) fn pseudonym(&self, name: &str) -> String {
        if !self.knows(name) {
            return name.to_owned();
        }
        let mut pseudonym = String::new();
        for (at, char) in name.char_indices() {
            let before = name.get(..at).unwrap_or_default();
            pseudonym.push(self.letter(before, char));
        }
        pseudonym
    }

    fn letter(&self, before: &str, char: char) -> char {
        let beside_kept = before.is_empty() && !self.kept.is_empty() || self.kept.contains(before);
        if !char.is_ascii_alphabetic() || beside_kept {
            return char;
        }
        // The letters rotated by a number that belongs to what comes before.
        let turn =
            self.key.draw(b'i', before.as_bytes()).first().copied().unwrap_or_default() % 25 + 1;
        let base = if char.is_ascii_uppercase() { b'A' } else { b'a' };
        let place = u8::try_from(char).unwrap_or(base).saturating_sub(base);
        (base + (place + turn) % 26).into()
    }

    pub(super) fn table(&self) -> impl Iterator<Item = (String, String)> {
        self.own.iter().map(|name| (name.clone(), self.pseudonym(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_same_names_after_as_before() {
        let mut interfaces = Interfaces::new(Key::of(["test"].into_iter()));
        let names =
            ["acme0", "acme-lan", "acorn", "eth0", "docker0", "br-17f69efef4eb", "a", "e0x"];
        let patterns = ["acme+", "ac+", "a+", "e+", "et+", "+"];
        names.iter().chain(&patterns).for_each(|name| interfaces.note(name));
        for pattern in patterns {
            let beginning = |pattern: &str| pattern.trim_end_matches('+').to_owned();
            let redacted = beginning(&interfaces.pseudonym(pattern));
            for name in names {
                assert_eq!(
                    name.starts_with(&beginning(pattern)),
                    interfaces.pseudonym(name).starts_with(&redacted),
                    "{pattern} {name} {redacted} {}",
                    interfaces.pseudonym(name),
                );
            }
        }
        assert_eq!(interfaces.pseudonym("eth0"), "eth0");
        assert_ne!(interfaces.pseudonym("acme-lan"), "acme-lan");
    }

    #[test]
    fn what_programs_give_is_told_from_what_people_give() {
        for name in ["lo", "eth0", "eth0.100", "enp3s0f1", "br-17f69efef4eb", "veth3a4b5c6", "wg0"]
        {
            assert!(is_given(name), "{name}");
        }
        for name in ["customer", "eth-acme", "br-acme", "wan", "lohmann", "docker_acme"] {
            assert!(!is_given(name), "{name}");
        }
    }
}
