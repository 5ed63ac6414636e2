//! Carrying out commands of iptables.

use std::borrow::Cow;

use super::command::{self, Field, Invocation};
use super::loops::target;
use super::verb::Verb;
use super::{At, Outcome, TableSet, refuse, spec};
use crate::arguments::number;
use crate::diagnostic::{Diagnostic, nearest};
use crate::recognize::Tool;
use crate::span::Span;
use crate::syntax::{Backend, Counters, Rule, TableName, Unsupported};
use crate::words::clip;

/// What iptables says where a chain is missing.
pub(super) const NO_CHAIN: &str = "iptables: No chain/target/match by that name";

impl<'a> TableSet<'a> {
    /// Carries out the arguments of `iptables`.
    pub(crate) fn run(
        &mut self,
        fields: &[Field<'a>],
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        self.touch();
        let read = command::read(fields, Tool::Rules, self.family, at.span, diagnostics);
        let Some(invocation) = read else { return Outcome::Refused };
        self.carry_out(&invocation, None, at, diagnostics)
    }

    /// Carries out a command.
    pub(super) fn carry_out(
        &mut self,
        invocation: &Invocation<'a>,
        counters: Option<Counters>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let table = invocation.table;
        // kernel-facts A11.
        let fresh = self.backend == Backend::Legacy && self.find(table).is_none();
        if fresh {
            self.make(table, at.span);
        }
        let said = diagnostics.len();
        let outcome = self.change(invocation, counters, at, diagnostics);
        // What is refused for its words never gets to the table.
        let words = diagnostics.get(said..).unwrap_or_default().last();
        if fresh
            && outcome == Outcome::Refused
            && words.is_some_and(|last| last.label.is_none() || last.code == "drop-in-nat")
        {
            self.tables.retain(|state| state.name != table);
        }
        outcome
    }

    fn change(
        &mut self,
        invocation: &Invocation<'a>,
        counters: Option<Counters>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let Invocation { table, verb, option, .. } = *invocation;
        let named = [&invocation.chain, &invocation.value];
        if let Some(unknown) = named.into_iter().flatten().find(|field| !field.known) {
            let message = format!("what `{}` stands for can't be known", clip(&unknown.word.text));
            diagnostics.push(
                Diagnostic::error("undetermined-command", message, unknown.word.span)
                    .help("what the command changes depends on it"),
            );
            return Outcome::Unknown;
        }
        match (verb, &invocation.chain) {
            (Verb::Append | Verb::Insert, Some(chain)) => {
                self.add(invocation, chain, counters, at, diagnostics)
            }
            (Verb::Delete, Some(chain)) => self.delete(invocation, chain, at, diagnostics),
            (Verb::Replace, Some(chain)) => {
                self.replace(invocation, chain, counters, at, diagnostics)
            }
            (Verb::Check, Some(chain)) => self.check(invocation, chain, at, diagnostics),
            (Verb::New, Some(chain)) => self.new_chain(table, chain, at, diagnostics),
            (Verb::DeleteChain, chain) => {
                self.delete_chain(table, chain.as_ref(), option, at, diagnostics)
            }
            (Verb::Rename, Some(chain)) => self.rename(invocation, chain, at, diagnostics),
            (Verb::Flush, chain) => self.flush(table, chain.as_ref(), at, diagnostics),
            (Verb::Zero, chain) => self.zero(invocation, chain.as_ref(), diagnostics),
            (Verb::Policy, Some(chain)) => self.policy(invocation, chain, at, diagnostics),
            // `iptables -L CHAIN || iptables -N CHAIN`.
            (Verb::Print, Some(chain)) if !self.has(table, &chain.word.text) => Outcome::Refused,
            _ => Outcome::Done,
        }
    }

    /// Whether a chain exists, or comes into being by being named.
    pub(super) fn has(&self, table: TableName, chain: &str) -> bool {
        table.builtin_chains().contains(&chain)
            || self.find(table).is_some_and(|state| state.chains.contains_key(chain))
    }

    pub(super) fn no_chain(
        &self,
        table: TableName,
        chain: &Field<'_>,
        out: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let name = &chain.word.text;
        let message =
            format!("chain `{}` does not exist in the {} table", clip(name), table.as_str());
        let mut diagnostic =
            Diagnostic::error("unknown-chain", message, chain.word.span).label(NO_CHAIN);
        let state = self.find(table);
        let known = state.into_iter().flat_map(|state| state.chains.keys()).map(Cow::as_ref);
        let known = known.chain(table.builtin_chains().iter().copied());
        let near = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        diagnostic.help = Some(near.unwrap_or_else(|| {
            "a script starts with empty tables: give what it builds on before it, by `--snapshot` \
             or `--rules`"
                .to_owned()
        }));
        out.push(diagnostic);
        Outcome::Refused
    }

    fn add(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        counters: Option<Counters>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let (table, name) = (invocation.table, chain.word.text.clone());
        if !self.has(table, &name) {
            return self.no_chain(table, chain, diagnostics);
        }
        let rules = spec::read(self, invocation, &name, counters, at, diagnostics);
        let Some(rules) = rules else { return Outcome::Refused };
        if self.closes_loop(table, &name, rules.first()) {
            return self.too_many_links(&name, at, diagnostics);
        }
        let present = self.length(table, &name);
        let position = match (invocation.verb, &invocation.value) {
            (Verb::Insert, None) => 1,
            (Verb::Insert, Some(number)) => match position(number, diagnostics) {
                Some(position) if position <= present + 1 => position,
                Some(position) => {
                    let message = format!(
                        "chain `{}` has {present} rules, so none can be inserted as number {position}",
                        clip(&name)
                    );
                    let says = "iptables: Index of insertion too big";
                    return refuse(diagnostics, "bad-position", message, number.word.span, says);
                }
                None => return Outcome::Refused,
            },
            _ => present + 1,
        };
        let chain = self.make(table, at.span).chain(&name, at.span);
        if invocation.verb == Verb::Insert {
            // One after the other at the same place (kernel-facts H12).
            for rule in rules {
                chain.rules.insert(position - 1, rule);
            }
        } else {
            chain.rules.extend(rules);
        }
        Outcome::Done
    }

    /// Whether a rule closes a loop that packets can get into (kernel-facts G5).
    fn closes_loop(&self, table: TableName, chain: &str, rule: Option<&Rule<'a>>) -> bool {
        let (Some(state), Some(to)) = (self.find(table), rule.and_then(target)) else {
            return false;
        };
        state.leads_round(to, chain) && state.is_reached(chain)
    }

    fn too_many_links(&self, chain: &str, at: &At<'a>, out: &mut Vec<Diagnostic>) -> Outcome {
        let message = format!("this rule of chain `{}` closes a loop", clip(chain));
        let says = match self.backend {
            Backend::Nft => "iptables: RULE_APPEND failed (Too many links)",
            Backend::Legacy => "iptables: Too many levels of symbolic links",
        };
        refuse(out, "chain-loop", message, at.span, says)
    }

    pub(super) fn length(&self, table: TableName, chain: &str) -> usize {
        let state = self.find(table).and_then(|state| state.chains.get(chain));
        state.map_or(0, |chain| chain.rules.len())
    }

    fn delete(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let (table, name) = (invocation.table, chain.word.text.as_ref());
        if !self.has(table, name) {
            return self.no_chain(table, chain, diagnostics);
        }
        if let Some(number) = &invocation.value {
            let Some(position) = position(number, diagnostics) else { return Outcome::Refused };
            let says = "iptables: Index of deletion too big";
            return self.at_number(
                table,
                name,
                position,
                number.word.span,
                says,
                diagnostics,
                |rules, index| match &at.doubt {
                    Some(doubt) => doubtful(rules.get_mut(index), doubt),
                    None => drop(rules.remove(index)),
                },
            );
        }
        let Some(wanted) = spec::read(self, invocation, name, None, &sure(at), diagnostics) else {
            return Outcome::Refused;
        };
        if wanted.iter().any(|rule| !rule.unsupported.is_empty())
            && invocation.rule.iter().any(|field| !field.known)
        {
            let message = "which rule is deleted can't be known";
            diagnostics.push(Diagnostic::error("undetermined-command", message, at.span));
            return Outcome::Unknown;
        }
        let mut rules = self
            .find(table)
            .and_then(|state| state.chains.get(name))
            .map_or_else(Vec::new, |chain| chain.rules.clone());
        for one in &wanted {
            let Some(index) = place_of(&rules, one) else {
                return no_rule(name, at, diagnostics);
            };
            match &at.doubt {
                Some(doubt) => doubtful(rules.get_mut(index), doubt),
                None => drop(rules.remove(index)),
            }
        }
        if let Some(chain) = self.find_mut(table).and_then(|state| state.chains.get_mut(name)) {
            chain.rules = rules;
        }
        Outcome::Done
    }

    /// Does something to the rule of a number.
    #[expect(
        clippy::too_many_arguments,
        reason = "the place, and what is said where it is missing"
    )]
    fn at_number(
        &mut self,
        table: TableName,
        chain: &str,
        position: usize,
        span: Span,
        says: &'static str,
        diagnostics: &mut Vec<Diagnostic>,
        change: impl FnOnce(&mut Vec<Rule<'a>>, usize),
    ) -> Outcome {
        let present = self.length(table, chain);
        let state = self.find_mut(table).and_then(|state| state.chains.get_mut(chain));
        match state {
            Some(state) if position <= present => {
                change(&mut state.rules, position - 1);
                Outcome::Done
            }
            _ => {
                let message = format!(
                    "chain `{}` has {present} rules, and no number {position}",
                    clip(chain)
                );
                refuse(diagnostics, "bad-position", message, span, says)
            }
        }
    }

    fn replace(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        counters: Option<Counters>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let (table, name) = (invocation.table, chain.word.text.as_ref());
        if !self.has(table, name) {
            return self.no_chain(table, chain, diagnostics);
        }
        let Some(number) = &invocation.value else { return Outcome::Refused };
        let Some(position) = position(number, diagnostics) else { return Outcome::Refused };
        let Some(mut rules) = spec::read(self, invocation, name, counters, at, diagnostics) else {
            return Outcome::Refused;
        };
        if rules.len() > 1 {
            let message = "a rule can't be replaced by several".to_owned();
            let says = "Replacement rule does not specify a unique address";
            return refuse(diagnostics, "bad-position", message, at.span, says);
        }
        if self.closes_loop(table, name, rules.first()) {
            return self.too_many_links(name, at, diagnostics);
        }
        let says = "iptables: Index of replacement too big";
        let span = number.word.span;
        self.at_number(table, name, position, span, says, diagnostics, |known, index| {
            let Some(rule) = rules.pop() else { return };
            if let Some(doubt) = &at.doubt {
                doubtful(known.get_mut(index), doubt);
                known.insert(index, rule);
            } else if let Some(place) = known.get_mut(index) {
                *place = rule;
            }
        })
    }

    fn check(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let (table, name) = (invocation.table, chain.word.text.as_ref());
        if !self.has(table, name) {
            return self.no_chain(table, chain, diagnostics);
        }
        if invocation.rule.iter().any(|field| !field.known) {
            return Outcome::Unknown;
        }
        let Some(wanted) = spec::read(self, invocation, name, None, &sure(at), diagnostics) else {
            return Outcome::Refused;
        };
        let state = self.find(table).and_then(|state| state.chains.get(name));
        let rules = state.map_or(&[][..], |chain| &chain.rules);
        let mut doubted = false;
        for one in &wanted {
            if place_of(rules, one).is_some() {
                continue;
            }
            // A rule that is perhaps there.
            doubted |= rules.iter().any(|rule| !rule.unsupported.is_empty());
            if !doubted {
                return no_rule(name, at, diagnostics);
            }
        }
        if doubted { Outcome::Unknown } else { Outcome::Done }
    }
}

/// The same place without doubt: what a rule is compared with is not in doubt.
fn sure<'a>(at: &At<'a>) -> At<'a> {
    At { doubt: None, ..at.clone() }
}

/// Notes of a rule that it is perhaps not there.
pub(super) fn doubtful<'a>(rule: Option<&mut Rule<'a>>, doubt: &Unsupported<'a>) {
    if let Some(rule) = rule
        && !rule.unsupported.contains(doubt)
    {
        rule.unsupported.push(doubt.clone());
    }
}

fn place_of(rules: &[Rule<'_>], wanted: &Rule<'_>) -> Option<usize> {
    let text = spec::printed(wanted);
    rules.iter().position(|rule| spec::printed(rule) == text)
}

fn no_rule(chain: &str, at: &At<'_>, diagnostics: &mut Vec<Diagnostic>) -> Outcome {
    let message = format!("chain `{}` has no such rule", clip(chain));
    let says = "iptables: Bad rule (does a matching rule exist in that chain?)";
    refuse(diagnostics, "no-such-rule", message, at.span, says)
}

pub(super) fn position(number: &Field<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    // As strtoul(3) reads it: `01` and `0x1` are 1.
    let found =
        number::parse(&number.word.text).and_then(|position| usize::try_from(position).ok());
    let found = found.filter(|position| (1..=i32::MAX as usize).contains(position));
    if found.is_none() {
        let message = format!("expected a position from 1, found `{}`", clip(&number.word.text));
        diagnostics.push(Diagnostic::error("invalid-position", message, number.word.span));
    }
    found
}
