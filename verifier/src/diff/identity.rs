//! What makes a rule of one host the same as a rule of another: not its number, its counters or
//! its comment, but what it asks and does.

use std::collections::HashMap;
use std::sync::Mutex;

use nattrace_model::System;
use nattrace_model::condition::Condition;
use nattrace_model::condition::value::{Selector, ValueCondition};
use nattrace_model::ruleset::{Chain, ChainId, Rule, Table};
use nattrace_model::target::{Action, MapEntry, Target, TargetMap};
use nattrace_parser::syntax::{Backend, Family};

use super::renamed::renamed;

/// Words behind which a chain is named.
const NAMING: [&str; 8] = ["-A", "-j", "-g", "--append", "--jump", "--goto", "jump", "goto"];
/// Chains that only the later host has are numbered from here.
const FIRST_NEW: u32 = 1 << 31;

/// What a chain is called.
pub(super) type Name = (Backend, Family, Table, Box<str>);

/// What a chain is called.
pub(super) fn name(chain: &Chain) -> Name {
    (chain.backend, chain.family, chain.table.clone(), chain.name.clone())
}

/// What a rule asks and does, with the chains that it calls by one numbering for both hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Meaning {
    conditions: Vec<Condition>,
    target: Target,
    /// Its words, where the above does not hold all of what it means.
    words: Option<String>,
}

impl Meaning {
    /// That of a rule, but for the words that say more.
    pub(super) fn bare(rule: &Rule, number: &impl Fn(ChainId) -> ChainId) -> Self {
        let target = renumbered(&rule.target, number);
        Self { conditions: rule.conditions.clone(), target, words: None }
    }
}

/// The rules of one host, as they are told apart.
pub(super) struct Identities<'s> {
    system: &'s System,
    /// One numbering of chains for both hosts.
    numbers: Vec<ChainId>,
    /// What chains were called before that have another name now.
    former: HashMap<Box<str>, Box<str>>,
    /// Chains by `table/name`, with the words of their rules, where decisions are about them.
    places: HashMap<(Family, String), Vec<usize>>,
    /// Decisions that were put into other words before.
    known: Mutex<HashMap<(Family, String), String>>,
}

impl<'s> Identities<'s> {
    /// Those of the earlier host.
    pub(super) fn before(system: &'s System) -> Self {
        let numbers = (0u32..).zip(&system.rules.chains).map(|(index, _)| ChainId(index));
        Self {
            system,
            numbers: numbers.collect(),
            former: HashMap::new(),
            places: places(system),
            known: Mutex::default(),
        }
    }

    /// Those of the later host, with the numbers that chains have on the earlier one.
    pub(super) fn after(system: &'s System, before: &System) -> Self {
        let known: HashMap<Name, u32> = before.rules.chains.iter().map(name).zip(0u32..).collect();
        let renamed: HashMap<u32, ChainId> =
            renamed(before, system).into_iter().map(|(old, new)| (new.0, old)).collect();
        let number = |(index, chain): (u32, &Chain)| {
            let same = known.get(&name(chain)).copied();
            let number = same.or_else(|| renamed.get(&index).map(|old| old.0));
            ChainId(number.unwrap_or(FIRST_NEW | index))
        };
        let numbers = (0u32..).zip(&system.rules.chains).map(number).collect();
        let former = renamed.iter().filter_map(|(new, old)| {
            let (new, old) = (system.rules.chain(ChainId(*new))?, before.rules.chain(*old)?);
            Some((new.name.clone(), old.name.clone()))
        });
        let former = former.collect();
        Self { system, numbers, former, places: places(system), known: Mutex::default() }
    }

    /// The chain of the earlier host that a chain of the later one is.
    pub(super) fn counterpart(&self, id: ChainId) -> Option<ChainId> {
        Some(self.number(id)).filter(|number| number.0 < FIRST_NEW)
    }

    /// The number of a chain that both hosts share, or that only this one uses.
    pub(super) fn number(&self, id: ChainId) -> ChainId {
        self.numbers.get(id.0 as usize).copied().unwrap_or(id)
    }

    /// What a rule asks and does.
    pub(super) fn meaning(&self, rule: &Rule) -> Meaning {
        let target = self.renumbered(&rule.target);
        let words = self.undecided_words(rule);
        Meaning { conditions: rule.conditions.clone(), target, words }
    }

    /// The words of a rule that say more of what it means than its conditions and target do.
    pub(super) fn undecided_words(&self, rule: &Rule) -> Option<String> {
        let told = rule.conditions.iter().all(is_told) && target_is_told(&rule.target);
        (!told).then(|| self.words(rule))
    }

    /// The words of a rule without remarks, with the names that chains had before.
    fn words(&self, rule: &Rule) -> String {
        let words = without_remarks(self.system.rules.text(rule));
        if self.former.is_empty() {
            return words;
        }
        let mut names_chain = false;
        let mut all = Vec::new();
        for word in words.split(' ') {
            let former = if names_chain { self.former.get(word) } else { None };
            all.push(former.map_or(word, |name| name));
            names_chain = NAMING.contains(&word);
        }
        all.join(" ")
    }

    /// A target with the numbers of chains that both hosts share.
    pub(super) fn renumbered(&self, target: &Target) -> Target {
        renumbered(target, &|id| self.number(id))
    }

    /// What is taken to be so, without the number of the rule that it is about: the same decision
    /// of both hosts has the same words.
    pub(super) fn decision(&self, family: Family, what: &str) -> String {
        let words = || self.about_rule(family, what).unwrap_or_else(|| what.to_owned());
        let Ok(mut known) = self.known.lock() else { return words() };
        known.entry((family, what.to_owned())).or_insert_with(words).clone()
    }

    fn about_rule(&self, family: Family, what: &str) -> Option<String> {
        let (head, rest) = what.split_once(" matches")?;
        let (chain, number) = head.rsplit_once('/')?;
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        let (who, chain) = chain.rsplit_once(": ").unwrap_or(("", chain));
        let chains = self.places.get(&(family, chain.to_owned()))?;
        let [at] = chains.as_slice() else { return None };
        let rules = &self.system.rules.chains.get(*at)?.rules;
        let own = self.meaning(rules.get(index)?);
        let alike = rules.iter().take(index).filter(|rule| self.meaning(rule) == own).count();
        let words = self.words(rules.get(index)?);
        let former = chain.split_once('/').and_then(|(table, name)| {
            let former = self.former.get(name)?;
            Some(format!("{table}/{former}"))
        });
        let chain = former.as_deref().unwrap_or(chain);
        Some(format!("{who} {chain} {words} #{alike}{rest}"))
    }
}

/// A target with other numbers of chains.
fn renumbered(target: &Target, number: &impl Fn(ChainId) -> ChainId) -> Target {
    match target {
        Target::Jump(to) => Target::Jump(number(*to)),
        Target::Goto(to) => Target::Goto(number(*to)),
        Target::Sequence(actions) => {
            let action = |action: &Action| match action {
                Action::If(condition) => Action::If(condition.clone()),
                Action::Do(target) => Action::Do(renumbered(target, number)),
            };
            Target::Sequence(actions.iter().map(action).collect())
        }
        Target::Map(map) => {
            let entry = |entry: &MapEntry| MapEntry {
                key: entry.key.clone(),
                target: renumbered(&entry.target, number),
            };
            Target::Map(Box::new(TargetMap {
                operands: map.operands.clone(),
                entries: map.entries.iter().map(entry).collect(),
                otherwise: map.otherwise.as_ref().map(|target| renumbered(target, number)),
            }))
        }
        other => other.clone(),
    }
}

fn places(system: &System) -> HashMap<(Family, String), Vec<usize>> {
    let mut places: HashMap<(Family, String), Vec<usize>> = HashMap::new();
    for (index, chain) in system.rules.chains.iter().enumerate() {
        let place = format!("{}/{}", chain.table, chain.name);
        places.entry((chain.family, place)).or_default().push(index);
    }
    places
}

/// Whether a condition holds all of what its words mean.
fn is_told(condition: &Condition) -> bool {
    match condition {
        Condition::Undecided(_) => false,
        Condition::Value(_, value) => value_is_told(value),
        _ => true,
    }
}

fn value_is_told(value: &ValueCondition) -> bool {
    value.operands.iter().all(|operand| !matches!(operand.selector, Selector::Unknown(_)))
}

fn target_is_told(target: &Target) -> bool {
    match target {
        Target::Unsupported(_) | Target::Map(_) => false,
        Target::Sequence(actions) => actions.iter().all(|action| match action {
            Action::If(condition) => is_told(condition),
            Action::Do(target) => target_is_told(target),
        }),
        _ => true,
    }
}

/// The words of a rule without counters and comments.
fn without_remarks(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = text.trim();
    if let Some((_, behind)) = rest.strip_prefix('[').and_then(|inner| inner.split_once("] ")) {
        rest = behind;
    }
    while let Some((word, behind)) = next_word(rest) {
        rest = behind;
        words.push(word);
        let skipped = match words.as_slice() {
            [.., "-m", "comment"] => 2,
            [.., "--comment"] => {
                rest = next_word(rest).map_or("", |(_, behind)| behind);
                1
            }
            [.., "-c", _, _] => 3,
            _ => 0,
        };
        words.truncate(words.len() - skipped);
    }
    words.join(" ")
}

/// The first word, quotes and all, and what is behind it.
fn next_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let mut quoted = false;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => return text.split_at_checked(at),
            _ => {}
        }
    }
    (!text.is_empty()).then_some((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_comments_are_no_words_of_a_rule() {
        for (text, expected) in [
            (
                "[1:2] -A INPUT -m limit --limit 3/sec -j LOG",
                "-A INPUT -m limit --limit 3/sec -j LOG",
            ),
            (
                "-A INPUT -m comment --comment \"a \\\" b\" -m limit -j LOG",
                "-A INPUT -m limit -j LOG",
            ),
            ("-A INPUT -c 10 20 -j LOG", "-A INPUT -j LOG"),
            ("-A INPUT --comment x -m comment -j LOG", "-A INPUT -j LOG"),
            ("", ""),
        ] {
            assert_eq!(without_remarks(text), expected);
        }
    }
}
