//! The chain graph: which chain jumps where, which hooks reach it, and where it runs in circles.
//!
//! It is built from the chains of a [`Ruleset`](crate::ruleset::Ruleset); its emitters draw it.

mod dot;
mod drawing;
mod loops;
mod mermaid;
mod svg;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use rayon::prelude::*;

use crate::hook::Hook;
use crate::ruleset::{Chain, ChainId, RuleId};

pub use dot::to_dot;
pub use drawing::GraphOptions;
pub use loops::Loop;
pub use mermaid::to_mermaid;
pub use svg::to_svg;

/// How deep iptables-nft lets chains nest, the base chain included (kernel-facts G5).
pub const NFT_DEPTH: u32 = 16;

/// How many chains a core looks at in one go.
const CHUNK: usize = 512;

/// How one chain calls another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// `-j`.
    Jump,
    /// `-g`.
    Goto,
}

/// A rule that leads from one chain into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The rule.
    pub rule: RuleId,
    /// How it calls.
    pub kind: LinkKind,
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HookSet(u8);

impl HookSet {
    /// The set of one hook.
    #[must_use]
    pub fn of(hook: Hook) -> Self {
        Self(1 << hook as u8)
    }

    /// All hooks.
    #[must_use]
    pub fn all() -> Self {
        Hook::ALL.into_iter().fold(Self::default(), |all, hook| all.union(Self::of(hook)))
    }

    /// The hooks that are in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the hook is in it.
    #[must_use]
    pub fn contains(self, hook: Hook) -> bool {
        self.0 & Self::of(hook).0 != 0
    }

    /// Whether no hook is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its hooks in the kernel's order.
    pub fn iter(self) -> impl Iterator<Item = Hook> {
        Hook::ALL.into_iter().filter(move |hook| self.contains(*hook))
    }
}

/// The graph whose nodes are chains and whose edges are the rules that jump or go to one.
#[derive(Clone, Debug)]
pub struct ChainGraph {
    /// INVARIANT (numbering): the node of a chain has the chain's own number.
    graph: DiGraph<(), Link>,
    /// For each chain the hooks from which a packet may get into it.
    hooks: Vec<HookSet>,
    /// The chains, each before all that it calls, but for links that close a loop.
    order: Vec<ChainId>,
    loops: Vec<Loop>,
}

fn node(chain: ChainId) -> NodeIndex {
    NodeIndex::new(chain.0 as usize)
}

fn chain_id(node: NodeIndex) -> ChainId {
    ChainId(u32::try_from(node.index()).unwrap_or(u32::MAX))
}

/// What the rules of some chains call, the last rule of each chain first: petgraph hands out the
/// newest edge first. `first` is the number of the first of these chains, `all` that of all chains.
fn calls_of(first: usize, chains: &[Chain], all: usize) -> Vec<(ChainId, ChainId, Link)> {
    let mut calls = Vec::new();
    for (number, chain) in (first..).zip(chains) {
        let from = ChainId(u32::try_from(number).unwrap_or(u32::MAX));
        for (index, rule) in chain.rules.iter().enumerate().rev() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let rule_id = RuleId { chain: from, index };
            let start = calls.len();
            rule.target.calls(&mut |to, kind| {
                let call = (from, to, Link { rule: rule_id, kind });
                let known = calls.get(start..).is_some_and(|own| own.contains(&call));
                if (to.0 as usize) < all && !known {
                    calls.push(call);
                }
            });
        }
    }
    calls
}

impl ChainGraph {
    /// The graph of these chains, numbered from 0.
    #[must_use]
    pub fn new(chains: &[Chain]) -> Self {
        // Most of the time goes into looking at every rule, so the cores share that.
        let calls: Vec<Vec<(ChainId, ChainId, Link)>> = chains
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(chunk, part)| calls_of(chunk * CHUNK, part, chains.len()))
            .collect();
        let mut graph = DiGraph::with_capacity(chains.len(), calls.iter().map(Vec::len).sum());
        for _ in chains {
            graph.add_node(());
        }
        for (from, to, link) in calls.into_iter().flatten() {
            graph.add_edge(node(from), node(to), link);
        }
        let bases = (0u32..).zip(chains).filter(|(_, chain)| chain.base.is_some());
        let (order, loops) = loops::walk(&graph, bases.map(|(id, _)| ChainId(id)));
        let mut built = Self { graph, hooks: Vec::new(), order, loops };
        built.spread_hooks(chains);
        built
    }

    /// Marks every chain with the hooks that reach it.
    fn spread_hooks(&mut self, chains: &[Chain]) {
        let own =
            |chain: &Chain| chain.base.map_or_else(HookSet::default, |base| HookSet::of(base.hook));
        self.hooks = chains.iter().map(own).collect();
        // In this order once is enough, unless there are loops.
        let mut changed = true;
        while changed {
            changed = false;
            for &from in &self.order {
                let reaching = self.reaching_hooks(from);
                for to in self.graph.neighbors(node(from)) {
                    let Some(hooks) = self.hooks.get_mut(to.index()) else { continue };
                    let more = hooks.union(reaching);
                    changed |= more != *hooks && !self.loops.is_empty();
                    *hooks = more;
                }
            }
        }
    }

    /// The number of chains.
    #[must_use]
    pub fn chains(&self) -> usize {
        self.hooks.len()
    }

    /// The hooks from which a packet may get into a chain; empty for a chain that nothing reaches.
    #[must_use]
    pub fn reaching_hooks(&self, chain: ChainId) -> HookSet {
        self.hooks.get(chain.0 as usize).copied().unwrap_or_default()
    }

    /// The chains that no base chain leads into.
    pub fn unreachable(&self) -> impl Iterator<Item = ChainId> {
        (0u32..).zip(&self.hooks).filter(|(_, hooks)| hooks.is_empty()).map(|(id, _)| ChainId(id))
    }

    /// The rules that lead out of a chain and where they lead, in the order of the rules.
    #[must_use]
    pub fn links(&self, chain: ChainId) -> Vec<(Link, ChainId)> {
        self.edges(chain, Direction::Outgoing, |edge| edge.target())
    }

    /// The rules that lead into a chain and the chains they stand in, in order.
    #[must_use]
    pub fn callers(&self, chain: ChainId) -> Vec<(Link, ChainId)> {
        self.edges(chain, Direction::Incoming, |edge| edge.source())
    }

    fn edges(
        &self,
        chain: ChainId,
        direction: Direction,
        end: impl Fn(&petgraph::graph::EdgeReference<'_, Link>) -> NodeIndex,
    ) -> Vec<(Link, ChainId)> {
        if chain.0 as usize >= self.chains() {
            return Vec::new();
        }
        let edges = self.graph.edges_directed(node(chain), direction);
        let mut links: Vec<_> = edges.map(|edge| (*edge.weight(), chain_id(end(&edge)))).collect();
        links.sort_by_key(|(link, _)| link.rule);
        links
    }

    /// The chains that can be reached from these, themselves included, in ascending order.
    #[must_use]
    pub fn reachable_from(&self, starts: impl IntoIterator<Item = ChainId>) -> Vec<ChainId> {
        let mut seen = vec![false; self.chains()];
        let mut waiting: Vec<NodeIndex> = starts.into_iter().map(node).collect();
        while let Some(at) = waiting.pop() {
            match seen.get_mut(at.index()) {
                Some(seen) if !*seen => *seen = true,
                Some(_) | None => continue,
            }
            waiting.extend(self.graph.neighbors_directed(at, Direction::Outgoing));
        }
        (0u32..).zip(seen).filter(|(_, seen)| *seen).map(|(id, _)| ChainId(id)).collect()
    }
}

#[cfg(test)]
mod tests;
