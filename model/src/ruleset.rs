//! Chains, rules, and where they come from.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use nattrace_parser::host::nftables;
use nattrace_parser::span::Span;
use nattrace_parser::syntax::{Backend, Counters, Family, Policy, TableName};

use crate::condition::Condition;
use crate::hook::{self, Hook};
use crate::target::Target;

/// A chain of a [`Ruleset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub u32);

/// A rule of a [`Ruleset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// The chain it stands in.
    pub chain: ChainId,
    /// Its index in the chain, counted from 0.
    pub index: u32,
}

impl RuleId {
    /// The number that `iptables -L --line-numbers` shows.
    #[must_use]
    pub fn number(self) -> u32 {
        self.index + 1
    }
}

/// A text that rules were read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name of the snapshot's part or of the file.
    pub name: String,
    /// The text.
    pub text: Arc<String>,
}

/// Where a rule was read.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Index into [`Ruleset::sources`].
    pub source: u16,
    /// The line, counted from 1.
    pub line: u32,
    /// The number by which nft knows the rule, where it is a native one: all of its rules stand in
    /// one line of JSON.
    pub handle: Option<u64>,
    /// Its text in the source.
    pub span: Span,
    /// The rule as iptables-save prints it, where the source's own text is no such line.
    pub printed: Option<Box<str>>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub target: Target,
    /// Where it was read.
    pub origin: Origin,
    /// Its counters, where the source shows them.
    pub counters: Option<Counters>,
}

/// What packets a base chain sees, and what its verdicts mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Every packet.
    #[default]
    Filter,
    /// The first packet of a connection, at the place of NAT whatever the priority, which only
    /// orders the nat chains among themselves (`nf_nat_register_fn`).
    Nat,
    /// Every packet; one that a local process sends is routed anew where it was changed.
    Route,
}

/// The table of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// A table of iptables.
    Iptables(TableName),
    /// A table of nftables that iptables does not show.
    Native(Arc<nftables::TableName>),
}

impl Table {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Iptables(name) => name.as_str(),
            Self::Native(table) => &table.name,
        }
    }

    /// The table of iptables, where it is one.
    #[must_use]
    pub fn of_iptables(&self) -> Option<TableName> {
        match self {
            Self::Iptables(name) => Some(*name),
            Self::Native(_) => None,
        }
    }
}

impl fmt::Display for Table {
    /// The name, for a native table with its family: `inet fw`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iptables(name) => f.write_str(name.as_str()),
            Self::Native(table) => write!(f, "{table}"),
        }
    }
}

impl PartialEq<TableName> for Table {
    fn eq(&self, other: &TableName) -> bool {
        self.of_iptables() == Some(*other)
    }
}

/// When a chain was hooked in, as far as the kernel's numbers tell: that of its table, then its
/// own. Of chains with the same priority the later one runs first (kernel-facts A13).
pub type Registration = (u64, u64);

/// A built-in chain's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hook it sits on.
    pub hook: Hook,
    /// The order among the chains of the hook; lower runs first.
    pub priority: i32,
    /// What happens to a packet that reaches its end.
    pub policy: Policy,
    /// What kind of chain it is.
    pub kind: ChainKind,
    /// When it was hooked in, where that is known.
    pub registered: Option<Registration>,
}

/// One chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The backend it was loaded through.
    pub backend: Backend,
    /// The family of its packets.
    pub family: Family,
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: Box<str>,
    /// Set for built-in chains.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Every chain of a host, of both families and both backends.
///
/// INVARIANT (resolved): every [`ChainId`] in a target is a chain of the same backend, family and
/// table, and jumps and gotos form no cycle; lowering refuses rules that break this.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// The texts that rules came from.
    pub sources: Vec<Source>,
    /// The chains.
    pub chains: Vec<Chain>,
    /// Base chains for each family and hook, by priority.
    hooks: [[Vec<ChainId>; 5]; 2],
    /// Whether anything in the rules of a family makes the kernel track connections.
    conntrack: [bool; 2],
    /// Whether any rule asks for ports of bridges.
    asks_physdev: bool,
    /// Whether any rule changes the marks of connections.
    moves_connection_marks: bool,
}

fn family_index(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

impl Ruleset {
    /// Sorts the base chains into the hooks; `conntrack` tells, for IPv4 and IPv6, whether
    /// connections are tracked at all (kernel-facts A4).
    #[must_use]
    pub fn new(sources: Vec<Source>, chains: Vec<Chain>, conntrack: [bool; 2]) -> Self {
        let mut hooks: [[Vec<ChainId>; 5]; 2] = Default::default();
        for (index, chain) in (0u32..).zip(&chains) {
            let Some(base) = chain.base else { continue };
            let per_family = hooks.get_mut(family_index(chain.family));
            if let Some(at) = per_family.and_then(|hooks| hooks.get_mut(base.hook as usize)) {
                at.push(ChainId(index));
            }
        }
        // What was hooked in later comes first among equals (kernel-facts A13).
        let order = |id: &ChainId| {
            let base = chains.get(id.0 as usize).and_then(|chain| chain.base);
            (base.map_or(0, |base| base.priority), Reverse(base.and_then(|base| base.registered)))
        };
        for at in hooks.iter_mut().flatten() {
            at.sort_by_key(order);
        }
        let asks_physdev = chains.iter().flat_map(|chain| &chain.rules).any(|rule| {
            rule.conditions.iter().any(|condition| matches!(condition, Condition::Physdev(..)))
        });
        let moves_connection_marks = chains
            .iter()
            .flat_map(|chain| &chain.rules)
            .any(|rule| rule.target.moves_connection_mark());
        Self { sources, chains, hooks, conntrack, asks_physdev, moves_connection_marks }
    }

    /// Whether any rule asks by which port of a bridge a packet came or goes.
    #[must_use]
    pub fn asks_physdev(&self) -> bool {
        self.asks_physdev
    }

    /// Whether any rule changes the marks of connections.
    #[must_use]
    pub fn moves_connection_marks(&self) -> bool {
        self.moves_connection_marks
    }

    /// The base chains at a hook in the order in which the kernel visits them.
    #[must_use]
    pub fn base_chains(&self, family: Family, hook: Hook) -> &[ChainId] {
        self.hooks
            .get(family_index(family))
            .and_then(|hooks| hooks.get(hook as usize))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether the kernel tracks connections of this family (kernel-facts A4).
    #[must_use]
    pub fn tracks_connections(&self, family: Family) -> bool {
        self.conntrack.get(family_index(family)).copied().unwrap_or(false)
    }

    /// The same, with connections of this family tracked whatever the rules say: dockerd, Open
    /// vSwitch and rules of native nft make the kernel track them too.
    #[must_use]
    pub fn with_tracking(mut self, family: Family) -> Self {
        if let Some(tracked) = self.conntrack.get_mut(family_index(family)) {
            *tracked = true;
        }
        self
    }

    /// A chain by its identity.
    #[must_use]
    pub fn chain(&self, id: ChainId) -> Option<&Chain> {
        self.chains.get(id.0 as usize)
    }

    /// A rule by its identity.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.chain(id.chain)?.rules.get(id.index as usize)
    }

    /// A chain by its names.
    #[must_use]
    pub fn find_chain(
        &self,
        backend: Backend,
        family: Family,
        table: TableName,
        name: &str,
    ) -> Option<ChainId> {
        let found = (0u32..).zip(&self.chains).find(|(_, chain)| {
            chain.backend == backend
                && chain.family == family
                && chain.table == table
                && *chain.name == *name
        });
        found.map(|(index, _)| ChainId(index))
    }

    /// The text of a rule: as its source has it, or as iptables-save would print it where the
    /// source is a listing.
    #[must_use]
    pub fn text<'a>(&'a self, rule: &'a Rule) -> &'a str {
        if let Some(printed) = &rule.origin.printed {
            return printed;
        }
        let source = self.sources.get(usize::from(rule.origin.source));
        source.map_or("", |source| rule.origin.span.slice(&source.text))
    }

    /// Where a rule was read, as `iptables-save:14`, or `nft-ruleset.json:handle 7`.
    #[must_use]
    pub fn place(&self, rule: &Rule) -> String {
        let source = self.sources.get(usize::from(rule.origin.source));
        let name = source.map_or("?", |source| source.name.as_str());
        match rule.origin.handle {
            Some(handle) => format!("{name}:handle {handle}"),
            None => format!("{name}:{}", rule.origin.line),
        }
    }
}

/// The place of a built-in chain, or `None` for a user chain.
#[must_use]
pub fn base_of(backend: Backend, table: TableName, name: &str, policy: Policy) -> Option<Base> {
    if !table.builtin_chains().contains(&name) {
        return None;
    }
    let hook = Hook::of_chain(name)?;
    let kind = match table {
        TableName::Nat => ChainKind::Nat,
        // kernel-facts D11
        TableName::Mangle if hook == Hook::Output => ChainKind::Route,
        _ => ChainKind::Filter,
    };
    let priority = hook::priority(backend, table, hook);
    Some(Base { hook, priority, policy, kind, registered: None })
}
