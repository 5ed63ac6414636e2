//! A function taken apart by what it says of sources.

use oxidd::bdd::BDDFunction;
use oxidd::util::Ref;
use oxidd::{Function, HasLevel, InnerNode, Manager, Node};

use super::{Field, Space};

/// How many blocks of sources are told apart.
const MOST_BLOCKS: usize = 4096;

/// The bits that a block of sources has, each by its variable.
type Block = Vec<(u32, bool)>;

/// Blocks of sources, each with what is said of the rest.
struct Blocks<'s> {
    space: &'s Space,
    /// The first variable that has nothing to do with sources.
    behind: u32,
    found: Vec<(Block, BDDFunction)>,
}

impl Space {
    /// A function as products, in the order of their first sources: no source is in two, and no two
    /// say the same of the rest. `None` where the sources are scattered too much for it.
    pub(crate) fn by_source(
        &self,
        function: &BDDFunction,
    ) -> Option<Vec<(BDDFunction, BDDFunction)>> {
        let behind = Field::Destination.first(self.family());
        let mut blocks = Blocks { space: self, behind, found: Vec::new() };
        function
            .with_manager_shared(|manager, edge| blocks.gather(manager, edge, &mut Vec::new()))?;
        let mut products: Vec<(Vec<BDDFunction>, BDDFunction)> = Vec::new();
        for (block, others) in blocks.found {
            let sources = self.block(&block);
            match products.iter_mut().find(|(_, own)| *own == others) {
                Some((own, _)) => own.push(sources),
                None => products.push((vec![sources], others)),
            }
        }
        let whole = |(sources, others)| (self.union(sources), others);
        Some(products.into_iter().map(whole).collect())
    }

    fn block(&self, bits: &[(u32, bool)]) -> BDDFunction {
        let each = bits.iter().rev();
        each.fold(self.anything(), |all, (variable, one)| {
            self.and(&self.literal(*variable, *one), &all)
        })
    }
}

impl Blocks<'_> {
    /// Adds the blocks that begin with some bits, of which the node says the rest; `None` where
    /// there are too many.
    fn gather<'m, 'id>(
        &mut self,
        manager: &'m <BDDFunction as Function>::Manager<'id>,
        edge: Ref<'m, <<BDDFunction as Function>::Manager<'id> as Manager>::Edge>,
        bits: &mut Block,
    ) -> Option<()> {
        if edge == self.space.inner.none.as_edge(manager) {
            return Some(());
        }
        match manager.get_node(edge) {
            Node::Inner(node) if node.level() < self.behind => {
                for one in [false, true] {
                    bits.push((node.level(), one));
                    self.gather(manager, node.child(usize::from(!one)), bits)?;
                    bits.pop();
                }
                Some(())
            }
            _ if self.found.len() == MOST_BLOCKS => None,
            _ => {
                self.found.push((bits.clone(), BDDFunction::from_edge_ref(manager, edge)));
                Some(())
            }
        }
    }
}
