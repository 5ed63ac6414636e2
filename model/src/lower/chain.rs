//! The chains of a table, and which rules stand in which.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use nattrace_parser::diagnostic::{Diagnostic, nearest};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{self, Placement, Policy};
use rayon::prelude::*;

use super::draft::Draft;
use super::selection::{Place, Section};
use crate::ruleset::{Base, ChainId, base_of};

/// The chains of one table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) section: Place,
    /// The number of its first chain in the ruleset.
    pub(super) first: u32,
    pub(super) chains: Vec<ChainDraft<'a>>,
    names: HashMap<Cow<'a, str>, u32, RandomState>,
}

/// A chain without its rules.
#[derive(Debug)]
pub(super) struct ChainDraft<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) base: Option<Base>,
    /// Whether the text gives its policy.
    policy_given: bool,
}

/// The rules of one chain as they were drafted, in the order in which the kernel has them.
#[derive(Debug)]
pub(super) enum RuleList<'d, 'a> {
    /// They stand together in the text, as they do in every dump.
    Run(&'d mut [Draft<'a>]),
    /// They are scattered or inserted. Double-ended, because a list of `-I` lines inserts at the
    /// front.
    Scattered(VecDeque<&'d mut Draft<'a>>),
}

impl Default for RuleList<'_, '_> {
    fn default() -> Self {
        Self::Run(&mut [])
    }
}

impl<'d, 'a> RuleList<'d, 'a> {
    fn len(&self) -> usize {
        match self {
            Self::Run(rules) => rules.len(),
            Self::Scattered(rules) => rules.len(),
        }
    }

    fn append(&mut self, rules: &'d mut [Draft<'a>]) {
        if self.len() == 0 {
            *self = Self::Run(rules);
        } else {
            let mut all = std::mem::take(self).scattered();
            all.extend(rules);
            *self = Self::Scattered(all);
        }
    }

    /// Inserts before the rule of this index, or at the end where there is no such rule.
    fn insert(&mut self, at: usize, rule: &'d mut Draft<'a>) {
        let mut all = std::mem::take(self).scattered();
        all.insert(at.min(all.len()), rule);
        *self = Self::Scattered(all);
    }

    fn scattered(self) -> VecDeque<&'d mut Draft<'a>> {
        match self {
            Self::Run(rules) => rules.iter_mut().collect(),
            Self::Scattered(rules) => rules,
        }
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
        nearest(name, self.chains.iter().map(|chain| chain.name.as_ref()))
    }

    fn declare(&mut self, name: Cow<'a, str>, policy: Policy) -> u32 {
        let Place { backend, table, .. } = self.section;
        let index = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        let base = base_of(backend, table, &name, policy);
        self.chains.push(ChainDraft { name: name.clone(), base, policy_given: false });
        self.names.insert(name, index);
        index
    }
}

/// Declares the chains of all sections and hands each its rules.
pub(super) fn tables<'d, 'a>(
    sections: Vec<Section<'d, 'a>>,
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) -> Vec<(Table<'a>, Vec<RuleList<'d, 'a>>)> {
    let mut tables = Vec::with_capacity(sections.len());
    let mut first = 0;
    for Section { place, blocks } in sections {
        let declared: usize = blocks.iter().map(|block| block.chains.len()).sum();
        let mut table = Table {
            section: place,
            first,
            chains: Vec::with_capacity(declared),
            names: HashMap::with_capacity_and_hasher(declared, RandomState::default()),
        };
        let mut found = Vec::new();
        // The built-in chains of a table exist in the kernel, declared or not (kernel-facts A11).
        for &name in place.table.builtin_chains() {
            table.declare(name.into(), Policy::Accept);
        }
        for chain in blocks.iter().flat_map(|block| &block.chains) {
            declare_chain(&mut table, chain, &mut found);
        }
        note_undeclared(
            &table,
            blocks.first().map_or(Span::default(), |first| first.span),
            &mut found,
        );
        let lists = place_rules(&mut table, blocks, &mut found);
        diagnostics.extend(found.into_iter().map(|diagnostic| (place.input, diagnostic)));
        first += u32::try_from(table.chains.len()).unwrap_or(u32::MAX);
        tables.push((table, lists));
    }
    tables
}

fn declare_chain<'a>(
    table: &mut Table<'a>,
    chain: &syntax::Chain<'a>,
    found: &mut Vec<Diagnostic>,
) {
    let index = match table.names.get(&*chain.name) {
        Some(&index) => index,
        None => table.declare(chain.name.clone(), Policy::Accept),
    };
    let Some(draft) = table.chains.get_mut(index as usize) else { return };
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

/// Hands every chain its rules; the lists are in the order of the chains.
fn place_rules<'d, 'a>(
    table: &mut Table<'a>,
    blocks: Vec<&'d mut syntax::Table<'a, Draft<'a>>>,
    found: &mut Vec<Diagnostic>,
) -> Vec<RuleList<'d, 'a>> {
    let mut lists: Vec<RuleList<'_, '_>> = Vec::with_capacity(table.chains.len());
    lists.resize_with(table.chains.len(), RuleList::default);
    for block in blocks {
        // Rules of one chain stand together nearly always.
        let together = |one: &Draft<'_>, next: &Draft<'_>| {
            one.placement == Placement::Append
                && next.placement == Placement::Append
                && one.chain == next.chain
        };
        let names = &table.names;
        let runs: Vec<(&mut [Draft<'_>], Option<u32>)> = block
            .rules
            .par_chunk_by_mut(together)
            .map(|run| {
                let known = run.first().and_then(|first| names.get(&*first.chain).copied());
                (run, known)
            })
            .collect();
        for (run, known) in runs {
            let Some(first) = run.first() else { continue };
            // The parser says so where the text should have declared the chain.
            let index = known
                .or_else(|| table.names.get(&*first.chain).copied())
                .unwrap_or_else(|| table.declare(first.chain.clone(), Policy::Accept));
            if lists.len() < table.chains.len() {
                lists.resize_with(table.chains.len(), RuleList::default);
            }
            let Some(list) = lists.get_mut(index as usize) else { continue };
            match (first.placement, run) {
                (Placement::Insert(position), [first, ..]) => {
                    let length = list.len();
                    let at = (position as usize).saturating_sub(1);
                    if at > length || position == 0 {
                        found.push(bad_position(first, position, length));
                    }
                    list.insert(at, first);
                }
                (_, run) => list.append(run),
            }
        }
    }
    lists
}

fn bad_position(draft: &Draft<'_>, position: u32, length: usize) -> Diagnostic {
    let message = format!(
        "expected a position from 1 to {} in chain `{}`, found `{position}`",
        length + 1,
        draft.chain
    );
    Diagnostic::error("bad-position", message, draft.origin.span)
}

/// Says for which built-in chains the text gives no policy. iptables-nft-restore takes ACCEPT, the
/// legacy one keeps what the kernel had (kernel-facts I4).
fn note_undeclared(table: &Table<'_>, span: Span, found: &mut Vec<Diagnostic>) {
    let silent: Vec<String> = table
        .chains
        .iter()
        .filter(|chain| chain.base.is_some() && !chain.policy_given)
        .map(|chain| format!("`{}`", chain.name))
        .collect();
    if silent.is_empty() {
        return;
    }
    let message = format!(
        "no policy is given for {} of table `{}`: taken as ACCEPT",
        silent.join(", "),
        table.section.table.as_str()
    );
    found.push(Diagnostic::note("policy-assumed", message, span));
}
