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
use crate::walk::Entry;

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

/// Products that are looked at when all before them are done.
struct Waiting {
    /// The next one comes last.
    products: Vec<Product>,
    /// Of the next one and all behind it, what they say apart from sources.
    ahead: Vec<BDDFunction>,
}

/// The packets of a question that are not looked at yet.
pub(super) struct Rest {
    space: Space,
    products: Vec<Product>,
    /// Whether each product is looked at for as long as anything is in it.
    apart: bool,
    waiting: Waiting,
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

impl Waiting {
    /// In the order in which they are looked at.
    fn of(space: &Space, mut products: Vec<Product>) -> Self {
        products.reverse();
        let mut all = space.nothing();
        let mut ahead = Vec::new();
        for own in &products {
            all = space.or(&all, &own.others);
            ahead.push(all.clone());
        }
        Self { products, ahead }
    }

    fn next(&mut self) -> Option<Product> {
        self.ahead.pop();
        self.products.pop()
    }

    /// Takes packets out. What is said of sources may divide a product.
    fn take(&mut self, space: &Space, asked: &Product, taken: &mut Alike) {
        let Some(ahead) = self.ahead.last() else { return };
        if !space.meet(ahead, &asked.others) {
            return;
        }
        let mut left = Vec::new();
        for mut own in std::mem::take(&mut self.products) {
            let split = own.take(space, asked, taken);
            left.extend([own].into_iter().chain(split));
        }
        left.retain(|own| own.others.satisfiable());
        left.reverse();
        *self = Self::of(space, left);
    }
}

impl Product {
    /// Takes packets out; where that divides it, the other part is given back.
    fn take(&mut self, space: &Space, asked: &Self, taken: &mut Alike) -> Option<Self> {
        let gone = space.and(&self.others, &asked.others);
        if !gone.satisfiable() {
            return None;
        }
        let both = space.and(&self.sources, &asked.sources);
        if !both.satisfiable() {
            return None;
        }
        let left = space.minus(&self.others, &asked.others);
        let mut split = None;
        if both == self.sources {
            self.others = left;
        } else {
            self.sources = space.minus(&self.sources, &asked.sources);
            split = Some(Self { sources: both.clone(), others: left });
        }
        taken.products.push((both, vec![gone]));
        split
    }
}

impl Rest {
    /// Of packets whose source the kernel picks by their destination, each source has its own
    /// destinations: they are looked at one after the other.
    pub(super) fn of(packets: &PacketSet, entry: &Entry) -> Self {
        let space = packets.space().clone();
        let mut rest = Self {
            products: Vec::new(),
            apart: *entry == Entry::LocalAnySource,
            waiting: Waiting { products: Vec::new(), ahead: Vec::new() },
            mixed: space.none(),
            known: HashMap::new(),
            misses: 0,
            space,
        };
        match rest.product(packets.function()) {
            Some(product) => rest.products.push(product),
            None => match Self::apart(packets, entry) {
                Some(waiting) => rest.waiting = waiting,
                None => rest.mixed = packets.clone(),
            },
        }
        rest
    }

    fn apart(packets: &PacketSet, entry: &Entry) -> Option<Waiting> {
        let space = packets.space();
        let known = || space.by_source(packets.function());
        let each = (*entry == Entry::LocalAnySource).then(known)??.into_iter();
        let each = each.map(|(sources, others)| Product { sources, others });
        Some(Waiting::of(space, each.collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut products = self.products.iter().chain(&self.waiting.products);
        products.all(|own| !own.others.satisfiable()) && self.mixed.is_empty()
    }

    /// All of them.
    pub(super) fn packets(&self) -> PacketSet {
        let each = self.products.iter().chain(&self.waiting.products);
        let each = each.map(|own| self.space.and(&own.sources, &own.others));
        let all = each.chain([self.mixed.function().clone()]).collect();
        self.space.set(self.space.union(all))
    }

    /// One of them.
    pub(super) fn next(&mut self) -> Option<Header> {
        loop {
            if self.products.is_empty() {
                self.products.extend(self.waiting.next());
            }
            let Some(Product { sources, others }) = self.products.last() else { break };
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
            // What is said of both addresses or ports contradicts itself, at least there.
            if self.apart
                && let Some(header) = self.sought()
            {
                return Some(header);
            }
            let own = self.products.pop()?;
            let both = self.space.and(&own.sources, &own.others);
            self.mix(&both);
        }
        self.mixed.next()
    }

    /// A packet of the last product, where the first one at hand is none.
    fn sought(&self) -> Option<Header> {
        let Product { sources, others } = self.products.last()?;
        self.space.set(self.space.and(sources, others)).next()
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
        let asked = Product { sources: sources.clone(), others: others.clone() };
        let each = self.products.iter_mut();
        let mut split: Vec<Product> =
            each.filter_map(|own| own.take(&space, &asked, taken)).collect();
        self.waiting.take(&space, &asked, taken);
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
        let products = std::mem::take(&mut self.products);
        self.products =
            products.into_iter().filter_map(|own| self.rest_of(own, all, taken)).collect();
        if self.waiting.ahead.last().is_some_and(|ahead| space.meet(ahead, all)) {
            let waiting = std::mem::take(&mut self.waiting.products).into_iter().rev();
            let left = waiting.filter_map(|own| self.rest_of(own, all, taken)).collect();
            self.waiting = Waiting::of(&space, left);
        }
    }

    /// What stays a product of one without some packets.
    fn rest_of(
        &mut self,
        mut own: Product,
        all: &BDDFunction,
        taken: &mut Alike,
    ) -> Option<Product> {
        let space = self.space.clone();
        let both = space.and(&own.sources, &own.others);
        let gone = space.and(&both, all);
        if gone.satisfiable() {
            let sources = self.sources(&gone);
            let touched = space.and(&sources, &own.others);
            self.mix(&space.minus(&touched, &gone));
            own.sources = space.minus(&own.sources, &sources);
            taken.mixed.push(gone);
        }
        (own.sources.satisfiable() && own.others.satisfiable()).then_some(own)
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
