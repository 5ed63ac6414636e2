//! Packets that are not looked at yet, and those that were, with what became of them.
//!
//! Many questions are about some sources and, apart from these, some destinations and services. As
//! long as what becomes of packets does not tie the ones to the others, both are kept apart: their
//! product is built once for each class, and not once for each packet that is asked about.

use std::collections::HashMap;

use oxidd::BooleanFunction;
use oxidd::bdd::BDDFunction;

use crate::header::Header;
use crate::packets::{PacketSet, point_of_both, told_apart};
use crate::space::{Field, Space};

/// How many products are kept apart.
const MOST_PRODUCTS: usize = 32;
/// After so many functions that were no products, no other one is looked at.
const MOST_MISSES: usize = 48;

/// The packets with some sources, and apart from that something else.
#[derive(Clone)]
struct Product {
    sources: BDDFunction,
    others: BDDFunction,
}

/// The packets of a question that are not looked at yet.
pub(super) struct Rest {
    space: Space,
    products: Vec<Product>,
    /// Those that are no product.
    mixed: PacketSet,
    known: HashMap<BDDFunction, Option<Product>>,
    misses: usize,
}

/// Packets that fare alike.
pub(super) struct Alike {
    products: Vec<(BDDFunction, Vec<BDDFunction>)>,
    mixed: Vec<BDDFunction>,
}

impl Rest {
    pub(super) fn of(packets: &PacketSet) -> Self {
        let space = packets.space().clone();
        let mut rest = Self {
            products: Vec::new(),
            mixed: space.none(),
            known: HashMap::new(),
            misses: 0,
            space,
        };
        match rest.product(packets.function()) {
            Some(product) => rest.products.push(product),
            None => rest.mixed = packets.clone(),
        }
        rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.products.iter().all(|own| !own.others.satisfiable()) && self.mixed.is_empty()
    }

    /// All of them.
    pub(super) fn packets(&self) -> PacketSet {
        let each = self.products.iter().map(|own| self.space.and(&own.sources, &own.others));
        let all = each.chain([self.mixed.function().clone()]).collect();
        self.space.set(self.space.union(all))
    }

    /// One of them.
    pub(super) fn next(&mut self) -> Option<Header> {
        while let Some(Product { sources, others }) = self.products.last() {
            if others.satisfiable() && sources.satisfiable() {
                let of = |function: &BDDFunction| self.space.set(function.clone());
                let (sources, others) = (of(sources), of(others));
                let contains =
                    |header: &Header| sources.contains(header) && others.contains(header);
                let header = point_of_both(&self.space, sources.function(), others.function());
                if let Some(header) = header.filter(contains) {
                    return Some(told_apart(header, contains).normal());
                }
            }
            // What is said of both addresses or ports contradicts itself.
            let own = self.products.pop()?;
            let both = self.space.and(&own.sources, &own.others);
            self.mix(&both);
        }
        self.mixed.next()
    }

    /// Takes packets out that are in all of some sets, the first of which may be about sources.
    pub(super) fn take(&mut self, [first, second, third]: [&BDDFunction; 3]) -> Alike {
        let space = self.space.clone();
        let mut taken = Alike { products: Vec::new(), mixed: Vec::new() };
        let behind = space.and(second, third);
        match self.product(first) {
            Some(Product { sources, others }) => {
                self.take_product(&sources, &space.and(&others, &behind), &mut taken);
            }
            None => self.take_mixed(&space.and(first, &behind), &mut taken),
        }
        if self.mixed.function_is_possible() {
            let all = space.set(space.and(first, &behind));
            let both = self.mixed.intersection(&all);
            if both.function_is_possible() {
                self.mixed = self.mixed.difference(&all);
                taken.mixed.push(both.function().clone());
            }
        }
        taken
    }

    fn take_product(&mut self, sources: &BDDFunction, others: &BDDFunction, taken: &mut Alike) {
        let space = self.space.clone();
        let mut split = Vec::new();
        for own in &mut self.products {
            let gone = space.and(&own.others, others);
            if !gone.satisfiable() {
                continue;
            }
            let both = space.and(&own.sources, sources);
            if !both.satisfiable() {
                continue;
            }
            let left = space.minus(&own.others, others);
            if both == own.sources {
                own.others = left;
            } else {
                own.sources = space.minus(&own.sources, sources);
                split.push(Product { sources: both.clone(), others: left });
            }
            taken.products.push((both, vec![gone]));
        }
        split.retain(|own| own.others.satisfiable());
        self.products.extend(split);
        while self.products.len() > MOST_PRODUCTS {
            let own = self.products.remove(0);
            let both = space.and(&own.sources, &own.others);
            self.mix(&both);
        }
    }

    /// The same where the packets are no product: of the sources that they have nothing stays one.
    fn take_mixed(&mut self, all: &BDDFunction, taken: &mut Alike) {
        let space = self.space.clone();
        for mut own in std::mem::take(&mut self.products) {
            let both = space.and(&own.sources, &own.others);
            let gone = space.and(&both, all);
            if gone.satisfiable() {
                let sources = self.sources(&gone);
                let touched = space.and(&sources, &own.others);
                self.mix(&space.minus(&touched, &gone));
                own.sources = space.minus(&own.sources, &sources);
                taken.mixed.push(gone);
            }
            if own.sources.satisfiable() && own.others.satisfiable() {
                self.products.push(own);
            }
        }
    }

    fn mix(&mut self, packets: &BDDFunction) {
        self.mixed = self.mixed.union(&self.space.set(packets.clone()));
    }

    /// What a function says of sources, and of how addresses and ports compare.
    fn sources(&self, function: &BDDFunction) -> BDDFunction {
        let others: Vec<Field> =
            Field::ALL.into_iter().filter(|field| *field != Field::Source).collect();
        self.space.without(function, &self.space.fields(&others))
    }

    /// A function as a product, where it is one.
    fn product(&mut self, function: &BDDFunction) -> Option<Product> {
        if let Some(known) = self.known.get(function) {
            return known.clone();
        }
        if self.misses >= MOST_MISSES {
            return None;
        }
        let sources = self.sources(function);
        let others = self.space.without(function, &self.space.forgotten(&[Field::Source]));
        let both = self.space.and(&sources, &others);
        let product = (both == *function).then_some(Product { sources, others });
        self.misses += usize::from(product.is_none());
        self.known.insert(function.clone(), product.clone());
        product
    }
}

impl Alike {
    /// Just one set.
    pub(super) fn only(packets: &PacketSet) -> Self {
        Self { products: Vec::new(), mixed: vec![packets.function().clone()] }
    }

    /// Takes others that fare like them.
    pub(super) fn join(&mut self, other: Self) {
        self.mixed.extend(other.mixed);
        for (sources, mut others) in other.products {
            match self.products.iter_mut().rev().find(|(own, _)| *own == sources) {
                Some((_, own)) => own.append(&mut others),
                None => self.products.push((sources, others)),
            }
        }
    }

    /// All of them.
    pub(super) fn packets(self, space: &Space) -> PacketSet {
        let each = self.products.into_iter();
        let each = each.map(|(sources, others)| space.and(&sources, &space.union(others)));
        let all = self.mixed.into_iter().chain(each).collect();
        space.set(space.union(all))
    }
}
