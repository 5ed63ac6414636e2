//! The chains of a table, and which rules stand in which.

use std::collections::{HashMap, VecDeque};

use nattrace_parser::diagnostic::{Diagnostic, nearest};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{self, Placement, Policy};
use rayon::prelude::*;

use super::selection::Section;
use crate::ruleset::{Base, ChainId, base_of};

/// The chains of one table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) section: &'a Section<'a>,
    /// The number of its first chain in the ruleset.
    pub(super) first: u32,
    pub(super) chains: Vec<ChainDraft<'a>>,
    names: HashMap<&'a str, u32>,
}

/// A chain with its rules as they were parsed, in the order in which the kernel has them.
#[derive(Debug)]
pub(super) struct ChainDraft<'a> {
    pub(super) name: &'a str,
    pub(super) base: Option<Base>,
    pub(super) rules: RuleList<'a>,
    /// Whether the text gives its policy.
    policy_given: bool,
}

/// The rules of one chain.
#[derive(Debug, Default)]
pub(super) struct RuleList<'a> {
    /// All of them, while they stand together in the text, as they do in every dump.
    run: &'a [syntax::Rule<'a>],
    /// All of them, once they are scattered or inserted. Double-ended, because a list of `-I`
    /// lines inserts at the front.
    scattered: Option<VecDeque<&'a syntax::Rule<'a>>>,
}

impl<'a> RuleList<'a> {
    /// The rules as a slice of the text's own, or one by one.
    pub(super) fn view(&self) -> Result<&'a [syntax::Rule<'a>], &VecDeque<&'a syntax::Rule<'a>>> {
        self.scattered.as_ref().map_or(Ok(self.run), Err)
    }

    fn len(&self) -> usize {
        self.scattered.as_ref().map_or(self.run.len(), VecDeque::len)
    }

    fn append(&mut self, rules: &'a [syntax::Rule<'a>]) {
        if self.len() == 0 {
            self.run = rules;
            self.scattered = None;
        } else {
            self.scatter().extend(rules);
        }
    }

    /// Inserts before the rule of this index; answers whether there is such a place.
    fn insert(&mut self, at: usize, rule: &'a syntax::Rule<'a>) -> bool {
        let rules = self.scatter();
        let fits = at <= rules.len();
        rules.insert(at.min(rules.len()), rule);
        fits
    }

    fn scatter(&mut self) -> &mut VecDeque<&'a syntax::Rule<'a>> {
        let run = self.run;
        self.scattered.get_or_insert_with(|| run.iter().collect())
    }
}

impl<'a> Table<'a> {
    /// The chain of this name.
    pub(super) fn find(&self, name: &str) -> Option<ChainId> {
        self.names.get(name).map(|index| ChainId(self.first + index))
    }

    /// Whether a chain of this table is a built-in one.
    pub(super) fn is_base(&self, chain: ChainId) -> bool {
        let index = chain.0.saturating_sub(self.first) as usize;
        self.chains.get(index).is_some_and(|chain| chain.base.is_some())
    }

    /// The name that was probably meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.chains.iter().map(|chain| chain.name))
    }

    fn declare(&mut self, name: &'a str, policy: Policy) -> u32 {
        let Section { backend, table, .. } = *self.section;
        let index = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        let base = base_of(backend, table, name, policy);
        self.chains.push(ChainDraft {
            name,
            base,
            rules: RuleList::default(),
            policy_given: false,
        });
        self.names.insert(name, index);
        index
    }

    fn chain_mut(&mut self, index: u32) -> Option<&mut ChainDraft<'a>> {
        self.chains.get_mut(index as usize)
    }
}

/// Declares the chains of all sections and hands each its rules.
pub(super) fn tables<'a>(
    sections: &'a [Section<'a>],
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) -> Vec<Table<'a>> {
    let mut tables = Vec::with_capacity(sections.len());
    let mut first = 0;
    for section in sections {
        let declared: usize = section.blocks.iter().map(|block| block.chains.len()).sum();
        let mut table = Table {
            section,
            first,
            chains: Vec::with_capacity(declared),
            names: HashMap::with_capacity(declared),
        };
        let mut found = Vec::new();
        // The built-in chains of a table exist in the kernel, declared or not (kernel-facts A11).
        for &name in section.table.builtin_chains() {
            table.declare(name, Policy::Accept);
        }
        declare_chains(&mut table, &mut found);
        place_rules(&mut table, &mut found);
        note_undeclared(&table, &mut found);
        diagnostics.extend(found.into_iter().map(|diagnostic| (section.input, diagnostic)));
        first += u32::try_from(table.chains.len()).unwrap_or(u32::MAX);
        tables.push(table);
    }
    tables
}

fn declare_chains(table: &mut Table<'_>, found: &mut Vec<Diagnostic>) {
    let section = table.section;
    for chain in section.blocks.iter().flat_map(|block| &block.chains) {
        let index = match table.names.get(&*chain.name) {
            Some(&index) => index,
            None => table.declare(&chain.name, Policy::Accept),
        };
        let Some(draft) = table.chain_mut(index) else { continue };
        match (&mut draft.base, chain.policy) {
            (Some(base), Some(policy)) => {
                base.policy = policy;
                draft.policy_given = true;
            }
            (Some(_), None) | (None, None) => {}
            (None, Some(_)) => {
                let message = format!("`{}` is no built-in chain and has no policy", chain.name);
                let diagnostic = Diagnostic::warning("user-chain-policy", message, chain.span);
                found.push(diagnostic.help("what reaches its end goes back to the calling chain"));
            }
        }
    }
}

fn place_rules(table: &mut Table<'_>, found: &mut Vec<Diagnostic>) {
    let section = table.section;
    for block in &section.blocks {
        // Rules of one chain stand together nearly always.
        let together = |one: &syntax::Rule<'_>, next: &syntax::Rule<'_>| {
            one.placement == Placement::Append
                && next.placement == Placement::Append
                && one.chain == next.chain
        };
        let names = &table.names;
        let runs: Vec<(&[syntax::Rule<'_>], Option<u32>)> = block
            .rules
            .par_chunk_by(together)
            .map(|run| {
                let known = run.first().and_then(|first| names.get(&*first.chain));
                (run, known.copied())
            })
            .collect();
        for (run, known) in runs {
            let Some(first) = run.first() else { continue };
            // The parser says so where the text should have declared the chain.
            let index = known
                .or_else(|| table.names.get(&*first.chain).copied())
                .unwrap_or_else(|| table.declare(&first.chain, Policy::Accept));
            let Some(draft) = table.chain_mut(index) else { continue };
            match first.placement {
                Placement::Append => draft.rules.append(run),
                Placement::Insert(position) => {
                    let length = draft.rules.len();
                    let at = (position as usize).saturating_sub(1);
                    if !draft.rules.insert(at, first) || position == 0 {
                        found.push(bad_position(first, position, length));
                    }
                }
            }
        }
    }
}

fn bad_position(rule: &syntax::Rule<'_>, position: u32, length: usize) -> Diagnostic {
    let message = format!(
        "expected a position from 1 to {} in chain `{}`, found `{position}`",
        length + 1,
        rule.chain
    );
    Diagnostic::error("bad-position", message, rule.span)
}

/// Says for which built-in chains the text gives no policy. iptables-nft-restore takes ACCEPT, the
/// legacy one keeps what the kernel had (kernel-facts I4).
fn note_undeclared(table: &Table<'_>, found: &mut Vec<Diagnostic>) {
    let silent: Vec<String> = table
        .chains
        .iter()
        .filter(|chain| chain.base.is_some() && !chain.policy_given)
        .map(|chain| format!("`{}`", chain.name))
        .collect();
    if silent.is_empty() {
        return;
    }
    let span = table.section.blocks.first().map_or(Span::default(), |block| block.span);
    let message = format!(
        "no policy is given for {} of table `{}`: taken as ACCEPT",
        silent.join(", "),
        table.section.table.as_str()
    );
    found.push(Diagnostic::note("policy-assumed", message, span));
}
