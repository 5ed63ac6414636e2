//! Rules in the kernel: loading them, and what their counters say.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use nattrace_parser::syntax::{Backend, Family};
use serde::{Deserialize, Serialize};

use super::command::{output, run};

/// What has a counter: a rule by its index from 0, or the policy of a built-in chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) table: String,
    pub(crate) chain: String,
    pub(crate) rule: Option<u32>,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(f, "{}/{}/{}", self.table, self.chain, rule + 1),
            None => write!(f, "{}/{} (policy)", self.table, self.chain),
        }
    }
}

/// How many packets each rule and policy has seen; those without any are left out.
pub(crate) type Counts = BTreeMap<Counted, u64>;

/// The rules' way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loader {
    pub(crate) family: Family,
    pub(crate) backend: Backend,
}

impl Loader {
    fn program(self, action: &str) -> String {
        let family = match self.family {
            Family::Ipv4 => "iptables",
            Family::Ipv6 => "ip6tables",
        };
        let backend = match self.backend {
            Backend::Nft => "nft",
            Backend::Legacy => "legacy",
        };
        format!("{family}-{backend}-{action}")
    }

    /// The programs that it needs.
    pub(crate) fn programs(self) -> Vec<String> {
        ["restore", "save"].map(|action| self.program(action)).into()
    }

    /// The name of the part of a snapshot that holds these rules.
    pub(crate) fn part(self) -> &'static str {
        match (self.family, self.backend) {
            (Family::Ipv4, Backend::Nft) => "iptables-save",
            (Family::Ipv6, Backend::Nft) => "ip6tables-save",
            (Family::Ipv4, Backend::Legacy) => "iptables-legacy-save",
            (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy-save",
        }
    }

    /// Replaces all rules; the error says why the kernel or the tool refuses them.
    pub(crate) fn load(self, rules: &str) -> io::Result<Result<(), String>> {
        let ran = run(&self.program("restore"), &["-c"], rules)?;
        Ok(if ran.succeeded { Ok(()) } else { Err(ran.stderr.trim().to_owned()) })
    }

    /// The rules as the kernel has them, with their counters.
    pub(crate) fn save(self) -> io::Result<String> {
        output(&self.program("save"), &["-c"], "")
    }

    /// What the counters say.
    pub(crate) fn counts(self) -> io::Result<Counts> {
        Ok(counts(&self.save()?))
    }
}

/// Reads the counters out of what `iptables-save -c` prints.
pub(crate) fn counts(saved: &str) -> Counts {
    let mut counts = Counts::new();
    let mut table = "";
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
            next.clear();
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let (name, counters) = (words.next().unwrap_or(""), words.nth(1).unwrap_or(""));
            count(&mut counts, table, name, None, counters);
        } else if let Some((counters, rule)) = line.split_once(" -A ") {
            let chain = rule.split(' ').next().unwrap_or("");
            let index = next.entry(chain).or_insert(0);
            count(&mut counts, table, chain, Some(*index), counters);
            *index += 1;
        }
    }
    counts
}

fn count(counts: &mut Counts, table: &str, chain: &str, rule: Option<u32>, counters: &str) {
    let packets = counters.trim_start_matches('[').split(':').next();
    let packets: u64 = packets.and_then(|packets| packets.parse().ok()).unwrap_or(0);
    if packets > 0 {
        let counted = Counted { table: table.to_owned(), chain: chain.to_owned(), rule };
        counts.insert(counted, packets);
    }
}

/// What was counted between two looks.
pub(crate) fn difference(before: &Counts, after: &Counts) -> Counts {
    let since = |(counted, packets): (&Counted, &u64)| {
        let new = packets.saturating_sub(before.get(counted).copied().unwrap_or(0));
        (new > 0).then(|| (counted.clone(), new))
    };
    after.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_place() {
        let saved = "# comment\n*filter\n:INPUT ACCEPT [3:180]\n:user - [0:0]\n\
            [2:120] -A INPUT -j user\n[0:0] -A INPUT -p tcp\n[1:60] -A INPUT -j ACCEPT\nCOMMIT\n";
        let read: Vec<String> =
            counts(saved).iter().map(|(counted, packets)| format!("{counted} {packets}")).collect();
        assert_eq!(read, ["filter/INPUT (policy) 3", "filter/INPUT/1 2", "filter/INPUT/3 1"]);
    }

    #[test]
    fn only_what_moved_is_a_difference() {
        let before = counts("*filter\n[2:0] -A INPUT\n[1:0] -A INPUT\n");
        let after = counts("*filter\n[2:0] -A INPUT\n[4:0] -A INPUT\n[1:0] -A INPUT\n");
        let moved: Vec<u64> = difference(&before, &after).into_values().collect();
        assert_eq!(moved, [3, 1]);
    }
}
