//! The chains of one backend and family as lists of rules in iptables' words.

use std::collections::BTreeMap;
use std::sync::Arc;

use nattrace_model::System;
use nattrace_model::lower::{RulesInput, lower};
use nattrace_model::ruleset::{Chain, ChainId, Rule, Ruleset, Source, Table, base_of};
use nattrace_model::target::Target;
use nattrace_parser::syntax::{Backend, Family, Policy, TableName};
use nattrace_parser::{Origin, Severity, parse_rules_of};

/// What new rules are said to come from.
const SOURCE: &str = "dockerd";

/// A rule, by its words alone where it is new.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    rule: Option<Rule>,
}

impl Line {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), rule: None }
    }

    /// The interfaces that it names.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &str> {
        let words = self.text.split(' ');
        let next = self.text.split(' ').skip(1);
        words.zip(next).filter(|(word, _)| ["-i", "-o"].contains(word)).map(|(_, name)| name)
    }
}

type Name = (TableName, String);

/// The chains.
#[derive(Debug)]
pub(super) struct Lists {
    backend: Backend,
    family: Family,
    chains: BTreeMap<Name, Vec<Line>>,
    policies: Vec<(Name, Policy)>,
}

impl Lists {
    pub(super) fn of(system: &System, backend: Backend, family: Family) -> Self {
        let rules = &system.rules;
        let mut chains = BTreeMap::new();
        for chain in &rules.chains {
            let Some(table) = chain.table.of_iptables() else { continue };
            if chain.backend != backend || chain.family != family {
                continue;
            }
            let line = |rule: &Rule| Line { text: words(rules, rule), rule: Some(rule.clone()) };
            let lines = chain.rules.iter().map(line).collect();
            chains.insert((table, chain.name.to_string()), lines);
        }
        Self { backend, family, chains, policies: Vec::new() }
    }

    pub(super) fn has(&self, table: TableName, chain: &str) -> bool {
        self.chains.contains_key(&(table, chain.to_owned()))
    }

    pub(super) fn lines(&self, table: TableName, chain: &str) -> &[Line] {
        self.chains.get(&(table, chain.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The rules of a chain, which has none then.
    pub(super) fn take(&mut self, table: TableName, chain: &str) -> Vec<Line> {
        self.chains.get_mut(&(table, chain.to_owned())).map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn set(&mut self, table: TableName, chain: &str, lines: Vec<Line>) {
        self.chains.insert((table, chain.to_owned()), lines);
    }

    pub(super) fn set_policy(&mut self, table: TableName, chain: &str, policy: Policy) {
        self.policies.push(((table, chain.to_owned()), policy));
    }

    /// Gives the rules back to the host.
    pub(super) fn put_back(self, system: &mut System) {
        let tracked =
            [Family::Ipv4, Family::Ipv6].map(|family| system.rules.tracks_connections(family));
        let Ruleset { mut sources, mut chains, .. } = std::mem::take(&mut system.rules);
        sources.push(Source { name: SOURCE.to_owned(), text: Arc::default() });
        let source = u16::try_from(sources.len() - 1).unwrap_or(u16::MAX);
        let ids: BTreeMap<Name, ChainId> =
            self.chains.keys().map(|name| (name.clone(), self.chain(&mut chains, name))).collect();
        let mut made = self.lowered(&ids);
        for (name, lines) in self.chains {
            let mut fresh = made.remove(&name).unwrap_or_default().into_iter();
            let Some(id) = ids.get(&name) else { continue };
            let Some(chain) = chains.get_mut(id.0 as usize) else { continue };
            let rules = (1u32..).zip(lines).filter_map(|(number, line)| {
                line.rule.or_else(|| {
                    let mut rule = fresh.next()?;
                    rule.origin.source = source;
                    rule.origin.line = number;
                    rule.origin.printed = Some(line.text.into_boxed_str());
                    Some(rule)
                })
            });
            chain.rules = rules.collect();
            let policy = self.policies.iter().find(|(of, _)| *of == name);
            if let (Some((_, policy)), Some(base)) = (policy, &mut chain.base) {
                base.policy = *policy;
            }
        }
        system.rules = Ruleset::new(sources, chains, tracked);
    }

    /// The chain of this name, made where there is none.
    fn chain(&self, chains: &mut Vec<Chain>, (table, name): &Name) -> ChainId {
        let found = (0u32..).zip(chains.iter()).find(|(_, chain)| {
            chain.backend == self.backend
                && chain.family == self.family
                && chain.table == *table
                && *chain.name == **name
        });
        if let Some((index, _)) = found {
            return ChainId(index);
        }
        let index = u32::try_from(chains.len()).unwrap_or(u32::MAX);
        chains.push(Chain {
            backend: self.backend,
            family: self.family,
            table: Table::Iptables(*table),
            name: name.as_str().into(),
            base: base_of(self.backend, *table, name, Policy::Accept),
            rules: Vec::new(),
        });
        ChainId(index)
    }

    /// What the new rules mean, by chain and in order.
    fn lowered(&self, ids: &BTreeMap<Name, ChainId>) -> BTreeMap<Name, Vec<Rule>> {
        let mut text = String::new();
        for table in TableName::ALL {
            let own = || self.chains.iter().filter(|((of, _), _)| *of == table);
            if own().next().is_none() {
                continue;
            }
            text += &format!("*{}\n", table.as_str());
            let built_in = table.builtin_chains();
            for chain in built_in {
                text += &format!(":{chain} ACCEPT [0:0]\n");
            }
            for ((_, chain), _) in own().filter(|((_, name), _)| !built_in.contains(&&**name)) {
                text += &format!(":{chain} - [0:0]\n");
            }
            for line in own().flat_map(|(_, lines)| lines).filter(|line| line.rule.is_none()) {
                text += &line.text;
                text.push('\n');
            }
            text += "COMMIT\n";
        }
        let text = Arc::new(text);
        let origin = Origin { family: Some(self.family), backend: Some(self.backend) };
        let (rules, found) = parse_rules_of(&text, origin);
        let (family, backend) = (self.family, self.backend);
        let input = RulesInput { name: SOURCE, text: &text, rules: &rules, family, backend };
        let (ruleset, of_meaning) = lower(&[input]);
        let mut all = found.iter().chain(of_meaning.iter().map(|(_, found)| found));
        debug_assert!(all.all(|found| found.severity != Severity::Error), "{text}");
        let mut made = BTreeMap::new();
        for chain in &ruleset.chains {
            let Some(table) = chain.table.of_iptables() else { continue };
            let translated = |id: ChainId| {
                let to = ruleset.chain(id)?;
                ids.get(&(to.table.of_iptables()?, to.name.to_string())).copied()
            };
            let mut rules = chain.rules.clone();
            for rule in &mut rules {
                if let Target::Jump(to) | Target::Goto(to) = &mut rule.target {
                    *to = translated(*to).unwrap_or(*to);
                }
            }
            made.insert((table, chain.name.to_string()), rules);
        }
        made
    }
}

/// A rule from its `-A` on.
fn words(rules: &Ruleset, rule: &Rule) -> String {
    let text = rules.text(rule);
    let start = text.find("-A ").unwrap_or(0);
    text.get(start..).unwrap_or(text).trim_end().to_owned()
}
