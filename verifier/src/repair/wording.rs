//! Rules in iptables' words, in the one form that iptables-save prints.

use std::fmt::Write as _;

use nattrace_model::address::Prefix;
use nattrace_model::lower::{RulesInput, lower};
use nattrace_model::ruleset::Rule;
use nattrace_parser::syntax::{self, Backend, Family, Negatable, TableName};
use nattrace_parser::{Origin, Severity, emit_rule, parse_rules_of, protocols};

/// What a new rule asks of a packet, and what it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wording {
    pub(super) source: Option<Negatable<Prefix>>,
    pub(super) destination: Option<Negatable<Prefix>>,
    pub(super) in_interface: Option<Negatable<String>>,
    pub(super) out_interface: Option<Negatable<String>>,
    pub(super) protocol: Option<u8>,
    /// Destination ports, both ends inclusive.
    pub(super) ports: Option<(u16, u16)>,
    /// Other matches, as words.
    pub(super) matches: Vec<String>,
    /// The target, as words.
    pub(super) target: String,
}

/// A value that is asked for.
pub(super) fn is<T>(value: T) -> Option<Negatable<T>> {
    Some(Negatable { negated: false, value })
}

/// A value that must not be there.
pub(super) fn is_not<T>(value: T) -> Option<Negatable<T>> {
    Some(Negatable { negated: true, value })
}

impl Wording {
    /// The same with another target.
    pub(super) fn to(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// The rule of a chain, as iptables-save prints it; `None` where iptables would refuse it.
    pub(super) fn rule(&self, family: Family, table: TableName, chain: &str) -> Option<String> {
        let mut words = format!("-A {chain}");
        option(&mut words, "-s", self.source.as_ref());
        option(&mut words, "-d", self.destination.as_ref());
        option(&mut words, "-i", self.in_interface.as_ref());
        option(&mut words, "-o", self.out_interface.as_ref());
        if let Some(number) = self.protocol {
            let name = protocols::name(number).map_or_else(|| number.to_string(), str::to_owned);
            let _ = write!(words, " -p {name}");
            if let Some((first, last)) = self.ports {
                let _ = write!(words, " -m {name} --dport {first}");
                if last != first {
                    let _ = write!(words, ":{last}");
                }
            }
        }
        for matched in &self.matches {
            let _ = write!(words, " -m {matched}");
        }
        let _ = write!(words, " -j {}", self.target);
        normal(&words, family, table)
    }

    /// The rule as nft prints it in a table of its own.
    pub(super) fn native(&self, family: Family) -> Option<String> {
        let ip = match family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        if !self.matches.is_empty() || self.in_interface.is_some() {
            return None;
        }
        let mut words: Vec<String> = Vec::new();
        for (field, value) in [("saddr", &self.source), ("daddr", &self.destination)] {
            if let Some(Negatable { negated, value }) = value {
                let not = if *negated { "!= " } else { "" };
                let value = match value.is_single() {
                    true => value.network().to_string(),
                    false => value.to_string(),
                };
                words.push(format!("{ip} {field} {not}{value}"));
            }
        }
        if let Some(Negatable { negated, value }) = &self.out_interface {
            let not = if *negated { "!= " } else { "" };
            words.push(format!("oifname {not}\"{value}\""));
        }
        match (self.protocol.map(|number| (number, protocols::name(number))), self.ports) {
            (Some((_, Some(name))), Some((first, last))) if first == last => {
                words.push(format!("{name} dport {first}"));
            }
            (Some((_, Some(name))), Some((first, last))) => {
                words.push(format!("{name} dport {first}-{last}"));
            }
            (Some((_, Some(name))), None) => words.push(format!("meta l4proto {name}")),
            (Some((number, None)), None) => words.push(format!("meta l4proto {number}")),
            (Some((_, None)), Some(_)) => return None,
            (None, _) => {}
        }
        let target = match self.target.strip_prefix("SNAT --to-source ") {
            Some(source) => format!("snat to {source}"),
            None if self.target == "MASQUERADE" => "masquerade".to_owned(),
            None => return None,
        };
        words.push(target);
        Some(words.join(" "))
    }
}

fn option<T: std::fmt::Display>(words: &mut String, name: &str, value: Option<&Negatable<T>>) {
    if let Some(Negatable { negated, value }) = value {
        let not = if *negated { "! " } else { "" };
        let _ = write!(words, " {not}{name} {value}");
    }
}

/// A rule in the words of iptables-save; `None` where it is none that iptables takes.
pub(crate) fn normal(rule: &str, family: Family, table: TableName) -> Option<String> {
    reworded(rule, family, table, |_| {})
}

/// The same with something of it changed.
pub(crate) fn reworded(
    rule: &str,
    family: Family,
    table: TableName,
    change: impl FnOnce(&mut syntax::Rule<'_>),
) -> Option<String> {
    let text = format!("*{}\n{rule}\nCOMMIT\n", table.as_str());
    let origin = Origin { family: Some(family), backend: Some(Backend::Nft) };
    let (mut rules, found) = parse_rules_of(&text, origin);
    // The chain is not declared here; that it is there is known.
    let refused = |found: &nattrace_parser::Diagnostic| {
        found.severity == Severity::Error && found.code != "unknown-chain"
    };
    if found.iter().any(refused) {
        return None;
    }
    let rule = rules.tables.first_mut()?.rules.first_mut()?;
    change(rule);
    let mut printed = String::new();
    emit_rule(rule, &mut printed);
    Some(printed)
}

/// A rule with another target, given in iptables' words.
pub(super) fn retargeted(
    rule: &str,
    family: Family,
    table: TableName,
    target: &str,
) -> Option<String> {
    let bare = reworded(rule, family, table, |rule| rule.target = syntax::Target::None)?;
    normal(&format!("{bare} -j {target}"), family, table)
}

/// A rule without its comment, for a copy with another meaning.
pub(super) fn uncommented(rule: &mut syntax::Rule<'_>) {
    rule.matches.retain(|used| used.extension.name != "comment");
}

/// What a rule means, and whether it makes the kernel track connections.
pub(crate) fn lowered(
    rule: &str,
    family: Family,
    backend: Backend,
    table: TableName,
    chain: &str,
) -> Option<(Rule, bool)> {
    let policy = if table.builtin_chains().contains(&chain) { "ACCEPT" } else { "-" };
    let text = format!("*{}\n:{chain} {policy} [0:0]\n{rule}\nCOMMIT\n", table.as_str());
    let text = std::sync::Arc::new(text);
    let origin = Origin { family: Some(family), backend: Some(backend) };
    let (rules, found) = parse_rules_of(&text, origin);
    let (ruleset, of_meaning) =
        lower(&[RulesInput { name: "fix", text: &text, rules: &rules, family, backend }]);
    let mut all = found.iter().chain(of_meaning.iter().map(|(_, found)| found));
    if all.any(|found| found.severity == Severity::Error) {
        return None;
    }
    let id = ruleset.find_chain(backend, family, table, chain)?;
    let rule = ruleset.chain(id)?.rules.first()?.clone();
    Some((rule, ruleset.tracks_connections(family)))
}
