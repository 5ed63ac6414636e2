//! The chains of a table, and which rules stand in which.

use std::collections::{HashMap, VecDeque};

use nattrace_parser::diagnostic::{Diagnostic, nearest};
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{self, Backend, Placement, Policy, RulesFormat};

use super::RulesInput;
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
    /// Double-ended, because a list of `-I` lines inserts at the front.
    pub(super) rules: VecDeque<&'a syntax::Rule<'a>>,
    /// Whether the text declares it.
    declared: bool,
    /// Whether the text gives its policy.
    policy_given: bool,
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
            rules: VecDeque::new(),
            declared: false,
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
    inputs: &[RulesInput<'a>],
    sections: &'a [Section<'a>],
    diagnostics: &mut Vec<(usize, Diagnostic)>,
) -> Vec<Table<'a>> {
    let mut tables = Vec::with_capacity(sections.len());
    let mut first = 0;
    for section in sections {
        let Some(input) = inputs.get(section.input) else { continue };
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
        declare_chains(&mut table, input.rules.format, &mut found);
        place_rules(&mut table, input.rules.format, &mut found);
        note_undeclared(&table, &mut found);
        diagnostics.extend(found.into_iter().map(|diagnostic| (section.input, diagnostic)));
        first += u32::try_from(table.chains.len()).unwrap_or(u32::MAX);
        tables.push(table);
    }
    tables
}

fn declare_chains(table: &mut Table<'_>, format: RulesFormat, found: &mut Vec<Diagnostic>) {
    let section = table.section;
    for chain in section.blocks.iter().flat_map(|block| &block.chains) {
        let index = match table.names.get(&*chain.name) {
            Some(&index) => index,
            None => table.declare(&chain.name, Policy::Accept),
        };
        let Some(draft) = table.chain_mut(index) else { continue };
        if draft.declared {
            found.push(declared_twice(chain, section.backend, draft.base, format));
        }
        draft.declared = true;
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

/// `-P` may set a policy after the chain was listed; anything else is refused by one of the tools
/// (kernel-facts G6, I4).
fn declared_twice(
    chain: &syntax::Chain<'_>,
    backend: Backend,
    base: Option<Base>,
    format: RulesFormat,
) -> Diagnostic {
    let message = format!("chain `{}` is declared twice", chain.name);
    let refused = match format {
        RulesFormat::Save => backend == Backend::Legacy,
        RulesFormat::Commands => base.is_none(),
        RulesFormat::Listing { .. } => false,
    };
    if refused {
        Diagnostic::error("duplicate-chain", message, chain.span)
    } else {
        Diagnostic::warning("duplicate-chain", message, chain.span)
            .help("the rules of both are taken together, and the last policy counts")
    }
}

fn place_rules(table: &mut Table<'_>, format: RulesFormat, found: &mut Vec<Diagnostic>) {
    let section = table.section;
    // Rules of one chain stand together nearly always.
    let mut last: Option<(&str, u32)> = None;
    for rule in section.blocks.iter().flat_map(|block| &block.rules) {
        let index = match last {
            Some((name, index)) if *name == *rule.chain => index,
            Some(_) | None => match table.names.get(&*rule.chain) {
                Some(&index) => index,
                None => {
                    found.push(undeclared(table, rule, format));
                    let index = table.declare(&rule.chain, Policy::Accept);
                    if let Some(draft) = table.chain_mut(index) {
                        draft.declared = true;
                    }
                    index
                }
            },
        };
        last = Some((&rule.chain, index));
        let Some(draft) = table.chain_mut(index) else { continue };
        match rule.placement {
            Placement::Append => draft.rules.push_back(rule),
            Placement::Insert(position) => {
                let at = (position as usize).saturating_sub(1);
                if position == 0 || at > draft.rules.len() {
                    found.push(bad_position(rule, position, draft.rules.len()));
                }
                draft.rules.insert(at.min(draft.rules.len()), rule);
            }
        }
    }
}

/// iptables-restore refuses a rule of a chain that was not declared; a pasted list of commands may
/// well be about chains that exist already.
fn undeclared(table: &Table<'_>, rule: &syntax::Rule<'_>, format: RulesFormat) -> Diagnostic {
    let message =
        format!("table `{}` declares no chain `{}`", table.section.table.as_str(), rule.chain);
    let help = table.nearest(&rule.chain).map(|name| format!("a similar chain is `{name}`"));
    let diagnostic = match format {
        RulesFormat::Save => Diagnostic::error("unknown-chain", message, rule.span),
        RulesFormat::Commands | RulesFormat::Listing { .. } => {
            Diagnostic::warning("unknown-chain", message, rule.span)
                .label("taken as a chain of just these rules")
        }
    };
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
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
