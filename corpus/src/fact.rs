//! A fact about the kernel: what it does with packets, as measured, in scenes that anybody can
//! read and any simulator can be asked about.
//!
//! A fact is a TOML file named after its number. A scene is a host (one of `facts/hosts`, with
//! parts added or replaced) and rules; its cases are questions in the words of the command line
//! and what became of such packets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The folder of the facts.
#[must_use]
pub fn facts_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("facts")
}

/// One fact.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its number, such as `B1`.
    pub fact: String,
    /// What it says, in a sentence.
    pub what: String,
    /// Where it shows.
    #[serde(rename = "scene")]
    pub scenes: Vec<Scene>,
}

/// A host with rules, and questions about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scene {
    /// What is special about it, for people.
    #[serde(default)]
    pub about: String,
    /// The folder of `facts/hosts` whose parts it starts from.
    #[serde(default = "router")]
    pub host: String,
    /// The backend that the rules are loaded through; without it both are tried, one at a time.
    pub backend: Option<Loader>,
    /// Whether every built-in chain begins with a rule that matches everything and goes on: the
    /// rules that matched then tell which chains saw the packet.
    #[serde(default)]
    pub watched: bool,
    /// The IPv4 rules, as commands without `iptables` in front, or as iptables-save prints them.
    #[serde(default)]
    pub rules: String,
    /// The IPv6 rules.
    #[serde(default)]
    pub rules6: String,
    /// IPv4 rules of the legacy backend beside `rules` of nft.
    pub legacy_rules: Option<String>,
    /// Parts that replace those of the host.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// Lines added to parts of the host; settings replace those of the same name.
    #[serde(default)]
    pub more: BTreeMap<String, String>,
    /// IPv4 rules that iptables or the kernel refuses, each tried for itself behind `rules`.
    #[serde(default)]
    pub refused: Vec<String>,
    /// IPv4 rules that they take.
    #[serde(default)]
    pub accepted: Vec<String>,
    /// The questions.
    #[serde(default)]
    pub cases: Vec<Case>,
}

/// The program that loads rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loader {
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
}

/// A question, and what the kernel did. What a case does not name is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// The packet, as after `nattrace why`.
    pub ask: String,
    /// Its TTL, for which the command line has no word.
    pub ttl: Option<u8>,
    /// What becomes of it.
    pub verdict: Option<String>,
    /// What its sender experiences.
    pub outcome: Option<String>,
    /// `SRC > DST by IFACE`, or `SRC > DST` where it is delivered here; TTL, mark and TOS behind
    /// it are compared where named. `none` where it goes nowhere.
    pub egress: Option<String>,
    /// The rules that matched, in order: `nat/PREROUTING/1 …`.
    pub met: Option<String>,
    /// What rules and tracking rewrote, in order: `nat/PREROUTING/1 dst 10.0.0.1 10.0.0.2`.
    pub rewrites: Option<Vec<String>>,
    /// The way through routing: `local`, `forward wan via 203.0.113.1`, `martian`, …
    pub route: Option<Vec<String>>,
    /// The step that decided: a rule, a policy, or a decision of routing.
    pub decided: Option<String>,
    /// What travels back, and what becomes of it: `answer forwarded`, `reset delivered`,
    /// `icmp 3/3 forwarded`, or `none`.
    pub reply: Option<String>,
    /// As `egress`, of what travels back.
    pub reply_egress: Option<String>,
    /// As `met`, of what travels back.
    pub reply_met: Option<String>,
    /// As `rewrites`, of what travels back.
    pub reply_rewrites: Option<Vec<String>>,
    /// The ways it may go: `filter/INPUT/1 matches=yes: dropped timeout`.
    pub branches: Option<Vec<String>>,
}

fn router() -> String {
    "router".to_owned()
}

/// The tables in the order of a packet's way, with their built-in chains.
const TABLES: [(&str, &[&str]); 5] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

impl Fact {
    /// Reads every fact of a folder, by section and number.
    ///
    /// # Errors
    ///
    /// A file can't be read, is not in the expected form, or is not named after its fact.
    pub fn read_all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut facts = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let wrong = |why: &dyn std::fmt::Display| {
                io::Error::other(format!("{}: {why}", path.display()))
            };
            let fact: Self =
                toml::from_str(&fs::read_to_string(&path)?).map_err(|error| wrong(&error))?;
            if path.file_stem().is_none_or(|stem| *stem != *fact.fact) {
                return Err(wrong(&format!("holds fact {}", fact.fact)));
            }
            facts.push(fact);
        }
        facts.sort_by_key(Self::place);
        Ok(facts)
    }

    /// Section and number, to sort by.
    fn place(&self) -> (String, u32) {
        let (section, number) = self.fact.split_at_checked(1).unwrap_or((&self.fact, ""));
        (section.to_owned(), number.parse().unwrap_or(0))
    }
}

impl Scene {
    /// The backends that the scene is tried with.
    #[must_use]
    pub fn backends(&self) -> Vec<Loader> {
        match (self.backend, &self.legacy_rules) {
            (Some(one), _) => vec![one],
            // Both are there at the same time.
            (None, Some(_)) => vec![Loader::Nft],
            (None, None) => vec![Loader::Nft, Loader::Legacy],
        }
    }

    /// The parts of the snapshot, with the rules loaded through a backend: file name and text.
    ///
    /// # Errors
    ///
    /// The host of the scene can't be read.
    pub fn snapshot(&self, backend: Loader) -> io::Result<Vec<(String, String)>> {
        let mut parts = BTreeMap::new();
        for entry in fs::read_dir(facts_dir().join("hosts").join(&self.host))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            parts.insert(name, fs::read_to_string(entry.path())?);
        }
        for (name, text) in &self.parts {
            parts.insert(name.clone(), text.clone());
        }
        for (name, lines) in &self.more {
            let text = parts.entry(name.clone()).or_default();
            // A setting replaces the one of the host.
            let setting = |line: &str| line.split_once('=').map(|(name, _)| name.trim().to_owned());
            let replaced: Vec<String> = lines.lines().filter_map(setting).collect();
            let kept = text.lines().filter(|line| {
                name != "sysctl" || setting(line).is_none_or(|name| !replaced.contains(&name))
            });
            *text = kept.chain([lines.as_str()]).collect::<Vec<_>>().join("\n");
        }
        let [name4, name6] = match backend {
            Loader::Nft => ["iptables-save", "ip6tables-save"],
            Loader::Legacy => ["iptables-legacy-save", "ip6tables-legacy-save"],
        };
        // iptables-save prints nothing where there are no rules; that is a part all the same.
        let mut loads = vec![(name4, &self.rules, backend), (name6, &self.rules6, backend)];
        if let Some(rules) = &self.legacy_rules {
            loads.push(("iptables-legacy-save", rules, Loader::Legacy));
        }
        for (name, rules, backend) in loads {
            let rules = self.loaded(rules);
            let program = name.replace("-legacy", "");
            let tag = if backend == Loader::Nft { " (nf_tables)" } else { "" };
            let header = format!("# Generated by {program} v1.8.9{tag} on Mon\n");
            let text = if rules.is_empty() { rules } else { header + &rules };
            parts.insert(name.to_owned(), text);
        }
        Ok(parts.into_iter().collect())
    }

    /// The scene with one rule more.
    #[must_use]
    pub fn with_rule(&self, rule: &str) -> Self {
        Self { rules: format!("{}\n{rule}", self.rules), ..self.clone() }
    }

    /// The rules as iptables-save prints them once the commands were carried out.
    fn loaded(&self, rules: &str) -> String {
        if rules.trim_start().starts_with('*') {
            return rules.to_owned();
        }
        TABLES.iter().map(|(table, chains)| self.table(table, chains, rules)).collect()
    }

    fn table(&self, table: &str, built_in: &[&str], commands: &str) -> String {
        let mut declared: Vec<(&str, &str)> = built_in.iter().map(|c| (*c, "ACCEPT")).collect();
        let mut rules: Vec<String> = Vec::new();
        if self.watched {
            rules.extend(built_in.iter().map(|chain| format!("-A {chain} -j NFLOG")));
        }
        for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (of, command) = match line.strip_prefix("-t ").and_then(|l| l.split_once(' ')) {
                Some(named) => named,
                None => ("filter", line),
            };
            if of != table {
                continue;
            }
            match command.split(' ').collect::<Vec<_>>().as_slice() {
                ["-N", chain] => declared.push((chain, "-")),
                ["-P", chain, policy] => {
                    let known = declared.iter_mut().find(|(name, _)| name == chain);
                    known.into_iter().for_each(|(_, known)| *known = policy);
                }
                _ => rules.push(command.to_owned()),
            }
        }
        if rules.is_empty() && declared.iter().all(|(_, policy)| *policy == "ACCEPT") {
            return String::new();
        }
        let declared: String =
            declared.iter().map(|(chain, policy)| format!(":{chain} {policy} [0:0]\n")).collect();
        format!("*{table}\n{declared}{}\nCOMMIT\n", rules.join("\n"))
    }
}
