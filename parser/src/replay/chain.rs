//! Carrying out commands on whole chains.

use std::borrow::Cow;

use super::change::{doubtful, position};
use super::command::{Field, Invocation};
use super::{At, Counts, Outcome, State, TableSet, refuse};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::{Backend, Counters, Policy, TableName, Target};
use crate::words::clip;

impl<'a> TableSet<'a> {
    pub(super) fn new_chain(
        &mut self,
        table: TableName,
        chain: &Field<'a>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let word = &chain.word;
        let before = diagnostics.len();
        crate::rule::check_chain_name(&word.text, word.span, diagnostics);
        if diagnostics.len() > before {
            return Outcome::Refused;
        }
        if self.has(table, &word.text) {
            let message = format!("chain `{}` exists already", clip(&word.text));
            let says = "iptables: Chain already exists";
            return refuse(diagnostics, "chain-exists", message, word.span, says);
        }
        self.make(table, at.span).chain(&word.text, at.span);
        Outcome::Done
    }

    pub(super) fn delete_chain(
        &mut self,
        table: TableName,
        chain: Option<&Field<'a>>,
        option: Span,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let Some(state) = self.find(table) else {
            return chain.map_or(Outcome::Done, |chain| self.no_chain(table, chain, diagnostics));
        };
        let doomed: Vec<Cow<'a, str>> = match chain {
            Some(chain) => vec![chain.word.text.clone()],
            None => state.chains.keys().filter(|name| !state.is_builtin(name)).cloned().collect(),
        };
        let place = chain.map_or(option, |chain| chain.word.span);
        for name in &doomed {
            let Some(known) = state.chains.get(name).filter(|_| !state.is_builtin(name)) else {
                return match chain {
                    Some(chain) if !state.is_builtin(name) => {
                        self.no_chain(table, chain, diagnostics)
                    }
                    _ => {
                        let message = format!("the built-in chain `{name}` can't be deleted");
                        let says = "iptables refuses it, or removes it until it is used again";
                        refuse(diagnostics, "wrong-chain", message, place, says)
                    }
                };
            };
            let (rules, references) = (known.rules.len(), state.references(name));
            let in_use = match (rules, references) {
                (0, 0) => continue,
                (0, 1) => "a rule leads to it".to_owned(),
                (0, many) => format!("{many} rules lead to it"),
                (1, _) => "it has a rule".to_owned(),
                (many, _) => format!("it has {many} rules"),
            };
            let message = format!("chain `{}` can't be deleted: {in_use}", clip(name));
            let says = match (self.backend, rules) {
                (Backend::Nft, _) => "iptables: CHAIN_DEL failed (Device or resource busy)",
                (Backend::Legacy, 0) => "iptables: Too many links",
                (Backend::Legacy, _) => "iptables: Directory not empty",
            };
            return refuse(diagnostics, "chain-in-use", message, place, says);
        }
        if at.doubt.is_none()
            && let Some(state) = self.find_mut(table)
        {
            state.chains.retain(|name, _| !doomed.contains(name));
        }
        Outcome::Done
    }

    pub(super) fn rename(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let table = invocation.table;
        let Some(new) = &invocation.value else { return Outcome::Refused };
        let (old, name) = (&chain.word.text, &new.word.text);
        let before = diagnostics.len();
        crate::rule::check_chain_name(name, new.word.span, diagnostics);
        if diagnostics.len() > before {
            return Outcome::Refused;
        }
        let known = self
            .find(table)
            .is_some_and(|state| state.chains.contains_key(old) && !state.is_builtin(old));
        if !known {
            return self.no_chain(table, chain, diagnostics);
        }
        if self.has(table, name) {
            let message = format!("chain `{}` exists already", clip(name));
            let says = "iptables: File exists";
            return refuse(diagnostics, "chain-exists", message, new.word.span, says);
        }
        if at.doubt.is_some() {
            let message = "whether the chain is renamed can't be known";
            diagnostics.push(Diagnostic::error("undetermined-command", message, at.span));
            return Outcome::Unknown;
        }
        if let Some(state) = self.find_mut(table)
            && let Some(mut chain) = state.chains.remove(old)
        {
            for rule in &mut chain.rules {
                rule.chain = name.clone();
            }
            state.chains.insert(name.clone(), chain);
            rename_targets(state, old, name);
        }
        Outcome::Done
    }

    pub(super) fn flush(
        &mut self,
        table: TableName,
        chain: Option<&Field<'a>>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        if let Some(chain) = chain {
            if !self.has(table, &chain.word.text) {
                return self.no_chain(table, chain, diagnostics);
            }
            self.make(table, at.span);
        }
        let Some(state) = self.find_mut(table) else { return Outcome::Done };
        let flushed = state
            .chains
            .iter_mut()
            .filter(|(name, _)| chain.is_none_or(|chain| chain.word.text == **name));
        for (_, chain) in flushed {
            match &at.doubt {
                Some(doubt) => chain.rules.iter_mut().for_each(|rule| doubtful(Some(rule), doubt)),
                None => chain.rules.clear(),
            }
        }
        Outcome::Done
    }

    pub(super) fn zero(
        &mut self,
        invocation: &Invocation<'a>,
        chain: Option<&Field<'a>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let table = invocation.table;
        if let Some(chain) = chain
            && !self.has(table, &chain.word.text)
        {
            return self.no_chain(table, chain, diagnostics);
        }
        let number = match &invocation.value {
            None => None,
            Some(value) => match position(value, diagnostics) {
                Some(number) => Some(number),
                None => return Outcome::Refused,
            },
        };
        if let (Some(number), Some(value), Some(chain)) = (number, &invocation.value, chain)
            && number > self.length(table, &chain.word.text)
            && self.backend == Backend::Legacy
        {
            let message = format!("chain `{}` has no rule {number}", clip(&chain.word.text));
            let says = "iptables: Index of counter too big";
            return refuse(diagnostics, "bad-position", message, value.word.span, says);
        }
        if self.counts == Counts::Load {
            return Outcome::Done;
        }
        let Some(state) = self.find_mut(table) else { return Outcome::Done };
        let zeroed = state
            .chains
            .iter_mut()
            .filter(|(name, _)| chain.is_none_or(|chain| chain.word.text == **name));
        for (_, chain) in zeroed {
            if number.is_none() {
                chain.counters = chain.counters.map(|_| Counters::default());
            }
            for (index, rule) in chain.rules.iter_mut().enumerate() {
                if number.is_none_or(|number: usize| number == index + 1) {
                    rule.counters = rule.counters.map(|_| Counters::default());
                }
            }
        }
        Outcome::Done
    }

    pub(super) fn policy(
        &mut self,
        invocation: &Invocation<'a>,
        chain: &Field<'a>,
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        let (table, name) = (invocation.table, &chain.word.text);
        let Some(value) = &invocation.value else { return Outcome::Refused };
        if !table.builtin_chains().contains(&name.as_ref()) {
            let message = format!(
                "`{}` is no built-in chain of the {} table and has no policy",
                clip(name),
                table.as_str()
            );
            let says = "iptables: Bad built-in chain name";
            return refuse(diagnostics, "invalid-policy", message, chain.word.span, says);
        }
        let policy = match value.word.text.as_ref() {
            "ACCEPT" => Policy::Accept,
            "DROP" => Policy::Drop,
            other => {
                let message =
                    format!("expected the policy ACCEPT or DROP, found `{}`", clip(other));
                let says = "iptables: Bad policy name";
                return refuse(diagnostics, "invalid-policy", message, value.word.span, says);
            }
        };
        if table == TableName::Nat && policy == Policy::Drop {
            // kernel-facts G4.
            let message = "DROP can't be the policy of a chain of the nat table".to_owned();
            let says = "the nat table is not intended for filtering";
            return refuse(diagnostics, "drop-in-nat", message, value.word.span, says);
        }
        let state = self.make(table, at.span).chain(name, at.span);
        if at.doubt.is_some() && state.policy.unwrap_or(Policy::Accept) != policy {
            let message = format!(
                "whether the policy of `{name}` becomes {} can't be known",
                value.word.text
            );
            diagnostics.push(Diagnostic::error("undetermined-command", message, at.span));
            return Outcome::Unknown;
        }
        state.policy = Some(policy);
        state.there = true;
        state.counters = None;
        state.span = at.span;
        Outcome::Done
    }
}

fn rename_targets<'a>(state: &mut State<'a>, old: &str, new: &str) {
    for rule in state.chains.values_mut().flat_map(|chain| &mut chain.rules) {
        if let Target::Jump(name, _) | Target::Goto(name, _) = &mut rule.target
            && name == old
        {
            *name = Cow::Owned(new.to_owned());
        }
    }
}
