//! The order of chains with equal priorities, which the kernel takes from the order in which they
//! were hooked in.

use nattrace_parser::syntax::{Backend, Policy};

use crate::ruleset::{Base, Chain, ChainId};
use crate::simulate::trip::Trip;

impl Trip<'_, '_, '_> {
    /// Notes which order is taken for chains of several nft tables that sit at the same priority:
    /// the kernel's numbers tell when a table was made, and within it when a chain was, but not
    /// which of two tables' chains was hooked in first (kernel-facts A13).
    pub(crate) fn note_ties(&mut self, chains: &[ChainId]) {
        let rules = &self.run.system.rules;
        for pair in chains.windows(2) {
            let [first, second] = pair else { continue };
            let (Some(first), Some(second)) = (rules.chain(*first), rules.chain(*second)) else {
                continue;
            };
            let place = |chain: &Chain| chain.base.map(|base| (base.priority, base.kind));
            let acts = |chain: &Chain| {
                !chain.rules.is_empty()
                    || chain.base.is_some_and(|base| base.policy == Policy::Drop)
            };
            let native =
                first.table.of_iptables().is_none() || second.table.of_iptables().is_none();
            let tied = native
                && first.backend == second.backend
                && first.table != second.table
                && place(first) == place(second);
            if tied && acts(first) && acts(second) {
                let text = format!(
                    "`{}` of `{}` and `{}` of `{}` sit at the same priority: the one whose table \
                     was made later is taken to run first",
                    first.name, first.table, second.name, second.table
                );
                self.run.assume("hook-order-assumed", text);
            }
        }
    }

    /// Whether a chain comes behind what the kernel itself does at a priority. Among equals it is
    /// the one that was hooked in first (kernel-facts A13), which nothing tells.
    pub(crate) fn is_behind(&mut self, id: ChainId, base: Base, priority: i32, what: &str) -> bool {
        if base.priority != priority {
            return base.priority > priority;
        }
        let Some(chain) = self.run.system.rules.chain(id) else { return true };
        if chain.rules.is_empty() && base.policy == Policy::Accept {
            return true;
        }
        let question = || format!("{what} comes before {}/{}", chain.table, chain.name);
        self.run.oracle.decide(question, true)
    }

    /// The chains with equal priorities of both backends exchanged, where both backends have rules
    /// here and the one that was registered later is taken to be legacy (kernel-facts A13).
    pub(crate) fn swapped_order(&mut self, chains: &[ChainId]) -> Option<Vec<ChainId>> {
        let rules = &self.run.system.rules;
        let backend = |id: &ChainId| rules.chain(*id).map(|chain| chain.backend);
        let first = chains.first().and_then(backend)?;
        if chains.iter().all(|id| backend(id) == Some(first)) {
            return None;
        }
        let priority =
            |id: &ChainId| rules.chain(*id).and_then(|c| c.base).map_or(0, |base| base.priority);
        let has_rules = |id: &ChainId| rules.chain(*id).is_some_and(|c| !c.rules.is_empty());
        let ties = chains.windows(2).any(|pair| match pair {
            [a, b] => priority(a) == priority(b) && has_rules(a) && has_rules(b),
            _ => false,
        });
        if !ties {
            return None;
        }
        let oracle = &mut *self.run.oracle;
        let legacy_first = *self.run.legacy_first.get_or_insert_with(|| {
            oracle.decide(|| "iptables-legacy runs before iptables-nft".to_owned(), true)
        });
        let mut order = chains.to_vec();
        order.sort_by_key(|id| {
            let late = (backend(id) == Some(Backend::Legacy)) != legacy_first;
            (priority(id), late)
        });
        Some(order)
    }
}
