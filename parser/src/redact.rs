//! A snapshot with pseudonyms: the same host for every question, but nobody's.
//!
//! Addresses keep which of them share a prefix, and whether they are public, private, loopback, …
//! (prefix-preserving anonymization, Xu et al., ICNP 2002); hardware addresses, names of
//! containers, networks, chains, sets, zones, users and processes, and free text such as comments
//! get pseudonyms. The same word gets the same pseudonym in every part. What is chosen depends on a
//! key that is derived from the whole input, so the same input gives the same bytes and nobody who
//! lacks it can compute the way back.
//!
//! What a question can depend on stays: which addresses are first and last of a prefix, ranges,
//! networks of `NETMAP`, the order of Docker's networks, names that programs give (`docker0`,
//! `KUBE-SERVICES`), ports, marks, counters.

mod address;
mod document;
mod interface;
mod key;
mod name;
mod policy;
mod rules;
mod scan;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::host::snapshot::part_name;

use address::Addresses;
use interface::Interfaces;
use key::Key;
use name::Names;

/// One part of a snapshot, or a file of rules.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its name. What is no name of a part is taken to hold rules, but for `policy.toml`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// What came of it.
pub struct Redacted {
    /// The parts under their names.
    pub parts: Vec<(String, String)>,
    /// What stands for what.
    pub pseudonyms: Pseudonyms,
}

/// Everything that decides what becomes of a word.
pub struct Pseudonyms {
    addresses: Addresses,
    interfaces: Interfaces,
    names: Names,
    hardware: BTreeMap<String, String>,
    key: Key,
}

/// Writes every part with pseudonyms.
///
/// # Errors
///
/// A JSON part that can't be read: its name, and what is wrong with it. Nothing is passed on that
/// was not understood.
pub fn redact(inputs: &[Input<'_>]) -> Result<Redacted, (String, String)> {
    let mut pseudonyms = Pseudonyms::collect(inputs)?;
    let mut parts = Vec::new();
    for input in inputs {
        parts.push((input.name.to_owned(), pseudonyms.part(input)?));
    }
    Ok(Redacted { parts, pseudonyms })
}

/// How a part is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Rules,
    Json,
    Sysctl,
    Toml,
    Policy,
    Lines,
}

fn form(input: &Input<'_>) -> Form {
    let is_json = input.text.trim_start().starts_with(['[', '{']);
    match part_name(input.name) {
        None if input.name.ends_with("policy.toml") => Form::Policy,
        None | Some("iptables-save" | "ip6tables-save") => Form::Rules,
        Some("iptables-legacy-save" | "ip6tables-legacy-save") => Form::Rules,
        Some("sysctl") => Form::Sysctl,
        Some("zones.toml") => Form::Toml,
        Some(_) if is_json => Form::Json,
        Some(_) => Form::Lines,
    }
}

impl Pseudonyms {
    /// Looks at everything once: only then is it known what has to stay together.
    fn collect(inputs: &[Input<'_>]) -> Result<Self, (String, String)> {
        let key = Key::of(inputs.iter().flat_map(|input| [input.name, input.text]));
        let mut addresses = Addresses::new(key);
        let mut interfaces = Interfaces::new(key);
        let mut names = Names::default();
        for input in inputs {
            scan::prefixes(input.text, &mut addresses);
            match form(input) {
                Form::Json => {
                    let value = document::parse(input)?;
                    document::collect(&value, &mut addresses, &mut interfaces, &mut names);
                }
                Form::Rules => {
                    rules::collect(input.text, &mut interfaces, &mut names);
                }
                Form::Policy => policy::collect(input.text, &mut interfaces, &mut names),
                Form::Sysctl | Form::Toml | Form::Lines => {
                    text::collect(input.text, &mut interfaces, &mut names);
                }
            }
        }
        names.number(|candidate| inputs.iter().any(|input| input.text.contains(candidate)));
        Ok(Self { addresses, interfaces, names, hardware: BTreeMap::new(), key })
    }

    fn part(&mut self, input: &Input<'_>) -> Result<String, (String, String)> {
        Ok(match form(input) {
            Form::Rules => rules::write(input.text, self),
            Form::Json => {
                let value = document::parse(input)?;
                document::write(&value, self)
            }
            Form::Sysctl => text::sysctl(input.text, self),
            Form::Toml => text::zones(input.text, self),
            Form::Policy => policy::write(input.text, self),
            Form::Lines => text::lines(input.text, self),
        })
    }

    /// A text whose addresses, hardware addresses and nothing else are replaced.
    fn addresses_in(&mut self, text: &str) -> String {
        scan::replace(text, self)
    }

    /// The pseudonym of a hardware address, with its group and local bits kept.
    fn hardware_address(&mut self, text: &str) -> String {
        if let Some(known) = self.hardware.get(text) {
            return known.clone();
        }
        let pseudonym = key::hardware_address(self.key, text);
        self.hardware.insert(text.to_owned(), pseudonym.clone());
        pseudonym
    }

    /// The pseudonym of an address, also of one that does not occur.
    pub fn address(&mut self, original: IpAddr) -> IpAddr {
        self.addresses.pseudonym(original)
    }

    /// The pseudonym of an interface.
    #[must_use]
    pub fn interface(&self, original: &str) -> String {
        self.interfaces.pseudonym(original)
    }

    /// What a reader of the result should know: one line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.addresses.notes();
        notes.push(
            "ports, marks, counters, times and the names that programs give to chains and \
             interfaces are kept: read it before you publish it"
                .to_owned(),
        );
        notes
    }

    /// What stands for what: the pseudonym of each kind of thing and original.
    #[must_use]
    pub fn table(&self) -> BTreeMap<(&'static str, String), String> {
        let mut table = BTreeMap::new();
        for (original, pseudonym) in self.addresses.table() {
            table.insert(("address", original), pseudonym);
        }
        for (original, pseudonym) in &self.hardware {
            table.insert(("hardware address", original.clone()), pseudonym.clone());
        }
        for (original, pseudonym) in self.interfaces.table() {
            table.insert(("interface", original), pseudonym);
        }
        table.extend(self.names.table());
        table
    }
}

#[cfg(test)]
mod tests;
