//! Circles among chains, and how deep they nest.

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{ChainGraph, chain_id, node};
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
    graph: &'a ChainGraph,
    progress: Vec<Progress>,
    /// The chains on the path, each with its links that are still to be followed, last first.
    path: Vec<(ChainId, Vec<(RuleId, NodeIndex)>)>,
    loops: Vec<Loop>,
    /// Chains in the order in which they were left: each after all that it calls.
    finished: Vec<ChainId>,
}

impl Walk<'_> {
    fn enter(&mut self, chain: ChainId) {
        if let Some(progress) = self.progress.get_mut(chain.0 as usize) {
            *progress = Progress::Open;
        }
        // petgraph hands out the newest edge first, so the vector ends with the first rule.
        let edges = self.graph.graph.edges(node(chain));
        let links = edges.map(|edge| (edge.weight().rule, edge.target())).collect();
        self.path.push((chain, links));
    }

    fn run(&mut self, start: ChainId) {
        if self.progress.get(start.0 as usize) != Some(&Progress::New) {
            return;
        }
        self.enter(start);
        while let Some((chain, links)) = self.path.last_mut() {
            let Some((rule, to)) = links.pop() else {
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
                Some(Progress::Open) => self.close(rule, to),
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

impl ChainGraph {
    fn walk(&self) -> Walk<'_> {
        let mut walk = Walk {
            graph: self,
            progress: vec![Progress::New; self.chains()],
            path: Vec::new(),
            loops: Vec::new(),
            finished: Vec::with_capacity(self.chains()),
        };
        for &base in &self.bases {
            walk.run(base);
        }
        for chain in (0u32..).take(self.chains()).map(ChainId) {
            walk.run(chain);
        }
        walk
    }

    /// The circles, those that a base chain leads into first. Without their closing rules there is
    /// none left.
    #[must_use]
    pub fn loops(&self) -> Vec<Loop> {
        self.walk().loops
    }

    /// The loops, and for each chain how many levels it and the chains below it make; links that
    /// close a loop don't count.
    #[must_use]
    pub fn loops_and_heights(&self) -> (Vec<Loop>, Vec<u32>) {
        let walk = self.walk();
        let mut heights = vec![0u32; self.chains()];
        for &chain in &walk.finished {
            let below = self.graph.neighbors(node(chain));
            let below = below.filter_map(|to| heights.get(to.index()).copied()).max();
            if let Some(height) = heights.get_mut(chain.0 as usize) {
                *height = 1 + below.unwrap_or(0);
            }
        }
        (walk.loops, heights)
    }

    /// How many levels a chain and the chains below it make; 1 for a chain that calls none.
    #[must_use]
    pub fn height(&self, chain: ChainId) -> u32 {
        self.loops_and_heights().1.get(chain.0 as usize).copied().unwrap_or(0)
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
