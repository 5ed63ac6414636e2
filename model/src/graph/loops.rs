//! Circles among chains, and how deep they nest.

use petgraph::graph::{DiGraph, WalkNeighbors};

use super::{ChainGraph, Link, chain_id, node};
use crate::ruleset::{ChainId, RuleId};

/// A circle of jumps and gotos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The chains in the order in which they call each other; the last calls the first.
    pub chains: Vec<ChainId>,
    /// The rule that closes the circle.
    pub closing: RuleId,
}

/// How far the search has got with a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    New,
    /// On the path that is being walked.
    Open,
    Done,
}

/// A depth-first walk that keeps its path in a vector: chains may nest deeper than a stack.
struct Walk<'a> {
    graph: &'a DiGraph<(), Link>,
    progress: Vec<Progress>,
    /// The chains on the path, each with its links that are still to be followed.
    path: Vec<(ChainId, WalkNeighbors<u32>)>,
    loops: Vec<Loop>,
    /// Chains in the order in which they were left: each after all that it calls.
    finished: Vec<ChainId>,
}

impl Walk<'_> {
    fn enter(&mut self, chain: ChainId) {
        if let Some(progress) = self.progress.get_mut(chain.0 as usize) {
            *progress = Progress::Open;
        }
        let links = self.graph.neighbors(node(chain)).detach();
        self.path.push((chain, links));
    }

    fn run(&mut self, start: ChainId) {
        if self.progress.get(start.0 as usize) != Some(&Progress::New) {
            return;
        }
        self.enter(start);
        while let Some((chain, links)) = self.path.last_mut() {
            let Some((edge, to)) = links.next(self.graph) else {
                if let Some(progress) = self.progress.get_mut(chain.0 as usize) {
                    *progress = Progress::Done;
                }
                self.finished.push(*chain);
                self.path.pop();
                continue;
            };
            let to = chain_id(to);
            match self.progress.get(to.0 as usize) {
                Some(Progress::New) => self.enter(to),
                Some(Progress::Open) => {
                    if let Some(link) = self.graph.edge_weight(edge) {
                        self.close(link.rule, to);
                    }
                }
                Some(Progress::Done) | None => {}
            }
        }
    }

    fn close(&mut self, closing: RuleId, first: ChainId) {
        let on_path = self.path.iter().map(|(chain, _)| *chain);
        let chains = on_path.skip_while(|chain| *chain != first).collect();
        self.loops.push(Loop { chains, closing });
    }
}

/// The chains, each before all that it calls, and the loops. Base chains are walked first.
pub(super) fn walk(
    graph: &DiGraph<(), Link>,
    bases: impl Iterator<Item = ChainId>,
) -> (Vec<ChainId>, Vec<Loop>) {
    let mut walk = Walk {
        graph,
        progress: vec![Progress::New; graph.node_count()],
        path: Vec::new(),
        loops: Vec::new(),
        finished: Vec::with_capacity(graph.node_count()),
    };
    for base in bases {
        walk.run(base);
    }
    for chain in graph.node_indices() {
        walk.run(chain_id(chain));
    }
    walk.finished.reverse();
    (walk.finished, walk.loops)
}

impl ChainGraph {
    /// The circles, those that a base chain leads into first. Without their closing rules there is
    /// none left.
    #[must_use]
    pub fn loops(&self) -> &[Loop] {
        &self.loops
    }

    /// For each chain, how many levels it and the chains below it make: 1 for a chain that calls
    /// none. Links that close a loop don't count.
    #[must_use]
    pub fn heights(&self) -> Vec<u32> {
        let mut heights = vec![0u32; self.chains()];
        for &chain in self.order.iter().rev() {
            let below = self.graph.neighbors(node(chain));
            let below = below.filter_map(|to| heights.get(to.index()).copied()).max();
            if let Some(height) = heights.get_mut(chain.0 as usize) {
                *height = 1 + below.unwrap_or(0);
            }
        }
        heights
    }

    /// The rules by which a packet gets from a chain into the deepest nesting below it.
    #[must_use]
    pub fn deepest_path(&self, from: ChainId, heights: &[u32]) -> Vec<RuleId> {
        let mut path = Vec::new();
        let mut at = from;
        loop {
            let height = heights.get(at.0 as usize).copied().unwrap_or(0);
            let next = self.links(at).into_iter().find(|(_, to)| {
                heights.get(to.0 as usize).is_some_and(|below| below + 1 == height)
            });
            let Some((link, to)) = next.filter(|_| height > 1) else { return path };
            path.push(link.rule);
            at = to;
        }
    }
}
