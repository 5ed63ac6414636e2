//! Carrying out commands of iptables.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::command::{self, Field, Invocation, Verb};
use super::{At, Outcome, State, TableSet, refuse, spec};
use crate::diagnostic::{Diagnostic, nearest};
use crate::span::Span;
use crate::syntax::{Backend, Counters, Family, Policy, Rule, TableName, Unsupported};
use crate::words::clip;

/// What iptables says where a chain is missing.
const NO_CHAIN: &str = "iptables: No chain/target/match by that name";

impl<'a> TableSet<'a> {
    /// Carries out the arguments of `iptables`.
    pub(crate) fn run(
        &mut self,
        fields: &[Field<'a>],
        at: &At<'a>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Outcome {
        self.touch();
        let Some(invocation) = command::read(fields, at.span, diagnostics) else {
            return Outcome::Refused;
        };
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
        if let Some(family) = invocation.family.filter(|family| *family != self.family) {
            let tool = match family {
                Family::Ipv4 => "iptables",
                Family::Ipv6 => "ip6tables",
            };
            let message = format!("this is a rule for {tool}");
            return refuse(diagnostics, "wrong-family", message, at.span, "it is refused");
        }
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
    fn has(&self, table: TableName, chain: &str) -> bool {
        table.builtin_chains().contains(&chain)
            || self.find(table).is_some_and(|state| state.chains.contains_key(chain))
    }

    fn no_chain(&self, table: TableName, chain: &Field<'_>, out: &mut Vec<Diagnostic>) -> Outcome {
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

    fn length(&self, table: TableName, chain: &str) -> usize {
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

    fn new_chain(
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

    fn delete_chain(
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

    fn rename(
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

    fn flush(
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

    fn zero(
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
        let number = invocation.value.as_ref().and_then(|value| value.word.text.parse().ok());
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

    fn policy(
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
        state.counters = None;
        state.span = at.span;
        Outcome::Done
    }
}

/// The same place without doubt: what a rule is compared with is not in doubt.
fn sure<'a>(at: &At<'a>) -> At<'a> {
    At { doubt: None, ..at.clone() }
}

/// Notes of a rule that it is perhaps not there.
fn doubtful<'a>(rule: Option<&mut Rule<'a>>, doubt: &Unsupported<'a>) {
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

fn position(number: &Field<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    let found = number.word.text.parse().ok().filter(|position| *position > 0);
    if found.is_none() {
        let message = format!("expected a position from 1, found `{}`", clip(&number.word.text));
        diagnostics.push(Diagnostic::error("invalid-position", message, number.word.span));
    }
    found
}

/// The chain that a rule leads to.
fn target<'r>(rule: &'r Rule<'_>) -> Option<&'r str> {
    use crate::syntax::Target;
    match &rule.target {
        Target::Jump(name, _) | Target::Goto(name, _) => Some(name),
        _ => None,
    }
}

impl State<'_> {
    /// The chains that the rules of a chain lead to.
    fn calls(&self, chain: &str) -> impl Iterator<Item = &str> {
        self.chains.get(chain).into_iter().flat_map(|chain| &chain.rules).filter_map(target)
    }

    /// Whether there is a way from a chain to another, or round in a circle.
    fn leads_round<'n>(&'n self, from: &'n str, to: &str) -> bool {
        // Chains that are being left, and those that were.
        let (mut open, mut done) = (BTreeSet::new(), BTreeSet::new());
        let mut ways = vec![(from, false)];
        while let Some((chain, left)) = ways.pop() {
            if left {
                open.remove(chain);
                done.insert(chain);
            } else if chain == to || open.contains(chain) {
                return true;
            } else if !done.contains(chain) {
                open.insert(chain);
                ways.push((chain, true));
                ways.extend(self.calls(chain).map(|next| (next, false)));
            }
        }
        false
    }

    /// Whether packets get into a chain.
    fn is_reached(&self, chain: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<&str> = self.name.builtin_chains().to_vec();
        while let Some(from) = ways.pop() {
            if from == chain {
                return true;
            }
            if seen.insert(from) {
                ways.extend(self.calls(from));
            }
        }
        false
    }
}

fn rename_targets<'a>(state: &mut State<'a>, old: &str, new: &Cow<'a, str>) {
    use crate::syntax::Target;
    for rule in state.chains.values_mut().flat_map(|chain| &mut chain.rules) {
        if let Target::Jump(name, _) | Target::Goto(name, _) = &mut rule.target
            && name == old
        {
            *name = new.clone();
        }
    }
}
