//! What commands leave behind: tables that change command by command, as iptables changes them.
//!
//! A [`Replay`] starts empty, or from rules that were read before, and says of each command
//! whether iptables carries it out (kernel-facts G6, H12, I5).

mod batch;
mod chain;
mod change;
mod command;
mod edited;
mod loops;
mod restore;
mod spec;
mod ufw;
mod verb;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::recognize::is_rules_program;
use crate::save::{Origin, no_rules, unreadable};
use crate::script;
use crate::shell::{self, Lead};
use crate::span::Span;
use crate::syntax::{
    Backend, Chain, Counters, Family, Placement, Policy, Rule, Rules, RulesFormat, Table,
    TableName, Unsupported,
};

pub(crate) use command::Field;
pub(crate) use edited::is_edited;
pub(crate) use restore::{Options, RestoreLine, UNKNOWN, doubted, restore};
pub(crate) use spec::as_match;
pub(crate) use ufw::is_ufw;
pub(crate) use verb::changes_rules;

/// The tables of every family and backend.
#[derive(Clone, Debug, Default)]
pub struct Replay<'a> {
    sets: BTreeMap<(Family, Backend), TableSet<'a>>,
}

/// The tables of one family and backend.
#[derive(Clone, Debug)]
pub(crate) struct TableSet<'a> {
    pub(crate) family: Family,
    pub(crate) backend: Backend,
    /// In the order in which they came into being.
    tables: Vec<State<'a>>,
    /// Whether the text that is being replayed named it.
    touched: bool,
    counts: Counts,
}

/// Where the counters of rules and policies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// The kernel has them, and `-Z` clears them.
    Kernel,
    /// The load that goes on sets them: iptables-legacy-restore does so behind every `-Z`.
    Load,
}

/// One table.
#[derive(Clone, Debug)]
struct State<'a> {
    name: TableName,
    span: Span,
    chains: BTreeMap<Cow<'a, str>, ChainState<'a>>,
}

/// One chain.
#[derive(Clone, Debug)]
struct ChainState<'a> {
    policy: Option<Policy>,
    counters: Option<Counters>,
    span: Span,
    rules: Vec<Rule<'a>>,
    /// Whether it was declared or made, or got a policy: a built-in chain of iptables-nft is only
    /// there from then on (kernel-facts A11).
    there: bool,
}

impl ChainState<'_> {
    fn new(span: Span) -> Self {
        Self { policy: None, counters: None, span, rules: Vec::new(), there: false }
    }
}

/// Where a command stands, and what is not known about it.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub(crate) span: Span,
    pub(crate) line: u32,
    /// The condition under which it runs, if nobody can know whether that holds.
    pub(crate) doubt: Option<Unsupported<'a>>,
}

/// How a command ended. What iptables says of a failure is among the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Carried out.
    Done,
    /// Refused; the tables are as they were.
    Refused,
    /// Whether it is carried out depends on what is not known.
    Unknown,
}

impl<'a> Replay<'a> {
    /// Takes rules that were read from an earlier text, which is number `source` of all texts.
    /// What it says of a table replaces what was known, as iptables-restore does.
    pub fn start_from(&mut self, rules: &Rules<'a>, family: Family, backend: Backend, source: u16) {
        let set = self.set(family, backend);
        let mut fresh: Vec<TableName> = Vec::new();
        for table in &rules.tables {
            // Blocks of a dump replace each other, those of listings and commands add up.
            if rules.format == RulesFormat::Save || !fresh.contains(&table.name) {
                set.tables.retain(|known| known.name != table.name);
                fresh.push(table.name);
            }
            set.take(table, source);
        }
    }

    /// Carries out a script, or loads a rules file of ufw or input of iptables-restore, and returns the rules that it leaves, of each family and backend that
    /// it names. `backend` is the one that `iptables` speaks to where its name does not tell, and
    /// `number` that of the text, by which rules of it are told in what later texts leave.
    pub fn script(
        &mut self,
        text: &'a str,
        backend: Backend,
        number: u16,
    ) -> (Vec<Rules<'a>>, Vec<Diagnostic>) {
        self.script_of(text, Origin { family: None, backend: Some(backend) }, number)
    }

    /// The same for a text of which more is known than it says.
    pub(crate) fn script_of(
        &mut self,
        text: &'a str,
        known: Origin,
        number: u16,
    ) -> (Vec<Rules<'a>>, Vec<Diagnostic>) {
        let backend = known.backend.unwrap_or(Backend::Nft);
        let mut diagnostics = Vec::new();
        if let Some(refused) = unreadable(text) {
            return (Vec::new(), vec![refused]);
        }
        if is_ufw(text) {
            ufw::load(self, text, backend, &mut diagnostics);
        } else if is_edited(text) {
            edited::load(self, text, known, &mut diagnostics);
        } else {
            script::run(text, lead(text), backend, self, &mut diagnostics);
        }
        let rules = self.touched(RulesFormat::Script);
        self.settle(number);
        let failed = diagnostics.iter().any(|one| one.severity == Severity::Error);
        if rules.is_empty() && !failed {
            diagnostics.push(no_rules(text));
        }
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        (rules, diagnostics)
    }

    /// The tables of a family and backend.
    pub(crate) fn set(&mut self, family: Family, backend: Backend) -> &mut TableSet<'a> {
        self.sets.entry((family, backend)).or_insert_with(|| TableSet {
            family,
            backend,
            tables: Vec::new(),
            touched: false,
            counts: Counts::Kernel,
        })
    }

    /// The rules of each family and backend that the last text named, whole, and forgets that it
    /// named them.
    fn touched(&mut self, format: RulesFormat) -> Vec<Rules<'a>> {
        let mut all = Vec::new();
        for set in self.sets.values_mut().filter(|set| set.touched) {
            set.touched = false;
            all.push(set.rules(format));
        }
        all
    }

    /// Marks the rules that are there as those of text `source`, before the next one is replayed.
    fn settle(&mut self, source: u16) {
        let tables = self.sets.values_mut().flat_map(|set| &mut set.tables);
        for rule in tables.flat_map(|table| table.chains.values_mut()).flat_map(|c| &mut c.rules) {
            rule.stands_in.get_or_insert(source);
        }
    }
}

impl<'a> TableSet<'a> {
    /// Adds the chains and rules of a table that was read.
    fn take(&mut self, table: &Table<'a>, source: u16) {
        let state = self.make(table.name, Span::default());
        for chain in &table.chains {
            let known = state.chain(&chain.name, Span::default());
            known.policy = chain.policy.or(known.policy);
            known.counters = chain.counters.or(known.counters);
        }
        for rule in &table.rules {
            let chain = state.chain(&rule.chain, Span::default());
            let mut rule = rule.clone();
            rule.stands_in.get_or_insert(source);
            match std::mem::replace(&mut rule.placement, Placement::Append) {
                Placement::Append => chain.rules.push(rule),
                Placement::Insert(position) => {
                    let at = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
                    chain.rules.insert(at.min(chain.rules.len()), rule);
                }
            }
        }
    }

    /// Takes note that the text names this family and backend.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    fn find(&self, name: TableName) -> Option<&State<'a>> {
        self.tables.iter().find(|table| table.name == name)
    }

    fn find_mut(&mut self, name: TableName) -> Option<&mut State<'a>> {
        self.tables.iter_mut().find(|table| table.name == name)
    }

    /// The table, which comes into being if it is not there (kernel-facts A11).
    fn make(&mut self, name: TableName, span: Span) -> &mut State<'a> {
        let at = self.tables.iter().position(|table| table.name == name);
        let at = at.unwrap_or_else(|| {
            let chains = name.builtin_chains().iter().map(|chain| {
                let state = ChainState::new(span);
                (Cow::Borrowed(*chain), state)
            });
            self.tables.push(State { name, span, chains: chains.collect() });
            self.tables.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found there, or just pushed")]
        &mut self.tables[at]
    }

    /// The tables as iptables-save orders them (kernel-facts A12).
    fn rules(&self, format: RulesFormat) -> Rules<'a> {
        let mut tables: Vec<&State<'a>> = self.tables.iter().collect();
        match self.backend {
            Backend::Nft => {
                let order = [
                    TableName::Mangle,
                    TableName::Security,
                    TableName::Raw,
                    TableName::Filter,
                    TableName::Nat,
                ];
                tables.sort_by_key(|table| order.iter().position(|name| *name == table.name));
            }
            Backend::Legacy => tables.reverse(),
        }
        let tables = tables.into_iter().map(State::table).collect();
        Rules { family: Some(self.family), backend: Some(self.backend), format, tables }
    }
}

impl<'a> State<'a> {
    /// The chain, which comes into being if it is not there.
    fn chain(&mut self, name: &Cow<'a, str>, span: Span) -> &mut ChainState<'a> {
        self.chains.entry(name.clone()).or_insert_with(|| ChainState::new(span))
    }

    fn is_builtin(&self, chain: &str) -> bool {
        self.name.builtin_chains().contains(&chain)
    }

    /// The rules that lead into a chain.
    fn references(&self, name: &str) -> usize {
        use crate::syntax::Target;
        let rules = self.chains.values().flat_map(|chain| &chain.rules);
        rules
            .filter(|rule| match &rule.target {
                Target::Jump(to, _) | Target::Goto(to, _) => to == name,
                _ => false,
            })
            .count()
    }

    fn table(&self) -> Table<'a> {
        let builtin = self.name.builtin_chains();
        let order = builtin.iter().copied().chain(
            self.chains.keys().map(|name| name.as_ref()).filter(|name| !builtin.contains(name)),
        );
        let (mut chains, mut rules) = (Vec::new(), Vec::new());
        for name in order {
            let Some((name, state)) = self.chains.get_key_value(name) else { continue };
            let policy = match builtin.contains(&name.as_ref()) {
                true => Some(state.policy.unwrap_or(Policy::Accept)),
                false => None,
            };
            let (counters, span) = (state.counters, state.span);
            chains.push(Chain { name: name.clone(), policy, counters, span });
            rules.extend(state.rules.iter().cloned());
        }
        Table { name: self.name, span: self.span, chains, rules }
    }
}

/// What a `#` before commands is: where no command stands without a prompt, it is one.
fn lead(text: &str) -> Lead {
    let command = |line: &str| line.split_ascii_whitespace().take(2).any(is_rules_program);
    let mut hashed = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("# ") && command(line) {
            hashed = true;
        } else if text.starts_with("#!") || command(line) && shell::prompt(line, Lead::Script) == 0
        {
            return Lead::Script;
        }
    }
    if hashed { Lead::Paste } else { Lead::Script }
}

/// Adds an error with what iptables says.
fn refuse(
    diagnostics: &mut Vec<Diagnostic>,
    code: &'static str,
    message: String,
    span: Span,
    says: &'static str,
) -> Outcome {
    diagnostics.push(Diagnostic::error(code, message, span).label(says));
    Outcome::Refused
}
